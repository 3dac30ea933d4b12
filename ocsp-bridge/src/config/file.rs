//! The file as `serde` reads it, and what each field must be.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ledger_client::HttpSource;
use ocsp::Limits;
use serde::Deserialize;
use settings::SourceText;

use super::crl::RawCrl;
use super::key_place::{self, RawTokenKey};
use super::{
    Config, ConfigError, Delegate, LedgerPolicy, Listen, MAX_LIFETIME, SignerFiles, TlsListen,
};
use crate::http::{AccessPolicy, HttpLimits};
use crate::ledger::LedgerConfig;
use crate::translate::{NoncePolicy, NotRecordedPolicy, Policy};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    listen: RawListen,
    signer: Option<RawSigner>,
    #[serde(default)]
    delegate: Vec<RawDelegate>,
    #[serde(default)]
    crl: Vec<RawCrl>,
    ledger: RawLedger,
    #[serde(default)]
    answers: RawAnswers,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    log: RawLog,
    metrics: Option<RawMetrics>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawListen {
    address: Option<String>,
    addresses: Option<Vec<String>>,
    #[serde(default)]
    path: String,
    tls: Option<RawTls>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTls {
    address: Option<String>,
    addresses: Option<Vec<String>>,
    certificate: PathBuf,
    key: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSigner {
    certificate: PathBuf,
    key: Option<PathBuf>,
    pkcs11: Option<RawTokenKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDelegate {
    issuer: PathBuf,
    certificate: PathBuf,
    key: Option<PathBuf>,
    pkcs11: Option<RawTokenKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLedger {
    nodes: Vec<String>,
    chain: Option<String>,
    ttl_s: Option<u64>,
    negative_ttl_s: Option<u64>,
    deadline_ms: Option<u64>,
    hedge_ms: Option<u64>,
    look_ups: Option<usize>,
    cache: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawAnswers {
    lifetime_s: Option<u64>,
    max_block_age_s: Option<u64>,
    nonce: RawNonce,
    not_recorded: RawNotRecorded,
    cert_hash: Option<bool>,
    archive_s: Option<u64>,
    cert_ids: Option<usize>,
    cache: Option<usize>,
    sign_queue: Option<usize>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawNonce {
    Forbidden,
    Ignored,
    #[default]
    Optional,
    Required,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawNotRecorded {
    #[default]
    Revoked,
    Unknown,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLimits {
    connections: Option<usize>,
    request_octets: Option<usize>,
    head_s: Option<u64>,
    body_s: Option<u64>,
    answer_ms: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLog {
    access: AccessPolicy,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMetrics {
    listen: String,
}

impl RawConfig {
    pub(super) fn check(self, source: &SourceText<'_>) -> Result<Config, ConfigError> {
        let folder = source.path.parent().unwrap_or_else(|| Path::new(""));
        if self.signer.is_none() && self.delegate.is_empty() {
            return Err(source.error(
                &["signer"],
                "nothing was found, expected a certificate and a key (`ocsp-bridge init` makes them), or a [[delegate]]",
            ));
        }
        let files = |at: &str, certificate: PathBuf, key, pkcs11| {
            Ok(SignerFiles {
                certificate: folder.join(certificate),
                key: key_place::check(source, at, folder, key, pkcs11)?,
            })
        };
        let limits = self.limits.check(source)?;
        let policy = self.answers.check(source, limits.request_octets)?;
        let crls = self
            .crl
            .into_iter()
            .map(|crl| crl.check(source, folder, policy.max_block_age))
            .collect::<Result<_, _>>()?;
        Ok(Config {
            crls,
            listen: self.listen.check(source, folder)?,
            signer: match self.signer {
                Some(signer) => Some(files(
                    "signer",
                    signer.certificate,
                    signer.key,
                    signer.pkcs11,
                )?),
                None => None,
            },
            delegates: self
                .delegate
                .into_iter()
                .map(|delegate| {
                    Ok(Delegate {
                        issuer: folder.join(delegate.issuer),
                        signer: files(
                            "delegate",
                            delegate.certificate,
                            delegate.key,
                            delegate.pkcs11,
                        )?,
                    })
                })
                .collect::<Result<_, ConfigError>>()?,
            ledger: self.ledger.check(source)?,
            policy,
            limits,
            access: self.log.access,
            metrics: match self.metrics {
                Some(metrics) => Some(source.parse(
                    &["metrics", "listen"],
                    &metrics.listen,
                    "an address with a port, as in \"127.0.0.1:9472\"",
                )?),
                None => None,
            },
        })
    }
}

impl RawListen {
    fn check(self, source: &SourceText<'_>, folder: &Path) -> Result<Listen, ConfigError> {
        let tls = match self.tls {
            Some(tls) => Some(TlsListen {
                addresses: addresses(source, &["listen", "tls"], tls.address, tls.addresses)?,
                certificate: folder.join(tls.certificate),
                key: folder.join(tls.key),
            }),
            None => None,
        };
        // TLS alone will do.
        let addresses = if tls.is_some() && self.address.is_none() && self.addresses.is_none() {
            Vec::new()
        } else {
            addresses(source, &["listen"], self.address, self.addresses)?
        };
        let path = self.path.trim_matches('/').to_owned();
        let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~/".contains(&octet);
        if !path.bytes().all(is_plain) || path.contains("//") {
            return Err(source.error(
                &["listen", "path"],
                format!(
                    "\"{}\" was found, expected the path of a URL, of letters, digits, '-', '.', '_' and '~', as in \"/ocsp\"",
                    self.path
                ),
            ));
        }
        Ok(Listen {
            addresses,
            path,
            tls,
        })
    }
}

/// The addresses of a table that has either `address` or `addresses`.
fn addresses(
    source: &SourceText<'_>,
    table: &[&str],
    address: Option<String>,
    addresses: Option<Vec<String>>,
) -> Result<Vec<SocketAddr>, ConfigError> {
    let (field, addresses) = match (address, addresses) {
        (Some(address), None) => ("address", vec![address]),
        (None, Some(addresses)) if !addresses.is_empty() => ("addresses", addresses),
        _ => {
            return Err(source.error(
                &[table, &["addresses"]].concat(),
                "expected either address, as in \"127.0.0.1:8888\", or addresses, a list of at least one",
            ));
        }
    };
    let field = [table, &[field]].concat();
    addresses
        .iter()
        .map(|address| {
            source.parse(
                &field,
                address,
                "an address with a port, as in \"127.0.0.1:8888\" or \"[::1]:8888\"",
            )
        })
        .collect()
}

impl RawLedger {
    fn check(self, source: &SourceText<'_>) -> Result<LedgerPolicy, ConfigError> {
        let at = ["ledger", "nodes"];
        if self.nodes.is_empty() {
            return Err(source.error(
                &at,
                "an empty list was found, expected at least one node, as in \"http://127.0.0.1:9470\"",
            ));
        }
        for node in &self.nodes {
            HttpSource::new(node).map_err(|error| source.error(&at, error.to_string()))?;
        }
        let chain = match &self.chain {
            Some(chain) => Some(source.parse(
                &["ledger", "chain"],
                chain,
                "the chain's identifier, 64 hexadecimal digits (`ledger-node init` prints it)",
            )?),
            None => None,
        };
        let defaults = LedgerConfig::default();
        let milliseconds = |name: &str, value: Option<u64>, least: u64, default: Duration| {
            value.map_or(Ok(default), |value| {
                source
                    .within(&["ledger", name], value, least..=60_000, "milliseconds")
                    .map(Duration::from_millis)
            })
        };
        let seconds = |name: &str, value: Option<u64>, least: u64, default: Duration| {
            value.map_or(Ok(default), |value| {
                source
                    .within(&["ledger", name], value, least..=86_400, "seconds")
                    .map(Duration::from_secs)
            })
        };
        let count = |name: &str, value: Option<usize>, least: usize, default: usize| {
            value.map_or(Ok(default), |value| {
                source.within(&["ledger", name], value, least..=MAX_COUNT, "")
            })
        };
        let cache = count("cache", self.cache, 2, defaults.capacity)?;
        Ok(LedgerPolicy {
            chain,
            cache,
            index: LedgerConfig {
                nodes: self.nodes,
                deadline: milliseconds("deadline_ms", self.deadline_ms, 10, defaults.deadline)?,
                hedge_after: milliseconds("hedge_ms", self.hedge_ms, 0, defaults.hedge_after)?,
                look_ups: count("look_ups", self.look_ups, 1, defaults.look_ups)?,
                capacity: cache,
                ttl: seconds("ttl_s", self.ttl_s, 1, defaults.ttl)?,
                negative_ttl: seconds(
                    "negative_ttl_s",
                    self.negative_ttl_s,
                    0,
                    defaults.negative_ttl,
                )?,
            },
        })
    }
}

impl RawAnswers {
    fn check(self, source: &SourceText<'_>, octets: usize) -> Result<Policy, ConfigError> {
        let defaults = Policy::default();
        let seconds = |name: &str, value: Option<u64>, least: u64, most: u64| match value {
            Some(value) => source
                .within(&["answers", name], value, least..=most, "seconds")
                .map(|value| Some(Duration::from_secs(value))),
            None => Ok(None),
        };
        let cert_ids = match self.cert_ids {
            Some(count) => source.within(
                &["answers", "cert_ids"],
                count,
                1..=256,
                "CertIDs in one request",
            )?,
            None => defaults.limits.cert_ids,
        };
        let cache = match self.cache {
            Some(count) => source.within(&["answers", "cache"], count, 1..=MAX_COUNT, "answers")?,
            None => defaults.cache_capacity.get(),
        };
        Ok(Policy {
            lifetime: seconds("lifetime_s", self.lifetime_s, 2, MAX_LIFETIME.as_secs())?
                .unwrap_or(defaults.lifetime),
            max_block_age: seconds(
                "max_block_age_s",
                self.max_block_age_s,
                1,
                u64::from(u32::MAX),
            )?,
            nonce: match self.nonce {
                RawNonce::Forbidden => NoncePolicy::Forbidden,
                RawNonce::Ignored => NoncePolicy::Ignored,
                RawNonce::Optional => NoncePolicy::Optional,
                RawNonce::Required => NoncePolicy::Required,
            },
            not_recorded: match self.not_recorded {
                RawNotRecorded::Revoked => NotRecordedPolicy::Revoked,
                RawNotRecorded::Unknown => NotRecordedPolicy::Unknown,
            },
            cert_hash: self.cert_hash.unwrap_or(defaults.cert_hash),
            archive: seconds("archive_s", self.archive_s, 1, u64::from(u32::MAX))?,
            limits: Limits { octets, cert_ids },
            cache_capacity: NonZeroUsize::new(cache).unwrap_or(defaults.cache_capacity),
            sign_queue: match self.sign_queue {
                Some(count) => source.within(
                    &["answers", "sign_queue"],
                    count,
                    1..=1_000_000,
                    "signatures",
                )?,
                None => defaults.sign_queue,
            },
        })
    }
}

impl RawLimits {
    fn check(self, source: &SourceText<'_>) -> Result<HttpLimits, ConfigError> {
        let defaults = HttpLimits::default();
        let seconds = |name: &str, value: Option<u64>, default: Duration| {
            value.map_or(Ok(default), |value| {
                source
                    .within(&["limits", name], value, 1..=600, "seconds")
                    .map(Duration::from_secs)
            })
        };
        Ok(HttpLimits {
            connections: match self.connections {
                Some(count) => source.within(
                    &["limits", "connections"],
                    count,
                    1..=MAX_CONNECTIONS,
                    "connections",
                )?,
                None => defaults.connections,
            },
            request_octets: match self.request_octets {
                // A request for one SHA-1 CertID has some 70 octets.
                Some(octets) => source.within(
                    &["limits", "request_octets"],
                    octets,
                    100..=16_384,
                    "octets",
                )?,
                None => defaults.request_octets,
            },
            head: seconds("head_s", self.head_s, defaults.head)?,
            body: seconds("body_s", self.body_s, defaults.body)?,
            answer: match self.answer_ms {
                Some(value) => Duration::from_millis(source.within(
                    &["limits", "answer_ms"],
                    value,
                    10..=60_000,
                    "milliseconds",
                )?),
                None => defaults.answer,
            },
        })
    }
}

/// The most connections: what a process can be given descriptors for.
const MAX_CONNECTIONS: usize = 1_000_000;

/// The most entries of any cache.
const MAX_COUNT: usize = 16_000_000;
