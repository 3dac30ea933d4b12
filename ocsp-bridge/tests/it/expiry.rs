//! A signer comes to its end.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ledger::CertificateHash;
use ocsp_bridge::bridge::Bridge;

use crate::bridge::{ANY, Node, Says, ask, becomes, config, operations, until_ready, write_signer};

/// A signer that is valid for so long; its last second.
fn write_brief_signer(folder: &Path, name: &str, life: Duration) -> u64 {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::OcspSigning];
    let end = SystemTime::now() + life;
    params.not_after = end.into();
    let certificate = params.self_signed(&key).unwrap();
    fs::write(folder.join(format!("{name}.pem")), certificate.der()).unwrap();
    let path = folder.join(format!("{name}.key"));
    fs::write(&path, key.serialize_der()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    end.duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn nothing_is_signed_past_the_signers_end_and_everybody_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let end = write_brief_signer(folder.path(), "brief", Duration::from_secs(4));
    write_signer(folder.path(), "next");
    let node = Node::start(ANY, Default::default()).await;
    node.record(1, CertificateHash::from_octets([1; 32]));
    let bridge = Bridge::start(config(folder.path(), node.address, "brief"))
        .await
        .unwrap();
    let address = bridge.addresses()[0];
    until_ready(&bridge, true).await;
    let (_, text) = operations(&bridge, "/metrics").await;
    let line = format!("ledgate_ocsp_bridge_signer_not_after_seconds {end}");
    assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    assert_eq!(ask(address, 1).await, Says::Good);
    // No answer outlives the signer, so none is left in the cache.
    let internal_error = Says::Error(2);
    becomes(address, 1, internal_error).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    assert!(now.as_secs() >= end, "refused before its end");
    let why = until_ready(&bridge, false).await;
    assert!(
        why.contains("a signer certificate is not valid now"),
        "{why}"
    );
    // It is not taken again; another one ends it.
    let error = bridge
        .reload(config(folder.path(), node.address, "brief"))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("brief.pem") && error.contains("expired"),
        "{error}"
    );
    assert_eq!(ask(address, 1).await, internal_error);
    bridge
        .reload(config(folder.path(), node.address, "next"))
        .await
        .unwrap();
    assert_eq!(ask(address, 1).await, Says::Good);
    until_ready(&bridge, true).await;
    bridge.stop().await;
    node.serving.abort();
}
