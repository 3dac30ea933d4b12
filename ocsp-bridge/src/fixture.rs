//! Authorities, signers, a scripted ledger, and an OCSP response reader of its own, for the tests.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use const_oid::ObjectIdentifier;
use der::asn1::{Any, BitString, GeneralizedTime, OctetString};
use der::{Decode, Encode, Enumerated, Sequence};
use ledger::{BlockTime, CertificateHash, RevocationReason, Status};
use ocsp::{CertId, CertStatus, HashAlgorithm, Request, UnixTime};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SignatureAlgorithm, date_time_ymd,
};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256,
    UnparsedPublicKey, VerificationAlgorithm,
};
use x509_cert::Certificate;
use x509_cert::ext::Extensions;
use x509_cert::spki::AlgorithmIdentifierOwned;

use crate::signer::{SignError, Signer, SigningCost, SigningKey};
use crate::source::{BoxFuture, Finding, LookUp, Source, Unavailable};

/// 2026-08-01T00:00:00Z.
pub(crate) const NOW: UnixTime = UnixTime(1_785_542_400);

/// An issuing CA.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: Vec<u8>,
    name: Vec<u8>,
    key: Vec<u8>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let params = Self::params(name);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        let parsed = Certificate::from_der(&certificate).unwrap();
        let tbs = parsed.tbs_certificate();
        Self {
            name: tbs.subject().to_der().unwrap(),
            key: tbs
                .subject_public_key_info()
                .subject_public_key
                .raw_bytes()
                .to_vec(),
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    pub(crate) fn params(name: &str) -> CertificateParams {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }

    pub(crate) fn key_pkcs8(&self) -> Vec<u8> {
        self.issuer.key().serialize_der()
    }

    /// PKCS#8 key and certificate of a delegate.
    pub(crate) fn delegate(&self, algorithm: &'static SignatureAlgorithm) -> (Vec<u8>, Vec<u8>) {
        self.issue(algorithm, signer_params("delegate"))
    }

    pub(crate) fn issue(
        &self,
        algorithm: &'static SignatureAlgorithm,
        params: CertificateParams,
    ) -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (key.serialize_der(), certificate.der().to_vec())
    }

    pub(crate) fn cert_id(&self, algorithm: HashAlgorithm, serial: u8) -> Vec<u8> {
        CertId::encode(algorithm, &self.name, &self.key, &[serial])
    }

    /// A request without a nonce.
    pub(crate) fn request(&self, serial: u8) -> Vec<u8> {
        Request::encode(&[&self.cert_id(HashAlgorithm::Sha1, serial)], None)
    }

    pub(crate) fn request_with_nonce(&self, serial: u8, nonce: &[u8]) -> Vec<u8> {
        Request::encode(&[&self.cert_id(HashAlgorithm::Sha1, serial)], Some(nonce))
    }
}

/// Parameters of a certificate that is valid from 2026 to the end of 2029.
pub(crate) fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2030, 1, 1) - Duration::from_secs(1);
    params
}

pub(crate) fn signer_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
    params
}

/// PKCS#8 key and certificate that nobody but itself vouches for.
pub(crate) fn self_signed(
    algorithm: &'static SignatureAlgorithm,
    params: CertificateParams,
) -> (Vec<u8>, Vec<u8>) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (key.serialize_der(), certificate.der().to_vec())
}

/// A key that signs when a test lets it.
#[derive(Debug)]
pub(crate) struct Held {
    public_key: Vec<u8>,
    cost: SigningCost,
    pub(crate) begun: AtomicUsize,
    go: Mutex<mpsc::Receiver<()>>,
}

impl Held {
    /// The key of this certificate, and what lets it sign once.
    pub(crate) fn new(certificate: &[u8], cost: SigningCost) -> (Arc<Self>, mpsc::Sender<()>) {
        let parsed = Certificate::from_der(certificate).unwrap();
        let key = parsed.tbs_certificate().subject_public_key_info();
        let (send, go) = mpsc::channel();
        let held = Arc::new(Self {
            public_key: key.subject_public_key.raw_bytes().to_vec(),
            cost,
            begun: AtomicUsize::new(0),
            go: Mutex::new(go),
        });
        (held, send)
    }

    /// Waits until so many signatures were begun.
    pub(crate) async fn has_begun(&self, count: usize) {
        let began = Instant::now();
        while self.begun.load(Ordering::SeqCst) < count {
            assert!(began.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(1));
            tokio::task::yield_now().await;
        }
    }
}

impl SigningKey for Arc<Held> {
    fn algorithms(&self) -> &[ocsp::SignatureAlgorithm] {
        &[ocsp::SignatureAlgorithm::EcdsaSha256]
    }

    fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    fn cost(&self) -> SigningCost {
        self.cost
    }

    fn check(&self) -> Result<(), SignError> {
        self.sign(ocsp::SignatureAlgorithm::EcdsaSha256, &[])
            .map(drop)
    }

    fn sign(&self, _: ocsp::SignatureAlgorithm, _: &[u8]) -> Result<Vec<u8>, SignError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        match self.go.lock().unwrap().recv() {
            Ok(()) => Ok(vec![1, 2, 3]),
            Err(error) => Err(SignError::Failed(error.to_string())),
        }
    }
}

pub(crate) fn local_signer(algorithm: &'static SignatureAlgorithm) -> Signer {
    let (key, certificate) = self_signed(algorithm, signer_params("signer"));
    Signer::from_pkcs8(NOW, &key, &certificate).unwrap()
}

pub(crate) fn hash(octet: u8) -> CertificateHash {
    CertificateHash::from_octets([octet; 32])
}

/// A finding as of a second ago.
pub(crate) fn found(serial: u8, status: Status) -> Finding {
    Finding {
        block_time: Some(BlockTime(NOW.0 * 1_000 - 1_000)),
        ..Finding::new(LookUp::Found {
            hash: hash(serial),
            status,
            not_after: None,
        })
    }
}

/// A ledger that answers by the last octet of the serial number: what it was told, else valid.
#[derive(Default)]
pub(crate) struct Script {
    answers: Mutex<HashMap<u8, Result<Finding, Unavailable>>>,
    asked: AtomicUsize,
}

impl Script {
    pub(crate) fn set(&self, serial: u8, finding: Finding) {
        self.answers.lock().unwrap().insert(serial, Ok(finding));
    }

    pub(crate) fn fail(&self, serial: u8) {
        let detail = "told so".to_owned();
        let answer = Err(Unavailable { detail });
        self.answers.lock().unwrap().insert(serial, answer);
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Source for Arc<Script> {
    fn look_up<'a>(&'a self, id: &'a CertId<'a>) -> BoxFuture<'a, Result<Finding, Unavailable>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let serial = *id.serial().last().unwrap();
            let answers = self.answers.lock().unwrap();
            let default = || Ok(found(serial, Status::Valid));
            answers.get(&serial).cloned().unwrap_or_else(default)
        })
    }
}

/// A response that was read with derived types, and whose signature verifies with the certificate in it.
pub(crate) struct Reading {
    pub(crate) produced_at: u64,
    pub(crate) nonce: Option<Vec<u8>>,
    pub(crate) extended_revoked: bool,
    pub(crate) singles: Vec<SingleReading>,
    pub(crate) signer: Vec<u8>,
    pub(crate) algorithm: String,
}

#[derive(Debug, Eq, PartialEq)]
pub(crate) struct SingleReading {
    pub(crate) cert_id: Vec<u8>,
    pub(crate) status: CertStatus,
    pub(crate) this_update: u64,
    pub(crate) next_update: u64,
    pub(crate) cert_hash: Option<Vec<u8>>,
    pub(crate) archive_cutoff: Option<u64>,
}

pub(crate) fn read(der: &[u8]) -> Reading {
    let outer = OcspResponse::from_der(der).unwrap();
    assert_eq!(outer.status, ResponseCode::Successful);
    let bytes = outer.bytes.unwrap();
    assert_eq!(bytes.kind.to_string(), "1.3.6.1.5.5.7.48.1.1");
    let basic = BasicOcspResponse::from_der(bytes.response.as_bytes()).unwrap();
    let certs = basic.certs.as_ref().unwrap();
    assert_eq!(certs.len(), 1);
    verify(&basic);
    let key = certs[0].tbs_certificate().subject_public_key_info();
    let key_hash = HashAlgorithm::Sha1.digest(key.subject_public_key.raw_bytes());
    assert_eq!(basic.tbs.by_key.as_bytes(), key_hash.as_ref());
    let mut reading = Reading {
        produced_at: seconds(basic.tbs.produced_at),
        nonce: None,
        extended_revoked: false,
        singles: basic.tbs.responses.iter().map(single).collect(),
        signer: certs[0].to_der().unwrap(),
        algorithm: basic.algorithm.oid.to_string(),
    };
    for extension in basic.tbs.extensions.iter().flatten() {
        assert!(!extension.critical);
        let value = extension.extn_value.as_bytes();
        match &*extension.extn_id.to_string() {
            "1.3.6.1.5.5.7.48.1.2" => {
                let nonce = OctetString::from_der(value).unwrap();
                reading.nonce = Some(nonce.as_bytes().to_vec());
            }
            "1.3.6.1.5.5.7.48.1.9" => {
                assert_eq!(value, [5, 0]);
                reading.extended_revoked = true;
            }
            other => panic!("extension {other}"),
        }
    }
    reading
}

