//! `ocsp-bridge strongswan-config`.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use clap::Args;
use ocsp_bridge::config::Config;
use settings::credential::read_certificates;

#[derive(Args)]
pub(super) struct StrongswanConfigArgs {
    /// The bridge's configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The URL by which gateways reach the bridge; several for failover, in order. Default: where it listens.
    #[arg(long, value_name = "URL")]
    url: Vec<String>,
    /// The certificate of a CA whose devices connect; repeat it for each.
    #[arg(long, value_name = "FILE", required = true)]
    ca: Vec<PathBuf>,
}

pub(super) fn run(args: &StrongswanConfigArgs) -> Result<(), String> {
    let config = Config::read(&args.config).map_err(|error| error.to_string())?;
    for ca in &args.ca {
        read_certificates(ca).map_err(|error| error.to_string())?;
    }
    let urls = if args.url.is_empty() {
        listening_urls(&config)
    } else {
        args.url.clone()
    };
    if urls.is_empty() {
        return Err(format!(
            "{}: listen: only TLS is listened on; say by --url under which http URL gateways reach this responder",
            args.config.display()
        ));
    }
    for url in &urls {
        if !is_plain_url(url) {
            return Err(format!(
                "--url {url}: expected an http URL without spaces, as in http://ocsp.example.net:8888/"
            ));
        }
    }
    print!("{}", text(&config, &urls, &args.ca));
    Ok(())
}

/// The lines, as a text that explains itself.
fn text(config: &Config, urls: &[String], authorities: &[PathBuf]) -> String {
    let mut out = String::new();
    let lifetime = config.policy.lifetime.as_secs();
    let mut put = |line: &str| {
        out.push_str(line);
        out.push('\n');
    };
    put("# 1. Files, on the gateway:");
    if let Some(signer) = &config.signer {
        put(&format!(
            "#      {}  ->  /etc/swanctl/x509ocsp/  (strongSwan trusts it to sign for every CA)",
            signer.certificate.display()
        ));
    }
    for ca in authorities {
        put(&format!(
            "#      {}  ->  /etc/swanctl/x509ca/",
            ca.display()
        ));
    }
    put(
        "#    Device certificates do not belong on the gateway: what lies in /etc/swanctl/x509 is trusted and never",
    );
    put("#    asked about, and a pinned self-signed certificate is never asked about either.");
    put("#");
    put(
        "# 2. strongswan.conf (charon or charon-systemd). The plugins curl and revocation are needed; x509 before openssl,",
    );
    put("#    or strongSwan up to 5.9.8 asks for negative serial numbers.");
    put(
        "#      threads = 128            # of charon; one that waits for a responder does nothing else, and vici-sync",
    );
    put("#                               # closes tunnels in up to half of them at once");
    put("#      plugins {");
    put("#        revocation {");
    put("#          enable_ocsp = yes");
    put("#          enable_crl = no      # or a stale CRL answers when the bridge does not");
    put("#          timeout = 3s         # a slow responder blocks one of charon's threads");
    put("#        }");
    put("#      }");
    put("#");
    put("# 3. swanctl.conf:");
    put("authorities {");
    let mut names: Vec<String> = Vec::new();
    for ca in authorities {
        let name = section_name(ca, &names);
        put(&format!("  {name} {{"));
        put(&format!("    cacert = {}", file_name(ca)));
        put(&format!("    ocsp_uris = {}", urls.join(", ")));
        put("  }");
        names.push(name);
    }
    put("}");
    put("# In each connection that these devices come by:");
    put("#   remote {");
    put("#     auth = pubkey");
    let files: Vec<String> = authorities.iter().map(|ca| file_name(ca)).collect();
    put(&format!("#     cacerts = {}", files.join(", ")));
    put(
        "#     revocation = strict   # the default, relaxed, lets a device in when the bridge cannot be asked",
    );
    put("#   }");
    put("#   reauth_time = 1h        # a live tunnel is not asked about again before that");
    put("#");
    put("# 4. swanctl --load-all");
    put("#");
    put(&format!(
        "# A device that the ledger revokes is refused after at most {lifetime} s (answers.lifetime_s): strongSwan keeps an answer"
    ));
    put("# until then. `swanctl --flush-certs --type ocsp_response` makes it ask at once.");
    out
}

/// The URLs of the configured addresses. An unspecified address is no address to ask, so the local one is shown.
fn listening_urls(config: &Config) -> Vec<String> {
    let url = |address: &std::net::SocketAddr| {
        let mut address = *address;
        if address.ip().is_unspecified() {
            address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        let mut url = format!("http://{address}/");
        if !config.listen.path.is_empty() {
            // A string takes every write.
            let _ = write!(url, "{}", config.listen.path);
        }
        url
    };
    config.listen.addresses.iter().map(url).collect()
}

/// What can stand in swanctl.conf without quotes.
pub(super) fn is_plain_url(url: &str) -> bool {
    let rest = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"));
    rest.is_some_and(|rest| {
        !rest.is_empty()
            && rest
                .bytes()
                .all(|octet| octet.is_ascii_graphic() && !b"{}#,\"\\".contains(&octet))
    })
}

/// A section's name made from a file's, other than those that are taken.
fn section_name(ca: &Path, taken: &[String]) -> String {
    let stem = ca.file_stem().unwrap_or_default().to_string_lossy();
    let plain: String = stem
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
                c
            } else {
                '-'
            }
        })
        .collect();
    let base = if plain.is_empty() {
        "ca".to_owned()
    } else {
        plain
    };
    let mut name = base.clone();
    let mut number = 2;
    while taken.contains(&name) {
        name = format!("{base}-{number}");
        number += 1;
    }
    name
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let toml = "[listen]\naddress = \"0.0.0.0:8888\"\npath = \"/ocsp\"\n[signer]\ncertificate = \"signer.pem\"\n\
                    key = \"signer.key\"\n[ledger]\nnodes = [\"http://127.0.0.1:9470\"]\n";
        Config::parse(Path::new("conf/bridge.toml"), toml).unwrap()
    }

    #[test]
    fn each_authority_has_its_section() {
        let config = config();
        let urls = listening_urls(&config);
        assert_eq!(urls, ["http://127.0.0.1:8888/ocsp"]);
        let authorities = [
            "a/vendor.pem".into(),
            "b/vendor.der".into(),
            "c/ö.pem".into(),
        ];
        let text = text(&config, &urls, &authorities);
        for line in [
            "#      conf/signer.pem  ->  /etc/swanctl/x509ocsp/  (strongSwan trusts it to sign for every CA)",
            "  vendor {",
            "    cacert = vendor.pem",
            "    ocsp_uris = http://127.0.0.1:8888/ocsp",
            "  vendor-2 {",
            "  - {",
            "#     cacerts = vendor.pem, vendor.der, ö.pem",
            "#      threads = 128            # of charon; one that waits for a responder does nothing else, and vici-sync",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(text.contains("after at most 60 s"));
    }

    #[test]
    fn urls_cannot_break_out_of_their_line() {
        assert!(is_plain_url("http://ocsp.example.net:8888/"));
        for bad in [
            "",
            "http://",
            "ftp://a/",
            "http://a b",
            "http://a\n}",
            "http://a#",
            "http://a,b",
            "http://a{",
        ] {
            assert!(!is_plain_url(bad), "{bad}");
        }
    }
}
