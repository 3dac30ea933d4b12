# ocsp-bridge, in the gateway's namespace, at $OCSP; its metrics at $OCSP_METRICS.
OCSP=http://127.0.0.1:8888/
OCSP_METRICS=http://127.0.0.1:9472

# bridge_start: answers live for BRIDGE_LIFETIME seconds (2 if it is not set), and without the ledger's stream what the
# bridge remembers lives for one (BRIDGE_TTL). BRIDGE_MORE (may be empty) is what else belongs into bridge.toml.
bridge_start() {
  ocsp-bridge init --dir bridge --node http://127.0.0.1:9470 || fail "ocsp-bridge init"
  sed -i "s/^lifetime_s = .*/lifetime_s = ${BRIDGE_LIFETIME:-2}/; /^nodes = /a ttl_s = ${BRIDGE_TTL:-1}" bridge/bridge.toml
  printf '%s\n' "${BRIDGE_MORE:-}" >>bridge/bridge.toml
  ocsp-bridge check-config --config bridge/bridge.toml || fail "check-config"
  bridge_run bridge "$OCSP_METRICS"
}
# bridge_run NAME METRICS-URL: the bridge whose configuration is NAME/bridge.toml.
bridge_run() {
  start "$1" "$SEGW" ocsp-bridge run --config "$1/bridge.toml"
  until_true 10 in_segw curl -fs "$2/ready" || fail "$1 is not ready"
}

# delegate CA [OPTION...]: CA.delegate.pem and .key, certified by CA to sign OCSP answers about its certificates, and the
# lines of bridge.toml for it in BRIDGE_MORE. The key is made by ocsp-bridge, with OPTIONs by openssl genpkey.
delegate() {
  local ca=$1 key=$1.delegate.key csr=$1.delegate.csr
  shift
  if [ $# -eq 0 ]; then
    ocsp-bridge delegate-csr --key "$key" --subject "$ca's OCSP" --out "$csr" || fail "delegate-csr"
  else
    openssl genpkey "$@" -out "$key" 2>"$ca.openssl" &&
      openssl req -new -key "$key" -subj "/CN=$ca's OCSP" -out "$csr" 2>>"$ca.openssl" || { cat "$ca.openssl"; fail "a delegate's key"; }
  fi
  openssl x509 -req -in "$csr" -CA "$ca.pem" -CAkey "$ca.key" -set_serial 0x1fff -days 30 -sha256 -out "$ca.delegate.pem" -extfile <(
    printf '%s\n' basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature extendedKeyUsage=OCSPSigning \
      noCheck=ignored subjectKeyIdentifier=hash authorityKeyIdentifier=keyid
  ) 2>>"$ca.openssl" || { cat "$ca.openssl"; fail "the delegate's certificate"; }
  BRIDGE_MORE+=$(printf '\n[[delegate]]\nissuer = "../%s.pem"\ncertificate = "../%s.delegate.pem"\nkey = "../%s.delegate.key"' "$ca" "$ca" "$ca")
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
  delegate vendor
  ledger_init
  ledger_start
  ledger submit vendor.pem --class ca || fail "the CA was not accepted"
  ledger submit valid.pem revoked.pem suspended.pem || fail "the devices were not accepted"
  ledger revoke revoked.pem --reason key-compromise || fail "revoke"
  ledger suspend suspended.pem || fail "suspend"
  bridge_start
}
# ledger_lost: the ledger ends, and what the bridge remembered of it has ended too.
ledger_lost() {
  stop ledger
  sleep 3
  in_segw curl -s "$OCSP_METRICS/ready" | grep -q 'out of reach' || fail "the bridge says that it is ready without a ledger"
}
