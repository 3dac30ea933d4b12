//! Attackers on the gateway's ports, over loopback, while a device uses its tunnel.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use ledger::Status;
use segw_sim::gateway::Gateway;

use crate::device::{Card, Device};
use crate::gateway::{Ledger, Wired, config, revoked, start};

const CORE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// SplitMix64: the same attack each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn fill(&mut self, octets: &mut [u8]) {
        for chunk in octets.chunks_mut(8) {
            let random = self.next().to_be_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
    }
}

/// A whole IKE_SA_INIT request.
fn init(to: SocketAddr) -> Vec<u8> {
    let card = Card::new("attacker.lab.test");
    let local = [127, 0, 0, 1].into();
    let device = Device::connect(Instant::now(), &card, local, (500, 4500), to, 4500, false);
    device.out[0].2.clone()
}

fn ping(wired: &mut Wired, sequence: u16) {
    wired.device.ping(CORE, sequence);
    wired.run(|device| device.pongs.contains(&(7, sequence)));
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn connected(gateway: &Gateway, ledger: &Ledger, name: &str) -> Wired {
    let card = Card::new(name);
    ledger.set(card.hash(), Status::Valid);
    let wired = Wired::connect(gateway, &card, false);
    assert!(wired.device.established, "{name}: {:?}", wired.device.lost);
    wired
}

#[test]
fn garbage_on_every_shard_neither_stops_nor_fills_the_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::new();
    let gateway = start(&config(folder.path(), 4), &ledger).unwrap();
    let mut wired = connected(&gateway, &ledger, "henb1.lab.test");
    let (_, outbound, _) = wired.device.tunnel.as_ref().unwrap();
    let spi = outbound.spi().get();
    let whole = init(gateway.ike_address());
    let attacker = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut random = Random(1);
    let mut buffer = vec![0; 60_000];
    let before = resident_kib();
    for round in 0..20u16 {
        for _ in 0..500 {
            let kind = random.below(6);
            let length = match kind {
                0 => random.below(200),
                1 => random.below(whole.len()),
                2 | 3 => whole.len(),
                _ if random.below(20) == 0 => 40 + random.below(59_000),
                _ => 40 + random.below(1400),
            };
            let datagram = &mut buffer[..length];
            random.fill(datagram);
            match kind {
                // Cut off, or with an octet or two changed.
                1..=3 => {
                    datagram.copy_from_slice(&whole[..length]);
                    for _ in 0..random.below(3) {
                        if length > 0 {
                            datagram[random.below(length)] ^= 1 << random.below(8);
                        }
                    }
                }
                // ESP of the device's SA with random content.
                4 => datagram[..4].copy_from_slice(&spi.to_be_bytes()),
                // IKE behind the marker, for an IKE SA of some shard.
                5 => datagram[..4].fill(0),
                _ => {}
            }
            let to = if kind >= 4 || random.below(2) == 0 {
                gateway.nat_address()
            } else {
                gateway.ike_address()
            };
            attacker.send_to(datagram, to).unwrap();
        }
        ping(&mut wired, round + 1);
    }
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more");
    assert_eq!(gateway.sas().len(), 1);
    let snapshot = gateway.snapshot();
    assert_eq!(snapshot.handshakes_established, 1);
    connected(&gateway, &ledger, "henb2.lab.test");
    gateway.stop();
}

#[test]
fn a_flood_of_half_open_sas_shuts_nobody_out_however_many_workers_share_the_room() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), 4);
    // A worker's share is far below the usual threshold for cookies.
    config.limits.half_open = 64;
    let ledger = Ledger::new();
    let gateway = start(&config, &ledger).unwrap();
    let mut wired = connected(&gateway, &ledger, "henb1.lab.test");
    let whole = init(gateway.ike_address());
    let mut random = Random(2);
    for port in 0..32u16 {
        // Many addresses, so that every worker gets its part.
        let attacker = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..32 {
            let mut datagram = whole.clone();
            random.fill(&mut datagram[..8]);
            attacker.send_to(&datagram, gateway.ike_address()).unwrap();
        }
        ping(&mut wired, port + 1);
    }
    for index in 0..8 {
        connected(&gateway, &ledger, &format!("late{index}.lab.test"));
    }
    gateway.stop();
}

#[test]
fn ike_and_esp_follow_a_device_whose_nat_gave_it_another_port() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::new();
    let gateway = start(&config(folder.path(), 4), &ledger).unwrap();
    let card = Card::new("henb1.lab.test");
    ledger.set(card.hash(), Status::Valid);
    let mut wired = Wired::connect(&gateway, &card, false);
    for sequence in 1..9 {
        // From another port, which another worker may hear; the answer must come back to it.
        let moved = UdpSocket::bind("127.0.0.1:0").unwrap();
        moved
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        wired.device.ping(CORE, sequence);
        for (_, to, datagram) in std::mem::take(&mut wired.device.out) {
            moved.send_to(&datagram, to).unwrap();
        }
        let mut buffer = vec![0; 2048];
        let (length, _) = moved.recv_from(&mut buffer).unwrap();
        let path = ikev2::Path {
            local: wired.nat.local_addr().unwrap(),
            remote: gateway.nat_address(),
        };
        wired
            .device
            .receive(Instant::now(), path, &mut buffer[..length]);
        assert!(wired.device.pongs.contains(&(7, sequence)));
    }
    gateway.stop();
}

#[test]
fn one_batch_of_revocations_closes_every_tunnel() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::new();
    let gateway = start(&config(folder.path(), 3), &ledger).unwrap();
    let cards: Vec<Card> = (0..100)
        .map(|index| Card::new(&format!("henb{index}.lab.test")))
        .collect();
    for card in &cards {
        ledger.set(card.hash(), Status::Valid);
        assert!(Wired::connect(&gateway, card, false).device.established);
    }
    assert_eq!(gateway.sas().len(), 100);
    let began = Instant::now();
    for card in &cards {
        // The test's ledger holds 16 events for a slow reader; a real one sends a stream.
        ledger.set(card.hash(), revoked());
        std::thread::sleep(Duration::from_millis(1));
    }
    while !gateway.sas().is_empty() {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{} left",
            gateway.sas().len()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    gateway.stop();
}
