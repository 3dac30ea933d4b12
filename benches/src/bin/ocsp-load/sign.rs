//! One signature, many times: whoever measures takes the CPU time of the process.

use clap::Args;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

#[derive(Args)]
pub(super) struct Sign {
    /// How many signatures.
    #[arg(long)]
    count: u64,
    /// The length of what is signed.
    #[arg(long, default_value_t = 200)]
    octets: usize,
}

impl Sign {
    pub(super) fn run(&self) -> Result<Value, String> {
        let unspecified = |error| format!("ring: {error}");
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
            .map_err(unspecified)?;
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random)
                .map_err(|error| format!("ring: {error}"))?;
        let mut message = vec![0; self.octets];
        for number in 0..self.count {
            let octets = number.to_be_bytes();
            let length = octets.len().min(message.len());
            message[..length].copy_from_slice(&octets[..length]);
            let signature = key.sign(&random, &message).map_err(unspecified)?;
            std::hint::black_box(signature);
        }
        Ok(json!({ "signatures": self.count }))
    }
}
