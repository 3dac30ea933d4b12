#!/usr/bin/env bash
# Makes the certificates beside it that the tests' own library cannot make: RSA, PSS, SHA-1, P-521,
# version 1. All self-signed, O=ACME Femto, valid 2025-01-01 to 2034-12-31; the keys are thrown away.
# usage: make.sh    (needs openssl 3; the tests do not run it)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

cat >openssl.cnf <<'CNF'
[req]
distinguished_name = dn
prompt = no
[dn]
CN = replaced
[v3]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
[ca]
default_ca = db
[db]
database = index.txt
new_certs_dir = .
rand_serial = yes
policy = any
unique_subject = no
[any]
O = supplied
CN = supplied
CNF
: >index.txt

certificate() { # name, digest, extension arguments..., then -- and the key's genpkey arguments
  local name=$1 digest=$2
  shift 2
  local extra=()
  while [ "$1" != -- ]; do extra+=("$1"); shift; done
  shift
  openssl genpkey "$@" -out key.pem 2>/dev/null
  openssl req -new -key key.pem "-$digest" -subj "/O=ACME Femto/CN=$name" -config openssl.cnf -out request.pem
  openssl ca -batch -notext -selfsign -config openssl.cnf -keyfile key.pem -md "$digest" "${extra[@]}" \
    -startdate 20250101000000Z -enddate 20341231235959Z -in request.pem -out certificate.pem 2>log || { cat log; exit 1; }
  openssl x509 -in certificate.pem -outform DER -out "$here/$name.der"
}

rsa=(-algorithm RSA -pkeyopt)
certificate rsa-2048-sha256 sha256 -extensions v3 -- "${rsa[@]}" rsa_keygen_bits:2048
certificate rsa-3072-sha512 sha512 -extensions v3 -- "${rsa[@]}" rsa_keygen_bits:3072
for digest in sha256:32 sha384:48 sha512:64; do
  certificate "rsa-2048-pss-${digest%:*}" "${digest%:*}" -extensions v3 -sigopt rsa_padding_mode:pss \
    -sigopt "rsa_pss_saltlen:${digest#*:}" -- "${rsa[@]}" rsa_keygen_bits:2048
done
certificate rsa-2048-pss-salt-20 sha256 -extensions v3 -sigopt rsa_padding_mode:pss \
  -sigopt rsa_pss_saltlen:20 -- "${rsa[@]}" rsa_keygen_bits:2048
certificate rsa-1024-sha256 sha256 -extensions v3 -- "${rsa[@]}" rsa_keygen_bits:1024
certificate rsa-2048-e3 sha256 -extensions v3 -- "${rsa[@]}" rsa_keygen_bits:2048 -pkeyopt rsa_keygen_pubexp:3
certificate rsa-2048-sha1 sha1 -extensions v3 -- "${rsa[@]}" rsa_keygen_bits:2048
certificate p521-sha512 sha512 -extensions v3 -- -algorithm EC -pkeyopt ec_paramgen_curve:P-521
certificate p256-sha384 sha384 -extensions v3 -- -algorithm EC -pkeyopt ec_paramgen_curve:P-256
certificate p384-sha256 sha256 -extensions v3 -- -algorithm EC -pkeyopt ec_paramgen_curve:P-384
certificate p256-sha512 sha512 -extensions v3 -- -algorithm EC -pkeyopt ec_paramgen_curve:P-256
certificate p256-version-1 sha256 -- -algorithm EC -pkeyopt ec_paramgen_curve:P-256
