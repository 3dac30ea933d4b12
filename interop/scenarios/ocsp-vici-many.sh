# ocsp-bridge vici-sync with sixty tunnels on one gateway: one, ten, and all the rest revoked at once are gone within 2 s of the block
# environment: LEDGATE_VICI_TUNNELS  how many tunnels (default 60; 500 take some two minutes)
#              LEDGATE_VICI_SLOW     the OCSP responder answers so many seconds late, while ten other devices a second come in
#              LEDGATE_VICI_THREADS  charon.threads (default: charon's own; beside a slow responder what strongswan-config prints)
count=${LEDGATE_VICI_TUNNELS:-60}
slow=${LEDGATE_VICI_SLOW:-}
vendor_ca vendor
issued_by vendor segw 0x1000
mkdir devices others.1 others.2
printf '%s\n' basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature subjectKeyIdentifier=hash authorityKeyIdentifier=keyid >device.ext
device() { # FOLDER NUMBER NAME SERIAL
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1/$2.key" &&
    openssl x509 -new -force_pubkey <(openssl pkey -in "$1/$2.key" -pubout) -subj "/O=Lab/CN=$3" -CA vendor.pem -CAkey vendor.key \
      -set_serial "$4" -days 90 -sha256 -extfile <(cat device.ext; echo "subjectAltName=DNS:$3") \
      -out "$1/$2.pem" 2>device.openssl || { cat device.openssl; fail "device $3"; }
  cat "$1/$2.pem" >>"$1/certificates.pem"
  cat "$1/$2.key" >>"$1/keys.pem"
}
for i in $(seq "$count"); do device devices "$i" "henb$i.lab.test" "$((0x2000 + i))"; done
[ -z "$slow" ] || for i in $(seq 80); do device "others.$((i % 2 + 1))" "$i" "other$i.side.test" "$((0x8000 + i))"; done

step "ledger, bridge, gateway, vici-sync"
ledger_init
ledger_start
ledger submit vendor.pem --class ca || fail "the CA was not accepted"
ledger submit devices/certificates.pem >submitted || { cat submitted; fail "the devices were not accepted"; }
[ -z "$slow" ] || ledger submit <(cat others.?/certificates.pem) >submitted || { cat submitted; fail "the other devices were not accepted"; }
# While the node is held, the bridge must answer all the same.
[ -z "$slow" ] || BRIDGE_URLS=http://127.0.0.1:8889/ BRIDGE_TTL=60
bridge_start
gateway_files vendor
if [ -n "$slow" ]; then
  # What goes to 8889 comes to the bridge late.
  cat >late.py <<'PYTHON'
import asyncio, sys
async def pump(reader, writer, pause):
    while octets := await reader.read(65536):
        await asyncio.sleep(pause)
        writer.write(octets)
    writer.close()
async def serve(reader, writer):
    bridge = await asyncio.open_connection("127.0.0.1", 8888)
    await asyncio.gather(pump(reader, bridge[1], float(sys.argv[1])), pump(bridge[0], writer, 0))
async def main():
    await (await asyncio.start_server(serve, "127.0.0.1", 8889, backlog=1000)).serve_forever()
asyncio.run(main())
PYTHON
  start late "$SEGW" python3 late.py "$slow"
  until_true 10 in_segw bash -c '</dev/tcp/127.0.0.1/8889' || { cat late.log; fail "the late responder does not listen"; }
fi
sed -i 's#addrs = 10.88.0.0/24#addrs = 10.88.0.0/16#' segw/swanctl/swanctl.conf
# Cookies off: all devices come from one address. Times in the log as the ledger tells them.
sed -i -e 's/^      time_format = .*/      time_format = %s\n      time_add_ms = yes/' -e 's/^charon-systemd {/charon-systemd {\n  dos_protection = no/' segw/strongswan.conf
threads=${LEDGATE_VICI_THREADS:-}
if [ -n "$slow" ] && [ -z "$threads" ]; then
  threads=$(sed -nE 's/^# +threads = ([0-9]+) .*/\1/p' segw/printed.conf)
  [ -n "$threads" ] || fail "strongswan-config does not tell how many threads"
fi
[ -z "$threads" ] || sed -i "s/^charon-systemd {/&\n  threads = $threads/" segw/strongswan.conf
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

if [ -n "$slow" ]; then
  step "others come and go beside, ten a second, and the responder takes $slow s for each"
  # In two loops, so that one goes on while the other begins anew.
  for i in 1 2; do
    # shellcheck disable=SC2016
    start "beside.$i" "$HENB" bash -c 'while :; do "$@"; done' - henb-sim fleet --gateway 192.0.2.1 --gateway-id segw.lab.test \
      --gateway-certificate segw.pem --identities "others.$i" --remote-ts 10.99.0.0/24 --arrival steady --rate 5 --patience-s 60 --json
    sleep 4
  done
  # All have come once, so that the bridge knows of them while the node is held.
  sleep 6
fi

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
