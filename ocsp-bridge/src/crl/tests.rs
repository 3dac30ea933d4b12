//! CRLs from a node's pages, read back by a parser that is not ours.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use der::{Decode, Encode};
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use ledger::{
    BlockTime, CertificateHash, ChainId, Height, RevocationCursor, RevocationEntry, RevocationPage,
    RevocationReason,
};
use ocsp::UnixTime;
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, IsCa, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_ED25519,
};
use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BaseCrlNumber, CrlDistributionPoints, CrlNumber as CrlNumberExtension,
    CrlReason, SubjectKeyIdentifier,
};

use super::issuer::Fault;
use super::revocations::{PageError, Revocations};
use super::schedule::EXPIRED_KEPT;
use super::{
    Crl, CrlIssuer, CrlNumber, CrlPolicy, CrlSigner, CrlSignerError, CrlUnavailable, Crls,
};
use crate::fixture::{Authority, NOW, params, self_signed};
use crate::signer::SignerError;

const CHAIN: ChainId = ChainId::from_octets([7; 32]);
const LIFETIME: Duration = Duration::from_secs(600);
/// After every test's end.
const LATER: u64 = NOW.0 + 1_000_000;

fn entry(serial: u64, reason: RevocationReason, changed: u64) -> RevocationEntry {
    let mut octets = serial.to_be_bytes().to_vec();
    while octets.len() > 1 && octets[0] == 0 && octets[1] < 0x80 {
        octets.remove(0);
    }
    RevocationEntry {
        hash: CertificateHash::of(&octets),
        serial: octets,
        reason,
        time: BlockTime((NOW.0 - 10_000 + changed) * 1_000),
        not_after: LATER,
        changed: Height(changed),
    }
}

/// A ledger's list: the last change of each certificate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    entries: BTreeMap<CertificateHash, RevocationEntry>,
    height: u64,
}

impl Model {
    pub(crate) fn change(&mut self, serial: u64, reason: RevocationReason) {
        self.height += 1;
        let entry = entry(serial, reason, self.height);
        self.entries.insert(entry.hash, entry);
    }

    fn page(&self, after: RevocationCursor, limit: usize) -> RevocationPage {
        let mut entries: Vec<_> = self
            .entries
            .values()
            .filter(|entry| {
                entry.changed > after.height
                    || (entry.changed == after.height
                        && after.hash.is_some_and(|hash| entry.hash > hash))
            })
            .cloned()
            .collect();
        entries.sort_by_key(|entry| (entry.changed, entry.hash));
        let complete = entries.len() <= limit;
        entries.truncate(limit);
        let next = match entries.last() {
            Some(last) if !complete => RevocationCursor {
                height: last.changed,
                hash: Some(last.hash),
            },
            _ => RevocationCursor::end_of(Height(self.height)),
        };
        RevocationPage {
            entries,
            next,
            complete,
            issuer_served: true,
            height: Height(self.height),
            block_time: BlockTime(NOW.0 * 1_000),
            chain: CHAIN,
        }
    }

    fn read_into(&self, revocations: &mut Revocations, begin: UnixTime, limit: usize) {
        loop {
            let page = self.page(revocations.next(), limit);
            revocations.take(&page, begin).unwrap();
            if page.complete {
                return;
            }
        }
    }
}

pub(crate) fn policy() -> CrlPolicy {
    CrlPolicy {
        lifetime: LIFETIME,
        delta_lifetime: Duration::from_secs(60),
        url: Some("http://ocsp.example:8888".to_owned()),
        entries: 1_000,
        max_block_age: None,
    }
}

fn issuer_of(authority: &Authority, policy: CrlPolicy) -> Arc<CrlIssuer> {
    let certificate = &authority.certificate;
    let signer =
        CrlSigner::from_pkcs8(NOW, certificate, certificate, &authority.key_pkcs8()).unwrap();
    Arc::new(CrlIssuer::new(
        policy,
        signer,
        None,
        Duration::from_secs(30),
    ))
}

pub(crate) fn take(issuer: &CrlIssuer, model: &Model, now: UnixTime) {
    let page = model.page(issuer.revocations().next(), usize::MAX);
    issuer.take(&page, now).unwrap();
}

pub(crate) fn octets(crl: &Arc<Crl>) -> Vec<u8> {
    let body = crl.body().collect().now_or_never().unwrap().unwrap();
    let octets = body.to_bytes().to_vec();
    assert_eq!(octets.len() as u64, crl.length());
    octets
}

