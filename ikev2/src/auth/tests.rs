//! AUTH payloads and certificates, ours and those of other implementations.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

use super::*;
use crate::{
    crypto::{KeyAlgorithm, RING, SignatureScheme, vectors::Vectors},
    wire::codes::{AuthMethod, HashAlgorithm, IdType},
};

const NOW: UnixTime = UnixTime::from_secs(1_785_542_400); // 2026-08-01
const OCTETS: &[u8] = b"message | nonce | prf(SK_p, ID)";

fn params() -> CertificateParams {
    let mut params = CertificateParams::new(vec!["henb.example".to_owned()]).unwrap();
    params
        .subject_alt_names
        .push(SanType::Rfc822Name("Ops@henb.example".try_into().unwrap()));
    params
        .subject_alt_names
        .push(SanType::IpAddress("192.0.2.7".parse().unwrap()));
    params
        .subject_alt_names
        .push(SanType::IpAddress("2001:db8::7".parse().unwrap()));
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Example");
    params
        .distinguished_name
        .push(DnType::CommonName, "henb-common.example");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params
}

fn key(algorithm: &'static rcgen::SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).unwrap()
}

fn self_signed(params: &CertificateParams) -> CertificateDer {
    CertificateDer::from(
        params
            .self_signed(&key(&rcgen::PKCS_ECDSA_P256_SHA256))
            .unwrap()
            .der()
            .to_vec(),
    )
}

fn credential(algorithm: &'static rcgen::SignatureAlgorithm) -> Pkcs8Credential {
    let key = key(algorithm);
    let certificate = params().self_signed(&key).unwrap().der().to_vec();
    Pkcs8Credential::from_der(vec![certificate], &key.serialize_der(), identity()).unwrap()
}

fn identity() -> Identification {
    Identification::fqdn("henb.example")
}

fn verify(identity: &Identification, chain: &[CertificateDer]) -> Result<(), CertificateError> {
    ProfileVerifier::new(RING).verify(&PresentedChain { identity, chain }, NOW)
}

fn verify_one(certificate: CertificateDer) -> Result<(), CertificateError> {
    verify(&identity(), &[certificate])
}

fn proves(
    end_entity: &CertificateDer,
    method: AuthMethod,
    value: &[u8],
    octets: &[u8],
) -> Result<(), AuthError> {
    verify_auth(
        &RING,
        &PeerAuth {
            method,
            value,
            end_entity,
            octets,
        },
    )
    .map(|_proof| ())
}

fn flipped(octets: &[u8], at: usize) -> Vec<u8> {
    let mut octets = octets.to_vec();
    octets[at] ^= 1;
    octets
}

fn certificate(name: &str) -> CertificateDer {
    let vectors = Vectors::parse(include_str!("../../tests/vectors/certificates.txt"));
    let vector = vectors
        .iter()
        .find(|vector| vector.text("name") == name)
        .unwrap();
    CertificateDer::from(vector.octets("der"))
}

// ---- AUTH ------------------------------------------------------------------

