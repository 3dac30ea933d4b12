# strongSwan as the gateway asks ocsp-bridge: a vendor's devices good, never recorded, suspended, revoked; ledger down
vendor_ca vendor
issued_by vendor segw 0x1001
issued_by vendor henb1 0x1002
# A serial number whose first bit is set: 5.9.8 may ask for it as a negative one.
issued_by vendor henb2 0xfedcba9876543210
issued_by vendor stranger 0x1003

step "the ledger holds the vendor's CA and two devices, not the third"
ledger_init
ledger_start
ledger submit vendor.pem --class ca || fail "the CA was not accepted"
ledger submit henb1.pem henb2.pem || fail "the devices were not accepted"

step "the bridge"
bridge_start

step "openssl asks: SHA-1 and SHA-256, with and without nonce, several at once"
for hash in -sha1 -sha256; do
  for nonce in -nonce -no_nonce; do
    in_segw openssl ocsp -issuer vendor.pem "$hash" -cert henb1.pem "$hash" -cert stranger.pem "$nonce" \
      -url http://127.0.0.1:8888/ -VAfile bridge/signer.pem >ocsp.out 2>&1
    grep -q 'Response verify OK' ocsp.out && grep -q '^henb1.pem: good' ocsp.out && grep -q '^stranger.pem: revoked' ocsp.out ||
      { cat ocsp.out; fail "openssl ocsp $hash $nonce"; }
  done
done

step "strongSwan as the gateway, revocation = strict, with the lines that the bridge prints"
strongswan_files segw segw vendor
rm segw/swanctl/x509/vendor.pem
mkdir -p segw/swanctl/x509ca segw/swanctl/x509ocsp
cp vendor.pem segw/swanctl/x509ca/
cp bridge/signer.pem segw/swanctl/x509ocsp/
sed -i -e 's/ x509 openssl pubkey/ x509 openssl revocation constraints pubkey/' -e 's/ curve25519 vici/ curve25519 curl vici/' \
  -e 's/^  plugins {/  plugins {\n    revocation {\n      enable_ocsp = yes\n      enable_crl = no\n      timeout = 3s\n    }/' segw/strongswan.conf
ocsp-bridge strongswan-config --config bridge/bridge.toml --ca vendor.pem >lines || fail "strongswan-config"
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
      cacerts = vendor.pem
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
refused() { # NAME PATTERN-IN-CHARONS-LOG
  attempt "$1" && fail "$1 was let in"
  log_has segw/charon.log "$2" "$offset" || fail "$1 was refused, but charon does not say '$2'"
}

attempt henb1 || { cat henb1.json henb1.err; fail "henb1 is valid and was refused"; }
log_has segw/charon.log 'certificate status is good' "$offset" || fail "charon did not ask"
attempt henb2 || { cat henb2.json henb2.err; fail "henb2, whose serial number has its first bit set, was refused"; }
refused stranger 'certificate was revoked on .*certificate hold'

step "suspended, resumed, revoked"
ledger suspend henb2.pem || fail "suspend"
refused henb2 'certificate was revoked on .*certificate hold'
ledger resume henb2.pem || fail "resume"
attempt henb2 || { cat henb2.json henb2.err; fail "henb2 was resumed and is refused"; }
ledger revoke henb1.pem --reason key-compromise || fail "revoke"
refused henb1 'certificate was revoked on .*key compromise'

step "the ledger is down: tryLater, and strict refuses"
ledger_lost
refused stranger 'try later'
stop bridge
log_has bridge.log 'stopping' || fail "the bridge did not stop by itself"
