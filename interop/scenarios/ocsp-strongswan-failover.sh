# strongSwan with two bridges: the first killed, hanging, without its ledger: the second answers; none left: strict refuses
vendor_ca vendor
issued_by vendor segw 0x1001
issued_by vendor henb1 0x1002
issued_by vendor henb2 0x1003
ledger_init
ledger_start
ledger submit vendor.pem --class ca || fail "the CA was not accepted"
ledger submit henb1.pem henb2.pem || fail "the devices were not accepted"
ledger revoke henb2.pem --reason key-compromise || fail "revoke"

step "two bridges, each with a signer of its own, of the same name"
bridge_start
second_metrics=http://127.0.0.1:9473
ocsp-bridge init --dir second --node http://127.0.0.1:9470 --listen 127.0.0.1:8889 || fail "ocsp-bridge init"
sed -i 's/^listen = "127.0.0.1:9472"/listen = "127.0.0.1:9473"/; s/^lifetime_s = .*/lifetime_s = 2/; /^nodes = /a ttl_s = 1' second/bridge.toml
bridge_run second "$second_metrics"
BRIDGE_URLS="$OCSP http://127.0.0.1:8889/"
gateway_files vendor
cp second/signer.pem segw/swanctl/x509ocsp/second.pem
charon_start segw "$SEGW"

requests() { in_segw curl -s "$1/metrics" | sed -nE 's/^ledgate_ocsp_bridge_ocsp_responses_total.* //p' | paste -sd+ | sed 's/^$/0/' | { read -r sum; echo $((sum)); }; }
# answered_by METRICS-URL NAME OUTCOME...: that bridge was asked once more.
answered_by() {
  local before
  before=$(requests "$1")
  "${@:2}"
  [ "$(requests "$1")" -eq $((before + 1)) ] || fail "the bridge at $1 was not asked once: ${*:2}"
}
step "both are there: the first is asked, and it alone"
before=$(requests "$second_metrics")
answered_by "$OCSP_METRICS" let_in henb1 "it is valid" 'certificate status is good'
answered_by "$OCSP_METRICS" refused henb2 'certificate was revoked on .*key compromise'
[ "$(requests "$second_metrics")" -eq "$before" ] || fail "the second was asked, too"

# took OUTCOME...: within how many tenths of a second
took() {
  local began=$EPOCHREALTIME
  "$@"
  tenths=$(((${EPOCHREALTIME/./} - ${began/./}) / 100000))
  echo "$tenths tenths of a second: $*"
}
step "the first hangs: after revocation.timeout (3 s) the second is asked"
kill -STOP "$(cat bridge.pid)"
took answered_by "$second_metrics" let_in henb1 "the second bridge vouches for it" 'certificate status is good'
[ "$tenths" -ge 29 ] && [ "$tenths" -lt 60 ] || fail "it took $tenths tenths of a second"
kill -CONT "$(cat bridge.pid)"


step "nothing comes from the first one's host: the same"
ip -n "$SEGW" neigh replace 192.0.2.9 lladdr 02:00:00:00:00:09 dev veth0 # nobody has that address
sed -i "s#^    ocsp_uris = [^,]*,#    ocsp_uris = http://192.0.2.9:8888/,#" segw/swanctl/swanctl.conf
vici segw --load-authorities || fail "load-authorities"
took answered_by "$second_metrics" let_in henb1 "the second bridge vouches for it" 'certificate status is good'
[ "$tenths" -ge 29 ] && [ "$tenths" -lt 60 ] || fail "it took $tenths tenths of a second"
sed -i "s#^    ocsp_uris = [^,]*,#    ocsp_uris = $OCSP,#" segw/swanctl/swanctl.conf
vici segw --load-authorities || fail "load-authorities"

step "the first is killed: the second is asked at once"
stop bridge KILL
took answered_by "$second_metrics" let_in henb1 "the second bridge vouches for it" 'certificate status is good'
[ "$tenths" -lt 20 ] || fail "it took $tenths tenths of a second"
answered_by "$second_metrics" refused henb2 'certificate was revoked on .*key compromise'

step "the first says tryLater, since its ledger is out of reach: the second is asked"
sed -i 's#^nodes = .*#nodes = ["http://127.0.0.1:9"]#' bridge/bridge.toml
start bridge "$SEGW" ocsp-bridge run --config bridge/bridge.toml
until_true 10 in_segw curl -fs "$OCSP_METRICS/health" || fail "the first does not come up"
took answered_by "$second_metrics" let_in henb1 "the second bridge vouches for it" 'ocsp response status: try later'
log_has segw/charon.log 'certificate status is good' "$offset" || fail "the second did not say good"
stop bridge
step "none is left: strict refuses"
stop second
refused henb1 'RULE_CRL_VALIDATION is FAILED, but requires at least GOOD'