#[test]
fn method_14_signs_and_verifies_with_each_key() {
    // RFC 7427 appendix A.3, RFC 8420 §A: the AlgorithmIdentifier with its length octet.
    let cases = [
        (&rcgen::PKCS_ECDSA_P256_SHA256, "0c300a06082a8648ce3d040302"),
        (&rcgen::PKCS_ECDSA_P384_SHA384, "0c300a06082a8648ce3d040303"),
        (&rcgen::PKCS_ED25519, "07300506032b6570"),
    ];
    for (algorithm, prefix) in cases {
        let credential = credential(algorithm);
        let end_entity = &credential.chain()[0];
        let auth = sign_auth(&credential, Some(&ANNOUNCED_HASHES), OCTETS).unwrap();
        assert_eq!(auth.method, AuthMethod::DIGITAL_SIGNATURE);
        assert!(hex::encode(&auth.value).starts_with(prefix));
        assert_eq!(proves(end_entity, auth.method, &auth.value, OCTETS), Ok(()));

        for at in 0..OCTETS.len() {
            assert_eq!(
                proves(end_entity, auth.method, &auth.value, &flipped(OCTETS, at)),
                Err(AuthError::BadSignature)
            );
        }
        assert_eq!(
            proves(
                end_entity,
                auth.method,
                &flipped(&auth.value, auth.value.len() - 1),
                OCTETS
            ),
            Err(AuthError::BadSignature)
        );
        let other = self::credential(algorithm);
        assert_eq!(
            proves(&other.chain()[0], auth.method, &auth.value, OCTETS),
            Err(AuthError::BadSignature),
            "another key of the same kind"
        );
        // No octet of the framing or the AlgorithmIdentifier can be altered.
        for at in 0..prefix.len() / 2 {
            assert!(
                proves(end_entity, auth.method, &flipped(&auth.value, at), OCTETS).is_err(),
                "{at}"
            );
        }
        for len in 0..auth.value.len() {
            assert!(
                proves(end_entity, auth.method, &auth.value[..len], OCTETS).is_err(),
                "cut to {len}"
            );
        }
        for len in 0..=prefix.len() / 2 {
            let truncated = proves(end_entity, auth.method, &auth.value[..len], OCTETS);
            assert_eq!(truncated, Err(AuthError::Truncated), "cut to {len}");
        }
    }
}

#[test]
fn methods_9_and_10_carry_raw_signatures() {
    for (algorithm, method, expected) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, AuthMethod::ECDSA_P256, 64),
        (&rcgen::PKCS_ECDSA_P384_SHA384, AuthMethod::ECDSA_P384, 96),
    ] {
        let credential = credential(algorithm);
        let end_entity = &credential.chain()[0];
        let auth = sign_auth(&credential, None, OCTETS).unwrap();
        assert_eq!((auth.method, auth.value.len()), (method, expected));
        assert_eq!(proves(end_entity, method, &auth.value, OCTETS), Ok(()));
        assert_eq!(
            proves(end_entity, method, &auth.value, &flipped(OCTETS, 0)),
            Err(AuthError::BadSignature)
        );
        for at in [0, expected / 2, expected - 1] {
            assert_eq!(
                proves(end_entity, method, &flipped(&auth.value, at), OCTETS),
                Err(AuthError::BadSignature)
            );
        }
        for actual in [0, expected - 1, expected + 1] {
            let value = vec![1; actual];
            assert_eq!(
                proves(end_entity, method, &value, OCTETS),
                Err(AuthError::RawLength { expected, actual })
            );
        }
        // A DER signature is not the raw form.
        let der = sign_auth(&credential, Some(&ANNOUNCED_HASHES), OCTETS).unwrap();
        assert!(matches!(
            proves(end_entity, method, &der.value[13..], OCTETS),
            Err(AuthError::RawLength { .. })
        ));
        let zero = vec![0; expected];
        assert_eq!(
            proves(end_entity, method, &zero, OCTETS),
            Err(AuthError::BadSignature)
        );
    }
}

#[test]
fn the_method_must_fit_the_key() {
    let ed25519 = credential(&rcgen::PKCS_ED25519);
    let p384 = credential(&rcgen::PKCS_ECDSA_P384_SHA384);
    let mismatch = |method, key| Err(AuthError::KeyMethodMismatch { method, key });
    assert_eq!(
        proves(
            &ed25519.chain()[0],
            AuthMethod::ECDSA_P256,
            &[1; 64],
            OCTETS
        ),
        mismatch(AuthMethod::ECDSA_P256, KeyAlgorithm::Ed25519)
    );
    assert_eq!(
        proves(&p384.chain()[0], AuthMethod::ECDSA_P256, &[1; 64], OCTETS),
        mismatch(AuthMethod::ECDSA_P256, KeyAlgorithm::EcdsaP384)
    );
    assert_eq!(
        proves(
            &certificate("rsa2048"),
            AuthMethod::ECDSA_P384,
            &[1; 96],
            OCTETS
        ),
        mismatch(AuthMethod::ECDSA_P384, KeyAlgorithm::Rsa)
    );
    let auth = sign_auth(&ed25519, Some(&ANNOUNCED_HASHES), OCTETS).unwrap();
    assert!(matches!(
        proves(&p384.chain()[0], auth.method, &auth.value, OCTETS),
        Err(AuthError::Algorithm(AlgorithmError::KeyMismatch {
            key: KeyAlgorithm::EcdsaP384,
            ..
        }))
    ));
}

