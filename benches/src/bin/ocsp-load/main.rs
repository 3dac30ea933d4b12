//! What `benches/report` needs beside wrk to measure `ocsp-bridge`: a bare hyper server and a bare signature to
//! compare with, load at a fixed rate, and slow clients. Each command prints one JSON object.

mod bare;
mod closing;
mod exchange;
mod open_loop;
mod sign;
mod slow;
mod spinning;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a fixed body by hyper, whatever is asked, until killed.
    Bare(bare::Bare),
    /// Send requests, each on a connection of its own.
    Closing(closing::Closing),
    /// Send requests at a fixed rate, and take each latency from the time at which the request was due.
    OpenLoop(open_loop::OpenLoop),
    /// Make signatures with ECDSA P-256 and SHA-256.
    Sign(sign::Sign),
    /// Open connections that are slow or idle, and open them again when the server closes them.
    Slow(slow::Slow),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Bare(bare) => bare.run(),
        Command::Closing(closing) => closing.run(),
        Command::OpenLoop(open_loop) => open_loop.run(),
        Command::Sign(sign) => sign.run(),
        Command::Slow(slow) => slow.run(),
    };
    match done {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("ocsp-load: {error}");
            ExitCode::FAILURE
        }
    }
}
