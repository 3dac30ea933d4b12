//! Certificates in files.

use std::fs;
use std::path::Path;

use ledger::{CertificateHash, MAX_CERTIFICATE};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::Failure;

/// The certificates of a file, octet by octet as they are there: all of a PEM file, the one of a DER file.
pub(super) fn read(file: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let octets = fs::read(file).map_err(|error| Failure(format!("{}: {error}", file.display())))?;
    parse(&octets).map_err(|problem| Failure(format!("{}: {problem}", file.display())))
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

fn parse(octets: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    // Every certificate is a SEQUENCE; no text begins so.
    let certificates = if octets.first() == Some(&0x30) {
        vec![octets.to_vec()]
    } else {
        CertificateDer::pem_slice_iter(octets)
            .map(|der| der.map(|der| der.to_vec()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("not PEM: {error}"))?
    };
    if certificates.is_empty() {
        return Err(
            "it holds no certificate; expected PEM (\"BEGIN CERTIFICATE\") or DER".to_owned(),
        );
    }
    for (index, der) in certificates.iter().enumerate() {
        if der.len() > MAX_CERTIFICATE {
            return Err(format!(
                "certificate {} has {} octets; the ledger takes at most {MAX_CERTIFICATE}",
                index + 1,
                der.len()
            ));
        }
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (b"-----BEGIN CERTIFICATE-----\nMAMCAQE=\n", "not PEM"),
            (
                b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
                "not PEM",
            ),
            (&long, "at most"),
        ] {
            let error = parse(octets).unwrap_err();
            assert!(error.contains(says), "{error}");
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
