//! A small consortium, its certificates, and a node on a loopback port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use ledger::{
    BlockTime, Body, CertificateHash, Class, Genesis, Member, MemberKind, Parameters, Roles,
    SignedTransaction,
};
use ledger_node::{Clock, Endorser, Node, NodeConfig, Receipt};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// 2026-01-01T00:00:00Z.
const BEGIN: u64 = 1_767_225_600_000;

/// A clock that stands where it was put.
pub(crate) struct SetClock(AtomicU64);

impl SetClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(BEGIN)))
    }

    pub(crate) fn set(&self, milliseconds: u64) {
        self.0.store(milliseconds, Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    fn now(&self) -> BlockTime {
        BlockTime(self.0.load(Ordering::Relaxed))
    }
}

/// A key that depends on the name only.
pub(crate) fn endorser(name: &str) -> Endorser {
    let mut der = hex("302e020100300506032b657004220420");
    der.extend_from_slice(CertificateHash::of(name.as_bytes()).as_octets());
    Endorser::from_pkcs8(name.parse().unwrap(), &der).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn genesis() -> Genesis {
    let acme = endorser("acme");
    Genesis {
        name: "test".to_owned(),
        time: BlockTime(BEGIN),
        members: vec![Member {
            id: acme.member().clone(),
            key: acme.key(),
            kind: MemberKind::Manufacturer,
            roles: Roles::ALL,
            organisations: vec!["ACME Femto".parse().unwrap()],
        }],
        parameters: Parameters::default(),
    }
}

/// What a device's certificate says, valid 2025-01-01 to 2035-01-01.
pub(crate) fn params(name: &str, organisation: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, organisation);
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2035, 1, 1);
    params
}

/// A self-signed device certificate of an organisation.
pub(crate) fn certificate(name: &str, organisation: &str) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    params(name, organisation)
        .self_signed(&key)
        .unwrap()
        .der()
        .to_vec()
}

/// A certificate that acme may submit.
pub(crate) fn device(name: &str) -> Vec<u8> {
    certificate(name, "ACME Femto")
}

pub(crate) fn submission(certificates: Vec<Vec<u8>>) -> Body {
    Body::Submit {
        certificates,
        class: Class::Device,
    }
}

/// Acme's transaction for this node's chain.
pub(crate) fn signed(node: &Node, body: Body) -> SignedTransaction {
    let height = node.head().unwrap().height;
    endorser("acme").sign(node.chain(), height, body).unwrap()
}

/// Submits as acme; everything must be accepted.
pub(crate) async fn run(node: &Node, body: Body) -> Receipt {
    let receipt = node.submit(signed(node, body)).await.unwrap();
    assert!(receipt.is_accepted(), "{receipt:?}");
    receipt
}

/// A node that serves its API.
pub(crate) struct Served {
    pub(crate) node: Node,
    pub(crate) address: SocketAddr,
    pub(crate) clock: Arc<SetClock>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
    _folder: tempfile::TempDir,
}

impl Served {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut NodeConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = SetClock::new();
        let mut config = NodeConfig::new(folder.path().join("store"));
        change(&mut config);
        Node::create(&config, &genesis()).unwrap();
        let node = Node::open(config, clock.clone()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn({
            let node = node.clone();
            async move {
                node.serve(listener, async {
                    let _ = stopped.await;
                })
                .await
            }
        });
        Self {
            node,
            address,
            clock,
            stop: Some(stop),
            task,
            _folder: folder,
        }
    }

    /// Stops the server, and waits until it is done.
    pub(crate) async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        tokio::time::timeout(Duration::from_secs(5), self.task)
            .await
            .expect("the server stops soon")
            .unwrap()
            .unwrap();
    }

    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Response<Incoming> {
        let mut request = Request::builder()
            .method(&method)
            .uri(format!("http://{}{path}", self.address));
        if path == "/v1/transactions" {
            request = request.header("content-type", "application/octet-stream");
        }
        let request = request.body(Full::new(body.into())).unwrap();
        client().request(request).await.unwrap()
    }

    /// The status code and the JSON answer.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> (u16, Value) {
        let response = self.request(method, path, body).await;
        let status = response.status().as_u16();
        let octets = octets(response).await;
        let json = serde_json::from_slice(&octets)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&octets)));
        (status, json)
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, Bytes::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Bytes>) -> (u16, Value) {
        self.call(Method::POST, path, body).await
    }
}

pub(crate) fn client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build(HttpConnector::new())
}

pub(crate) async fn octets(response: Response<Incoming>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}
