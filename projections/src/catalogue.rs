//! The catalogue: which builds of which projections there are, and how far each has come.
//!
//! A build's tables are named `{table}__v{version}_b{build}`. Each version has one build that readers
//! get. A plain SQL view `{table}` stands in front of the newest, for people with an SQL prompt.

use domain::Timestamp;
use store::{LogIdentity, Position};
use uuid::Uuid;

use crate::{
    Dropped, Json, Param, Parked, Projection, Row, SqlError, args,
    column::words,
    db::{Connection, Mode, Transaction},
    lease::Lease,
    row,
    views::ViewError,
};

/// "TIFV": marks a file as ours.
const APPLICATION_ID: i64 = 0x5449_4656;
/// Of the catalogue's own tables.
const FORMAT: u32 = 2;
/// Rows that are deleted at once before a big table is dropped, so that no transaction is long.
const CHUNK: u32 = 2_000;

/// Whether a build takes events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Sound,
    /// Somebody told it to wait.
    Paused,
    /// The next event is newer than this program.
    Outdated,
}

words! { Health { Sound = "sound", Paused = "paused", Outdated = "outdated" } }

row! {
    /// The builds of the views. The live build of the newest version is what the plain views show.
    pub struct Build in "catalogue" {
        key { projection: String, version: u32, build: u32 }
        /// Whether readers of this version get it. The others are being built, or go.
        live: bool,
        /// The last event of the log that is folded into it.
        position: Position,
        health: Health,
        /// Why it is not sound.
        error: Option<String>,
        tables: Json<Vec<String>>,
        /// Events that it could not take; see the table parked.
        parked: u64,
        /// The first of them: what the view shows is incomplete from there on.
        incomplete_since: Option<Position>,
        /// Whether its tables have their indexes. Without anybody to wait for them they come last.
        indexed: bool,
        /// Whether the plain views show it.
        shown: bool,
        /// Whether it is compared with the live build before it takes its place.
        compare: bool,
        /// What that comparison found.
        compared: Option<String>,
        /// Since when it is of no use any more.
        replaced_at: Option<Timestamp>,
    }
}

row! {
    /// The log that the views are folded from.
    pub(crate) struct Source in "source" {
        key { one: u8 }
        log: Uuid,
        /// Of the store that holds the log. Views of another are folded anew.
        incarnation: Uuid,
        format: u32,
        /// Grows when somebody changes the catalogue beside the runner.
        revision: u64,
    }
}

impl Build {
    /// What follows a table's name in this build.
    pub(crate) fn suffix(&self) -> String {
        format!("__v{}_b{}", self.version, self.build)
    }

    pub(crate) fn is_same(&self, other: &Build) -> bool {
        self.key() == other.key()
    }

    pub(crate) fn is_of(&self, projection: &dyn Projection) -> bool {
        self.projection == projection.name() && self.version == projection.version()
    }

    /// Whether it is folded until it can take the live one's place.
    pub fn is_being_built(&self) -> bool {
        !self.live && self.replaced_at.is_none()
    }

    pub(crate) fn key_params(&self) -> [Param<'_>; 3] {
        [Param::of(&self.projection), Param::of(&self.version), Param::of(&self.build)]
    }
}

/// What follows a statement that means one build.
pub(crate) const ONE: &str = "WHERE projection = ?1 AND version = ?2 AND build = ?3";

/// Now, by the machine's clock.
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Whether what is there are views that this program can use: `false` when there is nothing yet, or
/// only what an older program left.
pub(crate) fn check(connection: &Connection) -> Result<bool, ViewError> {
    let foreign =
        |what: &str| Err(ViewError::Unusable(format!("this is {what} of another program, not Tiffin's views")));
    let format = match connection {
        Connection::Sqlite(file) => {
            let number = |pragma: &str| {
                file.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).map_err(SqlError::from)
            };
            let (application, format) = (number("application_id")?, number("user_version")?);
            if application == 0 && tables(connection)?.is_empty() {
                return Ok(false);
            }
            if application != APPLICATION_ID {
                return foreign("a database");
            }
            u32::try_from(format).unwrap_or(u32::MAX)
        }
        Connection::Postgres(_) => {
            let tables = tables(connection)?;
            if tables.is_empty() {
                return Ok(false);
            }
            if !tables.iter().any(|name| name == Source::TABLE.name) {
                return foreign("a schema named views");
            }
            source(connection)?.map_or(0, |source| source.format)
        }
    };
    if format > FORMAT {
        return Err(ViewError::Unusable(format!(
            "these views were written by a newer Tiffin (format {format}, this program knows {FORMAT}); use that one, \
             or delete them and start again: they are rebuilt from the log"
        )));
    }
    Ok(format == FORMAT)
}