/// What a CRL says: serial numbers with their reasons; and its signature verifies.
fn read(
    crl: &Arc<Crl>,
    authority: &Authority,
) -> (CertificateList, BTreeMap<Vec<u8>, Option<CrlReason>>) {
    let der = octets(crl);
    let list: CertificateList = CertificateList::from_der(&der).unwrap();
    assert_eq!(list.to_der().unwrap(), der, "it is DER");
    let tbs = list.tbs_cert_list.to_der().unwrap();
    let certificate = Certificate::from_der(&authority.certificate).unwrap();
    let key = certificate.tbs_certificate().subject_public_key_info();
    ring::signature::UnparsedPublicKey::new(
        &ring::signature::ECDSA_P256_SHA256_ASN1,
        key.subject_public_key.raw_bytes(),
    )
    .verify(&tbs, list.signature.raw_bytes())
    .unwrap();
    assert_eq!(
        &list.tbs_cert_list.issuer,
        certificate.tbs_certificate().subject()
    );
    let revoked: Vec<_> = list
        .tbs_cert_list
        .revoked_certificates
        .iter()
        .flatten()
        .map(|revoked| {
            let reason = revoked.crl_entry_extensions.as_ref().map(|extensions| {
                assert_eq!(extensions.len(), 1);
                CrlReason::from_der(extensions[0].extn_value.as_bytes()).unwrap()
            });
            (revoked.serial_number.as_bytes().to_vec(), reason)
        })
        .collect();
    let map: BTreeMap<_, _> = revoked.iter().cloned().collect();
    assert_eq!(
        map.len(),
        revoked.len(),
        "a serial number stands there once"
    );
    (list, map)
}

fn extension<T: for<'a> Decode<'a, Error = der::Error> + const_oid::AssociatedOid>(
    list: &CertificateList,
) -> Option<(bool, T)> {
    let extensions = list.tbs_cert_list.crl_extensions.as_ref().unwrap();
    let found = extensions.iter().find(|one| one.extn_id == T::OID)?;
    Some((
        found.critical,
        T::from_der(found.extn_value.as_bytes()).unwrap(),
    ))
}

#[test]
fn a_full_crl_says_what_the_ledger_does() {
    let authority = Authority::new("CA");
    let issuer = issuer_of(&authority, policy());
    assert_eq!(issuer.full(NOW), Err(CrlUnavailable::Loading(0)));
    let mut model = Model::default();
    model.change(5, RevocationReason::KeyCompromise);
    model.change(0xfe, RevocationReason::CertificateHold);
    model.change(7, RevocationReason::Unspecified);
    model.change(8, RevocationReason::CertificateHold);
    model.change(9, RevocationReason::Superseded);
    model.change(8, RevocationReason::RemoveFromCrl);
    take(&issuer, &model, NOW);
    let crl = issuer.issue(NOW).unwrap().unwrap();
    assert_eq!(issuer.full(NOW), Ok(Arc::clone(&crl)));
    assert_eq!(crl.entries(), 4);
    let (list, revoked) = read(&crl, &authority);
    assert_eq!(
        revoked,
        BTreeMap::from([
            (vec![5], Some(CrlReason::KeyCompromise)),
            (vec![0, 0xfe], Some(CrlReason::CertificateHold)),
            (vec![7], None),
            (vec![9], Some(CrlReason::Superseded)),
        ])
    );
    let tbs = &list.tbs_cert_list;
    assert_eq!(tbs.this_update.to_unix_duration().as_secs(), NOW.0);
    assert_eq!(
        tbs.next_update.unwrap().to_unix_duration().as_secs(),
        NOW.0 + 600
    );
    let times: Vec<_> = tbs
        .revoked_certificates
        .iter()
        .flatten()
        .map(|revoked| revoked.revocation_date.to_unix_duration().as_secs())
        .collect();
    // In the order of serial numbers: 5, 7, 9, 00fe.
    assert_eq!(times, [1, 3, 5, 2].map(|height| NOW.0 - 10_000 + height));
    assert_eq!(tbs.crl_extensions.as_ref().unwrap().len(), 3);
    let certificate = Certificate::from_der(&authority.certificate).unwrap();
    let (_, id): (_, SubjectKeyIdentifier) = certificate
        .tbs_certificate()
        .get_extension()
        .unwrap()
        .unwrap();
    let (critical, key): (_, AuthorityKeyIdentifier) = extension(&list).unwrap();
    assert_eq!((critical, key.key_identifier), (false, Some(id.0)));
    let (critical, number): (_, CrlNumberExtension) = extension(&list).unwrap();
    let expected = CrlNumber::new(Height(6), NOW);
    assert_eq!(crl.number(), expected);
    assert_eq!(
        (critical, hex(number.0.as_bytes())),
        (false, expected.to_string())
    );
    let freshest = &tbs.crl_extensions.as_ref().unwrap()[2];
    assert_eq!(freshest.extn_id.to_string(), "2.5.29.46");
    let points = CrlDistributionPoints::from_der(freshest.extn_value.as_bytes()).unwrap();
    let url = format!(
        "http://ocsp.example:8888/crl/{}.delta.crl?base={expected}",
        issuer.name()
    );
    let point = points.0[0].to_der().unwrap();
    assert!(point.ends_with(url.as_bytes()), "{point:?}");
}

