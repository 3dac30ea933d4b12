use ledger::{BlockTime, RevocationReason};
use rcgen::PKCS_ECDSA_P256_SHA256;

use super::*;
use crate::fixture;
use crate::vici::issuer::{Authority, IssuedBy};

const NOW: u64 = 10_000;

fn sa(id: u64, identity: &str) -> IkeSa {
    IkeSa {
        id,
        connection: "c".to_owned(),
        identity: identity.to_owned(),
        established: UnixTime(NOW),
    }
}

fn certificate(number: u8, name: &str) -> NamedCertificate {
    NamedCertificate {
        hash: CertificateHash::of(&[number]),
        names: [canonical(name)].into(),
        issued_by: IssuedBy::nobody(),
    }
}

fn revoked(at: u64) -> Status {
    Status::Revoked {
        reason: RevocationReason::KeyCompromise,
        time: BlockTime(at * 1_000),
    }
}

fn suspended(at: u64) -> Status {
    Status::Suspended {
        since: BlockTime(at * 1_000),
    }
}

/// As if the daemon knew no certificate that was not offered yet.
fn compare(table: &mut Table) -> Vec<IkeSa> {
    table.begin_comparison();
    table.end_comparison()
}

/// Two devices, each with its certificate, both valid.
fn two() -> (Table, NamedCertificate, NamedCertificate) {
    let mut table = Table::new();
    assert!(table.insert(sa(1, "henb1.lab.test")));
    assert!(table.insert(sa(2, "henb2.lab.test")));
    assert!(!table.insert(sa(2, "henb2.lab.test")));
    let (a, b) = (
        certificate(1, "HENB1.lab.test"),
        certificate(2, "henb2.lab.test"),
    );
    assert!(table.needs_certificates());
    assert!(table.offer(&a) && table.offer(&b));
    assert!(!table.offer(&certificate(3, "nobody")));
    assert_eq!(compare(&mut table), []);
    assert!(!table.needs_certificates());
    assert_eq!(table.unknown().count(), 2);
    table.judge(&a.hash, Status::Valid, Height(1), None);
    table.judge(&b.hash, Status::Valid, Height(1), None);
    assert_eq!(table.unknown().count(), 0);
    assert!(!table.offer(&a));
    assert_eq!(table.closings(), []);
    (table, a, b)
}

fn ids(closings: &[Closing]) -> Vec<u64> {
    closings.iter().map(|closing| closing.sa.id).collect()
}

#[test]
fn an_event_closes_whom_it_concerns_once() {
    for status in [
        revoked(1),
        suspended(1),
        Status::Expired,
        Status::Superseded {
            by: CertificateHash::of(b"new"),
        },
    ] {
        let (mut table, a, b) = two();
        table.judge(&a.hash, status, Height(1), Some(UnixTime(NOW + 5)));
        let closings = table.closings_by(&a.hash);
        assert_eq!(ids(&closings), [1]);
        let reason = Reason::Certificate {
            hash: a.hash,
            status,
        };
        assert_eq!(closings[0].reason, reason);
        assert_eq!(table.closings_by(&a.hash), []);
        assert_eq!(table.closings_by(&b.hash), []);
        // An older word changes nothing.
        table.judge(&a.hash, Status::Valid, Height(0), None);
        // It is still there at the next listing: once more.
        table.begin_sweep();
        table.insert(sa(1, "henb1.lab.test"));
        table.insert(sa(2, "henb2.lab.test"));
        table.sweep();
        assert_eq!(ids(&table.closings()), [1]);
    }
}

#[test]
fn what_the_ledger_never_recorded_neither_condemns_nor_saves() {
    let (mut table, a, b) = two();
    table.judge(
        &b.hash,
        Status::NotRecorded,
        Height(1),
        Some(UnixTime(NOW + 5)),
    );
    assert_eq!(table.closings(), []);
    let other = certificate(3, "henb1.lab.test");
    assert!(table.offer(&other));
    table.judge(&other.hash, Status::NotRecorded, Height(1), None);
    // Long before the SA, so that only the second rule can close it.
    table.judge(&a.hash, revoked(NOW - 100), Height(1), None);
    assert_eq!(ids(&table.closings_by(&a.hash)), [1]);
}

