//! The command line.

mod certificates;
mod client;
mod init;
mod member;
mod run;
mod standing;
mod submit;

use core::fmt;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ledger::{Class, MemberId, MemberKey, MemberKind, Organisation, RevocationReason, Role};
use serde::Serialize;

const EXAMPLES: &str = "\
Examples, from nothing to a certificate in good standing:
  ledger-node init --dir acme --member acme --organisation \"ACME Femto\"
  ledger-node run --dir acme                       the node, until SIGTERM or SIGINT
  ledger-node submit device.pem --member acme --key acme/acme.key
  ledger-node status device.pem
  ledger-node revoke device.pem --reason key-compromise --member acme --key acme/acme.key

Another organisation joins, and endorses its own certificates:
  ledger-node member add operator --organisation \"Example Mobile\" --kind operator \\
      --key-out operator.key --member acme --key acme/acme.key
  ledger-node submit gateway.pem --class gateway --member operator --key operator.key

Commands that ask or change the ledger speak to the node at --node, else at LEDGATE_NODE, else at
http://127.0.0.1:9470. They sign here: a key never leaves this machine.

Exit codes: 0 it was done, 1 it failed or something was refused, 2 wrong usage.
Logs go to standard error; RUST_LOG=debug shows more.";

/// A node of the certificate ledger, and the tool of its members.
#[derive(Parser)]
#[command(name = "ledger-node", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Begin a chain: a folder with its first member, that member's key, the genesis and the store.
    Init(InitArgs),
    /// Run the node until SIGTERM or SIGINT.
    Run(RunArgs),
    /// The consortium's members.
    #[command(subcommand)]
    Member(MemberCommand),
    /// Record certificates: PEM files with any number of them, or DER files with one.
    Submit(SubmitArgs),
    /// Revoke a certificate for good.
    Revoke(RevokeArgs),
    /// Suspend a valid certificate.
    Suspend(TargetArgs),
    /// Make a suspended certificate valid again.
    Resume(TargetArgs),
    /// Ask for the status of certificates.
    Status(StatusArgs),
}

#[derive(Args)]
struct InitArgs {
    /// The folder to make; it must be empty or not exist.
    #[arg(long, value_name = "FOLDER")]
    dir: PathBuf,
    /// The first member's name: 1 to 32 of a-z, 0-9, '-' and '.'.
    #[arg(long, value_name = "NAME")]
    member: MemberId,
    /// An organisation that the member endorses certificates for, as it stands in their subject's O.
    #[arg(long, value_name = "ORGANISATION", required = true, num_args = 1..)]
    organisation: Vec<Organisation>,
    /// What the member is: manufacturer, operator, service-provider or ca.
    #[arg(long, default_value = "manufacturer")]
    kind: MemberKind,
    /// The chain's name, for people.
    #[arg(long, value_name = "NAME", default_value = "ledgate")]
    chain: String,
    /// One JSON object in place of text.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct RunArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Where the API listens, in place of what the configuration says.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
    /// The line on standard output that says where the API listens, as a JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct PlaceArgs {
    /// The folder that `init` made.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// A configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
enum LogFormat {
    /// One line of text for each event.
    #[default]
    Human,
    /// One JSON object for each event.
    Json,
}

#[derive(Subcommand)]
enum MemberCommand {
    /// Admit a member; the role validator is needed for it.
    Add(MemberAddArgs),
    /// Remove a member; its records stay.
    Remove {
        /// The member.
        name: MemberId,
        #[command(flatten)]
        ask: AskArgs,
        #[command(flatten)]
        sign: SignArgs,
    },
    /// List the members.
    List {
        #[command(flatten)]
        ask: AskArgs,
    },
}

#[derive(Args)]
struct MemberAddArgs {
    /// The new member's name: 1 to 32 of a-z, 0-9, '-' and '.'.
    name: MemberId,
    /// An organisation that it endorses certificates for, as it stands in their subject's O.
    #[arg(long, value_name = "ORGANISATION", required = true, num_args = 1..)]
    organisation: Vec<Organisation>,
    /// What it is: manufacturer, operator, service-provider or ca.
    #[arg(long)]
    kind: MemberKind,
    /// What it may do: submission, validator, or both with a comma.
    #[arg(
        long,
        value_name = "ROLE",
        value_delimiter = ',',
        default_value = "submission"
    )]
    role: Vec<Role>,
    #[command(flatten)]
    new_key: NewKeyArgs,
    #[command(flatten)]
    ask: AskArgs,
    #[command(flatten)]
    sign: SignArgs,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct NewKeyArgs {
    /// Make its key, and write it to this new file.
    #[arg(long, value_name = "FILE")]
    key_out: Option<PathBuf>,
    /// Its Ed25519 public key, which it made itself: 64 hexadecimal digits.
    #[arg(long, value_name = "HEX")]
    public_key: Option<MemberKey>,
}

