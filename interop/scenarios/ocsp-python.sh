# Python's cryptography asks ocsp-bridge: it builds the requests, parses the answers, verifies signatures and CertIDs
# needs: python3 python3:cryptography
ocsp_stage

cat >ask.py <<'PY'
import datetime, sys, urllib.request
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

def load(name):
    with open(name + ".pem", "rb") as file:
        return x509.load_pem_x509_certificate(file.read())

def moment(answer, name):
    """As a time with its zone: before cryptography 43 there are only those without."""
    if hasattr(answer, name + "_utc"):
        return getattr(answer, name + "_utc")
    return getattr(answer, name).replace(tzinfo=datetime.timezone.utc)

url, name, issuer_name, expected, reason = sys.argv[1:6]
certificate, issuer = load(name), load(issuer_name)
for algorithm in (hashes.SHA1(), hashes.SHA256()):
    for nonce in (None, b"0123456789abcdef", bytes(range(32)), bytes(128)):
        builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, algorithm)
        if nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
        request = builder.build()
        octets = request.public_bytes(serialization.Encoding.DER)
        post = urllib.request.Request(url, octets, {"Content-Type": "application/ocsp-request"})
        with urllib.request.urlopen(post, timeout=10) as reply:
            answer = ocsp.load_der_ocsp_response(reply.read())
        if answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            assert answer.response_status.name == expected, answer.response_status
            continue
        assert answer.certificate_status.name == expected, answer.certificate_status
        assert (answer.revocation_reason.name if answer.revocation_reason else "-") == reason, answer.revocation_reason
        signer = answer.certificates[0]
        issuer.public_key().verify(signer.signature, signer.tbs_certificate_bytes, ec.ECDSA(signer.signature_hash_algorithm))
        assert ExtendedKeyUsageOID.OCSP_SIGNING in signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        signer.public_key().verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(answer.signature_hash_algorithm))
        key_hash = x509.SubjectKeyIdentifier.from_public_key(signer.public_key()).digest
        assert answer.responder_key_hash == key_hash, "responder ID"
        for field in ("serial_number", "issuer_key_hash", "issuer_name_hash"):
            assert getattr(answer, field) == getattr(request, field), field
        assert answer.hash_algorithm.name == algorithm.name
        begins, ends = moment(answer, "this_update"), moment(answer, "next_update")
        assert begins <= datetime.datetime.now(datetime.timezone.utc) <= ends, (begins, ends)
        echoed = [e.value.nonce for e in answer.extensions if isinstance(e.value, x509.OCSPNonce)]
        assert echoed == ([nonce] if nonce is not None else []), "nonce"
PY
ask() { in_segw python3 ask.py "$OCSP" "$@" || fail "Python: $*"; }
ask valid vendor GOOD -
ask revoked vendor REVOKED key_compromise
ask suspended vendor REVOKED certificate_hold
ask unrecorded vendor REVOKED certificate_hold
ask foreign other UNAUTHORIZED -
step "the ledger is down"
ledger_lost
ask valid vendor TRY_LATER -
