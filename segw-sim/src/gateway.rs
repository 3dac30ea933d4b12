//! The whole gateway: workers, ledger client, metrics and control socket, started and stopped together.

use core::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use esp::InnerNetwork;
use esp::inprocess::CoreNetwork;
use esp::userspace::{Tun, TunConfig, TunError};
use ikev2::auth::{LocalCredential, ProfileVerifier, StapledCredential, TimeProvider, UnixTime};
use ikev2::crypto::RING;
use ikev2::wire::TrafficSelector;
use ikev2::{Admission, ChildConfig, EndpointConfig, Lifetimes, Limits, ResponderConfig};
use ipnet::IpNet;
use ledger_client::{Client, ClientConfig, Source, TokioClock};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle as Task;

use crate::admission::ClientInquiry;
use crate::config::{Backend, Config};
use crate::control::{Control, ControlSocket, SaSummary, Which};
use crate::driver::{Berth, Listeners, Worker};
use crate::mailbox::Command;
use crate::metrics::{Metrics, Snapshot};
use crate::pool::Pool;
use crate::registry::Registry;
use crate::shard::{Shard, ShardConfig, Shared};
use crate::staple::{Inquirer, Keeper, StaplingError};
use crate::{http, lease};

/// A running gateway. [`Gateway::stop`] ends it; dropping it just leaves.
#[derive(Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
    client: Client,
    ike: SocketAddr,
    nat: SocketAddr,
    metrics_address: Option<SocketAddr>,
    workers: Vec<JoinHandle<()>>,
    ended: Receiver<Result<(), String>>,
    tasks: Vec<Task<()>>,
    runtime: Runtime,
}

impl Gateway {
    /// Starts a gateway. `sources` are where the ledger is asked; `config.ledger.nodes` and
    /// `config.identity` are the caller's business.
    ///
    /// # Errors
    ///
    /// [`StartError`], which says what cannot be had and why.
    pub fn start(
        config: &Config,
        credential: Arc<dyn LocalCredential>,
        sources: Vec<Arc<dyn Source>>,
    ) -> Result<Self, StartError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("segw-async")
            .enable_all()
            .build()
            .map_err(StartError::Runtime)?;
        let client = {
            let _entered = runtime.enter();
            Client::spawn(client_config(config), sources, Arc::new(TokioClock))
                .map_err(StartError::Client)?
        };
        let metrics_listener = match config.metrics {
            Some(address) => Some(
                runtime
                    .block_on(TcpListener::bind(address))
                    .map_err(|error| StartError::Metrics { address, error })?,
            ),
            None => None,
        };
        let metrics_address = metrics_listener
            .as_ref()
            .and_then(|listener| listener.local_addr().ok());
        let networks = networks(config)?;
        let listeners = Listeners::open(&config.listen).map_err(StartError::Listen)?;
        let (ike, nat) = (listeners.ike, listeners.nat);
        let (berths, mailboxes) = Berth::make(listeners).map_err(StartError::Worker)?;

        let shared = Arc::new(Shared {
            registry: Registry::new(Pool::new(config.pool.network, config.pool.hold)),
            metrics: Metrics::new(Some(client.clone())),
            inquiry: Arc::new(ClientInquiry::new(client.clone(), runtime.handle().clone())),
            dns: config.pool.dns.clone(),
            mailboxes,
        });
        let (credential, stapling) = stapled(config, credential)?;
        let stapling = stapling.map(|(inquirer, credential)| {
            let mut keeper = Keeper::new(inquirer, credential, Arc::clone(&shared));
            // Before the first device asks; without an answer it goes on all the same.
            let next = runtime.block_on(keeper.refresh());
            (keeper, next)
        });
        let responder = Arc::new(responder_config(config, credential)?);
        let (report, ended) = channel();
        let mut ready = Vec::new();
        for ((number, berth), network) in (0u8..).zip(berths).zip(networks) {
            let shard = Shard::new(
                ShardConfig {
                    number,
                    endpoint: Arc::new(endpoint_config(config, number, nat.port())?),
                    responder: Arc::clone(&responder),
                    replay_window: config.esp.replay_window,
                    children: share(config.limits.sas, config.listen.workers),
                },
                Arc::clone(&shared),
                network,
            );
            let worker = berth.take(number, shard, Arc::clone(&shared));
            ready.push(worker.map_err(StartError::Worker)?);
        }
        // All that can fail for many reasons is behind us: no thread is left over if it did.
        let mut workers = Vec::new();
        for (number, worker) in ready.into_iter().enumerate() {
            match start_worker(number, worker, report.clone()) {
                Ok(thread) => workers.push(thread),
                Err(error) => {
                    stop_workers(&shared, workers);
                    return Err(StartError::Worker(error));
                }
            }
        }
        drop(report);

