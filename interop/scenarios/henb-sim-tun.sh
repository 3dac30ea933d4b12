# henb-sim with a TUN against segw-sim with a TUN: the kernels of both ends ping each other, both ways; Ctrl-C says goodbye
self_signed segw; self_signed henb1
ledger_init; ledger_start
ledger submit henb1.pem || fail "submit"
segw_start tun
start henb-sim "$HENB" henb-sim connect --gateway 192.0.2.1 --certificate henb1.pem --key henb1.key \
  --gateway-id segw.lab.test --gateway-certificate segw.pem --remote-ts 10.99.0.0/24 --tun henb0
until_true 5 log_has henb-sim.log 'TUN device henb0 is up' || { cat henb-sim.log; fail "not connected"; }
ip=$(sed -nE 's/.*inner address ([0-9.]+).*/\1/p' henb-sim.log)
[[ $ip == 10.88.0.* ]] || fail "no inner address of the pool: '$ip'"
ip -n "$HENB" route add 10.99.0.0/24 dev henb0 src "$ip" || fail "route"
step "ping from the HeNB, and large packets"
ping_core || fail "no answer through the tunnel"
in_henb ping -c 3 -i 0.2 -W 2 -s 1300 10.99.0.1 || fail "no answer to large packets"
step "ping from the core network"
in_segw ping -c 3 -i 0.2 -W 2 -I 10.99.0.1 "$ip" || fail "the HeNB does not answer"
step "goodbye"
stop henb-sim INT
until_true 3 sh -c '! segw-sim sas --control segw.sock | grep -q henb1.lab.test' || fail "the gateway still lists the SA"
log_has segw.log 'the peer deleted the IKE SA' || fail "henb-sim left without a Delete"
