//! Certificates in files.

use std::path::Path;

use ledger::{CertificateHash, MAX_CERTIFICATE};
use settings::credential::read_certificates_within;

use super::{Failure, failure};

/// The certificates of a file, octet by octet as they are there: all of a PEM file, the one of a DER file.
pub(super) fn read(file: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let certificates = read_certificates_within(file, MAX_FILE).map_err(failure)?;
    for (index, der) in certificates.iter().enumerate() {
        if der.len() > MAX_CERTIFICATE {
            return Err(Failure(format!(
                "{}: certificate {} has {} octets; the ledger takes at most {MAX_CERTIFICATE}",
                file.display(),
                index + 1,
                der.len()
            )));
        }
    }
    Ok(certificates)
}

/// The hashes that an argument means: itself, or those of a file's certificates.
pub(super) fn hashes(argument: &str) -> Result<Vec<CertificateHash>, Failure> {
    if let Ok(hash) = argument.parse() {
        return Ok(vec![hash]);
    }
    let file = Path::new(argument);
    if !file.exists() {
        return Err(Failure(format!(
            "{argument}: neither a file nor a hash of 64 lower-case hexadecimal digits"
        )));
    }
    Ok(read(file)?
        .iter()
        .map(|der| CertificateHash::of(der))
        .collect())
}

/// Octets in one file: a hundred thousand certificates in PEM, and room.
const MAX_FILE: u64 = 256 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn parse(octets: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.pem");
        fs::write(&file, octets).unwrap();
        read(&file).map_err(|error| error.to_string())
    }

    #[test]
    fn pem_gives_the_octets_as_they_are() {
        let pem = "text before\n-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n\
            -----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n\
            -----BEGIN CERTIFICATE-----\r\nMIEDAgEB\r\n-----END CERTIFICATE-----\r\n";
        // The second is BER that is not DER: the ledger is to judge it, not this program.
        assert_eq!(
            parse(pem.as_bytes()),
            Ok(vec![vec![0x30, 3, 2, 1, 1], vec![0x30, 0x81, 3, 2, 1, 1]])
        );
        assert_eq!(parse(&[0x30, 0]), Ok(vec![vec![0x30, 0]]));
    }

    #[test]
    fn files_without_a_certificate_are_named() {
        let long = [&[0x30][..], &[0; MAX_CERTIFICATE]].concat();
        for (octets, says) in [
            (&b""[..], "no certificate"),
            (b"-----BEGIN CERTIFICATE-----\nMAMCAQE=\n", "cut off"),
            (
                b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
                "PEM is broken",
            ),
            (&long, "at most"),
        ] {
            let error = parse(octets).unwrap_err();
            assert!(error.contains(says) && error.contains("a.pem: "), "{error}");
        }
        assert!(
            hashes("no-such-file")
                .unwrap_err()
                .to_string()
                .contains("64")
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("empty.pem");
        fs::write(&file, "").unwrap();
        let error = hashes(file.to_str().unwrap()).unwrap_err().to_string();
        assert!(error.contains("empty.pem: it holds no"), "{error}");
    }

    #[test]
    fn a_hash_is_taken_as_it_is() {
        let text = "01".repeat(32);
        assert_eq!(
            hashes(&text).unwrap(),
            [CertificateHash::from_octets([1; 32])]
        );
    }
}
