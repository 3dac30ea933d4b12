# GnuTLS's ocsptool asks ocsp-bridge: each status, with and without a nonce, foreign issuer, ledger down
# needs: ocsptool
ocsp_stage

# tool NAME ISSUER OPTION...: the status line, or why there is none, is in tool.out.
tool() {
  local name=$1 issuer=$2
  shift 2
  in_segw ocsptool --ask="$OCSP" --load-cert "$name.pem" --load-issuer "$issuer.pem" --load-trust "$issuer.pem" "$@" >tool.out 2>&1
}
said() { grep -qiE "$1" tool.out || { cat tool.out; fail "ocsptool does not say '$1'"; }; }

for nonce in --nonce --no-nonce; do
  step "each status, $nonce"
  tool valid vendor "$nonce" || { cat tool.out; fail "valid"; }
  said 'Certificate Status: good'
  said 'Verifying OCSP Response: Success'
  [ "$nonce" = --no-nonce ] || said 'Nonce'
  for name in revoked suspended unrecorded; do
    tool "$name" vendor "$nonce"
    said 'Certificate Status: revoked'
    said 'Verifying OCSP Response: Success'
  done
done
tool foreign other && fail "a foreign issuer's certificate got an answer"
said 'unauthorized'

step "an answer that was kept is judged again; with another CA's trust it is refused"
in_segw ocsptool --ask="$OCSP" --load-cert valid.pem --load-issuer vendor.pem --load-trust vendor.pem --outfile valid.ors >/dev/null 2>&1
ocsptool --verify-response --load-response valid.ors --load-trust vendor.pem >tool.out 2>&1 || { cat tool.out; fail "verify-response"; }
ocsptool --verify-response --load-response valid.ors --load-trust other.pem >tool.out 2>&1 && fail "a strange CA was enough"

step "the ledger is down"
ledger_lost
tool valid vendor && fail "an answer without a ledger"
said 'try ?later'
