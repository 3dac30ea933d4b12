//! What the daemon is asked, and how its answers are read.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use ocsp::UnixTime;

use super::connection::{COMMAND_TIMEOUT, Connection, ViciError};
use super::identity::NamedCertificate;
use super::message::Section;
use super::table::{IkeSa, MAX_SAS};

/// The live IKE_SAs, and the connections whose peers authenticate by a certificate.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) sas: Vec<IkeSa>,
    pub(super) certified: HashSet<String>,
}

/// Lists them on a connection of its own, without the IKE_SAs that are busy just now: charon would wait for those as
/// long as for their peers' OCSP responder, in one of the threads that handshakes need.
pub(super) async fn list(socket: PathBuf) -> Result<Listing, ViciError> {
    let mut connection = Connection::open(&socket).await?;
    let mut listing = Listing::default();
    connection
        .stream(
            COMMAND_TIMEOUT,
            "list-conns",
            &Section::new(),
            "list-conn",
            |message| {
                for (name, section) in message.sections() {
                    if is_certified(section) && listing.certified.len() < MAX_CONNECTIONS {
                        listing.certified.insert(name.to_owned());
                    }
                }
            },
        )
        .await?;
    let arguments = Section::new().with("noblock", "yes");
    let now = now();
    connection
        .stream(
            COMMAND_TIMEOUT,
            "list-sas",
            &arguments,
            "list-sa",
            |message| {
                for (name, section) in message.sections() {
                    if listing.sas.len() < MAX_SAS {
                        listing.sas.extend(read_sa(name, section, now, false));
                    }
                }
            },
        )
        .await?;
    Ok(listing)
}

/// Whether a connection's peers prove a certificate's key.
fn is_certified(connection: &Section) -> bool {
    connection
        .sections()
        .filter(|(name, _)| name.starts_with("remote"))
        .any(|(_, remote)| matches!(remote.text("class"), Some("public key" | "any")))
}

/// How many threads the daemon has; none when it does not tell.
pub(super) async fn threads(connection: &mut Connection) -> Result<Option<u64>, ViciError> {
    match connection
        .command("stats", &Section::new(), |_, _| {})
        .await
    {
        Ok(stats) => Ok(stats
            .section("workers")
            .and_then(|workers| workers.number("total"))),
        Err(ViciError::Refused { .. } | ViciError::Unknown(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Lists the certificates that the daemon knows, on a connection of its own.
pub(super) async fn list_certificates(socket: PathBuf) -> Result<Vec<NamedCertificate>, ViciError> {
    let mut connection = Connection::open(&socket).await?;
    let mut certificates = Vec::new();
    // Of every flag: an extended key usage must not hide a device's certificate.
    let arguments = Section::new().with("type", "X509").with("flag", "ANY");
    let work = connection.stream(
        CACHE_PATIENCE,
        "list-certs",
        &arguments,
        "list-cert",
        |message| {
            if certificates.len() < MAX_CERTIFICATES {
                certificates.extend(message.value("data").and_then(NamedCertificate::read));
            }
        },
    );
    work.await?;
    Ok(certificates)
}

/// Flushes the OCSP answers that the daemon keeps.
pub(super) async fn flush_answers(socket: PathBuf) -> Result<(), ViciError> {
    let mut connection = Connection::open(&socket).await?;
    let arguments = Section::new().with("type", "OCSP_RESPONSE");
    connection
        .command_within(CACHE_PATIENCE, "flush-certs", &arguments, |_, _| {})
        .await?;
    Ok(())
}

/// Reads an IKE_SA; none when it is not established. The event of its coming may precede the state's change.
pub(super) fn read_sa(
    connection: &str,
    section: &Section,
    now: UnixTime,
    is_up: bool,
) -> Option<IkeSa> {
    let state = section.text("state").unwrap_or_default();
    if !is_up && !matches!(state, "ESTABLISHED" | "REKEYING") {
        return None;
    }
    let age = Duration::from_secs(section.number("established").unwrap_or(0));
    let identity = section.value("remote-id")?;
    Some(IkeSa {
        id: section.number("uniqueid")?,
        connection: connection.to_owned(),
        identity: String::from_utf8_lossy(identity).into_owned(),
        established: now.minus(age),
    })
}

pub(super) fn now() -> UnixTime {
    UnixTime::from(SystemTime::now())
}

/// How long a look at the certificates that are cached, or a flush, may take. Both can wait for handshakes that wait
/// for an OCSP responder.
pub(super) const CACHE_PATIENCE: Duration = Duration::from_secs(60);

/// The most connections whose kind is remembered.
const MAX_CONNECTIONS: usize = 100_000;

/// The most certificates of the daemon that are looked at.
const MAX_CERTIFICATES: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn sa(state: &str) -> Section {
        Section::new()
            .with("uniqueid", "7")
            .with("state", state)
            .with("remote-id", b"a\xff".as_slice())
            .with("established", "10")
    }

    #[test]
    fn an_ike_sa_is_as_old_as_it_says() {
        let read = read_sa("c", &sa("ESTABLISHED"), UnixTime(100), false).unwrap();
        assert_eq!((read.id, read.established), (7, UnixTime(90)));
        assert_eq!(read.identity, "a\u{fffd}");
        assert!(read_sa("c", &sa("REKEYING"), UnixTime(100), false).is_some());
        for state in ["CONNECTING", "DELETING", "REKEYED", ""] {
            assert!(
                read_sa("c", &sa(state), UnixTime(1), false).is_none(),
                "{state}"
            );
        }
        // Its event may come before its state.
        assert!(read_sa("c", &sa("CONNECTING"), UnixTime(100), true).is_some());
        let without = Section::new().with("state", "ESTABLISHED");
        assert!(read_sa("c", &without, UnixTime(1), true).is_none());
        let wrong = Section::new().with("uniqueid", "-1").with("remote-id", "a");
        assert!(read_sa("c", &wrong, UnixTime(1), true).is_none());
    }

    #[test]
    fn connections_that_ask_for_certificates() {
        let with = |name: &str, class: &str| {
            Section::new().with_section(name, Section::new().with("class", class))
        };
        assert!(is_certified(&with("remote-1", "public key")));
        assert!(is_certified(&with("remote-2", "any")));
        assert!(!is_certified(&with("remote-1", "pre-shared key")));
        assert!(!is_certified(&with("local-1", "public key")));
        assert!(!is_certified(&Section::new()));
    }
}
