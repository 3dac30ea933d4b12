# OCSP inside IKE: segw-sim staples the bridge's answer, henb-sim judges it; revoked, bridge gone; strongSwan on either side
# device SECONDS [OPTION...]: one device asks the gateway as told; what it said is in device.json.
device() {
  local patience=$1
  shift
  in_henb henb-sim connect --gateway 192.0.2.1 --certificate henb1.pem --key henb1.key --gateway-id segw.lab.test \
    --gateway-certificate segw.pem --remote-ts 10.99.0.0/24 --patience-s "$patience" --ping 10.99.0.1 --count 1 --json "$@" >device.json
}
let_in() { # WHY [OPTION...]
  local why=$1
  shift
  device 5 "$@" || { cat device.json; fail "not let in: $why"; }
  grep -qE '"pings_ok": *1' device.json || { cat device.json; fail "no answer through the tunnel: $why"; }
}
refuses() { # CAUSE [OPTION...]: the device refuses the gateway
  local cause=$1
  shift
  device 5 "$@" && { cat device.json; fail "the device took the gateway, and should refuse it with $cause"; }
  grep -q "\"cause\": *\"$cause\"" device.json || { cat device.json; fail "refused, but not with $cause"; }
  until_true 3 log_has segw.log 'the peer answered AUTHENTICATION_FAILED' || fail "the gateway was not told"
}
metric() { in_segw curl -fs http://127.0.0.1:9471/metrics | grep -x "ledgate_segw_sim_$1" >/dev/null; }
asks=(--ocsp-signer bridge/signer.pem)
strict=("${asks[@]}" --require-staple)
SEGW_MORE='[ocsp]
responder = "http://127.0.0.1:8888/"
signer = "bridge/signer.pem"
retry_s = 1'

self_signed segw; self_signed henb1
ledger_init; ledger_start
ledger submit segw.pem henb1.pem || fail "submit"
BRIDGE_LIFETIME=6
bridge_start

step "the gateway staples from its first handshake on"
segw_start inprocess
let_in "good and required" "${strict[@]}"
let_in "good, not required" "${asks[@]}"
let_in "nobody asks"
metric 'ocsp_staple_revoked 0' || fail "the metric says revoked"
self_signed stranger
refuses staple-invalid --ocsp-signer stranger.pem

step "a fleet asks too"
in_henb henb-sim enrol --devices 5 --organisation Lab --out fleet --quiet || fail "enrol"
ledger submit fleet/certificates.pem || fail "submit the fleet"
in_henb henb-sim fleet --identities fleet --gateway 192.0.2.1 --gateway-certificate segw.pem --remote-ts 10.99.0.0/24 \
  "${strict[@]}" --ping 10.99.0.1 --json >fleet.json || { cat fleet.json; fail "the fleet was not let in"; }

step "strongSwan 5.9.8 as the device knows nothing of it: it is sent nothing, and is let in"
strongswan_henb henb1
initiate || fail "strongSwan did not get in"
log_has henb/charon.log 'received end entity cert .*segw.lab.test' || fail "strongSwan's log does not show our certificate"
log_has henb/charon.log 'OCSP' && fail "strongSwan was sent an OCSP response that it did not ask for"
stop henb

step "the bridge is away: what is in force goes on, and ends"
stop bridge
let_in "the response is still in force" "${strict[@]}"
until_true 15 metric 'ocsp_staple_expiry_timestamp_seconds 0' || fail "the response does not end"
refuses staple-missing "${strict[@]}"
let_in "a missing one is not fatal" "${asks[@]}"
bridge_run bridge "$OCSP_METRICS"
until_true 15 metric 'ocsp_staple_revoked 0' || fail "metrics"
until_true 15 device 5 "${strict[@]}" || { cat device.json; fail "no new response"; }

step "the gateway's certificate is revoked on the ledger"
ledger revoke segw.pem --reason key-compromise || fail "revoke"
until_true 10 metric 'ocsp_staple_revoked 1' || fail "the gateway does not hear of it"
log_has segw.log 'OUR CERTIFICATE IS REVOKED' || fail "our log does not say so"
refuses staple-revoked "${strict[@]}"
refuses staple-revoked "${asks[@]}"
grep -q keyCompromise device.json || fail "the device does not say why"
in_henb henb-sim fleet --identities fleet --gateway 192.0.2.1 --gateway-certificate segw.pem --remote-ts 10.99.0.0/24 \
  "${asks[@]}" --json >fleet.json && fail "the fleet took a revoked gateway"
grep -qE '"staple-revoked": *5' fleet.json || { cat fleet.json; fail "the fleet's report does not have the cause"; }
stop segw

step "a vendor's CA: its delegate signs, and the device knows the CA alone"
stop bridge
rm -rf bridge segw.pem segw.key
vendor_ca vendor
issued_by vendor segw 0x1001
delegate vendor
ledger submit vendor.pem --class ca || fail "the CA was not accepted"
ledger submit segw.pem || fail "the gateway was not accepted"
bridge_start
SEGW_MORE='[ocsp]
responder = "http://127.0.0.1:8888/"
issuer = "vendor.pem"
hash = "sha1"
nonce = true
retry_s = 1'
segw_start inprocess
let_in "signed by the CA's delegate" --gateway-issuer vendor.pem --require-staple
refuses staple-invalid --ocsp-signer bridge/signer.pem
stop segw

step "strongSwan 5.9.8 as the gateway ignores our question"
strongswan_segw henb1
let_in "strongSwan has no response, and none is required" --gateway-issuer vendor.pem
log_has segw/charon.log 'not supported - ignored' || fail "strongSwan's log does not show that we asked"
device 5 --gateway-issuer vendor.pem --require-staple && fail "a gateway without a response was taken, though one is required"
grep -q '"cause": *"staple-missing"' device.json || { cat device.json; fail "refused, but not with staple-missing"; }
