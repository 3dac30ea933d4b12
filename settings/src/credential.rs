//! Certificates and keys in files: PEM or DER, bounded, and keys that only their owner may read.

use core::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use pkcs8::{Document, SecretDocument};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject as _};
use zeroize::Zeroizing;

/// Certificates from a PEM file, in its order, or the one of a DER file.
///
/// # Errors
///
/// [`CredentialFileError`] if it cannot be read, is too long, or holds no certificate, or something that is no DER.
pub fn read_certificates(path: &Path) -> Result<Vec<Vec<u8>>, CredentialFileError> {
    let certificates = read_certificates_within(path, MAX_FILE)?;
    for der in &certificates {
        // One that lost a line is found here already.
        Document::try_from(der.as_slice())
            .map_err(|error| CredentialFileError::new(path, Problem::NotDer(error.to_string())))?;
    }
    Ok(certificates)
}

/// As [`read_certificates`], from a file of at most `most` octets, and with the octets as they are there: whether they are
/// DER is for the reader to judge.
///
/// # Errors
///
/// As [`read_certificates`].
pub fn read_certificates_within(
    path: &Path,
    most: u64,
) -> Result<Vec<Vec<u8>>, CredentialFileError> {
    let bad = |problem| CredentialFileError::new(path, problem);
    let octets = read(path, open(path)?, most)?;
    if is_der(&octets) {
        return Ok(vec![octets]);
    }
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&octets)
        .map(|certificate| certificate.map(|der| der.to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|error| match error {
            pem::Error::MissingSectionEnd { .. } => bad(Problem::CutOff),
            error => bad(Problem::NotPem(error.to_string())),
        })?;
    if certificates.is_empty() {
        return Err(bad(Problem::NoCertificate));
    }
    Ok(certificates)
}

/// A PKCS#8 key from a PEM or DER file that nobody but its owner may read; the first of several.
///
/// # Errors
///
/// [`CredentialFileError`] if it cannot be read, if others can read it, or if it is not PKCS#8.
pub fn read_key(path: &Path) -> Result<SecretDocument, CredentialFileError> {
    let first = read_keys_within(path, MAX_FILE)?.into_iter().next();
    first.ok_or_else(|| CredentialFileError::new(path, Problem::NoKey))
}

/// The keys of a PEM file of at most `most` octets, in its order: one at least. Otherwise as [`read_key`].
///
/// # Errors
///
/// As [`read_key`].
pub fn read_keys_within(
    path: &Path,
    most: u64,
) -> Result<Vec<SecretDocument>, CredentialFileError> {
    let bad = |problem| CredentialFileError::new(path, problem);
    let octets = read_secret_within(path, most)?;
    if is_der(&octets) {
        let key = SecretDocument::try_from(octets.as_slice())
            .map_err(|error| bad(Problem::NotDer(error.to_string())))?;
        return Ok(vec![key]);
    }
    let text = core::str::from_utf8(&octets).map_err(|_| bad(Problem::NoKey))?;
    let mut keys = Vec::new();
    for block in pem_blocks(text) {
        let (label, block) = block.ok_or_else(|| bad(Problem::CutOff))?;
        if label == "PRIVATE KEY" {
            let der = secret_octets(block).map_err(|error| bad(Problem::NotPem(error)))?;
            let key = SecretDocument::try_from(der.as_slice())
                .map_err(|error| bad(Problem::NotDer(error.to_string())))?;
            keys.push(key);
        } else if label.ends_with("PRIVATE KEY") {
            return Err(bad(Problem::NotPkcs8(label.chars().take(40).collect())));
        }
    }
    if keys.is_empty() {
        return Err(bad(Problem::NoKey));
    }
    Ok(keys)
}

/// The octets of a file that nobody but its owner may read, such as a PIN.
///
/// # Errors
///
/// [`CredentialFileError`] if it cannot be read, is too long, or if others can read it.
pub fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, CredentialFileError> {
    read_secret_within(path, MAX_FILE)
}

fn read_secret_within(path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>, CredentialFileError> {
    let bad = |problem| CredentialFileError::new(path, problem);
    let file = open(path)?;
    // Of the open file, so that it cannot be exchanged between the look and the reading.
    let metadata = file
        .metadata()
        .map_err(|error| bad(Problem::Io(error.to_string())))?;
    if metadata.is_dir() {
        return Err(bad(Problem::Io("it is not a file".to_owned())));
    }
    let mode = metadata.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(bad(Problem::Exposed(mode & 0o777)));
    }
    read(path, file, most).map(Zeroizing::new)
}

