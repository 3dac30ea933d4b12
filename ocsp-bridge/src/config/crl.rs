//! `[[crl]]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Uri;
use hyper::http::uri::Scheme;
use serde::Deserialize;
use settings::SourceText;

use super::key_place::{self, KeyPlace, RawTokenKey};
use super::{ConfigError, MAX_LIFETIME};
use crate::crl::CrlPolicy;

/// `[[crl]]`: an issuer whose CRLs are served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CrlConfig {
    /// The certificate of the issuing CA. PEM or DER.
    pub issuer: PathBuf,
    /// The certificate of the key that signs: the same, or one that the CA issued in its own name for cRLSign.
    pub certificate: PathBuf,
    /// The private key.
    pub key: KeyPlace,
    /// What the CRLs are like.
    pub policy: CrlPolicy,
}

impl CrlConfig {
    /// Whether only the signer differs, which a reload can take over.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        self.issuer == other.issuer && self.policy == other.policy
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCrl {
    issuer: PathBuf,
    certificate: PathBuf,
    key: Option<PathBuf>,
    pkcs11: Option<RawTokenKey>,
    url: Option<String>,
    lifetime_s: Option<u64>,
    delta_lifetime_s: Option<u64>,
    entries: Option<usize>,
}

impl RawCrl {
    pub(super) fn check(
        self,
        source: &SourceText<'_>,
        folder: &Path,
        max_block_age: Option<Duration>,
    ) -> Result<CrlConfig, ConfigError> {
        let lifetime = match self.lifetime_s {
            Some(value) => source.within(
                &["crl", "lifetime_s"],
                value,
                LEAST_LIFETIME..=MAX_LIFETIME.as_secs(),
                "seconds",
            )?,
            None => DEFAULT_LIFETIME,
        };
        let delta_lifetime = match self.delta_lifetime_s {
            Some(value) => source.within(
                &["crl", "delta_lifetime_s"],
                value,
                LEAST_LIFETIME..=lifetime,
                "seconds (crl.lifetime_s)",
            )?,
            None => DEFAULT_DELTA_LIFETIME.min(lifetime),
        };
        let entries = match self.entries {
            Some(value) => source.within(
                &["crl", "entries"],
                value,
                1..=MOST_ENTRIES,
                "revoked certificates",
            )?,
            None => DEFAULT_ENTRIES,
        };
        let url = self.url.map(|url| check_url(source, &url)).transpose()?;
        Ok(CrlConfig {
            issuer: folder.join(self.issuer),
            certificate: folder.join(self.certificate),
            key: key_place::check(source, "crl", folder, self.key, self.pkcs11)?,
            policy: CrlPolicy {
                lifetime: Duration::from_secs(lifetime),
                delta_lifetime: Duration::from_secs(delta_lifetime),
                url,
                entries,
                max_block_age,
            },
        })
    }
}

/// Without the slashes at its end.
fn check_url(source: &SourceText<'_>, text: &str) -> Result<String, ConfigError> {
    let is_good = text.len() <= MOST_URL
        && text.parse::<Uri>().is_ok_and(|url| {
            let web = [Some(&Scheme::HTTP), Some(&Scheme::HTTPS)];
            web.contains(&url.scheme()) && url.host().is_some() && url.query().is_none()
        });
    if is_good {
        return Ok(text.trim_end_matches('/').to_owned());
    }
    Err(source.error(
        &["crl", "url"],
        format!(
            "\"{text}\" was found, expected the URL by which gateways reach this bridge, with listen.path, as in \"http://ocsp.example:8888/\""
        ),
    ))
}

/// The shortest lifetime: the ledger is asked each few seconds.
const LEAST_LIFETIME: u64 = 10;

const DEFAULT_LIFETIME: u64 = 600;

const DEFAULT_DELTA_LIFETIME: u64 = 60;

const DEFAULT_ENTRIES: usize = 2_000_000;

/// What fits into a CRL of less than 1 GiB.
const MOST_ENTRIES: usize = 20_000_000;

const MOST_URL: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const GOOD: &str = "[listen]\naddress = \"127.0.0.1:1\"\n[signer]\ncertificate = \"a\"\nkey = \"b\"\n[ledger]\nnodes = [\"http://a.example\"]\n[[crl]]\nissuer = \"ca.pem\"\ncertificate = \"crl.pem\"\nkey = \"/keys/crl.key\"\n";

