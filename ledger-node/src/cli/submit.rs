//! `submit`: certificates into the ledger.

use ledger::{Body, CertificateHash, MAX_BATCH, MAX_TRANSACTION};
use serde::Serialize;

use super::client::Signer;
use super::{Done, Failure, SubmitArgs, certificates, say, say_json};

/// What a transaction takes beside its certificates, in octets: chain, member, nonce, expiry, class,
/// counts and signature are fewer.
const OVERHEAD: usize = 256;

pub(super) async fn submit(args: &SubmitArgs) -> Done {
    let mut all = Vec::new();
    for file in &args.files {
        for der in certificates::read(file)? {
            all.push((file.display().to_string(), der));
        }
    }
    let mut signer = Signer::new(&args.ask, &args.sign).await?;
    let sizes: Vec<usize> = all.iter().map(|(_, der)| der.len()).collect();
    let (mut accepted, mut refused) = (0_usize, 0_usize);
    let mut rest = all.as_slice();
    for count in batches(&sizes) {
        let (batch, after) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        rest = after;
        let certificates = batch.iter().map(|(_, der)| der.clone()).collect();
        let receipt = signer
            .submit(Body::Submit {
                certificates,
                class: args.class,
            })
            .await
            .map_err(|failure| {
                Failure(format!(
                    "{failure}\n{accepted} accepted and {refused} refused before; of the rest it is not known. \
                     Submitting again does no harm: what is recorded is refused as duplicate"
                ))
            })?;
        // A transaction that is refused as a whole has one outcome, which is every certificate's.
        if receipt.outcomes.is_empty() {
            return Err(Failure(
                "the node's receipt has no outcome for the batch".to_owned(),
            ));
        }
        let whole = receipt.outcomes.len() != batch.len();
        for (index, (file, der)) in batch.iter().enumerate() {
            let index = if whole { 0 } else { index };
            let Some(outcome) = receipt.outcomes.get(index) else {
                continue;
            };
            let line = Line {
                file,
                hash: CertificateHash::of(der),
                accepted: outcome.is_accepted() && !(whole && batch.len() > 1),
                refusal: outcome.refusal().map(|refusal| refusal.as_str()),
                detail: outcome
                    .verdict
                    .as_ref()
                    .err()
                    .map(|refused| refused.detail.as_str()),
                height: receipt.height.0,
            };
            if line.accepted {
                accepted += 1;
            } else {
                refused += 1;
            }
            line.say(args.ask.json)?;
        }
    }
    eprintln!(
        "{} certificates: {accepted} accepted, {refused} refused",
        all.len()
    );
    Ok(refused == 0)
}

/// What became of one certificate.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    hash: CertificateHash,
    accepted: bool,
    refusal: Option<&'a str>,
    detail: Option<&'a str>,
    height: u64,
}

impl Line<'_> {
    fn say(&self, json: bool) -> Result<(), Failure> {
        if json {
            say_json(self)
        } else if self.accepted {
            say(format_args!("{} accepted", self.hash))
        } else {
            say(format_args!(
                "{} refused {}: {} ({})",
                self.hash,
                self.refusal.unwrap_or("unknown"),
                self.detail.unwrap_or_default(),
                self.file
            ))
        }
    }
}

/// How many certificates go into each transaction, by their lengths.
fn batches(sizes: &[usize]) -> Vec<usize> {
    let mut counts = Vec::new();
    let (mut count, mut octets) = (0, OVERHEAD);
    for size in sizes {
        // Four octets hold the length.
        let size = size + 4;
        if count > 0 && (count == MAX_BATCH || octets + size > MAX_TRANSACTION) {
            counts.push(count);
            (count, octets) = (0, OVERHEAD);
        }
        count += 1;
        octets += size;
    }
    if count > 0 {
        counts.push(count);
    }
    counts
}

#[cfg(test)]
mod tests {
    use ledger::{ChainId, Class, Height, MAX_CERTIFICATE, SignedTransaction, Transaction};

    use super::*;

    #[test]
    fn batches_keep_both_bounds_and_lose_nothing() {
        assert_eq!(batches(&[]), [0; 0]);
        assert_eq!(batches(&[400]), [1]);
        assert_eq!(batches(&vec![400; 2_500]), [1_000, 1_000, 500]);
        let long = batches(&vec![MAX_CERTIFICATE; 300]);
        assert_eq!(long.iter().sum::<usize>(), 300);
        assert_eq!(long.first(), Some(&127));
    }

    #[test]
    fn the_fullest_batch_is_a_transaction() {
        // The longest member name, and certificates that fill the batch to the last octet.
        let room = MAX_TRANSACTION - OVERHEAD;
        let mut sizes = vec![MAX_CERTIFICATE; room / (MAX_CERTIFICATE + 4)];
        sizes.push(room - sizes.len() * (MAX_CERTIFICATE + 4) - 4);
        assert_eq!(batches(&sizes), [sizes.len()]);
        let transaction = SignedTransaction {
            transaction: Transaction {
                chain: ChainId::from_octets([0; 32]),
                member: "m".repeat(32).parse().unwrap(),
                nonce: u64::MAX,
                expires: Height(u64::MAX),
                body: Body::Submit {
                    certificates: sizes.iter().map(|size| vec![0; *size]).collect(),
                    class: Class::Gateway,
                },
            },
            signature: [0; 64],
        };
        let octets = transaction.encode();
        assert!(octets.len() <= MAX_TRANSACTION && octets.len() + OVERHEAD > MAX_TRANSACTION);
        SignedTransaction::decode(&octets).unwrap();
    }
}
