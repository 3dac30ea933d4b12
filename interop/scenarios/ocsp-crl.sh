# openssl, GnuTLS and strongSwan's pki judge devices by CRLs from ocsp-bridge: full, delta, restart, ledger down
# needs: certtool pki
crl_of vendor "lifetime_s = 10" "url = \"$OCSP\""
ocsp_stage
hash=$(key_hash vendor)

# fetched: vendor.crl, the newest full CRL, and the same as PEM.
fetched() { crl_get vendor.crl "$hash.crl" && openssl crl -inform DER -in vendor.crl -out vendor.crl.pem; }
# by_crl NAME OPTION...: what openssl says of a device by the CRLs in vendor.crl.pem.
by_crl() { openssl verify -CAfile vendor.pem -CRLfile vendor.crl.pem -crl_check "${@:2}" "$1.pem" >verify.out 2>&1; }
good() { by_crl "$@" || { cat verify.out; fail "openssl: $1 is valid and was refused"; }; }
bad() { by_crl "$@" && fail "openssl: $1 was accepted"; grep -q 'certificate revoked' verify.out || { cat verify.out; fail "openssl: $1 is not revoked"; }; }
# said SERIAL PATTERN: what openssl reads of an entry.
said() { openssl crl -inform DER -in vendor.crl -noout -text | grep -A 4 "Serial Number: $1" | grep -q "$2" || fail "the CRL does not say $2 of $1"; }

step "a full CRL that openssl verifies, with its number, its issuer's key and nextUpdate"
fetched || fail "no CRL"
openssl crl -inform DER -in vendor.crl -noout -verify -CAfile vendor.pem >crl.out 2>&1 && grep -q 'verify OK' crl.out || { cat crl.out; fail "openssl crl -verify"; }
good valid
bad revoked
bad suspended
said 2002 'Key Compromise'
said FEDCBA9876543210 'Certificate Hold'
openssl crl -inform DER -in vendor.crl -noout -text >crl.txt
grep -q 'Version 2' crl.txt && grep -q "URI:${OCSP}crl/$hash.delta.crl?base=$(number vendor.crl)" crl.txt || { cat crl.txt; fail "freshestCRL"; }
grep -q 'Issuing Distribution Point' crl.txt && fail "the CRL has a scope"
key=$(openssl x509 -in vendor.pem -noout -ext subjectKeyIdentifier | tail -n 1 | tr -d ' ')
grep -A 1 'Authority Key Identifier' crl.txt | grep -q "$key" || { cat crl.txt; fail "AKI"; }
crl_get other.crl "$(key_hash other).crl" && fail "a CRL of an issuer that is not configured"

step "GnuTLS and strongSwan's pki read the same"
certtool --verify-crl --load-ca-certificate vendor.pem --infile vendor.crl.pem >certtool.out 2>&1 && grep -q 'Verified\.' certtool.out ||
  { cat certtool.out; fail "certtool --verify-crl"; }
by_pki() { pki --verify --in "$1.pem" --cacert vendor.pem --crl vendor.crl --online >pki.out 2>&1; }
by_pki valid && grep -q 'certificate not revoked' pki.out || { cat pki.out; fail "pki: valid"; }
by_pki revoked && { cat pki.out; fail "pki: revoked"; }
grep -q 'key compromise' pki.out || { cat pki.out; fail "pki does not say why"; }
by_pki suspended && { cat pki.out; fail "pki: suspended"; }

step "HTTP: type, length, validators, 304, HEAD, 404, 405"
crl_get body "$hash.crl" -D head
grep -qi '^content-type: application/pkix-crl' head && grep -qi "^content-length: $(size_of body)" head || { cat head; fail "type and length"; }
grep -qiE '^cache-control: .*max-age=([0-9]|10)[^0-9]' head && grep -qi '^expires: ' head && grep -qi '^last-modified: ' head || { cat head; fail "headers"; }
code() { in_segw curl -sS --max-time 20 -o body -w '%{http_code}' "${@:2}" "${OCSP}crl/$1"; }
# The CRL is issued anew each five seconds.
conditional() {
  local etag
  crl_get body "$hash.crl" -D head
  etag=$(sed -nE 's/^[Ee][Tt]ag: (.*)\r$/\1/p' head)
  [ "$(code "$hash.crl" -H "If-None-Match: $etag")" = 304 ]
}
until_true 3 conditional || fail "no 304"
[ "$(code "$hash.crl" --head)" = 200 ] || fail "HEAD"
[ "$(code "$hash.crl" -X POST)" = 405 ] || fail "POST"
[ "$(code "$hash")" = 404 ] || fail "no 404"
[ "$(code "$hash.delta.crl?base=zz")" = 400 ] || fail "a base that is none"
[ "$(code "$hash.delta.crl?base=ffffff0000000001")" = 404 ] || fail "a base that was never issued"
crl_get sha256.crl "$(openssl x509 -in vendor.pem -noout -pubkey | openssl pkey -pubin -outform DER | tail -c 65 | sha256sum | cut -d ' ' -f 1).crl" ||
  fail "not by the SHA-256 of the key"