#[test]
fn a_renewed_certificate_saves_those_who_came_after_the_old_one_ended() {
    let (mut table, old, _) = two();
    let new = certificate(3, "henb1.lab.test");
    table.judge(&old.hash, revoked(NOW - MARGIN_S - 1), Height(1), None);
    assert!(table.offer(&new));
    // Not known yet, which is not a reason.
    assert_eq!(table.closings_by(&old.hash), []);
    table.judge(&new.hash, Status::Valid, Height(1), None);
    assert_eq!(table.closings_by(&old.hash), []);
    assert_eq!(table.closings(), []);
    // Another tunnel, as old as the revocation.
    table.insert(IkeSa {
        established: UnixTime(NOW - 1),
        ..sa(3, "henb1.lab.test")
    });
    assert!(!table.offer(&old), "its status is known");
    assert_eq!(ids(&table.closings()), [3]);
    table.judge(&old.hash, revoked(NOW - MARGIN_S), Height(1), None);
    assert_eq!(ids(&table.closings_by(&old.hash)), [1]);
}

#[test]
fn a_rekeyed_sa_is_as_old_as_its_first() {
    let (mut table, a, _) = two();
    let new = IkeSa {
        established: UnixTime(NOW + 1_000),
        ..sa(3, "henb1.lab.test")
    };
    table.rekeyed(1, new);
    assert_eq!(table.len(), 2);
    assert!(!table.needs_certificates());
    table.offer(&certificate(9, "henb1.lab.test"));
    table.judge(&CertificateHash::of(&[9]), Status::Valid, Height(1), None);
    table.judge(&a.hash, revoked(NOW + 500), Height(1), None);
    let closings = table.closings_by(&a.hash);
    assert_eq!(ids(&closings), [3]);
    // One that was not known before.
    table.rekeyed(77, sa(78, "henb9.lab.test"));
    assert!(table.needs_certificates());
}

#[test]
fn a_sweep_forgets_what_is_gone() {
    let (mut table, a, b) = two();
    for expected in [2, 1] {
        table.begin_sweep();
        assert!(!table.insert(sa(2, "henb2.lab.test")));
        table.sweep();
        assert_eq!(table.len(), expected, "one listing may miss it");
    }
    table.judge(&a.hash, revoked(NOW), Height(1), Some(UnixTime(NOW)));
    assert_eq!(table.closings(), []);
    assert_eq!(
        (table.candidates.len(), table.candidates.sas(&b.hash)),
        (1, vec![2])
    );
    // The same number for another peer.
    assert!(table.insert(sa(2, "other")));
    assert_eq!(table.candidates.len(), 0);
    table.remove(2);
    assert!(table.is_empty() && table.by_name.is_empty() && table.candidates.len() == 0);
    assert!(table.unknown().count() == 0 && table.waiting.is_empty() && table.touched.is_empty());
}

#[test]
fn wildcards_hide_nobody() {
    let mut table = Table::new();
    table.insert(sa(1, "*.lab.test"));
    table.insert(sa(2, "a.lab.test"));
    assert_eq!(table.closings(), [], "certificates were not listed yet");
    assert_eq!(compare(&mut table).len(), 2);
    table.compare_again();
    assert!(table.needs_certificates());
    assert_eq!(compare(&mut table).len(), 2);
    table.touched.insert(1);
    let closings = table.closings();
    assert_eq!(ids(&closings), [1]);
    assert_eq!(closings[0].reason, Reason::Wildcard);
    // A certificate of that very name tells whose it is.
    let mut table = Table::new();
    table.insert(sa(1, "*.lab.test"));
    table.offer(&certificate(1, "*.lab.test"));
    assert_eq!(compare(&mut table), []);
    assert_eq!(table.closings(), []);
}

