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
  said 'certificate was revoked on'
done
verified revoked vendor
said 'key compromise'
verified suspended vendor
said 'certificate hold'

step "a foreign issuer, and no ledger: no status"
verified foreign other
said 'unauthorized'
grep -q 'certificate status is good' pki.out && fail "a foreign issuer's certificate is good"
ledger_lost
verified valid vendor
said 'try later'
grep -q 'certificate status is good' pki.out && fail "good without a ledger"
true