/// The names of all tables of the views.
fn tables(connection: &Connection) -> Result<Vec<String>, SqlError> {
    let sql = if connection.is_postgres() {
        "SELECT tablename FROM pg_tables WHERE schemaname = 'views'"
    } else {
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    };
    connection.query(sql, &[], |row| row.get(0))
}

/// Begins a change of the catalogue. There is one at a time, whichever node makes it.
pub(crate) fn begin(connection: &Connection) -> Result<Transaction<'_>, SqlError> {
    let transaction = connection.begin(Mode::Write)?;
    if transaction.is_postgres() {
        transaction.run("SELECT pg_advisory_xact_lock(6072344180914866)")?;
    }
    Ok(transaction)
}

/// Makes the catalogue when there is none, and empties it when it was folded from another log.
pub(crate) fn prepare(connection: &Connection, identity: LogIdentity) -> Result<(), ViewError> {
    if check(connection)? && self::identity(connection)? == Some(identity) {
        return Ok(());
    }
    let transaction = begin(connection)?;
    if check(&transaction)? {
        if self::identity(&transaction)? == Some(identity) {
            return Ok(transaction.commit()?);
        }
        tracing::info!(incarnation = %identity.incarnation, "the views belong to another log: they are folded anew");
    }
    empty(&transaction)?;
    for table in [Build::TABLE, Parked::TABLE, Dropped::TABLE, Source::TABLE, Lease::TABLE] {
        transaction.create(&table, "")?;
    }
    if let Connection::Sqlite(file) = &*transaction {
        let mark = |pragma: &str, number: i64| file.pragma_update(None, pragma, number).map_err(SqlError::from);
        mark("application_id", APPLICATION_ID)?;
        mark("user_version", i64::from(FORMAT))?;
    }
    transaction.execute(
        "INSERT INTO source (one, log, incarnation, format, revision) VALUES (1, ?1, ?2, ?3, 1)",
        args![identity.log, identity.incarnation, FORMAT],
    )?;
    Ok(transaction.commit()?)
}

/// Removes every table and view that is there.
fn empty(transaction: &Transaction<'_>) -> Result<(), SqlError> {
    let views = if transaction.is_postgres() {
        "SELECT viewname FROM pg_views WHERE schemaname = 'views'"
    } else {
        "SELECT name FROM sqlite_schema WHERE type = 'view'"
    };
    for name in transaction.query::<String>(views, &[], |row| row.get(0))? {
        transaction.run(&format!("DROP VIEW {name}"))?;
    }
    for name in tables(transaction)? {
        transaction.run(&format!("DROP TABLE {name}"))?;
    }
    Ok(())
}

fn source(connection: &Connection) -> Result<Option<Source>, SqlError> {
    let sql = format!("SELECT {} FROM source", Source::TABLE.column_list());
    Ok(connection.query(&sql, &[], Source::read)?.pop())
}

/// The log that the views are folded from.
pub(crate) fn identity(connection: &Connection) -> Result<Option<LogIdentity>, ViewError> {
    let source = source(connection)?;
    Ok(source.map(|source| LogIdentity { log: source.log, incarnation: source.incarnation }))
}

/// Grows with every change that is made beside the runner.
pub(crate) fn revision(connection: &Connection) -> Result<u64, SqlError> {
    Ok(connection.query("SELECT revision FROM source", &[], |row| row.get(0))?.pop().unwrap_or(0))
}

pub(crate) fn revise(connection: &Connection) -> Result<(), SqlError> {
    connection.execute("UPDATE source SET revision = revision + 1", &[]).map(|_| ())
}

