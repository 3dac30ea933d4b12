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
}

/// What one connection saw.
struct Seen {
    latency: Histogram<u64>,
    /// How late the generator itself was when it had nothing else to do: its own error.
    lag: Histogram<u64>,
    wrong: u64,
}

impl OpenLoop {
    pub(super) fn run(&self) -> Result<Value, String> {
        if !(self.rate > 0.0 && self.seconds > 0.0 && self.connections > 0) {
            return Err("rate, seconds and connections must be more than 0".to_owned());
        }
        let requests = read_requests(&self.requests, "")?;
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
                    let requests = &requests;
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
        let took = began.elapsed().as_secs_f64();
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts of requests are far below 2^52"
        )]
        let count = all.latency.len() as f64;
        Ok(json!({
            "requests": all.latency.len(),
            "per_s": count / took,
            "not_signed": all.wrong,
            "p50_us": all.latency.value_at_quantile(0.5),
            "p99_us": all.latency.value_at_quantile(0.99),
            "p999_us": all.latency.value_at_quantile(0.999),
            "max_us": all.latency.max(),
            "generator_lag_p99_us": all.lag.value_at_quantile(0.99),
        }))
    }
}

impl Seen {
    fn new() -> Result<Self, String> {
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

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn histogram(error: impl std::fmt::Display) -> String {
    format!("histogram: {error}")
}

/// From the last connection to the first request.
const LEAD: Duration = Duration::from_millis(100);

/// An answer that takes longer ends the run.
const PATIENCE: Duration = Duration::from_secs(30);
