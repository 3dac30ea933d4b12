//! A daemon on a socket and a ledger with its node, both scripted, for the tests.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt as _, stream};
use ledger::{
    BlockTime, CertificateHash, ChainId, Height, RevocationReason, Status, StatusAnswer,
    StatusEvent,
};
use ledger_client::{
    BoxFuture, Client, ClientConfig, EventStream, Source, SourceError, StreamItem, TokioClock,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::message::Section;
use super::recorded::Recorded;

/// Waits until that is so.
pub(super) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(10), "not so: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// How the daemon treats a command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mood {
    /// It closes the connection after half of the answer.
    Breaks,
    /// It does not answer.
    Hangs,
    /// It answers something that is no packet.
    Raves,
    /// It answers `success = no`.
    Refuses,
    /// It says that it does not know the command.
    Forgets,
}

#[derive(Default)]
struct Daemon {
    /// Identity and seconds since it was established, by number.
    sas: BTreeMap<u64, (String, u64)>,
    certificates: Vec<Vec<u8>>,
    authorities: BTreeMap<String, Section>,
    moods: BTreeMap<&'static str, Mood>,
    commands: Vec<String>,
    threads: u64,
    listeners: Vec<mpsc::UnboundedSender<Vec<u8>>>,
}

/// A daemon. Its connections end with it.
pub(super) struct ScriptedDaemon {
    pub(super) socket: PathBuf,
    state: Arc<Mutex<Daemon>>,
    serving: JoinHandle<()>,
}

impl Drop for ScriptedDaemon {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl ScriptedDaemon {
    pub(super) fn start(socket: PathBuf) -> Self {
        let listener = UnixListener::bind(&socket).unwrap();
        let state = Arc::new(Mutex::new(Daemon::default()));
        let shared = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self {
            socket,
            state,
            serving,
        }
    }

    fn state(&self) -> MutexGuard<'_, Daemon> {
        self.state.lock().unwrap()
    }

    pub(super) fn has_threads(&self, threads: u64) {
        self.state().threads = threads;
    }

    /// An IKE_SA is there already.
    pub(super) fn has(&self, id: u64, identity: &str, age: u64) {
        self.state().sas.insert(id, (identity.to_owned(), age));
    }

    pub(super) fn knows(&self, certificate: &[u8]) {
        self.state().certificates.push(certificate.to_vec());
    }

    /// An IKE_SA comes up, and everybody is told.
    pub(super) fn comes_up(&self, id: u64, identity: &str) {
        self.has(id, identity, 0);
        let message = Section::new()
            .with("up", "yes")
            .with_section("c", sa(id, identity, 0));
        self.tell("ike-updown", &message);
    }

    pub(super) fn tell(&self, event: &str, message: &Section) {
        let octets = event_packet(event, message);
        self.state()
            .listeners
            .retain(|listener| listener.send(octets.clone()).is_ok());
    }

    pub(super) fn is_in(&self, id: u64) -> bool {
        self.state().sas.contains_key(&id)
    }

    pub(super) fn authorities(&self) -> Vec<String> {
        self.state().authorities.keys().cloned().collect()
    }

    pub(super) fn authority(&self, name: &str) -> Option<Section> {
        self.state().authorities.get(name).cloned()
    }

    pub(super) fn load(&self, name: &str, section: Section) {
        self.state().authorities.insert(name.to_owned(), section);
    }

    pub(super) fn unload_all(&self) {
        self.state().authorities.clear();
    }

    /// How a command is treated from now on.
    pub(super) fn treats(&self, command: &'static str, mood: Option<Mood>) {
        match mood {
            Some(mood) => self.state().moods.insert(command, mood),
            None => self.state().moods.remove(command),
        };
    }

    /// How often a command came.
    pub(super) fn count(&self, command: &str) -> usize {
        let state = self.state();
        state.commands.iter().filter(|its| *its == command).count()
    }
}

fn sa(id: u64, identity: &str, age: u64) -> Section {
    Section::new()
        .with("uniqueid", id.to_string())
        .with("state", "ESTABLISHED")
        .with("remote-id", identity)
        .with("established", age.to_string())
}

fn event_packet(event: &str, message: &Section) -> Vec<u8> {
    let mut packet = vec![7, u8::try_from(event.len()).unwrap()];
    packet.extend_from_slice(event.as_bytes());
    message.encode(&mut packet);
    packet
}

async fn send(stream: &mut UnixStream, packet: &[u8]) -> Option<()> {
    let len = u32::try_from(packet.len()).unwrap().to_be_bytes();
    stream.write_all(&len).await.ok()?;
    stream.write_all(packet).await.ok()
}