/// Every build that there is.
pub(crate) fn builds(connection: &Connection) -> Result<Vec<Build>, SqlError> {
    let sql = format!("SELECT {} FROM catalogue ORDER BY projection, version, build", Build::TABLE.column_list());
    connection.query(&sql, &[], Build::read)
}

/// Adds an empty build with its tables, beside those that are there.
pub(crate) fn add(connection: &Connection, projection: &dyn Projection, compare: bool) -> Result<Build, SqlError> {
    let (name, version) = (projection.name().to_owned(), projection.version());
    let taken = connection.query(
        "SELECT coalesce(max(build), 0) FROM catalogue WHERE projection = ?1 AND version = ?2",
        args![name, version],
        |row| row.get::<u32>(0),
    )?;
    let build = Build {
        projection: name,
        version,
        build: taken.into_iter().max().unwrap_or(0) + 1,
        live: false,
        position: 0,
        health: Health::Sound,
        error: None,
        tables: Json(projection.tables().iter().map(|table| table.name.to_owned()).collect()),
        parked: 0,
        incomplete_since: None,
        indexed: false,
        shown: false,
        compare,
        compared: None,
        replaced_at: None,
    };
    for table in projection.tables() {
        connection.create(table, &build.suffix())?;
    }
    insert(connection, &build)?;
    revise(connection)?;
    Ok(build)
}

fn insert<T: Row>(connection: &Connection, row: &T) -> Result<(), SqlError> {
    let spec = T::TABLE;
    let mut values = Vec::new();
    row.values(&mut values)?;
    let params: Vec<Param<'_>> = spec
        .columns
        .iter()
        .zip(values)
        .map(|(column, value)| Param { kind: column.of.kind, value: Ok(value) })
        .collect();
    let marks = (1..=params.len()).map(|index| format!("?{index}")).collect::<Vec<_>>().join(", ");
    let sql = format!("INSERT INTO {} ({}) VALUES ({marks}) ON CONFLICT DO NOTHING", spec.name, spec.column_list());
    connection.execute(&sql, &params).map(|_| ())
}

/// Moves a build on from where `before` stands, if it still stands there. Only what the fold itself has
/// changed is written: an operator may have paused the build, or dropped what it had parked, meanwhile.
pub(crate) fn advance(
    connection: &Connection,
    before: &Build,
    after: &Build,
    parked: &[Parked],
) -> Result<(), ViewError> {
    for one in parked {
        insert(connection, one)?;
    }
    let (newly, first) = (parked.len() as u64, parked.first().map(|one| one.position));
    let sql = format!(
        "UPDATE catalogue SET position = ?5,
           error = CASE WHEN health = ?6 THEN ?8 ELSE error END,
           health = CASE WHEN health = ?6 THEN ?7 ELSE health END,
           parked = parked + ?9, incomplete_since = coalesce(incomplete_since, ?10)
         {ONE} AND position = ?4"
    );
    let [projection, version, build] = before.key_params();
    let params = [
        projection,
        version,
        build,
        Param::of(&before.position),
        Param::of(&after.position),
        Param::of(&before.health),
        Param::of(&after.health),
        Param::of(&after.error),
        Param::of(&newly),
        Param::of(&first),
    ];
    if connection.execute(&sql, &params)? == 1 { Ok(()) } else { Err(ViewError::Overtaken) }
}

/// Gives a build's tables their indexes.
pub(crate) fn index(connection: &Connection, projection: &dyn Projection, build: &Build) -> Result<(), SqlError> {
    for table in projection.tables() {
        connection.index(table, &build.suffix())?;
    }
    let sql = format!("UPDATE catalogue SET indexed = ?4 {ONE}");
    let [projection, version, number] = build.key_params();
    connection.execute(&sql, &[projection, version, number, Param::of(&true)]).map(|_| ())
}

/// Says what a comparison of a build with the live one has found.
pub(crate) fn compared(connection: &Connection, build: &Build, found: &str) -> Result<(), SqlError> {
    let [projection, version, number] = build.key_params();
    let found = found.to_owned();
    let sql = format!("UPDATE catalogue SET compared = ?4 {ONE}");
    connection.execute(&sql, &[projection, version, number, Param::of(&found)]).map(|_| ())
}

