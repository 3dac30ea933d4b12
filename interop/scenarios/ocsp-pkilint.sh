# pkilint on every kind of answer, by P-256, P-384, Ed25519 and RSA signers, and on CRLs, full and delta: nothing at WARNING or above
# needs: lint_ocsp_response lint_crl perl
declare -A keys=([p256]="EC -pkeyopt ec_paramgen_curve:P-256" [p384]="EC -pkeyopt ec_paramgen_curve:P-384" [ed25519]=ED25519
  [rsa]="RSA -pkeyopt rsa_keygen_bits:2048")
serial=0x2000
ledger_init
ledger_start
for ca in own "${!keys[@]}"; do # of "own" the bridge's own signer tells, of the others a delegate with such a key
  vendor_ca "$ca"
  # shellcheck disable=SC2086 # the options are words
  [ "$ca" = own ] || delegate "$ca" -algorithm ${keys[$ca]}
  for status in valid revoked suspended unrecorded; do issued_by "$ca" "$ca-$status" $((++serial)); done
  ledger submit "$ca.pem" --class ca || fail "the CA was not accepted"
  ledger submit "$ca-valid.pem" "$ca-revoked.pem" "$ca-suspended.pem" || fail "the devices were not accepted"
  ledger revoke "$ca-revoked.pem" --reason key-compromise || fail "revoke"
  ledger suspend "$ca-suspended.pem" || fail "suspend"
done
vendor_ca foreign
issued_by foreign foreign-valid 0x1001
crl_of own "url = \"$OCSP\""
bridge_start

# ask RESPONSE CA OPTION...: openssl asks, the answer is in RESPONSE.ors.
ask() {
  in_segw openssl ocsp -issuer "$2.pem" "${@:3}" -url "$OCSP" -CAfile "$2.pem" -VAfile bridge/signer.pem -respout "$1.ors" >ocsp.out 2>&1
  [ -s "$1.ors" ] || { cat ocsp.out; fail "no answer: $1"; }
}
for ca in own "${!keys[@]}"; do
  several=()
  for status in valid revoked suspended unrecorded; do
    ask "$ca-$status" "$ca" -no_nonce -cert "$ca-$status.pem"
    grep -q 'Response verify OK' ocsp.out || { cat ocsp.out; fail "openssl does not verify $ca-$status"; }
    several+=(-sha256 -cert "$ca-$status.pem")
  done
  ask "$ca-nonce" "$ca" -nonce -cert "$ca-valid.pem"
  ask "$ca-several" "$ca" -nonce "${several[@]}"
done
ask foreign foreign -no_nonce -cert foreign-valid.pem
hash=$(key_hash own)
fetched() { crl_get full.crl "$hash.crl" 2>curl.err; }
until_true 5 fetched || { cat curl.err; fail "no CRL"; }
ledger suspend own-valid.pem || fail "suspend"
delta() { crl_get delta.crl "$hash.delta.crl?base=$(number full.crl)" && openssl crl -inform DER -in delta.crl -noout -text | grep -q 'Certificate Hold'; }
until_true 5 delta || fail "no delta CRL with the change"
ledger_lost
ask ledger-down own -no_nonce -cert own-valid.pem

# linted RESPONSE: there are no exceptions; -s INFO would find nothing either.
linted() { lint_ocsp_response lint -s WARNING "$1" >lint.out 2>&1 && [ ! -s <(tr -d '[:space:]' <lint.out) ]; }
linted_crl() { lint_crl lint -t CRL -p PKIX -s WARNING "$1" >lint.out 2>&1 && [ ! -s <(tr -d '[:space:]' <lint.out) ]; }
step "the linter notices what is wrong: a tryLater with a body"
cp own-valid.ors broken.ors
printf '\003' | dd of=broken.ors bs=1 seek=6 conv=notrunc status=none # the responseStatus
linted broken.ors && fail "the linter finds nothing in an error with a body"
grep -q ocsp_error_response_has_response_body lint.out || { cat lint.out; fail "the linter finds something else"; }
rm broken.ors
perl -0pe 's/\x55\x1d\x14/\x55\x1d\x7f/' full.crl >broken.crl # the CRL number becomes an extension that nobody knows
linted_crl broken.crl && fail "the linter finds nothing in a CRL without a number"
step "the answers"
count=0
for response in *.ors; do
  linted "$response" || { echo "$response"; cat lint.out; fail "pkilint finds fault with $response"; }
  count=$((count + 1))
done
echo "$count answers without a finding"
[ "$count" -eq 32 ] || fail "there should be 32 answers: six for each of five signers, unauthorized, tryLater"
for crl in full.crl delta.crl; do
  linted_crl "$crl" || { cat lint.out; fail "pkilint finds fault with $crl"; }
done
