//! The client side of the node's API.

use core::error::Error;
use core::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use ledger::{Body, Height, Member, MemberKey, SignedTransaction};
use ledger_node::config::DEFAULT_PORT;
use ledger_node::http::{ErrorAnswer, HeadAnswer, MembersAnswer, StatusRequest, StatusesAnswer};
use ledger_node::{Endorser, MAX_WAIT, Receipt, key};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{AskArgs, Failure, SignArgs, failure};

/// The longest answer that is read, in octets: a receipt for a full batch has some 300 000.
const MAX_ANSWER: usize = 16 << 20;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(60);

/// A node, by its URL.
pub(super) struct Node {
    base: String,
    http: Client<HttpConnector, Full<Bytes>>,
}

impl Node {
    /// The node that the arguments, the environment, or the default mean. Nothing is connected yet.
    pub(super) fn new(args: &AskArgs) -> Result<Self, Failure> {
        let url = match &args.node {
            Some(url) => url.clone(),
            None => std::env::var("LEDGATE_NODE")
                .ok()
                .filter(|url| !url.is_empty())
                .unwrap_or_else(|| format!("http://127.0.0.1:{DEFAULT_PORT}")),
        };
        let base = url.trim_end_matches('/').to_owned();
        let uri: hyper::Uri = base
            .parse()
            .map_err(|error| Failure(format!("node {url:?} is not a URL: {error}")))?;
        if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
            return Err(Failure(format!(
                "node {url:?} is not a URL such as http://127.0.0.1:{DEFAULT_PORT}"
            )));
        }
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        Ok(Self {
            base,
            http: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    pub(super) async fn head(&self) -> Result<HeadAnswer, Failure> {
        self.call(Method::GET, "/v1/head", "", Bytes::new()).await
    }

    pub(super) async fn members(&self) -> Result<Vec<Member>, Failure> {
        let answer: MembersAnswer = self
            .call(Method::GET, "/v1/members", "", Bytes::new())
            .await?;
        Ok(answer.members)
    }

    pub(super) async fn statuses(
        &self,
        request: &StatusRequest,
    ) -> Result<StatusesAnswer, Failure> {
        let body = serde_json::to_vec(request).map_err(failure)?;
        self.call(Method::POST, "/v1/status", "application/json", body.into())
            .await
    }

    async fn submit(&self, transaction: &SignedTransaction) -> Result<Receipt, Failure> {
        let body = transaction.encode().into();
        self.call(
            Method::POST,
            "/v1/transactions",
            "application/octet-stream",
            body,
        )
        .await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<T, Failure> {
        let url = format!("{}{path}", self.base);
        let mut request = Request::builder()
            .method(method)
            .uri(&url)
            .header(ACCEPT, "application/json");
        if !content_type.is_empty() {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let request = request.body(Full::new(body)).map_err(failure)?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| {
                let what = if error.is_connect() {
                    format!(
                        "cannot reach the node at {}: {}; is it running (`ledger-node run`)? \
                         Name another with --node",
                        self.base,
                        innermost(&error)
                    )
                } else {
                    format!("{url}: the node did not answer: {}", innermost(&error))
                };
                Failure(what)
            })?;
            let status = response.status();
            let octets = Limited::new(response.into_body(), MAX_ANSWER)
                .collect()
                .await
                .map_err(|error| Failure(format!("{url}: the answer broke off: {error}")))?
                .to_bytes();
            if status.is_success() {
                return serde_json::from_slice(&octets).map_err(|error| {
                    Failure(format!("{url}: not an answer of a ledger node: {error}"))
                });
            }
            Err(Failure(
                match serde_json::from_slice::<ErrorAnswer>(&octets) {
                    Ok(answer) => format!("{url}: {}: {}", answer.error, answer.detail),
                    Err(_) => format!("{url}: {status}"),
                },
            ))
        };
        timeout(ANSWER, exchange)
            .await
            .map_err(|_| Failure(format!("{url}: no answer within {} s", ANSWER.as_secs())))?
    }
}

/// A member that signs for a node's chain.
pub(super) struct Signer {
    node: Node,
    endorser: Endorser,
    head: HeadAnswer,
}

impl Signer {
    /// Reads the key, and asks the node for its chain and, where no member is named, for the key's.
    pub(super) async fn new(ask: &AskArgs, sign: &SignArgs) -> Result<Self, Failure> {
        let node = Node::new(ask)?;
        let pair = key::read(&sign.key).map_err(failure)?;
        let head = node.head().await?;
        let member = match &sign.member {
            Some(member) => member.clone(),
            None => {
                let key = MemberKey::of(&pair);
                let members = node.members().await?;
                let member = members.into_iter().find(|member| member.key == key);
                member
                    .map(|member| member.id)
                    .ok_or_else(|| {
                        Failure(format!(
                            "no member of the chain \"{}\" has the key of {}; name the member with --member",
                            head.name,
                            sign.key.display()
                        ))
                    })?
            }
        };
        Ok(Self {
            node,
            endorser: Endorser::new(member, pair),
            head,
        })
    }

    /// Signs what is asked for, and waits until it is committed or refused.
    pub(super) async fn submit(&mut self, body: Body) -> Result<Receipt, Failure> {
        let wait = MAX_WAIT.min(self.head.parameters.max_lifetime);
        let expires = Height(self.head.height.0.saturating_add(wait));
        let signed = self
            .endorser
            .sign_until(self.head.chain, expires, body)
            .map_err(failure)?;
        let receipt = self.node.submit(&signed).await?;
        self.head.height = self.head.height.max(receipt.height);
        Ok(receipt)
    }
}

/// The last cause, which says most.
fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}
