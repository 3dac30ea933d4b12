# ocsp-bridge vici-sync with sixty tunnels on one gateway: one, ten, and all the rest revoked at once are gone within 2 s of the block
# environment: LEDGATE_VICI_TUNNELS  how many tunnels (default 60; 500 take some two minutes)
count=${LEDGATE_VICI_TUNNELS:-60}
vendor_ca vendor
issued_by vendor segw 0x1000
mkdir devices
printf '%s\n' basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature subjectKeyIdentifier=hash authorityKeyIdentifier=keyid >device.ext
for i in $(seq "$count"); do
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "devices/$i.key" &&
    openssl x509 -new -force_pubkey <(openssl pkey -in "devices/$i.key" -pubout) -subj "/O=Lab/CN=henb$i.lab.test" -CA vendor.pem -CAkey vendor.key \
      -set_serial "$((0x2000 + i))" -days 90 -sha256 -extfile <(cat device.ext; echo "subjectAltName=DNS:henb$i.lab.test") \
      -out "devices/$i.pem" 2>device.openssl || { cat device.openssl; fail "device $i"; }
  cat "devices/$i.pem" >>devices/certificates.pem
  cat "devices/$i.key" >>devices/keys.pem
done

step "ledger, bridge, gateway, vici-sync"
ledger_init
ledger_start
ledger submit vendor.pem --class ca || fail "the CA was not accepted"
ledger submit devices/certificates.pem >submitted || { cat submitted; fail "the devices were not accepted"; }
bridge_start
gateway_files vendor
sed -i 's#addrs = 10.88.0.0/24#addrs = 10.88.0.0/16#' segw/swanctl/swanctl.conf
# Cookies off: all devices come from one address. Times in the log as the ledger tells them.
sed -i -e 's/^      time_format = .*/      time_format = %s\n      time_add_ms = yes/' -e 's/^charon-systemd {/charon-systemd {\n  dos_protection = no/' segw/strongswan.conf
charon_start segw "$SEGW"
start sync "$SEGW" ocsp-bridge vici-sync --vici "unix://$WORK/segw/charon.vici" --config bridge/bridge.toml --metrics 127.0.0.1:9473
until_true 10 in_segw curl -fs http://127.0.0.1:9473/ready || { cat sync.log; fail "vici-sync is not ready"; }

step "$count devices come in at once"
start fleet "$HENB" henb-sim fleet --gateway 192.0.2.1 --gateway-id segw.lab.test --gateway-certificate segw.pem --identities devices \
  --remote-ts 10.99.0.0/24 --arrival burst --hold-s 3000 --patience-s 60 --json
# Without waiting for those that are busy.
live() { vici segw --list-sas --noblock 2>/dev/null | grep -c 'remote .*lab.test'; }
are_in() { [ "$(live)" -eq "$1" ]; }
until_true 60 are_in "$count" || { live; cat fleet.log; fail "not everybody is in"; }
sleep 2
echo "$(grep -c 'knows no certificate of that identity' sync.log) of $count are unidentified: charon had forgotten their certificates before it was asked"

# revoke FIRST LAST: those devices; the node is held until all have asked, so that they come in one burst.
revoke() {
  local i clients=()
  [ "$1" = "$2" ] || kill -STOP "$(cat ledger.pid)"
  for i in $(seq "$1" "$2"); do
    ledger revoke "devices/$i.pem" --reason key-compromise >>revoked 2>&1 &
    clients+=($!)
  done
  [ "$1" = "$2" ] || sleep 2
  kill -CONT "$(cat ledger.pid)"
  wait "${clients[@]}"
  [ "$(grep -c 'revoked, height' revoked)" -eq "$2" ] || { tail -n 3 revoked; fail "not all were revoked"; }
}
left=$count
round() { # FIRST LAST: revokes them, and says how many ms after its block charon deleted each
  local i block deleted
  revoke "$1" "$2"
  left=$((left - $2 + $1 - 1))
  until_true 20 are_in "$left" || { live; tail -n 30 sync.log; fail "not all of $1 to $2 are gone"; }
  for i in $(seq "$1" "$2"); do
    block=$(in_segw ledger-node status --node http://127.0.0.1:9470 --json "devices/$i.pem" | sed -nE 's/.*"time":([0-9]+).*/\1/p')
    deleted=$(sed -nE "s/^([0-9]+)\.([0-9]{3}) .*deleting IKE_SA .*\[henb$i\.lab\.test\].*/\1\2/p" segw/charon.log | tail -n 1)
    echo $((deleted - block))
  done | sort -n >took
  echo "$(wc -l <took) revoked at once: gone after $(sed -n "$((($(wc -l <took) + 1) / 2))p" took) ms in the median, $(tail -n 1 took) ms at most"
  [ "$(tail -n 1 took)" -lt 2000 ] || { cat took; fail "some were gone only after 2 s"; }
}
step "one"
round 1 1
step "ten"
round 2 11
step "the rest"
round 12 "$count"
closed=$(in_segw curl -fs http://127.0.0.1:9473/metrics | sed -nE 's/^ledgate_ocsp_bridge_vici_tunnels_closed_total\{reason="certificate"\} //p')
[ "$closed" = "$count" ] || fail "vici-sync counted $closed closed tunnels of $count"
stop sync