#[derive(Args)]
struct SubmitArgs {
    /// The certificates, PEM or DER.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What they are for: device, gateway or ca.
    #[arg(long, default_value = "device")]
    class: Class,
    #[command(flatten)]
    ask: AskArgs,
    #[command(flatten)]
    sign: SignArgs,
}

#[derive(Args)]
struct RevokeArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Why: unspecified, key-compromise, ca-compromise, affiliation-changed, superseded,
    /// cessation-of-operation, privilege-withdrawn or aa-compromise.
    #[arg(long, value_parser = reason)]
    reason: RevocationReason,
}

#[derive(Args)]
struct TargetArgs {
    /// A file with one certificate, or a certificate's hash.
    #[arg(value_name = "FILE|HASH")]
    certificate: String,
    #[command(flatten)]
    ask: AskArgs,
    #[command(flatten)]
    sign: SignArgs,
}

#[derive(Args)]
struct StatusArgs {
    /// Files with certificates, or certificates' hashes.
    #[arg(required = true, value_name = "FILE|HASH")]
    certificates: Vec<String>,
    #[command(flatten)]
    ask: AskArgs,
}

#[derive(Args)]
struct AskArgs {
    /// The node to speak to [default: LEDGATE_NODE, or http://127.0.0.1:9470].
    #[arg(long, value_name = "URL")]
    node: Option<String>,
    /// One JSON object a line, for programs.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct SignArgs {
    /// The member that signs [default: the one whose key it is].
    #[arg(long, value_name = "NAME")]
    member: Option<MemberId>,
    /// Its key: Ed25519, PKCS#8, PEM, readable by its owner only.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

/// Why a command failed, for people.
#[derive(Debug)]
struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes a [`Failure`] of any error, as it says itself.
fn failure(error: impl fmt::Display) -> Failure {
    Failure(error.to_string())
}

/// Whether everything that was asked for was done.
type Done = Result<bool, Failure>;

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    let command = Cli::parse().command;
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("ledger-node: threads cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let done = runtime.block_on(async {
        match command {
            Command::Init(args) => init::init(args),
            Command::Run(args) => Box::pin(run::run(args)).await,
            Command::Member(MemberCommand::Add(args)) => member::add(args).await,
            Command::Member(MemberCommand::Remove { name, ask, sign }) => {
                member::remove(name, &ask, &sign).await
            }
            Command::Member(MemberCommand::List { ask }) => member::list(&ask).await,
            Command::Submit(args) => submit::submit(&args).await,
            Command::Revoke(args) => standing::revoke(&args).await,
            Command::Suspend(args) => standing::suspend(&args).await,
            Command::Resume(args) => standing::resume(&args).await,
            Command::Status(args) => standing::status(&args).await,
        }
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("ledger-node: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Writes a line to standard output. A reader that has gone away ends the program.
fn say(line: impl fmt::Display) -> Result<(), Failure> {
    writeln!(std::io::stdout().lock(), "{line}")
        .map_err(|error| Failure(format!("standard output: {error}")))
}

/// Writes an object as one line of JSON.
fn say_json(object: &impl Serialize) -> Result<(), Failure> {
    say(serde_json::to_string(object).map_err(failure)?)
}

/// A reason in the RFC's spelling (`keyCompromise`) or with hyphens (`key-compromise`).
fn reason(text: &str) -> Result<RevocationReason, String> {
    let plain = |text: &str| text.replace('-', "").to_ascii_lowercase();
    RevocationReason::ALL
        .into_iter()
        .filter(|reason| reason.is_final())
        .find(|reason| plain(reason.as_str()) == plain(text))
        .ok_or_else(|| {
            "expected unspecified, key-compromise, ca-compromise, affiliation-changed, \
             superseded, cessation-of-operation, privilege-withdrawn or aa-compromise"
                .to_owned()
        })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn reasons_have_two_spellings() {
        for (text, expected) in [
            ("key-compromise", RevocationReason::KeyCompromise),
            ("keyCompromise", RevocationReason::KeyCompromise),
            ("ca-compromise", RevocationReason::CaCompromise),
            ("cACompromise", RevocationReason::CaCompromise),
            (
                "cessation-of-operation",
                RevocationReason::CessationOfOperation,
            ),
        ] {
            assert_eq!(reason(text), Ok(expected));
        }
        // A hold is a suspension.
        for bad in ["certificate-hold", "removeFromCRL", "", "key"] {
            assert!(reason(bad).unwrap_err().contains("key-compromise"), "{bad}");
        }
    }
}
