# why not to pin: strongSwan lets a revoked, pinned self-signed device in under strict without asking; vici-sync closes it
vendor_ca vendor
issued_by vendor segw 0x1001
self_signed henb1
ledger_init
ledger_start
ledger submit vendor.pem --class ca || fail "the CA was not accepted"
ledger submit henb1.pem || fail "the device was not accepted"
ledger revoke henb1.pem --reason key-compromise || fail "revoke"
bridge_start
in_segw openssl ocsp -issuer henb1.pem -cert henb1.pem -url "$OCSP" -VAfile bridge/signer.pem >ocsp.out 2>&1
grep -q '^henb1.pem: revoked' ocsp.out || { cat ocsp.out; fail "the bridge does not say revoked of a self-signed certificate"; }
asked() { in_segw curl -s "$OCSP_METRICS/metrics" | grep '^ledgate_ocsp_bridge_http_responses_total'; }
before=$(asked)
gateway_files vendor
sed -i 's/^      cacerts = .*/      id = henb1.lab.test/' segw/swanctl/swanctl.conf

step "not pinned: refused, without asking"
charon_start segw "$SEGW"
refused henb1 'self-signed certificate .* is not trusted'

step "pinned by lying in swanctl/x509, then by name: let in"
cp henb1.pem segw/swanctl/x509/
vici segw --load-all --noprompt || fail "load-all"
let_in henb1 "it lies in swanctl/x509"
sed -i 's/^      id = henb1.lab.test/      certs = henb1.pem\n&/' segw/swanctl/swanctl.conf
vici segw --load-all --noprompt || fail "load-all"
let_in henb1 "it is named in remote.certs"
if log_has segw/charon.log 'checking certificate status|requesting ocsp'; then fail "charon asked for the status: the manual says that it does not"; fi
[ "$(asked)" = "$before" ] || fail "somebody asked the bridge"

step "vici-sync closes the tunnel each time that it comes up"
start sync "$SEGW" ocsp-bridge vici-sync --vici "unix://$WORK/segw/charon.vici" --config bridge/bridge.toml
until_true 10 log_has sync.log 'connected to the IKE daemon' || fail "vici-sync does not connect"
strongswan_devices henb1
for _ in 1 2; do
  connect henb1 || { cat henb1.out; fail "not let in any more"; }
  until_true 2 gone henb1 || { cat sync.log; fail "still connected after two seconds"; }
done
