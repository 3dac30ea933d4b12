//! What a handshake cannot do without.

use criterion::{Criterion, criterion_group, criterion_main};
use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, KeyPair as _};

/// The public-key operations of a responder: one X25519 key made and agreed, one ECDSA P-256 signature made and one verified.
fn responder_crypto_floor(c: &mut Criterion) {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, &random)
        .expect("a key");
    let key = EcdsaKeyPair::from_pkcs8(
        &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
        pkcs8.as_ref(),
        &random,
    )
    .expect("a key");
    let peer = EphemeralPrivateKey::generate(&X25519, &random).expect("a key");
    let peer = peer.compute_public_key().expect("a public key");
    let octets = [7u8; 800];
    let presented = key.sign(&random, &octets).expect("a signature");
    let public = signature::UnparsedPublicKey::new(
        &signature::ECDSA_P256_SHA256_ASN1,
        key.public_key().as_ref().to_vec(),
    );
    c.bench_function("responder_crypto_floor", |b| {
        b.iter(|| {
            let own = EphemeralPrivateKey::generate(&X25519, &random).expect("a key");
            let value = own.compute_public_key().expect("a public key");
            let secret = agree_ephemeral(
                own,
                &UnparsedPublicKey::new(&X25519, peer.as_ref()),
                |secret| secret[0],
            )
            .expect("a secret");
            public.verify(&octets, presented.as_ref()).expect("valid");
            let made = key.sign(&random, &octets).expect("a signature");
            (value, secret, made)
        });
    });
}

criterion_group!(benches, responder_crypto_floor);
criterion_main!(benches);