fn open(path: &Path) -> Result<File, CredentialFileError> {
    File::open(path).map_err(|error| CredentialFileError::new(path, Problem::Io(error.to_string())))
}

fn read(path: &Path, file: File, most: u64) -> Result<Vec<u8>, CredentialFileError> {
    let bad = |problem| CredentialFileError::new(path, problem);
    // Room for all of it at once, so that no copy of a key is left behind by growing.
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let room = usize::try_from(length.min(most)).unwrap_or_default() + USUAL_FILE;
    let mut octets = Vec::with_capacity(room);
    file.take(most + 1)
        .read_to_end(&mut octets)
        .map_err(|error| bad(Problem::Io(error.to_string())))?;
    if octets.len() as u64 > most {
        return Err(bad(Problem::TooLong(most)));
    }
    Ok(octets)
}

/// Every certificate and key is a SEQUENCE. A text may begin with the same octet, a zero, before its first block.
fn is_der(octets: &[u8]) -> bool {
    let begin = PEM_BEGIN.as_bytes();
    octets.first() == Some(&0x30) && !octets.windows(begin.len()).any(|text| text == begin)
}

/// The octets of a PEM block, whatever the length of its lines.
fn secret_octets(block: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut decoder = pkcs8::der::pem::Decoder::new_detect_wrap(block.as_bytes())
        .map_err(|error| error.to_string())?;
    // Room for all of it, for the same reason.
    let mut octets = Zeroizing::new(Vec::with_capacity(decoder.remaining_len()));
    decoder
        .decode_to_end(&mut octets)
        .map_err(|error| error.to_string())?;
    Ok(octets)
}

/// Each encapsulated block with its label, without the text between blocks; `None` for one without an end.
fn pem_blocks(text: &str) -> impl Iterator<Item = Option<(&str, &str)>> {
    text.match_indices(PEM_BEGIN).map(|(begin, _)| {
        let rest = &text[begin..];
        let (label, _) = rest[PEM_BEGIN.len()..].split_once(PEM_DASHES)?;
        let end = rest.find(PEM_END)? + PEM_END.len();
        let dashes = rest[end..].find(PEM_DASHES)?;
        Some((label, &rest[..end + dashes + PEM_DASHES.len()]))
    })
}

/// A file that cannot be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CredentialFileError {
    file: PathBuf,
    problem: Problem,
}

impl CredentialFileError {
    fn new(file: &Path, problem: Problem) -> Self {
        Self {
            file: file.to_path_buf(),
            problem,
        }
    }

    /// What is wrong, without the file's name.
    pub fn reason(&self) -> String {
        self.problem.to_string()
    }
}

impl fmt::Display for CredentialFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.problem)
    }
}

impl core::error::Error for CredentialFileError {}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Problem {
    CutOff,
    Exposed(u32),
    Io(String),
    NoCertificate,
    NoKey,
    NotDer(String),
    NotPem(String),
    NotPkcs8(String),
    TooLong(u64),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutOff => f.write_str("a PEM block in it has no END line: is the file cut off?"),
            Self::Exposed(mode) => write!(
                f,
                "others can read it (mode {mode:03o}): chmod 600, and consider what it holds known"
            ),
            Self::Io(detail) => write!(f, "cannot be read: {detail}"),
            Self::NoCertificate => {
                f.write_str("it holds no certificate; expected PEM (\"BEGIN CERTIFICATE\") or DER")
            }
            Self::NoKey => f.write_str(
                "it holds no key; expected unencrypted PKCS#8, in PEM (\"BEGIN PRIVATE KEY\") or DER: openssl genpkey makes one"
            ),
            Self::NotDer(detail) => write!(f, "what is in it is not DER: {detail}"),
            Self::NotPem(detail) => write!(f, "its PEM is broken: {detail}"),
            Self::NotPkcs8(label) => write!(
                f,
                "\"{label}\" was found, expected an unencrypted PKCS#8 key (\"PRIVATE KEY\"): openssl pkcs8 -topk8 -nocrypt"
            ),
            Self::TooLong(most) => write!(f, "it is longer than {most} octets"),
        }
    }
}

/// A PEM file of a key or a certificate has some hundred to some thousand octets.
const USUAL_FILE: usize = 16 * 1024;

/// The longest file that is read where the caller names no other bound, in octets.
const MAX_FILE: u64 = 256 * 1024;

