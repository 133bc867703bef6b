//! A bounded set of connections to one database.

use std::{
    io,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Executor, PgConnection, postgres::PgConnectOptions};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use uuid::Uuid;

use super::{super::Access, PostgresConnection, connection::STATEMENT_TIMEOUT};
use crate::SqlError;

/// What the server calls a session of views, before the name of the process that it belongs to.
pub(crate) const SESSION: &str = "tiffin views";
/// Connections that are open at the same time.
const CONNECTIONS: usize = 12;
/// How long whoever wants a connection waits for one, and then for the server.
const PATIENCE: Duration = Duration::from_secs(5);
/// A connection that rested longer is asked whether it still lives.
const FRESH: Duration = Duration::from_secs(1);
/// A connection that rested longer is closed.
const REST: Duration = Duration::from_secs(300);
/// Prepared statements that one connection keeps.
const STATEMENTS: usize = 256;

/// The connections of one program to the database that holds its views.
pub(crate) struct PostgresPool {
    pub(crate) access: Access,
    /// Who opened it, in the names of its sessions.
    pub(crate) process: Uuid,
    /// The URL without its password, for messages.
    pub(crate) name: String,
    options: PgConnectOptions,
    runtime: Handle,
    places: Arc<Semaphore>,
    resting: Arc<Resting>,
}

/// Connections that nobody uses now, the one used last at the end.
#[derive(Default)]
pub(super) struct Resting(Mutex<Vec<(PgConnection, Instant)>>);

impl Resting {
    pub(super) fn keep(&self, connection: PgConnection) {
        let mut resting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        resting.retain(|(_, since)| since.elapsed() < REST);
        resting.push((connection, Instant::now()));
    }

    fn take(&self) -> Option<(PgConnection, Instant)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Closes all: one was found broken, so the server has probably gone away from all of them.
    pub(super) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl PostgresPool {
    /// Takes the `postgres://` URL. Connects only when somebody asks for a connection. Call it on a runtime,
    /// which must outlive the pool's use.
    ///
    /// # Errors
    /// When the URL cannot be read. The error does not show the password.
    pub(crate) fn open(url: &str, access: Access) -> Result<PostgresPool, SqlError> {
        let process = Uuid::new_v4();
        let options = PgConnectOptions::from_str(url)?
            .application_name(&format!("{SESSION} {process}"))
            .statement_cache_capacity(STATEMENTS)
            .disable_statement_logging();
        Ok(PostgresPool {
            access,
            process,
            name: name(&options),
            options,
            runtime: Handle::current(),
            places: Arc::new(Semaphore::new(CONNECTIONS)),
            resting: Arc::default(),
        })
    }

    /// A connection for one user. Blocks up to some seconds; never call it on a thread that runs tasks.
    ///
    /// # Errors
    /// When all connections stay in use, or the server cannot be reached or refuses.
    pub(in crate::db) fn connect(&self) -> Result<PostgresConnection, SqlError> {
        let (raw, place) = self.runtime.block_on(async {
            let place = self.place().await?;
            while let Some((mut raw, since)) = self.resting.take() {
                let rested = since.elapsed();
                if rested < FRESH || (rested < REST && matches!(timeout(PATIENCE, raw.ping()).await, Ok(Ok(())))) {
                    return Ok((raw, place));
                }
            }
            match timeout(PATIENCE, self.connect_new()).await {
                Ok(connected) => connected.map(|raw| (raw, place)),
                Err(_) => Err(late(format!("{} does not answer", self.name))),
            }
        })?;
        Ok(PostgresConnection::new(self.runtime.clone(), raw, self.resting.clone(), place))
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, sqlx::Error> {
        match timeout(PATIENCE, self.places.clone().acquire_owned()).await {
            Ok(place) => place.map_err(|_| sqlx::Error::PoolClosed),
            Err(_) => Err(late(format!("all {CONNECTIONS} connections to {} stayed in use", self.name))),
        }
    }

    async fn connect_new(&self) -> Result<PgConnection, sqlx::Error> {
        let mut raw = self.options.connect().await?;
        raw.execute(sqlx::raw_sql(AssertSqlSafe(session(self.access)))).await?;
        Ok(raw)
    }
}

fn late(what: String) -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, what))
}

fn name(options: &PgConnectOptions) -> String {
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let (user, database) = (options.get_username(), options.get_database());
    format!("postgres://{user}@{host}/{}", database.unwrap_or(user))
}

/// What a new connection is told. Lost views are folded again, so a commit need not wait for the disk.
/// Whoever stops amid a transaction, with its locks, is thrown out before those who wait for them give up.
fn session(access: Access) -> String {
    let seconds = STATEMENT_TIMEOUT.as_secs();
    let set = format!(
        "SET search_path = views;
         SET synchronous_commit = off;
         SET client_min_messages = warning;
         SET jit = off;
         SET idle_in_transaction_session_timeout = '2s';
         SET lock_timeout = '5s';
         SET statement_timeout = '{seconds}s';"
    );
    match access {
        Access::Read | Access::Immutable => set + "SET default_transaction_read_only = on;",
        // Two programs may start at once; and who may not create schemas can use one that is there.
        Access::Write => {
            set + "
            DO $$ BEGIN
                IF current_setting('server_encoding') <> 'UTF8' THEN
                    RAISE EXCEPTION 'the database''s encoding is %, but views need UTF8', current_setting('server_encoding')
                    USING ERRCODE = 'character_not_in_repertoire';
                END IF;
                IF to_regnamespace('views') IS NULL THEN
                    CREATE SCHEMA views;
                END IF;
            EXCEPTION WHEN duplicate_schema OR unique_violation THEN
                NULL;
            END $$;"
        }
    }
}
