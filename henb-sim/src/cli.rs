//! The command line.

use std::net::Ipv4Addr;
use std::num::{NonZeroU8, NonZeroU16};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use henb_sim::enrolment::KeyKind;
use ipnet::Ipv4Net;
use ledger::CertificateHash;

/// Plays HeNBs against a security gateway: IKEv2, ESP in UDP, inner addresses, pings.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 all went well; 1 a device was refused, lost or unanswered, or something failed; 2 usage.

A fleet of 1000 recorded devices, from nothing:
  henb-sim enrol --devices 1000 --organisation Acme --out devices
  ledger-node submit devices/certificates.pem --key acme/acme.key
  henb-sim fleet --identities devices --gateway 192.0.2.1 --gateway-certificate segw.pem --ping 10.99.0.1"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Connect one device, with pings from inside this process or with a TUN device.
    Connect(Connect),
    /// Make keys and self-signed certificates for a fleet.
    Enrol(Enrol),
    /// Connect many devices, ping from each, report latencies and refusals.
    Fleet(Fleet),
}

/// The gateway, and what makes a device trust it.
#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("trust").required(true).multiple(true)))]
#[command(group(clap::ArgGroup::new("staple").multiple(true)))]
pub(crate) struct Gateway {
    /// Address or name of the gateway, with its IKE port if that is not 500.
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    pub(crate) gateway: String,
    /// The gateway's port for IKE and ESP in UDP.
    #[arg(long, value_name = "PORT", default_value_t = 4500, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) nat_port: u16,
    /// The FQDN that the gateway must prove. Without it, any that is in its certificate.
    #[arg(long, value_name = "FQDN")]
    pub(crate) gateway_id: Option<String>,
    /// The gateway's own certificate (PEM or DER); may be given several times.
    #[arg(long, value_name = "FILE", group = "trust")]
    pub(crate) gateway_certificate: Vec<PathBuf>,
    /// SHA-256 of the gateway's certificate in hexadecimal; may be given several times.
    #[arg(long, value_name = "HASH", group = "trust")]
    pub(crate) gateway_hash: Vec<CertificateHash>,
    /// Trust whatever gateway answers. For closed test networks only.
    #[arg(long, group = "trust")]
    pub(crate) dangerous_any_gateway: bool,
    /// Ask the gateway for an OCSP response about its certificate (RFC 4806), and refuse it if that is bad, over, or not
    /// "good". FILE: the certificate of a responder that is trusted (PEM or DER); may be given several times.
    #[arg(long, value_name = "FILE", group = "staple")]
    pub(crate) ocsp_signer: Vec<PathBuf>,
    /// The same, signed by the authority that issued the gateway's certificate or by a delegate of it. FILE: the
    /// authority's certificate (PEM or DER); may be given several times.
    #[arg(long, value_name = "FILE", group = "staple")]
    pub(crate) gateway_issuer: Vec<PathBuf>,
    /// Refuse a gateway that sends no OCSP response about its certificate. Without it, whoever stole the key sends none.
    #[arg(long, requires = "staple")]
    pub(crate) require_staple: bool,
    /// How much this machine's clock and the responder's may differ, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(..=86_400), requires = "staple")]
    pub(crate) clock_skew_s: u64,
    /// Networks behind the gateway that the device asks for (traffic selectors).
    #[arg(
        long,
        value_name = "NETWORK",
        default_value = "0.0.0.0/0",
        value_delimiter = ','
    )]
    pub(crate) remote_ts: Vec<Ipv4Net>,
    /// How long a device repeats an unanswered request before it gives up, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    pub(crate) patience_s: u64,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:
  henb-sim connect --gateway 192.0.2.1 --certificate henb1.pem --key henb1.key \\
    --gateway-certificate segw.pem --ping 10.99.0.1 --count 3")]
