# openssl and curl ask ocsp-bridge: CertIDs with four hashes, nonces, several certificates, GET, HTTP semantics, limits
ocsp_stage

# asked OPTIONS... : openssl ocsp about vendor's certificates; signed by vendor's delegate.
asked() {
  in_segw openssl ocsp -issuer vendor.pem "$@" -url "$OCSP" -CAfile vendor.pem >ocsp.out 2>&1
}
said() { grep -q "$1" ocsp.out || { cat ocsp.out; fail "openssl ocsp does not say '$1'"; }; }

step "each status, with each hash in the CertID, with and without a nonce"
for hash in -sha1 -sha256 -sha384 -sha512; do
  for nonce in -nonce -no_nonce; do
    # A hash counts for the certificates that follow it.
    asked "$nonce" "$hash" -cert valid.pem "$hash" -cert revoked.pem "$hash" -cert suspended.pem "$hash" -cert unrecorded.pem
    said 'Response verify OK'
    said '^valid.pem: good'
    for name in revoked suspended unrecorded; do said "^$name.pem: revoked"; done
    grep -A 3 '^revoked.pem' ocsp.out | grep -q 'Reason: keyCompromise' || fail "$hash: not revoked for its key"
    grep -A 3 '^suspended.pem' ocsp.out | grep -q 'Reason: certificateHold' || fail "$hash: suspended is no hold"
    grep -A 4 '^unrecorded.pem' ocsp.out | grep -q 'Revocation Time: Jan  1 00:00:00 1970' || fail "$hash: not of 1970"
    [ "$nonce" = -nonce ] && grep -q 'no nonce in response' ocsp.out && fail "$hash: the nonce is not echoed"
  done
done
in_segw openssl ocsp -issuer other.pem -cert foreign.pem -url "$OCSP" -CAfile other.pem >ocsp.out 2>&1
said 'Responder Error: unauthorized (6)'
# One request about two issuers, of which one is not recorded: no half answer.
in_segw openssl ocsp -issuer vendor.pem -cert valid.pem -issuer other.pem -cert foreign.pem -url "$OCSP" \
  -CAfile vendor.pem -VAfile bridge/signer.pem >ocsp.out 2>&1
said 'Responder Error: unauthorized (6)'

step "the signer: a delegate is refused by who does not know its CA, and one octet changed is noticed"
in_segw openssl ocsp -issuer vendor.pem -cert valid.pem -url "$OCSP" -CAfile other.pem >ocsp.out 2>&1 && fail "a strange CA was enough"
openssl ocsp -issuer vendor.pem -cert valid.pem -no_nonce -reqout valid.der >/dev/null || fail "reqout"
post() { in_segw curl -sS --max-time 10 -H 'Content-Type: application/ocsp-request' --data-binary "@$1" "${@:2}" "$OCSP"; }
judged() { openssl ocsp -respin "$1" -issuer vendor.pem -cert valid.pem -CAfile vendor.pem -no_nonce >ocsp.out 2>&1; }
post valid.der -o valid.ors || fail "POST by curl"
judged valid.ors && said '^valid.pem: good'
size=$(size_of valid.ors)
head -c $((size - 1)) valid.ors >changed.ors
tail -c 1 valid.ors | tr '\000-\377' '\001-\377\000' >>changed.ors
judged changed.ors && fail "a changed answer passed"

step "GET: percent-encoded, plain, URL-safe"
base64=$(base64 -w0 valid.der)
encoded=$(printf %s "$base64" | sed 's/+/%2B/g; s,/,%2F,g; s/=/%3D/g')
for path in "$encoded" "$base64" "$(printf %s "$base64" | tr '+/' '-_' | tr -d =)"; do
  in_segw curl -sS --path-as-is -D head -o got.ors "$OCSP$path" || fail "GET $path"
  grep -q '^HTTP/1.1 200' head || { cat head; fail "GET $path"; }
  judged got.ors && said '^valid.pem: good'
done

