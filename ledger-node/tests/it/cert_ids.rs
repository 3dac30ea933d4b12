//! The look-up by OCSP CertID and the list of issuers, over a loopback socket.

use bytes::Bytes;
use hyper::Method;
use ledger::{
    CertId, CertIdAnswer, CertificateHash, Class, HashAlgorithm, IssuerId, ParsedCertificate,
};
use ledger_node::IssuerPage;
use rcgen::{BasicConstraints, IsCa, KeyPair, KeyUsagePurpose};
use serde_json::json;

use crate::fixture::{Served, device, params, run, submission};

fn own_id(algorithm: HashAlgorithm, der: &[u8]) -> CertId {
    let certificate = ParsedCertificate::parse(der).unwrap();
    CertId::new(IssuerId::of(algorithm, &certificate), certificate.serial()).unwrap()
}

/// 2026-01-01T00:00:00Z, when the first block of the fixture is.
const BLOCK_TIME: u64 = 1_767_225_600_000;

#[tokio::test]
async fn a_certificate_is_found_by_its_cert_id() {
    let served = Served::start().await;
    let (known, unknown) = (device("one"), device("two"));
    run(&served.node, submission(vec![known.clone()])).await;
    for algorithm in HashAlgorithm::ALL {
        let (status, answer) = served
            .get(&format!("/v1/certid/{}", own_id(algorithm, &known)))
            .await;
        assert_eq!(status, 200);
        assert_eq!(
            answer,
            json!({"hashes": [CertificateHash::of(&known)], "issuer_served": true, "height": 1, "block_time": BLOCK_TIME})
        );
        serde_json::from_value::<CertIdAnswer>(answer).unwrap();
        let (status, answer) = served
            .get(&format!("/v1/certid/{}", own_id(algorithm, &unknown)))
            .await;
        assert_eq!(status, 200);
        assert_eq!(
            answer,
            json!({"hashes": [], "issuer_served": false, "height": 1, "block_time": BLOCK_TIME})
        );
    }
    served.stop().await;
}

#[tokio::test]
async fn what_is_no_cert_id_is_refused() {
    let served = Served::start().await;
    let (hash, long) = ("11".repeat(20), "01".repeat(22));
    for path in [
        String::new(),
        "sha1".to_owned(),
        format!("sha1/{hash}/{hash}/"),
        format!("sha1/{hash}/{hash}/0"),
        format!("sha1/{hash}/{hash}/{long}"),
        format!("sha1/{hash}/{hash}/01/02"),
        format!("sha256/{hash}/{hash}/01"),
        format!("md5/{hash}/{hash}/01"),
        format!("sha1/{hash}/{}/01", "zz".repeat(20)),
    ] {
        let (status, answer) = served.get(&format!("/v1/certid/{path}")).await;
        assert_eq!(
            (status, answer["error"].as_str()),
            (400, Some("bad-cert-id")),
            "{path}"
        );
    }
    let path = format!("/v1/certid/sha1/{hash}/{hash}/01");
    let (status, _) = served.call(Method::POST, &path, Bytes::new()).await;
    assert_eq!(status, 405);
    let (status, _) = served.get(&path).await;
    assert_eq!(status, 200);
    served.stop().await;
}

#[tokio::test]
async fn issuers_are_listed() {
    let served = Served::start().await;
    let mut authorities = Vec::new();
    for name in ["Root 1", "Root 2"] {
        let mut params = params(name, "ACME Femto");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        authorities.push(params.self_signed(&key).unwrap().der().to_vec());
    }
    run(
        &served.node,
        ledger::Body::Submit {
            certificates: authorities.clone(),
            class: Class::Ca,
        },
    )
    .await;
    run(&served.node, submission(vec![device("henb")])).await;

    let (status, answer) = served.get("/v1/issuers").await;
    assert_eq!((status, &answer["next"]), (200, &json!(null)));
    let whole: IssuerPage = serde_json::from_value(answer.clone()).unwrap();
    assert_eq!(whole.issuers.len(), 2);
    assert_eq!(answer["issuers"][0]["status"], "valid");
    assert_eq!(answer["issuers"][0]["names"][0]["algorithm"], "sha1");
    let (_, first) = served.get("/v1/issuers?limit=1").await;
    let next = first["next"].as_str().unwrap();
    let (_, second) = served
        .get(&format!("/v1/issuers?after={next}&limit=1"))
        .await;
    assert_eq!(second["next"], json!(null));
    assert_eq!(
        json!([first["issuers"][0], second["issuers"][0]]),
        answer["issuers"]
    );

    // What is listed is what a CertID is answered by.
    let name = &whole.issuers[0].names[1];
    let path = format!(
        "/v1/certid/{}/{}/{}/77",
        name.algorithm, name.name, name.key
    );
    let (_, answer) = served.get(&path).await;
    assert_eq!(answer["issuer_served"], true);

    for query in ["limit=0", "limit=257", "limit=x", "after=00", "from=1"] {
        let (status, answer) = served.get(&format!("/v1/issuers?{query}")).await;
        assert_eq!(
            (status, answer["error"].as_str()),
            (400, Some("bad-query")),
            "{query}"
        );
    }
    served.stop().await;
}
