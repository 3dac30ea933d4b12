//! The configuration file: TOML, unknown fields refused, one message that names file, line, field and
//! what was expected.

mod file;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use esp::WindowSize;
use hyper::Uri;
use ipnet::{IpNet, Ipv4Net};
use ledger::ChainId;
use ocsp::HashAlgorithm;
use settings::{SourceText, read_text};

pub use settings::ConfigError;

use self::file::RawConfig;

/// Everything that a gateway is told, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses, ports and worker threads.
    pub listen: Listen,
    /// Who the gateway is.
    pub identity: IdentityFiles,
    /// Where the status of a certificate is asked for, and how long an answer is used.
    pub ledger: LedgerPolicy,
    /// Where the response that is stapled to the gateway's certificate comes from; none is stapled if none.
    pub ocsp: Option<OcspPolicy>,
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

/// `[ocsp]`.
#[derive(Clone, Debug)]
pub struct OcspPolicy {
    /// The responder's URL, `http`.
    pub responder: Uri,
    /// Certificates of responders that are trusted by themselves. None: the issuer of the gateway's certificate and its
    /// delegates are.
    pub signer: Option<PathBuf>,
    /// The certificate that issued the gateway's. None: it is in `identity.certificate`, or that one is self-signed.
    pub issuer: Option<PathBuf>,
    /// What the CertID is made with.
    pub hash: HashAlgorithm,
    /// Whether each request has a nonce, which must come back.
    pub nonce: bool,
    /// How long the responder may take.
    pub timeout: Duration,
    /// How soon it is asked again after it gave no usable answer.
    pub retry: Duration,
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
        let text = read_text(path)?;
        Self::parse(path, &text)
    }

    /// Checks the text of a file that lies at `path`.
    ///
    /// # Errors
    ///
    /// As [`Config::read`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let source = SourceText { path, text };
        let raw: RawConfig = source.fields()?;
        raw.check(&source)
    }
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
mod tests;
