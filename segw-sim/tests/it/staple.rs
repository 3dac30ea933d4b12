//! OCSP inside IKE (RFC 4806) from end to end: a responder in the test's hands, the gateway, and devices that ask.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use henb_sim::connect::{self, ConnectPlan, ConnectReport};
use henb_sim::enrolment::{DeviceIdentity, KeyKind};
use henb_sim::profile::DeviceProfile;
use henb_sim::shard::GatewayTrust;
use henb_sim::staple::StaplePolicy;
use ledger::{CertificateHash, RevocationReason, Status};
use ocsp::{
    CertStatus, Frame, HashAlgorithm, Limits, Request, SignatureAlgorithm, Single, TrustedSigner,
    UnixTime, response_data, successful,
};
use rcgen::SigningKey as _;
use segw_sim::config::{Config, OcspPolicy};
use segw_sim::gateway::{Gateway, StartError};

use crate::device::Card;
use crate::gateway::{Ledger, Scripted, config, revoked};

/// What the responder does with a request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Good,
    Revoked,
    Unknown,
    /// About another certificate.
    Other,
    /// Signed by somebody else.
    Forged,
    /// Without the nonce that was asked for.
    WithoutNonce,
    TryLater,
    Garbage,
    Endless,
    NotFound,
    /// Takes the request and says nothing.
    Hangs,
}

struct Signer {
    key: rcgen::KeyPair,
    certificate: Vec<u8>,
}

impl Signer {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["ocsp.lab.test".to_owned()]).unwrap();
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::OcspSigning];
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        Self { key, certificate }
    }

    fn trusted(&self) -> TrustedSigner {
        TrustedSigner::new(&self.certificate).unwrap()
    }
}

struct Script {
    manner: Manner,
    lifetime: Duration,
    /// Told as thisUpdate, where it is not the time of the answer.
    this_update: Option<UnixTime>,
    content_type: &'static str,
    asked: usize,
    nonces: usize,
}

#[derive(Clone)]
struct Responder {
    address: SocketAddr,
    signer: Arc<Signer>,
    script: Arc<Mutex<Script>>,
}

impl Responder {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let responder = Self {
            address: listener.local_addr().unwrap(),
            signer: Arc::new(Signer::new()),
            script: Arc::new(Mutex::new(Script {
                manner: Manner::Good,
                lifetime: Duration::from_secs(60),
                this_update: None,
                content_type: "application/ocsp-response",
                asked: 0,
                nonces: 0,
            })),
        };
        let serves = responder.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serves = serves.clone();
                // The gateway may hang up.
                std::thread::spawn(move || drop(serves.serve(&stream)));
            }
        });
        responder
    }

    fn behave(&self, manner: Manner) {
        self.script.lock().unwrap().manner = manner;
    }

    /// Signed at that time, and in force for so long.
    fn answers(&self, manner: Manner, this_update: Option<UnixTime>, lifetime: Duration) {
        let mut script = self.script.lock().unwrap();
        script.manner = manner;
        script.this_update = this_update;
        script.lifetime = lifetime;
    }

    fn asked(&self) -> usize {
        self.script.lock().unwrap().asked
    }

    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        let (mut line, mut length) = (String::new(), 0);
        while reader.read_line(&mut line)? > 2 {
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            line.clear();
        }
        let mut request = vec![0; length];
        reader.read_exact(&mut request)?;
        let now = UnixTime::from(SystemTime::now());
        let (manner, this_update, lifetime, content_type) = {
            let mut script = self.script.lock().unwrap();
            script.asked += 1;
            let this_update = script.this_update.unwrap_or(now);
            (
                script.manner,
                this_update,
                script.lifetime,
                script.content_type,
            )
        };
        let mut out = stream;
        let mut answer = |status: &str, body: &[u8]| {
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            out.write_all(head.as_bytes())?;
            out.write_all(body)
        };
        match manner {
            Manner::NotFound => answer("404 Not Found", b""),
            Manner::Garbage => answer("200 OK", b"\x30\x84\xff\xff\xff\xff"),
            Manner::TryLater => answer("200 OK", &[0x30, 3, 0x0a, 1, 3]),
            Manner::Endless => {
                out.write_all(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\n\r\n",
                )?;
                loop {
                    out.write_all(&[0x30; 65_536])?;
                }
            }
            Manner::Hangs => {
                std::thread::sleep(Duration::from_secs(30));
                Ok(())
            }
            _ => {
                let response = self.response(&request, manner, this_update, lifetime);
                answer("200 OK", &response)
            }
        }
    }

    fn response(
        &self,
        request: &[u8],
        manner: Manner,
        this_update: UnixTime,
        lifetime: Duration,
    ) -> Vec<u8> {
        let request = Request::decode(request, Limits::default()).unwrap();
        if request.nonce.is_some() {
            self.script.lock().unwrap().nonces += 1;
        }
        let now = UnixTime::from(SystemTime::now());
        let single = Single {
            status: match manner {
                Manner::Revoked => CertStatus::Revoked {
                    time: now,
                    reason: RevocationReason::KeyCompromise,
                },
                Manner::Unknown => CertStatus::Unknown,
                _ => CertStatus::Good,
            },
            this_update,
            next_update: this_update.plus(lifetime),
            cert_hash: None,
            archive_cutoff: None,
        };
        let mut id = request.first.der().to_vec();
        if manner == Manner::Other {
            let last = id.len() - 1;
            id[last] ^= 1;
        }
        let other = Signer::new();
        let key = if manner == Manner::Forged {
            &other.key
        } else {
            &self.signer.key
        };
        let hash = HashAlgorithm::Sha1.digest(self.signer.key.public_key_raw());
        let frame = Frame {
            responder_key_hash: hash.as_ref().try_into().unwrap(),
            produced_at: now,
            nonce: request.nonce.filter(|_| manner != Manner::WithoutNonce),
            extended_revoked: false,
        };
        let single = single.encode(&id);
        let data = response_data(frame, std::iter::once(&single[..]));
        let signature = key.sign(&data).unwrap();
        successful(&data, SignatureAlgorithm::EcdsaSha256, &signature, &[])
    }
}