async fn receive(stream: &mut UnixStream) -> Option<(u8, String, Section)> {
    let mut len = [0; 4];
    stream.read_exact(&mut len).await.ok()?;
    let mut packet = vec![0; usize::try_from(u32::from_be_bytes(len)).unwrap()];
    stream.read_exact(&mut packet).await.ok()?;
    let name_end = 2 + usize::from(packet[1]);
    let name = String::from_utf8(packet[2..name_end].to_vec()).unwrap();
    let message = Section::decode(&packet[name_end..]).unwrap();
    Some((packet[0], name, message))
}

async fn serve(mut stream: UnixStream, state: Arc<Mutex<Daemon>>) -> Option<()> {
    let (tell, mut told) = mpsc::unbounded_channel::<Vec<u8>>();
    loop {
        let (kind, name, message) = tokio::select! {
            Some(event) = told.recv() => {
                send(&mut stream, &event).await?;
                continue;
            }
            received = receive(&mut stream) => received?,
        };
        if kind != 0 {
            if kind == 3 && name.starts_with("ike-") {
                state.lock().unwrap().listeners.push(tell.clone());
            }
            send(&mut stream, &[5]).await?;
            continue;
        }
        let mood = {
            let mut state = state.lock().unwrap();
            state.commands.push(name.clone());
            if message.text("flag") == Some("CA") {
                state.commands.push(format!("{name} CA"));
            }
            state.moods.get(name.as_str()).copied()
        };
        match mood {
            None => {
                let (events, answer) = obey(&mut state.lock().unwrap(), &name, &message);
                for event in events {
                    send(&mut stream, &event).await?;
                }
                let mut packet = vec![1];
                answer.encode(&mut packet);
                send(&mut stream, &packet).await?;
            }
            Some(Mood::Breaks) => {
                stream.write_all(&[0, 0, 0, 9, 1, 3]).await.ok()?;
                return None;
            }
            Some(Mood::Hangs) => {}
            Some(Mood::Raves) => send(&mut stream, &[1, 9, 9]).await?,
            Some(Mood::Refuses) => {
                let answer = Section::new().with("success", "no").with("errmsg", "no");
                let mut packet = vec![1];
                answer.encode(&mut packet);
                send(&mut stream, &packet).await?;
            }
            Some(Mood::Forgets) => send(&mut stream, &[2]).await?,
        }
    }
}

fn obey(state: &mut Daemon, command: &str, message: &Section) -> (Vec<Vec<u8>>, Section) {
    let done = Section::new().with("success", "yes");
    let mut events = Vec::new();
    match command {
        "list-sas" => {
            for (id, (identity, age)) in &state.sas {
                let message = Section::new().with_section("c", sa(*id, identity, *age));
                events.push(event_packet("list-sa", &message));
            }
        }
        "list-conns" => {
            let remote = Section::new().with("class", "public key");
            let message =
                Section::new().with_section("c", Section::new().with_section("remote-1", remote));
            events.push(event_packet("list-conn", &message));
        }
        "list-certs" => {
            for certificate in &state.certificates {
                let message = Section::new().with("data", certificate);
                events.push(event_packet("list-cert", &message));
            }
        }
        "terminate" => {
            let id = message.number("ike-id").unwrap();
            if state.sas.remove(&id).is_none() {
                let refused = Section::new().with("success", "no");
                return (events, refused.with("errmsg", "no matching SAs"));
            }
        }
        "list-authorities" => {
            for (name, section) in &state.authorities {
                let message = Section::new().with_section(name, section.clone());
                events.push(event_packet("list-authority", &message));
            }
        }
        "get-authorities" => {
            let names: Vec<&String> = state.authorities.keys().collect();
            return (events, Section::new().with_list("authorities", &names));
        }
        "load-authority" => {
            for (name, section) in message.sections() {
                state.authorities.insert(name.to_owned(), section.clone());
            }
        }
        "unload-authority" => {
            state.authorities.remove(message.text("name").unwrap());
        }
        "flush-certs" | "version" => {}
        "stats" => {
            let workers = Section::new().with("total", state.threads.to_string());
            return (events, Section::new().with_section("workers", workers));
        }
        other => panic!("{other}"),
    }
    (events, done)
}

#[derive(Default)]
struct Chain {
    height: u64,
    statuses: BTreeMap<CertificateHash, (Status, Height)>,
    certificates: BTreeMap<CertificateHash, Vec<u8>>,
    authorities: Vec<CertificateHash>,
    is_away: bool,
    lists_nothing: bool,
}

/// A ledger: a source for the client, and a node that serves certificates and authorities.
#[derive(Clone)]
pub(super) struct ScriptedLedger {
    chain: Arc<Mutex<Chain>>,
    events: broadcast::Sender<StatusEvent>,
}

