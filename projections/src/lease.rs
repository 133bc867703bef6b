//! Leases: which of several processes folds a version of a projection. They only save the others the
//! trouble; that an event counts once rests on [`catalogue::advance`](crate::catalogue::advance).
//!
//! A thread of its own renews them, so that no long write loses them. A process that stands still renews
//! nothing: when its lease has run out it is replaced, and what it holds locked is set free.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::Duration,
};

use domain::Timestamp;
use uuid::Uuid;

use crate::{
    SqlError, args,
    catalogue::now,
    db::{Connection, SESSION},
    row,
    views::{ViewError, Views},
};

/// How long a lease on folding lasts: so long may a process stand still before it is replaced.
pub(crate) const LEASE: Duration = Duration::from_secs(3);
/// How long a lease on any other task lasts.
pub(crate) const TASK: Duration = Duration::from_secs(5);
/// How often whoever has a lease renews it, and whoever has not asks for it. Several renewals may fail
/// or come late before it runs out.
pub(crate) const RENEW: Duration = Duration::from_millis(500);

row! {
    /// Which process keeps a view up, where several could.
    pub(crate) struct Lease in "leases" {
        key { name: String }
        holder: Uuid,
        until: Timestamp,
    }
}

/// What a lease on folding a build's version is called.
pub(crate) fn lease_of(projection: &str, version: u32) -> String {
    format!("{projection}__v{version}")
}

/// Now, by the database's clock, which all nodes share.
pub(crate) fn moment(connection: &Connection) -> Result<Timestamp, SqlError> {
    if !connection.is_postgres() {
        return Ok(now());
    }
    let read = connection.query("SELECT clock_timestamp()", &[], |row| row.get(0))?.pop();
    Ok(read.unwrap_or_else(now))
}

/// Takes a task whose lease had run out at a moment, or keeps it, for so long; `false` when another
/// process has it. Where only one process can write, it has all of them.
pub(crate) fn hold(
    connection: &Connection,
    name: &str,
    holder: Uuid,
    lasts: Duration,
    at: Timestamp,
) -> Result<bool, SqlError> {
    if !connection.is_postgres() {
        return Ok(true);
    }
    let (name, lasts) = (name.to_owned(), millis(lasts));
    let held = connection.execute(
        "INSERT INTO leases (name, holder, until) VALUES (?1, ?2, clock_timestamp() + ?3 * interval '1 millisecond')
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
         WHERE leases.holder = excluded.holder OR leases.until < ?4",
        args![name, holder, lasts, at],
    )?;
    Ok(held == 1)
}

/// Makes every lease that `holder` still has last again.
fn renew(connection: &Connection, holder: Uuid) -> Result<(), SqlError> {
    let lasts = millis(LEASE);
    let sql = "UPDATE leases SET until = clock_timestamp() + ?2 * interval '1 millisecond' WHERE holder = ?1";
    connection.execute(sql, args![holder, lasts]).map(|_| ())
}

/// Gives leases back, so that the next process need not wait for their end.
pub(crate) fn let_go(connection: &Connection, holder: Uuid) -> Result<(), SqlError> {
    if connection.is_postgres() {
        connection.execute("DELETE FROM leases WHERE holder = ?1", args![holder])?;
    }
    Ok(())
}

/// Whether a process has used a version of a projection within the last minute.
pub(crate) fn is_in_use(connection: &Connection, name: &str) -> Result<bool, SqlError> {
    if !connection.is_postgres() {
        return Ok(false);
    }
    let name = name.to_owned();
    let sql = "SELECT 1 FROM leases WHERE name = ?1 AND until > clock_timestamp() - interval '60 seconds'";
    Ok(!connection.query(sql, args![name], |_| Ok(()))?.is_empty())
}

/// Ends the sessions in which a process whose lease had run out at a moment may hold locks: those that have written
/// something, or change the catalogue. The server by itself ends only idle ones, and a session that waits
/// for the rest of a copy is not: it would wait, with its locks, as long as the process stands still.
/// A process that was merely slow finds its connections broken, and goes on from what the tables say.
///
/// Comes before the lease is taken, by the same moment: no lease is taken whose holder was not looked for,
/// and whatever fails in between, whoever asks next does it again.
pub(crate) fn throw_out_expired(connection: &Connection, holder: Uuid, at: Timestamp) {
    if !connection.is_postgres() {
        return;
    }
    let sql = format!(
        "SELECT l.name, pg_terminate_backend(a.pid)
         FROM leases l JOIN pg_stat_activity a ON a.application_name = '{SESSION} ' || l.holder
         WHERE l.holder <> ?1 AND l.until < ?2
         AND a.datname = current_database() AND a.usename = current_user
         AND (a.backend_xid IS NOT NULL
              OR EXISTS (SELECT FROM pg_locks k WHERE k.pid = a.pid AND k.locktype = 'advisory'))"
    );
    match connection.query::<String>(&sql, args![holder, at], |row| row.get(0)) {
        Ok(names) => {
            for name in names {
                tracing::warn!(name, "whoever had this lease let it run out amid a change, which is broken off");
            }
        }
        // Where the server does not let us, what it does by itself has to do.
        Err(error) => tracing::debug!(%error, "sessions of other processes could not be ended"),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Renews what a process holds, until it is dropped.
pub(crate) struct Keeper {
    /// Nothing is sent; it ends the thread that it is gone.
    alive: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(crate) fn start(views: &Views, holder: Uuid) -> Result<Keeper, ViewError> {
        let (alive, ended) = mpsc::channel();
        let views = views.clone();
        let keep = move || {
            let mut connection = None;
            while ended.recv_timeout(RENEW) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = renew_with(&mut connection, &views, holder) {
                    tracing::debug!(%error, "the leases on views could not be renewed; trying again");
                    connection = None;
                }
            }
        };
        let thread = thread::Builder::new().name("tiffin-views-lease".into()).spawn(keep);
        let thread = thread.map_err(|error| ViewError::Unusable(format!("no thread for the leases: {error}")))?;
        Ok(Keeper { alive: Some(alive), thread: Some(thread) })
    }
}

fn renew_with(connection: &mut Option<Connection>, views: &Views, holder: Uuid) -> Result<(), ViewError> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(views.connect()?),
    };
    Ok(renew(connection, holder)?)
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.alive.take());
        // Nothing is renewed any more once this has returned.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