#[test]
fn other_methods_are_refused() {
    let end_entity = certificate("rsa2048");
    for method in [
        AuthMethod::RSA,
        AuthMethod::SHARED_KEY,
        AuthMethod(3),
        AuthMethod::ECDSA_P521,
        AuthMethod::NULL,
        AuthMethod(200),
    ] {
        assert_eq!(
            proves(&end_entity, method, &[1; 256], OCTETS),
            Err(AuthError::UnsupportedMethod(method))
        );
    }
}

#[test]
fn sha1_is_never_a_signature_hash() {
    // The signature is good; only the hash is not.
    let vectors = Vectors::parse(include_str!("../../tests/vectors/rsa_signatures.txt"));
    let vector = vectors
        .iter()
        .find(|vector| vector.text("scheme") == "pkcs1-sha1")
        .unwrap();
    let identifier = hex::decode("0f300d06092a864886f70d0101050500").unwrap();
    let value = [identifier, vector.octets("signature")].concat();
    assert!(matches!(
        proves(
            &certificate("rsa2048"),
            AuthMethod::DIGITAL_SIGNATURE,
            &value,
            &vector.octets("octets")
        ),
        Err(AuthError::Algorithm(AlgorithmError::Sha1(_)))
    ));
    let ecdsa = hex::decode("0b300906072a8648ce3d0401").unwrap();
    let value = [ecdsa, vec![0x30; 70]].concat();
    assert!(matches!(
        proves(
            &certificate("p256"),
            AuthMethod::DIGITAL_SIGNATURE,
            &value,
            OCTETS
        ),
        Err(AuthError::Algorithm(AlgorithmError::Sha1(_)))
    ));
}

#[test]
fn rsa_signatures_of_another_implementation_verify() {
    let end_entity = certificate("rsa2048");
    let vectors = Vectors::parse(include_str!("../../tests/vectors/rsa_signatures.txt"));
    let mut seen = 0;
    for vector in &vectors {
        let scheme = match vector.text("scheme") {
            "pkcs1-sha256" => SignatureScheme::RsaPkcs1Sha256,
            "pkcs1-sha384" => SignatureScheme::RsaPkcs1Sha384,
            "pkcs1-sha512" => SignatureScheme::RsaPkcs1Sha512,
            "pss-sha256" => SignatureScheme::RsaPssSha256,
            "pss-sha384" => SignatureScheme::RsaPssSha384,
            "pss-sha512" => SignatureScheme::RsaPssSha512,
            _ => continue,
        };
        seen += 1;
        let identifier = algorithm::identifier_of(scheme).unwrap();
        let (octets, signature) = (vector.octets("octets"), vector.octets("signature"));
        let value = |signature: &[u8]| {
            [
                &[u8::try_from(identifier.len()).unwrap()],
                identifier,
                signature,
            ]
            .concat()
        };
        assert_eq!(
            proves(
                &end_entity,
                AuthMethod::DIGITAL_SIGNATURE,
                &value(&signature),
                &octets
            ),
            Ok(()),
            "{scheme:?}"
        );
        assert_eq!(
            proves(
                &end_entity,
                AuthMethod::DIGITAL_SIGNATURE,
                &value(&flipped(&signature, 100)),
                &octets
            ),
            Err(AuthError::BadSignature),
            "{scheme:?}"
        );
    }
    assert_eq!(seen, 6);
}

