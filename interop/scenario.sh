#!/usr/bin/env bash
# One scenario and its stage: two network namespaces joined by a veth pair (gateway 192.0.2.1, HeNB 192.0.2.2) and the
# functions that scenarios use. 10.99.0.1 in the gateway's namespace is the core network.
# It is the first process of a PID namespace, in a mount namespace with a /run of its own (interop/run makes them): when
# it ends, however it ends, the kernel ends what it started and takes the network namespaces back. No file is needed.
# usage: scenario.sh SCENARIO WORKFOLDER
set -uo pipefail
[ $$ -eq 1 ] || { echo "scenario.sh: interop/run starts it, in namespaces that clear up after it" >&2; exit 2; }
SCENARIO=$1
WORK=$2
here=$(cd "$(dirname "$0")" && pwd)
PATH=$LEDGATE_BIN:$PATH
cd "$WORK" || exit 1
umask 077
# The first process of a namespace ignores the signals for which it has no handler.
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

failed=
fail() { failed=yes; echo "FAILED: $*"; exit 1; }
# A scenario that ends otherwise says so.
trap 'code=$?; [ "$code" -eq 0 ] || [ -n "$failed" ] || echo "FAILED: exit code $code, from its last command or as bash says above"' EXIT
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
  SEGW=ledgate-segw HENB=ledgate-henb
  mount -t tmpfs -o mode=755 tmpfs /run || fail "a /run of its own"
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

for part in "$here"/stage/*.sh; do
  # shellcheck source=/dev/null
  . "$part"
done
namespaces
# shellcheck source=/dev/null
. "$SCENARIO"
