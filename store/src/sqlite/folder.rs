//! The folder of a log: what is in it, whether it can be used, whose it is.
//!
//! A file is looked at as plain bytes first. SQLite opens it only when it is known to be a log of
//! ours, so that nothing is written to a file of anybody else's.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};
use uuid::Uuid;

use super::checkpointer;
use crate::{LogIdentity, LogState, StoreError};

/// "Tffn", at byte 68 of the file: whose SQLite database it is.
pub(super) const APPLICATION_ID: u32 = 0x5466_666e;
/// The format that this program writes, at byte 60. It rises when an older program could not read on.
pub(super) const FORMAT: u32 = 2;
/// What brings a log from each format to the next; the first makes it.
pub(super) const MIGRATIONS: [&str; FORMAT as usize] = [
    include_str!("../../../migrations/sqlite/0001_log.sql"),
    include_str!("../../../migrations/sqlite/0002_state.sql"),
];
/// The view for people with a SQLite shell.
const EVENT_LOG: &str = include_str!("../../../migrations/sqlite/event_log.sql");
/// Bytes a page. Measured with 990 events of 190 bytes a batch: 8,192 costs the writer a tenth less
/// than 4,096 and a quarter less than 1,024, and the file is 4 to 11 % smaller.
const PAGE_SIZE: u32 = 8192;
/// Bytes that are written over themselves at once.
const REWRITTEN: usize = 1 << 20;

/// Where things are in a log's folder.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    pub(super) file: PathBuf,
}

/// Keeps the folder for this process until it is dropped.
pub(super) struct FolderLock(File);

impl Drop for FolderLock {
    /// Closing the file alone would leave it locked for as long as a child that is just being
    /// spawned has a copy of it.
    fn drop(&mut self) {
        // If it fails, closing the file does the same a moment later.
        let _ = self.0.unlock();
    }
}

pub(super) type Stamp = (u64, SystemTime);

/// What a look at the file found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// A log of ours. `whole` is false when the file is shorter than it says, which is right only
    /// while the rest still stands in the write-ahead log.
    Log {
        whole: bool,
    },
}

impl Folder {
    pub(super) fn new(dir: &Path) -> Folder {
        Folder { dir: dir.to_owned(), file: dir.join("log.sqlite") }
    }

    fn write_ahead_log(&self) -> PathBuf {
        self.dir.join("log.sqlite-wal")
    }

    /// Bytes in the write-ahead log; none if there is no such file.
    pub(super) fn wal_bytes(&self) -> Option<u64> {
        fs::metadata(self.write_ahead_log()).ok().map(|metadata| metadata.len())
    }

    /// Length and time of change of the file: they differ after anybody's checkpoint.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let metadata = fs::metadata(&self.file).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    }

    pub(super) fn has_shared_memory(&self) -> bool {
        self.dir.join("log.sqlite-shm").exists()
    }

    fn unusable(&self, what: impl std::fmt::Display) -> StoreError {
        StoreError::Unusable(format!("{} {what}", self.file.display()))
    }