#[test]
fn the_scheme_follows_what_the_peer_announced() {
    let method = |credential: &Pkcs8Credential, hashes: Option<&[HashAlgorithm]>| {
        sign_auth(credential, hashes, OCTETS).map(|auth| auth.method)
    };
    let (p256, ed25519) = (
        credential(&rcgen::PKCS_ECDSA_P256_SHA256),
        credential(&rcgen::PKCS_ED25519),
    );
    assert_eq!(
        method(
            &p256,
            Some(&[HashAlgorithm::SHA2_512, HashAlgorithm::SHA2_256])
        ),
        Ok(AuthMethod::DIGITAL_SIGNATURE)
    );
    // RFC 7427 §4: the older methods stay, with their own fixed hash.
    assert_eq!(
        method(&p256, Some(&[HashAlgorithm::SHA2_512])),
        Ok(AuthMethod::ECDSA_P256)
    );
    assert_eq!(method(&p256, Some(&[])), Ok(AuthMethod::ECDSA_P256));
    assert_eq!(method(&p256, None), Ok(AuthMethod::ECDSA_P256));
    // RFC 8420 §3: Ed25519 only by method 14 and when Identity is announced.
    assert_eq!(
        method(&ed25519, Some(&[HashAlgorithm::IDENTITY])),
        Ok(AuthMethod::DIGITAL_SIGNATURE)
    );
    assert_eq!(
        method(&ed25519, Some(&[HashAlgorithm::SHA2_256])),
        Err(SignError::NoCommonScheme)
    );
    assert_eq!(method(&ed25519, None), Err(SignError::NoCommonScheme));
}

#[test]
fn a_provider_without_the_scheme_says_so() {
    let credential = credential(&rcgen::PKCS_ED25519);
    let auth = sign_auth(&credential, Some(&ANNOUNCED_HASHES), OCTETS).unwrap();
    let provider = crate::crypto::CryptoProvider {
        signatures: vec![].into(),
        ..RING
    };
    let peer = PeerAuth {
        method: auth.method,
        value: &auth.value,
        end_entity: &credential.chain()[0],
        octets: OCTETS,
    };
    assert_eq!(
        verify_auth(&provider, &peer).map(|_| ()),
        Err(AuthError::SchemeUnavailable(SignatureScheme::Ed25519))
    );
}

// ---- our credential --------------------------------------------------------

#[test]
fn key_and_certificate_must_belong_together() {
    let (ours, other) = (
        key(&rcgen::PKCS_ECDSA_P256_SHA256),
        key(&rcgen::PKCS_ECDSA_P256_SHA256),
    );
    let certificate = params().self_signed(&ours).unwrap().der().to_vec();
    let build = |chain: Vec<Vec<u8>>, pkcs8: &[u8]| {
        Pkcs8Credential::from_der(chain, pkcs8, identity()).map(|_| ())
    };
    assert_eq!(
        build(vec![certificate.clone()], &ours.serialize_der()),
        Ok(())
    );
    assert_eq!(
        build(vec![certificate.clone()], &other.serialize_der()),
        Err(CredentialError::KeyMismatch)
    );
    let ed25519 = key(&rcgen::PKCS_ED25519).serialize_der();
    assert_eq!(
        build(vec![certificate.clone()], &ed25519),
        Err(CredentialError::Key(KeyAlgorithm::EcdsaP256))
    );
    assert_eq!(
        build(vec![certificate.clone()], b""),
        Err(CredentialError::Key(KeyAlgorithm::EcdsaP256))
    );
    assert_eq!(
        build(vec![], &ours.serialize_der()),
        Err(CredentialError::Certificate(CertificateError::ChainEmpty))
    );
    assert_eq!(
        build(vec![certificate; MAX_CHAIN_LEN + 1], &ours.serialize_der()),
        Err(CredentialError::Certificate(
            CertificateError::ChainTooLong {
                len: MAX_CHAIN_LEN + 1,
                limit: MAX_CHAIN_LEN
            }
        ))
    );
    assert_eq!(
        build(
            vec![self::certificate("rsa2048").as_bytes().to_vec()],
            &ours.serialize_der()
        ),
        Err(CredentialError::UnsupportedKey(KeyAlgorithm::Rsa))
    );
}

