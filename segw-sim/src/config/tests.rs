use super::*;

const GOOD: &str = r#"[listen]
address = "192.0.2.1"

[identity]
id = "segw.lab.test"
certificate = "segw.pem"
key = "keys/segw.key"

[ledger]
nodes = ["http://127.0.0.1:9470"]

[pool]
network = "10.88.0.0/24"
dns = ["10.99.0.1"]

[child]
local = ["10.99.0.0/24"]

[esp]
backend = "tun"
tun_name = "ledgate0"
core = ["10.99.0.1"]

[metrics]
listen = "127.0.0.1:9471"

[control]
socket = "segw.sock"
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("/etc/ledgate/segw.toml"), text)
}

#[test]
fn a_usual_file_has_the_documented_defaults() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.listen.port, 500);
    assert_eq!(config.listen.nat_port, 4500);
    assert!(config.listen.workers >= 1);
    assert_eq!(
        config.identity.certificate,
        Path::new("/etc/ledgate/segw.pem")
    );
    assert_eq!(config.identity.key, Path::new("/etc/ledgate/keys/segw.key"));
    assert_eq!(
        config.control.as_deref(),
        Some(Path::new("/etc/ledgate/segw.sock"))
    );
    assert_eq!(config.ledger.stale_grace, None, "fail closed");
    assert!(matches!(
        config.esp.backend,
        Backend::Tun {
            mtu: 1400,
            address: None,
            ..
        }
    ));
    assert_eq!(config.metrics, Some("127.0.0.1:9471".parse().unwrap()));
}

