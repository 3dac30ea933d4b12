//! Load that does not wait for the server: requests are due at fixed times, and each latency counts from then, so
//! that a server that stalls is charged for all the requests that came meanwhile (no coordinated omission).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::exchange::{Exchange, read_requests};
use super::spinning;

#[derive(Args)]
pub(super) struct OpenLoop {
    #[arg(long, value_name = "ADDRESS:PORT")]
    address: SocketAddr,
    /// DER requests, one in hexadecimal on each line.
    #[arg(long, value_name = "FILE")]
    requests: PathBuf,
    /// Requests a second, over all connections.
    #[arg(long)]
    rate: f64,
    #[arg(long, default_value_t = 64)]
    connections: u32,
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Drive all connections from one thread that never sleeps: for high rates, on a core of its own.
    #[arg(long)]
    spin: bool,
}

/// What one connection saw.
pub(super) struct Seen {
    pub(super) latency: Histogram<u64>,
    /// How late the generator itself was when it had nothing else to do: its own error.
    pub(super) lag: Histogram<u64>,
    pub(super) wrong: u64,
}

impl OpenLoop {
    pub(super) fn run(&self) -> Result<Value, String> {
        if !(self.rate > 0.0 && self.seconds > 0.0 && self.connections > 0) {
            return Err("rate, seconds and connections must be more than 0".to_owned());
        }
        let requests = read_requests(&self.requests, "")?;
        let began = Instant::now() + LEAD;
        let seen = if self.spin {
            let connections = usize::try_from(self.connections).unwrap_or_default();
            let time = Duration::from_secs_f64(self.seconds);
            spinning::drive(self.address, connections, &requests, self.rate, time)?
        } else {
            self.threads(&requests)?
        };
        let took = began.elapsed().as_secs_f64();
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts of requests are far below 2^52"
        )]
        let count = seen.latency.len() as f64;
        Ok(json!({
            "requests": seen.latency.len(),
            "per_s": count / took,
            "not_signed": seen.wrong,
            "p50_us": seen.latency.value_at_quantile(0.5),
            "p99_us": seen.latency.value_at_quantile(0.99),
            "p999_us": seen.latency.value_at_quantile(0.999),
            "max_us": seen.latency.max(),
            "generator_lag_p99_us": seen.lag.value_at_quantile(0.99),
        }))
    }

    /// A thread for each connection.
    fn threads(&self, requests: &[Vec<u8>]) -> Result<Seen, String> {
        let period = Duration::from_secs_f64(f64::from(self.connections) / self.rate);
        let mut open = Vec::new();
        for _ in 0..self.connections {
            let exchange = Exchange::connect(self.address, PATIENCE);
            open.push(exchange.map_err(|error| format!("{}: {error}", self.address))?);
        }
        let began = Instant::now() + LEAD;
        let end = began + Duration::from_secs_f64(self.seconds);
        let seen: Vec<Result<Seen, String>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..self.connections)
                .zip(open)
                .map(|(number, exchange)| {
                    let phase = period.mul_f64(f64::from(number) / f64::from(self.connections));
                    let skip = usize::try_from(number).unwrap_or_default();
                    scope.spawn(move || {
                        let requests = requests.iter().cycle().skip(skip % requests.len());
                        drive(exchange, requests, began + phase, period, end)
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| {
                    let panicked = |_| Err("a thread panicked".to_owned());
                    thread.join().unwrap_or_else(panicked)
                })
                .collect()
        });
        let mut all = Seen::new()?;
        for seen in seen {
            let seen = seen?;
            all.latency.add(seen.latency).map_err(histogram)?;
            all.lag.add(seen.lag).map_err(histogram)?;
            all.wrong += seen.wrong;
        }
        Ok(all)
    }
}

impl Seen {
    pub(super) fn new() -> Result<Self, String> {
        Ok(Self {
            latency: Histogram::new(3).map_err(histogram)?,
            lag: Histogram::new(3).map_err(histogram)?,
            wrong: 0,
        })
    }
}

fn drive<'a>(
    mut exchange: Exchange,
    requests: impl Iterator<Item = &'a Vec<u8>>,
    first: Instant,
    period: Duration,
    end: Instant,
) -> Result<Seen, String> {
    let mut seen = Seen::new()?;
    let mut due = first;
    for request in requests {
        if due >= end {
            break;
        }
        if let Some(wait) = due.checked_duration_since(Instant::now()) {
            thread::sleep(wait);
            seen.lag += microseconds(due.elapsed());
        }
        let is_signed = exchange
            .ask(request)
            .map_err(|error| format!("the server broke an exchange off: {error}"))?;
        seen.latency += microseconds(due.elapsed());
        seen.wrong += u64::from(!is_signed);
        due += period;
    }
    Ok(seen)
}

pub(super) fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn histogram(error: impl std::fmt::Display) -> String {
    format!("histogram: {error}")
}

/// From the last connection to the first request.
pub(super) const LEAD: Duration = Duration::from_millis(100);

/// An answer that takes longer ends the run.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