/// A gateway that staples, with one device that the ledger knows.
struct Lab {
    responder: Responder,
    ledger: Arc<Ledger>,
    own: CertificateHash,
    gateway: Gateway,
    device: DeviceIdentity,
    _folder: tempfile::TempDir,
}

impl Lab {
    fn start(lifetime: Duration, nonce: bool, manner: Manner) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let responder = Responder::start();
        {
            let mut script = responder.script.lock().unwrap();
            script.lifetime = lifetime;
            script.manner = manner;
        }
        let mut config = config(folder.path(), 2);
        config.ocsp = Some(policy(folder.path(), &responder, nonce));
        let ledger = Ledger::new();
        let card = Card::new("segw.lab.test");
        ledger.set(card.hash(), Status::Valid);
        let sources = vec![Arc::new(Scripted(Arc::clone(&ledger))) as _];
        let gateway = Gateway::start(&config, Arc::new(card.credential()), sources).unwrap();
        let device = DeviceIdentity::self_signed("henb1.lab.test", "Lab", KeyKind::P256).unwrap();
        ledger.set(device.hash(), Status::Valid);
        Self {
            responder,
            ledger,
            own: card.hash(),
            gateway,
            device,
            _folder: folder,
        }
    }

    /// A device that believes this signer about the gateway.
    fn connect(&self, signer: &Signer, required: bool) -> ConnectReport {
        let skew = Duration::ZERO;
        let staple = StaplePolicy::new(vec![signer.trusted()], Vec::new(), skew).required(required);
        self.connect_with(Some(staple))
    }

    fn connect_with(&self, staple: Option<StaplePolicy>) -> ConnectReport {
        let core = Ipv4Addr::new(10, 99, 0, 1);
        let plan = ConnectPlan {
            gateway: self.gateway.ike_address(),
            trust: GatewayTrust::Pinned([self.own].into()),
            profile: DeviceProfile {
                gateway_identity: Some("segw.lab.test".to_owned()),
                nat_port: self.gateway.nat_address().port(),
                networks: vec!["10.99.0.0/24".parse().unwrap()],
                patience: Duration::from_secs(3),
                initial_contact: true,
                staple: staple.map(Arc::new),
            },
            target: Some(core),
            count: Some(1),
            interval: Duration::from_millis(50),
            tun: None,
        };
        connect::run(&plan, &self.device, &AtomicBool::new(false), |_| ()).unwrap()
    }

    fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(self.gateway.metrics_address().unwrap()).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: segw\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    fn metric(&self, line: &str) -> bool {
        let wanted = format!("ledgate_segw_sim_{line}");
        self.metrics().lines().any(|line| line == wanted)
    }
}

