//! The daemon's authorities that have a name of ours, and the commands about them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ledger::CertificateHash;

use super::connection::{COMMAND_TIMEOUT, Connection, ViciError};
use super::daemon::CACHE_PATIENCE;
use super::issuer::Authority;
use super::message::Section;

/// Connects, and takes over what an earlier run loaded; what has other URIs is unloaded.
pub(super) async fn adopt(
    socket: &Path,
    uris: &[String],
) -> Result<(Connection, BTreeSet<CertificateHash>), ViciError> {
    let mut connection = Connection::open(socket).await?;
    let (mut loaded, mut others) = (BTreeSet::new(), Vec::new());
    connection
        .stream(
            COMMAND_TIMEOUT,
            "list-authorities",
            &Section::new(),
            "list-authority",
            |message| {
                for (name, section) in message.sections() {
                    let Some(hash) = hash_of(name) else {
                        continue;
                    };
                    if section
                        .list("ocsp_uris")
                        .eq(uris.iter().map(String::as_bytes))
                    {
                        loaded.insert(hash);
                    } else {
                        others.push(hash);
                    }
                }
            },
        )
        .await?;
    for hash in others {
        unload(&mut connection, &hash).await?;
    }
    Ok((connection, loaded))
}

/// Those of these authorities whose certificates the daemon trusts, with the certificates. On a connection of its own:
/// this may take as long as handshakes that wait for an OCSP responder.
pub(super) async fn trusted(
    socket: PathBuf,
    wanted: BTreeSet<CertificateHash>,
) -> Result<BTreeMap<CertificateHash, Vec<u8>>, ViciError> {
    let mut connection = Connection::open(&socket).await?;
    let mut certificates = BTreeMap::new();
    let arguments = Section::new().with("type", "X509").with("flag", "CA");
    connection
        .stream(
            CACHE_PATIENCE,
            "list-certs",
            &arguments,
            "list-cert",
            |message| {
                if let Some(data) = message.value("data") {
                    let hash = CertificateHash::of(data);
                    if wanted.contains(&hash) {
                        certificates.insert(hash, data.to_vec());
                    }
                }
            },
        )
        .await?;
    Ok(certificates)
}

/// The authorities of ours that the daemon has.
pub(super) async fn names(
    connection: &mut Connection,
) -> Result<BTreeSet<CertificateHash>, ViciError> {
    let answer = connection
        .command("get-authorities", &Section::new(), |_, _| {})
        .await?;
    Ok(answer
        .list("authorities")
        .filter_map(|name| hash_of(core::str::from_utf8(name).ok()?))
        .collect())
}

pub(super) async fn load(
    connection: &mut Connection,
    authority: &Authority,
    uris: &[String],
) -> Result<(), ViciError> {
    let section = Section::new()
        .with("cacert", &authority.certificate)
        .with_list("ocsp_uris", uris);
    let arguments = Section::new().with_section(&name_of(&authority.hash), section);
    connection
        .command("load-authority", &arguments, |_, _| {})
        .await?;
    Ok(())
}

pub(super) async fn unload(
    connection: &mut Connection,
    hash: &CertificateHash,
) -> Result<(), ViciError> {
    let arguments = Section::new().with("name", name_of(hash));
    connection
        .command("unload-authority", &arguments, |_, _| {})
        .await?;
    Ok(())
}

fn name_of(hash: &CertificateHash) -> String {
    format!("{PREFIX}{hash}")
}

fn hash_of(name: &str) -> Option<CertificateHash> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// How the names of our authorities begin; the certificate's hash follows.
const PREFIX: &str = "ledgate-";
