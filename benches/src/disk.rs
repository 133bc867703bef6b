//! What a log and its views take on disk.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use rusqlite::Connection;

/// Bytes of the SQLite files in `folder`, after what stands in their write-ahead logs has been
/// moved into them. A reader at work may keep some of it there; that is counted too. Blocks.
pub(crate) fn bytes_on_disk(folder: &Path) -> Result<u64> {
    let what = || format!("the files in {} could not be measured", folder.display());
    let paths = || -> Result<Vec<_>> {
        let entries = std::fs::read_dir(folder).with_context(what)?;
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>().with_context(what)
    };
    for path in paths()?.iter().filter(|path| path.extension().is_some_and(|extension| extension == "sqlite")) {
        let conn = Connection::open(path).with_context(what)?;
        conn.busy_timeout(Duration::from_secs(5))?;
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).with_context(what)?;
    }
    let mut bytes = 0;
    for path in paths()? {
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        if name.ends_with(".sqlite") || name.ends_with(".sqlite-wal") {
            bytes += std::fs::metadata(&path).with_context(what)?.len();
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_in_the_write_ahead_log_is_counted_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let conn = Connection::open(folder.path().join("log.sqlite")).expect("a file");
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; CREATE TABLE t (a TEXT); INSERT INTO t VALUES (hex(zeroblob(50000)))",
        )
        .expect("rows");
        let bytes = bytes_on_disk(folder.path()).expect("bytes");
        assert!((100_000..150_000).contains(&bytes), "{bytes}");
    }
}
