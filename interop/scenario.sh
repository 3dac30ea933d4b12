#!/usr/bin/env bash
# The stage of one scenario: two network namespaces joined by a veth pair (gateway 192.0.2.1, HeNB 192.0.2.2), the
# functions that scenarios use, and the clearing up. 10.99.0.1 in the gateway's namespace is the core network.
# usage: scenario.sh SCENARIO WORKFOLDER | scenario.sh --end WORKFOLDER      (interop/run calls it)
set -uo pipefail

# Everything started is recorded in the work folder, so that clearing up works after a time-out too.
finish() {
  local file pid name
  for file in "$WORK"/*.pid; do
    [ -f "$file" ] || continue
    pid=$(cat "$file")
    name=$(basename "$file" .pid)
    # The id may have passed to another process: only one that was started in this work folder is ended.
    if [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$(readlink -f "$WORK")" ] ||
      [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$(readlink -f "$WORK/$name" 2>/dev/null)" ]; then
      kill "$pid" 2>/dev/null
      for _ in $(seq 30); do [ -d "/proc/$pid" ] || break; sleep 0.1; done
      [ -d "/proc/$pid" ] && kill -KILL "$pid" 2>/dev/null
    fi
    rm -f "$file"
  done
  if [ -f "$WORK/netns" ]; then
    while read -r name; do ip netns delete "$name" 2>/dev/null; done <"$WORK/netns"
    rm -f "$WORK/netns"
  fi
}

if [ "$1" = --end ]; then
  WORK=$2
  finish
  exit 0
fi
SCENARIO=$1
WORK=$2
here=$(cd "$(dirname "$0")" && pwd)
PATH=$LEDGATE_BIN:$PATH
cd "$WORK" || exit 1
umask 077
trap finish EXIT

fail() { echo "FAILED: $*"; exit 1; }
step() { echo "== $*"; }
# until_true SECONDS COMMAND...: tries ten times a second.
until_true() {
  local tries=$(($1 * 10))
  shift
  for _ in $(seq "$tries"); do
    "$@" >/dev/null 2>&1 && return 0
    sleep 0.1
  done
  return 1
}
in_segw() { ip netns exec "$SEGW" "$@"; }
in_henb() { ip netns exec "$HENB" "$@"; }
# start NAME NAMESPACE COMMAND...: in the background, log in NAME.log, process id in NAME.pid.
start() {
  local name=$1 ns=$2
  shift 2
  setsid ip netns exec "$ns" "$@" </dev/null >>"$WORK/$name.log" 2>&1 &
  echo $! >"$WORK/$name.pid"
}
# stop NAME [SIGNAL]
stop() {
  local pid
  pid=$(cat "$WORK/$1.pid") || fail "$1 was not started"
  kill "-${2:-TERM}" "$pid"
  until_true 10 test ! -d "/proc/$pid" || fail "$1 does not stop"
  rm -f "$WORK/$1.pid"
}
# log_has FILE PATTERN [FROM_OFFSET]
# No pipe: grep ends at the first match, and tail's broken pipe would count as a failure.
log_has() { grep -aqE "$2" < <(tail -c "+$((${3:-0} + 1))" "$1" 2>/dev/null); }
size_of() { stat -c %s "$1" 2>/dev/null || echo 0; }

namespaces() {
  SEGW=lg$$s HENB=lg$$h
  printf '%s\n%s\n' "$SEGW" "$HENB" >netns
  ip netns add "$SEGW" && ip netns add "$HENB" || fail "ip netns add"
  ip link add veth0 netns "$SEGW" type veth peer name veth0 netns "$HENB" || fail "veth"
  ip -n "$SEGW" address add 192.0.2.1/24 dev veth0
  ip -n "$HENB" address add 192.0.2.2/24 dev veth0
  local ns
  for ns in "$SEGW" "$HENB"; do
    ip -n "$ns" link set lo up
    ip -n "$ns" link set veth0 up
    ip netns exec "$ns" sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
  done
  ip -n "$SEGW" address add 10.99.0.1/32 dev lo
  in_segw sysctl -qw net.ipv4.ip_forward=1
}

# self_signed NAME: NAME.pem and NAME.key, ECDSA P-256, no CA anywhere, identity NAME.lab.test, organisation Lab.
self_signed() {
  cat >"$1.cnf" <<CNF
[req]
distinguished_name = dn
prompt = no
x509_extensions = ext
[dn]
O = Lab
CN = $1.lab.test
[ext]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
subjectAltName = DNS:$1.lab.test
subjectKeyIdentifier = hash
CNF
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 365 \
    -config "$1.cnf" -keyout "$1.key" -out "$1.pem" 2>"$1.openssl" || { cat "$1.openssl"; fail "openssl req $1"; }
}

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

# segw_start BACKEND(tun|inprocess)      SEGW_LISTEN: a further line for [listen]
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
TOML
  start segw "$SEGW" segw-sim run --config "$WORK/segw.toml"
  until_true 10 segw-sim sas --control "$WORK/segw.sock" || fail "segw-sim does not come up"
  [ "$1" != tun ] || ip -n "$SEGW" route replace 10.88.0.0/24 dev ledgate0 src 10.99.0.1 || fail "route to the pool"
}
segw_sas() { segw-sim sas --control "$WORK/segw.sock" "$@"; }

# strongSwan. charon SIDE NAMESPACE: files in SIDE/, log in SIDE/charon.log. Before it: SIDE/swanctl/swanctl.conf.
strongswan_files() { # side, own certificate, peer's certificate (pinned)
  mkdir -p "$1/swanctl/x509" "$1/swanctl/private"
  cp "$2.pem" "$3.pem" "$1/swanctl/x509/"
  cp "$2.key" "$1/swanctl/private/"
  # kernel-libipsec before kernel-netlink: ESP in user space, whatever the kernel has.
  cat >"$1/strongswan.conf" <<'CONF'
charon-systemd {
  load_modular = no
  load = random nonce x509 openssl pubkey pkcs1 pkcs8 pem sha1 sha2 aes hmac gcm kdf drbg curve25519 vici kernel-libipsec kernel-netlink socket-default
  filelog {
    main {
      path = charon.log
      time_format = %H:%M:%S
      default = 1
      cfg = 2
      append = yes
      flush_line = yes
    }
  }
  journal {
    default = -1
  }
  retransmit_timeout = 1.0
  retransmit_tries = 3
  plugins {
    vici {
      socket = unix://charon.vici
    }
  }
}
swanctl {
  load = pem x509 pkcs1 pkcs8 openssl sha1 sha2 random pubkey
}
CONF
}
charon_start() { # side, namespace
  rm -f "$1/charon.vici"
  (cd "$1" && STRONGSWAN_CONF=strongswan.conf exec setsid ip netns exec "$2" charon-systemd </dev/null >>charon.out 2>&1) &
  local shell=$!
  until_true 10 test -S "$1/charon.vici" || { cat "$1/charon.out"; fail "charon ($1) does not come up"; }
  echo "$shell" >"$WORK/$1.pid"
  vici "$1" --load-all --noprompt || fail "swanctl --load-all ($1)"
}
vici() { # side, swanctl arguments
  local side=$1
  shift
  (cd "$side" && STRONGSWAN_CONF=strongswan.conf SWANCTL_DIR=swanctl swanctl "$@" --uri unix://charon.vici)
}
# strongSwan as the HeNB "NAME" towards our gateway.
strongswan_henb() { # NAME
  strongswan_files henb "$1" segw
  cat >henb/swanctl/swanctl.conf <<CONF
connections {
  c {
    version = 2
    local_addrs = 192.0.2.2
    remote_addrs = 192.0.2.1
    proposals = aes128gcm16-prfsha256-x25519
    vips = 0.0.0.0
    local {
      auth = pubkey
      certs = $1.pem
      id = $1.lab.test
    }
    remote {
      auth = pubkey
      certs = segw.pem
      id = segw.lab.test
    }
    children {
      core {
        remote_ts = 10.99.0.0/24
        esp_proposals = aes128gcm16
      }
    }
  }
}
CONF
  charon_start henb "$HENB"
}
initiate() { vici henb --initiate --ike c --child core --timeout 20; }
virtual_ip() { sed -nE 's/.*installing new virtual IP ([0-9.]+).*/\1/p' henb/charon.log | tail -n 1; }
ping_core() { in_henb ping -c 3 -i 0.2 -W 2 10.99.0.1; }

# A vendor's own CA and what it issues. vendor_ca NAME: NAME.pem and NAME.key.
vendor_ca() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 365 -subj "/O=Lab/CN=$1" \
    -config <(printf '[req]\ndistinguished_name=dn\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n') \
    -extensions ca -keyout "$1.key" -out "$1.pem" 2>"$1.openssl" || { cat "$1.openssl"; fail "CA $1"; }
}
# issued_by CA NAME SERIAL [EXTENSION...]: NAME.pem and NAME.key, of a device NAME.lab.test.
issued_by() {
  local ca=$1 name=$2 serial=$3
  shift 3
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/O=Lab/CN=$name.lab.test" \
    -keyout "$name.key" -out "$name.csr" 2>"$name.openssl" &&
    openssl x509 -req -in "$name.csr" -CA "$ca.pem" -CAkey "$ca.key" -set_serial "$serial" -days 90 -sha256 -out "$name.pem" -extfile <(
      printf '%s\n' basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature "subjectAltName=DNS:$name.lab.test" \
        subjectKeyIdentifier=hash authorityKeyIdentifier=keyid "$@"
    ) 2>>"$name.openssl" || { cat "$name.openssl"; fail "certificate $name"; }
}
# bridge_start: in the gateway's namespace, at $OCSP; answers live for two seconds, and without the ledger's stream
# what the bridge remembers does too. BRIDGE_MORE (may be empty) is what else belongs into bridge.toml.
OCSP=http://127.0.0.1:8888/
bridge_start() {
  ocsp-bridge init --dir bridge --node http://127.0.0.1:9470 || fail "ocsp-bridge init"
  sed -i 's/^lifetime_s = .*/lifetime_s = 2/; /^nodes = /a ttl_s = 2' bridge/bridge.toml
  printf '%s\n' "${BRIDGE_MORE:-}" >>bridge/bridge.toml
  ocsp-bridge check-config --config bridge/bridge.toml || fail "check-config"
  start bridge "$SEGW" ocsp-bridge run --config bridge/bridge.toml
  until_true 10 in_segw curl -fs http://127.0.0.1:9472/ready || fail "the bridge is not ready"
}
# ocsp_stage: a ledger with the CA "vendor" and its devices valid, revoked and suspended; unrecorded is the vendor's
# too, but not on the ledger; of foreign, neither the certificate nor its CA "other" is. All name the bridge. The
# bridge signs for vendor with a delegate that vendor certified, for everybody else with bridge/signer.pem.
ocsp_stage() {
  local aia="authorityInfoAccess=OCSP;URI:$OCSP"
  vendor_ca vendor
  vendor_ca other
  issued_by vendor valid 0x2001 "$aia"
  issued_by vendor revoked 0x2002 "$aia"
  issued_by vendor suspended 0xfedcba9876543210 "$aia"
  issued_by vendor unrecorded 0x2004 "$aia"
  issued_by other foreign 0x2001 "$aia"
  ocsp-bridge delegate-csr --key delegate.key --subject "vendor's OCSP" --out delegate.csr || fail "delegate-csr"
  openssl x509 -req -in delegate.csr -CA vendor.pem -CAkey vendor.key -set_serial 0x1fff -days 30 -sha256 -out delegate.pem -extfile <(
    printf '%s\n' basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature extendedKeyUsage=OCSPSigning \
      noCheck=ignored subjectKeyIdentifier=hash authorityKeyIdentifier=keyid
  ) 2>delegate.openssl || { cat delegate.openssl; fail "the delegate's certificate"; }
  ledger_init
  ledger_start
  ledger submit vendor.pem --class ca || fail "the CA was not accepted"
  ledger submit valid.pem revoked.pem suspended.pem || fail "the devices were not accepted"
  ledger revoke revoked.pem --reason key-compromise || fail "revoke"
  ledger suspend suspended.pem || fail "suspend"
  BRIDGE_MORE=$(printf '[[delegate]]\nissuer = "../vendor.pem"\ncertificate = "../delegate.pem"\nkey = "../delegate.key"\n')
  bridge_start
}
# ledger_lost: the ledger ends, and what the bridge remembered of it has ended too.
ledger_lost() {
  stop ledger
  sleep 5
  in_segw curl -s http://127.0.0.1:9472/ready | grep -q 'out of reach' || fail "the bridge says that it is ready without a ledger"
}

namespaces
# shellcheck source=/dev/null
. "$SCENARIO"
