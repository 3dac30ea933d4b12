//! Keeping an issuer's CRLs up with the ledger.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ledger_client::http::Nodes;
use ocsp::UnixTime;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::issuer::{CrlIssuer, Fault};
use super::nodes::page;
use super::revocations::PageError;

/// Reads the list and issues what is due, without end.
///
/// A change is read as soon as the ledger's stream of events tells of one; besides, the list is asked for each few
/// seconds, which shows that the ledger still answers.
pub(crate) async fn follow(issuer: Arc<CrlIssuer>, nodes: Arc<Nodes>, patience: Duration) {
    let mut wanted = issuer.wanted();
    let poll = POLL.min(patience / 2).max(SHORT);
    loop {
        let wish = *wanted.borrow_and_update();
        let outcome = read(&issuer, &nodes).await;
        if let Err(Failure::TooMany) = outcome {
            issuer.forget();
            sleep(TOO_MANY).await;
            continue;
        }
        let began = Instant::now();
        if issue(&issuer).await {
            // A list of a million takes its time: most of it is left to others.
            sleep((began.elapsed() * 4).max(PAUSE)).await;
        }
        // The node that is asked may be behind the one that told of the change.
        let is_behind = outcome.is_ok() && issuer.revocations().height() < wish;
        let pause = if is_behind { SHORT } else { poll };
        let pause = pause.min(issuer.until_due(wall_clock()).max(SHORT));
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            () = sleep(pause) => {}
        }
    }
}

enum Failure {
    Node,
    TooMany,
}

/// Reads pages until everything is known.
async fn read(issuer: &Arc<CrlIssuer>, nodes: &Nodes) -> Result<(), Failure> {
    let mut last = (String::new(), Fault::Here);
    let first = nodes.preferred();
    for node in first..first + nodes.count() {
        loop {
            let after = issuer.revocations().next();
            let page = match page(nodes, node, issuer.id(), after).await {
                Ok(page) => page,
                Err(error) => {
                    // What the ledger holds says more than who is away.
                    if last.1 == Fault::Here {
                        last.0 = error;
                    }
                    break;
                }
            };
            let is_complete = page.complete;
            let taker = Arc::clone(issuer);
            let taken = spawn_blocking(move || taker.take(&page, wall_clock())).await;
            match taken {
                Ok(Ok(())) if is_complete => return Ok(()),
                Ok(Ok(())) => {}
                Ok(Err(error @ PageError::TooMany(_))) => {
                    let fault = Fault::of(&error, issuer.newest().is_some());
                    tell(issuer, error.to_string(), fault);
                    return Err(Failure::TooMany);
                }
                Ok(Err(error)) => {
                    if last.1 == Fault::Here {
                        let fault = Fault::of(&error, issuer.newest().is_some());
                        last = (format!("{}: {error}", nodes.name(node)), fault);
                    }
                    break;
                }
                Err(_) => return Err(Failure::Node),
            }
        }
        nodes.prefer(node + 1);
    }
    let (problem, fault) = last;
    tell(issuer, problem, fault);
    Err(Failure::Node)
}

/// Whether a CRL was issued.
async fn issue(issuer: &Arc<CrlIssuer>) -> bool {
    match issuer.issue_in_turn(wall_clock()).await {
        Ok(Some(crl)) => {
            tracing::debug!(
                issuer = issuer.name(),
                number = %crl.number(),
                entries = crl.entries(),
                octets = crl.length(),
                took = ?issuer.took(),
                "CRL issued"
            );
            true
        }
        // It was told.
        Ok(None) | Err(_) => false,
    }
}

fn tell(issuer: &CrlIssuer, problem: String, fault: Fault) {
    if issuer.note(problem.clone(), fault) {
        tracing::warn!(issuer = issuer.name(), problem, "no new CRL can be issued");
    }
}

fn wall_clock() -> UnixTime {
    UnixTime::from(SystemTime::now())
}

/// How often the list is asked for when nothing is known to have changed.
const POLL: Duration = Duration::from_secs(5);

/// The shortest pause between two CRLs.
const PAUSE: Duration = Duration::from_secs(1);

/// The shortest pause between two questions, as to a node that is behind.
const SHORT: Duration = Duration::from_millis(200);

/// How long to wait after a list that was too long, before it is read again from its beginning.
const TOO_MANY: Duration = Duration::from_secs(600);
