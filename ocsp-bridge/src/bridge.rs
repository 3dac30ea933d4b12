//! The whole bridge: ledger client, responder and HTTP servers, started and stopped together.

mod upkeep;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use ledger_client::{Client, ClientConfig, HttpSource, Source as LedgerNode, TokioClock};
use ocsp::UnixTime;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use crate::config::{Config, KeyPlace, PinConflict, SignerFiles, TlsListen};
use crate::crl::{self, CrlLoadError, Crls};
use crate::http::{self, Service, Tls, TlsError, TlsIdentity};
use crate::ledger::LedgerSource;
use crate::metrics::Metrics;
use crate::responder::Responder;
use crate::signer::{Signer, SignerError, token_key};
use crate::signers::Signers;
use settings::credential::{CredentialFileError, read_certificates, read_key};

/// A bridge that serves.
pub struct Bridge {
    addresses: Vec<SocketAddr>,
    metrics_address: Option<SocketAddr>,
    running: Mutex<Config>,
    responder: Arc<Responder>,
    service: Arc<Service>,
    tls: Option<Arc<Tls>>,
    crls: Arc<Crls>,
    metrics: Arc<Metrics>,
    client: Client,
    stopping: Arc<AtomicBool>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Bridge {
    /// Starts all parts on the current Tokio runtime. When it returns, the sockets are open.
    ///
    /// # Errors
    ///
    /// [`StartError`], which names the file or the address.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let (
            config,
            Loaded {
                signers,
                identity,
                crls,
            },
        ) = Loaded::of(config).await?;
        let client = spawn_client(&config)?;
        let mut metrics = Metrics::new();
        metrics.watch(client.clone());
        // The source and the responder need the metrics, and the metrics show what the responder counts.
        let cell = metrics.watch_responder();
        let crls = Arc::new(crls);
        metrics.watch_crls(Arc::clone(&crls));
        let metrics = Arc::new(metrics);
        let mut index = config.ledger.index.clone();
        // What is not remembered here, a certificate that shares a CertID cannot end in the cache of answers.
        index.capacity = index.capacity.max(config.policy.cache_capacity.get());
        let source = LedgerSource::new(index, client.clone(), Arc::clone(&metrics))
            .map_err(StartError::Ledger)?;
        let source = Arc::new(source);
        let responder = Arc::new(Responder::new(
            config.policy.clone(),
            signers,
            Arc::clone(&source) as _,
        ));
        // There is only this one; a second would not be shown, and that is all.
        let _shown = cell.set(Arc::downgrade(&responder));
        upkeep::show_expiry(&metrics, &responder);
        upkeep::show_tls_expiry(&metrics, identity.as_ref());
        let tls = identity.map(|identity| Arc::new(Tls::new(identity)));
        let service = Service::new(
            &config.listen.path,
            config.limits,
            config.access,
            Arc::clone(&responder),
            Arc::clone(&metrics),
        );
        let service = Arc::new(service.with_crls(Arc::clone(&crls)));
        let (stop, stopped) = watch::channel(false);
        let stopping = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();