        let mut tasks = Vec::new();
        tasks.push(runtime.spawn(lease::watch(
            Arc::clone(&shared),
            client.clone(),
            config.ledger.ttl,
        )));
        if let Some((keeper, next)) = stapling {
            tasks.push(runtime.spawn(keeper.keep(next, client.subscribe())));
        }
        if let Some(listener) = metrics_listener {
            tasks.push(runtime.spawn(http::serve(listener, Arc::clone(&shared))));
        }
        if let Some(path) = &config.control {
            // Last, since its file tells that everything else is up.
            let socket = {
                let _entered = runtime.enter();
                ControlSocket::bind(path)
            };
            match socket {
                Ok(socket) => tasks.push(runtime.spawn(socket.serve(Arc::new(GatewayControl {
                    shared: Arc::clone(&shared),
                })))),
                Err(error) => {
                    stop_workers(&shared, workers);
                    return Err(StartError::Control {
                        path: path.clone(),
                        error,
                    });
                }
            }
        }
        tracing::info!(%ike, %nat, workers = config.listen.workers, pool = %config.pool.network, "listening");
        Ok(Self {
            shared,
            client,
            ike,
            nat,
            metrics_address,
            workers,
            ended,
            tasks,
            runtime,
        })
    }

    /// Closes every IKE SA with a Delete, waits two seconds at most for the answers, and ends.
    pub fn stop(self) {
        let Self {
            shared,
            client,
            workers,
            tasks,
            runtime,
            ..
        } = self;
        tracing::info!("stopping");
        stop_workers(&shared, workers);
        for task in tasks {
            task.abort();
            // Waited for, so that the control socket's file is gone when this returns.
            drop(runtime.block_on(task));
        }
        runtime.block_on(client.shutdown());
        drop(shared);
        runtime.shutdown_timeout(Duration::from_secs(1));
    }

    /// Waits until a worker ends by itself, which it does only by failing, or until the time is over.
    ///
    /// # Errors
    ///
    /// Which worker failed, and how.
    pub fn wait(&self, timeout: Duration) -> Result<(), String> {
        match self.ended.recv_timeout(timeout) {
            Ok(Err(failure)) => Err(failure),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }

    /// Where IKE is listened for.
    pub fn ike_address(&self) -> SocketAddr {
        self.ike
    }

    /// Where IKE and ESP in UDP are listened for.
    pub fn nat_address(&self) -> SocketAddr {
        self.nat
    }

    /// Where metrics are served, if they are.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// The most asked-for numbers.
    pub fn snapshot(&self) -> Snapshot {
        self.shared.metrics.snapshot()
    }

    /// All established IKE SAs.
    pub fn sas(&self) -> Vec<SaSummary> {
        let control = GatewayControl {
            shared: Arc::clone(&self.shared),
        };
        self.runtime.block_on(control.list())
    }
}

/// The control socket's view of the gateway.
struct GatewayControl {
    shared: Arc<Shared>,
}

impl Control for GatewayControl {
    async fn list(&self) -> Vec<SaSummary> {
        let mut all = Vec::new();
        for mailbox in &self.shared.mailboxes {
            let (reply, answer) = oneshot::channel();
            mailbox.command(Command::List { reply });
            all.extend(answer.await.unwrap_or_default());
        }
        all
    }

