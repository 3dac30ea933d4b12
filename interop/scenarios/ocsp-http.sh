# curl and raw octets at ocsp-bridge: GET's encodings, cache headers, 304, HEAD, pipelining, HTTP/1.0, limits, slow clients
BRIDGE_MORE='
[limits]
head_s = 2
body_s = 1'
BRIDGE_LIFETIME=60
ocsp_stage
kind='Content-Type: application/ocsp-request'
post() { in_segw curl -sS --max-time 10 -H "$kind" --data-binary "@$1" "${@:2}" "$OCSP"; }
# judged RESPONSE OPTION...: what openssl makes of it is in judged.out; OPTIONs say which certificate.
judged() { openssl ocsp -respin "$1" -issuer vendor.pem "${@:2}" -CAfile vendor.pem -no_nonce -resp_text >judged.out 2>&1; }
said() { grep -qE "$1" judged.out || { cat judged.out; fail "openssl ocsp does not say '$1'"; }; }
code() { in_segw curl -sS --max-time 10 -o body -w '%{http_code}' "$@"; }
expect() { # CODE CURL-ARGUMENT...
  local got
  got=$(code "${@:2}")
  [ "$got" = "$1" ] || fail "expected $1, got $got: curl $(printf '%.60s ' "${@:2}")"
}
malformed() { [ "$(od -An -tx1 body | tr -d ' ')" = 30030a0101 ] || fail "not answered by malformedRequest: $1"; }
openssl ocsp -issuer vendor.pem -cert valid.pem -no_nonce -reqout valid.der >/dev/null || fail "reqout"
openssl ocsp -issuer vendor.pem -cert revoked.pem -no_nonce -reqout revoked.der >/dev/null || fail "reqout"
valid=$(base64 -w0 valid.der | sed 's/+/%2B/g; s,/,%2F,g; s/=/%3D/g')
revoked=$(base64 -w0 revoked.der | sed 's/+/%2B/g; s,/,%2F,g; s/=/%3D/g')

step "GET: every encoding of a request whose base64 has a plus, and two slashes in a row"
for pad in 01 0101 010101; do # what base64 makes of the pattern depends on where it begins
  serial=0x${pad}ffffffffffffbefbefbefbef
  openssl ocsp -issuer vendor.pem -serial "$serial" -no_nonce -reqout odd.der >/dev/null || fail "reqout"
  base64=$(base64 -w0 odd.der)
  case $base64 in *+*//* | *//*+*) break ;; esac
done
case $base64 in *+*//* | *//*+*) ;; *) fail "no request with + and //: $base64" ;; esac
for path in "$base64" "/$base64" "${base64//=/}" "$(tr '+/' '-_' <<<"$base64")" "$(tr -d = <<<"$base64" | tr '+/' '-_')" \
  "$(sed 's/+/%2B/g; s,/,%2F,g; s/=/%3D/g' <<<"$base64")" "$(sed 's/+/%2b/g; s,/,%2f,g; s/=/%3d/g' <<<"$base64")" \
  "$(sed 's/+/%20/g' <<<"$base64")" "$(sed 's/./&%0A/20' <<<"$base64")"; do
  in_segw curl -sS --path-as-is -D head -o got.ors "$OCSP$path" || fail "GET $path"
  grep -q '^HTTP/1.1 200' head || { cat head; fail "GET $path"; }
  judged got.ors -serial "$serial"
  said "^$serial: revoked"
done
expect 200 --path-as-is "$OCSP${base64:0:21}!${base64:21}"
malformed "a path that begins like a request"
expect 404 "${OCSP}favicon.ico"
expect 404 "$OCSP"

