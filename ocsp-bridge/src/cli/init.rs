//! `ocsp-bridge init`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use ocsp_bridge::config::Config;
use time::{Duration, OffsetDateTime};

use super::secret_file::{write_public, write_secret};
use super::subject::{KeyKind, signer_params};

#[derive(Args)]
pub(super) struct InitArgs {
    /// The folder for the files; it is made if it is not there.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    dir: PathBuf,
    /// The inquiry node of the ledger.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9470")]
    node: String,
    /// Where to answer.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8888")]
    listen: SocketAddr,
    /// The signer's common name.
    #[arg(long, value_name = "NAME", default_value = "Ledgate OCSP signer")]
    name: String,
    /// For how long the certificate is valid.
    #[arg(long, value_name = "DAYS", default_value_t = 730, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// The kind of key.
    #[arg(long, value_enum, default_value_t)]
    key: KeyKind,
}

pub(super) fn run(args: &InitArgs) -> Result<(), String> {
    let at = |name: &str| args.dir.join(name);
    let (key_file, certificate_file, config_file) =
        (at("signer.key"), at("signer.pem"), at("bridge.toml"));
    let config = configuration(args);
    // What would be written must be good before anything is.
    Config::parse(&config_file, &config).map_err(|error| error.to_string())?;
    for file in [&key_file, &certificate_file, &config_file] {
        if file.exists() {
            return Err(format!(
                "{}: is there already and is not overwritten; take another --dir, or move it away",
                file.display()
            ));
        }
    }
    fs::create_dir_all(&args.dir).map_err(|error| format!("{}: {error}", args.dir.display()))?;

    let key = args.key.generate()?;
    let mut params = signer_params(&args.name, None);
    let now = OffsetDateTime::now_utc();
    // Relying parties' clocks may be behind.
    params.not_before = now - Duration::HOUR;
    params.not_after = now + Duration::days(i64::from(args.days));
    let certificate = params
        .self_signed(&key)
        .map_err(|error| format!("no certificate could be made: {error}"))?;
    let pem = zeroize::Zeroizing::new(key.serialize_pem());
    write_secret(&key_file, pem.as_bytes())?;
    write_public(&certificate_file, certificate.pem().as_bytes())?;
    write_public(&config_file, config.as_bytes())?;
    println!(
        "{}: the signer's key: keep it\n{}: its certificate: goes to each gateway\n{}: the configuration\n\n\
         Next:\n  ocsp-bridge run --config {}\n  ocsp-bridge strongswan-config --config {} --url http://{}/ --ca CA.pem",
        key_file.display(),
        certificate_file.display(),
        config_file.display(),
        shown(&config_file),
        shown(&config_file),
        args.listen,
    );
    Ok(())
}

fn configuration(args: &InitArgs) -> String {
    format!(
        "# ocsp-bridge --help shows every field.\n\
         [listen]\naddress = \"{}\"\n\n\
         [signer]\ncertificate = \"signer.pem\"\nkey = \"signer.key\"\n\n\
         [ledger]\nnodes = [{}]\n# The chain's identifier, as `ledger-node init` prints it; set it in production.\n# chain = \"\"\n\n\
         [answers]\n# A gateway keeps an answer for so long: it learns of a revocation after at most that.\nlifetime_s = 60\n\n\
         [metrics]\nlisten = \"127.0.0.1:9472\"\n",
        args.listen,
        // A TOML basic string escapes as JSON does.
        serde_json::Value::from(args.node.as_str()),
    )
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