    async fn close(&self, which: Which) -> usize {
        let mut closed = 0;
        for mailbox in &self.shared.mailboxes {
            let (reply, answer) = oneshot::channel();
            mailbox.command(Command::CloseAll {
                which: which.clone(),
                reply,
            });
            closed += answer.await.unwrap_or_default();
        }
        closed
    }

    fn counters(&self) -> Snapshot {
        self.shared.metrics.snapshot()
    }
}

fn start_worker(
    number: usize,
    worker: Worker,
    report: Sender<Result<(), String>>,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name(format!("segw-{number}"))
        .spawn(move || {
            // Sent when the worker ends, by a panic too: then as an error.
            let mut ending = Ending {
                report,
                result: Err(format!("worker {number} panicked")),
            };
            ending.result = worker.run().map_err(|e| format!("worker {number}: {e}"));
        })
}

fn stop_workers(shared: &Shared, workers: Vec<JoinHandle<()>>) {
    for mailbox in &shared.mailboxes {
        mailbox.command(Command::Stop);
    }
    for worker in workers {
        // One that panicked has said so already.
        drop(worker.join());
    }
}

/// Reports how a worker ended, whatever ends it.
struct Ending {
    report: Sender<Result<(), String>>,
    result: Result<(), String>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let result = core::mem::replace(&mut self.result, Ok(()));
        // Nobody waits any more when the gateway itself is stopping.
        drop(self.report.send(result));
    }
}

fn networks(config: &Config) -> Result<Vec<Box<dyn InnerNetwork>>, StartError> {
    let workers = usize::from(config.listen.workers);
    match &config.esp.backend {
        Backend::InProcess { core } => {
            let core: Vec<IpNet> = core
                .iter()
                .map(|address| IpNet::from(IpAddr::V4(*address)))
                .collect();
            let network = || Box::new(CoreNetwork::new(core.clone())) as Box<dyn InnerNetwork>;
            Ok((0..workers).map(|_| network()).collect())
        }
        Backend::Tun { name, address, mtu } => {
            let mut tun = TunConfig::default();
            tun.name = Some(name.clone());
            tun.addresses = address.iter().map(|address| IpNet::V4(*address)).collect();
            tun.mtu = *mtu;
            tun.multi_queue = workers > 1;
            let first = Tun::create(&tun)?;
            let mut networks: Vec<Box<dyn InnerNetwork>> = Vec::new();
            for _ in 1..workers {
                networks.push(Box::new(first.queue()?));
            }
            networks.push(Box::new(first));
            Ok(networks)
        }
    }
}

/// The credential, with room for a staple if one is configured, and who fills it.
#[expect(
    clippy::type_complexity,
    reason = "two things that belong together, for two callers below"
)]
fn stapled(
    config: &Config,
    credential: Arc<dyn LocalCredential>,
) -> Result<
    (
        Arc<dyn LocalCredential>,
        Option<(Inquirer, Arc<StapledCredential>)>,
    ),
    StartError,
> {
    let Some(policy) = &config.ocsp else {
        return Ok((credential, None));
    };
    let inquirer = Inquirer::load(policy, credential.chain())?;
    let stapled = Arc::new(StapledCredential::new(credential));
    let credential: Arc<dyn LocalCredential> = Arc::clone(&stapled) as _;
    Ok((credential, Some((inquirer, stapled))))
}

fn client_config(config: &Config) -> ClientConfig {
    let ledger = &config.ledger;
    ClientConfig {
        capacity: ledger.cache,
        ttl: ledger.ttl,
        negative_ttl: ledger.negative_ttl,
        deadline: ledger.deadline,
        stale_grace: ledger.stale_grace,
        expected_chain: ledger.chain,
        ..ClientConfig::default()
    }
}