fn hex(octets: &[u8]) -> String {
    let digits: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    digits.trim_start_matches('0').to_owned()
}

#[test]
fn a_list_without_entries_is_left_out() {
    let authority = Authority::new("CA");
    let mut policy = policy();
    policy.url = None;
    let issuer = issuer_of(&authority, policy);
    take(&issuer, &Model::default(), NOW);
    let crl = issuer.issue(NOW).unwrap().unwrap();
    let (list, revoked) = read(&crl, &authority);
    assert!(revoked.is_empty());
    assert_eq!(list.tbs_cert_list.revoked_certificates, None);
    assert_eq!(list.tbs_cert_list.crl_extensions.unwrap().len(), 2);
}

#[test]
fn numbers_grow_with_changes_and_with_time_and_are_the_same_on_every_bridge() {
    let authority = Authority::new("CA");
    let (one, other) = (
        issuer_of(&authority, policy()),
        issuer_of(&authority, policy()),
    );
    let mut model = Model::default();
    model.change(1, RevocationReason::KeyCompromise);
    take(&one, &model, NOW);
    let first = one.issue(NOW).unwrap().unwrap();
    assert_eq!(one.issue(NOW).unwrap(), None, "nothing is due");
    // Within the period nothing is due, and a bridge that starts later issues the same.
    let now = NOW.plus(Duration::from_secs(299));
    assert_eq!(one.issue(now).unwrap(), None);
    take(&other, &model, now);
    let again = other.issue(now).unwrap().unwrap();
    assert_eq!(again.number(), first.number());
    assert_eq!(again.next_update(), first.next_update());
    // The next period.
    let now = NOW.plus(Duration::from_secs(300));
    let second = one.issue(now).unwrap().unwrap();
    assert!(second.number() > first.number());
    assert_eq!(second.this_update(), now);
    // A change.
    model.change(2, RevocationReason::KeyCompromise);
    take(&one, &model, now);
    let third = one.issue(now).unwrap().unwrap();
    assert!(third.number() > second.number());
    assert_eq!(third.number().height(), Height(2));
    // A clock that goes back issues nothing older.
    assert_eq!(one.issue(NOW).unwrap(), None);
}

#[test]
fn a_crl_that_ran_out_is_not_served_and_without_the_ledger_no_newer_one_is_issued() {
    let authority = Authority::new("CA");
    let certificate = &authority.certificate;
    let signer =
        CrlSigner::from_pkcs8(NOW, certificate, certificate, &authority.key_pkcs8()).unwrap();
    let issuer = CrlIssuer::new(policy(), signer, None, Duration::ZERO);
    take(&issuer, &Model::default(), NOW);
    std::thread::sleep(Duration::from_millis(2));
    assert_eq!(issuer.issue(NOW).unwrap(), None, "the answer is too old");
    assert!(issuer.full(NOW).is_err());

    let issuer = issuer_of(&authority, policy());
    take(&issuer, &Model::default(), NOW);
    let crl = issuer.issue(NOW).unwrap().unwrap();
    let end = crl.next_update();
    assert_eq!(issuer.full(UnixTime(end.0 - 1)), Ok(Arc::clone(&crl)));
    issuer.note("node: down".to_owned(), Fault::Here);
    assert!(matches!(issuer.full(end), Err(CrlUnavailable::Stale(_))));
    assert!(issuer.problem(end).unwrap().contains("run out"));
    // The octets go with it.
    let mut revived = policy();
    revived.max_block_age = Some(Duration::from_secs(10));
    issuer.issue(end).unwrap();
    let newer = issuer.newest().unwrap();
    assert!(newer.number() > crl.number());

    let issuer = issuer_of(&authority, revived);
    take(&issuer, &Model::default(), NOW);
    assert!(
        issuer
            .issue(NOW.plus(Duration::from_secs(10)))
            .unwrap()
            .is_some()
    );
    let issuer_late = issuer_of(&authority, issuer.policy().clone());
    take(&issuer_late, &Model::default(), NOW);
    assert_eq!(
        issuer_late
            .issue(NOW.plus(Duration::from_secs(11)))
            .unwrap(),
        None
    );
}