#[test]
fn candidates_are_bounded() {
    let mut table = Table::new();
    table.insert(sa(1, "a"));
    for number in 0..=u8::try_from(MAX_CANDIDATES).unwrap() {
        table.offer(&certificate(number, "a"));
    }
    assert_eq!(table.candidates.len(), MAX_CANDIDATES);
}

#[test]
fn a_certificate_that_was_fetched_late_is_none_of_who_came_later() {
    let (mut table, ..) = two();
    let fetched = certificate(3, "henb1.lab.test");
    table.insert(IkeSa {
        established: UnixTime(NOW + 100),
        ..sa(3, "henb1.lab.test")
    });
    table.offer_to_older(&fetched, UnixTime(NOW + 50));
    table.judge(
        &fetched.hash,
        revoked(NOW + 50),
        Height(2),
        Some(UnixTime(NOW + 50)),
    );
    assert_eq!(ids(&table.closings_by(&fetched.hash)), [1]);
}

#[test]
fn who_comes_while_certificates_are_listed_waits_for_the_next_listing() {
    let mut table = Table::new();
    table.insert(sa(1, "a"));
    table.begin_comparison();
    table.insert(sa(2, "b"));
    assert_eq!(table.end_comparison(), [sa(1, "a")]);
    assert!(table.needs_certificates());
    table.begin_comparison();
    assert!(!table.needs_certificates());
    table.abandon_comparison();
    assert!(table.needs_certificates());
    assert_eq!(compare(&mut table), [sa(2, "b")]);
}

#[test]
fn a_closing_is_begun_once() {
    let (mut table, ..) = two();
    assert!(table.begin_closing(1));
    assert!(!table.begin_closing(1));
    assert!(!table.begin_closing(77));
}

#[test]
fn a_rekeyed_sa_that_was_listed_before_keeps_both_its_and_the_old_candidates() {
    let (mut table, a, _) = two();
    table.insert(IkeSa {
        established: UnixTime(NOW + 1_000),
        ..sa(3, "henb1.lab.test")
    });
    let other = certificate(9, "henb1.lab.test");
    table.offer(&other);
    table.rekeyed(
        1,
        IkeSa {
            established: UnixTime(NOW + 1_000),
            ..sa(3, "henb1.lab.test")
        },
    );
    table.judge(&other.hash, Status::Valid, Height(1), None);
    table.judge(&a.hash, revoked(NOW + 500), Height(1), None);
    assert_eq!(ids(&table.closings_by(&a.hash)), [3]);
    table.remove(3);
    assert_eq!(table.candidates.sas(&other.hash), [] as [u64; 0]);
}

/// A device's certificate of a vendor's, and the vendor as an authority of which the ledger says `status`.
fn of_vendor(number: u8, status: Status, at: Option<UnixTime>) -> (NamedCertificate, Authorities) {
    let vendor = fixture::Authority::new("Vendor");
    let device = vendor
        .issue(&PKCS_ECDSA_P256_SHA256, fixture::params("HeNB"))
        .1;
    let mut authorities = Authorities::new();
    let authority = Authority::read(&vendor.certificate).unwrap();
    let hash = authority.hash;
    authorities.insert(authority);
    authorities.judge(&hash, status, Height(5), at);
    let issued_by = NamedCertificate::read(&device).unwrap().issued_by;
    let named = NamedCertificate {
        issued_by,
        ..certificate(number, "henb3.lab.test")
    };
    (named, authorities)
}

