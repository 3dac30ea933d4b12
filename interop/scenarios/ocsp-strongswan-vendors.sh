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
strongswan_files segw segw root
rm segw/swanctl/x509/root.pem
mkdir -p segw/swanctl/x509ca segw/swanctl/x509ocsp
cp root.pem segw/swanctl/x509ca/
cp bridge/signer.pem segw/swanctl/x509ocsp/
sed -i -e 's/ x509 openssl pubkey/ x509 openssl revocation constraints pubkey/' -e 's/ curve25519 vici/ curve25519 curl vici/' \
  -e 's/^  plugins {/  plugins {\n    revocation {\n      enable_ocsp = yes\n      enable_crl = no\n      timeout = 3s\n    }/' segw/strongswan.conf
ocsp-bridge strongswan-config --config bridge/bridge.toml --ca root.pem >lines || fail "strongswan-config"
cat - lines >segw/swanctl/swanctl.conf <<'CONF'
connections {
  segw {
    version = 2
    local_addrs = 192.0.2.1
    proposals = aes128gcm16-prfsha256-x25519
    pools = inner
    local {
      auth = pubkey
      certs = segw.pem
      id = segw.lab.test
    }
    remote {
      auth = pubkey
      cacerts = root.pem
      revocation = strict
    }
    children {
      core {
        local_ts = 10.99.0.0/24
        esp_proposals = aes128gcm16
      }
    }
  }
}
pools {
  inner {
    addrs = 10.88.0.0/24
  }
}
CONF
charon_start segw "$SEGW"

# attempt NAME: one handshake; the result is henb-sim's exit code.
attempt() {
  vici segw --flush-certs --type ocsp_response >/dev/null 2>&1
  offset=$(size_of segw/charon.log)
  in_henb timeout 20 henb-sim connect --gateway 192.0.2.1 --id "$1.lab.test" --certificate "$1.pem" --key "$1.key" \
    --gateway-id segw.lab.test --gateway-certificate segw.pem --remote-ts 10.99.0.0/24 --ping 10.99.0.1 --count 1 --json >"$1.json" 2>"$1.err"
}
let_in() { attempt "$1" || { cat "$1.json" "$1.err"; fail "$1 was refused: $2"; }; }
refused() { # NAME PATTERN-IN-CHARONS-LOG
  attempt "$1" && fail "$1 was let in"
  log_has segw/charon.log "$2" "$offset" || fail "$1 was refused, but charon does not say '$2'"
}

step "strict: the first vendor's device comes in, the second vendor's does not before the ledger has its CA and it"
let_in henb1 "it is valid"
log_has segw/charon.log 'certificate status is good' "$offset" || fail "charon did not ask"
refused henb2 'ocsp response status: unauthorized'
ledger submit henb2.own.pem && fail "a device was recorded before its CA" # its issuer is not recorded
ledger submit second.pem --class ca || fail "the second vendor's CA was not accepted"
refused henb2 'certificate was revoked on .*certificate hold'
ledger submit henb2.own.pem || fail "the second vendor's device was not accepted"
let_in henb2 "its vendor was admitted, and it was recorded"
step "a vendor's CA that is revoked takes its devices with it"
ledger revoke second.pem --reason ca-compromise || fail "revoke"
refused henb2 'certificate was revoked on'
let_in henb1 "its own CA is valid"

step "relaxed: what the ledger refuses is refused too"
sed -i 's/revocation = strict$/revocation = relaxed/' segw/swanctl/swanctl.conf
vici segw --load-conns || fail "load-conns"
let_in henb1 "relaxed, valid"
refused stranger 'certificate was revoked on .*certificate hold'
refused henb2 'certificate was revoked on'
step "but unknown, and a bridge without its ledger, let anybody in"
sed -i '/^\[answers\]/a not_recorded = "unknown"' bridge/bridge.toml
kill -HUP "$(cat bridge.pid)"
until_true 5 attempt stranger || { cat stranger.json stranger.err; fail "relaxed: unknown should have let it in"; }
ledger revoke henb1.own.pem --reason key-compromise || fail "revoke"
refused henb1 'certificate was revoked on .*key compromise'
ledger_lost
let_in stranger "relaxed, ledger down"
sed -i 's/revocation = relaxed$/revocation = strict/' segw/swanctl/swanctl.conf
vici segw --load-conns || fail "load-conns"
refused stranger 'try later'
