//! The database: how it is reached, and what its errors mean.

use std::{fmt, future::Future, str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, Connection, PgConnection,
    postgres::{PgConnectOptions, PgDatabaseError, PgSeverity},
};
use tokio::time::timeout;

use crate::StoreError;

/// Until a connection stands.
const CONNECT: Duration = Duration::from_secs(5);
/// Until an answer is there. Longer than the server takes before it gives up by itself.
const ANSWER: Duration = Duration::from_secs(25);

/// What every connection asks of the server. Times are in milliseconds.
const SETTINGS: &[(&str, &str)] = &[
    ("default_transaction_isolation", "read committed"),
    // Somebody who holds the head's lock and does nothing is thrown out. A machine that runs these tests may
    // stand still for as long in the midst of an append: the one about it asks for it by itself.
    #[cfg(not(test))]
    ("idle_in_transaction_session_timeout", "1000"),
    ("lock_timeout", "5000"),
    ("statement_timeout", "20000"),
    // Every query goes through an index. A plan that was made while a table was small, or before its
    // statistics, would otherwise scan it for as long as the plan lives.
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_bitmapscan", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
];

/// A database, and how to connect to it. Shown without user and password.
#[derive(Clone)]
pub(crate) struct Place {
    options: PgConnectOptions,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.options;
        let database = options.get_database().unwrap_or(options.get_username());
        match options.get_socket() {
            Some(folder) => write!(f, "postgres://{database} in {}", folder.display()),
            None => write!(f, "postgres://{}:{}/{database}", options.get_host(), options.get_port()),
        }
    }
}

impl Place {
    /// # Errors
    /// [`StoreError::Unusable`] for something that is no URL of a Postgres.
    pub(crate) fn new(url: &str, read_only: bool) -> Result<Place, StoreError> {
        let options = PgConnectOptions::from_str(url).map_err(|error| {
            StoreError::Unusable(format!("{error}: a Postgres is named as postgres://USER:PASSWORD@HOST:PORT/DATABASE"))
        })?;
        let options = options.application_name("tiffin").options(SETTINGS.iter().copied()).disable_statement_logging();
        let place = Place { options };
        Ok(if read_only { place.with("default_transaction_read_only", "on") } else { place })
    }

    /// The same place, where connections ask for one setting more.
    pub(crate) fn with(&self, setting: &str, value: &str) -> Place {
        Place { options: self.options.clone().options([(setting, value)]) }
    }

    pub(crate) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    pub(crate) async fn connect(&self) -> Result<PgConnection, StoreError> {
        let connected = timeout(CONNECT, PgConnection::connect_with(&self.options)).await;
        connected.unwrap_or_else(|_| Err(no_answer(CONNECT))).map_err(|error| self.failure(&error))
    }

    /// What an error means for somebody whose transaction is certainly not committed.
    pub(crate) fn failure(&self, error: &sqlx::Error) -> StoreError {
        let Some(error) = postgres(error) else {
            return match error {
                sqlx::Error::Configuration(_)
                | sqlx::Error::Encode(_)
                | sqlx::Error::Decode(_)
                | sqlx::Error::ColumnDecode { .. } => self.unusable(error),
                _ => StoreError::Unavailable(format!("{self}: {error}")),
            };
        };
        let (code, said) = (error.code(), error.message());
        match code {
            "3D000" => self.unusable(format_args!("{said}. Make it with createdb")),
            "28000" | "28P01" => self.unusable(format_args!("{said}. Look at user and password of the URL")),
            "42501" => {
                self.unusable(format_args!("{said}. The user must own the database, or be granted CREATE on it"))
            }
            "42P01" | "42703" | "3F000" => {
                self.unusable(format_args!("is damaged, or was changed by another program: {said}. Restore a backup"))
            }
            "23505" => self.unusable(format_args!("was written by another program than tiffin: {said}")),
            "25006" => StoreError::Unavailable(format!("{self} can only be read now: {said}")),
            // Connections, operators, resources, locks and time-outs, conflicts: all of them pass.
            _ if ["08", "25", "40", "53", "55", "57", "58"].iter().any(|class| code.starts_with(class)) => {
                StoreError::Unavailable(format!("{self}: {said}"))
            }
            _ => self.unusable(format_args!("refuses it: {said} ({code})")),
        }
    }

    pub(crate) fn unusable(&self, what: impl fmt::Display) -> StoreError {
        StoreError::Unusable(format!("{self}: {what}"))
    }
}

/// Waits for an answer, but not for ever.
pub(crate) async fn answer<T>(asked: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    timeout(ANSWER, asked).await.unwrap_or_else(|_| Err(no_answer(ANSWER)))
}

fn no_answer(waited: Duration) -> sqlx::Error {
    let why = format!("the server did not answer within {} s", waited.as_secs());
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, why))
}

/// Whether the connection is at fault, so that another one may have better luck.
pub(crate) fn is_lost(error: &sqlx::Error) -> bool {
    match postgres(error) {
        Some(error) => !matches!(error.severity(), PgSeverity::Error),
        None => matches!(error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_)),
    }
}

/// Whether the server itself has said that it did not do it. One that closes the connection over it
/// may have done it all the same.
pub(crate) fn is_refused(error: &sqlx::Error) -> bool {
    postgres(error).is_some_and(|error| matches!(error.severity(), PgSeverity::Error))
}

fn postgres(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}
