//! The program: its subcommands, signals and exit codes.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};

use crate::stage::PATIENCE;

fn bridge(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ocsp-bridge"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let output = bridge(folder, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn fails(folder: &Path, code: i32, arguments: &[&str]) -> String {
    let output = bridge(folder, arguments);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{arguments:?}: {output:?}"
    );
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn what_init_makes_is_good_and_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for kind in ["p256", "p384", "ed25519"] {
        succeeds(at, &["init", "--dir", kind, "--key", kind, "--days", "30"]);
        let config = format!("{kind}/bridge.toml");
        let text = succeeds(at, &["check-config", "--config", &config]);
        let in_a_month = text.contains("expires in 30 days") || text.contains("expires in 29 days");
        assert!(text.contains("good") && in_a_month, "{text}");
        let mode = fs::metadata(at.join(kind).join("signer.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let before = fs::read(at.join("p256/signer.key")).unwrap();
    let error = fails(at, 1, &["init", "--dir", "p256"]);
    assert!(
        error.contains("p256/signer.key") && error.contains("not overwritten"),
        "{error}"
    );
    assert_eq!(fs::read(at.join("p256/signer.key")).unwrap(), before);
    let error = fails(at, 1, &["init", "--dir", "other", "--node", "ftp://a"]);
    assert!(error.contains("ledger.nodes"), "{error}");
    assert!(!at.join("other").exists());
}

#[test]
fn check_config_names_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    succeeds(at, &["init"]);
    let key = at.join("signer.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    for verb in ["check-config", "run"] {
        let error = fails(at, 1, &[verb, "--config", "bridge.toml"]);
        assert!(
            error.contains("signer.key") && error.contains("chmod 600"),
            "{error}"
        );
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    succeeds(at, &["init", "--dir", "other"]);
    fs::copy(at.join("other/signer.key"), &key).unwrap();
    let error = fails(at, 1, &["check-config", "--config", "bridge.toml"]);
    assert!(error.contains("not for this private key"), "{error}");
    fs::write(at.join("bridge.toml"), "[listen]\nport = 1\n").unwrap();
    let error = fails(at, 1, &["check-config", "--config", "bridge.toml"]);
    assert!(error.contains("bridge.toml:2: listen.port"), "{error}");
    fails(at, 2, &["check-config"]);
    fails(at, 2, &["no-such-verb"]);
}

#[test]
fn a_request_for_a_delegate_has_what_a_ca_must_certify() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let arguments = [
        "delegate-csr",
        "--key",
        "d.key",
        "--subject",
        "vendor-ocsp",
        "--organisation",
        "Vendor",
    ];
    succeeds(at, &[&arguments[..], &["--out", "one.csr"]].concat());
    // The second time with the key that is there.
    let key = fs::read(at.join("d.key")).unwrap();
    succeeds(at, &[&arguments[..], &["--out", "two.csr"]].concat());
    assert_eq!(fs::read(at.join("d.key")).unwrap(), key);
    for file in ["one.csr", "two.csr"] {
        let pem = fs::read_to_string(at.join(file)).unwrap();
        let (label, request) = pkcs8::Document::from_pem(&pem).unwrap();
        assert_eq!(label, "CERTIFICATE REQUEST");
        let id_kp_ocsp_signing = [0x2b, 6, 1, 5, 5, 7, 3, 9];
        let id_pkix_ocsp_nocheck = [0x2b, 6, 1, 5, 5, 7, 0x30, 1, 5];
        for oid in [&id_kp_ocsp_signing[..], &id_pkix_ocsp_nocheck] {
            assert!(
                request
                    .as_bytes()
                    .windows(oid.len())
                    .any(|octets| octets == oid)
            );
        }
    }
    let error = fails(at, 1, &[&arguments[..], &["--out", "two.csr"]].concat());
    assert!(error.contains("two.csr"), "{error}");
}

#[test]
fn strongswan_gets_its_lines() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    succeeds(at, &["init"]);
    let arguments = [
        "strongswan-config",
        "--config",
        "bridge.toml",
        "--ca",
        "signer.pem",
    ];
    let text = succeeds(at, &arguments);
    assert!(
        text.contains("ocsp_uris = http://127.0.0.1:8888/") && text.contains("revocation = strict"),
        "{text}"
    );
    let two = ["--url", "http://a.example/", "--url", "http://b.example/"];
    let text = succeeds(at, &[&arguments[..], &two].concat());
    assert!(
        text.contains("ocsp_uris = http://a.example/, http://b.example/"),
        "{text}"
    );
    fails(at, 1, &[&arguments[..], &["--url", "http://a b/"]].concat());
    fails(
        at,
        1,
        &[
            "strongswan-config",
            "--config",
            "bridge.toml",
            "--ca",
            "signer.key",
        ],
    );
    fails(at, 2, &["strongswan-config", "--config", "bridge.toml"]);
}

