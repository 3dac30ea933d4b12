# CRLs from ocsp-bridge.

# crl_of CA [LINE...]: the bridge issues CA's CRLs with CA's own key; LINEs are more of [[crl]].
crl_of() {
  local ca=$1
  shift
  BRIDGE_MORE+=$(printf '\n[[crl]]\nissuer = "../%s.pem"\ncertificate = "../%s.pem"\nkey = "../%s.key"\n' "$ca" "$ca" "$ca")
  BRIDGE_MORE+=$(printf '\n%s' "$@")
}
# key_hash CA: what a CRL's URL names it by.
key_hash() { openssl x509 -in "$1.pem" -noout -ocspid | sed -n 's/^ *Public key OCSP hash: //p' | tr A-F a-f; }
# crl_get FILE PATH [CURL-ARGUMENT...]
crl_get() { in_segw curl -fsS --max-time 20 -o "$1" "${@:3}" "${OCSP}crl/$2"; }
# number FILE [OPTION]: the CRL number, hexadecimal without leading zeros.
number() { openssl crl -inform DER -in "$1" -noout -crlnumber | sed -E 's/^crlNumber=0x0*//' | tr A-F a-f; }
