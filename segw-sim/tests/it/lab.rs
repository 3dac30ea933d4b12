//! One shard and some devices in memory, in virtual time, with a ledger that answers by script.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use esp::inprocess::CoreNetwork;
use ikev2::auth::ProfileVerifier;
use ikev2::crypto::RING;
use ikev2::wire::TrafficSelector;
use ikev2::{Admission, ChildConfig, EndpointConfig, Lifetimes, Path, ResponderConfig};
use ledger::{CertificateHash, Height, Status};
use ledger_client::{Answer, Origin, Unavailable};
use segw_sim::admission::{Reply, StatusInquiry};
use segw_sim::control::SaSummary;
use segw_sim::gateway::SystemTimeProvider;
use segw_sim::mailbox::{CloseCause, Command, Letters, Mailbox};
use segw_sim::metrics::{Metrics, Snapshot};
use segw_sim::pool::Pool;
use segw_sim::registry::Registry;
use segw_sim::shard::{Shard, ShardConfig, Shared};
use tokio::sync::oneshot;

use crate::device::{Card, Device};

pub(crate) const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
pub(crate) const CORE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
pub(crate) const WITHIN: Duration = Duration::from_secs(3);
pub(crate) const LIVENESS: Duration = Duration::from_secs(60);

/// Answers as told. What is not told is `not recorded`.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) answers: Mutex<HashMap<CertificateHash, Result<Status, Unavailable>>>,
    /// While true, nothing is at hand and replies wait in `waiting`.
    pub(crate) slow: Mutex<bool>,
    pub(crate) waiting: Mutex<Vec<(CertificateHash, Reply)>>,
    pub(crate) asked: Mutex<usize>,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Script")
    }
}

impl Script {
    pub(crate) fn tell(&self, hash: CertificateHash, answer: Result<Status, Unavailable>) {
        self.answers.lock().unwrap().insert(hash, answer);
    }

    fn answer(&self, hash: &CertificateHash) -> Result<Answer, Unavailable> {
        let told = self.answers.lock().unwrap().get(hash).cloned();
        let status = told.unwrap_or(Ok(Status::NotRecorded))?;
        Ok(Answer {
            status,
            height: Height(1),
            block_time: None,
            not_after: None,
            origin: Origin::Ledger,
        })
    }
}

impl StatusInquiry for Script {
    fn cached(&self, hash: &CertificateHash) -> Option<Answer> {
        *self.asked.lock().unwrap() += 1;
        if *self.slow.lock().unwrap() {
            return None;
        }
        self.answer(hash).ok()
    }

    fn ask(&self, hash: CertificateHash, reply: Reply) {
        if *self.slow.lock().unwrap() {
            self.waiting.lock().unwrap().push((hash, reply));
        } else {
            reply(self.answer(&hash));
        }
    }
}

pub(crate) struct Lab {
    pub(crate) now: Instant,
    pub(crate) shard: Shard,
    pub(crate) shared: Arc<Shared>,
    pub(crate) script: Arc<Script>,
    letters: Letters,
    pub(crate) devices: Vec<Device>,
    /// Devices that neither hear nor speak.
    pub(crate) deaf: Vec<usize>,
    /// What devices send, if it is to be recorded.
    pub(crate) recording: Option<Vec<(Path, Vec<u8>)>>,
}

impl Lab {
    pub(crate) fn new(pool: &str) -> Self {
        let script = Arc::new(Script::default());
        let (mailbox, letters) = Mailbox::new(Box::new(|| {}));
        let shared = Arc::new(Shared {
            registry: Registry::new(Pool::new(pool.parse().unwrap(), Duration::from_secs(60))),
            metrics: Metrics::new(None),
            inquiry: Arc::clone(&script) as Arc<dyn StatusInquiry>,
            dns: vec![CORE],
            mailboxes: vec![mailbox],
        });
        let core = TrafficSelector::range([10, 99, 0, 0].into(), [10, 99, 0, 255].into());
        let child = ChildConfig::new(vec![core], Vec::new()).unwrap();
        let credential = Arc::new(Card::new("segw.lab.test").credential());
        let verifier = Arc::new(ProfileVerifier::new(RING.clone()));
        let responder = ResponderConfig::new(credential, verifier, child)
            .unwrap()
            .admission(Admission::ByApplication { within: WITHIN })
            .lifetimes(Lifetimes {
                liveness: Some(LIVENESS),
                nat_keepalive: None,
                ..Lifetimes::default()
            });
        let endpoint = EndpointConfig::new(Arc::new(RING.clone()), Arc::new(SystemTimeProvider))
            .force_udp_encapsulation(true);
        let shard = Shard::new(
            ShardConfig {
                number: 0,
                endpoint: Arc::new(endpoint),
                responder: Arc::new(responder),
                replay_window: esp::WindowSize::default(),
                children: 100,
            },
            Arc::clone(&shared),
            Box::new(CoreNetwork::new(vec![ipnet::IpNet::from(IpAddr::V4(CORE))])),
        );
        Self {
            now: Instant::now(),
            shard,
            shared,
            script,
            letters,
            devices: Vec::new(),
            deaf: Vec::new(),
            recording: None,
        }
    }

