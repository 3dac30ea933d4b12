//! Stores of other formats than today's.

use std::path::Path;

use ledger_node::{Node, NodeConfig, NodeError};
use redb::{Database, TableDefinition, TableHandle as _, WriteTransaction};
use tempfile::tempdir;

use crate::consortium::{SetClock, node};

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const CERT_IDS: TableDefinition<'_, &[u8; 64], ()> = TableDefinition::new("cert_ids");
const ISSUERS: TableDefinition<'_, &[u8; 32], ()> = TableDefinition::new("issuers");
const REVOCATIONS: TableDefinition<'_, &[u8; 72], &[u8]> = TableDefinition::new("revocations");

/// Turns a closed store into one of format 1: without what formats 2 and 3 brought.
pub(crate) fn to_first(folder: &Path) {
    set(folder, 1, |transaction| {
        assert!(transaction.delete_table(CERT_IDS).unwrap());
        assert!(transaction.delete_table(ISSUERS).unwrap());
        assert!(transaction.delete_table(REVOCATIONS).unwrap());
    });
}

/// Turns a closed store into one of format 2: without what format 3 brought.
pub(crate) fn to_second(folder: &Path) {
    set(folder, 2, |transaction| {
        assert!(transaction.delete_table(REVOCATIONS).unwrap());
    });
}

fn set(folder: &Path, format: u32, remove: impl FnOnce(&WriteTransaction)) {
    let database = Database::open(folder.join("ledger.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    remove(&transaction);
    let left: Vec<_> = transaction
        .list_tables()
        .unwrap()
        .map(|table| table.name().to_owned())
        .collect();
    let expected = match format {
        1 => 9,
        2 => 11,
        _ => 12,
    };
    assert_eq!(left.len(), expected, "those of format {format}: {left:?}");
    transaction
        .open_table(META)
        .unwrap()
        .insert("format", format.to_le_bytes().as_slice())
        .unwrap();
    transaction.commit().unwrap();
}

#[test]
fn a_store_of_an_unknown_format_is_refused() {
    let folder = tempdir().unwrap();
    drop(node(folder.path()));
    set(folder.path(), 4, |_| {});
    let error = Node::open(NodeConfig::new(folder.path()), SetClock::new()).unwrap_err();
    assert!(
        matches!(
            &error,
            NodeError::Format {
                found: 4,
                expected: 3,
                ..
            }
        ),
        "{error}"
    );
}