#[test]
fn an_authority_that_is_withdrawn_takes_its_tunnels_along() {
    let (mut table, ..) = two();
    let (named, authorities) = of_vendor(3, suspended(NOW + 5), None);
    table.insert(sa(3, "henb3.lab.test"));
    table.offer(&named);
    table.judge(&named.hash, Status::Valid, Height(1), None);
    assert_eq!(compare(&mut table), []);
    assert_eq!(table.closings(), []);
    table.set_authorities(authorities.clone());
    let closings = table.closings();
    assert_eq!(ids(&closings), [3]);
    let withdrawal = authorities.last_withdrawal().unwrap();
    assert_eq!(closings[0].reason, Reason::Authority(withdrawal));
    assert_eq!(closings[0].reason.name(), "authority");
    // Who comes in afterwards by the same certificate, which nobody should let in, goes too.
    table.remove(3);
    table.insert(IkeSa {
        established: UnixTime(NOW + 100),
        ..sa(4, "henb3.lab.test")
    });
    table.offer(&named);
    table.judge(&named.hash, Status::Valid, Height(1), None);
    assert_eq!(ids(&table.closings()), [4]);
    // Not who comes in by a certificate of another.
    table.insert(IkeSa {
        established: UnixTime(NOW + 100),
        ..sa(5, "henb3.lab.test")
    });
    let other = certificate(9, "henb3.lab.test");
    table.offer(&named);
    table.offer(&other);
    table.judge(&other.hash, Status::Valid, Height(1), None);
    assert_eq!(table.closings(), []);
}

#[test]
fn who_may_have_come_in_by_a_withdrawn_authority_goes_if_nobody_can_tell() {
    let (mut table, ..) = two();
    let (_, authorities) = of_vendor(3, revoked(NOW), Some(UnixTime(NOW + 5)));
    table.insert(sa(3, "x"));
    table.insert(IkeSa {
        connection: "psk".to_owned(),
        ..sa(4, "y")
    });
    table.insert(IkeSa {
        established: UnixTime(NOW + 50),
        ..sa(5, "z")
    });
    table.set_certified(["c".to_owned()].into());
    assert_eq!(compare(&mut table).len(), 3);
    assert_eq!(table.closings(), []);
    assert_eq!(table.unidentified(), 3);
    table.set_authorities(authorities.clone());
    let closings = table.closings();
    assert_eq!(ids(&closings), [3]);
    let withdrawal = authorities.last_withdrawal().unwrap();
    assert_eq!(closings[0].reason, Reason::Unidentified(withdrawal));
    // One that is new waits for its certificate first.
    table.insert(sa(6, "w"));
    assert_eq!(table.closings(), []);
    assert_eq!(compare(&mut table).len(), 1);
    assert_eq!(ids(&table.closings()), [6]);
    // The connection's kind may be learned later.
    table.set_certified(["c".to_owned(), "psk".to_owned()].into());
    assert_eq!(ids(&table.closings()), [4]);
}

#[test]
fn what_is_rekeyed_before_it_was_judged_is_judged_as_the_new_one() {
    let mut table = Table::new();
    table.insert(sa(1, "henb1.lab.test"));
    let a = certificate(1, "henb1.lab.test");
    table.offer(&a);
    assert_eq!(compare(&mut table), []);
    assert_eq!(table.closings(), [], "nothing is known of it yet");
    table.judge(&a.hash, revoked(NOW + 5), Height(1), None);
    table.touched.insert(1);
    // Known already, and judged: the event only moves the candidate over.
    table.insert(sa(2, "henb1.lab.test"));
    table.touched.remove(&2);
    table.rekeyed(1, sa(2, "henb1.lab.test"));
    assert_eq!(ids(&table.closings()), [2]);
}

#[test]
fn a_listing_that_failed_is_none_that_missed_anybody() {
    let (mut table, ..) = two();
    for _ in 0..2 {
        table.begin_sweep();
        table.abandon_sweep();
    }
    table.begin_sweep();
    assert!(!table.insert(sa(2, "henb2.lab.test")));
    table.sweep();
    assert_eq!(table.len(), 2, "one listing may miss it");
    table.begin_sweep();
    assert!(!table.insert(sa(2, "henb2.lab.test")));
    table.sweep();
    assert_eq!(table.len(), 1);
}
