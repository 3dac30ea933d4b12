# openssl asks ocsp-bridge: CertIDs with four hashes, nonces, several certificates, who may sign, too many CertIDs
ocsp_stage

# asked OPTIONS... : openssl ocsp about vendor's certificates; signed by vendor's delegate.
asked() {
  in_segw openssl ocsp -issuer vendor.pem "$@" -url "$OCSP" -CAfile vendor.pem >ocsp.out 2>&1
}
said() { grep -q "$1" ocsp.out || { cat ocsp.out; fail "openssl ocsp does not say '$1'"; }; }

step "each status, with each hash in the CertID, with and without a nonce"
# Of the nonces openssl only warns if one is missing; if they differ, it does not say that the response verifies.
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

step "too many CertIDs"
many=()
for _ in $(seq 17); do many+=(-cert valid.pem); done # answers.cert_ids is 16
asked "${many[@]}"
said 'malformedrequest (1)'
asked "${many[@]:0:32}"
said '^valid.pem: good'

step "the ledger is down: tryLater; back: good again"
ledger_lost
for nonce in -nonce -no_nonce; do
  asked "$nonce" -cert valid.pem -cert revoked.pem
  said 'Responder Error: trylater (3)'
done
ledger_start
until_true 10 in_segw curl -fs http://127.0.0.1:9472/ready || fail "not ready again"
asked -cert valid.pem
said '^valid.pem: good'
