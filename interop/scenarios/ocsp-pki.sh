# strongSwan's own client (pki --verify --online) asks ocsp-bridge, found by the certificate's authorityInfoAccess
# needs: pki
ocsp_stage
mkdir x509
printf 'pki {\n  load = openssl pem pkcs1 x509 revocation constraints pubkey curl nonce random sha1 sha2 gmp\n}\n' >pki.conf

# verified NAME CA: exit code of pki; what it said is in pki.out.
verified() {
  STRONGSWAN_CONF=$WORK/pki.conf in_segw pki --verify --debug 2 --in "$1.pem" --cacert "$2.pem" --online >pki.out 2>&1
}
said() { grep -qE "$1" pki.out || { cat pki.out; fail "pki does not say '$1'"; }; }

verified valid vendor || { cat pki.out; fail "valid"; }
said 'ocsp response correctly signed'
said 'certificate status is good'
said 'certificate trusted'
for name in revoked suspended unrecorded; do
  verified "$name" vendor && { cat pki.out; fail "$name was trusted"; }
  said 'ocsp response correctly signed'
  case $name in
    revoked) said 'certificate was revoked on .* 20[0-9]{2}, reason: key compromise' ;;
    suspended) said 'certificate was revoked on .* 20[0-9]{2}, reason: certificate hold' ;;
    # So strongSwan writes 1 January 1970.
    unrecorded) said 'certificate was revoked on --- -- --:--:-- UTC ----, reason: certificate hold' ;;
  esac
done

# Without a status, pki trusts the certificate and says that it could not check.
without_status() { # NAME CA RESPONSE-STATUS
  verified "$1" "$2"
  said "ocsp response status: $3"
  said 'revocation checking failed'
  if grep -q 'certificate status is good' pki.out; then fail "$1 is good"; fi
}
step "a foreign issuer, and no ledger: no status"
without_status foreign other unauthorized
ledger_lost
without_status valid vendor 'try later'
