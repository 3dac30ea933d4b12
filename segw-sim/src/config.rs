//! The configuration file: TOML, unknown fields refused, one message that names file, line, field and
//! what was expected.

use core::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use esp::WindowSize;
use ipnet::{IpNet, Ipv4Net};
use ledger::ChainId;
use serde::Deserialize;
use toml::de::{DeTable, DeValue};

/// Everything that a gateway is told, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses, ports and worker threads.
    pub listen: Listen,
    /// Who the gateway is.
    pub identity: IdentityFiles,
    /// Where the status of a certificate is asked for, and how long an answer is used.
    pub ledger: LedgerPolicy,
    /// Inner addresses for the peers.
    pub pool: PoolConfig,
    /// What the tunnels reach.
    pub child: ChildPolicy,
    /// How tunnelled packets leave the gateway.
    pub esp: EspConfig,
    /// Times of the IKE SAs.
    pub ike: IkePolicy,
    /// Bounds.
    pub limits: Limits,
    /// Where metrics are served over HTTP; nowhere if none.
    pub metrics: Option<SocketAddr>,
    /// The Unix socket of `segw-sim sas` and `segw-sim close`; none if none.
    pub control: Option<PathBuf>,
}

/// `[listen]`.
#[derive(Clone, Copy, Debug)]
pub struct Listen {
    /// One address of this machine. NAT detection signs the address that a datagram came to
    /// (RFC 7296 §2.23), so the unspecified address is refused.
    pub address: IpAddr,
    /// The port for IKE; 0 lets the system choose.
    pub port: u16,
    /// The port for IKE and ESP in UDP; 0 lets the system choose.
    pub nat_port: u16,
    /// Half-open IKE SAs of one worker from which on peers must return a cookie.
    pub cookie_threshold: usize,
    /// Worker threads, each with its own sockets and its own share of the IKE SAs.
    pub workers: u8,
}

/// `[identity]`.
#[derive(Clone, Debug)]
pub struct IdentityFiles {
    /// IDr: a host name, an address or a mail address that the certificate holds.
    pub id: String,
    /// The certificate, with its chain if it has one. PEM or DER.
    pub certificate: PathBuf,
    /// The private key, PKCS#8 in PEM or DER, readable by its owner only.
    pub key: PathBuf,
}

/// `[ledger]`.
#[derive(Clone, Debug)]
pub struct LedgerPolicy {
    /// Inquiry nodes, in order of preference.
    pub nodes: Vec<String>,
    /// Answers of another chain are refused, if this is given.
    pub chain: Option<ChainId>,
    /// How long a good answer is used without asking again.
    pub ttl: Duration,
    /// How long any other answer is used without asking again.
    pub negative_ttl: Duration,
    /// How long an inquiry may take.
    pub deadline: Duration,
    /// How many answers are kept.
    pub cache: usize,
    /// How long a good answer outlives its time while no node can be asked. None refuses at once.
    pub stale_grace: Option<Duration>,
}

/// `[pool]`.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// The addresses; network and broadcast address are not handed out.
    pub network: Ipv4Net,
    /// DNS servers told to the peers.
    pub dns: Vec<Ipv4Addr>,
    /// How long an address stays reserved for the identity that had it.
    pub hold: Duration,
}

/// `[child]`.
#[derive(Clone, Debug)]
pub struct ChildPolicy {
    /// Inner networks on the gateway's side.
    pub local: Vec<IpNet>,
}

/// `[esp]`.
#[derive(Clone, Debug)]
pub struct EspConfig {
    /// Where opened packets go.
    pub backend: Backend,
    /// How many packets may come out of order.
    pub replay_window: WindowSize,
}

/// Where opened packets go, and packets to be sealed come from.
#[derive(Clone, Debug)]
pub enum Backend {
    /// A core network inside the process, which answers ICMP echo and UDP echo for these addresses.
    InProcess {
        /// The addresses that answer.
        core: Vec<Ipv4Addr>,
    },
    /// A TUN device.
    Tun {
        /// The device's name.
        name: String,
        /// An address for the device, if it shall have one.
        address: Option<Ipv4Net>,
        /// The MTU of the device.
        mtu: u16,
    },
}

