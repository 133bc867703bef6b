//! The plainest fast loop that does what the log must do at the least: rows that are encoded
//! already into the log's own table, by one prepared statement, so many a transaction, each
//! transaction synced.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use domain::StreamId;
use rusqlite::{
    Connection, Statement, ToSql, params,
    types::{ToSqlOutput, ValueRef},
};
use rustc_hash::{FxHashMap, FxHashSet};
use store::{EventRow, SqliteLog, SqliteMode};

/// As the log has it: the page cache, and the write-ahead log at which it is moved into the file.
const CACHE_KIB: i64 = 32_768;
const WAL_BYTES: i64 = 32 << 20;
const INSERT_EVENT: &str = "INSERT INTO events (position, stream, version, type, schema_version, payload, command, \
     digest, actor, correlation, causation, trace, occurred_at, recorded_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
const INSERT_STREAM: &str = "INSERT INTO streams (id, key, kind, tenant) VALUES (?1, ?2, ?3, ?4)";
/// Versions that a stream is given beforehand where the sample begins in its midst: the index is
/// then about as large as the measured one.
const EARLIER_VERSIONS: i64 = 2;

/// A log without anything around it, in a scratch folder that goes with it.
pub struct BareLog {
    conn: Connection,
    ids: FxHashMap<StreamId, i64>,
    /// The last version of each stream, by its id; the first is nobody's.
    versions: Vec<i64>,
    types: FxHashMap<std::sync::Arc<str>, i64>,
    position: i64,
    _scratch: tempfile::TempDir,
}

/// An event as it is handed to SQLite.
struct Encoded {
    stream: i64,
    type_id: i64,
    schema_version: u16,
    payload: Vec<u8>,
    command: [u8; 16],
    digest: Option<[u8; 16]>,
    actor: [u8; 16],
    correlation: Option<[u8; 16]>,
    causation: Option<[u8; 16]>,
    trace: Option<[u8; 16]>,
    occurred_at: i64,
    recorded_at: i64,
    /// The stream begins here, so its name is written with it.
    names: Option<StreamId>,
}

/// Bytes as TEXT, as the log stores them.
struct Text<'a>(&'a [u8]);

impl ToSql for Text<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0)))
    }
}

impl BareLog {
    /// An empty one on the disk of `folder`, opened as the log opens its own file.
    pub fn new(folder: &Path) -> Result<BareLog> {
        let made = || format!("the bare loop could not write in {}", folder.display());
        let scratch = tempfile::Builder::new().prefix("bench-bare-").tempdir_in(folder).with_context(made)?;
        // The log makes the file, so that tables, index and page size are its own.
        drop(SqliteLog::open(scratch.path(), SqliteMode::ReadWrite).with_context(made)?);
        let conn = Connection::open(scratch.path().join("log.sqlite")).with_context(made)?;
        conn.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -{CACHE_KIB};
             PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 67108864;",
        ))?;
        let number = |pragma: &str| conn.query_row(pragma, [], |row| row.get::<_, i64>(0));
        let pages = WAL_BYTES / number("PRAGMA page_size")?;
        conn.pragma_update(None, "wal_autocheckpoint", pages)?;
        let mode: String = conn.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        ensure!(mode == "wal" && number("PRAGMA synchronous")? == 2, "SQLite refused WAL with synchronous=FULL");
        let (ids, types) = (FxHashMap::default(), FxHashMap::default());
        Ok(BareLog { conn, ids, versions: vec![0], types, position: 0, _scratch: scratch })
    }

    /// Inserts `sample` over and over for about `length`, `batch` rows a transaction; gives rows a
    /// second. Encoding the sample, and the streams that it goes on with, are not counted. Blocks.
    pub fn run(&mut self, sample: &[EventRow], batch: usize, length: Duration) -> Result<f64> {
        ensure!(!sample.is_empty(), "there are no rows for the bare loop");
        let rows = self.encode(sample)?;
        let batch = batch.max(1);
        let BareLog { conn, versions, position, .. } = self;
        let (mut begin, mut commit) = (conn.prepare("BEGIN IMMEDIATE")?, conn.prepare("COMMIT")?);
        let (mut insert, mut name) = (conn.prepare(INSERT_EVENT)?, conn.prepare(INSERT_STREAM)?);
        let mut next = 0;
        let started = Instant::now();
        loop {
            begin.execute([])?;
            for index in next..next + batch {
                let row = &rows[index % rows.len()];
                if let Some(stream) = row.names.filter(|_| index < rows.len()) {
                    insert_name(&mut name, row.stream, &stream)?;
                }
                let version = &mut versions[row.stream as usize];
                (*version, *position) = (*version + 1, *position + 1);
                insert_row(&mut insert, row, *position, *version)?;
            }
            commit.execute([])?;
            next += batch;
            if started.elapsed() >= length {
                break;
            }
        }
        Ok(next as f64 / started.elapsed().as_secs_f64())
    }

    fn encode(&mut self, sample: &[EventRow]) -> Result<Vec<Encoded>> {
        self.conn.execute_batch("BEGIN IMMEDIATE")?;
        // Streams that the sample goes on with first, so that those which begin in it come to stand
        // at the right-hand end of the tables, as they do in the log.
        let mut begin = FxHashSet::default();
        for row in sample {
            if self.ids.contains_key(&row.stream) || begin.contains(&row.stream) {
                continue;
            }
            match row.version {
                1 => drop(begin.insert(row.stream)),
                _ => self.add_earlier(row)?,
            }
        }
        let mut rows = Vec::with_capacity(sample.len());
        for row in sample {
            let begins = !self.ids.contains_key(&row.stream);
            let stream = self.id_of(row.stream);
            rows.push(self.encoded(row, stream, begins)?);
        }
        self.conn.execute_batch("COMMIT")?;
        Ok(rows)
    }

    fn id_of(&mut self, stream: StreamId) -> i64 {
        *self.ids.entry(stream).or_insert_with(|| {
            self.versions.push(0);
            self.versions.len() as i64 - 1
        })
    }

    fn add_earlier(&mut self, row: &EventRow) -> Result<()> {
        let stream = self.id_of(row.stream);
        let encoded = self.encoded(row, stream, false)?;
        let mut name = self.conn.prepare_cached(INSERT_STREAM)?;
        insert_name(&mut name, stream, &row.stream)?;
        let mut insert = self.conn.prepare_cached(INSERT_EVENT)?;
        for version in 1..=EARLIER_VERSIONS {
            self.position += 1;
            insert_row(&mut insert, &encoded, self.position, version)?;
        }
        self.versions[stream as usize] = EARLIER_VERSIONS;
        Ok(())
    }

    fn encoded(&mut self, row: &EventRow, stream: i64, begins: bool) -> Result<Encoded> {
        let type_id = match self.types.get(&row.event_type) {
            Some(id) => *id,
            None => {
                let sql = "INSERT INTO event_types (name) VALUES (?1) RETURNING id";
                let id = self.conn.query_row(sql, [&*row.event_type], |inserted| inserted.get(0))?;
                self.types.insert(row.event_type.clone(), id);
                id
            }
        };
        let metadata = &row.metadata;
        Ok(Encoded {
            stream,
            type_id,
            schema_version: row.schema_version,
            payload: row.payload.clone(),
            command: metadata.command.0.into_bytes(),
            digest: metadata.digest,
            actor: metadata.actor.0.into_bytes(),
            correlation: (metadata.correlation != row.stream.key).then(|| metadata.correlation.into_bytes()),
            causation: metadata.causation.map(|command| command.0.into_bytes()),
            trace: metadata.trace,
            occurred_at: row.occurred_at.micros,
            recorded_at: row.recorded_at.micros,
            names: begins.then_some(row.stream),
        })
    }
}

