//! `ocsp-bridge delegate-csr`.

use std::path::PathBuf;

use clap::Args;
use rcgen::KeyPair;
use rustls_pki_types::PrivatePkcs8KeyDer;
use settings::credential::read_key;

use super::secret_file::{write_public, write_secret};
use super::subject::{KeyKind, signer_params};
#[cfg(feature = "pkcs11")]
use super::token_key;

#[derive(Args)]
pub(super) struct DelegateCsrArgs {
    /// The signer's key, PKCS#8. It is made if it is not there.
    #[cfg_attr(
        feature = "pkcs11",
        arg(
            long,
            value_name = "FILE",
            required_unless_present = "pkcs11_module",
            conflicts_with = "pkcs11_module"
        )
    )]
    #[cfg_attr(
        not(feature = "pkcs11"),
        arg(long, value_name = "FILE", required = true)
    )]
    key: Option<PathBuf>,
    #[cfg(feature = "pkcs11")]
    #[command(flatten)]
    token: token_key::TokenArgs,
    /// The kind of key, if it is made.
    #[arg(long, value_enum, default_value_t)]
    key_kind: KeyKind,
    /// The common name that is asked for.
    #[arg(long, value_name = "NAME")]
    subject: String,
    /// The organisation that is asked for.
    #[arg(long, value_name = "NAME")]
    organisation: Option<String>,
    /// The file for the request, in PEM.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(args: &DelegateCsrArgs) -> Result<(), String> {
    if args.out.exists() {
        return Err(format!(
            "{}: is there already and is not overwritten; take another --out",
            args.out.display()
        ));
    }
    #[cfg(feature = "pkcs11")]
    if let Some(place) = args.token.place()? {
        let request = request(args, &token_key::open(&place)?)?;
        return write_request(args, &request, &token_key::toml(&place));
    }
    let Some(path) = &args.key else {
        return Err("--key FILE: expected where the signer's key is".to_owned());
    };
    let (key, made) = if path.exists() {
        let pkcs8 = read_key(path).map_err(|error| error.to_string())?;
        let key = KeyPair::try_from(&PrivatePkcs8KeyDer::from(pkcs8.as_bytes()))
            .map_err(|error| format!("{}: cannot be used: {error}", path.display()))?;
        (key, false)
    } else {
        (args.key_kind.generate()?, true)
    };
    let request = request(args, &key)?;
    if made {
        let pem = zeroize::Zeroizing::new(key.serialize_pem());
        write_secret(path, pem.as_bytes())?;
        println!("{}: a new key: keep it", path.display());
    }
    write_request(args, &request, &format!("key = \"{}\"", path.display()))
}

fn request(args: &DelegateCsrArgs, key: &impl rcgen::SigningKey) -> Result<String, String> {
    signer_params(&args.subject, args.organisation.as_deref())
        .serialize_request(key)
        .and_then(|request| request.pem())
        .map_err(|error| format!("no request could be made: {error}"))
}

fn write_request(args: &DelegateCsrArgs, request: &str, key: &str) -> Result<(), String> {
    write_public(&args.out, request.as_bytes())?;
    println!(
        "{}: the request. The CA must certify the extended key usage OCSPSigning, and should certify\n\
         id-pkix-ocsp-nocheck; both are asked for, but not every CA copies them. Then, in the configuration:\n\n\
         [[delegate]]\nissuer = \"CA.pem\"\ncertificate = \"...\"\n{key}",
        args.out.display(),
    );
    Ok(())
}
