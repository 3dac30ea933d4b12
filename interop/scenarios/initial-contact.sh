# The strongSwan client is killed and reconnects with INITIAL_CONTACT: one SA left, the same inner address
self_signed segw; self_signed henb1
ledger_init; ledger_start
ledger submit henb1.pem || fail "submit"
segw_start tun
strongswan_henb henb1
initiate || fail "strongSwan did not get in"
first=$(virtual_ip)
step "kill -9"
stop henb KILL
# What the kernel keeps of a killed charon: its TUN device is gone with it, the virtual IP with the device.
in_henb ip address show
charon_start henb "$HENB"
initiate || fail "strongSwan did not get in again"
second=$(virtual_ip)
[ -n "$first" ] && [ "$first" = "$second" ] || fail "another inner address: '$first', then '$second'"
ping_core || fail "no answer through the new tunnel"
one_sa() { [ "$(segw_sas --json | grep -o '"identity": *"henb1.lab.test"' | wc -l)" -eq 1 ]; }
until_true 5 one_sa || { segw_sas; fail "not exactly one SA"; }
