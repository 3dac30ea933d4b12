# The ledger node is stopped: refused (fail closed); started again: accepted, with no restart of the gateway
self_signed segw; self_signed henb1
ledger_init; ledger_start
ledger submit henb1.pem || fail "submit"
step "the gateway starts, then the ledger node stops"
segw_start tun
stop ledger
strongswan_henb henb1
initiate >down.out 2>&1 && fail "the gateway let a device in without an answer from the ledger"
cat down.out
grep -q AUTHENTICATION_FAILED down.out || fail "refused, but not by AUTHENTICATION_FAILED"
until_true 3 log_has segw.log 'unavailable' || fail "our log does not say that the ledger is unavailable"
step "the ledger node is started again"
ledger_start
admitted() { initiate && ping_core; }
until_true 5 admitted || fail "still refused after the ledger node came back"