fn insert_name(insert: &mut Statement<'_>, id: i64, stream: &StreamId) -> rusqlite::Result<()> {
    let (key, tenant) = (stream.key.as_bytes(), stream.tenant.0.as_bytes());
    insert.execute(params![id, key, stream.kind as u8, tenant]).map(|_| ())
}

fn insert_row(insert: &mut Statement<'_>, row: &Encoded, position: i64, version: i64) -> rusqlite::Result<()> {
    let values = params![
        position,
        row.stream,
        version,
        row.type_id,
        row.schema_version,
        Text(&row.payload),
        row.command,
        row.digest,
        row.actor,
        row.correlation,
        row.causation,
        row.trace,
        row.occurred_at,
        row.recorded_at,
    ];
    insert.execute(values).map(|_| ())
}

#[cfg(test)]
mod tests {
    use domain::{ActorId, CommandId, StreamKind, TenantId, Timestamp};
    use store::Metadata;
    use uuid::Uuid;

    use super::*;

    fn row(stream: u128, version: u64) -> EventRow {
        let key = Uuid::from_u128(stream);
        let id = CommandId(key);
        let (actor, correlation) = (ActorId(key), Uuid::nil());
        EventRow {
            position: 1,
            stream: StreamId { tenant: TenantId(key), kind: StreamKind::Wallet, key },
            version,
            event_type: "account.Deposited".into(),
            schema_version: 1,
            payload: b"{}".to_vec(),
            metadata: Metadata { command: id, digest: None, actor, correlation, causation: None, trace: None },
            occurred_at: Timestamp::EPOCH,
            recorded_at: Timestamp::EPOCH,
        }
    }

    #[test]
    fn the_bare_loop_writes_what_the_log_would_hold() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut bare = BareLog::new(folder.path()).expect("a bare log");
        // One stream begins in the sample, one was there before.
        let sample = [row(1, 1), row(2, 7), row(1, 2)];
        let rate = bare.run(&sample, 10, Duration::from_millis(20)).expect("a rate");
        assert!(rate > 0.0);
        bare.run(&sample, 10, Duration::from_millis(1)).expect("a second run");
        let count = |sql: &str| -> i64 { bare.conn.query_row(sql, [], |row| row.get(0)).expect("a count") };
        assert_eq!(count("SELECT count(*) FROM streams"), 2);
        assert_eq!(count("SELECT count(*) FROM event_types"), 1);
        assert_eq!(count("SELECT max(position) - count(*) FROM events"), 0);
        assert_eq!(count("SELECT (count(*) - 2) % 10 FROM events"), 0, "but for the earlier two, whole batches");
        assert_eq!(
            count(
                "SELECT sum(last) - sum(n) FROM (SELECT max(version) AS last, count(*) AS n FROM events GROUP BY stream)"
            ),
            0
        );
        drop(bare);
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "the scratch is gone");
    }
}