fn single(single: &SingleResponse) -> SingleReading {
    let octets = single.status.to_der().unwrap();
    let status = match (octets[0], single.status.value()) {
        (0x80, []) => CertStatus::Good,
        (0x82, []) => CertStatus::Unknown,
        (0xa1, value) => {
            let header = [&[0x30, u8::try_from(value.len()).unwrap()], value].concat();
            let info = RevokedInfo::from_der(&header).unwrap();
            let code = info.reason.map_or(0, |reason| reason as u8);
            let mut reasons = RevocationReason::ALL.into_iter();
            CertStatus::Revoked {
                time: UnixTime(seconds(info.time)),
                reason: reasons.find(|reason| reason.code() == code).unwrap(),
            }
        }
        other => panic!("status {other:?}"),
    };
    let mut reading = SingleReading {
        cert_id: single.cert_id.to_der().unwrap(),
        status,
        this_update: seconds(single.this_update),
        next_update: seconds(single.next_update.unwrap()),
        cert_hash: None,
        archive_cutoff: None,
    };
    for extension in single.extensions.iter().flatten() {
        assert!(!extension.critical);
        let value = extension.extn_value.as_bytes();
        match &*extension.extn_id.to_string() {
            "1.3.36.8.3.13" => {
                let hash = CertHash::from_der(value).unwrap();
                assert_eq!(hash.algorithm.oid.to_string(), "2.16.840.1.101.3.4.2.1");
                reading.cert_hash = Some(hash.hash.as_bytes().to_vec());
            }
            "1.3.6.1.5.5.7.48.1.6" => {
                let cutoff = GeneralizedTime::from_der(value).unwrap();
                reading.archive_cutoff = Some(seconds(cutoff));
            }
            other => panic!("extension {other}"),
        }
    }
    reading
}

fn verify(basic: &BasicOcspResponse) {
    let algorithm: &'static dyn VerificationAlgorithm = match &*basic.algorithm.oid.to_string() {
        "1.2.840.10045.4.3.2" => &ECDSA_P256_SHA256_ASN1,
        "1.2.840.10045.4.3.3" => &ECDSA_P384_SHA384_ASN1,
        "1.3.101.112" => &ED25519,
        "1.2.840.113549.1.1.11" => &RSA_PKCS1_2048_8192_SHA256,
        other => panic!("algorithm {other}"),
    };
    let is_rsa = basic
        .algorithm
        .oid
        .to_string()
        .starts_with("1.2.840.113549.");
    let parameters = basic.algorithm.parameters.as_ref();
    assert_eq!(parameters.map(|any| any.is_null()), is_rsa.then_some(true));
    let certificate = &basic.certs.as_ref().unwrap()[0];
    let key = certificate.tbs_certificate().subject_public_key_info();
    UnparsedPublicKey::new(algorithm, key.subject_public_key.raw_bytes())
        .verify(&basic.tbs.to_der().unwrap(), basic.signature.raw_bytes())
        .unwrap();
}

fn seconds(time: GeneralizedTime) -> u64 {
    time.to_unix_duration().as_secs()
}

#[derive(Clone, Copy, Debug, Enumerated, Eq, PartialEq)]
#[repr(u8)]
enum ResponseCode {
    Successful = 0,
    MalformedRequest = 1,
    InternalError = 2,
    TryLater = 3,
    SigRequired = 5,
    Unauthorized = 6,
}

#[derive(Sequence)]
struct OcspResponse {
    status: ResponseCode,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    bytes: Option<ResponseBytes>,
}

#[derive(Sequence)]
struct ResponseBytes {
    kind: ObjectIdentifier,
    response: OctetString,
}

#[derive(Sequence)]
struct BasicOcspResponse {
    tbs: ResponseData,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    certs: Option<Vec<Certificate>>,
}

#[derive(Sequence)]
struct ResponseData {
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT")]
    by_key: OctetString,
    produced_at: GeneralizedTime,
    responses: Vec<SingleResponse>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Extensions>,
}

#[derive(Sequence)]
struct SingleResponse {
    cert_id: Any,
    status: Any,
    this_update: GeneralizedTime,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    next_update: Option<GeneralizedTime>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<Extensions>,
}

#[derive(Sequence)]
struct RevokedInfo {
    time: GeneralizedTime,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    reason: Option<x509_cert::ext::pkix::CrlReason>,
}

#[derive(Sequence)]
struct CertHash {
    algorithm: AlgorithmIdentifierOwned,
    hash: OctetString,
}
