# strongSwan as the gateway of vendors' devices, which asks ocsp-bridge about them.

# gateway_files CA...: strongSwan as the gateway, which asks the bridge about the devices of these CAs, revocation =
# strict, with the lines that the bridge prints (--url BRIDGE_URLS, if that is set). charon_start segw "$SEGW" starts it.
gateway_files() {
  local ca cas=() urls=()
  strongswan_files segw segw segw
  mkdir -p segw/swanctl/x509ca segw/swanctl/x509ocsp
  for ca in "$@"; do
    cp "$ca.pem" segw/swanctl/x509ca/
    cas+=(--ca "$ca.pem")
  done
  for url in ${BRIDGE_URLS:-}; do urls+=(--url "$url"); done
  cp bridge/signer.pem segw/swanctl/x509ocsp/
  sed -i -e 's/ x509 openssl pubkey/ x509 openssl revocation constraints pubkey/' -e 's/ curve25519 vici/ curve25519 curl vici/' \
    -e 's/^  plugins {/  plugins {\n    revocation {\n      enable_ocsp = yes\n      enable_crl = no\n      timeout = 3s\n    }/' segw/strongswan.conf
  ocsp-bridge strongswan-config --config bridge/bridge.toml "${cas[@]}" "${urls[@]}" >segw/printed.conf || fail "strongswan-config"
  gateway_connection "cacerts = $(printf '%s.pem\n' "$@" | paste -sd,)" 'revocation = strict' | cat - segw/printed.conf >segw/swanctl/swanctl.conf
}
# gateway_revocation strict|ifuri|relaxed: changes the running gateway.
gateway_revocation() {
  sed -i "s/^      revocation = .*/      revocation = $1/" segw/swanctl/swanctl.conf
  vici segw --load-conns || fail "load-conns"
}
# attempt NAME: one handshake of the device NAME by henb-sim, with one ping; the gateway has no OCSP answer cached.
# Its result is henb-sim's exit code; $offset is where the gateway's log was.
attempt() {
  vici segw --flush-certs --type ocsp_response >/dev/null 2>&1
  offset=$(size_of segw/charon.log)
  in_henb timeout 20 henb-sim connect --gateway 192.0.2.1 --id "$1.lab.test" --certificate "$1.pem" --key "$1.key" \
    --gateway-id segw.lab.test --gateway-certificate segw.pem --remote-ts 10.99.0.0/24 --ping 10.99.0.1 --count 1 --json >"$1.json" 2>"$1.err"
}
let_in() { # NAME WHY [PATTERN-IN-CHARONS-LOG]
  attempt "$1" || { cat "$1.json" "$1.err"; fail "$1 was refused: $2"; }
  [ -z "${3:-}" ] || log_has segw/charon.log "$3" "$offset" || fail "$1 was let in, but charon does not say '$3'"
}
refused() { # NAME PATTERN-IN-CHARONS-LOG
  attempt "$1" && fail "$1 was let in"
  grep -q AUTHENTICATION_FAILED "$1.json" "$1.err" || { cat "$1.json" "$1.err"; fail "$1 was refused, but not by AUTHENTICATION_FAILED"; }
  log_has segw/charon.log "$2" "$offset" || fail "$1 was refused, but charon does not say '$2'"
}
