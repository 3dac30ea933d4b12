//! The command line.

mod check_config;
mod delegate_csr;
mod init;
mod run;
mod secret_file;
mod strongswan_config;
mod subject;
#[cfg(feature = "pkcs11")]
mod token_key;
mod vici_sync;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  ocsp-bridge init --dir bridge --node http://127.0.0.1:9470    a signer and a configuration
  ocsp-bridge run --config bridge/bridge.toml                   answer in the foreground
  ocsp-bridge check-config --config bridge/bridge.toml          say what is wrong with a configuration
  ocsp-bridge strongswan-config --config bridge/bridge.toml --url http://ocsp.example.net:8888/ --ca vendor-ca.pem
  ocsp-bridge vici-sync --vici unix:///run/charon.vici --config bridge/bridge.toml     on the gateway
  ocsp-bridge delegate-csr --key vendor.key --subject vendor-ocsp --out vendor.csr

A configuration (all but the first three tables may be left out):
  [listen]
  address = \"127.0.0.1:8888\"            # or addresses = [\"192.0.2.1:80\", \"[2001:db8::1]:80\"]
  path = \"/\"                            # the path of the URL that clients are given
  [listen.tls]                          # over TLS, beside or in place of the address above
  address = \"127.0.0.1:8889\"            # or addresses
  certificate = \"tls.pem\"               # with its chain; PEM or DER
  key = \"tls.key\"                       # PKCS#8, readable by its owner only
  [signer]                              # signs for every issuer without a delegate
  certificate = \"signer.pem\"            # PEM or DER, paths count from this file's folder
  key = \"signer.key\"                    # PKCS#8, readable by its owner only; or, built with the feature pkcs11:
# pkcs11 = { module = \"/usr/lib/softhsm/libsofthsm2.so\", token = \"LABEL\", key = \"LABEL\", pin_file = \"pin\" }
  [ledger]
  nodes = [\"http://127.0.0.1:9470\"]     # in order of preference
  chain = \"<64 hexadecimal digits>\"     # refuse nodes of another chain; set it in production
  [[delegate]]                          # signs for one CA, which certified it (delegate-csr)
  issuer = \"vendor-ca.pem\"
  certificate = \"vendor.pem\"
  key = \"vendor.key\"
  [answers]
  lifetime_s = 60                       # a gateway keeps an answer so long: the revocation delay
  nonce = \"optional\"                    # or \"required\", \"ignored\", \"forbidden\"
  not_recorded = \"revoked\"              # or \"unknown\", which lets a relaxed strongSwan in
  [limits]
  connections = 10000
  [log]
  access = \"failures\"                   # or \"off\", \"all\"
  [metrics]
  listen = \"127.0.0.1:9472\"             # GET /metrics, /health, /ready

Exit codes: 0 it was done, 1 it failed, 2 wrong usage.
Logs go to standard error; RUST_LOG=debug shows more. SIGTERM and SIGINT stop gracefully; SIGHUP reads the
configuration and the signers again.";

/// An OCSP responder over the certificate ledger, for gateways that speak OCSP.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer until SIGTERM or SIGINT.
    Run(run::RunArgs),
    /// Check a configuration and the files that it names, and start nothing.
    CheckConfig(check_config::CheckConfigArgs),
    /// Make a key, a self-signed signer certificate for strongSwan's x509ocsp folder, and a configuration.
    Init(init::InitArgs),
    /// Make a certificate signing request, with which a CA certifies a signer for its own certificates.
    DelegateCsr(delegate_csr::DelegateCsrArgs),
    /// Print what a strongSwan gateway needs to ask this bridge.
    StrongswanConfig(strongswan_config::StrongswanConfigArgs),
    /// Close a strongSwan gateway's live IKE_SAs when the ledger revokes or suspends their certificates.
    ViciSync(vici_sync::ViciSyncArgs),
}

/// Parses the arguments and does what they say.
pub(crate) fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::CheckConfig(args) => check_config::run(&args),
        Command::Init(args) => init::run(&args),
        Command::DelegateCsr(args) => delegate_csr::run(&args),
        Command::StrongswanConfig(args) => strongswan_config::run(&args),
        Command::ViciSync(args) => vici_sync::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("ocsp-bridge: {message}");
            ExitCode::FAILURE
        }
    }
}
