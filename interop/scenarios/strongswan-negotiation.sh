# strongSwan with every algorithm that both sides have, ECDSA and Ed25519, a wrong first group (INVALID_KE_PAYLOAD), cookies
self_signed segw; self_signed henb1
openssl req -x509 -newkey ed25519 -nodes -days 365 -config henb1.cnf -keyout henb1.key -out henb1-ed25519.pem 2>openssl.err || fail "an Ed25519 key"
mv henb1.key henb1-ed25519.key
self_signed henb1
ledger_init; ledger_start
ledger submit henb1.pem henb1-ed25519.pem || fail "submit"
# Every first message must come again with a cookie.
SEGW_LISTEN="cookie_threshold = 0" segw_start tun
strongswan_henb henb1
swanctl_conf=$(cat henb/swanctl/swanctl.conf)
attempt() { # what, IKE proposal, ESP proposal, what strongSwan's log must say
  step "$1"
  local offset
  printf '%s\n' "$swanctl_conf" | sed -E "s/^( *proposals = ).*/\1$2/; s/^( *esp_proposals = ).*/\1$3/" >henb/swanctl/swanctl.conf
  vici henb --load-all --noprompt >load.out 2>&1 || { cat load.out; fail "swanctl --load-all"; }
  offset=$(size_of henb/charon.log)
  initiate || fail "$1: not let in"
  ping_core || fail "$1: no answer through the tunnel"
  log_has henb/charon.log "$4" "$offset" || fail "$1: strongSwan's log does not say '$4'"
  log_has henb/charon.log 'COOKIE' "$offset" || fail "$1: no cookie was asked for"
  vici henb --terminate --ike c >/dev/null || fail "$1: terminate"
}
attempt "AES-256-GCM, SHA2-384, P-256" aes256gcm16-prfsha384-ecp256 aes256gcm16 'AES_GCM_16_256/PRF_HMAC_SHA2_384/ECP_256'
attempt "ChaCha20-Poly1305, X25519" chacha20poly1305-prfsha256-x25519 chacha20poly1305 'CHACHA20_POLY1305/PRF_HMAC_SHA2_256/CURVE_25519'
attempt "a group that we have not comes first" aes128gcm16-prfsha256-modp3072-x25519 aes128gcm16 "peer didn.t accept key exchange method MODP_3072|peer didn.t accept DH group MODP_3072"
step "Ed25519"
cp henb1-ed25519.pem henb/swanctl/x509/henb1.pem
cp henb1-ed25519.key henb/swanctl/private/henb1.key
attempt "Ed25519" aes128gcm16-prfsha256-x25519 aes128gcm16 "authentication of 'henb1.lab.test' \(myself\) with ED25519"
