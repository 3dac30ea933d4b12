//! The list of an issuer's revocations, over a loopback socket.

use bytes::Bytes;
use hyper::Method;
use ledger::{
    Body, CertificateHash, Class, HashAlgorithm, IssuerId, ParsedCertificate, RevocationPage,
};
use rcgen::{BasicConstraints, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::json;

use crate::fixture::{Served, params, run, submission};

#[tokio::test]
async fn what_changed_is_listed_by_issuer() {
    let served = Served::start().await;
    let mut root = params("Root", "ACME Femto");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().unwrap();
    let authority = root.self_signed(&key).unwrap().der().to_vec();
    let issuer = Issuer::new(root, key);
    let devices: Vec<_> = ["one", "two"]
        .map(|name| {
            let key = KeyPair::generate().unwrap();
            let params = params(name, "ACME Femto");
            params.signed_by(&key, &issuer).unwrap().der().to_vec()
        })
        .into();
    run(
        &served.node,
        Body::Submit {
            certificates: vec![authority.clone()],
            class: Class::Ca,
        },
    )
    .await;
    run(&served.node, submission(devices.clone())).await;
    for der in &devices {
        let hash = CertificateHash::of(der);
        run(&served.node, Body::Suspend { hash }).await;
    }
    let id = IssuerId::of(
        HashAlgorithm::Sha256,
        &ParsedCertificate::parse(&authority).unwrap(),
    );
    let path = format!("/v1/issuers/{id}/revoked");
    let (status, answer) = served.get(&path).await;
    assert_eq!(status, 200);
    assert_eq!(answer["entries"][0]["reason"], "certificateHold");
    assert_eq!(answer["next"], "4");
    assert_eq!(answer["complete"], true);
    let whole: RevocationPage = serde_json::from_value(answer).unwrap();
    assert_eq!(whole.entries.len(), 2);
    let (_, first) = served.get(&format!("{path}?limit=1")).await;
    assert_eq!(first["complete"], false);
    let next = first["next"].as_str().unwrap();
    assert_eq!(next, format!("3-{}", CertificateHash::of(&devices[0])));
    let (_, second) = served.get(&format!("{path}?after={next}&limit=1")).await;
    assert_eq!(
        (&second["entries"][0]["changed"], &second["complete"]),
        (&json!(4), &json!(true))
    );
    let (_, later) = served.get(&format!("{path}?after=4")).await;
    assert_eq!(later["entries"], json!([]));

    for query in ["limit=0", "limit=4097", "after=x", "after=-1", "from=1"] {
        let (status, answer) = served.get(&format!("{path}?{query}")).await;
        assert_eq!(
            (status, answer["error"].as_str()),
            (400, Some("bad-query")),
            "{query}"
        );
    }
    let sha1 = IssuerId::of(
        HashAlgorithm::Sha1,
        &ParsedCertificate::parse(&authority).unwrap(),
    );
    for issuer in [sha1.to_string(), "sha256/00".to_owned(), String::new()] {
        let (status, answer) = served.get(&format!("/v1/issuers/{issuer}/revoked")).await;
        assert_eq!(
            (status, answer["error"].as_str()),
            (400, Some("bad-issuer")),
            "{issuer}"
        );
    }
    let (status, _) = served.call(Method::POST, &path, Bytes::new()).await;
    assert_eq!(status, 405);
    served.stop().await;
}