#[test]
fn what_every_bridge_meets_alike_is_a_remark() {
    let issuer = issuer_of(&Authority::new("CA"), policy());
    let crls = Crls::new(vec![Arc::clone(&issuer)]).unwrap();
    let told = || (crls.problems(NOW).len(), crls.remarks(NOW).len());
    assert_eq!(told(), (1, 0), "it is being read");
    let note = |error: PageError| {
        let fault = Fault::of(&error, issuer.newest().is_some());
        issuer.note(error.to_string(), fault);
        told()
    };
    assert_eq!(note(PageError::NotServed), (0, 1));
    assert!(crls.remarks(NOW)[0].contains("not recorded"));
    assert_eq!(note(PageError::Malformed("")), (1, 0));
    assert_eq!(note(PageError::TooMany(4)), (0, 1));
    take(&issuer, &Model::default(), NOW);
    assert_eq!(told(), (1, 0), "it is being made");
    let end = issuer.issue(NOW).unwrap().unwrap().next_update();
    assert_eq!(note(PageError::TooMany(4)), (0, 0), "one is there");
    assert_eq!(crls.remarks(end).len(), 1);
    // It was recorded: no record vanishes.
    note(PageError::NotServed);
    assert_eq!((crls.problems(end).len(), crls.remarks(end).len()), (1, 0));
}

#[test]
fn the_first_signer_to_expire_is_told() {
    assert_eq!(Crls::default().first_expiry(), None);
    let (early, late) = (Authority::new("Early"), Authority::new("Late"));
    let mut params = params("Early");
    params.key_usages = vec![KeyUsagePurpose::CrlSign];
    params.not_after = rcgen::date_time_ymd(2026, 8, 2);
    let (key, certificate) = early.issue(&PKCS_ECDSA_P256_SHA256, params);
    let signer = CrlSigner::from_pkcs8(NOW, &early.certificate, &certificate, &key).unwrap();
    let end = signer.not_after();
    let brief = CrlIssuer::new(policy(), signer, None, Duration::from_secs(30));
    let crls = Crls::new(vec![issuer_of(&late, policy()), Arc::new(brief)]).unwrap();
    assert_eq!(crls.first_expiry(), Some(end));
    assert!(end < issuer_of(&late, policy()).signer().not_after());
}

#[test]
fn expired_certificates_stay_for_a_while_and_leave() {
    let authority = Authority::new("CA");
    let issuer = issuer_of(&authority, policy());
    let mut model = Model::default();
    model.change(1, RevocationReason::KeyCompromise);
    model.change(2, RevocationReason::CertificateHold);
    model.change(3, RevocationReason::CertificateHold);
    for entry in model.entries.values_mut() {
        if entry.serial != [3] {
            entry.not_after = NOW.0 - 1;
        }
    }
    take(&issuer, &model, NOW);
    assert_eq!(issuer.issue(NOW).unwrap().unwrap().entries(), 3);
    let later = NOW.plus(EXPIRED_KEPT);
    let crl = issuer.issue(UnixTime(later.0 - 1)).unwrap().unwrap();
    assert_eq!(crl.entries(), 3);
    // On a CRL that was issued a day after their end, and not on the next one.
    let crl = issuer.issue(later).unwrap().unwrap();
    assert_eq!(
        read(&crl, &authority).1,
        BTreeMap::from([(vec![3], Some(CrlReason::CertificateHold))])
    );
}

