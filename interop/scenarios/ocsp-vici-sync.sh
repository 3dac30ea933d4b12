# ocsp-bridge vici-sync at a strongSwan gateway: live tunnels of revoked and suspended devices are gone within 2 s
vendor_ca vendor
issued_by vendor segw 0x1000
# Names of many parts, since vici-sync tells tunnels by them.
SUBJECT=/C=DE/O=Lab/OU=RAN/serialNumber=42
for number in 1 2 3 4 5; do issued_by vendor "henb$number" "0x100$number"; done

step "ledger, bridge (answers live for ten minutes), strongSwan as the gateway with strict OCSP"
ledger_init
ledger_start
ledger submit vendor.pem --class ca || fail "the CA was not accepted"
ledger submit henb1.pem henb2.pem henb3.pem henb4.pem henb5.pem || fail "the devices were not accepted"
BRIDGE_LIFETIME=600
bridge_start
gateway_files vendor
charon_start segw "$SEGW"

step "the devices, henb3 by its distinguished name"
strongswan_devices henb1 henb2 "henb3=C=DE, O=Lab, OU=RAN, serialNumber=42, CN=henb3.lab.test" henb4 henb5
gone_in_time() { # NAME SINCE-MS
  until_true 3 gone "$1" || { cat sync.log; fail "$1 is still connected"; }
  took=$(($(date +%s%3N) - $2))
  echo "$1 was gone $took ms after the ledger was told"
  [ "$took" -lt 2000 ] || fail "$1 was gone only after $took ms"
}
connect henb1 || { cat henb1.out; fail "henb1"; }
connect henb4 || { cat henb4.out; fail "henb4"; }

step "vici-sync: henb1 and henb4 are up before it, henb2 and henb3 come after"
start sync "$SEGW" ocsp-bridge vici-sync --vici "unix://$WORK/segw/charon.vici" --config bridge/bridge.toml
until_true 10 log_has sync.log 'connected to the IKE daemon' || fail "vici-sync does not connect"
connect henb2 || { cat henb2.out; fail "henb2"; }
connect henb3 || { cat henb3.out; fail "henb3"; }
for device in henb1 henb2 henb3 henb4; do
  listed "$device" || { vici segw --list-sas; fail "$device is not connected"; }
done
sleep 2

step "revoked: by an FQDN from before, by a distinguished name from after"
began=$(date +%s%3N)
ledger revoke henb1.pem --reason key-compromise || fail "revoke"
gone_in_time henb1 "$began"
log_has sync.log 'closing an IKE_SA: the ledger says revoked.*identity="henb1.lab.test"' || { cat sync.log; fail "the log does not say why"; }
began=$(date +%s%3N)
ledger revoke henb3.pem --reason key-compromise || fail "revoke"
gone_in_time henb3 "$began"
offset=$(size_of segw/charon.log)
connect henb1 && fail "the revoked henb1 came in again, by a cached answer"
log_has segw/charon.log 'certificate was revoked on .*key compromise' "$offset" || fail "charon did not ask anew"

step "suspended, after a rekey"
number() { vici segw --list-sas --raw 2>/dev/null | sed -nE "s/.*uniqueid=([0-9]+) .*remote-id=$1.lab.test .*/\1/p"; }
before=$(number henb2)
vici henb --rekey --ike henb2 >rekey.out 2>&1 || { cat rekey.out; fail "rekey"; }
rekeyed() { [ -n "$(number henb2)" ] && [ "$(number henb2)" != "$before" ]; }
until_true 5 rekeyed || { vici segw --list-sas --raw; fail "the IKE_SA was not rekeyed"; }
sleep 1
began=$(date +%s%3N)
ledger suspend henb2.pem || fail "suspend"
gone_in_time henb2 "$began"
connect henb2 && fail "the suspended henb2 came in"
listed henb4 || fail "henb4 is gone, too, and nobody revoked it"

step "resumed: it comes in again, though a revoked answer was cached"
ledger resume henb2.pem || fail "resume"
until_true 4 connect henb2 || { cat henb2.out; fail "the resumed henb2 is refused"; }

step "revoked while vici-sync is not there: gone when it comes back; a device that is silent, too"
connect henb5 || { cat henb5.out; fail "henb5"; }
stop sync
log_has sync.log 'stopping' || fail "vici-sync did not stop by itself"
ledger revoke henb2.pem --reason key-compromise || fail "revoke"
sleep 1
listed henb2 || fail "henb2 is gone without vici-sync"
start sync "$SEGW" ocsp-bridge vici-sync --vici "unix://$WORK/segw/charon.vici" --config bridge/bridge.toml
gone_in_time henb2 "$(date +%s%3N)"
ip -n "$HENB" link set veth0 down
began=$(date +%s%3N)
ledger revoke henb5.pem --reason key-compromise || fail "revoke"
gone_in_time henb5 "$began"
ip -n "$HENB" link set veth0 up

step "the ledger goes and comes back: nobody is closed meanwhile, and what it says then counts"
stop ledger
sleep 2
listed henb4 || fail "henb4 was closed since the ledger is down"
ledger_start
began=$(date +%s%3N)
ledger suspend henb4.pem || fail "suspend"
until_true 10 gone henb4 || { cat sync.log; fail "henb4 is still connected after the ledger came back"; }

step "the daemon goes: vici-sync waits for it"
stop segw
until_true 5 log_has sync.log 'the daemon (is lost|cannot be reached)' || fail "vici-sync did not notice"
offset=$(size_of sync.log)
charon_start segw "$SEGW"
until_true 10 log_has sync.log 'connected to the IKE daemon' "$offset" || fail "vici-sync did not come back"
stop sync