step "headers for caches (RFC 9919, 6): they say what the response says"
in_segw curl -sS -D head -o got.ors "$OCSP$valid" || fail "GET"
judged got.ors -cert valid.pem && said '^valid.pem: good'
field() { sed -nE "s/^$1: (.*)\r\$/\1/Ip" head; }
# moment NAME: a time in the response, as HTTP writes it.
moment() { date -u -d "$(sed -nE "s/^ *$1: //p" judged.out | head -n 1)" '+%a, %d %b %Y %H:%M:%S GMT'; }
[ "$(field content-type)" = application/ocsp-response ] || { cat head; fail "Content-Type"; }
[ "$(field content-length)" = "$(size_of got.ors)" ] || { cat head; fail "Content-Length"; }
[ "$(field etag)" = "\"$(sha256sum got.ors | cut -d ' ' -f 1)\"" ] || { cat head; fail "the ETag is not the response's SHA-256"; }
[ "$(field last-modified)" = "$(moment 'This Update')" ] || { cat head; fail "Last-Modified is not thisUpdate"; }
[ "$(field expires)" = "$(moment 'Next Update')" ] || { cat head; fail "Expires is not nextUpdate"; }
[ -n "$(field date)" ] || { cat head; fail "Date"; }
age=$(field cache-control | sed -nE 's/.*max-age=([0-9]+).*/\1/p')
left=$(($(date -d "$(field expires)" +%s) - $(date -d "$(field date)" +%s)))
[ "${age:-0}" -ge 30 ] && [ "$age" -le "$left" ] && [ "$left" -le 60 ] || { cat head; fail "max-age is not what is left until nextUpdate"; }
for word in public no-transform must-revalidate; do
  field cache-control | grep -qw -- "$word" || { cat head; fail "Cache-Control without $word"; }
done
openssl ocsp -issuer vendor.pem -cert valid.pem -reqout nonce.der >/dev/null
post nonce.der -D head -o got.ors
[ "$(field cache-control)" = no-store ] || { cat head; fail "an answer with a nonce may be stored"; }
post <(head -c 40 valid.der) -D head -o body
malformed "a request that is cut off"
[ "$(field cache-control)" = no-store ] || { cat head; fail "an error may be stored"; }

step "304, HEAD"
conditional() { # HEADER-NAME-TO-SEND HEADER-TO-TAKE-IT-FROM
  in_segw curl -sS -D head -o got.ors "$OCSP$valid" || return 1
  [ "$(in_segw curl -sS -o body -w '%{http_code} %{size_download}' -H "$1: $(field "$2")" "$OCSP$valid")" = '304 0' ]
}
conditional If-None-Match etag || fail "no 304 on If-None-Match"
conditional If-Modified-Since last-modified || fail "no 304 on If-Modified-Since"
expect 200 -H 'If-None-Match: "abc"' "$OCSP$valid"
expect 200 -H 'If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT' "$OCSP$valid"
[ "$(in_segw curl -sS --head -o head -w '%{http_code} %{size_download}' "$OCSP$valid")" = '200 0' ] || fail "HEAD"
[ -n "$(field etag)" ] && [ "$(field content-length)" -gt 100 ] || { cat head; fail "HEAD without GET's headers"; }

step "connections: kept, closed, pipelined, HTTP/1.0"
connects() { in_segw curl -sS -o /dev/null -o /dev/null -w '%{num_connects} ' "$@" "$OCSP$valid" "$OCSP$valid"; }
[ "$(connects)" = '1 0 ' ] || fail "no keep-alive"
[ "$(connects -H 'Connection: close')" = '1 1 ' ] || fail "the connection was kept, though the client asked to close it"
[ "$(connects --http1.0)" = '1 1 ' ] || fail "the connection was kept for HTTP/1.0"
# raw: sends standard input as it is, prints what comes until the other side closes.
raw() { in_segw timeout 8 bash -c 'exec 3<>/dev/tcp/127.0.0.1/8888 && cat >&3; exec cat <&3'; }
lines() { grep -aoE 'HTTP/1\.[01] [0-9]{3}' "$1" | tr '\n' ' '; }
{
  printf 'GET /%s HTTP/1.1\r\nHost: x\r\n\r\n' "$valid"
  printf 'HEAD /%s HTTP/1.1\r\nHost: x\r\n\r\n' "$valid"
  printf 'POST / HTTP/1.1\r\nHost: x\r\n%s\r\nContent-Length: %d\r\n\r\n' "$kind" "$(size_of revoked.der)"
  cat revoked.der
  printf 'GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n'
  printf 'GET /%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' "$revoked"
} >pipelined
raw <pipelined >pipelined.out || fail "the connection was not closed after the last of the pipelined requests"
[ "$(lines pipelined.out)" = 'HTTP/1.1 200 HTTP/1.1 200 HTTP/1.1 200 HTTP/1.1 404 HTTP/1.1 200 ' ] || { lines pipelined.out; fail "pipelining"; }
tail -c "$(grep -aiE '^content-length: ' pipelined.out | tail -n 1 | tr -dc 0-9)" pipelined.out >last.ors
judged last.ors -cert revoked.pem
said '^revoked.pem: revoked'
printf 'GET /%s HTTP/1.0\r\n\r\n' "$valid" | raw >old.out || fail "HTTP/1.0: the connection was not closed"
[ "$(lines old.out)" = 'HTTP/1.0 200 ' ] || { cat -v old.out; fail "HTTP/1.0"; }

step "methods, sizes, types, broken framing"
for method in PUT DELETE OPTIONS PATCH TRACE; do expect 405 -D head -X "$method" "$OCSP"; done
[ "$(field allow)" = 'GET, HEAD, POST' ] || { cat head; fail "405 without Allow"; }
head -c 4097 /dev/zero >large
expect 413 -H "$kind" --data-binary @large "$OCSP"
expect 413 -H "$kind" -H 'Transfer-Encoding: chunked' -H 'Expect:' --data-binary @large "$OCSP"
expect 413 -H "$kind" -H 'Expect: 100-continue' --data-binary @large "$OCSP"
expect 200 -H "$kind" -H 'Expect: 100-continue' --data-binary @valid.der "$OCSP"
expect 200 -H "$kind" -H 'Transfer-Encoding: chunked' --data-binary @valid.der "$OCSP"
expect 413 "${OCSP}M$(head -c 17000 /dev/zero | tr '\0' A)"
expect 415 -H 'Content-Type: text/plain' --data-binary @valid.der "$OCSP"
expect 431 -H "X-Long: $(head -c 100000 /dev/zero | tr '\0' a)" "$OCSP$valid"
expect 400 -H 'Host:' "$OCSP$valid"
printf 'POST / HTTP/1.1\r\nHost: x\r\n%s\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab' "$kind" | raw >broken.out || fail "broken framing: the connection was not closed"
[ "$(lines broken.out)" = 'HTTP/1.1 400 ' ] || { cat -v broken.out; fail "two Content-Lengths"; }

step "slow clients are cut off in time, and quick ones do not wait for them"
# timed NAME COMMAND...: how many tenths of a second it took is in NAME.took.
timed() {
  local began=$EPOCHREALTIME
  "${@:2}" >"$1.out" 2>&1
  echo $(((${EPOCHREALTIME/./} - ${began/./}) / 100000)) >"$1.took"
}
silent() { raw </dev/null; }
half_head() { printf 'GET / HTTP/1.1\r\nHost: x\r\n' | raw; }
dripping_head() { { printf 'GET / HTTP/1.1\r\nHost: x\r\nX: '; for _ in $(seq 30); do sleep 0.2; printf a || break; done; } 2>/dev/null | raw; }
slow_body() { { head -c 40 valid.der; sleep 2; tail -c +41 valid.der; } | in_segw curl -sS -X POST -T - -H "$kind" -H 'Expect:' -o body.slow -w '%{http_code}' "$OCSP"; }
slow=()
for name in silent half_head dripping_head slow_body; do
  timed "$name" "$name" &
  slow+=($!)
done
sleep 0.5
for _ in $(seq 20); do expect 200 --max-time 1 "$OCSP$valid"; done
wait "${slow[@]}"
for name in silent half_head dripping_head; do # limits.head_s is 2, for the whole head
  [ "$(cat $name.took)" -ge 15 ] && [ "$(cat $name.took)" -le 40 ] || fail "$name was cut off after $(cat $name.took) tenths of a second"
done
[ "$(cat slow_body.out)" = 408 ] || { cat slow_body.out; fail "a slow body is not answered by 408"; }