const PEM_BEGIN: &str = "-----BEGIN ";
const PEM_END: &str = "-----END ";
const PEM_DASHES: &str = "-----";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn file(folder: &Path, name: &str, content: &[u8], mode: u32) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn pem_and_der_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        // Text that begins as DER does, and is no UTF-8.
        let text = format!("0 text\n{}\n{}", certificate.pem(), certificate.pem());
        let text = [text.as_bytes(), b"\nM\xfcnchen\n"].concat();
        let path = file(folder.path(), "c.pem", &text, 0o644);
        let der = certificate.der().to_vec();
        assert_eq!(
            read_certificates(&path).unwrap(),
            [der.clone(), der.clone()]
        );
        let path = file(folder.path(), "c.der", &der, 0o644);
        assert_eq!(read_certificates(&path).unwrap(), [der]);
        let pem = key.serialize_pem();
        let lines: Vec<_> = pem.lines().collect();
        let (first, inner, last) = (lines[0], &lines[1..lines.len() - 1], lines[lines.len() - 1]);
        let one_line = format!("0 text\n{first}\n{}\n{last}\n", inner.concat());
        for (name, content) in [
            ("k.pem", key.serialize_pem().into_bytes()),
            ("k.der", key.serialize_der()),
            // On a single line.
            ("l.pem", one_line.into_bytes()),
        ] {
            let read = read_key(&file(folder.path(), name, &content, 0o600)).unwrap();
            assert_eq!(read.as_bytes(), key.serialize_der());
        }
    }

    #[test]
    fn several_keys_are_read_in_order_and_other_blocks_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let keys = [(); 2].map(|()| rcgen::KeyPair::generate().unwrap());
        let parameters =
            "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
        let text = keys
            .each_ref()
            .map(rcgen::KeyPair::serialize_pem)
            .join(parameters);
        let path = file(
            folder.path(),
            "k.pem",
            (parameters.to_owned() + &text).as_bytes(),
            0o600,
        );
        let der = keys.each_ref().map(rcgen::KeyPair::serialize_der);
        let read = read_keys_within(&path, 4096).unwrap();
        assert_eq!(
            read.iter()
                .map(SecretDocument::as_bytes)
                .collect::<Vec<_>>(),
            der
        );
        assert_eq!(read_key(&path).unwrap().as_bytes(), der[0]);
        let length = fs::metadata(&path).unwrap().len();
        assert!(read_keys_within(&path, length).is_ok());
        let text = read_keys_within(&path, length - 1).unwrap_err().to_string();
        assert!(
            text.contains("k.pem") && text.contains("longer than"),
            "{text}"
        );
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_the_file_and_the_mend() {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let old = key.replace("PRIVATE KEY", "EC PRIVATE KEY");
        let exposed = file(folder.path(), "exposed.key", key.as_bytes(), 0o640);
        let sec1 = file(folder.path(), "sec1.key", old.as_bytes(), 0o600);
        let cut = file(folder.path(), "cut.key", &key.as_bytes()[..90], 0o600);
        let garbled = key.replace("MI", "!!");
        let garbled = file(folder.path(), "garbled.key", garbled.as_bytes(), 0o600);
        let no_der = file(folder.path(), "no.der", &[0x30, 9], 0o600);
        let none = file(folder.path(), "none.key", b"no PEM at all", 0o600);
        for (path, parts) in [
            (exposed, ["exposed.key", "mode 640", "chmod 600"]),
            (sec1, ["sec1.key", "EC PRIVATE KEY", "openssl pkcs8"]),
            (cut, ["cut.key", "no END", "cut off"]),
            (garbled, ["garbled.key", "PEM", "broken"]),
            (no_der, ["no.der", "not DER", "in it"]),
            (none, ["none.key", "no key", "PKCS#8"]),
            (
                folder.path().to_path_buf(),
                ["/", "cannot be read", "not a file"],
            ),
            (
                folder.path().join("absent"),
                ["absent", "cannot be read", "No such"],
            ),
        ] {
            let text = read_key(&path).unwrap_err().to_string();
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        }
        for (name, content, says) in [
            ("key.pem", key.as_bytes(), "no certificate"),
            ("text.pem", b"nothing", "no certificate"),
            ("empty.pem", b"", "no certificate"),
            (
                "cut.pem",
                b"-----BEGIN CERTIFICATE-----\nMAMCAQE=\n",
                "cut off",
            ),
            (
                "garbled.pem",
                b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
                "PEM is broken",
            ),
            (
                "lost.pem",
                b"-----BEGIN CERTIFICATE-----\nMAMCAQ==\n-----END CERTIFICATE-----\n",
                "not DER",
            ),
            ("long.pem", &[b'x'; 300_000], "longer than"),
        ] {
            let path = file(folder.path(), name, content, 0o644);
            let text = read_certificates(&path).unwrap_err().to_string();
            assert!(text.contains(name) && text.contains(says), "{text}");
        }
    }
}