    /// A device begins; returns its index. Its outer address is 192.0.2.(10 + index).
    pub(crate) fn connect(&mut self, card: &Card, initial_contact: bool) -> usize {
        let index = self.devices.len();
        let local = IpAddr::from([192, 0, 2, 10 + u8::try_from(index).unwrap()]);
        let gateway = SocketAddr::new(GATEWAY, 500);
        self.devices.push(Device::connect(
            self.now,
            card,
            local,
            (500, 4500),
            gateway,
            4500,
            initial_contact,
        ));
        self.settle();
        index
    }

    /// Carries datagrams and commands until nothing moves. No time passes.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut moved = false;
            self.letters.opened();
            while let Some(command) = self.letters.command() {
                moved = true;
                self.shard.handle_command(self.now, command);
            }
            for index in 0..self.devices.len() {
                for (from, to, mut datagram) in std::mem::take(&mut self.devices[index].out) {
                    moved = true;
                    if self.deaf.contains(&index) {
                        continue;
                    }
                    let path = Path {
                        local: to,
                        remote: from,
                    };
                    if let Some(recording) = &mut self.recording {
                        recording.push((path, datagram.clone()));
                    }
                    self.give(path, &mut datagram);
                }
            }
            self.shard.handle_inner();
            let sent: Vec<_> = self
                .shard
                .outbox()
                .iter()
                .map(|(path, octets)| (path, octets.to_vec()))
                .collect();
            self.shard.outbox().clear();
            for (path, mut datagram) in sent {
                moved = true;
                let index = usize::from(match path.remote.ip() {
                    IpAddr::V4(address) => address.octets()[3] - 10,
                    IpAddr::V6(_) => unreachable!("no IPv6 here"),
                });
                if !self.deaf.contains(&index) {
                    let path = Path {
                        local: path.remote,
                        remote: path.local,
                    };
                    self.devices[index].receive(self.now, path, &mut datagram);
                }
            }
            if !moved {
                self.shard.flush_counters();
                return;
            }
        }
    }

    /// A datagram from anywhere; what the gateway answers is lost.
    pub(crate) fn inject(&mut self, path: Path, mut datagram: Vec<u8>) {
        self.give(path, &mut datagram);
        self.shard.handle_inner();
        self.shard.outbox().clear();
        self.settle();
    }

    /// As the driver does with a datagram on the port of `path`.
    fn give(&mut self, path: Path, datagram: &mut [u8]) {
        if path.local.port() != 4500 {
            self.shard.handle_ike(self.now, path, datagram);
            return;
        }
        match esp::classify_mut(datagram) {
            esp::Datagram::Ike(message) => self.shard.handle_ike(self.now, path, message),
            esp::Datagram::Esp { packet, .. } => self.shard.handle_esp(self.now, path, packet),
            esp::Datagram::Keepalive | esp::Datagram::Rejected(_) => {}
        }
    }

    /// Lets time pass, from deadline to deadline.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.settle();
            let devices = self
                .devices
                .iter()
                .filter_map(|device| device.sa.poll_timeout().map(|wakeup| wakeup.at));
            let next = devices.chain(self.shard.poll_timeout()).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            self.shard.handle_timeout(self.now);
            for device in &mut self.devices {
                device.timeout(self.now);
            }
        }
        self.now = end;
    }

    /// As the lease watcher does when the ledger changes.
    pub(crate) fn ledger_ends(&mut self, hash: &CertificateHash, status: &Status) {
        for place in self.shared.registry.admitted_by(hash) {
            self.shared.mailboxes[0].command(Command::Close {
                sa: place.id,
                cause: CloseCause::Ledger {
                    status: *status,
                    heard: self.now,
                },
            });
        }
        self.settle();
    }

    pub(crate) fn command(&mut self, command: Command) {
        self.shared.mailboxes[0].command(command);
        self.settle();
    }

    pub(crate) fn list(&mut self) -> Vec<SaSummary> {
        let (reply, mut answer) = oneshot::channel();
        self.command(Command::List { reply });
        answer.try_recv().unwrap()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.shared.metrics.snapshot()
    }
}