#[test]
fn a_credential_does_its_own_schemes_only() {
    let credential = credential(&rcgen::PKCS_ECDSA_P256_SHA256);
    let scheme = SignatureScheme::EcdsaP384Sha384;
    assert_eq!(
        credential.sign(scheme, OCTETS),
        Err(SignError::SchemeUnavailable(scheme))
    );
    assert_eq!(
        format!("{credential:?}").matches("CertificateDer(").count(),
        1
    );
}

// ---- certificates ----------------------------------------------------------

#[test]
fn a_self_signed_certificate_of_each_key_is_taken() {
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ] {
        let certificate = CertificateDer::from(
            params()
                .self_signed(&key(algorithm))
                .unwrap()
                .der()
                .to_vec(),
        );
        assert_eq!(verify_one(certificate), Ok(()));
    }
    for name in ["rsa2048", "rsa2048_pss", "p256", "p384_sha256"] {
        assert_eq!(verify_one(certificate(name)), Ok(()), "{name}");
    }
}

#[test]
fn weak_and_unknown_algorithms_are_refused_by_name() {
    assert_eq!(
        verify_one(certificate("rsa1024")),
        Err(CertificateError::RsaKeySize { bits: 1024 })
    );
    let p521 = const_oid::ObjectIdentifier::new_unwrap("1.3.132.0.35");
    assert_eq!(
        verify_one(certificate("p521")),
        Err(CertificateError::UnsupportedKey(p521))
    );
    assert!(matches!(
        verify_one(certificate("p256_sha512")),
        Err(CertificateError::Algorithm(AlgorithmError::Unsupported(_)))
    ));
    // OpenSSL dated this one from the day it was made.
    let peer = PresentedChain {
        identity: &identity(),
        chain: &[certificate("p256_sha1")],
    };
    assert!(matches!(
        ProfileVerifier::new(RING).verify(&peer, UnixTime::from_secs(1_893_456_000)),
        Err(CertificateError::Algorithm(AlgorithmError::Sha1(_)))
    ));
    assert_eq!(
        verify_one(certificate("p256_v1")),
        Err(CertificateError::NotV3)
    );
}

#[test]
fn no_octet_of_a_certificate_can_be_altered() {
    let good = self_signed(&params());
    let octets = good.as_bytes();
    let name = Certificate::parse(&good).unwrap().issuer().to_vec();
    let names: Vec<_> = octets
        .windows(name.len())
        .enumerate()
        .filter(|(_, window)| *window == name)
        .map(|(at, _)| at)
        .collect();
    assert_eq!(names.len(), 2, "issuer and subject");
    for at in 0..octets.len() {
        let verdict = verify_one(CertificateDer::from(flipped(octets, at)));
        // With issuer and subject no longer the same it passes for one whose issuer did not come along, which proves nothing and gets no further than
        // the inquiry for its hash. Everything else is refused here.
        if !names
            .iter()
            .any(|start| (*start..start + name.len()).contains(&at))
        {
            assert!(verdict.is_err(), "octet {at}");
        }
    }
    assert_eq!(
        verify_one(CertificateDer::from(flipped(octets, octets.len() - 1))),
        Err(CertificateError::BadSignature)
    );
}

#[test]
fn malformed_certificates_are_refused() {
    let good = self_signed(&params());
    for len in 0..good.as_bytes().len() {
        assert!(
            matches!(
                verify_one(CertificateDer::from(&good.as_bytes()[..len])),
                Err(CertificateError::Malformed { .. })
            ),
            "cut to {len}"
        );
    }
    let longer = [good.as_bytes(), &[0]].concat();
    assert!(matches!(
        verify_one(CertificateDer::from(longer)),
        Err(CertificateError::Malformed { .. })
    ));
    let large = vec![0x30; MAX_CERTIFICATE_LEN + 1];
    assert_eq!(
        verify_one(CertificateDer::from(large)),
        Err(CertificateError::TooLarge {
            len: MAX_CERTIFICATE_LEN + 1,
            limit: MAX_CERTIFICATE_LEN
        })
    );
    assert_eq!(verify(&identity(), &[]), Err(CertificateError::ChainEmpty));
    let chain = vec![good; MAX_CHAIN_LEN + 1];
    assert_eq!(
        verify(&identity(), &chain),
        Err(CertificateError::ChainTooLong {
            len: MAX_CHAIN_LEN + 1,
            limit: MAX_CHAIN_LEN
        })
    );
}

