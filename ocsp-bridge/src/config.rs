//! The configuration file: TOML, unknown fields refused, one message that names file, line, field and
//! what was expected.

mod crl;
mod file;
mod key_place;
mod pins;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ledger::ChainId;
use settings::{SourceText, read_text};

pub use settings::ConfigError;

pub use self::crl::CrlConfig;
pub use self::pins::PinConflict;

use self::file::RawConfig;
pub use self::key_place::{KeyPlace, KeySelector, TOKEN_SESSIONS, TokenKey};
use crate::http::{AccessPolicy, HttpLimits};
use crate::ledger::LedgerConfig;
use crate::translate::Policy;

/// Everything that a bridge is told, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where requests come to.
    pub listen: Listen,
    /// Who signs for every issuer that has no delegate: one that the relying parties trust by their own
    /// configuration. None refuses other issuers.
    pub signer: Option<SignerFiles>,
    /// Who signs for the issuers that gave out certificates for it.
    pub delegates: Vec<Delegate>,
    /// The issuers whose CRLs are served.
    pub crls: Vec<CrlConfig>,
    /// Where the ledger is asked.
    pub ledger: LedgerPolicy,
    /// How answers are made.
    pub policy: Policy,
    /// What a client may take of the server.
    pub limits: HttpLimits,
    /// What the access log holds.
    pub access: AccessPolicy,
    /// Where metrics, health and readiness are served; nowhere if none.
    pub metrics: Option<SocketAddr>,
}

/// `[listen]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listen {
    /// The addresses with their ports; port 0 lets the system choose.
    pub addresses: Vec<SocketAddr>,
    /// The path of the URL that clients are given, without slashes at its ends; empty for the root.
    pub path: String,
    /// Where requests come to over TLS, if they do.
    pub tls: Option<TlsListen>,
}

/// `[listen.tls]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsListen {
    /// The addresses with their ports; port 0 lets the system choose.
    pub addresses: Vec<SocketAddr>,
    /// The server's certificate, with its chain if it has one. PEM or DER.
    pub certificate: PathBuf,
    /// The private key, PKCS#8 in PEM or DER, readable by its owner only.
    pub key: PathBuf,
}

impl Listen {
    /// Whether the sockets, and what is asked for on them, are the same. Certificates do not matter.
    fn is_same_place(&self, other: &Self) -> bool {
        let tls = |listen: &Self| listen.tls.as_ref().map(|tls| tls.addresses.clone());
        self.addresses == other.addresses && self.path == other.path && tls(self) == tls(other)
    }
}

/// `[signer]`, and the signer of a `[[delegate]]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignerFiles {
    /// The signer's certificate, with its chain if it has one. PEM or DER.
    pub certificate: PathBuf,
    /// The private key.
    pub key: KeyPlace,
}

/// `[[delegate]]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delegate {
    /// The certificate of the issuing CA. PEM or DER.
    pub issuer: PathBuf,
    /// The signer that this CA certified.
    pub signer: SignerFiles,
}

/// `[ledger]`.
#[derive(Clone, Debug)]
pub struct LedgerPolicy {
    /// Answers of another chain are refused, if this is given.
    pub chain: Option<ChainId>,
    /// How CertIDs are looked up, at which nodes.
    pub index: LedgerConfig,
    /// How many statuses are remembered.
    pub cache: usize,
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

    /// What of `other` can only be taken over by a restart, by the names of the fields.
    #[must_use]
    pub fn needs_restart(&self, other: &Self) -> Vec<&'static str> {
        let mut fields = Vec::new();
        if !self.listen.is_same_place(&other.listen) {
            fields.push("listen");
        }
        let is_alike = |(ours, theirs): (&CrlConfig, &CrlConfig)| ours.is_alike(theirs);
        if self.crls.len() != other.crls.len() || !self.crls.iter().zip(&other.crls).all(is_alike) {
            fields.push("crl");
        }
        if self.ledger.chain != other.ledger.chain
            || self.ledger.index != other.ledger.index
            || self.ledger.cache != other.ledger.cache
        {
            fields.push("ledger");
        }
        if self.limits != other.limits {
            fields.push("limits");
        }
        if self.metrics != other.metrics {
            fields.push("metrics");
        }
        fields
    }
}

