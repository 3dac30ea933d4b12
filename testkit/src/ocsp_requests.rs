//! Requests at the edges of DER and of RFC 6960, and what each is answered with.
//!
//! Built with nothing of the library, since they judge it. The seeds of the fuzz target `ocsp_request` are these.

/// One request.
pub struct Case {
    /// What is odd about it.
    pub name: &'static str,
    /// The request.
    pub octets: Vec<u8>,
    /// How it must be answered.
    pub expect: Expect,
}

/// How a request must be answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expect {
    /// With a signed response for this many certificates.
    Answer(usize),
    /// With `malformedRequest`; the check that must find it.
    Malformed(&'static str),
    /// With `unauthorized`; the check that must find it.
    Unauthorized(&'static str),
}

use Expect::{Answer, Malformed, Unauthorized};

/// All of them.
pub fn all() -> Vec<Case> {
    [
        accepted(),
        outer(),
        tbs_request(),
        cert_ids(),
        extensions(),
        signatures(),
        not_ocsp(),
    ]
    .into_iter()
    .flatten()
    .map(|(name, octets, expect)| Case {
        name,
        octets,
        expect,
    })
    .collect()
}

type Row = (&'static str, Vec<u8>, Expect);

fn accepted() -> Vec<Row> {
    let id = plain_id();
    let serial = |octets: &[u8]| request(&[&id_with(SHA1, 20, octets)]);
    vec![
        ("plain", request(&[&id]), Answer(1)),
        ("sha256", request(&[&id_with(SHA256, 32, &[1])]), Answer(1)),
        ("sha384", request(&[&id_with(SHA384, 48, &[1])]), Answer(1)),
        ("sha512", request(&[&id_with(SHA512, 64, &[1])]), Answer(1)),
        (
            "hash-without-parameters",
            request(&[&cert_id(
                &seq(&[&oid(SHA1)]),
                &hash(20),
                &hash(20),
                &int(&[1]),
            )]),
            Answer(1),
        ),
        ("serial-zero", serial(&[0]), Answer(1)),
        ("serial-negative", serial(&[0xfe, 0xdc]), Answer(1)),
        ("serial-minus-one", serial(&[0xff]), Answer(1)),
        ("serial-20-octets", serial(&[0x7f; 20]), Answer(1)),
        ("serial-20-octets-negative", serial(&[0x80; 20]), Answer(1)),
        (
            "serial-21-octets-with-zero",
            serial(&[&[0][..], &[0xff; 20]].concat()),
            Answer(1),
        ),
        (
            "two",
            request(&[&id, &id_with(SHA256, 32, &[2])]),
            Answer(2),
        ),
        ("one-twice", request(&[&id, &id]), Answer(2)),
        ("sixteen", request(&vec![&*id; 16]), Answer(16)),
        (
            "explicit-version-1",
            of(&[&explicit(0, &int(&[0])), &list(&[&id])]),
            Answer(1),
        ),
        (
            "requestor-name",
            of(&[&explicit(1, &tlv(0xa4, &seq(&[]))), &list(&[&id])]),
            Answer(1),
        ),
        (
            "requestor-dns-name",
            of(&[&explicit(1, &tlv(0x82, b"gw")), &list(&[&id])]),
            Answer(1),
        ),
        ("nonce-1", with_nonce(&octets(&[7; 1])), Answer(1)),
        ("nonce-16", with_nonce(&octets(&[7; 16])), Answer(1)),
        ("nonce-32", with_nonce(&octets(&[7; 32])), Answer(1)),
        ("nonce-128", with_nonce(&octets(&[7; 128])), Answer(1)),
        (
            "nonce-critical",
            with(&[&extension(NONCE, &[0xff], &octets(&[7]))]),
            Answer(1),
        ),
        (
            "nonce-explicitly-not-critical",
            with(&[&extension(NONCE, &[0x00], &octets(&[7]))]),
            Answer(1),
        ),
        (
            "acceptable-responses",
            with(&[&plain(RESPONSE, &seq(&[&oid(b"\x2a\x03"), &oid(BASIC)]))]),
            Answer(1),
        ),
        (
            "preferred-algorithms",
            with(&[&plain(
                PREF,
                &seq(&[&preference(ECDSA), &preference(b"\x2a\x03")]),
            )]),
            Answer(1),
        ),
        (
            "preferred-algorithm-with-key",
            with(&[&plain(
                PREF,
                &seq(&[&seq(&[&seq(&[&oid(ECDSA)]), &seq(&[&oid(b"\x2a\x03")])])]),
            )]),
            Answer(1),
        ),
        (
            "preferred-algorithms-empty",
            with(&[&plain(PREF, &seq(&[]))]),
            Answer(1),
        ),
        (
            "unknown-extension",
            with(&[&plain(b"\x2a\x03\x04", b"anything")]),
            Answer(1),
        ),
        ("sixteen-extensions", many_extensions(16), Answer(1)),
        (
            "service-locator",
            request_with(&seq(&[
                &id,
                &explicit(0, &seq(&[&plain(LOCATOR, &seq(&[]))])),
            ])),
            Answer(1),
        ),
        (
            "service-locator-critical",
            request_with(&seq(&[
                &id,
                &explicit(0, &seq(&[&extension(LOCATOR, &[0xff], &seq(&[]))])),
            ])),
            Answer(1),
        ),
        (
            "same-extension-in-both-lists",
            of(&[
                &seq(&[&seq(&[
                    &id,
                    &explicit(0, &seq(&[&plain(b"\x2a\x03", b"x")])),
                ])]),
                &explicit(2, &seq(&[&plain(b"\x2a\x03", b"x")])),
            ]),
            Answer(1),
        ),
    ]
}

/// The outermost element: lengths, tags, what is around.
fn outer() -> Vec<Row> {
    let good = request(&[&plain_id()]);
    let bad = Malformed("Der OCSPRequest");
    let inner = &good[2..];
    let relength = |length: &[u8]| [&[0x30], length, inner].concat();
    vec![
        ("empty", vec![], bad),
        ("one-octet", vec![0x30], bad),
        ("two-octets", vec![0x30, 0x80], bad),
        ("null", vec![0x05, 0x00], bad),
        ("trailing-octet", [&good[..], &[0]].concat(), bad),
        ("trailing-request", [&good[..], &good].concat(), bad),
        ("cut-by-one", good[..good.len() - 1].to_vec(), bad),
        ("cut-in-half", good[..good.len() / 2].to_vec(), bad),
        (
            "indefinite-length",
            [&relength(&[0x80])[..], &[0, 0]].concat(),
            bad,
        ),
        (
            "long-form-of-a-short-length",
            relength(&[0x81, inner.len() as u8]),
            bad,
        ),
        (
            "length-with-leading-zero",
            relength(&[0x82, 0, inner.len() as u8]),
            bad,
        ),
        (
            "length-4-gibibytes",
            relength(&[0x84, 0xff, 0xff, 0xff, 0xff]),
            bad,
        ),
        (
            "length-2-to-the-64",
            relength(&[0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            bad,
        ),
        ("length-reserved", relength(&[0xff]), bad),
        (
            "length-one-too-much",
            relength(&[inner.len() as u8 + 1]),
            bad,
        ),
        (
            "length-one-too-little",
            relength(&[inner.len() as u8 - 1]),
            bad,
        ),
        ("set", [&[0x31], &good[1..]].concat(), bad),
        ("primitive-sequence", [&[0x10], &good[1..]].concat(), bad),
        ("high-tag-number", [&[0x3f, 0x10], &good[1..]].concat(), bad),
        ("nothing-inside", seq(&[]), bad),
        ("tbs-is-set", seq(&[&tlv(0x31, &inner[2..])]), bad),
        ("tbs-twice", seq(&[inner, inner]), bad),
        ("deeply-nested", deeply_nested(), Malformed("Der CertID")),
        (
            "over-4096-octets",
            with(&[&plain(b"\x2a\x03", &[0; 4_096])]),
            Malformed("TooLong"),
        ),
    ]
}

fn tbs_request() -> Vec<Row> {
    let id = plain_id();
    let list = list(&[&id]);
    let bad = Malformed("Der tbsRequest");
    let version = |value: &[u8]| of(&[&explicit(0, value), &list]);
    let name = |value: &[u8]| of(&[&explicit(1, value), &list]);
    vec![
        ("tbs-empty", of(&[]), bad),
        ("only-a-version", of(&[&explicit(0, &int(&[0]))]), bad),
        ("list-empty", of(&[&seq(&[])]), Malformed("NoCertId")),
        ("list-is-set", of(&[&tlv(0x31, &seq(&[&id]))]), bad),
        ("list-twice", of(&[&list, &list]), bad),
        (
            "seventeen",
            request(&vec![&*id; 17]),
            Malformed("TooManyCertIds"),
        ),
        ("version-2", version(&int(&[1])), Malformed("Version")),
        (
            "version-minus-one",
            version(&int(&[0xff])),
            Malformed("Version"),
        ),
        (
            "version-not-minimal",
            version(&int(&[0, 0])),
            Malformed("Version"),
        ),
        (
            "version-without-content",
            version(&int(&[])),
            Malformed("Version"),
        ),
        (
            "version-is-enumerated",
            version(&tlv(0x0a, &[0])),
            Malformed("Version"),
        ),
        (
            "version-huge",
            version(&int(&[0x7f; 64])),
            Malformed("Version"),
        ),
        (
            "version-twice-inside",
            version(&[int(&[0]), int(&[0])].concat()),
            bad,
        ),
        ("version-missing-inside", version(&[]), bad),
        ("version-implicit", of(&[&tlv(0x80, &[0]), &list]), bad),
        ("name-missing-inside", name(&[]), bad),
        (
            "name-not-general",
            name(&tlv(0x0c, b"gw")),
            Malformed("RequestorName"),
        ),
        (
            "name-choice-9",
            name(&tlv(0xa9, &[])),
            Malformed("RequestorName"),
        ),
        (
            "name-twice-inside",
            name(&[tlv(0x82, b"a"), tlv(0x82, b"b")].concat()),
            bad,
        ),
        (
            "name-before-version",
            of(&[
                &explicit(1, &tlv(0x82, b"gw")),
                &explicit(0, &int(&[0])),
                &list,
            ]),
            bad,
        ),
        (
            "extensions-before-list",
            of(&[&explicit(2, &seq(&[&plain(NONCE, &octets(&[7]))])), &list]),
            bad,
        ),
        ("unknown-field", of(&[&list, &explicit(3, &seq(&[]))]), bad),
    ]
}

fn cert_ids() -> Vec<Row> {
    let id = plain_id();
    let bad = Malformed("Der CertID");
    let serial = |octets: &[u8]| request(&[&id_with(SHA1, 20, octets)]);
    let of_id = |fields: &[&[u8]]| request(&[&seq(fields)]);
    let sha1 = algorithm(SHA1);
    let hashed = |name: &[u8], key: &[u8]| request(&[&cert_id(&sha1, name, key, &int(&[1]))]);
    let hash_algorithm =
        |identifier: &[u8]| request(&[&cert_id(identifier, &hash(20), &hash(20), &int(&[1]))]);
    vec![
        (
            "request-empty",
            request_with(&seq(&[])),
            Malformed("Der Request"),
        ),
        (
            "request-is-set",
            request_with(&tlv(0x31, &id)),
            Malformed("Der Request"),
        ),
        (
            "request-with-another-field",
            request_with(&seq(&[&id, &int(&[1])])),
            Malformed("Der Request"),
        ),
        ("cert-id-empty", of_id(&[]), bad),
        (
            "cert-id-without-serial",
            of_id(&[&sha1, &hash(20), &hash(20)]),
            bad,
        ),
        (
            "cert-id-with-another-field",
            of_id(&[&sha1, &hash(20), &hash(20), &int(&[1]), &int(&[1])]),
            bad,
        ),
        (
            "hash-is-bit-string",
            hashed(&tlv(0x03, &[0; 21]), &hash(20)),
            bad,
        ),
        (
            "hash-constructed",
            hashed(&tlv(0x24, &hash(20)), &hash(20)),
            bad,
        ),
        (
            "name-hash-empty",
            hashed(&hash(0), &hash(20)),
            Malformed("HashLength"),
        ),
        (
            "name-hash-19-octets",
            hashed(&hash(19), &hash(20)),
            Malformed("HashLength"),
        ),
        (
            "key-hash-21-octets",
            hashed(&hash(20), &hash(21)),
            Malformed("HashLength"),
        ),
        (
            "sha256-with-sha1-hashes",
            request(&[&id_with(SHA256, 20, &[1])]),
            Malformed("HashLength"),
        ),
        (
            "second-cert-id-bad",
            request(&[&id, &id_with(SHA1, 19, &[1])]),
            Malformed("HashLength"),
        ),
        ("serial-empty", serial(&[]), Malformed("Serial")),
        ("serial-not-minimal", serial(&[0, 1]), Malformed("Serial")),
        ("serial-zero-twice", serial(&[0, 0]), Malformed("Serial")),
        (
            "serial-negative-not-minimal",
            serial(&[0xff, 0x80]),
            Malformed("Serial"),
        ),
        ("serial-21-octets", serial(&[0x7f; 21]), Malformed("Serial")),
        (
            "serial-21-octets-negative",
            serial(&[0x80; 21]),
            Malformed("Serial"),
        ),
        (
            "serial-22-octets-with-zero",
            serial(&[&[0][..], &[0xff; 21]].concat()),
            Malformed("Serial"),
        ),
        (
            "serial-3000-octets",
            serial(&[0x7f; 3_000]),
            Malformed("Serial"),
        ),
        (
            "serial-is-octet-string",
            of_id(&[&sha1, &hash(20), &hash(20), &octets(&[1])]),
            bad,
        ),
        (
            "md5",
            request(&[&id_with(MD5, 16, &[1])]),
            Unauthorized("HashAlgorithm"),
        ),
        (
            "sha224",
            request(&[&id_with(SHA224, 28, &[1])]),
            Unauthorized("HashAlgorithm"),
        ),
        (
            "hash-unknown",
            request(&[&id_with(b"\x2a\x03", 20, &[1])]),
            Unauthorized("HashAlgorithm"),
        ),
        (
            "hash-without-oid",
            hash_algorithm(&seq(&[])),
            Malformed("Der hashAlgorithm"),
        ),
        (
            "hash-parameters-sequence",
            hash_algorithm(&seq(&[&oid(SHA1), &seq(&[])])),
            Malformed("Der hashAlgorithm"),
        ),
        (
            "hash-parameters-null-with-content",
            hash_algorithm(&seq(&[&oid(SHA1), &tlv(0x05, &[0])])),
            Malformed("Der hashAlgorithm"),
        ),
        (
            "hash-parameters-twice",
            hash_algorithm(&seq(&[&oid(SHA1), &tlv(0x05, &[]), &tlv(0x05, &[])])),
            Malformed("Der hashAlgorithm"),
        ),
    ]
}

fn extensions() -> Vec<Row> {
    let list = list(&[&plain_id()]);
    let bad = Malformed("Der Extensions");
    let raw = |value: &[u8]| of(&[&list, &explicit(2, value)]);
    let one = |fields: &[&[u8]]| raw(&seq(&[&seq(fields)]));
    let single = |value: &[u8]| request_with(&seq(&[&plain_id(), &explicit(0, value)]));
    let unknown = plain(b"\x2a\x03", b"x");
    let critical = extension(b"\x2a\x03", &[0xff], b"x");
    let nonce = octets(&octets(&[7]));
    vec![
        ("extensions-missing-inside", raw(&[]), bad),
        (
            "extensions-empty",
            raw(&seq(&[])),
            Malformed("EmptyExtensions"),
        ),
        ("extensions-are-set", raw(&tlv(0x31, &unknown)), bad),
        (
            "extensions-twice-inside",
            raw(&[seq(&[&unknown]), seq(&[&unknown])].concat()),
            bad,
        ),
        (
            "extension-twice",
            with(&[&unknown, &unknown]),
            Malformed("DuplicateExtension"),
        ),
        (
            "nonce-twice",
            with(&[
                &plain(NONCE, &octets(&[7])),
                &unknown,
                &plain(NONCE, &octets(&[8])),
            ]),
            Malformed("DuplicateExtension"),
        ),
        (
            "seventeen-extensions",
            many_extensions(17),
            Malformed("TooManyExtensions"),
        ),
        (
            "hundred-extensions",
            many_extensions(100),
            Malformed("TooManyExtensions"),
        ),
        (
            "unknown-critical",
            with(&[&critical]),
            Malformed("CriticalExtension"),
        ),
        ("extension-empty", one(&[]), bad),
        ("extension-without-value", one(&[&oid(NONCE)]), bad),
        ("extension-without-oid", one(&[&nonce]), bad),
        ("extension-oid-empty", one(&[&oid(&[]), &nonce]), bad),
        (
            "extension-oid-unfinished",
            one(&[&oid(&[0x2a, 0x83]), &nonce]),
            bad,
        ),
        (
            "extension-value-is-integer",
            one(&[&oid(NONCE), &int(&[7])]),
            bad,
        ),
        (
            "extension-with-another-field",
            one(&[&oid(NONCE), &nonce, &nonce]),
            bad,
        ),
        (
            "critical-1",
            with(&[&extension(NONCE, &[1], &octets(&[7]))]),
            bad,
        ),
        (
            "critical-without-content",
            with(&[&extension(NONCE, &[], &octets(&[7]))]),
            bad,
        ),
        (
            "critical-two-octets",
            with(&[&extension(NONCE, &[0, 0], &octets(&[7]))]),
            bad,
        ),
        (
            "nonce-empty",
            with_nonce(&octets(&[])),
            Malformed("NonceLength"),
        ),
        (
            "nonce-129",
            with_nonce(&octets(&[7; 129])),
            Malformed("NonceLength"),
        ),
        (
            "nonce-2000",
            with_nonce(&octets(&[7; 2_000])),
            Malformed("NonceLength"),
        ),
        (
            "nonce-missing-inside",
            with_nonce(&[]),
            Malformed("NonceEncoding"),
        ),
        (
            "nonce-bare",
            with_nonce(&[7; 16]),
            Malformed("NonceEncoding"),
        ),
        (
            "nonce-is-integer",
            with_nonce(&int(&[7; 16])),
            Malformed("NonceEncoding"),
        ),
        (
            "nonce-trailing-octet",
            with_nonce(&[octets(&[7; 16]), vec![0]].concat()),
            Malformed("NonceEncoding"),
        ),
        (
            "nonce-constructed",
            with_nonce(&tlv(0x24, &octets(&[7; 16]))),
            Malformed("NonceEncoding"),
        ),
        (
            "acceptable-responses-without-basic",
            with(&[&plain(RESPONSE, &seq(&[&oid(b"\x2a\x03")]))]),
            Malformed("AcceptableResponses"),
        ),
        (
            "acceptable-responses-empty",
            with(&[&plain(RESPONSE, &seq(&[]))]),
            Malformed("AcceptableResponses"),
        ),
        (
            "acceptable-responses-bare",
            with(&[&plain(RESPONSE, &oid(BASIC))]),
            Malformed("AcceptableResponses"),
        ),
        (
            "preferred-algorithms-bare",
            with(&[&plain(PREF, &oid(ECDSA))]),
            Malformed("PreferredAlgorithms"),
        ),
        (
            "preferred-algorithm-with-another-field",
            with(&[&plain(
                PREF,
                &seq(&[&seq(&[&seq(&[&oid(ECDSA)]), &int(&[1])])]),
            )]),
            Malformed("PreferredAlgorithms"),
        ),
        (
            "thirty-three-preferred-algorithms",
            with(&[&plain(PREF, &seq(&vec![&*preference(ECDSA); 33]))]),
            Malformed("PreferredAlgorithms"),
        ),
        ("single-extensions-missing-inside", single(&[]), bad),
        (
            "single-extensions-empty",
            single(&seq(&[])),
            Malformed("EmptyExtensions"),
        ),
        (
            "single-extension-twice",
            single(&seq(&[&unknown, &unknown])),
            Malformed("DuplicateExtension"),
        ),
        (
            "single-unknown-critical",
            single(&seq(&[&critical])),
            Malformed("CriticalExtension"),
        ),
    ]
}

fn signatures() -> Vec<Row> {
    let tbs = seq(&[&list(&[&plain_id()])]);
    let bits = tlv(0x03, &[0, 1, 2, 3]);
    let ecdsa = seq(&[&oid(ECDSA)]);
    let bad = Malformed("Der optionalSignature");
    let signed = |signature: &[u8]| seq(&[&tbs, &explicit(0, signature)]);
    let with_certificates = |value: &[u8]| signed(&seq(&[&ecdsa, &bits, &explicit(0, value)]));
    vec![
        ("signed", signed(&seq(&[&ecdsa, &bits])), Answer(1)),
        (
            "signed-with-certificates",
            with_certificates(&seq(&[&seq(&[]), &seq(&[&int(&[1])])])),
            Answer(1),
        ),
        ("signature-missing-inside", signed(&[]), bad),
        ("signature-empty", signed(&seq(&[])), bad),
        ("signature-without-bits", signed(&seq(&[&ecdsa])), bad),
        (
            "signature-is-octet-string",
            signed(&seq(&[&ecdsa, &octets(&[1])])),
            bad,
        ),
        (
            "signature-certificates-bare",
            with_certificates(&int(&[1])),
            bad,
        ),
        (
            "signature-certificate-is-integer",
            with_certificates(&seq(&[&int(&[1])])),
            bad,
        ),
        (
            "signature-with-another-field",
            signed(&seq(&[&ecdsa, &bits, &int(&[1])])),
            bad,
        ),
        (
            "signature-twice",
            seq(&[
                &tbs,
                &explicit(0, &seq(&[&ecdsa, &bits])),
                &explicit(0, &seq(&[&ecdsa, &bits])),
            ]),
            Malformed("Der OCSPRequest"),
        ),
    ]
}

fn not_ocsp() -> Vec<Row> {
    let bad = Malformed("Der OCSPRequest");
    vec![
        ("response-try-later", vec![0x30, 3, 0x0a, 1, 3], bad),
        ("text", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), bad),
        ("base64", b"MEIwQDA+MDwwOjAJBgUrDgMCGgUABBQ=".to_vec(), bad),
        ("pem", b"-----BEGIN OCSP REQUEST-----\n".to_vec(), bad),
        ("json", br#"{"status":"good"}"#.to_vec(), bad),
        ("zeros", vec![0; 4_096], bad),
        ("ones", vec![0xff; 4_096], bad),
        ("sequences-all-the-way", [0x30, 0x00].repeat(2_048), bad),
    ]
}

const SHA1: &[u8] = b"\x2b\x0e\x03\x02\x1a";
const MD5: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x02\x05";
const SHA224: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x04";
const SHA256: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x01";
const SHA384: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x02";
const SHA512: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x03";
const ECDSA: &[u8] = b"\x2a\x86\x48\xce\x3d\x04\x03\x02";
const BASIC: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x30\x01\x01";
const NONCE: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x30\x01\x02";
const RESPONSE: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x30\x01\x04";
const LOCATOR: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x30\x01\x07";
const PREF: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x30\x01\x08";

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = match value.len() {
        short @ 0..=0x7f => vec![short as u8],
        middle @ 0x80..=0xff => vec![0x81, middle as u8],
        long => [&[0x82][..], &(long as u16).to_be_bytes()].concat(),
    };
    [&[tag][..], &length, value].concat()
}

fn seq(fields: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &fields.concat())
}

fn explicit(number: u8, value: &[u8]) -> Vec<u8> {
    tlv(0xa0 | number, value)
}

fn int(octets: &[u8]) -> Vec<u8> {
    tlv(0x02, octets)
}

fn octets(octets: &[u8]) -> Vec<u8> {
    tlv(0x04, octets)
}

fn oid(octets: &[u8]) -> Vec<u8> {
    tlv(0x06, octets)
}

fn hash(length: usize) -> Vec<u8> {
    octets(&vec![0x11; length])
}

fn algorithm(hash: &[u8]) -> Vec<u8> {
    seq(&[&oid(hash), &tlv(0x05, &[])])
}

fn cert_id(algorithm: &[u8], name: &[u8], key: &[u8], serial: &[u8]) -> Vec<u8> {
    seq(&[algorithm, name, key, serial])
}

fn id_with(function: &[u8], length: usize, serial: &[u8]) -> Vec<u8> {
    cert_id(
        &algorithm(function),
        &hash(length),
        &hash(length),
        &int(serial),
    )
}

fn plain_id() -> Vec<u8> {
    id_with(SHA1, 20, &[0x10, 0x02])
}

fn list(ids: &[&[u8]]) -> Vec<u8> {
    let requests: Vec<_> = ids.iter().map(|id| seq(&[id])).collect();
    tlv(0x30, &requests.concat())
}

/// A request with these fields in its TBSRequest.
fn of(fields: &[&[u8]]) -> Vec<u8> {
    seq(&[&seq(fields)])
}

fn request(ids: &[&[u8]]) -> Vec<u8> {
    of(&[&list(ids)])
}

/// A request with this one element in its list.
fn request_with(element: &[u8]) -> Vec<u8> {
    of(&[&seq(&[element])])
}

fn extension(kind: &[u8], critical: &[u8], value: &[u8]) -> Vec<u8> {
    seq(&[&oid(kind), &tlv(0x01, critical), &octets(value)])
}

fn plain(kind: &[u8], value: &[u8]) -> Vec<u8> {
    seq(&[&oid(kind), &octets(value)])
}

/// A plain request with these extensions.
fn with(extensions: &[&[u8]]) -> Vec<u8> {
    of(&[&list(&[&plain_id()]), &explicit(2, &seq(extensions))])
}

fn with_nonce(value: &[u8]) -> Vec<u8> {
    with(&[&plain(NONCE, value)])
}

fn many_extensions(count: u8) -> Vec<u8> {
    let extensions: Vec<_> = (0..count).map(|last| plain(&[0x2a, last], b"x")).collect();
    with(&[&extensions.concat()])
}

fn preference(algorithm: &[u8]) -> Vec<u8> {
    seq(&[&seq(&[&oid(algorithm)])])
}

fn deeply_nested() -> Vec<u8> {
    (0..1_000).fold(Vec::new(), |inner, _| tlv(0x30, &inner))
}