#[tokio::test]
async fn a_delta_is_what_changed_since_its_base() {
    let authority = Authority::new("CA");
    let issuer = issuer_of(&authority, policy());
    let mut model = Model::default();
    model.change(1, RevocationReason::CertificateHold);
    model.change(2, RevocationReason::CertificateHold);
    model.change(3, RevocationReason::KeyCompromise);
    take(&issuer, &model, NOW);
    let base = issuer.issue(NOW).unwrap().unwrap();
    let empty = issuer.delta(NOW, Some(base.number())).await.unwrap();
    let (list, revoked) = read(&empty, &authority);
    assert!(revoked.is_empty());
    assert_eq!(list.tbs_cert_list.revoked_certificates, None);

    model.change(1, RevocationReason::RemoveFromCrl);
    model.change(2, RevocationReason::KeyCompromise);
    model.change(4, RevocationReason::Unspecified);
    // On hold and off again since the base CRL, which does not have it.
    model.change(5, RevocationReason::CertificateHold);
    take(&issuer, &model, NOW);
    let middle = issuer.issue(NOW).unwrap().unwrap();
    model.change(5, RevocationReason::RemoveFromCrl);
    take(&issuer, &model, NOW);
    let newest = issuer.issue(NOW).unwrap().unwrap();

    let expected = BTreeMap::from([
        (vec![1], Some(CrlReason::RemoveFromCRL)),
        (vec![2], Some(CrlReason::KeyCompromise)),
        (vec![4], None),
    ]);
    let delta = issuer.delta(NOW, Some(base.number())).await.unwrap();
    let (list, revoked) = read(&delta, &authority);
    assert_eq!(revoked, expected);
    let (critical, number): (_, BaseCrlNumber) = extension(&list).unwrap();
    assert!(critical);
    assert_eq!(hex(number.0.as_bytes()), base.number().to_string());
    assert_eq!(delta.number(), newest.number());
    assert_eq!(delta.next_update(), NOW.plus(Duration::from_secs(60)));
    // Without a name for it, the oldest that is still good.
    let same = issuer.delta(NOW, None).await.unwrap();
    assert!(Arc::ptr_eq(&same, &delta));
    // What was on hold in the one between is told to those who hold that.
    let delta = issuer.delta(NOW, Some(middle.number())).await.unwrap();
    let (_, revoked) = read(&delta, &authority);
    assert_eq!(
        revoked,
        BTreeMap::from([(vec![5], Some(CrlReason::RemoveFromCRL))])
    );
    // It serves until it runs out, and then is made again.
    let again = issuer.delta(NOW, Some(middle.number())).await.unwrap();
    assert!(Arc::ptr_eq(&again, &delta));
    let later = NOW.plus(Duration::from_secs(30));
    let again = issuer.delta(later, Some(middle.number())).await.unwrap();
    assert!(again.number() > delta.number());

    for (base, error) in [
        (CrlNumber::new(Height(99), NOW), CrlUnavailable::Base),
        (
            CrlNumber::new(Height(1), NOW.minus(LIFETIME)),
            CrlUnavailable::Base,
        ),
    ] {
        assert_eq!(issuer.delta(NOW, Some(base)).await, Err(error));
    }
}

#[tokio::test]
async fn base_and_delta_are_the_full_list() {
    let authority = Authority::new("CA");
    let reasons = [
        RevocationReason::CertificateHold,
        RevocationReason::KeyCompromise,
    ];
    let mut policy = policy();
    policy.entries = 100_000;
    let issuer = issuer_of(&authority, policy);
    let mut model = Model::default();
    for serial in 0..2_000 {
        model.change(serial, reasons[usize::from(serial % 3 == 0)]);
    }
    take(&issuer, &model, NOW);
    let base = issuer.issue(NOW).unwrap().unwrap();
    for serial in (0..3_000).filter(|serial| serial % 3 != 0) {
        let reason = match serial % 5 {
            0 => RevocationReason::KeyCompromise,
            1 if serial < 2_000 => RevocationReason::RemoveFromCrl,
            _ => continue,
        };
        model.change(serial, reason);
    }
    take(&issuer, &model, NOW);
    let full = issuer.issue(NOW).unwrap().unwrap();
    let delta = issuer.delta(NOW, Some(base.number())).await.unwrap();
    let (mut combined, changes) = (read(&base, &authority).1, read(&delta, &authority).1);
    for (serial, reason) in changes {
        if reason == Some(CrlReason::RemoveFromCRL) {
            assert!(combined.remove(&serial).is_some());
        } else {
            combined.insert(serial, reason);
        }
    }
    // Not by assert_eq, which would print them all.
    assert!(combined == read(&full, &authority).1);
}

