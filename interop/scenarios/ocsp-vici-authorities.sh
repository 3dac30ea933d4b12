# ocsp-bridge vici-sync --authorities: a vendor whom only the ledger names is let in under strict OCSP, and thrown out, with swanctl never run again
vendor_ca first
vendor_ca second
issued_by first segw 0x1000
issued_by first henb1 0x1001
issued_by second henb2 0x1001
issued_by second henb3 0x1002

step "the ledger knows the first vendor; the gateway knows no vendor at all"
ledger_init
ledger_start
ledger submit first.pem --class ca || fail "the first vendor's CA was not accepted"
ledger submit henb1.pem || fail "henb1 was not accepted"
bridge_start
# An authority of the operator's own, which is none of vici-sync's affair.
vendor_ca operator
gateway_files operator
sed -i '/cacerts = operator.pem/d' segw/swanctl/swanctl.conf
charon_start segw "$SEGW"
# As the systemd unit runs it: root without any capability.
sync_start() {
  start sync "$SEGW" setpriv --no-new-privs --bounding-set=-all --inh-caps=-all ocsp-bridge vici-sync --vici "unix://$WORK/segw/charon.vici" --config bridge/bridge.toml \
    --authorities "$OCSP" --metrics 127.0.0.1:9473
  until_true 10 in_segw curl -fs http://127.0.0.1:9473/ready || { cat sync.log; fail "vici-sync is not ready"; }
}
metric() { in_segw curl -fs http://127.0.0.1:9473/metrics | awk -v name="ledgate_ocsp_bridge_vici_$1" '$1 == name { print $2 }'; }

# connect NAME: one handshake; the tunnel is held in the background.
connect() {
  local offset
  offset=$(size_of segw/charon.log)
  start "$1" "$HENB" henb-sim connect --gateway 192.0.2.1 --id "$1.lab.test" --certificate "$1.pem" --key "$1.key" \
    --gateway-id segw.lab.test --gateway-certificate segw.pem --remote-ts 10.99.0.0/24 --ping 10.99.0.1 --count 60000 --json
  until_true 10 log_has segw/charon.log "IKE_SA segw.* established between .*\[$1.lab.test\]|authentication of '$1.lab.test' .* failed|no trusted .* found for '$1.lab.test'" "$offset"
  log_has segw/charon.log "IKE_SA segw.* established between .*\[$1.lab.test\]" "$offset"
}
# end NAME: a device that may have ended by itself.
end() {
  kill -KILL "$(cat "$1.pid")" 2>/dev/null
  rm -f "$1.pid"
}
trusts() { vici segw --list-authorities 2>/dev/null | grep -q "O=Lab, CN=$1"; }
trusts_not() { ! trusts "$1"; }
in_time() { # SINCE-MS WHAT COMMAND...: within two seconds
  local began=$1 what=$2 took
  shift 2
  until_true 5 "$@" || { cat sync.log; vici segw --list-authorities; fail "not: $what"; }
  took=$(($(date +%s%3N) - began))
  echo "$took ms after the ledger was told: $what"
  [ "$took" -lt 2000 ] || fail "only after $took ms: $what"
}

step "without vici-sync nobody comes in; with it, the first vendor's device does"
connect henb1 && fail "henb1 was let in by a gateway that knows no vendor"
end henb1
sync_start
until_true 5 trusts first || { cat sync.log; fail "the first vendor is not trusted"; }
connect henb1 || { cat sync.log; tail -n 30 segw/charon.log; fail "henb1"; }
log_has segw/charon.log 'certificate status is good' || fail "charon did not ask"
connect henb2 && fail "henb2 was let in before its vendor was recorded"
end henb2

step "the second vendor is recorded: trusted within two seconds, and its devices come in"
began=$(date +%s%3N)
ledger submit second.pem --class ca || fail "the second vendor's CA was not accepted"
in_time "$began" "the second vendor is trusted" trusts second
ledger submit henb2.pem henb3.pem || fail "the devices were not accepted"
connect henb2 || { cat sync.log; tail -n 30 segw/charon.log; fail "henb2"; }
[ "$(metric authorities)" = 2 ] || fail "the metric says $(metric authorities) authorities, and there are 2"

step "swanctl --load-all takes them away, as it does all that are not in its file: they come back by themselves"
vici segw --load-all --noprompt || fail "load-all"
until_true 3 trusts second || { cat sync.log; fail "the second vendor was not loaded again"; }

step "the second vendor is suspended: untrusted, its tunnel gone, its next device refused; the first vendor's stays"
began=$(date +%s%3N)
ledger suspend second.pem || fail "suspend"
in_time "$began" "henb2 is gone" gone henb2
in_time "$began" "the second vendor is not trusted" trusts_not second
offset=$(size_of segw/charon.log)
connect henb3 && fail "henb3 was let in by a suspended vendor"
log_has segw/charon.log 'no issuer certificate found for .*henb3' "$offset" || { tail -n 20 segw/charon.log; fail "henb3 was refused for another reason"; }
listed henb1 || fail "henb1 is gone, too, and its vendor is valid"
trusts operator || fail "the operator's own authority is gone"
log_has sync.log 'closing an IKE_SA: the ledger says of its certificate.s authority suspended.*identity="henb2.lab.test"' || { cat sync.log; fail "the log does not say why"; }

step "resumed: it comes in again"
began=$(date +%s%3N)
ledger resume second.pem || fail "resume"
in_time "$began" "the second vendor is trusted again" trusts second
connect henb3 || { tail -n 30 segw/charon.log; fail "henb3 after the vendor was resumed"; }

step "vici-sync is started again: it takes over what is there"
stop sync
trusts second || fail "the authority went with vici-sync"
offset=$(size_of segw/charon.log)
sync_start
until_true 3 log_has segw/charon.log 'requests: get-authorities' "$offset" || fail "vici-sync does not look at the authorities"
trusts second || fail "the second vendor is gone"
log_has segw/charon.log 'requests: (un)?load-authority' "$offset" && fail "what was there was loaded again"
listed henb3 || fail "henb3 is gone"

step "charon is started again: the vendors are loaded again"
# Its devices know nothing of it, and end by themselves or with the scenario.
stop segw KILL
charon_start segw "$SEGW"
until_true 10 trusts second || { cat sync.log; fail "the vendors were not loaded into the new charon"; }
end henb3
connect henb3 || { tail -n 30 segw/charon.log; fail "henb3 after charon came back"; }

step "the second vendor is revoked while vici-sync is away: untrusted and its tunnels gone when it comes back"
stop sync
ledger revoke second.pem --reason ca-compromise || fail "revoke"
listed henb3 || fail "henb3 is gone without vici-sync"
start sync "$SEGW" ocsp-bridge vici-sync --vici "unix://$WORK/segw/charon.vici" --config bridge/bridge.toml --authorities "$OCSP" --metrics 127.0.0.1:9473
until_true 3 gone henb3 || { cat sync.log; fail "henb3 is still there"; }
until_true 3 trusts_not second || fail "the second vendor is still trusted"
[ "$(metric 'authority_changes_total{change="unloaded"}')" = 1 ] || { in_segw curl -fs http://127.0.0.1:9473/metrics; fail "the unloading was not counted"; }

step "the ledger goes: everything stays as it is, and /ready says so"
stop ledger
until_true 10 log_has sync.log 'event stream lost' || fail "the loss was not noticed"
in_segw curl -s http://127.0.0.1:9473/ready | grep -q 'the ledger is out of reach' || fail "/ready does not say that the ledger is away"
sleep 2
trusts first || fail "the first vendor was dropped since the ledger is down"
stop sync
