# ocsp-bridge signs OCSP and CRLs with keys on a PKCS#11 token (SoftHSM); it goes away and comes back; openssl and pki judge
# needs: softhsm2-util pkcs11-tool pki
module=
for path in /usr/lib/softhsm/libsofthsm2.so /usr/lib64/pkcs11/libsofthsm2.so; do [ -e "$path" ] && module=$path; done
[ -n "$module" ] || fail "SoftHSM's module is not where it is looked for"
export SOFTHSM2_CONF=$WORK/softhsm2.conf
mkdir tokens
printf 'directories.tokendir = %s/tokens\n' "$WORK" >"$SOFTHSM2_CONF"
pin=20261121
printf '%s\n' "$pin" >pin
softhsm2-util --init-token --free --label lab --so-pin 5678 --pin "$pin" || fail "no token"
on_token=(--pkcs11-module "$module" --pkcs11-token lab --pin-file pin)
new_key() { # KIND LABEL ID
  pkcs11-tool --module "$module" --token-label lab --login --pin "$pin" --keypairgen --key-type "$1" --label "$2" --id "$3" >key.out 2>&1 ||
    { cat key.out; fail "no $1 key"; }
}

step "the own signer: P-256; delegates: P-384, Ed25519, RSA, by request from the token"
declare -A kinds=([p384]=EC:secp384r1 [ed25519]=EC:edwards25519 [rsa]=rsa:2048)
new_key EC:prime256v1 own 01
ocsp-bridge init --dir bridge --node http://127.0.0.1:9470 "${on_token[@]}" --pkcs11-key own || fail "init"
[ -e bridge/signer.key ] && fail "there is a key beside the token's"
sed -i "s/^lifetime_s = .*/lifetime_s = 2/; /^nodes = /a ttl_s = 1" bridge/bridge.toml
ledger_init
ledger_start
number=10
for ca in own "${!kinds[@]}"; do
  if [ "$ca" = rsa ]; then vendor_ca rsa rsa:2048; else vendor_ca "$ca"; fi
  issued_by "$ca" "$ca-valid" 0x2001
  issued_by "$ca" "$ca-revoked" 0x2002
  ledger submit "$ca.pem" --class ca || fail "the CA was not accepted"
  ledger submit "$ca-valid.pem" "$ca-revoked.pem" || fail "the devices were not accepted"
  ledger revoke "$ca-revoked.pem" --reason key-compromise || fail "revoke"
  [ "$ca" != own ] || continue
  number=$((number + 1))
  new_key "${kinds[$ca]}" "$ca" "$number"
  ocsp-bridge delegate-csr "${on_token[@]}" --pkcs11-key "id:$number" --subject "$ca OCSP" --out "$ca.csr" || fail "delegate-csr $ca"
  openssl req -in "$ca.csr" -verify -noout 2>req.out || { cat req.out; fail "the request of $ca"; }
  openssl x509 -req -in "$ca.csr" -CA "$ca.pem" -CAkey "$ca.key" -set_serial 0x1fff -days 30 -sha256 -out "$ca.delegate.pem" -extfile <(
    printf '%s\n' keyUsage=critical,digitalSignature extendedKeyUsage=OCSPSigning noCheck=ignored
  ) 2>req.out || { cat req.out; fail "the delegate's certificate"; }
  printf '\n[[delegate]]\nissuer = "../%s.pem"\ncertificate = "../%s.delegate.pem"\npkcs11 = { module = "%s", token = "lab", key = "%s", pin_file = "../pin" }\n' \
    "$ca" "$ca" "$module" "$ca" >>bridge/bridge.toml
done
# The CRLs of two of them: their own keys are on the token.
for ca in own rsa; do
  number=$((number + 1))
  softhsm2-util --import "$ca.key" --token lab --label "$ca CA" --id "$number" --pin "$pin" || fail "the key of $ca is not taken"
  printf '\n[[crl]]\nissuer = "../%s.pem"\ncertificate = "../%s.pem"\npkcs11 = { module = "%s", token = "lab", key = "%s CA", pin_file = "../pin" }\n' \
    "$ca" "$ca" "$module" "$ca" >>bridge/bridge.toml
  printf 'url = "%s"\n' "$OCSP" >>bridge/bridge.toml
done
ocsp-bridge check-config --config bridge/bridge.toml || fail "check-config"
bridge_run bridge "$OCSP_METRICS"

# asked CA OPTION...: of the certificates of this CA; what openssl says is in ocsp.out.
asked() {
  in_segw openssl ocsp -issuer "$1.pem" "${@:2}" -cert "$1-valid.pem" -cert "$1-revoked.pem" -url "$OCSP" -CAfile "$1.pem" \
    -VAfile bridge/signer.pem -resp_text >ocsp.out 2>&1
}
said() { grep -qE "$1" ocsp.out || { cat ocsp.out; fail "openssl ocsp does not say '$1'"; }; }
for ca in own "${!kinds[@]}"; do
  for nonce in -nonce -no_nonce; do
    asked "$ca" "$nonce"
    said 'Response verify OK'
    said "^$ca-valid.pem: good"
    said "^$ca-revoked.pem: revoked"
  done
  case $ca in
    own) said 'Signature Algorithm: ecdsa-with-SHA256' ;;
    p384) said 'Signature Algorithm: ecdsa-with-SHA384' ;;
    ed25519) said 'Signature Algorithm: ED25519' ;;
    rsa) said 'Signature Algorithm: sha256WithRSAEncryption' ;;
  esac
done