fn policy(folder: &Path, responder: &Responder, nonce: bool) -> OcspPolicy {
    let file = folder.join("ocsp-signer.der");
    std::fs::write(&file, &responder.signer.certificate).unwrap();
    OcspPolicy {
        responder: format!("http://{}/", responder.address).parse().unwrap(),
        signer: Some(file),
        issuer: None,
        hash: HashAlgorithm::Sha256,
        nonce,
        timeout: Duration::from_millis(500),
        retry: Duration::from_secs(1),
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < end, "not within 30 seconds: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn cause(report: &ConnectReport) -> Option<&str> {
    assert_eq!(report.established, report.cause.is_none(), "{report:?}");
    report.cause.as_deref()
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_good_gateway_is_let_in_by_devices_that_ask_and_by_those_that_do_not() {
    for nonce in [false, true] {
        let lab = Lab::start(MINUTE, nonce, Manner::Good);
        assert_eq!(cause(&lab.connect(&lab.responder.signer, true)), None);
        assert_eq!(cause(&lab.connect_with(None)), None);
        // Somebody else's signature says nothing, whether a response is required or not.
        let stranger = Signer::new();
        for required in [true, false] {
            let report = lab.connect(&stranger, required);
            assert_eq!(cause(&report), Some("staple-invalid"), "{report:?}");
        }
        assert!(lab.metric("ocsp_fetches_total{result=\"good\"} 1"));
        assert!(lab.metric("ocsp_staple_revoked 0"));
        assert_eq!(lab.responder.asked(), 1, "once for all devices");
        let nonces = lab.responder.script.lock().unwrap().nonces;
        assert_eq!(nonces, usize::from(nonce));
        lab.gateway.stop();
    }
}

#[test]
fn a_revocation_is_stapled_as_soon_as_the_ledger_tells() {
    let lab = Lab::start(MINUTE, false, Manner::Good);
    assert_eq!(cause(&lab.connect(&lab.responder.signer, true)), None);
    // The clock of responses has whole seconds: what is not newer undoes no revocation.
    std::thread::sleep(Duration::from_millis(1_100));
    lab.responder.behave(Manner::Revoked);
    lab.ledger.set(lab.own, revoked());
    until("the new response", || lab.metric("ocsp_staple_revoked 1"));
    for required in [true, false] {
        let report = lab.connect(&lab.responder.signer, required);
        assert_eq!(cause(&report), Some("staple-revoked"), "{report:?}");
        let text = report.cause_text.unwrap();
        assert!(text.contains("keyCompromise"), "{text}");
    }
    // Who does not ask is not told.
    assert_eq!(cause(&lab.connect_with(None)), None);
    lab.gateway.stop();
}

#[test]
fn it_is_asked_for_until_the_responder_has_heard_of_the_change_too() {
    let lab = Lab::start(Duration::from_secs(7_200), false, Manner::Good);
    let stale = UnixTime::from(SystemTime::now());
    let long = Duration::from_secs(7_200);
    std::thread::sleep(Duration::from_millis(1_100));
    lab.responder.answers(Manner::Good, Some(stale), long);
    lab.ledger.set(lab.own, revoked());
    // Well beyond the first question and the one after it.
    std::thread::sleep(Duration::from_secs(5));
    assert!(lab.metric("ocsp_staple_revoked 0"));
    lab.responder.answers(Manner::Revoked, None, long);
    until("the new response", || lab.metric("ocsp_staple_revoked 1"));
    let asked = lab.responder.asked();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(lab.responder.asked(), asked, "it has what it wanted");
    lab.gateway.stop();
}

#[test]
fn many_changes_are_not_as_many_questions() {
    let lab = Lab::start(MINUTE, false, Manner::Good);
    let began = Instant::now();
    for _ in 0..100 {
        lab.ledger.set(lab.own, Status::Valid);
        std::thread::sleep(Duration::from_millis(20));
    }
    let most = 2 + usize::try_from(began.elapsed().as_secs()).unwrap();
    let asked = lab.responder.asked();
    assert!((2..=most).contains(&asked), "{asked} of {most}");
    lab.gateway.stop();
}

#[test]
fn a_revocation_is_believed_though_the_good_news_came_from_a_faster_clock() {
    let lab = Lab::start(MINUTE, false, Manner::NotFound);
    let now = UnixTime::from(SystemTime::now());
    let fast = now.plus(Duration::from_secs(30));
    lab.responder.answers(Manner::Good, Some(fast), MINUTE);
    until("the good news", || {
        !lab.metric("ocsp_staple_expiry_timestamp_seconds 0")
    });
    lab.responder.answers(Manner::Revoked, Some(now), MINUTE);
    lab.ledger.set(lab.own, revoked());
    until("the bad news", || lab.metric("ocsp_staple_revoked 1"));
    let report = lab.connect(&lab.responder.signer, true);
    assert_eq!(cause(&report), Some("staple-revoked"), "{report:?}");
    lab.gateway.stop();
}

#[test]
fn a_revocation_that_is_over_is_not_forgotten() {
    let lab = Lab::start(Duration::from_secs(2), false, Manner::Revoked);
    assert!(lab.metric("ocsp_staple_revoked 1"));
    lab.responder.behave(Manner::NotFound);
    until("its end", || {
        lab.metric("ocsp_staple_expiry_timestamp_seconds 0")
    });
    assert!(
        lab.metric("ocsp_staple_revoked 1"),
        "the last that is known"
    );
    // Somebody on the way kept it from before.
    let before = UnixTime::from(SystemTime::now()).minus(Duration::from_secs(30));
    lab.responder.answers(Manner::Good, Some(before), MINUTE);
    let refused = || {
        lab.metrics()
            .contains("ocsp_fetches_total{result=\"refused\"}")
    };
    until("its refusal", refused);
    let report = lab.connect(&lab.responder.signer, true);
    assert_eq!(cause(&report), Some("staple-missing"), "{report:?}");
    assert!(lab.metric("ocsp_staple_revoked 1"));
    lab.responder.answers(Manner::Good, None, MINUTE);
    until("something newer", || lab.metric("ocsp_staple_revoked 0"));
    lab.gateway.stop();
}

#[test]
fn what_is_over_by_our_clock_is_refused_and_bad_news_heard_all_the_same() {
    let lab = Lab::start(MINUTE, false, Manner::NotFound);
    let before = UnixTime::from(SystemTime::now()).minus(Duration::from_secs(30));
    let short = Duration::from_secs(10);
    let refused = || {
        lab.metrics()
            .contains("ocsp_fetches_total{result=\"refused\"}")
    };
    // Within the allowance for clocks.
    lab.responder.answers(Manner::Good, Some(before), short);
    until("the refusal", refused);
    assert!(!lab.metrics().contains("result=\"good\""));
    lab.responder.answers(Manner::Good, None, MINUTE);
    until("a good one", || {
        !lab.metric("ocsp_staple_expiry_timestamp_seconds 0")
    });
    lab.responder.answers(Manner::Revoked, Some(before), short);
    lab.ledger.set(lab.own, revoked());
    until("the bad news", || lab.metric("ocsp_staple_revoked 1"));
    assert!(lab.metric("ocsp_staple_expiry_timestamp_seconds 0"));
    let report = lab.connect(&lab.responder.signer, true);
    assert_eq!(cause(&report), Some("staple-missing"), "{report:?}");
    lab.gateway.stop();
}

#[test]
fn a_media_type_is_known_in_whatever_case_and_with_parameters() {
    let lab = Lab::start(MINUTE, false, Manner::NotFound);
    let say = |content_type| {
        let mut script = lab.responder.script.lock().unwrap();
        script.manner = Manner::Good;
        script.content_type = content_type;
    };
    let failed = || {
        let text = lab.metrics();
        let line = text.lines().find(|line| line.contains("result=\"failed\""));
        line.and_then(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
    };
    let before = failed();
    say("application/ocsp-responses");
    until("another refusal", || failed() > before);
    assert!(lab.metric("ocsp_staple_expiry_timestamp_seconds 0"));
    say("Application/OCSP-Response ; charset=binary");
    until("a response", || {
        !lab.metric("ocsp_staple_expiry_timestamp_seconds 0")
    });
    lab.gateway.stop();
}

#[test]
fn a_response_in_force_outlives_its_responder_and_not_its_time() {
    let lifetime = Duration::from_secs(8);
    let lab = Lab::start(lifetime, false, Manner::Good);
    let began = Instant::now();
    for away in [Manner::NotFound, Manner::Hangs, Manner::TryLater] {
        lab.responder.behave(away);
        assert_eq!(cause(&lab.connect(&lab.responder.signer, true)), None);
        assert!(
            began.elapsed() < lifetime,
            "the machine is too slow for this test"
        );
    }
    until("its end", || {
        lab.metric("ocsp_staple_expiry_timestamp_seconds 0")
    });
    let report = lab.connect(&lab.responder.signer, true);
    assert_eq!(cause(&report), Some("staple-missing"), "{report:?}");
    assert_eq!(cause(&lab.connect(&lab.responder.signer, false)), None);
    lab.responder.behave(Manner::Good);
    until("a new one", || {
        !lab.metric("ocsp_staple_expiry_timestamp_seconds 0")
    });
    assert_eq!(cause(&lab.connect(&lab.responder.signer, true)), None);
    lab.gateway.stop();
}

#[test]
fn it_is_refreshed_at_half_of_its_lifetime() {
    let lab = Lab::start(Duration::from_secs(3), false, Manner::Good);
    until("three more", || {
        // What the ledger says of others is no reason to wait longer.
        lab.ledger.set(lab.device.hash(), Status::Valid);
        lab.responder.asked() >= 4
    });
    assert_eq!(cause(&lab.connect(&lab.responder.signer, true)), None);
    lab.gateway.stop();
}

#[test]
fn what_does_not_verify_is_never_stapled() {
    let cases = [
        (Manner::Unknown, false, "unknown"),
        (Manner::Other, false, "refused"),
        (Manner::Forged, false, "refused"),
        (Manner::WithoutNonce, true, "refused"),
        (Manner::TryLater, false, "refused"),
        (Manner::Garbage, false, "refused"),
        (Manner::Endless, false, "failed"),
        (Manner::NotFound, false, "failed"),
        (Manner::Hangs, false, "failed"),
    ];
    let check = |(manner, nonce, result): (Manner, bool, &str)| {
        let lab = Lab::start(MINUTE, nonce, manner);
        assert!(
            lab.metrics()
                .contains(&format!("ocsp_fetches_total{{result=\"{result}\"}}")),
            "{manner:?}"
        );
        let report = lab.connect(&lab.responder.signer, true);
        assert_eq!(cause(&report), Some("staple-missing"), "{manner:?}");
        assert_eq!(cause(&lab.connect(&lab.responder.signer, false)), None);
        lab.gateway.stop();
    };
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || check(case));
        }
    });
}

