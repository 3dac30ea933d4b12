//! `ocsp-bridge init`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use ocsp_bridge::config::Config;
use time::{Duration, OffsetDateTime};

use super::secret_file::{write_public, write_secret};
use super::subject::{KeyKind, signer_params};
#[cfg(feature = "pkcs11")]
use super::token_key;

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
    #[cfg(feature = "pkcs11")]
    #[command(flatten)]
    token: token_key::TokenArgs,
}

pub(super) fn run(args: &InitArgs) -> Result<(), String> {
    #[cfg(feature = "pkcs11")]
    if let Some(place) = args.token.place()? {
        let files = Files::new(args, &token_key::toml(&place))?;
        let certificate = certificate(args, &token_key::open(&place)?)?;
        files.write(&certificate)?;
        println!("{place}: the signer's key");
        files.tell(args);
        return Ok(());
    }
    let key_file = args.dir.join("signer.key");
    refuse_to_overwrite(&key_file)?;
    let files = Files::new(args, "key = \"signer.key\"")?;
    let key = args.key.generate()?;
    let certificate = certificate(args, &key)?;
    let pem = zeroize::Zeroizing::new(key.serialize_pem());
    files.make_folder()?;
    write_secret(&key_file, pem.as_bytes())?;
    files.write(&certificate)?;
    println!("{}: the signer's key: keep it", key_file.display());
    files.tell(args);
    Ok(())
}

/// What is made besides a key.
struct Files {
    folder: PathBuf,
    certificate: PathBuf,
    config: PathBuf,
    text: String,
}

impl Files {
    /// What would be written must be good before anything is.
    fn new(args: &InitArgs, key: &str) -> Result<Self, String> {
        let files = Self {
            folder: args.dir.clone(),
            certificate: args.dir.join("signer.pem"),
            config: args.dir.join("bridge.toml"),
            text: configuration(args, key),
        };
        Config::parse(&files.config, &files.text).map_err(|error| error.to_string())?;
        refuse_to_overwrite(&files.certificate)?;
        refuse_to_overwrite(&files.config)?;
        Ok(files)
    }

    fn make_folder(&self) -> Result<(), String> {
        fs::create_dir_all(&self.folder)
            .map_err(|error| format!("{}: {error}", self.folder.display()))
    }

    fn write(&self, certificate: &str) -> Result<(), String> {
        self.make_folder()?;
        write_public(&self.certificate, certificate.as_bytes())?;
        write_public(&self.config, self.text.as_bytes())
    }

    fn tell(&self, args: &InitArgs) {
        println!(
            "{}: its certificate: goes to each gateway\n{}: the configuration\n\n\
             Next:\n  ocsp-bridge run --config {}\n  ocsp-bridge strongswan-config --config {} --url http://{}/ --ca CA.pem",
            self.certificate.display(),
            self.config.display(),
            shown(&self.config),
            shown(&self.config),
            args.listen,
        );
    }
}

fn refuse_to_overwrite(file: &Path) -> Result<(), String> {
    if file.exists() {
        return Err(format!(
            "{}: is there already and is not overwritten; take another --dir, or move it away",
            file.display()
        ));
    }
    Ok(())
}

fn certificate(args: &InitArgs, key: &impl rcgen::SigningKey) -> Result<String, String> {
    let mut params = signer_params(&args.name, None);
    let now = OffsetDateTime::now_utc();
    // Relying parties' clocks may be behind.
    params.not_before = now - Duration::HOUR;
    params.not_after = now + Duration::days(i64::from(args.days));
    let certificate = params
        .self_signed(key)
        .map_err(|error| format!("no certificate could be made: {error}"))?;
    Ok(certificate.pem())
}

fn configuration(args: &InitArgs, key: &str) -> String {
    format!(
        "# ocsp-bridge --help shows every field.\n\
         [listen]\naddress = \"{}\"\n\n\
         [signer]\ncertificate = \"signer.pem\"\n{key}\n\n\
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
