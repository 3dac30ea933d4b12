# strongSwan as the gateway, vendors' CAs under one root: a second vendor is let in by the ledger alone; revocation = relaxed
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 365 -subj /O=Lab/CN=root \
  -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
  -config <(printf '[req]\ndistinguished_name=dn\n[dn]\n') -keyout root.key -out root.pem 2>root.openssl || { cat root.openssl; fail "root"; }
sub_ca() { # NAME SERIAL: a vendor's CA, certified by the root
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/O=Lab/CN=$1" -keyout "$1.key" -out "$1.csr" 2>"$1.openssl" &&
    openssl x509 -req -in "$1.csr" -CA root.pem -CAkey root.key -set_serial "$2" -days 90 -sha256 -out "$1.pem" -extfile <(
      printf '%s\n' basicConstraints=critical,CA:TRUE,pathlen:0 keyUsage=critical,keyCertSign,cRLSign \
        subjectKeyIdentifier=hash authorityKeyIdentifier=keyid
    ) 2>>"$1.openssl" || { cat "$1.openssl"; fail "CA $1"; }
}
sub_ca first 0x11
sub_ca second 0x12
aia="authorityInfoAccess=OCSP;URI:$OCSP"
issued_by first segw 0x1001
issued_by first henb1 0x1002 "$aia"
issued_by first stranger 0x1003 "$aia"
issued_by second henb2 0x1002 "$aia"
# The ledger takes the device's certificate alone; the device sends its vendor's CA along.
for name in henb1 henb2; do cp "$name.pem" "$name.own.pem"; done
for name in henb1 stranger; do cat first.pem >>"$name.pem"; done
cat second.pem >>henb2.pem

step "the ledger holds the root, the first vendor and one device of its; the bridge"
ledger_init
ledger_start
ledger submit root.pem first.pem --class ca || fail "the CAs were not accepted"
ledger submit henb1.own.pem || fail "the device was not accepted"
bridge_start

step "the gateway knows the root, the bridge's signer, and no vendor"
gateway_files root
charon_start segw "$SEGW"

step "strict: the first vendor's device comes in, the second vendor's does not before the ledger has its CA and it"
let_in henb1 "it is valid" 'certificate status is good'
refused henb2 'certificate was revoked on --- -- --:--:-- UTC ----' # its vendor's CA, since the root is recorded
log_has segw/charon.log 'ocsp response status: unauthorized' "$offset" || fail "a device whose issuer is not recorded is not answered unauthorized"
ledger submit henb2.own.pem && fail "a device was recorded before its CA" # its issuer is not recorded
ledger submit second.pem --class ca || fail "the second vendor's CA was not accepted"
refused henb2 'certificate was revoked on --- -- --:--:-- UTC ----, reason: certificate hold'
ledger submit henb2.own.pem || fail "the second vendor's device was not accepted"
let_in henb2 "its vendor was admitted, and it was recorded"
step "a vendor's CA that is revoked takes its devices with it"
ledger revoke second.pem --reason ca-compromise || fail "revoke"
refused henb2 'certificate was revoked on'
let_in henb1 "its own CA is valid"

step "relaxed: what the ledger refuses is refused too"
gateway_revocation relaxed
let_in henb1 "relaxed, valid" 'certificate status is good'
refused stranger 'certificate was revoked on --- -- --:--:-- UTC ----, reason: certificate hold'
refused henb2 'certificate was revoked on'
ledger suspend henb1.own.pem || fail "suspend"
refused henb1 'certificate was revoked on .* 20[0-9]{2}, reason: certificate hold'
ledger resume henb1.own.pem || fail "resume"
step "but unknown, and a bridge without its ledger, let anybody in"
sed -i '/^\[answers\]/a not_recorded = "unknown"' bridge/bridge.toml
kill -HUP "$(cat bridge.pid)"
until_true 5 attempt stranger || { cat stranger.json stranger.err; fail "relaxed: unknown should have let it in"; }
ledger revoke henb1.own.pem --reason key-compromise || fail "revoke"
refused henb1 'certificate was revoked on .*key compromise'
ledger_lost
let_in stranger "relaxed, ledger down" 'ocsp response status: try later'
gateway_revocation strict
refused stranger 'ocsp response status: try later'
