# strongSwan as the HeNB, self-signed and recorded: established, virtual IP by CP, ping through ESP both ways
self_signed segw; self_signed henb1
ledger_init; ledger_start
ledger submit henb1.pem || fail "submit"
segw_start tun
strongswan_henb henb1
step "connect"
initiate || fail "strongSwan did not get in"
ip=$(virtual_ip)
[[ $ip == 10.88.0.* ]] || fail "no virtual IP of the pool: '$ip'"
step "ping from the HeNB to the core network"
ping_core || fail "no answer through the tunnel"
step "ping from the core network to the HeNB ($ip)"
in_segw ping -c 3 -i 0.2 -W 2 -I 10.99.0.1 "$ip" || fail "the HeNB does not answer through the tunnel"
step "counters on both sides"
segw_sas | tee sas.out
grep -q henb1.lab.test sas.out || fail "segw-sim sas does not list the HeNB"
vici henb --list-sas | tee list.out
grep -q ESTABLISHED list.out || fail "strongSwan does not list the SA"
