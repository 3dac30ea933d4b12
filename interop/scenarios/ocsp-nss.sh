# NSS's vfychain asks ocsp-bridge, found by the certificate's authorityInfoAccess: each status, foreign issuer, ledger down
# needs: vfychain certutil
ocsp_stage
mkdir db
certutil -N -d sql:db --empty-password || fail "certutil"
for ca in vendor other; do certutil -A -d sql:db -n "$ca" -t CT,C,C -a -i "$ca.pem" || fail "certutil -A $ca"; done

# judged NAME OPTION...: vfychain asks about the device (the leaf) by OCSP, and no CRL is a substitute.
judged() { in_segw timeout 20 vfychain -d sql:db -pp -u 1 -g leaf -m ocsp "${@:2}" -a "$1.pem" >nss.out 2>&1; }
# For want of an answer NSS says "revoked" too, if fresh information is demanded, and "good" if it is not: so both are
# asked, and the bridge's counter says what the answer was.
demanding() { judged "$1" -h requireFreshInfo -s failIfNoInfo; }
good() { grep -q 'Chain is good' nss.out || { cat nss.out; fail "$1 is not good"; }; }
bad() { grep -q 'Chain is bad' nss.out && grep -q 'ERROR -8180' nss.out || { cat nss.out; fail "$1 is not bad"; }; }
answers() { # RESPONSE-STATUS
  in_segw curl -s "$OCSP_METRICS/metrics" | sed -nE "s/^ledgate_ocsp_bridge_ocsp_responses_total\{status=\"$1\"\} //p"
}
without_answer() { # NAME RESPONSE-STATUS
  local before
  before=$(answers "$2")
  demanding "$1"
  bad "$1"
  [ "$(answers "$2")" -gt "${before:-0}" ] || fail "$1: the bridge did not answer $2"
  judged "$1"
  good "$1, if no answer is demanded,"
}

demanding valid
good valid
judged valid
good valid
for name in revoked suspended unrecorded; do
  demanding "$name"
  bad "$name"
  judged "$name"
  bad "$name, also if no answer is demanded,"
done
without_answer foreign unauthorized
step "the ledger is down"
ledger_lost
without_answer valid tryLater
