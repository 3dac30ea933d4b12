# henb-sim as the device against strongSwan as the gateway: established, ping through ESP
self_signed segw; self_signed henb1
strongswan_segw henb1
in_henb henb-sim connect --gateway 192.0.2.1 --id henb1.lab.test --certificate henb1.pem --key henb1.key \
  --gateway-id segw.lab.test --gateway-certificate segw.pem --remote-ts 10.99.0.0/24 \
  --ping 10.99.0.1 --count 3 --json | tee result.json
[ "${PIPESTATUS[0]}" -eq 0 ] || fail "henb-sim connect failed"
grep -qE '"pings_ok": *3' result.json || fail "not all three pings were answered"
until_true 5 log_has segw/charon.log 'received DELETE for IKE_SA' || fail "henb-sim did not say goodbye"
