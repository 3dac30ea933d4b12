//! `ocsp-bridge check-config`.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::Args;
use ocsp_bridge::UnixTime;
use ocsp_bridge::bridge::{load_signers, load_tls};
use ocsp_bridge::config::Config;
use ocsp_bridge::crl::Crls;

#[derive(Args)]
pub(super) struct CheckConfigArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(args: &CheckConfigArgs) -> Result<(), String> {
    let config = Config::read(&args.config).map_err(|error| error.to_string())?;
    config.check_pins().map_err(|error| error.to_string())?;
    let now = UnixTime::from(SystemTime::now());
    let signers = load_signers(&config, now).map_err(|error| error.to_string())?;
    let tls = load_tls(&config, now).map_err(|error| error.to_string())?;
    let crls = Crls::load(&config, now).map_err(|error| error.to_string())?;
    println!("{}: good", args.config.display());
    if let Some(days) = signers
        .iter()
        .map(|signer| now.until(signer.not_after()).as_secs() / 86_400)
        .min()
    {
        println!("the first signer certificate expires in {days} days");
    }
    if let Some(tls) = tls {
        let days = now.until(tls.not_after()).as_secs() / 86_400;
        println!("the TLS certificate expires in {days} days");
    }
    for crl in crls.iter() {
        let lifetime = crl.policy().lifetime.as_secs();
        println!(
            "CRLs at crl/{}.crl live for up to {lifetime} s; their signer's certificate expires in {} days",
            crl.name(),
            now.until(crl.signer().not_after()).as_secs() / 86_400
        );
    }
    println!(
        "a gateway keeps an answer for up to {} s: it learns of a revocation after at most that",
        config.policy.lifetime.as_secs()
    );
    if config.ledger.chain.is_none() {
        println!(
            "ledger.chain is not set: the chain of whichever node answers first will be trusted"
        );
    }
    Ok(())
}
