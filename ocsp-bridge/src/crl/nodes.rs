//! The ledger nodes' lists of revocations: `GET /v1/issuers/{issuer}/revoked?after={place}`.

use std::time::Duration;

use ledger::{IssuerId, RevocationCursor, RevocationPage};
use ledger_client::ConfigError;
use ledger_client::http::{HttpError, HttpLimits, NodeError, Nodes};

/// The nodes at these URLs, for [`page`].
pub(crate) fn nodes(urls: &[String]) -> Result<Nodes, ConfigError> {
    Nodes::new(
        urls,
        HttpLimits {
            answer: WHOLE,
            ..HttpLimits::default()
        },
    )
}

/// The next page of a node, or which node it is and what failed.
pub(super) async fn page(
    nodes: &Nodes,
    node: usize,
    issuer: &IssuerId,
    after: RevocationCursor,
) -> Result<RevocationPage, String> {
    let path = format!("/v1/issuers/{issuer}/revoked?after={after}");
    let answer = nodes.get_json(node, &path, MAX_PAGE).await;
    answer.map_err(|error| match error {
        NodeError::Http {
            node,
            error: HttpError::Status { status: 404 },
        } => format!("{node}: it is older than this bridge: it keeps no lists of revocations"),
        error => error.to_string(),
    })
}

/// The longest page that is read, in octets: a node gives at most 4096 entries of some 250.
const MAX_PAGE: usize = 2 * 1_024 * 1_024;

/// How long a page may take. Nobody waits for it but the follower.
const WHOLE: Duration = Duration::from_secs(10);
