use ledger::{CertificateHash, Status};
use rcgen::{PKCS_ECDSA_P256_SHA256, SanType};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::fixture;
use crate::vici::message::Section;
use crate::vici::scripted::{Mood, ScriptedDaemon, ScriptedLedger, revoked_now, until};

/// A daemon, a ledger, and what follows the one for the other.
struct Stage {
    folder: tempfile::TempDir,
    daemon: ScriptedDaemon,
    ledger: ScriptedLedger,
    client: Client,
    metrics: Arc<ViciMetrics>,
    config: SyncConfig,
    following: Option<JoinHandle<()>>,
}

const URI: &str = "http://127.0.0.1:8888/";

impl Stage {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let daemon = ScriptedDaemon::start(folder.path().join("vici"));
        let (ledger, client, recorded) = ScriptedLedger::start().await;
        let config = SyncConfig {
            socket: daemon.socket.clone(),
            recorded,
            authorities: Vec::new(),
            close_unidentified: false,
            dry_run: false,
        };
        Self {
            folder,
            daemon,
            ledger,
            metrics: Arc::new(ViciMetrics::new(client.clone())),
            client,
            config,
            following: None,
        }
    }

    async fn follow(&mut self) {
        let (config, client) = (self.config.clone(), self.client.clone());
        let metrics = Arc::clone(&self.metrics);
        self.following = Some(tokio::spawn(async move {
            follow(&config, &client, &metrics).await;
        }));
        let metrics = &self.metrics;
        until("ready", || metrics.problems().is_empty()).await;
    }

    /// A recorded device that is in, and whose certificate the daemon knows.
    fn device(&self, id: u64, name: &str) -> CertificateHash {
        let certificate = certificate(name);
        self.daemon.knows(&certificate);
        self.daemon.has(id, name, 5);
        self.ledger.records(&certificate)
    }

    async fn gone(&self, id: u64) {
        until("it is gone", || !self.daemon.is_in(id)).await;
    }
}

fn certificate(name: &str) -> Vec<u8> {
    let mut params = fixture::params(name);
    params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
    fixture::self_signed(&PKCS_ECDSA_P256_SHA256, params).1
}