step "full and delta CRLs: openssl and strongSwan's pki accept what the token signed"
# crl_verified FILE CA: openssl on its signature.
crl_verified() { openssl crl -inform DER -in "$1" -noout -verify -CAfile "$2.pem" >crl.out 2>&1 && grep -q 'verify OK' crl.out; }
on_list() { crl_get "$1.crl" "$(key_hash "$1").crl" && openssl crl -inform DER -in "$1.crl" -noout -text | grep -q "Serial Number: $2"; }
for ca in own rsa; do
  until_true 10 on_list "$ca" 2002 || fail "no CRL of $ca"
  crl_verified "$ca.crl" "$ca" || { cat crl.out; fail "openssl crl -verify: $ca"; }
  pki --verify --in "$ca-valid.pem" --cacert "$ca.pem" --crl "$ca.crl" --online >pki.out 2>&1 || { cat pki.out; fail "pki: $ca-valid"; }
  grep -q 'certificate not revoked' pki.out || { cat pki.out; fail "pki has no CRL of $ca"; }
  pki --verify --in "$ca-revoked.pem" --cacert "$ca.pem" --crl "$ca.crl" --online >pki.out 2>&1 && { cat pki.out; fail "pki: $ca-revoked"; }
  grep -q 'key compromise' pki.out || { cat pki.out; fail "pki does not say why"; }
  base=$(number "$ca.crl")
  issued_by "$ca" "$ca-later" 0x2003
  ledger submit "$ca-later.pem" || fail "the device was not accepted"
  ledger revoke "$ca-later.pem" --reason superseded || fail "revoke"
  until_true 10 on_list "$ca" 2003 || fail "the CRL of $ca does not follow the ledger"
  crl_get delta.crl "$(key_hash "$ca").delta.crl?base=$base" || fail "no delta CRL of $ca"
  crl_verified delta.crl "$ca" || { cat crl.out; fail "the delta CRL's signature: $ca"; }
  openssl crl -inform DER -in delta.crl -noout -text >delta.txt
  grep -q 'Serial Number: 2003' delta.txt && grep -q 'Delta CRL Indicator' delta.txt || { cat delta.txt; fail "the delta CRL of $ca"; }
done
openssl crl -inform DER -in rsa.crl -noout -text | grep -q 'Signature Algorithm: sha256WithRSAEncryption' || fail "not signed by RSA"

step "the token is away: the CRL that is there serves; tryLater, not ready; back: good again, by itself"
mv tokens away
for _ in 1 2 3; do
  asked own -nonce
  said 'Responder Error: trylater \(3\)'
done
in_segw curl -s "$OCSP_METRICS/ready" | grep -q "a signer's key cannot be used now" || fail "ready without a token"
log_has bridge.log 'no response can be signed.*token' || fail "the log does not say why"
before=$(number own.crl)
issued_by own own-last 0x2004
ledger submit own-last.pem || fail "the device was not accepted"
ledger revoke own-last.pem --reason superseded || fail "revoke"
not_ready() { in_segw curl -s "$OCSP_METRICS/ready" | grep -q "CRL of $(key_hash own): the next one cannot be signed.*token"; }
until_true 15 not_ready || fail "ready without a key for CRLs"
log_has bridge.log 'the key that signs CRLs cannot be used.*token' || fail "the log does not say why there is no CRL"
crl_get own.crl "$(key_hash own).crl" && [ "$(number own.crl)" = "$before" ] && crl_verified own.crl own || fail "the CRL that is there is not served"
in_segw curl -fs "$OCSP_METRICS/metrics" | grep -qx "ledgate_ocsp_bridge_crl_signer_available{issuer=\"$(key_hash own)\"} 0.0" ||
  { in_segw curl -fs "$OCSP_METRICS/metrics" | grep crl_signer; fail "crl_signer_available"; }
mv away tokens
until_true 30 in_segw curl -fs "$OCSP_METRICS/ready" || fail "not ready again"
for ca in own "${!kinds[@]}"; do
  asked "$ca" -nonce
  said "^$ca-valid.pem: good"
done
until_true 15 on_list own 2004 || fail "no new CRL after the token came back"
crl_verified own.crl own || { cat crl.out; fail "the CRL after the token came back"; }
log_has bridge.log 'responses are signed again' || fail "the log does not say that it signs again"

step "SIGHUP: the same signers again, on the same token; one that is not on it is refused, and all goes on"
reloads() { in_segw curl -fs "$OCSP_METRICS/metrics" | grep -qx "ledgate_ocsp_bridge_reloads$1_total $2"; }
kill -HUP "$(cat bridge.pid)"
until_true 10 reloads '' 1 || fail "not reloaded"
asked rsa -nonce
said '^rsa-valid.pem: good'
sed -i 's/key = "own"/key = "none"/' bridge/bridge.toml
kill -HUP "$(cat bridge.pid)"
until_true 10 reloads _refused 1 || fail "not refused"
log_has bridge.log 'the key \\?"none\\?" on token .*no such private key' || fail "the log does not say what was refused"
asked own -nonce
said '^own-valid.pem: good'
sed -i 's/key = "none"/key = "own"/' bridge/bridge.toml

step "a PIN that others can read, a wrong one: told, and neither is shown"
told() { ocsp-bridge check-config --config bridge/bridge.toml >told.out 2>&1 && fail "accepted"; grep -q "$1" told.out || { cat told.out; fail "it does not say '$1'"; }; }
chmod 644 pin
told 'chmod 600'
chmod 600 pin
echo 87654321 >pin
told 'refused the PIN'
echo 12345678 >other-pin
sed -i '0,/pin_file = "..\/pin"/s//pin_file = "..\/other-pin"/' bridge/bridge.toml
told 'hold different PINs for the token "lab"'
if grep -qE "$pin|87654321|12345678" bridge.log told.out; then fail "a PIN is in a log"; fi
