# The ledger: one node in the gateway's namespace, the member "lab" with the organisation Lab.
ledger_init() {
  ledger-node init --dir "$WORK/ledger-dir" --member lab --organisation Lab || fail "ledger-node init"
}
ledger_start() {
  start ledger "$SEGW" ledger-node run --dir "$WORK/ledger-dir"
  until_true 10 in_segw ledger-node status --node http://127.0.0.1:9470 \
    0000000000000000000000000000000000000000000000000000000000000000 || fail "the ledger node does not answer"
}
# ledger VERB ARGUMENT...: as the member "lab".
ledger() {
  in_segw ledger-node "$@" --node http://127.0.0.1:9470 --member lab --key "$WORK/ledger-dir/lab.key"
}

# segw_start BACKEND(tun|inprocess)      SEGW_LISTEN: a further line for [listen]; SEGW_MORE: further sections
segw_start() {
  cat >segw.toml <<TOML
[listen]
address = "192.0.2.1"
${SEGW_LISTEN:-}

[identity]
id = "segw.lab.test"
certificate = "segw.pem"
key = "segw.key"

[ledger]
nodes = ["http://127.0.0.1:9470"]

[pool]
network = "10.88.0.0/24"
dns = ["10.99.0.1"]

[child]
local = ["10.99.0.0/24"]

[esp]
backend = "$1"
tun_name = "ledgate0"
core = ["10.99.0.1"]

[metrics]
listen = "127.0.0.1:9471"

[control]
socket = "segw.sock"

${SEGW_MORE:-}
TOML
  start segw "$SEGW" segw-sim run --config "$WORK/segw.toml"
  until_true 10 segw-sim sas --control "$WORK/segw.sock" || fail "segw-sim does not come up"
  [ "$1" != tun ] || ip -n "$SEGW" route replace 10.88.0.0/24 dev ledgate0 src 10.99.0.1 || fail "route to the pool"
}
segw_sas() { segw-sim sas --control "$WORK/segw.sock" "$@"; }