#[test]
fn validity_includes_its_ends() {
    let chain = [self_signed(&params())];
    let at = |secs| {
        ProfileVerifier::new(RING).verify(
            &PresentedChain {
                identity: &identity(),
                chain: &chain,
            },
            UnixTime::from_secs(secs),
        )
    };
    let (not_before, not_after) = (1_767_225_600, 1_798_761_600); // 2026-01-01, 2027-01-01
    assert_eq!(at(not_before), Ok(()));
    assert_eq!(at(not_after), Ok(()));
    let (before, after) = (
        UnixTime::from_secs(not_before),
        UnixTime::from_secs(not_after),
    );
    assert_eq!(
        at(not_before - 1),
        Err(CertificateError::NotYetValid {
            not_before: before,
            now: UnixTime::from_secs(not_before - 1)
        })
    );
    assert_eq!(
        at(not_after + 1),
        Err(CertificateError::Expired {
            not_after: after,
            now: UnixTime::from_secs(not_after + 1)
        })
    );
    assert_eq!(
        at(not_after + 1).unwrap_err().to_string(),
        "certificate: expired at 2027-01-01T00:00:00Z, now it is 2027-01-01T00:00:01Z"
    );
}

#[test]
fn key_usage_must_allow_signing_when_present() {
    let mut agreement_only = params();
    agreement_only.key_usages = vec![KeyUsagePurpose::KeyAgreement];
    assert_eq!(
        verify_one(self_signed(&agreement_only)),
        Err(CertificateError::KeyUsage {
            missing: "digitalSignature"
        })
    );
    let mut without = params();
    without.key_usages = vec![];
    assert_eq!(verify_one(self_signed(&without)), Ok(()));
}

#[test]
fn an_unknown_extension_matters_when_critical() {
    let oid: &[u64] = &[1, 3, 6, 1, 4, 1, 99999, 1];
    let mut extension = CustomExtension::from_oid_content(oid, vec![5, 0]);
    let mut with = params();
    with.custom_extensions.push(extension.clone());
    assert_eq!(verify_one(self_signed(&with)), Ok(()));
    extension.set_criticality(true);
    with.custom_extensions = vec![extension];
    let oid = const_oid::ObjectIdentifier::new_unwrap("1.3.6.1.4.1.99999.1");
    assert_eq!(
        verify_one(self_signed(&with)),
        Err(CertificateError::UnknownCriticalExtension(oid))
    );
}

#[test]
fn extensions_are_bounded_and_unique() {
    let extension =
        |last: u64| CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, last], vec![5, 0]);
    let mut many = params();
    many.custom_extensions = (0..40).map(extension).collect();
    assert!(matches!(
        verify_one(self_signed(&many)),
        Err(CertificateError::TooManyExtensions { limit: 32, .. })
    ));
    let mut twice = params();
    twice.custom_extensions = vec![extension(1), extension(1)];
    // rcgen may itself refuse to write such a certificate; ours must refuse to read it.
    if let Ok(certificate) = twice.self_signed(&key(&rcgen::PKCS_ECDSA_P256_SHA256)) {
        let certificate = CertificateDer::from(certificate.der().to_vec());
        assert!(matches!(
            verify_one(certificate),
            Err(CertificateError::DuplicateExtension(_))
        ));
    }
}

