//! Files that are made once and not overwritten.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Writes a new file that only its owner may read.
pub(super) fn write_secret(path: &Path, content: &[u8]) -> Result<(), String> {
    write(path, content, 0o600)
}

/// Writes a new file that everybody may read.
pub(super) fn write_public(path: &Path, content: &[u8]) -> Result<(), String> {
    write(path, content, 0o644)
}

fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), String> {
    let in_file = |error| format!("{}: {error}", path.display());
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(in_file)?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(in_file)
}
