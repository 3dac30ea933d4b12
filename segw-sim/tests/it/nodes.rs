//! Ledger nodes that hang, lie, or die while they speak: fail closed, and nobody else is affected.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ledger_client::{HttpSource, Source};
use segw_sim::gateway::Gateway;

use crate::device::Card;
use crate::gateway::{Wired, config};

const CORE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

#[derive(Clone, Copy, Debug)]
enum Manner {
    Honest,
    /// Takes the request and says nothing.
    Hangs,
    /// Answers for another certificate.
    WrongHash,
    /// Answers for another chain.
    WrongChain,
    Garbage,
    /// Ends in the middle of the answer.
    Dies,
    /// An answer without an end.
    Endless,
}

struct Node {
    address: SocketAddr,
    manner: Arc<Mutex<Manner>>,
    over: Arc<AtomicBool>,
}

impl Node {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let manner = Arc::new(Mutex::new(Manner::Honest));
        let over = Arc::new(AtomicBool::new(false));
        let (m, o) = (Arc::clone(&manner), Arc::clone(&over));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (m, o) = (Arc::clone(&m), Arc::clone(&o));
                // An attacker's connection may just break.
                std::thread::spawn(move || drop(answer(&stream, &m, &o)));
            }
        });
        Self {
            address,
            manner,
            over,
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn answer(stream: &TcpStream, manner: &Mutex<Manner>, over: &AtomicBool) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut write = stream;
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            line.clear();
        }
        let hang = || {
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        let Some(hash) = request
            .strip_prefix("GET /v1/status/")
            .and_then(|rest| rest.split_whitespace().next())
        else {
            // The event stream, which this node never says anything on.
            hang();
            return Ok(());
        };
        let manner = *manner.lock().unwrap();
        let hash = match manner {
            Manner::WrongHash => "11".repeat(32),
            _ => hash.to_owned(),
        };
        let chain = match manner {
            Manner::WrongChain => "22".repeat(32),
            _ => "07".repeat(32),
        };
        let body = format!(
            "{{\"hash\":\"{hash}\",\"status\":\"valid\",\"class\":\"device\",\"not_after\":4102444800,\"height\":5,\
             \"block_time\":1795240589385,\"chain\":\"{chain}\"}}"
        );
        let head = |length: usize| {
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
            )
        };
        match manner {
            Manner::Hangs => {
                hang();
                return Ok(());
            }
            Manner::Garbage => {
                write.write_all(head(7).as_bytes())?;
                write.write_all(b"\xff\0[[[{\"")?;
            }
            Manner::Dies => {
                write.write_all(head(body.len()).as_bytes())?;
                write.write_all(&body.as_bytes()[..body.len() / 2])?;
                return Ok(());
            }
            Manner::Endless => {
                write.write_all(head(usize::MAX >> 1).as_bytes())?;
                while !over.load(Ordering::Relaxed) {
                    write.write_all(&[b' '; 65_536])?;
                }
            }
            _ => {
                write.write_all(head(body.len()).as_bytes())?;
                write.write_all(body.as_bytes())?;
            }
        }
    }
}

#[test]
fn whatever_a_node_does_nobody_is_let_in_by_it_and_nobody_is_thrown_out() {
    let node = Node::start();
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), 3);
    config.ledger.chain = Some(ledger::ChainId::from_octets([7; 32]));
    config.ledger.deadline = Duration::from_millis(400);
    let source: Arc<dyn Source> =
        Arc::new(HttpSource::new(&format!("http://{}", node.address)).unwrap());
    let credential = Arc::new(Card::new("segw.lab.test").credential());
    let gateway = Gateway::start(&config, credential, vec![source]).unwrap();
    let mut first = Wired::connect(&gateway, &Card::new("first.lab.test"), false);
    assert!(first.device.established);

    let manners = [
        Manner::Hangs,
        Manner::WrongHash,
        Manner::WrongChain,
        Manner::Garbage,
        Manner::Dies,
        Manner::Endless,
    ];
    for (sequence, manner) in (1..).zip(manners) {
        *node.manner.lock().unwrap() = manner;
        let began = Instant::now();
        let wired = Wired::connect(&gateway, &Card::new("next.lab.test"), false);
        assert!(!wired.device.established, "{manner:?}");
        assert!(began.elapsed() < Duration::from_secs(3), "{manner:?}");
        let refused = gateway.snapshot().refused;
        let expected = u64::from(sequence);
        assert_eq!(
            refused.get("ledger-unavailable"),
            Some(&expected),
            "{manner:?}: {refused:?}"
        );
        first.device.ping(CORE, sequence);
        first.run(|device| device.pongs.contains(&(7, sequence)));
    }

    *node.manner.lock().unwrap() = Manner::Honest;
    let end = Instant::now() + Duration::from_secs(20);
    while !Wired::connect(&gateway, &Card::new("last.lab.test"), false)
        .device
        .established
    {
        assert!(Instant::now() < end, "an honest node is not asked again");
    }
    gateway.stop();
}