    /// Looks at the file without changing anything.
    pub(super) fn look(&self) -> Result<Found, StoreError> {
        let file = match File::open(&self.file) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.look_at_nothing(),
            Err(error) => return Err(self.unusable(format_args!("cannot be read: {error}"))),
        };
        let unreadable = |error| self.unusable(format_args!("cannot be read: {error}"));
        let length = file.metadata().map_err(unreadable)?.len();
        let mut header = Vec::with_capacity(100);
        (&file).take(100).read_to_end(&mut header).map_err(unreadable)?;
        if length == 0 {
            return Err(self.unusable("is empty: it was cut short. Restore it from a backup"));
        }
        let Some(header) = Header::parse(&header) else {
            return Err(self.unusable(
                "is not a SQLite database: it is damaged, or another program's. Restore it from a backup, or choose \
                 another folder",
            ));
        };
        if header.application_id != APPLICATION_ID {
            return Err(self.unusable("is a SQLite database, but not an event log of tiffin. Choose another folder"));
        }
        if header.format > FORMAT {
            return Err(self.unusable(format_args!(
                "was written by a newer tiffin (format {}; this one reads format {FORMAT}). Use the newer program",
                header.format
            )));
        }
        if header.format == 0 {
            return Err(self.unusable("has the format 0, which there never was"));
        }
        let whole = length >= header.bytes;
        if !whole && self.wal_bytes().unwrap_or(0) == 0 {
            return Err(self.unusable(format_args!(
                "was cut short: it has {length} bytes of {}. Restore it from a backup",
                header.bytes
            )));
        }
        Ok(Found::Log { whole })
    }

    fn look_at_nothing(&self) -> Result<Found, StoreError> {
        if self.wal_bytes().unwrap_or(0) > 0 {
            return Err(self.unusable("is missing, but its -wal file is there. Put it back, or choose another folder"));
        }
        Ok(Found::Nothing)
    }

    /// Makes the folder, if need be, and takes it for this process.
    pub(super) fn lock(&self) -> Result<FolderLock, StoreError> {
        let dir = self.dir.display();
        let unwritable = |error: io::Error| {
            StoreError::Unusable(format!("the folder {dir} cannot be written: {error}. Make it writable, or only read"))
        };
        fs::create_dir_all(&self.dir).map_err(unwritable)?;
        let path = self.dir.join("lock");
        let lock =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path).map_err(unwritable)?;
        match lock.try_lock() {
            Ok(()) => Ok(FolderLock(lock)),
            Err(TryLockError::WouldBlock) => Err(StoreError::Unusable(format!(
                "{dir} is held by another tiffin process; stop it or use its admin socket"
            ))),
            Err(TryLockError::Error(error)) => Err(unwritable(error)),
        }
    }

    /// Makes an empty log beside its place and then puts it there, so that a crash leaves none or
    /// a whole one.
    pub(super) fn create(&self) -> Result<(), StoreError> {
        let new = self.dir.join("log.sqlite.new");
        let made = self.build(&new).map_err(|error| self.failure(&error)).and_then(|()| {
            fs::rename(&new, &self.file)
                .and_then(|()| File::open(&self.dir)?.sync_all())
                .map_err(|error| self.unusable(format_args!("cannot be made: {error}")))
        });
        if made.is_err() {
            // Best effort: the next start removes it as well.
            let _ = fs::remove_file(&new);
        }
        made
    }

    fn build(&self, new: &Path) -> rusqlite::Result<()> {
        for leftover in [new.to_owned(), self.dir.join("log.sqlite.new-journal")] {
            // Of a start that was broken off. If it cannot be removed, opening it says why.
            let _ = fs::remove_file(leftover);
        }
        let conn = Connection::open(new)?;
        conn.execute_batch(&format!("PRAGMA page_size = {PAGE_SIZE}; PRAGMA synchronous = FULL; BEGIN IMMEDIATE"))?;
        let [first, later @ ..] = MIGRATIONS;
        conn.execute_batch(first)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64);
        conn.execute(
            "INSERT INTO log (one, id, incarnation, format_version, created_at) VALUES (1, ?1, ?2, 1, ?3)",
            params![Uuid::now_v7().as_bytes(), Uuid::now_v7().as_bytes(), now],
        )?;
        later.iter().try_for_each(|migration| conn.execute_batch(migration))?;
        put_view(&conn)?;
        conn.pragma_update(None, "application_id", APPLICATION_ID)?;
        conn.pragma_update(None, "user_version", FORMAT)?;
        conn.execute_batch("COMMIT")?;
        conn.close().map_err(|(_, error)| error)
    }

    /// Has the disk take what the write-ahead log seems to hold. After a sync that failed, in a process before
    /// this one, the system reads well what the disk may lack, and no later sync would write it. What is
    /// appended behind it would be gone with it after a power cut. Nothing may have the log open to write.
    pub(super) fn sync_write_ahead_log(&self) -> Result<(), StoreError> {
        match write_again(&self.write_ahead_log()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.unusable(format_args!(
                "has a write-ahead log that cannot be written to the disk: {error}. Make it writable, or mend the disk"
            ))),
            _ => Ok(()),
        }
    }

    /// The one connection that writes. The folder is locked by then.
    pub(super) fn open_writer(&self, whole: bool) -> Result<Connection, StoreError> {
        self.sync_write_ahead_log()?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(&self.file, flags).map_err(|error| self.failure(&error))?;
        if conn.is_readonly("main").map_err(|error| self.failure(&error))? {
            return Err(self.unusable("cannot be written. Make it writable, or only read"));
        }
        if !whole {
            let report: String =
                conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(|error| self.failure(&error))?;
            if report != "ok" {
                return Err(self.unusable(format_args!("is damaged ({report}). Restore it from a backup")));
            }
        }
        let prepared = conn.busy_timeout(checkpointer::PATIENCE).and_then(|()| {
            conn.execute_batch(
                // A bigger cache gains nothing, and SQLite walks all of it in most commits while the file is
                // below 1 GiB. Memory mapping gains nothing either.
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
                 PRAGMA cache_size = -32768; PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 67108864;",
            )
        });
        prepared
            .and_then(|()| migrate(&conn))
            .and_then(|()| renew_view(&conn))
            .map_err(|error| self.failure(&error))?;
        Ok(conn)
    }

    /// Moves the write-ahead log into the file, and does nothing else.
    pub(super) fn open_checkpointer(&self) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(&self.file, flags).and_then(|conn| {
            conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -256;")?;
            Ok(conn)
        });
        opened.map_err(|error| self.failure(&error))
    }

    /// A connection that only reads. With a stamp, the file was taken as unchanging: what is read
    /// holds if it still bears that stamp and has no write-ahead log.
    pub(super) fn open_reader(&self) -> Result<(Connection, Option<Stamp>), StoreError> {
        let stamp = self.stamp();
        let refused = match self.try_reader(false) {
            Ok(conn) => return Ok((conn, None)),
            Err(error) => error,
        };
        let shut_out = matches!(
            refused.sqlite_error_code(),
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied)
        );
        // To read beside a writer SQLite needs its shared memory, which it cannot make here.
        match (shut_out, self.wal_bytes().unwrap_or(0)) {
            (false, _) => Err(self.failure(&refused)),
            (true, 0) => self.try_reader(true).map(|conn| (conn, stamp)).map_err(|error| self.failure(&error)),
            (true, _) if !self.has_shared_memory() => Err(self.unusable(
                "is in a folder that cannot be written, and its last writer did not close it. Make the folder \
                 writable, or copy it to one that is",
            )),
            (true, _) => Err(self.failure(&refused)),
        }
    }

    pub(super) fn try_reader(&self, immutable: bool) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = if immutable {
            let mut uri = String::from("file:");
            for byte in self.file.as_os_str().as_encoded_bytes() {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
                    other => uri.push_str(&format!("%{other:02X}")),
                }
            }
            Connection::open_with_flags(uri + "?immutable=1", flags | OpenFlags::SQLITE_OPEN_URI)?
        } else {
            Connection::open_with_flags(&self.file, flags)?
        };
        conn.busy_timeout(std::time::Duration::from_secs(5))?;
        conn.execute_batch("PRAGMA cache_size = -8192; PRAGMA query_only = ON")?;
        // SQLite opens nothing before the first read.
        conn.query_row("SELECT one FROM log", [], |_| Ok(()))?;
        Ok(conn)
    }

    pub(super) fn identity(&self, conn: &Connection) -> Result<LogIdentity, StoreError> {
        let identity = conn.query_row("SELECT id, incarnation FROM log WHERE one = 1", [], |row| {
            Ok(LogIdentity { log: Uuid::from_bytes(row.get(0)?), incarnation: Uuid::from_bytes(row.get(1)?) })
        });
        identity.map_err(|error| self.failure(&error))
    }

    /// What may be done with the log. One of the first format is open.
    pub(super) fn state(&self, conn: &Connection) -> Result<LogState, StoreError> {
        let name = format(conn).and_then(|format| match format {
            1 => Ok(LogState::Open.name().to_owned()),
            _ => conn.prepare_cached("SELECT state FROM log WHERE one = 1")?.query_row([], |row| row.get(0)),
        });
        let name: String = name.map_err(|error| self.failure(&error))?;
        LogState::named(&name).ok_or_else(|| {
            self.unusable(format_args!("is damaged: it has the state {name:?}. Restore it from a backup"))
        })
    }

    /// What an error of SQLite means for who asked. Nothing was written.
    pub(super) fn failure(&self, error: &rusqlite::Error) -> StoreError {
        use rusqlite::Error as E;
        let file = self.file.display();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                self.unusable(format_args!("is damaged ({error}). Stop, and restore it from a backup"))
            }
            Some(ErrorCode::DiskFull) => {
                StoreError::Unavailable(format!("the disk is full: {file} cannot grow. Make room and try again"))
            }
            None if matches!(
                error,
                E::InvalidColumnType(..)
                    | E::FromSqlConversionFailure(..)
                    | E::IntegralValueOutOfRange(..)
                    | E::QueryReturnedNoRows
            ) =>
            {
                self.unusable(format_args!("is damaged: it holds what a log never does ({error})"))
            }
            _ => StoreError::Unavailable(format!("{file}: {error}")),
        }
    }
}

