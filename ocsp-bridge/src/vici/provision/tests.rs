use super::*;
use crate::fixture;
use crate::vici::scripted::{ScriptedLedger, revoked_now};

/// What is kept in step needs a configuration and metrics; no daemon is there.
async fn parts() -> (SyncConfig, ViciMetrics) {
    let (_, client, recorded) = ScriptedLedger::start().await;
    let config = SyncConfig {
        socket: "nowhere".into(),
        recorded,
        authorities: vec!["http://127.0.0.1:8888/".to_owned()],
        close_unidentified: false,
        dry_run: false,
    };
    (config, ViciMetrics::new(client))
}

fn authority(name: &str) -> Authority {
    Authority::read(&fixture::Authority::new(name).certificate).unwrap()
}

/// A refresh that went well and brings these, valid as of that block.
fn brings(authorities: &[Authority], height: u64) -> Refreshed {
    let valid = |authority: &Authority| (authority.hash, Status::Valid, Height(height));
    Refreshed {
        listed: Ok(()),
        fetched: authorities.to_vec(),
        failed: Vec::new(),
        statuses: authorities.iter().map(valid).collect(),
        is_whole: true,
    }
}

fn trusted_by(provision: &Provision<'_>) -> Vec<CertificateHash> {
    let trusted = provision.authorities.trusted(now());
    trusted.map(|authority| authority.hash).collect()
}

#[tokio::test]
async fn what_is_revoked_during_the_refresh_that_brings_it_is_not_trusted() {
    let (config, metrics) = parts().await;
    let [a, b] = ["A", "B"].map(authority);
    let mut provision = Provision::new(&config, &metrics);
    provision.hear(a.hash, revoked_now(), Height(5), true);
    assert!(provision.take(brings(&[a.clone(), b.clone()], 4)));
    assert_eq!(trusted_by(&provision), [b.hash]);
    // Without a refresh under way, what is said of others is not kept.
    provision.forget_heard();
    provision.hear(a.hash, revoked_now(), Height(6), false);
    assert!(provision.heard.is_empty());
    // What is valid again meanwhile is.
    let mut provision = Provision::new(&config, &metrics);
    provision.hear(a.hash, revoked_now(), Height(5), true);
    provision.hear(a.hash, Status::Valid, Height(6), true);
    assert!(provision.take(brings(core::slice::from_ref(&a), 4)));
    assert_eq!(trusted_by(&provision), [a.hash]);
}

#[tokio::test]
async fn a_refresh_that_was_overtaken_brings_nobody_and_is_done_again() {
    let (config, metrics) = parts().await;
    let a = authority("A");
    let mut provision = Provision::new(&config, &metrics);
    // More is said than is kept: somebody among those may be the one that comes.
    for number in 0..MAX_HEARD {
        let hash = CertificateHash::of(&number.to_be_bytes());
        provision.hear(hash, revoked_now(), Height(1), true);
    }
    assert!(!provision.is_overtaken);
    provision.hear(a.hash, revoked_now(), Height(2), true);
    assert!(provision.is_overtaken);
    assert_eq!(provision.heard.len(), MAX_HEARD);
    let is_whole = provision.take(brings(core::slice::from_ref(&a), 1));
    assert!(!is_whole, "it must be done again soon");
    assert_eq!(trusted_by(&provision), []);
    provision.forget_heard();
    assert!(provision.heard.is_empty());
    assert!(provision.take(brings(core::slice::from_ref(&a), 3)));
    assert_eq!(trusted_by(&provision), [a.hash]);
}

#[tokio::test]
async fn authorities_are_bounded() {
    let (config, metrics) = parts().await;
    let first = authority("A");
    let many: Vec<Authority> = (0..=MAX_AUTHORITIES)
        .map(|number| {
            let mut authority = first.clone();
            authority.hash = CertificateHash::of(&number.to_be_bytes());
            authority
        })
        .collect();
    let mut provision = Provision::new(&config, &metrics);
    provision.take(brings(&many, 1));
    assert_eq!(provision.authorities.len(), MAX_AUTHORITIES);
    // One that is not recorded any more makes room.
    let gone = many[0].hash;
    let mut refreshed = brings(&[], 2);
    refreshed
        .statuses
        .push((gone, Status::NotRecorded, Height(2)));
    provision.take(refreshed);
    assert_eq!(provision.authorities.len(), MAX_AUTHORITIES - 1);
    let last = many[MAX_AUTHORITIES].hash;
    provision.take(brings(&many[MAX_AUTHORITIES..], 3));
    assert!(provision.authorities.contains(&last));
}