/// `[ike]`.
#[derive(Clone, Copy, Debug)]
pub struct IkePolicy {
    /// A peer that was silent for so long is asked whether it is there. None never asks.
    pub liveness: Option<Duration>,
}

/// `[limits]`.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// IKE SAs that are being made, over all workers.
    pub half_open: usize,
    /// IKE SAs in all.
    pub sas: usize,
}

impl Config {
    /// Reads and checks a file. Relative paths in it count from its folder.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], which names the place and what was expected there.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|e| ConfigError {
            file: path.to_path_buf(),
            line: None,
            field: None,
            message: format!("cannot be read: {e}"),
        })?;
        Self::parse(path, &text)
    }

    /// Checks the text of a file that lies at `path`.
    ///
    /// # Errors
    ///
    /// As [`Config::read`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let raw: RawConfig = toml::from_str(text).map_err(|e| {
            let at = e.span().map(|span| span.start);
            ConfigError {
                file: path.to_path_buf(),
                line: at.map(|offset| line_of(text, offset)),
                field: at.and_then(|offset| field_at(text, offset)),
                message: e.message().to_owned(),
            }
        })?;
        let source = SourceText { path, text };
        raw.check(&source)
    }
}

/// What is wrong with a configuration file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1, where there is one.
    pub line: Option<usize>,
    /// The field, with its table: `pool.network`.
    pub field: Option<String>,
    /// What was found and what was expected.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(field) = &self.field {
            write!(f, ": {field}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl core::error::Error for ConfigError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    listen: RawListen,
    identity: RawIdentity,
    ledger: RawLedger,
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

fn default_hold() -> u64 {
    3600
}

impl RawConfig {
    fn check(self, source: &SourceText<'_>) -> Result<Config, ConfigError> {
        let folder = source.path.parent().unwrap_or_else(|| Path::new(""));
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
            pool: self.pool.check(source)?,
            child: self.child.check(source)?,
            esp: self.esp.check(source)?,
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

/// The text that is being checked, to say where something is.
struct SourceText<'a> {
    path: &'a Path,
    text: &'a str,
}

impl SourceText<'_> {
    fn error(&self, field: &[&str], message: impl Into<String>) -> ConfigError {
        ConfigError {
            file: self.path.to_path_buf(),
            line: offset_of(self.text, field).map(|offset| line_of(self.text, offset)),
            field: Some(field.join(".")),
            message: message.into(),
        }
    }

    fn parse<T: core::str::FromStr>(
        &self,
        field: &[&str],
        value: &str,
        expected: &str,
    ) -> Result<T, ConfigError> {
        value
            .parse()
            .map_err(|_| self.error(field, format!("\"{value}\" was found, expected {expected}")))
    }

    fn at_least<T: PartialOrd + fmt::Display>(
        &self,
        field: &[&str],
        value: T,
        least: T,
    ) -> Result<T, ConfigError> {
        if value < least {
            return Err(self.error(
                field,
                format!("{value} was found, expected at least {least}"),
            ));
        }
        Ok(value)
    }

    fn not_empty(
        &self,
        field: &[&str],
        value: String,
        expected: &str,
    ) -> Result<String, ConfigError> {
        if value.is_empty() {
            return Err(self.error(field, format!("nothing was found, expected {expected}")));
        }
        Ok(value)
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()
        .iter()
        .take(offset)
        .filter(|&&b| b == b'\n')
        .count()
        + 1
}

/// Where the value of a field begins; where its table begins, if the field is missing.
fn offset_of(text: &str, field: &[&str]) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut offset = None;
    for name in field {
        let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == name) else {
            break;
        };
        offset = Some(key.span().start);
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    offset
}

/// The field whose key or value holds this offset.
fn field_at(text: &str, offset: usize) -> Option<String> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut path = Vec::new();
    'descend: loop {
        // A table that is written as `[name]` spans its header only, its fields come after it: look deeper first.
        for (key, value) in table.iter() {
            if let DeValue::Table(inner) = value.get_ref()
                && inner
                    .iter()
                    .any(|(k, v)| k.span().contains(&offset) || v.span().contains(&offset))
            {
                path.push(key.get_ref().to_string());
                table = inner;
                continue 'descend;
            }
        }
        for (key, value) in table.iter() {
            if key.span().contains(&offset) || value.span().contains(&offset) {
                path.push(key.get_ref().to_string());
                break;
            }
        }
        break;
    }
    (!path.is_empty()).then(|| path.join("."))
}

