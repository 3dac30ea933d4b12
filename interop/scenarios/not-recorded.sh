# A certificate that is not on the ledger: AUTHENTICATION_FAILED, and the reason in our log
self_signed segw; self_signed henb2
ledger_init; ledger_start
segw_start tun
strongswan_henb henb2
initiate >out 2>&1 && fail "an unrecorded device got in"
cat out
grep -q AUTHENTICATION_FAILED out || fail "refused, but not by AUTHENTICATION_FAILED"
until_true 3 log_has segw.log 'not recorded' || fail "our log does not say that the certificate is not recorded"
log_has segw.log 'henb2.lab.test' || fail "our log does not name the identity"
