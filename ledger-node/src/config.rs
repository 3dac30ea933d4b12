//! The configuration file of the program.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use ledger_engine::Limits;
use serde::Deserialize;
use settings::{ConfigError, SourceText, read_text};

use crate::http::HttpLimits;
use crate::node::{DEFAULT_HISTORY, NodeConfig};

/// Where the API listens unless configured otherwise.
pub const DEFAULT_PORT: u16 = 9470;

/// The configuration of `ledger-node run`, from a TOML file. Every field has a default.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Where the API listens. Default `127.0.0.1:9470`: only this machine. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The folder of the store. Default `store`. As in the file it may be relative to the file's
    /// folder; once read, it is not.
    pub store: PathBuf,
    /// For how many blocks back status events are kept. Default [`DEFAULT_HISTORY`].
    pub history: u64,
    /// What may wait, and what a block may hold.
    pub limits: LimitsConfig,
    /// The API's bounds.
    pub http: HttpConfig,
}

/// The table `[limits]`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LimitsConfig {
    /// The most transactions that wait; further ones are answered 503.
    pub pending: usize,
    /// The most octets of transactions that wait.
    pub pending_octets: usize,
    /// The most transactions in a block.
    pub block_transactions: usize,
    /// The most octets of transactions in a block.
    pub block_octets: usize,
}

/// The table `[http]`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HttpConfig {
    /// The most connections at one time; further ones wait.
    pub connections: usize,
    /// The most event streams at one time; further ones are answered 503.
    pub streams: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
            store: PathBuf::from("store"),
            history: DEFAULT_HISTORY,
            limits: LimitsConfig::default(),
            http: HttpConfig::default(),
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            pending: limits.pending,
            pending_octets: limits.pending_octets,
            block_transactions: limits.block_transactions,
            block_octets: limits.block_octets,
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        let limits = HttpLimits::default();
        Self {
            connections: limits.connections,
            streams: limits.streams,
        }
    }
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the file cannot be read, or for the first line in it that is wrong.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let mut config = Self::parse(&read_text(file)?, file)?;
        if let Some(folder) = file.parent() {
            config.store = folder.join(&config.store);
        }
        Ok(config)
    }

    /// The file that `init` writes: every field with its default, and what it means.
    #[must_use]
    pub fn template() -> String {
        let Self {
            listen,
            history,
            limits,
            http,
            ..
        } = Self::default();
        format!(
            "# The configuration of a ledger node. Paths are relative to this file.\n\
             \n\
             # Where the API listens. Other machines need an address that they can reach.\n\
             listen = \"{listen}\"\n\
             # The folder of the store.\n\
             store = \"store\"\n\
             # For how many blocks back status events are kept, for relying parties that were away.\n\
             history = {history}\n\
             \n\
             [limits]\n\
             # How many transactions, and octets of them, may wait for a block.\n\
             pending = {}\n\
             pending_octets = {}\n\
             # How many transactions, and octets of them, a block may hold.\n\
             block_transactions = {}\n\
             block_octets = {}\n\
             \n\
             [http]\n\
             # How many connections, and event streams, there may be at one time.\n\
             connections = {}\n\
             streams = {}\n",
            limits.pending,
            limits.pending_octets,
            limits.block_transactions,
            limits.block_octets,
            http.connections,
            http.streams,
        )
    }

    /// What the node is opened with.
    #[must_use]
    pub fn node(&self) -> NodeConfig {
        let mut node = NodeConfig::new(&self.store);
        node.history = self.history;
        node.limits = Limits {
            pending: self.limits.pending,
            pending_octets: self.limits.pending_octets,
            block_transactions: self.limits.block_transactions,
            block_octets: self.limits.block_octets,
        };
        node.http = HttpLimits {
            connections: self.http.connections,
            streams: self.http.streams,
        };
        node
    }

    fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let source = SourceText { path: file, text };
        let config: Self = source.fields()?;
        let Self { limits, http, .. } = &config;
        source.at_least(&["history"], config.history, 1)?;
        for (table, field, value) in [
            ("limits", "pending", limits.pending),
            ("limits", "pending_octets", limits.pending_octets),
            ("limits", "block_transactions", limits.block_transactions),
            ("limits", "block_octets", limits.block_octets),
            ("http", "connections", http.connections),
            ("http", "streams", http.streams),
        ] {
            source.at_least(&[table, field], value, 1)?;
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("node.toml"))
    }

    #[test]
    fn the_template_holds_the_defaults() {
        assert_eq!(parse(&Config::template()).unwrap(), Config::default());
        assert_eq!(parse("").unwrap(), Config::default());
        let limits = Config::default().node().limits;
        assert_eq!(limits, Limits::default());
    }

    #[test]
    fn every_field_reaches_the_node() {
        let config = parse(
            "listen = \"[::1]:1\"\nstore = \"s\"\nhistory = 2\n[limits]\npending = 3\npending_octets = 4\n\
             block_transactions = 5\nblock_octets = 6\n[http]\nconnections = 7\nstreams = 8\n",
        )
        .unwrap();
        assert_eq!(config.listen, "[::1]:1".parse().unwrap());
        let node = config.node();
        assert_eq!(node.folder, Path::new("s"));
        assert_eq!(node.history, 2);
        assert_eq!(
            node.limits,
            Limits {
                pending: 3,
                pending_octets: 4,
                block_transactions: 5,
                block_octets: 6,
            }
        );
        assert_eq!((node.http.connections, node.http.streams), (7, 8));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_field() {
        for (text, expected) in [
            (
                "\nlisten = 7\n",
                "node.toml:2: listen: invalid type: integer `7`, expected",
            ),
            (
                "listen = \"localhost\"\n",
                "node.toml:1: listen: invalid socket address",
            ),
            (
                "\n\nlissten = \"x\"\n",
                "node.toml:3: lissten: unknown field `lissten`, expected one of `listen`",
            ),
            (
                "[limits]\npending = \"many\"\n",
                "node.toml:2: limits.pending: invalid type: string \"many\", expected",
            ),
            (
                "[limits]\npending = -1\n",
                "node.toml:2: limits.pending: invalid value: integer `-1`, expected",
            ),
            (
                "history = 5\n[http]\n\nstreams = 0\n",
                "node.toml:4: http.streams: 0 was found, expected at least 1",
            ),
            ("history = \n", "node.toml:1: history: "),
            (
                "[limit]\n",
                "node.toml:1: limit: unknown field `limit`, expected one of",
            ),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text:?}: {error}");
            assert!(!error.contains('\n'), "{error:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Config::read(Path::new("no-such.toml"))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("no-such.toml: "), "{error}");
    }

    #[test]
    fn the_store_is_relative_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("node.toml");
        fs::write(&file, "store = \"here\"\n").unwrap();
        assert_eq!(
            Config::read(&file).unwrap().store,
            folder.path().join("here")
        );
        fs::write(&file, "store = \"/there\"\n").unwrap();
        assert_eq!(Config::read(&file).unwrap().store, Path::new("/there"));
    }
}