impl ScriptedLedger {
    /// The ledger, a client of it and its node.
    pub(super) async fn start() -> (Self, Client, Recorded) {
        let ledger = Self {
            chain: Arc::default(),
            events: broadcast::Sender::new(1_000),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(serve_node(listener, Arc::clone(&ledger.chain)));
        let client = Client::spawn(
            ClientConfig::default(),
            vec![Arc::new(ledger.clone())],
            Arc::new(TokioClock),
        )
        .unwrap();
        until("the stream is up", || client.metrics().stream_up).await;
        (ledger, client, Recorded::new(&[url]).unwrap())
    }

    fn chain(&self) -> MutexGuard<'_, Chain> {
        self.chain.lock().unwrap()
    }

    /// Records a certificate as valid.
    pub(super) fn records(&self, certificate: &[u8]) -> CertificateHash {
        let hash = CertificateHash::of(certificate);
        self.chain().certificates.insert(hash, certificate.to_vec());
        self.says(hash, Status::Valid);
        hash
    }

    pub(super) fn records_authority(&self, certificate: &[u8]) -> CertificateHash {
        self.chain()
            .authorities
            .push(CertificateHash::of(certificate));
        self.records(certificate)
    }

    pub(super) fn says(&self, hash: CertificateHash, status: Status) {
        let event = {
            let mut chain = self.chain();
            chain.height += 1;
            let height = Height(chain.height);
            chain.statuses.insert(hash, (status, height));
            StatusEvent {
                height,
                index: 0,
                hash,
                status,
            }
        };
        let _heard = self.events.send(event);
    }

    pub(super) fn revokes(&self, hash: CertificateHash) {
        self.says(hash, revoked_now());
    }

    /// Whether the node serves certificates, but lists no authorities.
    pub(super) fn lists_nothing(&self, lists_nothing: bool) {
        self.chain().lists_nothing = lists_nothing;
    }

    /// Whether the node serves nothing.
    pub(super) fn is_away(&self, is_away: bool) {
        self.chain().is_away = is_away;
    }
}

pub(super) fn revoked_now() -> Status {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Status::Revoked {
        reason: RevocationReason::KeyCompromise,
        time: BlockTime(u64::try_from(now.as_millis()).unwrap()),
    }
}

impl Source for ScriptedLedger {
    fn name(&self) -> &str {
        "scripted"
    }

    fn status(&self, hash: CertificateHash) -> BoxFuture<'_, Result<StatusAnswer, SourceError>> {
        Box::pin(async move {
            let chain = self.chain();
            let status = chain.statuses.get(&hash);
            Ok(StatusAnswer {
                hash,
                status: status.map_or(Status::NotRecorded, |(status, _)| *status),
                class: None,
                not_after: None,
                height: Height(chain.height),
                block_time: BlockTime(0),
                chain: ChainId::from_octets([1; 32]),
            })
        })
    }

    fn events(&self, _from: Height) -> BoxFuture<'_, Result<EventStream, SourceError>> {
        Box::pin(async move {
            let heard = self.events.subscribe();
            let head = Height(self.chain().height);
            let first = stream::iter([Ok(StreamItem::Head(head))]);
            let chain = Arc::clone(&self.chain);
            let rest = stream::unfold((heard, chain), |(mut heard, chain)| async {
                let item = tokio::select! {
                    Ok(event) = heard.recv() => StreamItem::Event(event),
                    () = sleep(Duration::from_millis(200)) => {
                        StreamItem::Head(Height(chain.lock().unwrap().height))
                    }
                };
                Some((Ok(item), (heard, chain)))
            });
            Ok(Box::pin(first.chain(rest)) as EventStream)
        })
    }
}

async fn serve_node(listener: TcpListener, chain: Arc<Mutex<Chain>>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 2_048];
        let read = stream.read(&mut head).await.unwrap();
        let head = String::from_utf8_lossy(&head[..read]).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default();
        let body = {
            let chain = chain.lock().unwrap();
            if chain.is_away || (chain.lists_nothing && path.starts_with("/v1/issuers")) {
                None
            } else if path.starts_with("/v1/issuers") {
                let entry = |hash| format!(r#"{{"hash":"{hash}","status":"valid"}}"#);
                let entries: Vec<String> = chain.authorities.iter().map(entry).collect();
                let list = entries.join(",");
                Some(format!(r#"{{"issuers":[{list}],"next":null,"height":1}}"#).into_bytes())
            } else {
                let hash = path.trim_start_matches("/v1/certificate/").parse().unwrap();
                chain.certificates.get(&hash).cloned()
            }
        };
        let status = if body.is_some() {
            "200 OK"
        } else {
            "404 Not Found"
        };
        let body = body.unwrap_or_default();
        let len = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n");
        let _sent = stream.write_all(head.as_bytes()).await;
        let _sent = stream.write_all(&body).await;
    }
}
