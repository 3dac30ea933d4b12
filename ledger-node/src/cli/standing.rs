//! `status`, `revoke`, `suspend` and `resume`: a certificate's standing.

use ledger::{BlockTime, Body, CertificateHash, Status, StatusAnswer};
use ledger_node::http::{MAX_HASHES, StatusRequest};

use super::client::{Node, Signer};
use super::{Done, Failure, RevokeArgs, StatusArgs, TargetArgs, certificates, say, say_json};

pub(super) async fn revoke(args: &RevokeArgs) -> Done {
    let reason = args.reason;
    change(&args.target, "revoked", |hash| Body::Revoke {
        hash,
        reason,
    })
    .await
}

pub(super) async fn suspend(args: &TargetArgs) -> Done {
    change(args, "suspended", |hash| Body::Suspend { hash }).await
}

pub(super) async fn resume(args: &TargetArgs) -> Done {
    change(args, "resumed", |hash| Body::Resume { hash }).await
}

pub(super) async fn status(args: &StatusArgs) -> Done {
    let mut hashes = Vec::new();
    for argument in &args.certificates {
        hashes.extend(certificates::hashes(argument)?);
    }
    let node = Node::new(&args.ask)?;
    for hashes in hashes.chunks(MAX_HASHES) {
        let request = StatusRequest {
            hashes: hashes.to_vec(),
        };
        let answers = node.statuses(&request).await?.answers;
        if answers.len() != hashes.len() {
            return Err(Failure(format!(
                "the node gave {} answers to {} questions",
                answers.len(),
                hashes.len()
            )));
        }
        for answer in &answers {
            if args.ask.json {
                say_json(answer)?;
            } else {
                say(line(answer))?;
            }
        }
    }
    Ok(true)
}

async fn change(args: &TargetArgs, done: &str, body: impl Fn(CertificateHash) -> Body) -> Done {
    // One at a time, so that a chain's file does not take its authority down with the device.
    let [hash] = certificates::hashes(&args.certificate)?[..] else {
        return Err(Failure(format!(
            "{}: it holds more than one certificate; give the hash of the one that is meant \
             (`ledger-node status {}` shows them)",
            args.certificate, args.certificate
        )));
    };
    let mut signer = Signer::new(&args.ask, &args.sign).await?;
    let receipt = signer.submit(body(hash)).await?;
    let mut accepted = !receipt.outcomes.is_empty();
    for outcome in &receipt.outcomes {
        accepted &= outcome.is_accepted();
        if args.ask.json {
            say_json(outcome)?;
        } else {
            match &outcome.verdict {
                Ok(()) => say(format_args!("{hash} {done}, height {}", receipt.height))?,
                Err(refused) => say(format_args!("{hash} refused {refused}"))?,
            }
        }
    }
    Ok(accepted)
}

fn line(answer: &StatusAnswer) -> String {
    let detail = match &answer.status {
        Status::Suspended { since } => format!(" since {}", Utc(*since)),
        Status::Revoked { reason, time } => format!(" {reason} {}", Utc(*time)),
        Status::Superseded { by } => format!(" by {by}"),
        Status::Valid | Status::Expired | Status::NotRecorded => String::new(),
    };
    let class = answer
        .class
        .map_or_else(String::new, |class| format!(", {class}"));
    format!(
        "{} {}{detail}{class}, height {}",
        answer.hash,
        answer.status.as_str(),
        answer.height
    )
}

/// A time as people read it: `2026-01-01T00:00:00Z`.
struct Utc(BlockTime);

impl core::fmt::Display for Utc {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let seconds = self.0.seconds();
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        // Days into the 400-year cycle that begins on the 1st of March of year 0.
        let days = days.saturating_add(719_468);
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day_of_month = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year + era * 400 + u64::from(month <= 2);
        write!(
            f,
            "{year:04}-{month:02}-{day_of_month:02}T{:02}:{:02}:{:02}Z",
            second / 3_600,
            second / 60 % 60,
            second % 60
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_225_600, "2026-01-01T00:00:00Z"),
            (1_772_323_200, "2026-03-01T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Utc(BlockTime(seconds * 1_000)).to_string(), text);
        }
    }
}