step "a change: the next CRL has it, with a greater number; the delta CRL has nothing else"
fetched
cp vendor.crl base.crl
cp vendor.crl.pem base.crl.pem
before=$(number vendor.crl)
ledger revoke valid.pem --reason superseded || fail "revoke"
ledger resume suspended.pem || fail "resume"
newer() { fetched && ! by_crl valid && by_crl suspended; }
until_true 5 newer || { openssl crl -inform DER -in vendor.crl -noout -text; fail "the CRL does not follow the ledger"; }
good suspended
after=$(number vendor.crl)
[ "$(printf '%032s\n%032s\n' "$before" "$after" | tr ' ' 0 | sort | tail -n 1)" = "$(printf '%032s' "$after" | tr ' ' 0)" ] && [ "$before" != "$after" ] ||
  fail "the number does not grow: $before, $after"
crl_get delta.crl "$hash.delta.crl?base=$before" || fail "no delta CRL"
openssl crl -inform DER -in delta.crl -noout -verify -CAfile vendor.pem >crl.out 2>&1 || { cat crl.out; fail "the delta CRL's signature"; }
openssl crl -inform DER -in delta.crl -noout -text >delta.txt
openssl asn1parse -inform DER -in delta.crl | grep -A 2 'Delta CRL Indicator' >indicator.txt
grep -q 'BOOLEAN.*:255' indicator.txt && grep -qi "HEX DUMP.*$before\$" indicator.txt || { cat delta.txt; fail "its base is another"; }
[ "$(grep -c 'Serial Number' delta.txt)" = 2 ] && grep -A 4 'Serial Number: 2001' delta.txt | grep -q Superseded &&
  grep -A 4 'Serial Number: FEDCBA9876543210' delta.txt | grep -q 'Remove From CRL' || { cat delta.txt; fail "the delta CRL's content"; }
openssl crl -inform DER -in delta.crl -out delta.crl.pem
cat base.crl.pem delta.crl.pem >vendor.crl.pem
bad valid -use_deltas -extended_crl
by_crl suspended -use_deltas -extended_crl || { cat verify.out; fail "openssl: base and delta CRL do not make suspended valid"; }
cp base.crl.pem vendor.crl.pem
by_crl valid || { cat verify.out; fail "the base CRL alone has changed"; }

step "a restart takes no number back, and what was issued before it still has its delta CRL"
fetched
before=$(number vendor.crl)
stop bridge
bridge_run bridge "$OCSP_METRICS"
fetched || fail "no CRL after a restart"
after=$(number vendor.crl)
[ "$(printf '%032s\n%032s\n' "$before" "$after" | tr ' ' 0 | sort | tail -n 1)" = "$(printf '%032s' "$after" | tr ' ' 0)" ] || fail "the number went back: $before, $after"
bad revoked
crl_get delta.crl "$hash.delta.crl?base=$before" || fail "no delta CRL for a base from before the restart"
in_segw curl -fs "$OCSP_METRICS/metrics" >metrics.txt || fail "metrics"
grep -q "^ledgate_ocsp_bridge_crl_entries{issuer=\"$hash\"} 2" metrics.txt || { grep crl_ metrics.txt; fail "crl_entries"; }

step "the ledger is down: what was issued serves to its end, and nothing after it"
stop ledger
crl_get last.crl "$hash.crl" || fail "a CRL that is good is not served"
gone() { [ "$(code "$hash.crl" -D head)" = 503 ]; }
until_true 15 gone || fail "a CRL that ran out is served"
grep -qi '^retry-after: ' head && grep -q 'run out' body || { cat head body; fail "503 without a reason"; }
in_segw curl -s "$OCSP_METRICS/ready" | grep -q 'CRL of' || fail "the bridge does not say that it has no CRL"
ledger_start
until_true 15 fetched || fail "no CRL after the ledger came back"
bad revoked
