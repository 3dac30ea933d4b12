# Certificates: NAME.pem and NAME.key, ECDSA P-256, of the organisation Lab.

# self_signed NAME: no CA anywhere, identity NAME.lab.test.
self_signed() {
  cat >"$1.cnf" <<CNF
[req]
distinguished_name = dn
prompt = no
x509_extensions = ext
[dn]
O = Lab
CN = $1.lab.test
[ext]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
subjectAltName = DNS:$1.lab.test
subjectKeyIdentifier = hash
CNF
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -days 365 \
    -config "$1.cnf" -keyout "$1.key" -out "$1.pem" 2>"$1.openssl" || { cat "$1.openssl"; fail "openssl req $1"; }
}

# vendor_ca NAME [KIND]: a vendor's own CA; KIND is a key in the words of openssl req -newkey, if it is not P-256.
vendor_ca() {
  local kind=(ec -pkeyopt ec_paramgen_curve:P-256)
  [ $# -eq 1 ] || kind=("$2")
  openssl req -x509 -newkey "${kind[@]}" -nodes -sha256 -days 365 -subj "/O=Lab/CN=$1" \
    -config <(printf '[req]\ndistinguished_name=dn\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n') \
    -extensions ca -keyout "$1.key" -out "$1.pem" 2>"$1.openssl" || { cat "$1.openssl"; fail "CA $1"; }
}
# issued_by CA NAME SERIAL [EXTENSION...]: a device NAME.lab.test. SUBJECT, if it is set, stands before its common name
# in place of /O=Lab.
issued_by() {
  local ca=$1 name=$2 serial=$3
  shift 3
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "${SUBJECT:-/O=Lab}/CN=$name.lab.test" \
    -keyout "$name.key" -out "$name.csr" 2>"$name.openssl" &&
    openssl x509 -req -in "$name.csr" -CA "$ca.pem" -CAkey "$ca.key" -set_serial "$serial" -days 90 -sha256 -out "$name.pem" -extfile <(
      printf '%s\n' basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature "subjectAltName=DNS:$name.lab.test" \
        subjectKeyIdentifier=hash authorityKeyIdentifier=keyid "$@"
    ) 2>>"$name.openssl" || { cat "$name.openssl"; fail "certificate $name"; }
}
