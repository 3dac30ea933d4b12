//! Names and keys for certificates that this program makes.

use clap::ValueEnum;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
};

/// Which key is made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum KeyKind {
    /// ECDSA on P-256: the fastest to sign with, understood everywhere.
    #[default]
    P256,
    /// ECDSA on P-384: some twenty times slower.
    P384,
    /// Ed25519: older relying parties do not know it.
    Ed25519,
}

impl KeyKind {
    pub(super) fn generate(self) -> Result<KeyPair, String> {
        let algorithm = match self {
            Self::P256 => &PKCS_ECDSA_P256_SHA256,
            Self::P384 => &PKCS_ECDSA_P384_SHA384,
            Self::Ed25519 => &PKCS_ED25519,
        };
        KeyPair::generate_for(algorithm).map_err(|error| format!("no key could be made: {error}"))
    }
}

/// What every signer certificate has (RFC 6960 §4.2.2.2, RFC 9919 section 3.2.2): digitalSignature,
/// OCSPSigning, and no OCSP for itself.
pub(super) fn signer_params(common_name: &str, organisation: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    if let Some(organisation) = organisation {
        name.push(DnType::OrganizationName, organisation);
    }
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
    let no_check =
        rcgen::CustomExtension::from_oid_content(ID_PKIX_OCSP_NOCHECK, DER_NULL.to_vec());
    params.custom_extensions = vec![no_check];
    params
}

/// RFC 6960 §4.2.2.2.1.
const ID_PKIX_OCSP_NOCHECK: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 48, 1, 5];

const DER_NULL: &[u8] = &[5, 0];