#[test]
fn a_critical_extended_key_usage_must_allow_ike() {
    // SEQUENCE OF OBJECT IDENTIFIER: id-kp-codeSigning; id-kp-ipsecIKE.
    for (purposes, expected) in [
        (
            "300a06082b06010505070303",
            Err(CertificateError::ExtendedKeyUsage),
        ),
        ("300a06082b06010505070311", Ok(())),
    ] {
        let mut with = params();
        let mut extension =
            CustomExtension::from_oid_content(&[2, 5, 29, 37], hex::decode(purposes).unwrap());
        extension.set_criticality(true);
        with.custom_extensions = vec![extension];
        assert_eq!(verify_one(self_signed(&with)), expected);
    }
}

#[test]
fn the_identity_must_be_in_the_certificate() {
    let chain = [self_signed(&params())];
    let subject = Certificate::parse(&chain[0]).unwrap().subject().to_vec();
    let good = [
        identity(),
        Identification::fqdn("HENB.Example"),
        Identification::email("Ops@HENB.example"),
        Identification::ipv4("192.0.2.7".parse().unwrap()),
        Identification::ipv6("2001:db8::7".parse().unwrap()),
        Identification::dn(&subject),
    ];
    for identity in good {
        assert_eq!(verify(&identity, &chain), Ok(()), "{identity}");
    }
    let bad = [
        Identification::fqdn("other.example"),
        Identification::fqdn("henb.example."),
        Identification::fqdn("henb.example\0"),
        Identification::fqdn("*.example"),
        Identification::fqdn(""),
        Identification::fqdn("henb-common.example"),
        Identification::fqdn("192.0.2.7"),
        Identification::email("ops@henb.example"),
        Identification::email("henb.example"),
        Identification::ipv4("192.0.2.8".parse().unwrap()),
        Identification::ipv6("2001:db8::8".parse().unwrap()),
        Identification {
            kind: IdType::IPV4_ADDR,
            value: vec![192, 0, 2],
        },
        Identification::dn(&flipped(&subject, subject.len() - 1)),
        Identification::dn(&[]),
        Identification::dn(&[0x30, 0]),
    ];
    for identity in bad {
        assert_eq!(
            verify(&identity, &chain),
            Err(CertificateError::IdentityMismatch {
                identity: identity.clone()
            }),
            "{identity}"
        );
    }
    assert_eq!(
        verify(&Identification::key_id(b"henb"), &chain),
        Err(CertificateError::IdentityUnsupported(IdType::KEY_ID))
    );
}

#[test]
fn the_common_name_is_a_last_resort_and_off_by_default() {
    let identity = Identification::fqdn("henb-common.example");
    let lenient = ProfileVerifier::new(RING).with_common_name_as_last_resort();
    let mut nameless = params();
    nameless.subject_alt_names = vec![];
    let nameless = [self_signed(&nameless)];
    let peer = PresentedChain {
        identity: &identity,
        chain: &nameless,
    };
    assert_eq!(lenient.verify(&peer, NOW), Ok(()));
    assert_eq!(
        ProfileVerifier::new(RING).verify(&peer, NOW),
        Err(CertificateError::IdentityMismatch {
            identity: identity.clone()
        })
    );
    // With a dNSName of its own, the certificate does not mean the common name.
    let named = [self_signed(&params())];
    let mismatch = Err(CertificateError::IdentityMismatch {
        identity: identity.clone(),
    });
    assert_eq!(
        lenient.verify(
            &PresentedChain {
                identity: &identity,
                chain: &named
            },
            NOW
        ),
        mismatch
    );
}

// ---- issued certificates ---------------------------------------------------

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params
}

/// End entity, intermediate, root, from the parameters of the latter two.
fn issued(intermediate: &CertificateParams, root: &CertificateParams) -> [CertificateDer; 3] {
    let algorithm = &rcgen::PKCS_ECDSA_P256_SHA256;
    let (end_key, intermediate_key, root_key) = (
        key(algorithm),
        key(&rcgen::PKCS_ECDSA_P384_SHA384),
        key(algorithm),
    );
    let root_issuer = Issuer::from_params(root, &root_key);
    let intermediate_issuer = Issuer::from_params(intermediate, &intermediate_key);
    [
        params().signed_by(&end_key, &intermediate_issuer).unwrap(),
        intermediate
            .signed_by(&intermediate_key, &root_issuer)
            .unwrap(),
        root.self_signed(&root_key).unwrap(),
    ]
    .map(|certificate| CertificateDer::from(certificate.der().to_vec()))
}

