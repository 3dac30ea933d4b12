# The certificate is revoked while the tunnel is up: Delete to strongSwan; its next attempt gets AUTHENTICATION_FAILED
self_signed segw; self_signed henb1
ledger_init; ledger_start
ledger submit henb1.pem || fail "submit"
segw_start tun
strongswan_henb henb1
initiate || fail "strongSwan did not get in"
ping_core || fail "no answer through the tunnel"
offset=$(size_of henb/charon.log)
step "revoke"
ledger revoke henb1.pem --reason key-compromise || fail "revoke"
until_true 3 log_has henb/charon.log 'received DELETE for IKE_SA' "$offset" || fail "no Delete within 3 s of the revocation"
until_true 3 log_has segw.log 'revoked' || fail "our log does not say why"
until_true 3 sh -c '! segw-sim sas --control segw.sock | grep -q henb1.lab.test' || fail "the SA is still listed"
step "the next attempt"
initiate >again.out 2>&1 && fail "a revoked device got in"
cat again.out
grep -q AUTHENTICATION_FAILED again.out || fail "refused, but not by AUTHENTICATION_FAILED"