        let mut listeners = Vec::new();
        for &address in &config.listen.addresses {
            let (listener, address) = bind(address).await?;
            listeners.push((listener, address, None));
        }
        for &address in config.listen.tls.iter().flat_map(|tls| &tls.addresses) {
            let (listener, address) = bind(address).await?;
            listeners.push((listener, address, tls.clone()));
        }
        let operations = match config.metrics {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let addresses = listeners.iter().map(|(_, address, _)| *address).collect();
        let metrics_address = operations.as_ref().map(|(_, address)| *address);

        tasks.spawn(upkeep::follow_changes(
            Arc::clone(&source),
            client.subscribe(),
            Arc::clone(&responder),
            Arc::clone(&crls),
        ));
        for (listener, address, tls) in listeners {
            let over = if tls.is_some() { "HTTPS" } else { "HTTP" };
            tracing::info!(%address, "OCSP over {over} listening");
            tasks.spawn(http::serve(
                Arc::clone(&service),
                listener,
                tls,
                until(stopped.clone()),
            ));
        }
        if let Some((listener, address)) = operations {
            tracing::info!(%address, "metrics, health and readiness listening");
            let readiness = upkeep::readiness(&source, &responder, &crls, &stopping);
            let shown = Arc::clone(&metrics);
            tasks.spawn(http::serve_operations(
                listener,
                Arc::new(move || shown.text()),
                readiness,
                until(stopped.clone()),
            ));
        }
        tasks.spawn(upkeep::watch_stream(
            Arc::clone(&source),
            Arc::clone(&responder),
            stopped.clone(),
        ));
        tasks.spawn(upkeep::check_keys(
            Arc::clone(&responder),
            Arc::clone(&crls),
            stopped.clone(),
        ));
        let nodes = Arc::new(crl::nodes(&config.ledger.index.nodes).map_err(StartError::Ledger)?);
        for issuer in crls.iter() {
            let (issuer, nodes) = (Arc::clone(issuer), Arc::clone(&nodes));
            let (patience, stopped) = (config.ledger.index.ttl, stopped.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = crl::follow(issuer, nodes, patience) => {}
                    () = until(stopped) => {}
                }
            });
        }
        tasks.spawn(upkeep::watch_expiry(
            Arc::clone(&responder),
            Arc::clone(&crls),
            stopped,
        ));
        Ok(Self {
            addresses,
            metrics_address,
            running: Mutex::new(config),
            responder,
            service,
            tls,
            crls,
            metrics,
            client,
            stopping,
            stop,
            tasks,
        })
    }

    /// Takes over signers, TLS certificate, policy and access log of another configuration, from the next request on. Requests
    /// under way end as they began. What only a restart can change is named in the log.
    ///
    /// # Errors
    ///
    /// [`StartError`] when a signer or the TLS certificate cannot be used; then everything stays as it is.
    pub async fn reload(&self, config: Config) -> Result<(), StartError> {
        let (
            config,
            Loaded {
                signers,
                identity,
                crls,
            },
        ) = match Loaded::of(config).await {
            Ok(loaded) => loaded,
            Err(error) => {
                self.metrics.reloads_refused.inc();
                return Err(error);
            }
        };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for field in running.needs_restart(&config) {
            tracing::warn!(field, "the change takes effect only after a restart");
        }
        self.responder.replace(config.policy.clone(), signers);
        self.crls.replace_signers(&crls);
        self.service.log_access(config.access);
        // Listeners, ledger and limits go on as they were: a later reload compares with those.
        if let (Some(tls), Some(identity)) = (&self.tls, identity) {
            upkeep::show_tls_expiry(&self.metrics, Some(&identity));
            tls.replace(identity);
        }
        running.policy = config.policy;
        running.signer = config.signer;
        running.delegates = config.delegates;
        running.access = config.access;
        upkeep::show_expiry(&self.metrics, &self.responder);
        self.metrics.reloads.inc();
        tracing::info!("signers and policy reloaded");
        Ok(())
    }

    /// A reload was asked for with a configuration that cannot be read.
    pub fn refuse_reload(&self) {
        self.metrics.reloads_refused.inc();
    }

    /// Where requests are served: those without TLS first.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where metrics, health and readiness are served.
    pub const fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Stops gracefully: not ready from now on, no new connections, requests under way are finished.
    pub async fn stop(mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.stop.send_replace(true);
        self.client.shutdown().await;
        while self.tasks.join_next().await.is_some() {}
    }
}

/// What is read from files and tokens.
struct Loaded {
    signers: Signers,
    identity: Option<TlsIdentity>,
    crls: Crls,
}

impl Loaded {
    /// What a configuration names, and the configuration. It is read on a thread of its own: a token may never answer.
    async fn of(config: Config) -> Result<(Config, Self), StartError> {
        let load = spawn_blocking(move || {
            let now = wall_clock();
            // Before any PIN is tried.
            config.check_pins()?;
            let loaded = Self {
                signers: load_signers(&config, now)?,
                identity: load_tls(&config, now)?,
                crls: Crls::load(&config, now)?,
            };
            Ok((config, loaded))
        });
        match timeout(LOAD_TIME, load).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(_)) | Err(_) => Err(StartError::NotLoaded),
        }
    }
}

/// Reads the signers that a configuration names.
///
/// # Errors
///
/// [`StartError`], which names the file and what is wrong with it.
pub fn load_signers(config: &Config, now: UnixTime) -> Result<Signers, StartError> {
    let mut signers = Signers::new();
    if let Some(files) = &config.signer {
        signers.add_local(load_signer(files, now)?);
    }
    for delegate in &config.delegates {
        let signer = load_signer(&delegate.signer, now)?;
        let issuer = first_certificate(&delegate.issuer)?;
        signers
            .add_delegate(&issuer, signer)
            .map_err(|error| StartError::Signer {
                certificate: delegate.signer.certificate.clone(),
                key: Box::new(delegate.signer.key.clone()),
                error,
            })?;
    }
    Ok(signers)
}