/// Gives `build` to the readers of its version. The one that it replaces is to be removed.
pub(crate) fn switch(connection: &Connection, build: &Build) -> Result<(), SqlError> {
    let (projection, version, number, now) = (build.projection.clone(), build.version, build.build, now());
    connection.execute(
        "UPDATE catalogue SET replaced_at = ?4 WHERE projection = ?1 AND version = ?2 AND build <> ?3
         AND live AND replaced_at IS NULL",
        args![projection, version, number, now],
    )?;
    connection.execute(
        "UPDATE catalogue SET live = (build = ?3) WHERE projection = ?1 AND version = ?2",
        args![projection, version, number],
    )?;
    revise(connection)
}

/// Takes a build away from readers and runners; its tables go later.
pub(crate) fn replace(connection: &Connection, build: &Build) -> Result<(), SqlError> {
    let [projection, version, number] = build.key_params();
    let now = now();
    let sql = format!("UPDATE catalogue SET live = ?5, replaced_at = ?4 {ONE}");
    connection.execute(&sql, &[projection, version, number, Param::of(&now), Param::of(&false)])?;
    revise(connection)
}

/// Points the plain SQL views at `build`, and away from every other build of its projection.
pub(crate) fn show(connection: &Connection, projection: &dyn Projection, build: &Build) -> Result<(), SqlError> {
    for name in &*build.tables {
        connection.run(&format!("DROP VIEW IF EXISTS {name}"))?;
    }
    for other in builds(connection)?.iter().filter(|other| other.projection == build.projection && other.shown) {
        for name in &*other.tables {
            connection.run(&format!("DROP VIEW IF EXISTS {name}"))?;
        }
    }
    for table in projection.tables() {
        let (name, columns, suffix) = (table.name, table.column_list(), build.suffix());
        connection.run(&format!("CREATE VIEW {name} AS SELECT {columns} FROM {name}{suffix}"))?;
    }
    connection.execute(
        "UPDATE catalogue SET shown = (version = ?2 AND build = ?3) WHERE projection = ?1",
        args![build.projection, build.version, build.build],
    )?;
    Ok(())
}

/// Removes some of a build: a number of rows, or the build itself once its tables are empty. Answers
/// whether nothing is left of it.
pub(crate) fn remove(connection: &Connection, build: &Build) -> Result<bool, SqlError> {
    let suffix = build.suffix();
    let there = tables(connection)?;
    for name in build.tables.iter().filter(|name| there.contains(&format!("{name}{suffix}"))) {
        if let Connection::Sqlite(file) = connection {
            // A drop alone would visit every page in one go, with writers waiting.
            let keys = "SELECT group_concat(name, ', ') FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk";
            let keys: String = file.query_row(keys, [format!("{name}{suffix}")], |row| row.get(0))?;
            let sql = format!(
                "DELETE FROM {name}{suffix} WHERE ({keys}) IN (SELECT {keys} FROM {name}{suffix} LIMIT {CHUNK})"
            );
            if connection.execute(&sql, &[])? > 0 {
                return Ok(false);
            }
        }
        connection.run(&format!("DROP TABLE {name}{suffix}"))?;
    }
    connection.execute(&format!("DELETE FROM parked {ONE}"), &build.key_params())?;
    connection.execute(&format!("DELETE FROM catalogue {ONE}"), &build.key_params())?;
    Ok(true)
}

/// Stops or lets go on every build of a projection.
pub(crate) fn set_paused(connection: &Connection, projection: &str, paused: bool) -> Result<(), SqlError> {
    let (projection, from, to) = match paused {
        true => (projection.to_owned(), Health::Sound, Health::Paused),
        false => (projection.to_owned(), Health::Paused, Health::Sound),
    };
    connection.execute(
        "UPDATE catalogue SET health = ?3 WHERE projection = ?1 AND health = ?2 AND replaced_at IS NULL",
        args![projection, from, to],
    )?;
    revise(connection)
}
