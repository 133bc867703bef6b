//! The catalogue: which builds of which projections stand in the file, and how far each has come.
//!
//! A build's tables are named `{table}__v{version}_b{build}`. The one that is live for readers has
//! a plain SQL view `{table}` in front, for people with an SQL prompt.

use rusqlite::{Connection, OptionalExtension, params};
use store::{LogIdentity, Position};
use uuid::Uuid;

use crate::{Projection, column::words, column_of, views::ViewError};

/// "TIFV": marks the file as ours.
const APPLICATION_ID: i64 = 0x5449_4656;
/// Of the catalogue's own tables.
const FORMAT: i64 = 1;

/// How a build is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It folds every event.
    Sound,
    /// It met an event that it cannot take and stands before it.
    Failed,
    /// The next event is newer than this program.
    Paused,
}

words! { Health { Sound = "sound", Failed = "failed", Paused = "paused" } }

/// One build of a projection, as the catalogue has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    pub projection: String,
    pub version: u32,
    pub build: u32,
    /// Whether readers get it. The others are being built.
    pub live: bool,
    /// The last event that is folded into it.
    pub position: Position,
    pub health: Health,
    /// Why it is not sound.
    pub error: Option<String>,
    pub(crate) tables: Vec<String>,
}

impl Build {
    /// What follows a table's name in this build.
    pub(crate) fn suffix(&self) -> String {
        format!("__v{}_b{}", self.version, self.build)
    }

    pub(crate) fn is_same(&self, other: &Build) -> bool {
        let name = |build: &Build| (build.version, build.build);
        self.projection == other.projection && name(self) == name(other)
    }

    /// Why it is not sound, as an error.
    pub(crate) fn failure(&self) -> ViewError {
        let error = self.error.clone().unwrap_or_default();
        ViewError::Failed { projection: self.projection.clone(), error }
    }

    pub(crate) fn is_of(&self, projection: &dyn Projection) -> bool {
        self.projection == projection.name() && self.version == projection.version()
    }
}

const TABLES: &str = "
CREATE TABLE log (log BLOB NOT NULL, incarnation BLOB NOT NULL) STRICT;
CREATE TABLE catalogue (
    projection TEXT NOT NULL, version INTEGER NOT NULL, build INTEGER NOT NULL,
    live INTEGER NOT NULL, position INTEGER NOT NULL,
    health TEXT NOT NULL, error TEXT, tables TEXT NOT NULL,
    PRIMARY KEY (projection, version, build)
) STRICT, WITHOUT ROWID;";

/// Whether the file is a views file that this program can use. A new file is none yet: `false`.
pub(crate) fn check(connection: &Connection) -> Result<bool, ViewError> {
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let (application, format) = (number("application_id")?, number("user_version")?);
    if tables == 0 && application == 0 {
        return Ok(false);
    }
    if application != APPLICATION_ID {
        return Err(ViewError::Unusable("this is a database of another program, not Tiffin's views".into()));
    }
    if format > FORMAT {
        return Err(ViewError::Unusable(format!(
            "these views were written by a newer Tiffin (format {format}, this program knows {FORMAT}); use that one, \
             or delete them and start again: they are rebuilt from the log"
        )));
    }
    Ok(true)
}

/// Makes the catalogue when the file is new, and empties it when it was folded from another log.
pub(crate) fn prepare(connection: &mut Connection, identity: LogIdentity) -> Result<(), ViewError> {
    let known = check(connection)?;
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    if !known {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
        transaction.execute_batch(TABLES)?;
    } else if self::identity(&transaction)? == Some(identity) {
        return Ok(transaction.commit()?);
    } else {
        tracing::info!(incarnation = %identity.incarnation, "the views belong to another log: they are folded anew");
        for build in builds(&transaction)? {
            remove(&transaction, &build)?;
        }
        transaction.execute("DELETE FROM log", [])?;
    }
    transaction.execute(
        "INSERT INTO log (log, incarnation) VALUES (?1, ?2)",
        params![identity.log.as_bytes(), identity.incarnation.as_bytes()],
    )?;
    Ok(transaction.commit()?)
}

/// The log that the views are folded from.
pub(crate) fn identity(connection: &Connection) -> Result<Option<LogIdentity>, ViewError> {
    let identity = connection.query_row("SELECT log, incarnation FROM log", [], |row| {
        Ok(LogIdentity { log: column_of::<Uuid>(row, 0)?, incarnation: column_of::<Uuid>(row, 1)? })
    });
    Ok(identity.optional()?)
}

