//! The program, as people run it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use ledger::CertificateHash;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::fixture::{certificate, device};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ledger-node");

fn ledger_node(arguments: &[&str]) -> Output {
    Command::new(PROGRAM)
        .args(arguments)
        .env_remove("LEDGATE_NODE")
        .output()
        .unwrap()
}

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}

/// Runs a command that must end with `code`, and gives what it wrote: output, and errors.
#[track_caller]
fn ended(arguments: &[&str], code: i32) -> (String, String) {
    let output = ledger_node(arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(
        output.status.code(),
        Some(code),
        "{arguments:?}\n{out}\n{err}"
    );
    (out, err)
}

/// A node that runs as a process, in a folder that `init` made.
struct Running {
    folder: tempfile::TempDir,
    child: Child,
    url: String,
}

impl Running {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join("ledger");
        ended(
            &[
                "init",
                "--dir",
                path(&ledger),
                "--member",
                "acme",
                "--organisation",
                "ACME Femto",
            ],
            0,
        );
        let (child, url) = Self::run(&ledger);
        Self { folder, child, url }
    }

    fn run(ledger: &Path) -> (Child, String) {
        let mut child = Command::new(PROGRAM)
            .args([
                "run",
                "--dir",
                path(ledger),
                "--listen",
                "127.0.0.1:0",
                "--log-format",
                "json",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line
            .split([' ', ','])
            .find(|word| word.starts_with("http://"))
            .unwrap_or_else(|| panic!("no address in {line:?}"))
            .to_owned();
        (child, url)
    }

    fn ledger(&self) -> PathBuf {
        self.folder.path().join("ledger")
    }

    fn key(&self) -> PathBuf {
        self.ledger().join("acme.key")
    }

    fn file(&self, name: &str, octets: impl AsRef<[u8]>) -> String {
        let file = self.folder.path().join(name);
        fs::write(&file, octets).unwrap();
        path(&file).to_owned()
    }

    /// A command of the member acme's.
    #[track_caller]
    fn acme(&self, arguments: &[&str], code: i32) -> (String, String) {
        let key = self.key();
        let with = ["--node", &self.url, "--member", "acme", "--key", path(&key)];
        ended(&[arguments, &with[..]].concat(), code)
    }

    fn status(&self, of: &str) -> Value {
        let (out, _) = ended(&["status", of, "--json", "--node", &self.url], 0);
        serde_json::from_str(&out).unwrap()
    }

    fn stop(&mut self, signal: Signal) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the node does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already where the test stopped it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn pem(der: &[u8]) -> String {
    pkcs8::der::pem::encode_string("CERTIFICATE", pkcs8::LineEnding::LF, der).unwrap()
}

#[test]
fn a_certificate_is_recorded_suspended_resumed_and_revoked() {
    let mut running = Running::start();
    let der = device("one");
    let hash = CertificateHash::of(&der).to_string();
    let file = running.file("one.pem", pem(&der));

    assert_eq!(running.status(&hash)["status"], "not-recorded");
    let (out, _) = running.acme(&["submit", &file], 0);
    assert_eq!(out, format!("{hash} accepted\n"));
    assert_eq!(running.status(&file)["status"], "valid");
    running.acme(&["suspend", &hash], 0);
    assert_eq!(running.status(&hash)["status"], "suspended");
    running.acme(&["resume", &file], 0);
    assert_eq!(running.status(&hash)["status"], "valid");
    let (out, _) = running.acme(
        &["revoke", &file, "--reason", "key-compromise", "--json"],
        0,
    );
    let outcome: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(outcome["accepted"], true);
    let answer = running.status(&hash);
    assert_eq!(
        (&answer["status"], &answer["reason"]),
        (&"revoked".into(), &"keyCompromise".into())
    );
    let (out, _) = ended(&["status", &hash, "--node", &running.url], 0);
    assert!(
        out.starts_with(&format!("{hash} revoked keyCompromise ")),
        "{out}"
    );

    // Refused: exit code 1, and the rule by name.
    let (out, _) = running.acme(&["resume", &hash], 1);
    assert!(out.contains("refused wrong-status: "), "{out}");

    // Stopped and started again, it knows everything.
    assert_eq!(running.stop(Signal::TERM).code(), Some(0));
    let (child, url) = Running::run(&running.ledger());
    (running.child, running.url) = (child, url);
    assert_eq!(running.status(&hash)["status"], "revoked");
    assert_eq!(running.stop(Signal::INT).code(), Some(0));
}

#[test]
fn a_batch_of_files_is_submitted_and_each_refusal_is_named() {
    let running = Running::start();
    let (one, two, three) = (device("one"), device("two"), device("three"));
    let foreign = certificate("four", "Somebody Else");
    let bundle = running.file("bundle.pem", format!("{}{}", pem(&one), pem(&two)));
    let der = running.file("three.der", &three);
    let other = running.file("four.pem", pem(&foreign));
    let (out, err) = running.acme(&["submit", &bundle, &der, &other, "--json"], 1);
    let lines: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let seen: Vec<(&str, bool, Option<&str>)> = lines
        .iter()
        .map(|line| {
            (
                line["hash"].as_str().unwrap(),
                line["accepted"].as_bool().unwrap(),
                line["refusal"].as_str(),
            )
        })
        .collect();
    let hash = |der: &[u8]| CertificateHash::of(der).to_string();
    assert_eq!(
        seen,
        [
            (hash(&one).as_str(), true, None),
            (&hash(&two), true, None),
            (&hash(&three), true, None),
            (&hash(&foreign), false, Some("foreign-organisation")),
        ]
    );
    assert!(
        err.contains("4 certificates: 3 accepted, 1 refused"),
        "{err}"
    );
    let (_, err) = running.acme(&["revoke", &bundle, "--reason", "superseded"], 1);
    assert!(err.contains("more than one certificate"), "{err}");
}

#[test]
fn a_member_joins_and_endorses_its_own() {
    let running = Running::start();
    let key = running.folder.path().join("operator.key");
    running.acme(
        &[
            "member",
            "add",
            "operator",
            "--organisation",
            "Example Mobile",
            "--kind",
            "operator",
            "--key-out",
            path(&key),
        ],
        0,
    );
    assert_eq!(
        fs::metadata(&key).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let file = running.file(
        "gateway.pem",
        pem(&certificate("gateway", "Example Mobile")),
    );
    // The member is found by its key.
    ended(
        &[
            "submit",
            &file,
            "--class",
            "gateway",
            "--node",
            &running.url,
            "--key",
            path(&key),
        ],
        0,
    );
    assert_eq!(running.status(&file)["class"], "gateway");
    let (out, _) = ended(&["member", "list", "--node", &running.url, "--json"], 0);
    let names: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone())
        .collect();
    assert_eq!(names, ["acme", "operator"]);

    // Again: refused, and the key that nobody has is not left behind.
    let second = running.folder.path().join("second.key");
    let (out, _) = running.acme(
        &[
            "member",
            "add",
            "operator",
            "--organisation",
            "Other",
            "--kind",
            "operator",
            "--key-out",
            path(&second),
        ],
        1,
    );
    assert!(out.contains("operator refused duplicate: "), "{out}");
    assert!(!second.exists());
    running.acme(
        &[
            "member",
            "add",
            "third",
            "--organisation",
            "Third",
            "--kind",
            "ca",
            "--public-key",
            &"07".repeat(32),
        ],
        0,
    );
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let running = Running::start();
    let key = running.key();
    let file = running.file("one.pem", pem(&device("one")));
    for mode in [0o640, 0o604, 0o620] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let (_, err) = running.acme(&["submit", &file], 1);
        assert!(
            err.contains(path(&key)) && err.contains("chmod 600"),
            "{err}"
        );
        assert!(err.contains(&format!("{mode:03o}")), "{err}");
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    running.acme(&["submit", &file], 0);
}

#[test]
fn two_processes_cannot_have_one_folder() {
    let running = Running::start();
    let ledger = running.ledger();
    let (_, err) = ended(
        &["run", "--dir", path(&ledger), "--listen", "127.0.0.1:0"],
        1,
    );
    assert!(
        err.contains("is open already") && err.contains(path(&ledger)),
        "{err}"
    );
    let (_, err) = ended(
        &[
            "init",
            "--dir",
            path(&ledger),
            "--member",
            "acme",
            "--organisation",
            "ACME Femto",
        ],
        1,
    );
    assert!(err.contains("not empty"), "{err}");
}

#[test]
fn a_wrong_configuration_is_one_message_with_file_line_and_field() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    for (content, expected) in [
        ("store = \"store\"\nlisten = 9470\n", ":2: listen: "),
        ("\n\nport = 9470\n", ":3: port: unknown field"),
        (
            "[limits]\npending = 0\n",
            ":2: limits.pending: 0 was found, expected at least 1",
        ),
    ] {
        fs::write(&file, content).unwrap();
        let (out, err) = ended(&["run", "--config", path(&file)], 1);
        assert!(err.contains(&format!("{}{expected}", path(&file))), "{err}");
        assert_eq!((out.as_str(), err.lines().count()), ("", 1), "{err}");
    }
    let (_, err) = ended(&["run", "--dir", path(&folder.path().join("none"))], 1);
    assert!(err.contains("node.toml"), "{err}");
}

#[test]
fn wrong_usage_is_exit_code_2_and_help_teaches() {
    for arguments in [
        &["frobnicate"][..],
        &["submit"],
        &["run"],
        &["run", "--dir", "a", "--config", "b"],
        &["revoke", "x", "--reason", "because", "--key", "k"],
        &[
            "member",
            "add",
            "x",
            "--organisation",
            "X",
            "--kind",
            "operator",
            "--key",
            "k",
        ],
        &[
            "init",
            "--dir",
            "x",
            "--member",
            "UPPER",
            "--organisation",
            "X",
        ],
    ] {
        let (_, err) = ended(arguments, 2);
        assert!(!err.is_empty());
    }
    let (out, _) = ended(&["--help"], 0);
    assert!(
        out.contains("Examples") && out.contains("ledger-node submit device.pem"),
        "{out}"
    );
}

#[test]
fn a_node_that_is_not_there_is_named() {
    let hash = CertificateHash::of(b"").to_string();
    // Port 1 on loopback: nobody listens there.
    let (_, err) = ended(&["status", &hash, "--node", "http://127.0.0.1:1"], 1);
    assert!(
        err.contains("http://127.0.0.1:1") && err.contains("is it running"),
        "{err}"
    );
    let output = Command::new(PROGRAM)
        .args(["status", &hash])
        .env("LEDGATE_NODE", "http://127.0.0.1:1")
        .output()
        .unwrap();
    assert!(text(&output.stderr).contains("http://127.0.0.1:1"));
    let (_, err) = ended(&["status", &hash, "--node", "ftp://x"], 1);
    assert!(err.contains("not a URL such as"), "{err}");
}

#[test]
fn init_tells_a_machine_where_everything_is() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("ledger");
    let (out, _) = ended(
        &[
            "init",
            "--dir",
            path(&folder),
            "--member",
            "acme",
            "--organisation",
            "Acme",
            "--json",
        ],
        0,
    );
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["member"], "acme");
    assert_eq!(told["chain"].as_str().map(str::len), Some(64));
    assert!(Path::new(told["key"].as_str().unwrap()).is_file());
}
