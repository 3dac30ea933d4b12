//! Writes the seeds of the target `ike_datagrams` into `corpus/ike_datagrams`.
//!
//! `cargo run --example ike_datagrams_seeds`, in this folder, after the target's operations have changed.

use std::path::Path;
use std::{fs, io};

const INITIATE: &[u8] = &[0];
/// Time for a handshake.
const RUN: &[u8] = &[1, 50];
const SECONDS: u8 = 2;
const SLEEP: u8 = 3;
const INJECT: u8 = 4;
const REPLAY: u8 = 5;
const COMMAND: u8 = 7;
const ADMIT: u8 = 8;
const IMPAIR: u8 = 9;

const RESPONDER: u8 = 0;
const INITIATOR: u8 = 1;
/// The second operand of a datagram: a path.
const STRANGER: u8 = 4;

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/ike_datagrams");
    fs::create_dir_all(&folder)?;
    for (name, operations) in seeds() {
        fs::write(folder.join(format!("{name}.seed")), operations.concat())?;
    }
    Ok(())
}

fn seeds() -> Vec<(&'static str, Vec<&'static [u8]>)> {
    vec![
        ("handshake", vec![INITIATE, RUN]),
        // Side, path, which, how many octets are altered, what happens to the length.
        (
            "replay-to-both",
            vec![
                INITIATE,
                RUN,
                &[REPLAY, RESPONDER, 0, 0, 0, 7],
                &[REPLAY, RESPONDER, STRANGER, 2, 0, 7],
                &[REPLAY, INITIATOR, 1, 3, 0, 7],
                &[SECONDS, 30],
            ],
        ),
        (
            "altered-answer",
            vec![
                INITIATE,
                &[1, 4],
                &[REPLAY, INITIATOR, 1, 1, 1, 0, 40, 0xff, 7],
                RUN,
            ],
        ),
        (
            "cut-and-grown",
            vec![
                INITIATE,
                RUN,
                &[REPLAY, RESPONDER, 0, 2, 0, 0, 60, 0],
                &[REPLAY, RESPONDER, 0, 2, 0, 1, 9, 0],
                &[REPLAY, RESPONDER, 0, 2, 0, 2, 9, 0],
            ],
        ),
        (
            "flood",
            vec![
                &[ADMIT, 1],
                INITIATE,
                INITIATE,
                INITIATE,
                INITIATE,
                RUN,
                &[REPLAY, RESPONDER, STRANGER, 0, 1, 0, 3, 1, 7],
                &[REPLAY, RESPONDER, STRANGER, 0, 1, 0, 3, 2, 7],
                &[SECONDS, 20],
            ],
        ),
        (
            "stray",
            vec![
                &[INJECT, RESPONDER, STRANGER, 28],
                b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02",
                b"\x2e\x20\x25\x08\0\0\0\x03\0\0\0\x1c",
                &[INJECT, RESPONDER, 0, 1, 0xff],
            ],
        ),
        (
            "probe-and-delete",
            vec![
                INITIATE,
                RUN,
                &[COMMAND, RESPONDER, 0, 4],
                RUN,
                &[COMMAND, INITIATOR, 0, 2],
                RUN,
                &[COMMAND, RESPONDER, 0, 0, COMMAND, INITIATOR, 0, 0],
                RUN,
            ],
        ),
        (
            "forgotten",
            vec![INITIATE, RUN, &[COMMAND, RESPONDER, 0, 1, SECONDS, 90]],
        ),
        (
            "bad-network",
            vec![&[IMPAIR, 40, 40, 250], INITIATE, INITIATE, &[SECONDS, 60]],
        ),
        (
            "slept",
            vec![INITIATE, RUN, &[SLEEP, 40], INITIATE, RUN, &[SLEEP, 255]],
        ),
    ]
}