/// One worker for each core, as far as there are shards.
pub fn default_workers() -> u8 {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    u8::try_from(cores).unwrap_or(MAX_WORKERS).min(MAX_WORKERS)
}

/// The most worker threads.
pub const MAX_WORKERS: u8 = 64;

/// The largest pool has 2^20 addresses.
pub const MIN_POOL_PREFIX: u8 = 12;

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"[listen]
address = "192.0.2.1"

[identity]
id = "segw.lab.test"
certificate = "segw.pem"
key = "keys/segw.key"

[ledger]
nodes = ["http://127.0.0.1:9470"]

[pool]
network = "10.88.0.0/24"
dns = ["10.99.0.1"]

[child]
local = ["10.99.0.0/24"]

[esp]
backend = "tun"
tun_name = "ledgate0"
core = ["10.99.0.1"]

[metrics]
listen = "127.0.0.1:9471"

[control]
socket = "segw.sock"
"#;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("/etc/ledgate/segw.toml"), text)
    }

    #[test]
    fn a_usual_file_has_the_documented_defaults() {
        let config = parse(GOOD).unwrap();
        assert_eq!(config.listen.port, 500);
        assert_eq!(config.listen.nat_port, 4500);
        assert!(config.listen.workers >= 1);
        assert_eq!(
            config.identity.certificate,
            Path::new("/etc/ledgate/segw.pem")
        );
        assert_eq!(config.identity.key, Path::new("/etc/ledgate/keys/segw.key"));
        assert_eq!(
            config.control.as_deref(),
            Some(Path::new("/etc/ledgate/segw.sock"))
        );
        assert_eq!(config.ledger.stale_grace, None, "fail closed");
        assert!(matches!(
            config.esp.backend,
            Backend::Tun {
                mtu: 1400,
                address: None,
                ..
            }
        ));
        assert_eq!(config.metrics, Some("127.0.0.1:9471".parse().unwrap()));
    }

    /// Each row: what is replaced in the good file, by what, and what the message must say.
    #[test]
    fn each_wrong_field_is_named_with_its_line_and_what_was_expected() {
        let rows: &[(&str, &str, &[&str])] = &[
            (
                "192.0.2.1",
                "0.0.0.0",
                &[
                    "segw.toml:2",
                    "listen.address",
                    "one address of this machine",
                ],
            ),
            (
                "192.0.2.1",
                "here",
                &[
                    "segw.toml:2",
                    "listen.address",
                    "\"here\"",
                    "one address of this machine",
                ],
            ),
            (
                "address = \"192.0.2.1\"",
                "address = 7",
                &["segw.toml:2", "listen.address", "expected a string"],
            ),
            (
                "address = \"192.0.2.1\"\n",
                "address = \"192.0.2.1\"\nport = 70000\n",
                &[":3", "listen.port", "u16"],
            ),
            (
                "address = \"192.0.2.1\"\n",
                "address = \"192.0.2.1\"\nport = 4500\n",
                &["listen.nat_port", "another"],
            ),
            (
                "address = \"192.0.2.1\"\n",
                "address = \"192.0.2.1\"\nworkers = 0\n",
                &[":3", "listen.workers", "1 to 64"],
            ),
            (
                "address = \"192.0.2.1\"\n",
                "address = \"192.0.2.1\"\nbogus = 1\n",
                &[":3", "listen.bogus", "unknown field `bogus`", "`nat_port`"],
            ),
            (
                "address = \"192.0.2.1\"\n",
                "",
                &["missing field `address`"],
            ),
            (
                "id = \"segw.lab.test\"",
                "id = \"\"",
                &[":5", "identity.id", "host name"],
            ),
            ("key = \"keys/segw.key\"\n", "", &["missing field `key`"]),
            (
                "nodes = [\"http://127.0.0.1:9470\"]",
                "nodes = []",
                &[":10", "ledger.nodes", "at least one"],
            ),
            (
                "http://127.0.0.1:9470",
                "127.0.0.1:9470",
                &[":10", "ledger.nodes", "URL"],
            ),
            (
                "nodes = [",
                "chain = \"12\"\nnodes = [",
                &[":10", "ledger.chain", "64 hexadecimal"],
            ),
            (
                "nodes = [",
                "ttl_s = 0\nnodes = [",
                &[":10", "ledger.ttl_s", "at least 1"],
            ),
            (
                "nodes = [",
                "deadline_ms = -1\nnodes = [",
                &[":10", "ledger.deadline_ms", "u64"],
            ),
            (
                "10.88.0.0/24",
                "10.88.0.0",
                &[":13", "pool.network", "IPv4 network"],
            ),
            (
                "10.88.0.0/24",
                "10.88.0.7/24",
                &[":13", "pool.network", "10.88.0.0/24"],
            ),
            (
                "10.88.0.0/24",
                "10.0.0.0/8",
                &[":13", "pool.network", "12 to 30"],
            ),
            (
                "dns = [\"10.99.0.1\"]",
                "dns = [\"dns\"]",
                &[":14", "pool.dns", "IPv4 addresses"],
            ),
            (
                "local = [\"10.99.0.0/24\"]",
                "local = []",
                &[":17", "child.local", "1 to"],
            ),
            (
                "local = [\"10.99.0.0/24\"]",
                "local = [\"core\"]",
                &[":17", "child.local", "\"core\"", "networks"],
            ),
            (
                "backend = \"tun\"",
                "backend = \"xdp\"",
                &[":20", "esp.backend", "`inprocess`", "`tun`"],
            ),
            (
                "tun_name = \"ledgate0\"",
                "tun_name = \"a-name-that-is-too-long\"",
                &[":21", "esp.tun_name", "1 to 15"],
            ),
            (
                "tun_name = \"ledgate0\"",
                "mtu = 100",
                &[":21", "esp.mtu", "576 to 9000"],
            ),
            (
                "tun_name = \"ledgate0\"",
                "replay_window = 8",
                &[":21", "esp.replay_window", "64 to 4096"],
            ),
            (
                "backend = \"tun\"\ntun_name = \"ledgate0\"\ncore = [\"10.99.0.1\"]\n",
                "",
                &["esp.core", "at least one"],
            ),
            (
                "127.0.0.1:9471",
                "localhost",
                &[":25", "metrics.listen", "127.0.0.1:9471"],
            ),
            ("socket = \"segw.sock\"\n", "", &["missing field `socket`"]),
            ("[control]", "[controls]", &["unknown field `controls`"]),
            ("[listen]", "[listen", &["segw.toml:1"]),
        ];
        for (from, to, says) in rows {
            assert!(GOOD.contains(from), "{from} is not in the good file");
            let text = GOOD.replacen(from, to, 1);
            let message = parse(&text).expect_err(to).to_string();
            for part in *says {
                assert!(
                    message.contains(part),
                    "{from} -> {to}: {message:?} does not say {part:?}"
                );
            }
            assert!(message.starts_with("/etc/ledgate/segw.toml"), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let message = Config::read(Path::new("/nonexistent/segw.toml"))
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with("/nonexistent/segw.toml: cannot be read"),
            "{message}"
        );
    }
}
