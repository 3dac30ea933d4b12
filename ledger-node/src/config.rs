//! The configuration file of the program.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use ledger_engine::Limits;
use serde::Deserialize;

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

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {error}", .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The system's error.
        #[source]
        error: io::Error,
    },
    /// A line says something that it should not.
    #[error("{}:{line}: {field}{problem}", .file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The field with a colon, or nothing where none is concerned.
        field: String,
        /// What is wrong, and what was expected.
        problem: String,
    },
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
    /// When the file cannot be read, or the first line in it that is wrong.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(file).map_err(|error| ConfigError::Io {
            file: file.to_owned(),
            error,
        })?;
        let mut config = Self::parse(&text, file)?;
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
        let config: Self = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start).min(text.len());
            at_line(file, text, at, error.message().trim())
        })?;
        for (name, value) in [
            ("history", config.history),
            ("pending", wide(config.limits.pending)),
            ("pending_octets", wide(config.limits.pending_octets)),
            ("block_transactions", wide(config.limits.block_transactions)),
            ("block_octets", wide(config.limits.block_octets)),
            ("connections", wide(config.http.connections)),
            ("streams", wide(config.http.streams)),
        ] {
            if value == 0 {
                let at = text
                    .lines()
                    .scan(0, |at, line| {
                        let start = *at;
                        *at += line.len() + 1;
                        Some((start, line))
                    })
                    .find(|(_, line)| field_of(line) == Some(name))
                    .map_or(0, |(start, _)| start);
                return Err(at_line(
                    file,
                    text,
                    at,
                    "expected a number from 1 on, got 0",
                ));
            }
        }
        Ok(config)
    }
}

fn wide(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// An error at an octet of the text: its line, and the field that the line sets.
fn at_line(file: &Path, text: &str, at: usize, problem: &str) -> ConfigError {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count();
    let field = text
        .lines()
        .nth(line)
        .and_then(field_of)
        .map_or_else(String::new, |field| format!("{field}: "));
    ConfigError::Line {
        file: file.to_owned(),
        line: line + 1,
        field,
        problem: problem.replace('\n', ", "),
    }
}

/// The field that a line sets.
fn field_of(line: &str) -> Option<&str> {
    let (name, _) = line.split_once('=')?;
    let name = name.trim();
    (!name.is_empty() && !name.starts_with('#')).then_some(name)
}

#[cfg(test)]
mod tests {
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
                "node.toml:2: pending: invalid type: string \"many\", expected",
            ),
            (
                "[limits]\npending = -1\n",
                "node.toml:2: pending: invalid value: integer `-1`, expected",
            ),
            (
                "history = 5\n[http]\n\nstreams = 0\n",
                "node.toml:4: streams: expected a number from 1 on, got 0",
            ),
            ("history = \n", "node.toml:1: history: "),
            (
                "[limit]\n",
                "node.toml:1: unknown field `limit`, expected one of",
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