#[test]
fn pages_that_cannot_be_true_are_refused_and_change_nothing() {
    let mut model = Model::default();
    model.change(1, RevocationReason::KeyCompromise);
    model.change(2, RevocationReason::CertificateHold);
    let mut revocations = Revocations::new(100, LIFETIME, None);
    model.read_into(&mut revocations, NOW, 9);
    let before = revocations.entries();
    let page = |edit: &dyn Fn(&mut RevocationPage)| {
        let mut later = model.clone();
        later.change(3, RevocationReason::KeyCompromise);
        later.change(4, RevocationReason::KeyCompromise);
        let mut page = later.page(RevocationCursor::end_of(Height(2)), 9);
        edit(&mut page);
        page
    };
    let undone = entry(1, RevocationReason::RemoveFromCrl, 3);
    for (edit, error) in [
        (
            &(|page: &mut RevocationPage| page.chain = ChainId::from_octets([8; 32]))
                as &dyn Fn(&mut RevocationPage),
            PageError::Chain(ChainId::from_octets([8; 32])),
        ),
        (
            &|page| page.height = Height(1),
            PageError::Behind {
                answer: Height(1),
                known: Height(2),
            },
        ),
        (&|page| page.issuer_served = false, PageError::NotServed),
        (
            &|page| page.entries.reverse(),
            PageError::Malformed("its entries are out of order"),
        ),
        (
            &|page| page.entries[0].changed = Height(2),
            PageError::Malformed("its entries are out of order"),
        ),
        (
            &|page| page.entries[1].changed = Height(9),
            PageError::Malformed("its entries are out of order"),
        ),
        (
            &|page| page.entries[1].serial.clear(),
            PageError::Malformed("a serial number of no length, or too long"),
        ),
        (
            &|page| page.entries[1].serial = vec![1; 22],
            PageError::Malformed("a serial number of no length, or too long"),
        ),
        (
            &|page| page.complete = false,
            PageError::Malformed("its next page does not follow"),
        ),
        (
            &|page| {
                page.complete = false;
                page.entries.clear();
            },
            PageError::Malformed("its next page does not follow"),
        ),
        (
            &|page| page.next = RevocationCursor::end_of(Height(1)),
            PageError::Malformed("its next page does not follow"),
        ),
        (
            &|page| page.entries[0] = undone.clone(),
            PageError::UndoesFinal(undone.hash),
        ),
    ] {
        let mut tried = page(edit);
        assert_eq!(revocations.take(&tried, NOW), Err(error));
        assert_eq!(revocations.entries(), before);
        assert_eq!(revocations.next(), RevocationCursor::end_of(Height(2)));
        tried = page(&|_| {});
        assert_eq!(tried.entries.len(), 2);
    }
    revocations.take(&page(&|_| {}), NOW).unwrap();
    let mut small = Revocations::new(1, LIFETIME, Some(CHAIN));
    assert_eq!(
        small.take(&model.page(RevocationCursor::START, 9), NOW),
        Err(PageError::TooMany(1))
    );
}

#[test]
fn only_the_ca_and_keys_that_it_certified_in_its_name_may_sign() {
    let authority = Authority::new("CA");
    let other = Authority::new("Other");
    let certificate = &authority.certificate;
    let sign = |issuer: &[u8], (key, signer): (Vec<u8>, Vec<u8>)| {
        CrlSigner::from_pkcs8(NOW, issuer, &signer, &key)
    };
    let with = |name: &str, usages: &[KeyUsagePurpose]| {
        let mut params = params(name);
        params.key_usages = usages.to_vec();
        params
    };
    let crl_sign = [KeyUsagePurpose::CrlSign];
    for algorithm in [
        &PKCS_ECDSA_P256_SHA256,
        &PKCS_ECDSA_P384_SHA384,
        &PKCS_ED25519,
    ] {
        let signer = authority.issue(algorithm, with("CA", &crl_sign));
        sign(certificate, signer).unwrap();
    }
    sign(certificate, (authority.key_pkcs8(), certificate.clone())).unwrap();

    let error = |result: Result<CrlSigner, CrlSignerError>| result.unwrap_err();
    let p256 = &PKCS_ECDSA_P256_SHA256;
    assert!(matches!(
        error(sign(
            certificate,
            authority.issue(p256, with("Signer", &crl_sign))
        )),
        CrlSignerError::OtherName
    ));
    for usages in [&[][..], &[KeyUsagePurpose::DigitalSignature]] {
        assert!(matches!(
            error(sign(certificate, authority.issue(p256, with("CA", usages)))),
            CrlSignerError::KeyUsage
        ));
    }
    let stranger = self_signed(p256, with("CA", &crl_sign));
    assert!(matches!(
        error(sign(certificate, stranger)),
        CrlSignerError::Signer(SignerError::NotIssuedBy)
    ));
    let (_, signer) = authority.issue(p256, with("CA", &crl_sign));
    assert!(matches!(
        error(sign(certificate, (other.key_pkcs8(), signer))),
        CrlSignerError::Signer(SignerError::KeyMismatch)
    ));
    let device = self_signed(p256, with("device", &[KeyUsagePurpose::DigitalSignature]));
    assert!(matches!(
        error(sign(&device.1.clone(), device)),
        CrlSignerError::NotAuthority
    ));
    let mut ca = with("CA 2", &[KeyUsagePurpose::KeyCertSign]);
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = self_signed(p256, ca);
    assert!(matches!(
        error(sign(&ca.1.clone(), ca)),
        CrlSignerError::KeyUsage
    ));
    let late = UnixTime(NOW.0 + 10 * 365 * 86_400);
    assert!(matches!(
        CrlSigner::from_pkcs8(late, certificate, certificate, &authority.key_pkcs8()),
        Err(CrlSignerError::Signer(SignerError::Validity(_)))
    ));
}