/// Every build in the file.
pub(crate) fn builds(connection: &Connection) -> Result<Vec<Build>, ViewError> {
    let mut statement = connection.prepare_cached(
        "SELECT projection, version, build, live, position, health, error, tables FROM catalogue
         ORDER BY projection, version, build",
    )?;
    let builds = statement.query_map([], |row| {
        let tables: String = row.get(7)?;
        Ok(Build {
            projection: row.get(0)?,
            version: row.get(1)?,
            build: row.get(2)?,
            live: column_of(row, 3)?,
            position: column_of(row, 4)?,
            health: column_of(row, 5)?,
            error: row.get(6)?,
            tables: tables.split_whitespace().map(str::to_owned).collect(),
        })
    })?;
    Ok(builds.collect::<Result<_, _>>()?)
}

/// Adds an empty build with its tables, beside those that are there.
pub(crate) fn add(connection: &Connection, projection: &dyn Projection) -> Result<Build, ViewError> {
    let taken: Option<u32> = connection.query_row(
        "SELECT max(build) FROM catalogue WHERE projection = ?1 AND version = ?2",
        params![projection.name(), projection.version()],
        |row| row.get(0),
    )?;
    let build = Build {
        projection: projection.name().to_owned(),
        version: projection.version(),
        build: taken.unwrap_or(0) + 1,
        live: false,
        position: 0,
        health: Health::Sound,
        error: None,
        tables: projection.tables().iter().map(|table| table.name.to_owned()).collect(),
    };
    for table in projection.tables() {
        connection.execute_batch(&table.create(&build.suffix()))?;
    }
    connection.execute(
        "INSERT INTO catalogue (projection, version, build, live, position, health, error, tables)
         VALUES (?1, ?2, ?3, 0, 0, 'sound', NULL, ?4)",
        params![build.projection, build.version, build.build, build.tables.join(" ")],
    )?;
    Ok(build)
}

/// Moves a build's checkpoint on, if it still stands where `build` says.
pub(crate) fn advance(connection: &Connection, build: &Build, to: Position) -> Result<(), ViewError> {
    let mut statement = connection.prepare_cached(
        "UPDATE catalogue SET position = ?5, health = ?6, error = ?7
         WHERE projection = ?1 AND version = ?2 AND build = ?3 AND position = ?4",
    )?;
    let health = crate::Arg(&build.health);
    let moved = statement.execute(params![
        build.projection,
        build.version,
        build.build,
        crate::Arg(&build.position),
        crate::Arg(&to),
        health,
        build.error
    ])?;
    if moved == 1 { Ok(()) } else { Err(ViewError::Overtaken) }
}

/// Gives `build` to the readers and points the plain SQL views at it. The builds that it replaces
/// are answered; they are to be removed.
pub(crate) fn switch(
    connection: &Connection,
    projection: &dyn Projection,
    build: &Build,
) -> Result<Vec<Build>, ViewError> {
    let others = |other: &Build| other.projection == build.projection && !other.is_same(build);
    let replaced: Vec<Build> = builds(connection)?.into_iter().filter(others).collect();
    connection.execute(
        "UPDATE catalogue SET live = (version = ?2 AND build = ?3) WHERE projection = ?1",
        params![build.projection, build.version, build.build],
    )?;
    for name in replaced.iter().flat_map(|old| &old.tables) {
        connection.execute_batch(&format!("DROP VIEW IF EXISTS {name}"))?;
    }
    for table in projection.tables() {
        let (name, columns, suffix) = (table.name, table.column_list(), build.suffix());
        connection.execute_batch(&format!(
            "DROP VIEW IF EXISTS {name}; CREATE VIEW {name} AS SELECT {columns} FROM {name}{suffix}"
        ))?;
    }
    Ok(replaced)
}

/// Removes a build with its tables.
pub(crate) fn remove(connection: &Connection, build: &Build) -> Result<(), ViewError> {
    let suffix = build.suffix();
    for name in &build.tables {
        if build.live {
            connection.execute_batch(&format!("DROP VIEW IF EXISTS {name}"))?;
        }
        connection.execute_batch(&format!("DROP TABLE IF EXISTS {name}{suffix}"))?;
    }
    connection.execute(
        "DELETE FROM catalogue WHERE projection = ?1 AND version = ?2 AND build = ?3",
        params![build.projection, build.version, build.build],
    )?;
    Ok(())
}