/// Reads the certificate and key for TLS that a configuration names, if it does.
///
/// # Errors
///
/// [`StartError`], which names the file and what is wrong with it.
pub fn load_tls(config: &Config, now: UnixTime) -> Result<Option<TlsIdentity>, StartError> {
    let Some(TlsListen {
        certificate, key, ..
    }) = &config.listen.tls
    else {
        return Ok(None);
    };
    let pkcs8 = read_key(key)?;
    TlsIdentity::new(now, read_certificates(certificate)?, pkcs8.as_bytes())
        .map(Some)
        .map_err(|error| StartError::Tls {
            certificate: certificate.clone(),
            key: key.clone(),
            error,
        })
}

fn load_signer(files: &SignerFiles, now: UnixTime) -> Result<Signer, StartError> {
    let certificate = first_certificate(&files.certificate)?;
    let bad = |error| StartError::Signer {
        certificate: files.certificate.clone(),
        key: Box::new(files.key.clone()),
        error,
    };
    match &files.key {
        KeyPlace::File(path) => {
            let key = read_key(path)?;
            Signer::from_pkcs8(now, key.as_bytes(), &certificate).map_err(bad)
        }
        KeyPlace::Token(place) => token_key(place, &certificate)
            .and_then(|key| Signer::new(now, key, &certificate))
            .map_err(bad),
    }
}

fn first_certificate(path: &std::path::Path) -> Result<Vec<u8>, StartError> {
    // A file without any is an error already.
    Ok(read_certificates(path)?
        .into_iter()
        .next()
        .unwrap_or_default())
}

/// Starts a ledger client as a configuration says, on the current Tokio runtime.
///
/// # Errors
///
/// [`StartError::Ledger`] when it cannot be used.
pub fn spawn_client(config: &Config) -> Result<Client, StartError> {
    let nodes = config
        .ledger
        .index
        .nodes
        .iter()
        .map(|node| HttpSource::new(node).map(|source| Arc::new(source) as Arc<dyn LedgerNode>))
        .collect::<Result<_, _>>()
        .map_err(StartError::Ledger)?;
    let client = ClientConfig {
        capacity: config.ledger.cache,
        ttl: config.ledger.index.ttl,
        negative_ttl: config.ledger.index.negative_ttl,
        deadline: config.ledger.index.deadline,
        hedge_after: config.ledger.index.hedge_after,
        max_inquiries: config.ledger.index.look_ups,
        expected_chain: config.ledger.chain,
        // Fail closed: what the ledger does not confirm is tryLater.
        stale_grace: None,
        ..ClientConfig::default()
    };
    Client::spawn(client, nodes, Arc::new(TokioClock)).map_err(StartError::Ledger)
}

/// Listens on an address, and says which it became.
///
/// # Errors
///
/// [`StartError::Listen`].
pub async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| StartError::Listen { address, error })?;
    let address = listener.local_addr().unwrap_or(address);
    Ok((listener, address))
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // The sender's end is a stop, too.
    let _stopped = stopped.wait_for(|stopped| *stopped).await;
}

fn wall_clock() -> UnixTime {
    UnixTime::from(SystemTime::now())
}

/// Why the bridge does not start, or does not take over a configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// A certificate or key file cannot be read.
    #[error(transparent)]
    File(#[from] CredentialFileError),
    /// The ledger client cannot be started.
    #[error("ledger: {0}")]
    Ledger(ledger_client::ConfigError),
    /// Two entries give one token different PINs.
    #[error(transparent)]
    Pins(#[from] PinConflict),
    /// The CRLs cannot be issued.
    #[error(transparent)]
    Crl(#[from] CrlLoadError),
    /// An address cannot be listened on.
    #[error("{address}: cannot listen: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// A file or a token did not answer.
    #[error(
        "keys and certificates were not read within {} s: a token, or the file system, does not answer", LOAD_TIME.as_secs()
    )]
    NotLoaded,
    /// Certificate and key cannot be used to sign with.
    #[error("{} with {key}: {error}", certificate.display())]
    Signer {
        /// The certificate's file.
        certificate: PathBuf,
        /// Where the key is.
        key: Box<KeyPlace>,
        /// What is wrong.
        error: SignerError,
    },
    /// Certificate and key cannot be used for TLS.
    #[error("{} with {}: {error}", certificate.display(), key.display())]
    Tls {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        error: TlsError,
    },
}

/// How long all keys and certificates may take to be read.
const LOAD_TIME: Duration = Duration::from_secs(30);
