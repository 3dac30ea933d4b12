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
# Neither the reason nor the extension is in ocsptool's words: by the time alone it tells these three apart.
declare -A time=([revoked]='[A-Z][a-z]{2} .* 20[0-9]{2}$' [suspended]='[A-Z][a-z]{2} .* 20[0-9]{2}$' [unrecorded]='Thu Jan 01 00:00:00 UTC 1970$')

for nonce in --nonce --no-nonce; do
  step "each status, $nonce"
  tool valid vendor "$nonce" || { cat tool.out; fail "valid"; }
  said 'Certificate Status: good'
  said 'Verifying OCSP Response: Success'
  # It compares the nonces itself, if both are there.
  case $nonce in
    --nonce) said '^\s+Nonce: [0-9a-f]+' ;;
    *) grep -q 'Nonce:' tool.out && { cat tool.out; fail "a nonce that nobody sent"; } ;;
  esac
  for name in revoked suspended unrecorded; do
    tool "$name" vendor "$nonce"
    said 'Certificate Status: revoked'
    said "Revocation time: ${time[$name]}"
    said 'Verifying OCSP Response: Success'
  done
done
tool foreign other && fail "a foreign issuer's certificate got an answer"
said 'Response Status: unauthorized'

step "an answer that was kept is judged again; with another CA's trust it is refused"
in_segw ocsptool --ask="$OCSP" --load-cert valid.pem --load-issuer vendor.pem --load-trust vendor.pem --outfile valid.ors >/dev/null 2>&1
ocsptool --verify-response --load-response valid.ors --load-trust vendor.pem >tool.out 2>&1 || { cat tool.out; fail "verify-response"; }
ocsptool --verify-response --load-response valid.ors --load-trust other.pem >tool.out 2>&1 && fail "a strange CA was enough"

step "the ledger is down"
ledger_lost
for nonce in --nonce --no-nonce; do
  tool valid vendor "$nonce" && fail "an answer without a ledger"
  said 'Response Status: try ?later'
done
