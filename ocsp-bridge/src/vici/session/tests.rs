use ledger_client::Change;
use ocsp::UnixTime;
use rcgen::{PKCS_ECDSA_P256_SHA256, SanType};
use tokio::time::sleep;

use super::*;
use crate::fixture;
use crate::vici::scripted::{ScriptedDaemon, ScriptedLedger};
use crate::vici::table::IkeSa;

#[tokio::test]
async fn an_answer_from_before_a_resynchronisation_does_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = ScriptedDaemon::start(folder.path().join("vici"));
    let (ledger, client, recorded) = ScriptedLedger::start().await;
    let config = SyncConfig {
        socket: daemon.socket.clone(),
        recorded: recorded.clone(),
        authorities: Vec::new(),
        close_unidentified: false,
        dry_run: false,
    };
    let metrics = ViciMetrics::new(client.clone());
    let (_tell, mut told) = watch::channel(Authorities::new());
    let (mut changes, mut fetches) = (client.subscribe(), Fetches::new(recorded));
    let mut session = Session::open(
        &config,
        &client,
        &metrics,
        &mut changes,
        &mut fetches,
        &mut told,
    )
    .await
    .unwrap();
    let mut params = fixture::params("a.test");
    params.subject_alt_names = vec![SanType::DnsName("a.test".try_into().unwrap())];
    let certificate = fixture::self_signed(&PKCS_ECDSA_P256_SHA256, params).1;
    let hash = ledger.records(&certificate);
    session.table.insert(IkeSa {
        id: 1,
        connection: "c".to_owned(),
        identity: "a.test".to_owned(),
        established: UnixTime(1),
    });
    let named = NamedCertificate::read(&certificate).unwrap();
    assert!(session.table.offer(&named), "it is to be asked about");
    session.ask();
    assert!(session.asked.contains(&hash));
    // Its answer is there, and waits to be taken.
    sleep(Duration::from_millis(300)).await;
    session.changed(Change::Resynchronise);
    assert!(session.inquiries.join_next().await.is_none());
    // It is asked about again, and that counts.
    session.ask();
    let (hash, outcome) = session.inquiries.join_next().await.unwrap().unwrap();
    session.answered(hash, outcome);
    assert!(session.table.unknown().next().is_none());
}