pub(crate) struct Connect {
    #[command(flatten)]
    pub(crate) gateway: Gateway,
    /// The device's identity, an FQDN. Default: the first dNSName in its certificate.
    #[arg(long, value_name = "FQDN")]
    pub(crate) id: Option<String>,
    /// The device's certificate, and any above it (PEM or DER).
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: PathBuf,
    /// The device's private key (PKCS#8, PEM or DER), readable by its owner only.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Send echo requests to this address through the tunnel, from inside this process.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ping: Option<Ipv4Addr>,
    /// How many echo requests; 0 sends until stopped.
    #[arg(long, value_name = "N", default_value_t = 3, requires = "ping")]
    pub(crate) count: u16,
    /// From one echo request to the next, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub(crate) interval_ms: u64,
    /// Make a TUN device of this name for the tunnel's inner side (needs CAP_NET_ADMIN).
    #[arg(long, value_name = "NAME", conflicts_with = "ping")]
    pub(crate) tun: Option<String>,
    /// The TUN device's MTU.
    #[arg(long, value_name = "OCTETS", default_value_t = 1400)]
    pub(crate) mtu: u16,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Enrol {
    /// How many devices.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) devices: u32,
    /// The organisation (O) in the certificates; a member of the ledger must have it registered.
    #[arg(long, value_name = "NAME", value_parser = organisation)]
    pub(crate) organisation: String,
    /// What follows the EUI-48 in each device's FQDN.
    #[arg(long, value_name = "DOMAIN", default_value = "hnb.example", value_parser = domain)]
    pub(crate) realm: String,
    /// The kind of key.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) key_type: KeyKind,
    /// The folder for certificates.pem and keys.pem.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,
    /// Print nothing.
    #[arg(long)]
    pub(crate) quiet: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Fleet {
    #[command(flatten)]
    pub(crate) gateway: Gateway,
    /// How many devices. Default: all identities of the folder, or 100 fresh ones.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) devices: Option<u32>,
    /// The folder that `henb-sim enrol` made.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) identities: Option<PathBuf>,
    /// How devices arrive. All but `saturate` are open loop: each device has its own time, and latency counts from it.
    #[arg(long, value_enum, default_value_t = ArrivalKind::Steady)]
    pub(crate) arrival: ArrivalKind,
    /// Devices a second, for steady and poisson.
    #[arg(long, value_name = "PER_SECOND", default_value_t = 100.0, value_parser = positive)]
    pub(crate) rate: f64,
    /// The seed of the poisson times.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Handshakes under way at most, for saturate.
    #[arg(long, value_name = "N", default_value = "32")]
    pub(crate) in_flight: NonZeroU16,
    /// Ping this address through each tunnel.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ping: Option<Ipv4Addr>,
    /// Echo requests of each device.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "ping")]
    pub(crate) pings: u16,
    /// How long all stay connected at the end, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = not_negative)]
    pub(crate) hold_s: f64,
    /// Threads that play devices. Default: one for each core.
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<NonZeroU8>,
    /// UDP sockets of each thread.
    #[arg(long, value_name = "N", default_value = "8")]
    pub(crate) sockets: NonZeroU16,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum ArrivalKind {
    /// All at once: the boot storm after a power cut.
    Burst,
    /// Independent arrivals with the mean rate of --rate.
    Poisson,
    /// As fast as the gateway lets them, at most --in-flight under way: capacity, not latency.
    Saturate,
    /// Evenly spaced at --rate.
    Steady,
}

fn organisation(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err(
            "expected an organisation that is registered to a member of the ledger".to_owned(),
        );
    }
    Ok(text.to_owned())
}

/// A domain of host name labels (RFC 1123 §2.1), with room for the EUI-48 before it.
fn domain(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
    };
    if text.len() <= 240 && text.split('.').all(is_label) {
        Ok(text.to_owned())
    } else {
        Err(
            "expected a domain of letters, digits, hyphens and dots, such as hnb.example"
                .to_owned(),
        )
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("expected a number above 0".to_owned()),
    }
}

fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && (0.0..=86_400.0).contains(&number) => Ok(number),
        _ => Err("expected seconds, from 0 to 86400".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_gateway_must_be_trusted_for_a_reason() {
        let without = ["henb-sim", "fleet", "--gateway", "192.0.2.1"];
        assert!(Cli::try_parse_from(without).is_err());
        let with = [
            "henb-sim",
            "fleet",
            "--gateway",
            "192.0.2.1",
            "--dangerous-any-gateway",
        ];
        assert!(Cli::try_parse_from(with).is_ok());
    }

    #[test]
    fn a_response_is_required_only_of_somebody_who_is_believed() {
        let line = |more: &[&'static str]| {
            let all = [
                "henb-sim",
                "fleet",
                "--gateway",
                "192.0.2.1",
                "--dangerous-any-gateway",
            ];
            Cli::try_parse_from(all.iter().chain(more)).is_ok()
        };
        assert!(!line(&["--require-staple"]));
        assert!(!line(&["--clock-skew-s", "5"]));
        assert!(line(&["--ocsp-signer", "a.pem", "--require-staple"]));
        assert!(line(&["--gateway-issuer", "a.pem", "--clock-skew-s", "0"]));
        assert!(line(&[
            "--gateway-issuer",
            "a.pem",
            "--ocsp-signer",
            "b.pem"
        ]));
    }

    #[test]
    fn what_cannot_stand_in_a_certificate_is_refused() {
        let enrol = |organisation, realm| {
            let line = [
                "henb-sim",
                "enrol",
                "--devices",
                "1",
                "--out",
                "x",
                "--organisation",
                organisation,
                "--realm",
                realm,
            ];
            Cli::try_parse_from(line).is_ok()
        };
        assert!(enrol("Acme", "hnb.example"));
        assert!(!enrol("", "hnb.example") && !enrol(" ", "hnb.example"));
        for realm in ["", ".", "a..b", "ä.b", "a b", &"a.".repeat(130)] {
            assert!(!enrol("Acme", realm), "{realm}");
        }
    }

    #[test]
    fn options_that_would_do_nothing_are_refused() {
        let fleet = [
            "henb-sim",
            "fleet",
            "--gateway",
            "a",
            "--dangerous-any-gateway",
        ];
        let with = |more: &[&'static str]| Cli::try_parse_from(fleet.iter().chain(more)).is_ok();
        assert!(with(&["--ping", "192.0.2.1", "--pings", "65535"]));
        assert!(!with(&["--pings", "2"]) && !with(&["--nat-port", "0"]));
        let connect = |interval| {
            let line = [
                "henb-sim",
                "connect",
                "--gateway",
                "a",
                "--dangerous-any-gateway",
                "--certificate",
                "c",
                "--key",
                "k",
                "--ping",
                "192.0.2.1",
                "--interval-ms",
                interval,
            ];
            Cli::try_parse_from(line).is_ok()
        };
        assert!(connect("1") && !connect("0") && !connect("18446744073709551615"));
    }

    #[test]
    fn rates_are_positive() {
        for rate in ["0", "-1", "NaN", "inf", "x"] {
            let line = [
                "henb-sim",
                "fleet",
                "--gateway",
                "a",
                "--dangerous-any-gateway",
                "--rate",
                rate,
            ];
            assert!(Cli::try_parse_from(line).is_err(), "{rate}");
        }
    }
}