/// Writes a file's bytes over themselves, which makes every page of it one that a sync has to write.
fn write_again(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut bytes = vec![0; REWRITTEN];
    loop {
        let read = file.read(&mut bytes)?;
        if read == 0 {
            return file.sync_all();
        }
        file.seek(SeekFrom::Current(-(read as i64)))?;
        file.write_all(&bytes[..read])?;
    }
}

fn format(conn: &Connection) -> rusqlite::Result<u32> {
    conn.prepare_cached("PRAGMA user_version")?.query_row([], |row| row.get(0))
}

/// Brings an older log to the format of this program, whole or not at all.
fn migrate(conn: &Connection) -> rusqlite::Result<()> {
    let from = format(conn)?;
    if from >= FORMAT {
        return Ok(());
    }
    let transaction = conn.unchecked_transaction()?;
    for migration in MIGRATIONS.iter().skip(from as usize) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()?;
    tracing::info!(from, to = FORMAT, "the log was brought to this program's format");
    Ok(())
}

/// Puts the view for people in the place of an older program's.
fn renew_view(conn: &Connection) -> rusqlite::Result<()> {
    let found = "SELECT sql FROM sqlite_schema WHERE type = 'view' AND name = 'event_log'";
    let found: Option<String> = conn.query_row(found, [], |row| row.get(0)).optional()?;
    if found.as_deref() == Some(EVENT_LOG.trim_end()) {
        return Ok(());
    }
    let transaction = conn.unchecked_transaction()?;
    put_view(&transaction)?;
    transaction.commit()
}

fn put_view(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch("DROP VIEW IF EXISTS event_log")?;
    conn.execute_batch(EVENT_LOG)
}

/// What the first 100 bytes of a SQLite file say: <https://www.sqlite.org/fileformat.html>.
struct Header {
    /// How long the file should be.
    bytes: u64,
    format: u32,
    application_id: u32,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Header> {
        let rest = bytes.strip_prefix(b"SQLite format 3\0")?;
        let number = |offset: usize| -> Option<u32> {
            Some(u32::from_be_bytes(rest.get(offset - 16..offset - 12)?.try_into().ok()?))
        };
        let page_size = u64::from(number(16)? >> 16);
        let page_size = if page_size == 1 { 65_536 } else { page_size };
        Some(Header { bytes: page_size * u64::from(number(28)?), format: number(60)?, application_id: number(68)? })
    }
}
