//! A device and a core network with a tunnel between them, no sockets.

use std::net::IpAddr;

use esp::icmp::Echo;
use esp::inprocess::CoreNetwork;
use esp::{
    Datagram, InboundConfig, InboundSa, InnerNetwork, OutboundConfig, OutboundSa, PacketBuffer,
    SaDatabase, SaKeys, Selector, Selectors, Spi, Suite, classify_mut,
};

/// One end of a tunnel: both directions in a database, tagged with the peer's name.
pub(crate) fn end(
    suite: Suite,
    (local, remote): (Selector, Selector),
    (inbound, outbound): (u32, u32),
    peer: &'static str,
) -> SaDatabase<&'static str> {
    let keymat = |spi: u32| {
        let octets = spi.to_be_bytes().into_iter().cycle();
        octets.take(suite.keymat_len()).collect::<Vec<_>>()
    };
    let selectors = Selectors::new(vec![local], vec![remote]).unwrap();
    let mut database = SaDatabase::new(16);
    let keys = SaKeys::new(suite, &keymat(inbound)).unwrap();
    let config = InboundConfig::new(Spi::new(inbound).unwrap(), keys, selectors.clone());
    database
        .insert_inbound(InboundSa::new(config), peer)
        .unwrap();
    let keys = SaKeys::new(suite, &keymat(outbound)).unwrap();
    let config = OutboundConfig::new(Spi::new(outbound).unwrap(), keys, selectors);
    database
        .insert_outbound(OutboundSa::new(config), peer)
        .unwrap();
    database
}

fn ping_through(suite: Suite, device: IpAddr, core: IpAddr) {
    let selectors = (Selector::host(device), Selector::host(core));
    let mut henb = end(suite, selectors, (0x1000, 0x2000), "segw");
    let mut segw = end(suite, (selectors.1, selectors.0), (0x2000, 0x1000), "henb");
    let mut network = CoreNetwork::new(vec![core.into()]);
    let mut buffer = PacketBuffer::new(1400);

    for sequence in 0..100 {
        let payload = vec![0x42; usize::from(sequence) * 13];
        let request = Echo::request(device, core, 0x1234, sequence, &payload);
        let length = request.encode(buffer.space()).unwrap();
        buffer.set_inner_len(length).unwrap();

        // Device to gateway.
        let (sealed, peer) = henb.seal(&mut buffer).unwrap();
        assert_eq!(*peer, "segw");
        let mut datagram = sealed.packet.to_vec();
        let Datagram::Esp { packet, spi } = classify_mut(&mut datagram) else {
            panic!("not ESP");
        };
        assert_eq!(spi.get(), 0x2000);
        let (inner, peer) = segw.open(packet).unwrap();
        assert_eq!(*peer, "henb");
        network.deliver(inner.packet).unwrap();

        // And back.
        let length = network.receive(buffer.space()).unwrap().unwrap();
        buffer.set_inner_len(length).unwrap();
        let (sealed, _) = segw.seal(&mut buffer).unwrap();
        let mut datagram = sealed.packet.to_vec();
        let (inner, _) = henb.open(&mut datagram).unwrap();
        assert_eq!(Echo::decode(inner.packet), Ok(request.reply()));
    }
    assert_eq!(network.counters().answered, 100);
    let (sa, _) = henb.inbound(Spi::new(0x1000).unwrap()).unwrap();
    assert_eq!(sa.counters().packets, 100);
    assert_eq!(sa.highest_sequence(), 100);
}

#[test]
fn pings_go_through_with_every_suite() {
    for suite in [
        Suite::Aes128Gcm16,
        Suite::Aes256Gcm16,
        Suite::ChaCha20Poly1305,
    ] {
        ping_through(suite, [10, 0, 0, 7].into(), [192, 0, 2, 1].into());
        let (device, core) = ("2001:db8:1::7", "2001:db8::1");
        ping_through(suite, device.parse().unwrap(), core.parse().unwrap());
    }
}

#[test]
fn a_device_cannot_use_the_address_of_another() {
    let core = Selector::host([192, 0, 2, 1].into());
    let honest = Selector::host([10, 0, 0, 7].into());
    // The device's own end lets anything go; the gateway's does not.
    let suite = Suite::Aes128Gcm16;
    let mut henb = end(suite, (Selector::any_v4(), core), (0x1000, 0x2000), "segw");
    let mut segw = end(suite, (core, honest), (0x2000, 0x1000), "henb");
    let mut buffer = PacketBuffer::new(1400);
    let spoofed = Echo::request([10, 0, 0, 8].into(), [192, 0, 2, 1].into(), 1, 1, b"");
    let length = spoofed.encode(buffer.space()).unwrap();
    buffer.set_inner_len(length).unwrap();
    let mut datagram = henb.seal(&mut buffer).unwrap().0.packet.to_vec();
    assert!(matches!(
        segw.open(&mut datagram),
        Err(esp::OpenError::Selector(flow)) if flow.source == IpAddr::from([10, 0, 0, 8])
    ));
}
