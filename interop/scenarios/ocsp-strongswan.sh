# strongSwan as the gateway asks ocsp-bridge: a vendor's devices good, never recorded, suspended, revoked; ledger down
vendor_ca vendor
issued_by vendor segw 0x1001
issued_by vendor henb1 0x1002
# A serial number whose first bit is set: 5.9.8 may ask for it as a negative one.
issued_by vendor henb2 0xfedcba9876543210
issued_by vendor stranger 0x1003

step "the ledger holds the vendor's CA and two devices, not the third"
ledger_init
ledger_start
ledger submit vendor.pem --class ca || fail "the CA was not accepted"
ledger submit henb1.pem henb2.pem || fail "the devices were not accepted"

step "the bridge"
bridge_start

step "openssl asks: SHA-1 and SHA-256, with and without nonce, several at once"
for hash in -sha1 -sha256; do
  for nonce in -nonce -no_nonce; do
    in_segw openssl ocsp -issuer vendor.pem "$hash" -cert henb1.pem "$hash" -cert stranger.pem "$nonce" \
      -url http://127.0.0.1:8888/ -VAfile bridge/signer.pem >ocsp.out 2>&1
    grep -q 'Response verify OK' ocsp.out && grep -q '^henb1.pem: good' ocsp.out && grep -q '^stranger.pem: revoked' ocsp.out ||
      { cat ocsp.out; fail "openssl ocsp $hash $nonce"; }
  done
done

step "strongSwan as the gateway, revocation = strict, with the lines that the bridge prints"
gateway_files vendor
charon_start segw "$SEGW"
let_in henb1 "it is valid" 'certificate status is good'
let_in henb2 "its serial number has its first bit set" 'certificate status is good'
refused stranger 'certificate was revoked on --- -- --:--:-- UTC ----, reason: certificate hold'

step "suspended, resumed, revoked"
ledger suspend henb2.pem || fail "suspend"
refused henb2 'certificate was revoked on .* 20[0-9]{2}, reason: certificate hold'
ledger resume henb2.pem || fail "resume"
let_in henb2 "it was resumed"
ledger revoke henb1.pem --reason key-compromise || fail "revoke"
refused henb1 'certificate was revoked on .* 20[0-9]{2}, reason: key compromise'

step "the ledger is down: tryLater, and strict refuses the valid device, too"
let_in henb2 "it is still valid"
ledger_lost
refused henb2 'ocsp response status: try later'
log_has segw/charon.log 'RULE_CRL_VALIDATION is FAILED, but requires at least GOOD' "$offset" || fail "henb2 was refused for another reason"
stop bridge
log_has bridge.log 'stopping' || fail "the bridge did not stop by itself"
