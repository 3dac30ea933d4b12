# strongSwan's strict, ifuri and relaxed against good, revoked, suspended, not recorded, unknown, unauthorized, tryLater, silence
vendor_ca vendor
vendor_ca strange
issued_by vendor segw 0x1001
issued_by vendor good 0x1002
issued_by vendor revoked 0x1003
issued_by vendor suspended 0x1004
issued_by vendor unrecorded 0x1005
issued_by strange strange1 0x1001 # the gateway trusts this CA, the ledger does not know it
ledger_init
ledger_start
ledger submit vendor.pem --class ca || fail "the CA was not accepted"
ledger submit good.pem revoked.pem suspended.pem || fail "the devices were not accepted"
ledger revoke revoked.pem --reason key-compromise || fail "revoke"
ledger suspend suspended.pem || fail "suspend"
bridge_start
gateway_files vendor strange
charon_start segw "$SEGW"

# each NAME PATTERN STRICT IFURI RELAXED: in or out under each policy, and what charon says.
each() {
  local policy outcomes=("${@:3}")
  for policy in strict ifuri relaxed; do
    gateway_revocation "$policy" >/dev/null
    case ${outcomes[0]} in
      in) let_in "$1" "$policy" "$2" ;;
      out) refused "$1" "$2" ;;
    esac
    outcomes=("${outcomes[@]:1}")
  done
}
step "what the ledger says"
each good 'certificate status is good' in in in
each revoked 'certificate was revoked on .* 20[0-9]{2}, reason: key compromise' out out out
each suspended 'certificate was revoked on .* 20[0-9]{2}, reason: certificate hold' out out out
each unrecorded 'certificate was revoked on --- -- --:--:-- UTC ----, reason: certificate hold' out out out
each strange1 'ocsp response status: unauthorized' out out in

step 'not_recorded = "unknown"'
sed -i '/^\[answers\]/a not_recorded = "unknown"' bridge/bridge.toml
kill -HUP "$(cat bridge.pid)"
unknown() { in_segw openssl ocsp -issuer vendor.pem -cert unrecorded.pem -url "$OCSP" -VAfile bridge/signer.pem 2>/dev/null | grep -q '^unrecorded.pem: unknown'; }
until_true 5 unknown || fail "the bridge does not say unknown"
each unrecorded 'ocsp response contains no status on our certificate' out out in

step "no ledger, then no bridge"
ledger_lost
each good 'ocsp response status: try later' out out in
stop bridge
each good 'ocsp check failed, fallback to crl' out out in
