# strongSwan as the gateway judges by CRLs from ocsp-bridge under revocation = strict: full, delta, renewed, ledger down
vendor_ca vendor
issued_by vendor segw 0x3001
issued_by vendor henb1 0x3002
issued_by vendor henb2 0xfedcba9876543210
issued_by vendor henb3 0x3004

step "the ledger, and the bridge with the vendor's CRLs"
ledger_init
ledger_start
ledger submit vendor.pem --class ca || fail "the CA was not accepted"
ledger submit henb1.pem henb2.pem henb3.pem || fail "the devices were not accepted"
ledger suspend henb2.pem || fail "suspend"
crl_of vendor "lifetime_s = 600" "delta_lifetime_s = 10" "url = \"$OCSP\""
bridge_start
hash=$(key_hash vendor)

step "strongSwan with crl_uris, without OCSP"
gateway_files vendor
sed -i -e 's/enable_ocsp = yes/enable_ocsp = no/' -e 's/enable_crl = no/enable_crl = yes/' segw/strongswan.conf
sed -i "s,^\( *\)ocsp_uris = .*,\1crl_uris = ${OCSP}crl/$hash.crl," segw/swanctl/swanctl.conf
grep -q crl_uris segw/swanctl/swanctl.conf || { cat segw/swanctl/swanctl.conf; fail "no crl_uris"; }
charon_start segw "$SEGW"
let_in henb1 "it is valid" 'certificate status is good'
log_has segw/charon.log "fetching crl from '${OCSP}crl/$hash.crl'" || fail "charon did not fetch the CRL"
log_has segw/charon.log 'crl correctly signed by' || fail "charon did not verify the CRL"
refused henb2 'certificate was revoked on .*certificate hold'

step "the full CRL is kept for ten minutes; a delta CRL of ten seconds tells of a revocation"
ledger revoke henb1.pem --reason key-compromise || fail "revoke"
later() { attempt henb1; [ $? -ne 0 ] && log_has segw/charon.log 'certificate was revoked on .*key compromise' "$offset"; }
until_true 20 later || { tail -n 60 segw/charon.log; fail "henb1 is let in after its revocation, by a CRL that was kept"; }
log_has segw/charon.log "fetching crl from '${OCSP}crl/$hash.delta.crl.base=" || fail "charon did not fetch the delta CRL"
let_in henb3 "it is valid"

step "a certificate that is on hold by the CRL that is kept is looked for in a new one"
ledger resume henb2.pem || fail "resume"
until_true 10 attempt henb2 || { tail -n 60 segw/charon.log; fail "henb2 was resumed and is refused"; }
vici segw --flush-certs --type x509_crl >/dev/null 2>&1
refused henb1 'certificate was revoked on .*key compromise'

step "the bridge is down: strict refuses who is not known by a CRL that is good"
stop bridge
vici segw --flush-certs --type x509_crl >/dev/null 2>&1
refused henb3 'crl fetching failed'
