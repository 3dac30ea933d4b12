# NSS's vfychain asks ocsp-bridge, found by the certificate's authorityInfoAccess: each status, foreign issuer, ledger down
# needs: vfychain certutil
ocsp_stage
mkdir db
certutil -N -d sql:db --empty-password || fail "certutil"
for ca in vendor other; do certutil -A -d sql:db -n "$ca" -t CT,C,C -a -i "$ca.pem" || fail "certutil -A $ca"; done

# chain NAME: fresh OCSP information about the device is demanded, no CRL is a substitute.
chain() { in_segw timeout 20 vfychain -d sql:db -pp -u 1 -g leaf -h requireFreshInfo -m ocsp -s failIfNoInfo -a "$1.pem" >nss.out 2>&1; }
good() { chain "$1"; grep -q 'Chain is good' nss.out || { cat nss.out; fail "$1 is not good"; }; }
bad() { chain "$1"; grep -q 'Chain is bad' nss.out || { cat nss.out; fail "$1 is not bad"; }; }

good valid
for name in revoked suspended unrecorded; do
  bad "$name"
  grep -qiE 'revoked' nss.out || { cat nss.out; fail "$name is not bad for being revoked"; }
done
bad foreign
step "the ledger is down"
ledger_lost
bad valid
