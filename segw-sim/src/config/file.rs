//! The file as `serde` reads it, and what each field must be.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use esp::WindowSize;
use hyper::Uri;
use ipnet::Ipv4Net;
use ocsp::HashAlgorithm;
use serde::Deserialize;
use settings::SourceText;

use super::{
    Backend, ChildPolicy, Config, ConfigError, EspConfig, IdentityFiles, IkePolicy, LedgerPolicy,
    Limits, Listen, MAX_WORKERS, MIN_POOL_PREFIX, OcspPolicy, PoolConfig, default_workers,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    listen: RawListen,
    identity: RawIdentity,
    ledger: RawLedger,
    ocsp: Option<RawOcsp>,
    pool: RawPool,
    child: RawChild,
    #[serde(default)]
    esp: RawEsp,
    #[serde(default)]
    ike: RawIke,
    #[serde(default)]
    limits: RawLimits,
    metrics: Option<RawMetrics>,
    control: Option<RawControl>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawListen {
    address: String,
    #[serde(default = "default_port")]
    port: u16,
    #[serde(default = "default_nat_port")]
    nat_port: u16,
    #[serde(default = "default_cookie_threshold")]
    cookie_threshold: usize,
    workers: Option<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawIdentity {
    id: String,
    certificate: PathBuf,
    key: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLedger {
    nodes: Vec<String>,
    chain: Option<String>,
    #[serde(default = "default_ttl")]
    ttl_s: u64,
    #[serde(default = "default_negative_ttl")]
    negative_ttl_s: u64,
    #[serde(default = "default_deadline")]
    deadline_ms: u64,
    #[serde(default = "default_cache")]
    cache: usize,
    stale_grace_s: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOcsp {
    responder: String,
    signer: Option<PathBuf>,
    issuer: Option<PathBuf>,
    #[serde(default)]
    hash: RawHash,
    #[serde(default)]
    nonce: bool,
    #[serde(default = "default_ocsp_timeout")]
    timeout_ms: u64,
    #[serde(default = "default_ocsp_retry")]
    retry_s: u64,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawHash {
    Sha1,
    #[default]
    Sha256,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPool {
    network: String,
    #[serde(default)]
    dns: Vec<String>,
    #[serde(default = "default_hold")]
    hold_s: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawChild {
    local: Vec<String>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawBackend {
    #[default]
    InProcess,
    Tun,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawEsp {
    backend: RawBackend,
    core: Vec<String>,
    tun_name: String,
    tun_address: Option<String>,
    mtu: u16,
    replay_window: u16,
}

impl Default for RawEsp {
    fn default() -> Self {
        Self {
            backend: RawBackend::default(),
            core: Vec::new(),
            tun_name: "ledgate0".to_owned(),
            tun_address: None,
            mtu: 1400,
            replay_window: 1024,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawIke {
    liveness_s: u64,
}

impl Default for RawIke {
    fn default() -> Self {
        Self { liveness_s: 60 }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLimits {
    half_open: usize,
    sas: usize,
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            half_open: 10_000,
            sas: 200_000,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMetrics {
    listen: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawControl {
    socket: PathBuf,
}

fn default_port() -> u16 {
    500
}

fn default_nat_port() -> u16 {
    4500
}

fn default_cookie_threshold() -> usize {
    1000
}

fn default_ttl() -> u64 {
    60
}

fn default_negative_ttl() -> u64 {
    5
}

fn default_deadline() -> u64 {
    2000
}

fn default_cache() -> usize {
    100_000
}

fn default_ocsp_timeout() -> u64 {
    2000
}

fn default_ocsp_retry() -> u64 {
    5
}

fn default_hold() -> u64 {
    3600
}

impl RawConfig {
    pub(super) fn check(self, source: &SourceText<'_>) -> Result<Config, ConfigError> {
        let folder = source.path.parent().unwrap_or_else(|| Path::new(""));
        let child = self.child.check(source)?;
        let esp = self.esp.check(source)?;
        if let Backend::InProcess { core } = &esp.backend {
            let reached = |address: &Ipv4Addr| {
                child
                    .local
                    .iter()
                    .any(|one| one.contains(&IpAddr::V4(*address)))
            };
            if let Some(address) = core.iter().find(|address| !reached(address)) {
                return Err(source.error(
                    &["esp", "core"],
                    format!("\"{address}\" was found, expected addresses in the networks of child.local: no tunnel reaches others"),
                ));
            }
        }
        Ok(Config {
            listen: self.listen.check(source)?,
            identity: IdentityFiles {
                id: source.not_empty(
                    &["identity", "id"],
                    self.identity.id,
                    "a host name, an address or a mail address",
                )?,
                certificate: folder.join(self.identity.certificate),
                key: folder.join(self.identity.key),
            },
            ledger: self.ledger.check(source)?,
            ocsp: match self.ocsp {
                Some(ocsp) => Some(ocsp.check(source, folder)?),
                None => None,
            },
            pool: self.pool.check(source)?,
            child,
            esp,
            ike: IkePolicy {
                liveness: (self.ike.liveness_s > 0)
                    .then(|| Duration::from_secs(self.ike.liveness_s)),
            },
            limits: Limits {
                half_open: source.at_least(&["limits", "half_open"], self.limits.half_open, 1)?,
                sas: source.at_least(&["limits", "sas"], self.limits.sas, 1)?,
            },
            metrics: match self.metrics {
                Some(metrics) => Some(source.parse(
                    &["metrics", "listen"],
                    &metrics.listen,
                    "an address with a port, as in \"127.0.0.1:9471\"",
                )?),
                None => None,
            },
            control: self.control.map(|control| folder.join(control.socket)),
        })
    }
}

impl RawListen {
    fn check(self, source: &SourceText<'_>) -> Result<Listen, ConfigError> {
        let at = ["listen", "address"];
        let address: IpAddr = source.parse(&at, &self.address, "one address of this machine")?;
        if address.is_unspecified() || address.is_multicast() {
            return Err(source.error(
                &at,
                format!(
                    "\"{address}\" was found, expected one address of this machine: NAT detection (RFC 7296 §2.23) signs \
                     the address that a datagram was sent to, so one gateway listens on one address"
                ),
            ));
        }
        if self.port == self.nat_port && self.port != 0 {
            return Err(source.error(
                &["listen", "nat_port"],
                format!(
                    "{} is the port of listen.port too, expected another one",
                    self.nat_port
                ),
            ));
        }
        let workers = match self.workers {
            Some(workers @ 1..=MAX_WORKERS) => workers,
            Some(other) => {
                return Err(source.error(
                    &["listen", "workers"],
                    format!("{other} was found, expected 1 to {MAX_WORKERS} worker threads"),
                ));
            }
            None => default_workers(),
        };
        Ok(Listen {
            address,
            port: self.port,
            nat_port: self.nat_port,
            cookie_threshold: self.cookie_threshold,
            workers,
        })
    }
}

impl RawLedger {
    fn check(self, source: &SourceText<'_>) -> Result<LedgerPolicy, ConfigError> {
        let at = ["ledger", "nodes"];
        if self.nodes.is_empty() {
            return Err(source.error(&at, "an empty list was found, expected at least one node, as in \"http://127.0.0.1:9470\""));
        }
        for node in &self.nodes {
            if !node.starts_with("http://") || node.len() == "http://".len() {
                return Err(source.error(
                    &at,
                    format!("\"{node}\" was found, expected a URL of a ledger node, as in \"http://127.0.0.1:9470\""),
                ));
            }
        }
        let chain = match &self.chain {
            Some(chain) => Some(source.parse(
                &["ledger", "chain"],
                chain,
                "the chain's identifier, 64 hexadecimal digits (`ledger-node init` prints it)",
            )?),
            None => None,
        };
        Ok(LedgerPolicy {
            nodes: self.nodes,
            chain,
            ttl: Duration::from_secs(source.at_least(&["ledger", "ttl_s"], self.ttl_s, 1)?),
            negative_ttl: Duration::from_secs(self.negative_ttl_s),
            deadline: Duration::from_millis(source.at_least(
                &["ledger", "deadline_ms"],
                self.deadline_ms,
                10,
            )?),
            cache: source.at_least(&["ledger", "cache"], self.cache, 2)?,
            stale_grace: self.stale_grace_s.map(Duration::from_secs),
        })
    }
}

impl RawOcsp {
    fn check(self, source: &SourceText<'_>, folder: &Path) -> Result<OcspPolicy, ConfigError> {
        let at = ["ocsp", "responder"];
        let expected = "the responder's URL, as in \"http://127.0.0.1:8888/\"";
        let responder: Uri = source.parse(&at, &self.responder, expected)?;
        if responder.scheme_str() != Some("http") || responder.host().is_none() {
            let found = self.responder;
            return Err(source.error(&at, format!("\"{found}\" was found, expected {expected}: responses are signed, so HTTP without TLS will do")));
        }
        Ok(OcspPolicy {
            responder,
            signer: self.signer.map(|file| folder.join(file)),
            issuer: self.issuer.map(|file| folder.join(file)),
            hash: match self.hash {
                RawHash::Sha1 => HashAlgorithm::Sha1,
                RawHash::Sha256 => HashAlgorithm::Sha256,
            },
            nonce: self.nonce,
            timeout: Duration::from_millis(source.at_least(
                &["ocsp", "timeout_ms"],
                self.timeout_ms,
                10,
            )?),
            retry: Duration::from_secs(source.at_least(&["ocsp", "retry_s"], self.retry_s, 1)?),
        })
    }
}

impl RawPool {
    fn check(self, source: &SourceText<'_>) -> Result<PoolConfig, ConfigError> {
        let at = ["pool", "network"];
        let network: Ipv4Net = source.parse(
            &at,
            &self.network,
            "an IPv4 network, as in \"10.88.0.0/16\"",
        )?;
        if network.prefix_len() < MIN_POOL_PREFIX || network.prefix_len() > 30 {
            return Err(source.error(
                &at,
                format!(
                    "\"{network}\" was found, expected a prefix length from {MIN_POOL_PREFIX} to 30"
                ),
            ));
        }
        if network.trunc() != network {
            return Err(source.error(
                &at,
                format!(
                    "\"{network}\" was found, expected the network itself: \"{}\"",
                    network.trunc()
                ),
            ));
        }
        if self.dns.len() > ikev2::MAX_DNS {
            return Err(source.error(
                &["pool", "dns"],
                format!(
                    "{} servers were found, expected at most {}",
                    self.dns.len(),
                    ikev2::MAX_DNS
                ),
            ));
        }
        let dns = self
            .dns
            .iter()
            .map(|server| {
                source.parse(
                    &["pool", "dns"],
                    server,
                    "IPv4 addresses, as in [\"10.99.0.1\"]",
                )
            })
            .collect::<Result<_, _>>()?;
        Ok(PoolConfig {
            network,
            dns,
            hold: Duration::from_secs(self.hold_s),
        })
    }
}

impl RawChild {
    fn check(self, source: &SourceText<'_>) -> Result<ChildPolicy, ConfigError> {
        let at = ["child", "local"];
        if self.local.is_empty() || self.local.len() > ikev2::wire::MAX_SELECTORS {
            return Err(source.error(
                &at,
                format!(
                    "{} networks were found, expected 1 to {}, as in [\"10.99.0.0/24\"]",
                    self.local.len(),
                    ikev2::wire::MAX_SELECTORS
                ),
            ));
        }
        let local = self
            .local
            .iter()
            .map(|network| source.parse(&at, network, "networks, as in [\"10.99.0.0/24\"]"))
            .collect::<Result<_, _>>()?;
        Ok(ChildPolicy { local })
    }
}

impl RawEsp {
    fn check(self, source: &SourceText<'_>) -> Result<EspConfig, ConfigError> {
        let replay_window = WindowSize::new(self.replay_window).map_err(|_| {
            source.error(
                &["esp", "replay_window"],
                format!(
                    "{} was found, expected 64 to 4096 packets, a multiple of 64",
                    self.replay_window
                ),
            )
        })?;
        let backend = match self.backend {
            RawBackend::InProcess => {
                let at = ["esp", "core"];
                let core: Vec<Ipv4Addr> = self
                    .core
                    .iter()
                    .map(|address| {
                        source.parse(&at, address, "IPv4 addresses, as in [\"10.99.0.1\"]")
                    })
                    .collect::<Result<_, _>>()?;
                if core.is_empty() {
                    return Err(source.error(
                        &at,
                        "no address was found, expected at least one that answers, as in [\"10.99.0.1\"]",
                    ));
                }
                Backend::InProcess { core }
            }
            RawBackend::Tun => {
                let at = ["esp", "tun_name"];
                if self.tun_name.is_empty() || self.tun_name.len() > esp::userspace::MAX_NAME {
                    return Err(source.error(
                        &at,
                        format!(
                            "\"{}\" was found, expected a name of 1 to {} characters",
                            self.tun_name,
                            esp::userspace::MAX_NAME
                        ),
                    ));
                }
                if !(576..=9000).contains(&self.mtu) {
                    return Err(source.error(
                        &["esp", "mtu"],
                        format!("{} was found, expected 576 to 9000 octets", self.mtu),
                    ));
                }
                let address = match &self.tun_address {
                    Some(address) => Some(source.parse(
                        &["esp", "tun_address"],
                        address,
                        "an IPv4 address with its prefix length, as in \"10.88.0.1/16\"",
                    )?),
                    None => None,
                };
                Backend::Tun {
                    name: self.tun_name,
                    address,
                    mtu: self.mtu,
                }
            }
        };
        Ok(EspConfig {
            backend,
            replay_window,
        })
    }
}
