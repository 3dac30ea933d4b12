//! INITIAL_CONTACT and one IKE SA per identity (RFC 7296 §2.4).

use ikev2::unique::Uniqueness;
use ikev2::{ChildConfig, Event, Identification, InitiatorConfig, SaHandle, TrafficSelector};
use testkit::{Pair, SideName, rig};

use super::handshake::{SECOND, devices};

/// What a gateway does with the events of its IKE SAs.
fn replace_older(pair: &mut Pair, unique: &mut Uniqueness<SaHandle>) -> Vec<SaHandle> {
    let mut older = Vec::new();
    for (_, handle, event) in &pair.responder.events {
        if let Event::Established(info) = event {
            let gone = unique.established(&info.identity, *handle, info.initial_contact);
            older.extend(
                gone.into_iter()
                    .map(|handle| (handle, info.initial_contact)),
            );
        }
    }
    pair.responder.events.clear();
    for (handle, initial_contact) in &older {
        pair.with(SideName::Responder, *handle, |sa, now| {
            if *initial_contact {
                sa.abandon(now);
            } else {
                sa.close(now);
            }
        });
    }
    older.into_iter().map(|(handle, _)| handle).collect()
}

#[test]
fn the_older_ike_sa_of_an_identity_goes_after_the_new_one_stands() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(1, rig::responder(&segw));
    let mut unique = Uniqueness::default();
    let config = rig::initiator(&henb).into();
    pair.initiate(&config);
    pair.run_for(SECOND);
    assert!(replace_older(&mut pair, &mut unique).is_empty());
    pair.initiate(&config);
    pair.run_for(SECOND);
    pair.traffic.clear();
    assert_eq!(replace_older(&mut pair, &mut unique).len(), 1);
    pair.run_for(SECOND);
    pair.assert_ladder(&["<- INFORMATIONAL 0", "-> INFORMATIONAL 0 answer"]);
    assert_eq!(pair.initiator.lost(), ["the peer deleted the IKE SA"]);
    assert_eq!(pair.responder.sas.len(), 1);
}

#[test]
fn after_initial_contact_the_older_one_goes_without_a_word() {
    let (henb, segw) = devices();
    let mut pair = rig::pair(2, rig::responder(&segw));
    let mut unique = Uniqueness::default();
    let config = rig::initiator(&henb).initial_contact(true).into();
    let first = pair.initiate(&config);
    pair.run_for(SECOND);
    assert!(replace_older(&mut pair, &mut unique).is_empty());
    // The device is killed and starts again.
    pair.with(SideName::Initiator, first, |sa, now| sa.abandon(now));
    pair.initiate(&config);
    pair.run_for(SECOND);
    pair.traffic.clear();
    assert_eq!(replace_older(&mut pair, &mut unique).len(), 1);
    pair.run_for(SECOND);
    pair.assert_ladder(&[]);
    assert_eq!(pair.responder.sas.len(), 1);
    assert_eq!(unique.identities(), 1);
}

#[test]
fn a_name_in_other_letters_is_the_same_identity() {
    let (henb, segw) = devices();
    let name = String::from_utf8(henb.identity.value.clone()).unwrap();
    let shouting = Identification::fqdn(&name.to_uppercase());
    let mut pair = rig::pair(50, rig::responder(&segw));
    let any = || vec![TrafficSelector::any_ipv4()];
    for identity in [henb.identity.clone(), shouting] {
        let config = InitiatorConfig::new(
            henb.credential_as(identity),
            rig::verifier(),
            ChildConfig::new(any(), any()).unwrap(),
        )
        .unwrap()
        .remote_identity(Identification::fqdn(
            &String::from_utf8(segw.identity.value.clone())
                .unwrap()
                .to_uppercase(),
        ));
        pair.initiate(&config.into());
        pair.run_for(SECOND);
    }
    // Else one device could hold as many inner addresses as its name has spellings.
    let proven: Vec<_> = pair
        .responder
        .events
        .iter()
        .filter_map(|(_, _, event)| match event {
            Event::Established(info) => Some(info.identity.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(proven, [henb.identity.clone(), henb.identity]);
    assert_eq!(pair.initiator.lost(), Vec::<String>::new());
}