#[test]
fn an_issued_certificate_verifies_as_far_as_its_issuers_came_along() {
    let [end, intermediate, root] = issued(&ca_params("Intermediate"), &ca_params("Root"));
    let verify = |chain: &[&CertificateDer]| {
        verify(
            &identity(),
            &chain.iter().copied().cloned().collect::<Vec<_>>(),
        )
    };
    assert_eq!(verify(&[&end]), Ok(()));
    assert_eq!(verify(&[&end, &intermediate]), Ok(()));
    assert_eq!(verify(&[&end, &intermediate, &root]), Ok(()));
    assert_eq!(
        verify(&[&end, &root, &intermediate]),
        Ok(()),
        "issuers come in any order"
    );
    let unrelated = self_signed(&params());
    assert_eq!(verify(&[&end, &unrelated, &intermediate]), Ok(()));
    assert_eq!(
        verify(&[&end, &CertificateDer::from(&b"junk"[..]), &intermediate]),
        Ok(())
    );

    // An issuer of the same name with another key, alone and beside the right one.
    let [_, impostor, _] = issued(&ca_params("Intermediate"), &ca_params("Root"));
    assert!(verify(&[&end, &impostor]).is_err());
    assert_eq!(verify(&[&end, &impostor, &intermediate]), Ok(()));

    let altered = CertificateDer::from(flipped(end.as_bytes(), end.as_bytes().len() - 1));
    assert!(verify(&[&altered, &intermediate, &root]).is_err());
    let altered = CertificateDer::from(flipped(root.as_bytes(), root.as_bytes().len() - 1));
    assert_eq!(
        verify(&[&end, &intermediate, &altered]),
        Err(CertificateError::BadSignature)
    );
}

#[test]
fn an_issuer_must_be_a_ca_in_force() {
    let refused = |intermediate: &CertificateParams| {
        verify(&identity(), &issued(intermediate, &ca_params("Root")))
    };
    let issuer = |cause| {
        Err(CertificateError::Issuer {
            index: 1,
            cause: Box::new(cause),
        })
    };

    let mut not_ca = ca_params("Intermediate");
    not_ca.is_ca = IsCa::ExplicitNoCa;
    assert_eq!(refused(&not_ca), issuer(CertificateError::NotCa));
    let mut unsaid = ca_params("Intermediate");
    unsaid.is_ca = IsCa::NoCa;
    assert_eq!(refused(&unsaid), issuer(CertificateError::NotCa));
    let mut signs_no_certificates = ca_params("Intermediate");
    signs_no_certificates.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // rcgen's Issuer itself does not mind.
    assert_eq!(
        refused(&signs_no_certificates),
        issuer(CertificateError::KeyUsage {
            missing: "keyCertSign"
        })
    );
    let mut expired = ca_params("Intermediate");
    expired.not_after = date_time_ymd(2026, 2, 1);
    assert!(
        matches!(refused(&expired), Err(CertificateError::Issuer { index: 1, cause }) if matches!(*cause, CertificateError::Expired { .. }))
    );

    let mut short = ca_params("Root");
    short.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    assert_eq!(
        verify(&identity(), &issued(&ca_params("Intermediate"), &short)),
        Err(CertificateError::Issuer {
            index: 2,
            cause: Box::new(CertificateError::NotCa)
        })
    );
}

#[test]
fn a_certreq_authority_is_the_hash_of_the_key_info() {
    let certificate = certificate("p256");
    let spki = Certificate::parse(&certificate).unwrap().spki().to_vec();
    // SubjectPublicKeyInfo of a P-256 key: 91 octets with this start.
    assert_eq!(spki.len(), 91);
    assert!(hex::encode(&spki).starts_with("3059301306072a8648ce3d020106082a8648ce3d030107034200"));
    let expected = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &spki);
    assert_eq!(authority(&certificate).unwrap(), expected.as_ref());
}
