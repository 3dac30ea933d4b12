//! A real TUN device, in a network namespace of its own.
//!
//! The test starts itself again under `unshare --net`, so that the machine's own network is left
//! alone. Where that is not allowed it says so and passes.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::{Duration, Instant};

use esp::inprocess::CoreNetwork;
use esp::userspace::{Tun, TunConfig, TunError};
use esp::{InnerHeader, InnerNetwork, PacketBuffer, Selector, Suite};

use super::tunnel::end;

const INSIDE: &str = "LEDGATE_ESP_TEST_INSIDE_NAMESPACE";
const DEVICE: [u8; 4] = [10, 99, 0, 1];
const CORE: [u8; 4] = [10, 99, 0, 2];

/// Whether the caller is in a namespace of its own; if not, runs the test of that name in one.
fn in_namespace(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let unshare = || Command::new("unshare");
    match unshare().args(["--net", "true"]).output() {
        Ok(probe) if probe.status.success() => {}
        Ok(probe) => {
            let reason = String::from_utf8_lossy(&probe.stderr);
            println!("skipped: no network namespace to be had (root needed): {reason}");
            return false;
        }
        Err(error) => {
            println!("skipped: no network namespace to be had: unshare: {error}");
            return false;
        }
    }
    let own = std::env::current_exe().unwrap();
    let status = unshare()
        .arg("--net")
        .arg(own)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed inside the namespace");
    false
}

fn device(name: &str, multi_queue: bool) -> Option<Tun> {
    let mut config = TunConfig::default();
    config.name = Some(name.to_owned());
    config.addresses = vec!["10.99.0.1/24".parse().unwrap()];
    config.mtu = 1300;
    config.multi_queue = multi_queue;
    match Tun::create(&config) {
        Ok(tun) => Some(tun),
        Err(error @ (TunError::Permission { .. } | TunError::NoDriver { .. })) => {
            println!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Waits for a packet that passes, drops others (IPv6 router solicitations, say).
fn receive(tun: &mut Tun, buffer: &mut PacketBuffer) -> InnerHeader {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        let Some(length) = tun.receive(buffer.space()).unwrap() else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        buffer.set_inner_len(length).unwrap();
        let header = InnerHeader::parse(buffer.inner()).unwrap();
        if header.destination.is_ipv4() {
            return header;
        }
    }
    panic!("no packet within five seconds");
}

#[test]
fn udp_echo_through_a_tun_device_and_a_tunnel() {
    if !in_namespace("tun::udp_echo_through_a_tun_device_and_a_tunnel") {
        return;
    }
    let Some(mut tun) = device("ledgate0", false) else {
        return;
    };
    assert_eq!((tun.name(), tun.mtu()), ("ledgate0", 1300));
    assert!(tun.as_raw_fd() >= 0 && tun.poll_fd().is_some());

    let selectors = (Selector::host(DEVICE.into()), Selector::host(CORE.into()));
    let suite = Suite::Aes128Gcm16;
    let mut henb = end(suite, selectors, (0x1000, 0x2000), "segw");
    let mut segw = end(suite, (selectors.1, selectors.0), (0x2000, 0x1000), "henb");
    let mut core = CoreNetwork::new(vec!["10.99.0.2/32".parse().unwrap()]);
    let mut buffer = PacketBuffer::new(usize::from(tun.mtu()));

    let socket = UdpSocket::bind("10.99.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    for payload in [&b"one"[..], &[7; 1200]] {
        socket.send_to(payload, "10.99.0.2:7").unwrap();
        // Out of the device straight to where it is encrypted.
        receive(&mut tun, &mut buffer);
        let mut datagram = henb.seal(&mut buffer).unwrap().0.packet.to_vec();
        let (inner, _) = segw.open(&mut datagram).unwrap();
        core.deliver(inner.packet).unwrap();
        // And back into it.
        let length = core.receive(buffer.space()).unwrap().unwrap();
        buffer.set_inner_len(length).unwrap();
        let mut datagram = segw.seal(&mut buffer).unwrap().0.packet.to_vec();
        let (inner, _) = henb.open(&mut datagram).unwrap();
        tun.deliver(inner.packet).unwrap();

        let mut echoed = [0; 1500];
        let (length, from) = socket.recv_from(&mut echoed).unwrap();
        assert_eq!(&echoed[..length], payload);
        assert_eq!(from, "10.99.0.2:7".parse().unwrap());
    }
}

#[test]
fn a_device_has_several_queues_only_if_asked() {
    if !in_namespace("tun::a_device_has_several_queues_only_if_asked") {
        return;
    }
    let Some(tun) = device("ledgate1", true) else {
        return;
    };
    let mut second = tun.queue().unwrap();
    assert_eq!(second.name(), "ledgate1");
    assert_ne!(second.as_raw_fd(), tun.as_raw_fd());
    // Non-blocking as well.
    let mut buf = [0; 1500];
    while second.receive(&mut buf).unwrap().is_some() {}
    drop((tun, second));

    let Some(tun) = device("ledgate1", false) else {
        return;
    };
    let error = tun.queue().unwrap_err();
    assert!(error.to_string().contains("multi_queue"), "{error}");
    // The name is taken now.
    let mut config = TunConfig::default();
    config.name = Some("ledgate1".to_owned());
    let error = Tun::create(&config).unwrap_err();
    assert!(matches!(error, TunError::Busy { .. }), "{error}");
}

#[test]
fn senseless_devices_are_refused_without_asking_the_system() {
    let mut config = TunConfig::default();
    config.name = Some("a-name-of-16-let".to_owned());
    assert!(matches!(Tun::create(&config), Err(TunError::Name(_))));
    config.name = Some(String::new());
    assert!(matches!(Tun::create(&config), Err(TunError::Name(_))));
    config.name = None;
    config.mtu = 67;
    assert!(matches!(Tun::create(&config), Err(TunError::Mtu(67))));
}
