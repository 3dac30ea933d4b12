//! A connection for each request, as simple clients make them.
//!
//! Every connection is used: `openssl ocsp` as a server waits for ever on one that is opened and closed without a
//! request, which other load generators do.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::exchange::{Exchange, read_requests};

#[derive(Args)]
pub(super) struct Closing {
    #[arg(long, value_name = "ADDRESS:PORT")]
    address: SocketAddr,
    /// DER requests, one in hexadecimal on each line.
    #[arg(long, value_name = "FILE")]
    requests: PathBuf,
    /// How many requests.
    #[arg(long)]
    count: usize,
    /// How many at one time.
    #[arg(long, default_value_t = 4)]
    clients: u32,
}

impl Closing {
    pub(super) fn run(&self) -> Result<Value, String> {
        let requests = read_requests(&self.requests, "Connection: close\r\n")?;
        let next = AtomicUsize::new(0);
        let began = Instant::now();
        let ask = || -> Result<u64, String> {
            let mut wrong = 0;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= self.count {
                    return Ok(wrong);
                }
                let request = &requests[number % requests.len()];
                let is_signed = Exchange::connect(self.address, PATIENCE)
                    .and_then(|mut exchange| exchange.ask(request))
                    .map_err(|error| format!("{}: {error}", self.address))?;
                wrong += u64::from(!is_signed);
            }
        };
        let wrong = thread::scope(|scope| {
            let threads: Vec<_> = (0..self.clients).map(|_| scope.spawn(ask)).collect();
            let panicked = |_| Err("a thread panicked".to_owned());
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(panicked))
                .sum::<Result<u64, String>>()
        })?;
        Ok(json!({
            "requests": self.count,
            "not_signed": wrong,
            "seconds": began.elapsed().as_secs_f64(),
        }))
    }
}

/// An answer that takes longer ends the run.
const PATIENCE: Duration = Duration::from_secs(30);