#[test]
fn one_of_two_with_a_serial_number_is_on_hold_anew_between_two_pages() {
    let mut model = Model::default();
    let mut kept = Revocations::new(100, LIFETIME, None);
    model.change(5, RevocationReason::CertificateHold);
    model.read_into(&mut kept, NOW, 9);
    model.change(5, RevocationReason::CertificateHold);
    let mut twin = entry(5, RevocationReason::CertificateHold, 3);
    twin.hash = CertificateHash::from_octets([1; 32]);
    model.height = 3;
    model.entries.insert(twin.hash, twin);
    model.read_into(&mut kept, NOW, 9);
    // The first one again: what it was on hold since before is over.
    model.change(5, RevocationReason::CertificateHold);
    model.read_into(&mut kept, NOW, 9);
    let [listed] = kept.entries()[..] else {
        panic!("{:?}", kept.entries());
    };
    assert_eq!(listed.time, UnixTime(NOW.0 - 10_000 + 3));
    assert_eq!(listed.changed, Height(4));
}

#[derive(Clone, Debug)]
enum Step {
    Revoke(u8),
    Suspend(u8),
    Resume(u8),
    /// A second certificate with a serial number that another has.
    Twin(u8),
    ResumeTwin(u8),
    Read {
        limit: usize,
    },
    Expire(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let serial = 0..24_u8;
    prop_oneof![
        serial.clone().prop_map(Step::Revoke),
        serial.clone().prop_map(Step::Suspend),
        serial.clone().prop_map(Step::Suspend),
        serial.clone().prop_map(Step::Resume),
        serial.clone().prop_map(Step::Twin),
        serial.clone().prop_map(Step::ResumeTwin),
        (1..5_usize).prop_map(|limit| Step::Read { limit }),
        serial.prop_map(Step::Expire),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn what_is_kept_up_is_what_is_built_anew(steps in prop::collection::vec(step(), 1..80)) {
        let mut model = Model::default();
        let mut kept = Revocations::new(1_000, LIFETIME, None);
        let kept_for = EXPIRED_KEPT.as_secs();
        let mut begin = NOW;
        for step in steps {
            let mut change = |serial: u8, twin: bool, reason| {
                let mut entry = entry(u64::from(serial), reason, model.height + 1);
                if twin {
                    entry.hash = CertificateHash::of(&[serial, 1]);
                }
                // They expire one after the other.
                entry.not_after = NOW.0 - kept_for + u64::from(serial);
                let known = model.entries.get(&entry.hash).map(|known| known.reason);
                let can = match reason {
                    RevocationReason::RemoveFromCrl | RevocationReason::CertificateHold => {
                        let held = known == Some(RevocationReason::CertificateHold);
                        !known.is_some_and(RevocationReason::is_final)
                            && held == (reason == RevocationReason::RemoveFromCrl)
                    }
                    _ => !known.is_some_and(RevocationReason::is_final),
                };
                if can {
                    model.height += 1;
                    model.entries.insert(entry.hash, entry);
                }
            };
            match step {
                Step::Revoke(serial) => change(serial, false, RevocationReason::KeyCompromise),
                Step::Suspend(serial) => change(serial, false, RevocationReason::CertificateHold),
                Step::Resume(serial) => change(serial, false, RevocationReason::RemoveFromCrl),
                Step::Twin(serial) => change(serial, true, RevocationReason::CertificateHold),
                Step::ResumeTwin(serial) => change(serial, true, RevocationReason::RemoveFromCrl),
                Step::Read { limit } => {
                    // A page at a time: the ledger may go on before the next one.
                    let page = model.page(kept.next(), limit);
                    kept.take(&page, begin).unwrap();
                }
                Step::Expire(seconds) => {
                    begin = begin.max(NOW.plus(Duration::from_secs(u64::from(seconds))));
                    kept.expire(begin);
                }
            }
        }
        model.read_into(&mut kept, begin, 3);
        kept.expire(begin);
        let mut anew = Revocations::new(1_000, LIFETIME, None);
        model.read_into(&mut anew, begin, usize::MAX);
        let said = |revocations: &Revocations| -> Vec<_> {
            let said = |entry: &super::entry::Entry| (entry.serial, entry.reason, entry.time);
            revocations.entries().iter().map(said).collect()
        };
        prop_assert_eq!(said(&kept), said(&anew));
        prop_assert_eq!(kept.newest(), anew.newest());
        // And that is what the model says itself.
        let mut expected: BTreeMap<Vec<u8>, bool> = BTreeMap::new();
        for entry in model.entries.values() {
            let stays = entry.not_after + kept_for >= begin.0;
            if stays && entry.reason != RevocationReason::RemoveFromCrl {
                let is_final = expected.entry(entry.serial.clone()).or_default();
                *is_final |= entry.reason.is_final();
            }
        }
        let found: BTreeMap<Vec<u8>, bool> = kept
            .entries()
            .iter()
            .map(|entry| (entry.serial.as_octets().to_vec(), entry.reason.is_final()))
            .collect();
        prop_assert_eq!(found, expected);
    }
}

/// Pages of entries whose serial numbers come in no order, as the ledger gives them.
fn many(count: u64, page: u64) -> impl Iterator<Item = RevocationPage> {
    (0..count / page).map(move |at| {
        let entries: Vec<_> = (at * page..(at + 1) * page)
            .map(|index| {
                // 20 octets, as CAs give them.
                let digest = ring::digest::digest(&ring::digest::SHA256, &index.to_be_bytes());
                let mut serial = digest.as_ref()[..20].to_vec();
                serial[0] = serial[0] & 0x7f | 1;
                let mut hash = [0; 32];
                hash.copy_from_slice(digest.as_ref());
                RevocationEntry {
                    hash: CertificateHash::from_octets(hash),
                    serial,
                    reason: RevocationReason::KeyCompromise,
                    time: BlockTime((NOW.0 - 10_000) * 1_000),
                    not_after: LATER,
                    changed: Height(index + 1),
                }
            })
            .collect();
        let reached = Height((at + 1) * page);
        let complete = reached.0 == count;
        let next = RevocationCursor {
            height: reached,
            hash: entries.last().map(|entry| entry.hash).filter(|_| !complete),
        };
        RevocationPage {
            entries,
            next,
            complete,
            issuer_served: true,
            height: Height(count),
            block_time: BlockTime(NOW.0 * 1_000),
            chain: CHAIN,
        }
    })
}

#[test]
fn the_millionth_revoked_certificate_is_on_the_list() {
    const COUNT: u64 = 1_000_000;
    let authority = Authority::new("CA");
    let mut policy = policy();
    policy.entries = 2_000_000;
    let issuer = issuer_of(&authority, policy);
    let began = std::time::Instant::now();
    for page in many(COUNT, 4_000) {
        issuer.take(&page, NOW).unwrap();
    }
    let loaded = began.elapsed();
    let first = issuer.issue(NOW).unwrap().unwrap();
    let made = issuer.took();
    assert_eq!(first.entries() as u64, COUNT);
    // One change: all pieces but one are those of the CRL before.
    let mut page = many(1, 1).next().unwrap();
    page.height = Height(COUNT + 1);
    page.next = RevocationCursor::end_of(page.height);
    page.entries[0].changed = page.height;
    page.entries[0].hash = CertificateHash::from_octets([9; 32]);
    page.entries[0].serial = vec![1; 20];
    issuer.take(&page, NOW).unwrap();
    let second = issuer.issue(NOW).unwrap().unwrap();
    let again = issuer.took();
    println!(
        "{} octets; read in {loaded:?}, made in {made:?}, after one change in {again:?}",
        second.length()
    );
    let (old, new) = (octets(&first), octets(&second));
    assert!(new.len() > old.len() && new.len() > 37_000_000);
    // Of a list so long only the signature and the outline are read, which a parser that builds it all would take long for.
    let mut fields = ocsp::wire::Tlv::only(&new)
        .and_then(|list| list.open(der::Tag::Sequence))
        .unwrap();
    let tbs = fields.expect(der::Tag::Sequence).unwrap();
    fields.expect(der::Tag::Sequence).unwrap();
    let signature = fields.expect(der::Tag::BitString).unwrap();
    fields.finish().unwrap();
    let certificate = Certificate::from_der(&authority.certificate).unwrap();
    let key = certificate.tbs_certificate().subject_public_key_info();
    ring::signature::UnparsedPublicKey::new(
        &ring::signature::ECDSA_P256_SHA256_ASN1,
        key.subject_public_key.raw_bytes(),
    )
    .verify(tbs.raw, &signature.value[1..])
    .unwrap();
    let mut fields = tbs.open(der::Tag::Sequence).unwrap();
    for _ in 0..5 {
        fields.any().unwrap();
    }
    let mut entries = fields.any().unwrap().open(der::Tag::Sequence).unwrap();
    let (mut count, mut before) = (0, Vec::new());
    while !entries.is_finished() {
        let mut entry = entries.any().unwrap().open(der::Tag::Sequence).unwrap();
        let serial = entry.expect(der::Tag::Integer).unwrap().value.to_vec();
        assert!(serial > before, "in order");
        (count, before) = (count + 1, serial);
    }
    assert_eq!(count, COUNT + 1);
}