step "headers for caches (RFC 9919, 6), 304, HEAD"
grep -qi '^content-type: application/ocsp-response' head || { cat head; fail "content type"; }
grep -qiE '^cache-control: .*max-age=[012][^0-9]' head || { cat head; fail "Cache-Control"; }
grep -qi '^expires: ' head && grep -qi '^last-modified: ' head || { cat head; fail "Expires, Last-Modified"; }
etag=$(sed -nE 's/^[Ee][Tt]ag: (.*)\r$/\1/p' head)
[ "$etag" = "\"$(sha256sum got.ors | cut -d ' ' -f 1)\"" ] || fail "the ETag $etag is not the answer's SHA-256"
# The answer lives for two seconds only: fetched anew, then asked about at once.
conditional() { # HEADER-NAME-TO-SEND HEADER-TO-TAKE-IT-FROM
  in_segw curl -sS -D head -o got.ors "$OCSP$encoded" || return 1
  local value
  value=$(grep -i "^$2: " head | cut -d ' ' -f 2- | tr -d '\r')
  [ "$(in_segw curl -sS -o body -w '%{http_code} %{size_download}' -H "$1: $value" "$OCSP$encoded")" = '304 0' ]
}
until_true 3 conditional If-None-Match etag || fail "no 304 on If-None-Match"
until_true 3 conditional If-Modified-Since last-modified || fail "no 304 on If-Modified-Since"
[ "$(in_segw curl -sS -o body -w '%{http_code}' -H 'If-None-Match: "abc"' "$OCSP$encoded")" = 200 ] || fail "304 for another's ETag"
in_segw curl -sS --head -o head -w '%{http_code} %{size_download}' "$OCSP$encoded" | grep -qx '200 0' || fail "HEAD"
grep -qi '^etag: "' head && grep -qiE '^content-length: [1-9][0-9]{2}' head || { cat head; fail "HEAD without GET's headers"; }
openssl ocsp -issuer vendor.pem -cert valid.pem -reqout nonce.der >/dev/null
post nonce.der -D head -o got.ors
grep -qi '^cache-control: .*no-store' head || { cat head; fail "an answer with a nonce may be stored"; }
in_segw curl -sS --http1.0 -o got.ors -w '%{http_version} %{http_code}\n' "$OCSP$encoded" | grep -q ' 200' || fail "HTTP/1.0"
[ "$(in_segw curl -sS -o /dev/null -o /dev/null -w '%{num_connects} ' "$OCSP$encoded" "$OCSP$encoded")" = '1 0 ' ] || fail "no keep-alive"

step "limits and what is no request"
code() { in_segw curl -sS --max-time 10 -o body -w '%{http_code}' "$@"; }
expect() { # CODE CURL-ARGUMENT...
  local got
  got=$(code "${@:2}")
  [ "$got" = "$1" ] || fail "expected $1, got $got: curl ${*:2}"
}
head -c 4097 /dev/zero >large
expect 413 -H 'Content-Type: application/ocsp-request' --data-binary @large "$OCSP"
expect 413 -H 'Content-Type: application/ocsp-request' -H 'Transfer-Encoding: chunked' -H 'Expect:' --data-binary @large "$OCSP"
expect 415 -H 'Content-Type: text/plain' --data-binary @valid.der "$OCSP"
expect 405 -X PUT --data-binary @valid.der "$OCSP"
expect 405 -X DELETE "$OCSP"
expect 404 "${OCSP}favicon.ico"
expect 431 -H "X-Long: $(head -c 100000 /dev/zero | tr '\0' a)" "$OCSP$encoded"
expect 400 -H 'Host:' "$OCSP$encoded"
head -c 40 valid.der >cut
expect 200 -H 'Content-Type: application/ocsp-request' --data-binary @cut "$OCSP"
[ "$(od -An -tx1 body | tr -d ' ')" = 30030a0101 ] || fail "a request that is cut off is not answered by malformedRequest"
many=()
for _ in $(seq 17); do many+=(-cert valid.pem); done
asked "${many[@]}"
said 'malformedrequest (1)'
asked "${many[@]:0:32}"
said '^valid.pem: good'

step "the ledger is down: tryLater; back: good again"
ledger_lost
for nonce in -nonce -no_nonce; do
  asked "$nonce" -cert valid.pem
  said 'Responder Error: trylater (3)'
done
ledger_start
until_true 10 in_segw curl -fs http://127.0.0.1:9472/ready || fail "not ready again"
asked -cert valid.pem
said '^valid.pem: good'