/// The longest lifetime of an answer: a week. It is the revocation delay.
pub const MAX_LIFETIME: Duration = Duration::from_secs(7 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::{NoncePolicy, NotRecordedPolicy};

    const GOOD: &str = r#"
[listen]
address = "127.0.0.1:8888"
[signer]
certificate = "signer.pem"
key = "/etc/ledgate/signer.key"
[ledger]
nodes = ["http://127.0.0.1:9470"]
"#;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("conf/bridge.toml"), text)
    }

    #[test]
    fn little_is_needed_and_the_rest_has_defaults() {
        let config = parse(GOOD).unwrap();
        assert_eq!(config.listen.addresses, ["127.0.0.1:8888".parse().unwrap()]);
        assert_eq!(config.listen.path, "");
        let signer = config.signer.unwrap();
        assert_eq!(signer.certificate, Path::new("conf/signer.pem"));
        assert_eq!(signer.key, KeyPlace::File("/etc/ledgate/signer.key".into()));
        assert_eq!(config.delegates, []);
        assert_eq!(config.policy, Policy::default());
        assert_eq!(config.limits, HttpLimits::default());
        assert_eq!(config.access, AccessPolicy::Failures);
        assert_eq!(config.metrics, None);
    }

    #[test]
    fn everything_can_be_said() {
        let config = parse(
            r#"
[listen]
addresses = ["127.0.0.1:1", "[::1]:2"]
path = "/pki/ocsp/"
[listen.tls]
address = "[::1]:3"
certificate = "tls.pem"
key = "/tls.key"
[signer]
certificate = "a"
key = "b"
[[delegate]]
issuer = "vendor-ca.pem"
certificate = "c"
key = "d"
[ledger]
nodes = ["http://a.example:1", "http://b.example:2"]
chain = "0101010101010101010101010101010101010101010101010101010101010101"
ttl_s = 20
negative_ttl_s = 0
deadline_ms = 700
hedge_ms = 50
look_ups = 10
cache = 50
[answers]
lifetime_s = 30
max_block_age_s = 600
nonce = "ignored"
not_recorded = "unknown"
cert_hash = false
archive_s = 86400
cert_ids = 3
cache = 9
sign_queue = 11
[limits]
connections = 7
request_octets = 500
head_s = 3
body_s = 2
answer_ms = 900
[log]
access = "all"
[metrics]
listen = "127.0.0.1:9472"
"#,
        )
        .unwrap();
        assert_eq!(config.listen.path, "pki/ocsp");
        let tls = config.listen.tls.unwrap();
        assert_eq!(tls.addresses, ["[::1]:3".parse().unwrap()]);
        assert_eq!(tls.certificate, Path::new("conf/tls.pem"));
        assert_eq!(tls.key, Path::new("/tls.key"));
        assert_eq!(config.delegates[0].issuer, Path::new("conf/vendor-ca.pem"));
        assert_eq!(
            config.delegates[0].signer.key,
            KeyPlace::File("conf/d".into())
        );
        assert_eq!(config.listen.addresses.len(), 2);
        assert_eq!(config.policy.lifetime, Duration::from_secs(30));
        assert_eq!(config.policy.nonce, NoncePolicy::Ignored);
        assert_eq!(config.policy.not_recorded, NotRecordedPolicy::Unknown);
        assert_eq!(config.policy.sign_queue, 11);
        assert!(!config.policy.cert_hash);
        assert_eq!(config.policy.archive, Some(Duration::from_secs(86_400)));
        assert_eq!(config.policy.max_block_age, Some(Duration::from_secs(600)));
        assert_eq!(config.policy.limits.octets, 500);
        assert_eq!(config.limits.request_octets, 500);
        assert_eq!(config.limits.answer, Duration::from_millis(900));
        assert_eq!(config.access, AccessPolicy::All);
        assert_eq!(config.ledger.index.look_ups, 10);
        assert_eq!(config.metrics, Some("127.0.0.1:9472".parse().unwrap()));
    }

    #[test]
    fn every_mistake_is_named_with_its_place() {
        for (from, to, line, field, says) in [
            (
                "127.0.0.1:8888",
                "localhost",
                3,
                "listen.address",
                "expected an address with a port",
            ),
            ("address =", "adress =", 3, "listen.adress", "unknown field"),
            ("[ledger]", "[leger]", 7, "leger", "unknown field"),
            (
                "[\"http://127.0.0.1:9470\"]",
                "[]",
                8,
                "ledger.nodes",
                "at least one node",
            ),
            (
                "http://127",
                "https://127",
                8,
                "ledger.nodes",
                "scheme http",
            ),
            (
                "[ledger]",
                "[ledger]\nchain = \"01\"",
                8,
                "ledger.chain",
                "64 hexadecimal digits",
            ),
            (
                "[ledger]",
                "[ledger]\ndeadline_ms = 1",
                8,
                "ledger.deadline_ms",
                "10 to 60000",
            ),
            (
                "[ledger]",
                "[answers]\nlifetime_s = 1\n[ledger]",
                8,
                "answers.lifetime_s",
                "2 to 604800",
            ),
            (
                "[ledger]",
                "[answers]\nnonce = \"maybe\"\n[ledger]",
                8,
                "answers.nonce",
                "unknown variant",
            ),
            (
                "[ledger]",
                "[limits]\nconnections = 0\n[ledger]",
                8,
                "limits.connections",
                "1 to",
            ),
            (
                "[ledger]",
                "[limits]\nrequest_octets = -1\n[ledger]",
                8,
                "limits.request_octets",
                "invalid value",
            ),
            (
                "[signer]",
                "path = \"/a b\"\n[signer]",
                4,
                "listen.path",
                "letters",
            ),
            (
                "address",
                "addresses = []\naddress",
                3,
                "listen.addresses",
                "either",
            ),
            (
                "[signer]",
                "[listen.tls]\naddress = \"x\"\ncertificate = \"a\"\nkey = \"b\"\n[signer]",
                5,
                "listen.tls.address",
                "expected an address with a port",
            ),
            (
                "[signer]",
                "[listen.tls]\naddress = \"[::1]:1\"\nkey = \"b\"\n[signer]",
                4,
                "listen.tls",
                "missing field `certificate`",
            ),
            (
                "[signer]",
                "[[delegate]]\nissuer = \"a\"\n[signer]",
                4,
                "delegate",
                "missing field",
            ),
        ] {
            let text = GOOD.replacen(from, to, 1);
            let error = parse(&text).unwrap_err();
            assert_eq!(error.file, Path::new("conf/bridge.toml"));
            assert_eq!(
                (error.line, error.field.as_deref()),
                (Some(line), Some(field)),
                "{error}"
            );
            assert!(error.to_string().contains(says), "{error}");
        }
        let error = parse("[listen]\naddress = \"[::1]:1\"\n[ledger]\nnodes = [\"http://a\"]\n")
            .unwrap_err();
        assert!(
            error.to_string().contains("signer: nothing was found"),
            "{error}"
        );
        let error = parse(&GOOD.replace("key = \"/etc/ledgate/signer.key\"", "")).unwrap_err();
        assert!(
            error.to_string().contains("signer.key: nothing was found"),
            "{error}"
        );
        let error = Config::read(Path::new("/nonexistent/bridge.toml")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("/nonexistent/bridge.toml: cannot be read"),
            "{error}"
        );
    }

    #[test]
    fn what_a_reload_cannot_do_is_named() {
        let config = parse(GOOD).unwrap();
        let other = parse(
            &GOOD
                .replace("8888", "8889")
                .replace("signer.pem", "other.pem"),
        )
        .unwrap();
        assert_eq!(config.needs_restart(&other), ["listen"]);
        // TLS alone is enough; another certificate is taken over, another address is not.
        let tls = |more: &str| {
            let tls = format!("[listen.tls]\n{more}\nkey = \"b\"");
            parse(&GOOD.replace("[listen]\naddress = \"127.0.0.1:8888\"", &tls)).unwrap()
        };
        let config = tls("address = \"[::1]:1\"\ncertificate = \"a\"");
        assert!(config.listen.addresses.is_empty());
        let other = tls("address = \"[::1]:1\"\ncertificate = \"c\"");
        assert!(config.needs_restart(&other).is_empty());
        let other = tls("address = \"[::1]:2\"\ncertificate = \"a\"");
        assert_eq!(config.needs_restart(&other), ["listen"]);
        let config = parse(GOOD).unwrap();
        let other = parse(&GOOD.replace("9470", "9471")).unwrap();
        assert_eq!(config.needs_restart(&other), ["ledger"]);
        assert!(config.needs_restart(&config).is_empty());
    }
}