#[test]
fn who_cannot_be_believed_is_told_before_the_gateway_starts() {
    let folder = tempfile::tempdir().unwrap();
    let responder = Responder::start();
    let good = policy(folder.path(), &responder, false);
    let start = |ocsp: OcspPolicy| {
        let config = Config {
            ocsp: Some(ocsp),
            ..config(folder.path(), 1)
        };
        let credential = Arc::new(Card::new("segw.lab.test").credential());
        segw_sim::gateway::check(&config, credential)
    };
    let message = |ocsp| start(ocsp).unwrap_err().to_string();
    assert!(start(good.clone()).is_ok());
    let alone = message(OcspPolicy {
        signer: None,
        ..good.clone()
    });
    assert!(alone.contains("cannot vouch for itself") && alone.contains("ocsp.signer"));
    let issuer = message(OcspPolicy {
        issuer: good.signer.clone(),
        ..good.clone()
    });
    assert!(issuer.contains("ocsp-signer.der") && issuer.contains("ocsp.issuer"));
    let absent = start(OcspPolicy {
        signer: Some(folder.path().join("absent.pem")),
        ..good
    });
    assert!(matches!(absent, Err(StartError::Ocsp(_))), "{absent:?}");
    assert_eq!(responder.asked(), 0, "checking asks nobody");
}