/// Each row: what is replaced in the good file, by what, and what the message must say.
#[test]
fn each_wrong_field_is_named_with_its_line_and_what_was_expected() {
    let rows: &[(&str, &str, &[&str])] = &[
        (
            "backend = \"tun\"\ntun_name = \"ledgate0\"\ncore = [\"10.99.0.1\"]\n",
            "backend = \"inprocess\"\ncore = [\"10.98.0.1\"]\n",
            &["esp.core", "10.98.0.1", "child.local"],
        ),
        (
            "192.0.2.1",
            "0.0.0.0",
            &[
                "segw.toml:2",
                "listen.address",
                "one address of this machine",
            ],
        ),
        (
            "192.0.2.1",
            "here",
            &[
                "segw.toml:2",
                "listen.address",
                "\"here\"",
                "one address of this machine",
            ],
        ),
        (
            "address = \"192.0.2.1\"",
            "address = 7",
            &["segw.toml:2", "listen.address", "expected a string"],
        ),
        (
            "address = \"192.0.2.1\"\n",
            "address = \"192.0.2.1\"\nport = 70000\n",
            &[":3", "listen.port", "u16"],
        ),
        (
            "address = \"192.0.2.1\"\n",
            "address = \"192.0.2.1\"\nport = 4500\n",
            &["listen.nat_port", "another"],
        ),
        (
            "address = \"192.0.2.1\"\n",
            "address = \"192.0.2.1\"\nworkers = 0\n",
            &[":3", "listen.workers", "1 to 64"],
        ),
        (
            "address = \"192.0.2.1\"\n",
            "address = \"192.0.2.1\"\nbogus = 1\n",
            &[":3", "listen.bogus", "unknown field `bogus`", "`nat_port`"],
        ),
        (
            "address = \"192.0.2.1\"\n",
            "",
            &["missing field `address`"],
        ),
        (
            "id = \"segw.lab.test\"",
            "id = \"\"",
            &[":5", "identity.id", "host name"],
        ),
        ("key = \"keys/segw.key\"\n", "", &["missing field `key`"]),
        (
            "nodes = [\"http://127.0.0.1:9470\"]",
            "nodes = []",
            &[":10", "ledger.nodes", "at least one"],
        ),
        (
            "http://127.0.0.1:9470",
            "127.0.0.1:9470",
            &[":10", "ledger.nodes", "URL"],
        ),
        (
            "nodes = [",
            "chain = \"12\"\nnodes = [",
            &[":10", "ledger.chain", "64 hexadecimal"],
        ),
        (
            "nodes = [",
            "ttl_s = 0\nnodes = [",
            &[":10", "ledger.ttl_s", "at least 1"],
        ),
        (
            "nodes = [",
            "deadline_ms = -1\nnodes = [",
            &[":10", "ledger.deadline_ms", "u64"],
        ),
        (
            "10.88.0.0/24",
            "10.88.0.0",
            &[":13", "pool.network", "IPv4 network"],
        ),
        (
            "10.88.0.0/24",
            "10.88.0.7/24",
            &[":13", "pool.network", "10.88.0.0/24"],
        ),
        (
            "10.88.0.0/24",
            "10.0.0.0/8",
            &[":13", "pool.network", "12 to 30"],
        ),
        (
            "dns = [\"10.99.0.1\"]",
            "dns = [\"dns\"]",
            &[":14", "pool.dns", "IPv4 addresses"],
        ),
        (
            "local = [\"10.99.0.0/24\"]",
            "local = []",
            &[":17", "child.local", "1 to"],
        ),
        (
            "local = [\"10.99.0.0/24\"]",
            "local = [\"core\"]",
            &[":17", "child.local", "\"core\"", "networks"],
        ),
        (
            "backend = \"tun\"",
            "backend = \"xdp\"",
            &[":20", "esp.backend", "`inprocess`", "`tun`"],
        ),
        (
            "tun_name = \"ledgate0\"",
            "tun_name = \"a-name-that-is-too-long\"",
            &[":21", "esp.tun_name", "1 to 15"],
        ),
        (
            "tun_name = \"ledgate0\"",
            "mtu = 100",
            &[":21", "esp.mtu", "576 to 9000"],
        ),
        (
            "tun_name = \"ledgate0\"",
            "replay_window = 8",
            &[":21", "esp.replay_window", "64 to 4096"],
        ),
        (
            "backend = \"tun\"\ntun_name = \"ledgate0\"\ncore = [\"10.99.0.1\"]\n",
            "",
            &["esp.core", "at least one"],
        ),
        (
            "127.0.0.1:9471",
            "localhost",
            &[":25", "metrics.listen", "127.0.0.1:9471"],
        ),
        ("socket = \"segw.sock\"\n", "", &["missing field `socket`"]),
        (
            "[pool]",
            "[ocsp]\nresponder = \"https://a/\"\n[pool]",
            &[":13", "ocsp.responder", "http://127.0.0.1:8888/"],
        ),
        (
            "[pool]",
            "[ocsp]\nresponder = \"a b\"\n[pool]",
            &[":13", "ocsp.responder", "\"a b\"", "URL"],
        ),
        (
            "[pool]",
            "[ocsp]\nresponder = \"http://a/\"\nhash = \"md5\"\n[pool]",
            &[":14", "ocsp.hash", "`sha1`", "`sha256`"],
        ),
        (
            "[pool]",
            "[ocsp]\nresponder = \"http://a/\"\nretry_s = 0\n[pool]",
            &[":14", "ocsp.retry_s", "at least 1"],
        ),
        (
            "[pool]",
            "[ocsp]\nresponder = \"http://a/\"\ntimeout_ms = 1\n[pool]",
            &[":14", "ocsp.timeout_ms", "at least 10"],
        ),
        ("[control]", "[controls]", &["unknown field `controls`"]),
        ("[listen]", "[listen", &["segw.toml:1"]),
    ];
    for (from, to, says) in rows {
        assert!(GOOD.contains(from), "{from} is not in the good file");
        let text = GOOD.replacen(from, to, 1);
        let message = parse(&text).expect_err(to).to_string();
        for part in *says {
            assert!(
                message.contains(part),
                "{from} -> {to}: {message:?} does not say {part:?}"
            );
        }
        assert!(message.starts_with("/etc/ledgate/segw.toml"), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let message = Config::read(Path::new("/nonexistent/segw.toml"))
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("/nonexistent/segw.toml: cannot be read"),
        "{message}"
    );
}