fn endpoint_config(
    config: &Config,
    number: u8,
    nat_port: u16,
) -> Result<EndpointConfig, StartError> {
    let workers = config.listen.workers;
    let limits = Limits {
        half_open: share(config.limits.half_open, workers),
        open: share(config.limits.sas, workers),
        ..Limits::default()
    };
    // ESP without UDP would need raw sockets, so peers are told that there is a NAT.
    Ok(
        EndpointConfig::new(Arc::new(RING.clone()), Arc::new(SystemTimeProvider))
            .limits(limits)
            .shard(number)?
            .encapsulation_port(nat_port)
            .force_udp_encapsulation(true),
    )
}

fn responder_config(
    config: &Config,
    credential: Arc<dyn LocalCredential>,
) -> Result<ResponderConfig, StartError> {
    let local = config
        .child
        .local
        .iter()
        .map(|network| TrafficSelector::range(network.network(), network.broadcast()))
        .collect();
    // Peers get an address of the pool and with it their side of the selectors.
    let child = ChildConfig::new(local, Vec::new())?;
    let verifier = Arc::new(ProfileVerifier::new(RING.clone()));
    Ok(ResponderConfig::new(credential, verifier, child)?
        .cookie_threshold(cookie_threshold(config))
        .admission(Admission::ByApplication {
            // The client's own deadline comes first, and says what was wrong.
            within: config.ledger.deadline + Duration::from_secs(1),
        })
        .lifetimes(Lifetimes {
            liveness: config.ike.liveness,
            ..Lifetimes::default()
        }))
}

/// Cookies must be asked for well before a worker has no room for half-open IKE SAs any more: its share of
/// it is small where there are many workers, and a flood from forged addresses would shut everybody out.
fn cookie_threshold(config: &Config) -> usize {
    let room = share(config.limits.half_open, config.listen.workers);
    config.listen.cookie_threshold.min(room / 2)
}

/// One worker's share of a limit.
fn share(limit: usize, workers: u8) -> usize {
    limit.div_ceil(usize::from(workers.max(1)))
}

/// The machine's wall clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemTimeProvider;

impl TimeProvider for SystemTimeProvider {
    fn current_time(&self) -> Option<UnixTime> {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .ok()
            .map(UnixTime::since_epoch)
    }
}

/// Finds what [`Gateway::start`] would refuse in the values of a configuration, without starting anything.
///
/// # Errors
///
/// The same [`StartError`].
pub fn check(config: &Config, credential: Arc<dyn LocalCredential>) -> Result<(), StartError> {
    client_config(config).check().map_err(StartError::Client)?;
    let (credential, _) = stapled(config, credential)?;
    responder_config(config, credential)?;
    for number in 0..config.listen.workers {
        endpoint_config(config, number, config.listen.nat_port)?;
    }
    Ok(())
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The ledger client refuses its configuration.
    #[error("[ledger]: {0}")]
    Client(ledger_client::ConfigError),
    /// The control socket cannot be had.
    #[error("control.socket: {error}")]
    Control {
        /// Its path.
        path: PathBuf,
        /// Why; names the path.
        error: io::Error,
    },
    /// The IKE library refuses its configuration.
    #[error("IKE: {0}")]
    Ike(#[from] ikev2::ConfigError),
    /// A UDP socket cannot be had.
    #[error("[listen]: {0}")]
    Listen(io::Error),
    /// The metrics address cannot be had.
    #[error("metrics.listen: cannot listen on TCP {address}: {error}")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// No runtime for the ledger client.
    #[error("no threads for the ledger client: {0}")]
    Runtime(io::Error),
    /// What is stapled cannot be asked for.
    #[error(transparent)]
    Ocsp(#[from] StaplingError),
    /// The TUN device cannot be had.
    #[error("[esp]: {0}")]
    Tun(#[from] TunError),
    /// A worker cannot be started.
    #[error("a worker cannot be started: {0}")]
    Worker(io::Error),
}

impl fmt::Debug for GatewayControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayControl").finish_non_exhaustive()
    }
}