#[tokio::test]
async fn a_revocation_closes_its_tunnel_and_no_other() {
    let mut stage = Stage::new().await;
    let (a, _b) = (stage.device(1, "a.test"), stage.device(2, "b.test"));
    stage.follow().await;
    stage.ledger.revokes(a);
    stage.gone(1).await;
    assert!(stage.daemon.is_in(2));
    until("answers are flushed again", || {
        stage.daemon.count("flush-certs") >= 2
    })
    .await;
    let metrics = &stage.metrics;
    until("it is counted", || {
        metrics
            .text()
            .unwrap()
            .contains("vici_tunnels_closed_total{reason=\"certificate\"} 1\n")
    })
    .await;
    let text = metrics.text().unwrap();
    for line in [
        "ledgate_ocsp_bridge_vici_daemon_connected 1\n",
        "ledgate_ocsp_bridge_vici_daemon_connects_total 1\n",
        "ledgate_ocsp_bridge_vici_ledger_changes_total 1\n",
        "ledgate_ocsp_bridge_vici_tunnels 1\n",
        "ledgate_ocsp_bridge_vici_tunnels_unidentified 0\n",
        "ledgate_ocsp_bridge_vici_closings_waiting 0\n",
        "ledgate_ocsp_bridge_vici_closing_seconds_count 1\n",
        "ledgate_ocsp_bridge_vici_block_to_closing_seconds_count 1\n",
        "ledgate_ocsp_bridge_ledger_stream_up 1\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[tokio::test]
async fn what_was_revoked_before_is_closed_at_the_beginning() {
    let mut stage = Stage::new().await;
    let hash = stage.device(1, "a.test");
    stage.ledger.says(hash, revoked_now());
    stage.follow().await;
    stage.gone(1).await;
}

#[tokio::test]
async fn a_certificate_that_the_daemon_forgot_is_fetched_until_a_node_gives_it() {
    let mut stage = Stage::new().await;
    let hash = stage.ledger.records(&certificate("a.test"));
    stage.daemon.has(1, "a.test", 5);
    stage.daemon.has(2, "b.test", 5);
    stage.ledger.is_away(true);
    stage.follow().await;
    stage.ledger.revokes(hash);
    until("it waits", || {
        let text = stage.metrics.text().unwrap();
        text.contains("vici_fetches_waiting 1\n")
    })
    .await;
    sleep(Duration::from_millis(300)).await;
    assert!(stage.daemon.is_in(1), "nobody knows whose tunnel it is");
    stage.ledger.is_away(false);
    stage.gone(1).await;
    assert!(stage.daemon.is_in(2));
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let mut stage = Stage::new().await;
    let hash = stage.device(1, "a.test");
    let vendor = fixture::Authority::new("Vendor").certificate;
    stage.ledger.records_authority(&vendor);
    stage.config.dry_run = true;
    stage.config.authorities = vec![URI.to_owned()];
    stage.follow().await;
    stage.ledger.revokes(hash);
    sleep(Duration::from_millis(500)).await;
    assert!(stage.daemon.is_in(1));
    for command in ["terminate", "flush-certs", "load-authority"] {
        assert_eq!(stage.daemon.count(command), 0, "{command}");
    }
}

#[tokio::test]
async fn who_cannot_be_identified_stays_unless_it_is_asked_for() {
    for close_unidentified in [false, true] {
        let mut stage = Stage::new().await;
        stage.config.close_unidentified = close_unidentified;
        stage.daemon.has(1, "a.test", 5);
        stage.follow().await;
        if close_unidentified {
            stage.gone(1).await;
        } else {
            sleep(Duration::from_millis(300)).await;
            assert!(stage.daemon.is_in(1));
        }
    }
}

#[tokio::test]
async fn a_slow_daemon_has_half_of_its_threads_for_closings() {
    for (threads, mood, at_once) in [
        (12, None, 6),
        (40, None, 20),
        (1_000, None, 30),
        // One that does not tell has charon's sixteen.
        (40, Some(Mood::Refuses), 8),
        (40, Some(Mood::Forgets), 8),
    ] {
        let mut stage = Stage::new().await;
        stage.config.close_unidentified = true;
        stage.daemon.has_threads(threads);
        stage.daemon.treats("stats", mood);
        stage.daemon.treats("terminate", Some(Mood::Hangs));
        for id in 1..=30 {
            stage.daemon.has(id, &format!("{id}.test"), 5);
        }
        stage.follow().await;
        until("all that may are under way", || {
            stage.daemon.count("terminate") == at_once
        })
        .await;
        sleep(Duration::from_millis(200)).await;
        assert_eq!(stage.daemon.count("terminate"), at_once, "{threads}");
    }
}

#[tokio::test]
async fn events_bring_and_take_tunnels() {
    let mut stage = Stage::new().await;
    stage.follow().await;
    let certificate = certificate("a.test");
    let hash = stage.ledger.records(&certificate);
    stage.daemon.knows(&certificate);
    // What is unknown or incomplete changes nothing.
    stage.daemon.tell("never-heard-of", &Section::new());
    stage
        .daemon
        .tell("ike-updown", &Section::new().with("up", "yes"));
    let nameless = Section::new().with("uniqueid", "9");
    stage.daemon.tell(
        "ike-updown",
        &Section::new().with("up", "yes").with_section("c", nameless),
    );
    stage.daemon.comes_up(1, "a.test");
    let gone = Section::new().with_section("c", Section::new().with("uniqueid", "7"));
    stage.daemon.tell("ike-updown", &gone);
    let metrics = &stage.metrics;
    until("it is there", || {
        metrics.text().unwrap().contains("vici_tunnels 1\n")
    })
    .await;
    let new = Section::new()
        .with("uniqueid", "2")
        .with("remote-id", "a.test")
        .with("established", "0");
    let rekeyed = Section::new()
        .with_section("old", Section::new().with("uniqueid", "1"))
        .with_section("new", new);
    stage.daemon.has(2, "a.test", 0);
    stage
        .daemon
        .tell("ike-rekey", &Section::new().with_section("c", rekeyed));
    stage.ledger.revokes(hash);
    stage.gone(2).await;
}

#[tokio::test]
async fn a_daemon_that_refuses_or_breaks_is_told_again() {
    for mood in [Mood::Refuses, Mood::Breaks, Mood::Raves, Mood::Forgets] {
        let mut stage = Stage::new().await;
        let hash = stage.device(1, "a.test");
        stage.follow().await;
        stage.daemon.treats("terminate", Some(mood));
        stage.ledger.revokes(hash);
        until("it was told", || stage.daemon.count("terminate") > 0).await;
        if mood == Mood::Refuses {
            // The next listing would find it; that is some seconds away.
            continue;
        }
        stage.daemon.treats("terminate", None);
        stage.gone(1).await;
    }
}

#[tokio::test]
async fn a_daemon_that_does_not_list_is_asked_again_and_everything_else_goes_on() {
    let mut stage = Stage::new().await;
    let (a, b) = (stage.device(1, "a.test"), stage.device(2, "b.test"));
    stage.follow().await;
    // It answers neither a flush nor a listing of certificates: closings do not wait for those.
    stage.daemon.treats("flush-certs", Some(Mood::Hangs));
    stage.daemon.treats("list-certs", Some(Mood::Hangs));
    stage.daemon.comes_up(3, "c.test");
    stage.ledger.revokes(a);
    stage.gone(1).await;
    stage.ledger.revokes(b);
    stage.gone(2).await;

    let mut stage = Stage::new().await;
    let hash = stage.device(1, "a.test");
    stage.daemon.treats("list-certs", Some(Mood::Breaks));
    stage.follow().await;
    until("it was asked again", || {
        stage.daemon.count("list-certs") > 1
    })
    .await;
    stage.daemon.treats("list-certs", None);
    stage.ledger.revokes(hash);
    stage.gone(1).await;
}

#[tokio::test]
async fn a_daemon_that_goes_is_waited_for_and_what_was_revoked_meanwhile_counts() {
    let mut stage = Stage::new().await;
    let hash = stage.device(1, "a.test");
    // The daemon will not know this one's certificate.
    let forgotten = stage.ledger.records(&certificate("b.test"));
    stage.follow().await;
    let socket = stage.daemon.socket.clone();
    std::fs::remove_file(&socket).unwrap();
    stage.daemon = ScriptedDaemon::start(stage.folder.path().join("other"));
    until("the loss is noticed", || {
        let problems = stage.metrics.problems();
        problems == ["the IKE daemon is not connected"]
    })
    .await;
    stage.ledger.revokes(hash);
    stage.ledger.revokes(forgotten);
    sleep(Duration::from_millis(300)).await;
    stage.daemon = ScriptedDaemon::start(socket);
    stage.daemon.knows(&certificate("x.test"));
    stage.daemon.has(1, "a.test", 60);
    stage.daemon.has(2, "b.test", 60);
    stage.daemon.has(3, "c.test", 60);
    stage.gone(1).await;
    stage.gone(2).await;
    assert!(stage.daemon.is_in(3));
}

#[tokio::test]
async fn a_daemon_that_sends_no_packets_is_left() {
    let mut stage = Stage::new().await;
    stage.daemon.treats("version", Some(Mood::Raves));
    let (config, client) = (stage.config.clone(), stage.client.clone());
    let metrics = Arc::clone(&stage.metrics);
    let following = tokio::spawn(async move { follow(&config, &client, &metrics).await });
    until("it was asked again", || stage.daemon.count("version") > 1).await;
    assert_eq!(
        stage.metrics.problems(),
        ["the IKE daemon is not connected"]
    );
    stage.daemon.treats("version", None);
    let hash = stage.device(1, "a.test");
    until("ready", || stage.metrics.problems().is_empty()).await;
    stage.ledger.revokes(hash);
    stage.gone(1).await;
    // It ends with the client.
    stage.client.shutdown().await;
    following.await.unwrap();
    stage.following = None;
}

fn name(hash: CertificateHash) -> String {
    format!("ledgate-{hash}")
}

#[tokio::test]
async fn valid_authorities_are_trusted_and_others_left_alone() {
    let mut stage = Stage::new().await;
    let vendors: Vec<_> = ["A", "B", "C"]
        .map(|name| fixture::Authority::new(name).certificate)
        .into();
    let a = stage.ledger.records_authority(&vendors[0]);
    let c = stage.ledger.records_authority(&vendors[2]);
    // From an earlier run: one that is to stay, one with another URI, one that is not recorded any more.
    let uris = |uri: &str| Section::new().with_list("ocsp_uris", &[uri]);
    let unrecorded = CertificateHash::of(b"unrecorded");
    stage.daemon.load(&name(a), uris(URI));
    stage.daemon.load(&name(c), uris("http://192.0.2.1/"));
    stage.daemon.load(&name(unrecorded), uris(URI));
    for theirs in ["operator", "ledgate-1", "ledgate-"] {
        stage.daemon.load(theirs, uris("http://192.0.2.9/"));
    }
    stage.config.authorities = vec![URI.to_owned()];
    stage.follow().await;
    let expect = |wanted: &[CertificateHash]| {
        let mut names = vec!["ledgate-".to_owned(), "ledgate-1".to_owned()];
        names.extend(wanted.iter().map(|hash| name(*hash)));
        names.push("operator".to_owned());
        names.sort();
        names
    };
    until("both are there", || {
        stage.daemon.authorities() == expect(&[a, c])
    })
    .await;
    let loaded = stage.daemon.authority(&name(c)).unwrap();
    assert_eq!(loaded.value("cacert"), Some(vendors[2].as_slice()));
    assert!(loaded.list("ocsp_uris").eq([URI.as_bytes()]));
    let kept = stage.daemon.authority(&name(a)).unwrap();
    assert_eq!(kept.value("cacert"), None, "it was not loaded again");

    // Recorded, suspended, resumed.
    let b = stage.ledger.records_authority(&vendors[1]);
    until("all are there", || {
        stage.daemon.authorities() == expect(&[a, b, c])
    })
    .await;
    stage.ledger.says(
        b,
        Status::Suspended {
            since: ledger::BlockTime(1),
        },
    );
    until("it is gone", || {
        stage.daemon.authorities() == expect(&[a, c])
    })
    .await;
    stage.ledger.says(b, Status::Valid);
    until("it is back", || {
        stage.daemon.authorities() == expect(&[a, b, c])
    })
    .await;
    // A device that is recorded is none.
    stage.ledger.records(&certificate("a.test"));
    // swanctl removes what is not in its file.
    stage.daemon.unload_all();
    until("they are loaded again", || {
        let mut names = [a, b, c].map(name);
        names.sort();
        stage.daemon.authorities() == names
    })
    .await;
}

#[tokio::test]
async fn an_authority_that_is_revoked_takes_its_tunnels_along() {
    let mut stage = Stage::new().await;
    let vendor = fixture::Authority::new("Vendor");
    let authority = stage.ledger.records_authority(&vendor.certificate);
    let mut params = fixture::params("a.test");
    params.subject_alt_names = vec![SanType::DnsName("a.test".try_into().unwrap())];
    let device = vendor.issue(&PKCS_ECDSA_P256_SHA256, params).1;
    stage.ledger.records(&device);
    stage.daemon.knows(&device);
    stage.daemon.has(1, "a.test", 5);
    stage.device(2, "b.test");
    stage.config.authorities = vec![URI.to_owned()];
    stage.follow().await;
    until("it is trusted", || {
        stage.daemon.authorities() == [name(authority)]
    })
    .await;
    assert!(stage.daemon.is_in(1));
    stage.ledger.revokes(authority);
    stage.gone(1).await;
    until("it is not trusted", || {
        stage.daemon.authorities().is_empty()
    })
    .await;
    assert!(stage.daemon.is_in(2));
}

#[tokio::test]
async fn authorities_that_are_unloaded_together_are_looked_for_once() {
    let mut stage = Stage::new().await;
    let root = fixture::Authority::new("Root");
    let hash = stage.ledger.records_authority(&root.certificate);
    for number in 0..20 {
        let mut params = fixture::params(&format!("Vendor {number}"));
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let vendor = root.issue(&PKCS_ECDSA_P256_SHA256, params).1;
        stage.ledger.records_authority(&vendor);
    }
    stage.config.authorities = vec![URI.to_owned()];
    stage.follow().await;
    until("all are trusted", || stage.daemon.authorities().len() == 21).await;
    assert_eq!(stage.daemon.count("list-certs CA"), 0);
    // Past the time in which nothing is taken away.
    sleep(Duration::from_millis(800)).await;
    // Nor does anything wait for that look.
    stage.daemon.treats("list-certs", Some(Mood::Hangs));
    stage.ledger.revokes(hash);
    until("none is trusted", || stage.daemon.authorities().is_empty()).await;
    until("they are looked for", || {
        stage.daemon.count("list-certs CA") > 0
    })
    .await;
    let late = fixture::Authority::new("Late").certificate;
    let late = stage.ledger.records_authority(&late);
    until("a vendor is trusted", || {
        stage.daemon.authorities() == [name(late)]
    })
    .await;
    assert_eq!(stage.daemon.count("unload-authority"), 21);
    assert_eq!(stage.daemon.count("list-certs CA"), 1);
}

#[tokio::test]
async fn a_look_for_what_was_unloaded_that_failed_is_done_again() {
    let mut stage = Stage::new().await;
    let vendor = fixture::Authority::new("Vendor").certificate;
    let hash = stage.ledger.records_authority(&vendor);
    stage.config.authorities = vec![URI.to_owned()];
    stage.follow().await;
    until("it is trusted", || {
        stage.daemon.authorities() == [name(hash)]
    })
    .await;
    stage.daemon.treats("list-certs", Some(Mood::Breaks));
    stage.ledger.revokes(hash);
    until("it is looked for again", || {
        stage.daemon.count("list-certs CA") > 1
    })
    .await;
    stage.daemon.treats("list-certs", None);
    let before = stage.daemon.count("list-certs CA");
    until("that is done", || {
        stage.daemon.count("list-certs CA") > before
    })
    .await;
    let done = stage.daemon.count("list-certs CA");
    sleep(Duration::from_millis(1_500)).await;
    assert_eq!(stage.daemon.count("list-certs CA"), done);
}

/// A stage whose daemon has, from an earlier run, an authority with a device that is in by it as 1, while 2 is in by
/// another. The device's certificate is valid.
async fn adopted() -> (Stage, Vec<u8>, CertificateHash) {
    let mut stage = Stage::new().await;
    let vendor = fixture::Authority::new("Vendor");
    let authority = stage.ledger.records_authority(&vendor.certificate);
    let mut params = fixture::params("a.test");
    params.subject_alt_names = vec![SanType::DnsName("a.test".try_into().unwrap())];
    let device = vendor.issue(&PKCS_ECDSA_P256_SHA256, params).1;
    stage.ledger.records(&device);
    stage.daemon.knows(&device);
    stage.daemon.has(1, "a.test", 5);
    stage.device(2, "b.test");
    let section = Section::new().with_list("ocsp_uris", &[URI]);
    stage.daemon.load(&name(authority), section);
    stage.config.authorities = vec![URI.to_owned()];
    (stage, vendor.certificate, authority)
}

#[tokio::test]
async fn an_adopted_authority_takes_its_tunnels_along_though_no_node_lists_authorities() {
    for is_before in [true, false] {
        let (mut stage, certificate, authority) = adopted().await;
        stage.daemon.knows(&certificate);
        stage.ledger.is_away(true);
        if is_before {
            stage.ledger.revokes(authority);
        }
        stage.follow().await;
        if !is_before {
            sleep(Duration::from_millis(300)).await;
            stage.ledger.revokes(authority);
        }
        stage.gone(1).await;
        until("it is not trusted", || {
            stage.daemon.authorities().is_empty()
        })
        .await;
        assert!(stage.daemon.is_in(2));
    }
}

#[tokio::test]
async fn an_adopted_authority_that_is_not_recorded_is_not_kept_until_the_next_refresh() {
    let mut stage = Stage::new().await;
    let vendor = fixture::Authority::new("Vendor").certificate;
    stage.daemon.knows(&vendor);
    let section = Section::new().with_list("ocsp_uris", &[URI]);
    stage
        .daemon
        .load(&name(CertificateHash::of(&vendor)), section);
    stage.config.authorities = vec![URI.to_owned()];
    stage.follow().await;
    until("it is not trusted", || {
        stage.daemon.authorities().is_empty()
    })
    .await;
}

#[tokio::test]
async fn an_authority_that_was_unloaded_unread_is_fetched_for_its_tunnels() {
    let (mut stage, _, authority) = adopted().await;
    stage.ledger.is_away(true);
    stage.ledger.lists_nothing(true);
    stage.ledger.revokes(authority);
    stage.follow().await;
    until("it is not trusted", || {
        stage.daemon.authorities().is_empty()
    })
    .await;
    sleep(Duration::from_millis(300)).await;
    assert!(stage.daemon.is_in(1), "nobody knows what it issued");
    stage.ledger.is_away(false);
    stage.gone(1).await;
    assert!(stage.daemon.is_in(2));
}

#[tokio::test]
async fn an_authority_that_the_daemon_refuses_is_not_offered_over_and_over() {
    let mut stage = Stage::new().await;
    let vendor = fixture::Authority::new("Vendor").certificate;
    stage.ledger.records_authority(&vendor);
    stage.daemon.treats("load-authority", Some(Mood::Refuses));
    stage.config.authorities = vec![URI.to_owned()];
    stage.follow().await;
    until("it was offered", || {
        stage.daemon.count("load-authority") > 0
    })
    .await;
    until("the daemon was looked at", || {
        stage.daemon.count("get-authorities") > 1
    })
    .await;
    assert_eq!(stage.daemon.count("load-authority"), 1);
    let text = stage.metrics.text().unwrap();
    assert!(
        text.contains("vici_authorities_refused_total 1\n"),
        "{text}"
    );
}

#[tokio::test]
async fn what_an_earlier_run_loaded_is_judged_though_no_node_lists_authorities() {
    let mut stage = Stage::new().await;
    let [before, meanwhile, valid] =
        ["A", "B", "C"].map(|name| fixture::Authority::new(name).certificate);
    let [before, meanwhile, valid] =
        [before, meanwhile, valid].map(|vendor| stage.ledger.records_authority(&vendor));
    stage.ledger.revokes(before);
    stage.ledger.is_away(true);
    for hash in [before, meanwhile, valid] {
        let section = Section::new().with_list("ocsp_uris", &[URI]);
        stage.daemon.load(&name(hash), section);
    }
    stage.config.authorities = vec![URI.to_owned()];
    stage.follow().await;
    let mut names = [meanwhile, valid].map(name);
    names.sort();
    until("the revoked one is gone", || {
        stage.daemon.authorities() == names
    })
    .await;
    stage.ledger.revokes(meanwhile);
    until("that one, too", || {
        stage.daemon.authorities() == [name(valid)]
    })
    .await;
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(following) = &self.following {
            following.abort();
        }
    }
}