#[test]
fn signals_reload_and_stop() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    succeeds(at, &["init", "--listen", "127.0.0.1:0"]);
    let config = fs::read_to_string(at.join("bridge.toml")).unwrap();
    let config = config.replace("127.0.0.1:9472", "127.0.0.1:0");
    fs::write(at.join("bridge.toml"), &config).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ocsp-bridge"))
        .args(["run", "--config", "bridge.toml", "--log-format", "json"])
        .current_dir(at)
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Whatever goes wrong, the log ends at last, and the test with it.
    let pid = Pid::from_child(&child);
    let (done, is_done) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        if is_done.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = kill_process(pid, Signal::KILL);
        }
    });
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut wait_for = |text: &str| loop {
        let line = log.next().expect("the log ends").unwrap();
        if line.contains(text) {
            break line;
        }
    };
    wait_for("OCSP over HTTP listening");
    wait_for("health and readiness listening");
    kill_process(pid, Signal::HUP).unwrap();
    wait_for("signers and policy reloaded");
    fs::write(at.join("bridge.toml"), "nonsense").unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    let line = wait_for("nothing was reloaded");
    assert!(line.contains("bridge.toml:1"), "{line}");
    let changed = config
        .replace("lifetime_s = 60", "lifetime_s = 30")
        .replace("9470", "9479");
    fs::write(at.join("bridge.toml"), changed).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    let line = wait_for("only after a restart");
    assert!(line.contains("\"field\":\"ledger\""), "{line}");
    wait_for("signers and policy reloaded");
    // A reload that never ends, here by a pipe that nobody writes to, keeps from nothing.
    fs::remove_file(at.join("signer.pem")).unwrap();
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, at.join("signer.pem"), FileType::Fifo, mode, 0).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    thread::sleep(Duration::from_millis(500));
    kill_process(pid, Signal::TERM).unwrap();
    wait_for("stopping");
    let code = child.wait().unwrap().code();
    drop(done);
    watchdog.join().unwrap();
    assert_eq!(code, Some(0));
}

#[test]
fn a_configuration_that_is_never_read_keeps_no_signal() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    succeeds(at, &["init", "--listen", "127.0.0.1:0"]);
    let config = fs::read_to_string(at.join("bridge.toml")).unwrap();
    let config = config.replace("127.0.0.1:9472", "127.0.0.1:0");
    fs::write(at.join("bridge.toml"), config).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ocsp-bridge"))
        .args(["run", "--config", "bridge.toml", "--log-format", "json"])
        .current_dir(at)
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_child(&child);
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    while !log.next().unwrap().unwrap().contains("readiness listening") {}
    // A pipe that nobody writes to.
    fs::remove_file(at.join("bridge.toml")).unwrap();
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, at.join("bridge.toml"), FileType::Fifo, mode, 0).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    thread::sleep(Duration::from_millis(500));
    kill_process(pid, Signal::TERM).unwrap();
    let began = Instant::now();
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if began.elapsed() > Duration::from_secs(20) {
            kill_process(pid, Signal::KILL).unwrap();
        }
        thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(code, Some(0));
}