    fn parse(more: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("conf/bridge.toml"), &format!("{GOOD}{more}"))
    }

    #[test]
    fn little_is_needed_and_everything_can_be_said() {
        let crl = parse("").unwrap().crls.remove(0);
        assert_eq!(crl.issuer, Path::new("conf/ca.pem"));
        assert_eq!(crl.key, KeyPlace::File("/keys/crl.key".into()));
        assert_eq!(crl.policy.lifetime, Duration::from_secs(600));
        assert_eq!(crl.policy.delta_lifetime, Duration::from_secs(60));
        assert_eq!((crl.policy.url, crl.policy.entries), (None, 2_000_000));
        let config = parse(
            "url = \"http://ocsp.example:8888/pki/\"\nlifetime_s = 3600\ndelta_lifetime_s = 30\nentries = 5\n[answers]\nmax_block_age_s = 9\n",
        )
        .unwrap();
        assert_eq!(
            config.crls[0].policy,
            CrlPolicy {
                lifetime: Duration::from_secs(3_600),
                delta_lifetime: Duration::from_secs(30),
                url: Some("http://ocsp.example:8888/pki".to_owned()),
                entries: 5,
                max_block_age: Some(Duration::from_secs(9)),
            }
        );
        // A short life is that of delta CRLs, too.
        let short = parse("lifetime_s = 20\n").unwrap();
        assert_eq!(short.crls[0].policy.delta_lifetime, Duration::from_secs(20));
    }

    #[test]
    fn mistakes_are_named_with_what_was_expected() {
        for (more, says) in [
            (
                "lifetime_s = 9\n",
                "crl.lifetime_s: 9 was found, expected 10 to 604800",
            ),
            (
                "lifetime_s = 60\ndelta_lifetime_s = 61\n",
                "crl.delta_lifetime_s: 61 was found, expected 10 to 60",
            ),
            ("entries = 0\n", "crl.entries: 0 was found, expected 1 to"),
            ("url = \"ocsp.example\"\n", "expected the URL by which"),
            (
                "url = \"ftp://ocsp.example/\"\n",
                "expected the URL by which",
            ),
            ("url = \"http://a/?x=1\"\n", "expected the URL by which"),
            ("partition = 1\n", "unknown field"),
            (
                "pkcs11 = { module = \"m\", token = \"t\", key = \"k\", pin_file = \"p\" }\n",
                "crl.pkcs11: key is there as well",
            ),
        ] {
            let error = parse(more).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn the_key_is_in_one_place_that_a_signers_may_be_in() {
        let parse = |key: &str| {
            let text = GOOD.replace("key = \"/keys/crl.key\"\n", key);
            Config::parse(Path::new("conf/bridge.toml"), &text)
        };
        let error = parse("").unwrap_err().to_string();
        assert!(error.contains("crl.key: nothing was found"), "{error}");
        let place = |key: &str| {
            parse(&format!(
                "pkcs11 = {{ module = \"/m.so\", token = \"lab\", {key}, pin_file = \"pin\" }}\n"
            ))
        };
        let found = place("key = \"crl\"");
        if cfg!(not(feature = "pkcs11")) {
            let error = found.unwrap_err().to_string();
            assert!(
                error.contains("crl.pkcs11: this program was built without PKCS#11")
                    && error.contains("--features pkcs11"),
                "{error}"
            );
            return;
        }
        let config = found.unwrap();
        let KeyPlace::Token(key) = &config.crls[0].key else {
            panic!("{config:?}");
        };
        assert_eq!(key.to_string(), "the key \"crl\" on token \"lab\"");
        assert_eq!(key.pin_file, Path::new("conf/pin"));
        // It is taken over by a reload as another file is.
        assert!(
            config
                .needs_restart(&place("id = \"01\"").unwrap())
                .is_empty()
        );
        let error = place("id = \"0\"").unwrap_err().to_string();
        assert!(error.contains("crl.pkcs11.id: \"0\" was found"), "{error}");
    }

    #[test]
    fn a_reload_takes_over_another_signer_and_nothing_else() {
        let config = parse("").unwrap();
        let signer = Config::parse(
            Path::new("conf/bridge.toml"),
            &GOOD
                .replace("crl.pem", "new.pem")
                .replace("crl.key", "new.key"),
        );
        assert!(config.needs_restart(&signer.unwrap()).is_empty());
        for more in [
            "lifetime_s = 20\n",
            "[[crl]]\nissuer = \"a\"\ncertificate = \"b\"\nkey = \"c\"\n",
        ] {
            assert_eq!(config.needs_restart(&parse(more).unwrap()), ["crl"]);
        }
    }
}
