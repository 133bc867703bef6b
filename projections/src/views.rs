//! Views: the file, its readers, and how far the fold has come.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags, ToSql};
use store::{LogIdentity, Position};
use tokio::sync::{Semaphore, watch};

use crate::{Build, Health, Projection, Registry, Row, catalogue};

/// Most queries that run at once.
const READERS: usize = 4;
/// Prepared statements that one connection keeps.
const STATEMENTS: usize = 256;

#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The file is foreign, damaged or newer than this program; the text says what to do.
    #[error("{0}")]
    Unusable(String),
    /// Readers get a view only when it is whole. Ask again.
    #[error("the view {projection} is being built and stands at event {position}; ask again in a moment")]
    Building { projection: &'static str, position: Position },
    /// A build met an event that it cannot take.
    #[error("the view {projection} cannot go on: {error}")]
    Failed { projection: String, error: String },
    #[error("there is no projection {0:?}; `projections list` names them")]
    UnknownProjection(String),
    #[error("the views cannot be read or written: {0}")]
    Sql(#[from] rusqlite::Error),
    #[error(transparent)]
    Log(#[from] store::StoreError),
    /// Two programs fold into the same file.
    #[error("another program writes these views; only one may")]
    Overtaken,
    #[error("the views are shutting down")]
    Stopped,
}

/// A view that has not come as far as a reader demands. Ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the views stand at event {reached}, not yet at {wanted}; ask again in a moment")]
pub struct Stale {
    pub wanted: Position,
    pub reached: Position,
}

/// How many items a page has: 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSize(u32);

impl PageSize {
    pub const MAX: PageSize = PageSize(100);

    /// The nearest size that is allowed.
    pub fn clamped(size: usize) -> Self {
        PageSize(size.clamp(1, 100) as u32)
    }

    pub fn get(self) -> usize {
        self.0 as usize
    }
}

impl crate::Column for PageSize {
    const SQL: &'static str = "INTEGER NOT NULL";
    fn to_column(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(self.0.into())
    }
    fn from_column(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
        u32::from_column(value).map(|size| PageSize::clamped(size as usize))
    }
}

/// How views are opened.
#[derive(Clone, Copy, PartialEq)]
enum Access {
    Write,
    Read,
    /// Of a folder in which nothing can be written and nobody writes.
    Immutable,
}

/// The views: cheap to clone, shared by everyone who reads them.
#[derive(Clone)]
pub struct Views(Arc<Inner>);

struct Inner {
    file: PathBuf,
    access: Access,
    registry: Registry,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
    /// What the runner of this process last wrote; empty without one.
    builds: watch::Sender<Arc<[Build]>>,
    /// Holds the file of views that live only as long as the process.
    temporary: Option<tempfile::TempDir>,
}

impl std::fmt::Debug for Views {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Views").field("file", &self.0.file).finish_non_exhaustive()
    }
}

impl Views {
    /// Opens `views.sqlite` in `folder`, or makes it. Views of another log are emptied.
    pub fn open(folder: &Path, identity: LogIdentity) -> Result<Views, ViewError> {
        Self::open_with(folder, identity, crate::all())
    }

    /// As [`Views::open`], with other projections.
    pub fn open_with(folder: &Path, identity: LogIdentity, registry: Registry) -> Result<Views, ViewError> {
        Self::writable(folder, identity, registry, None)
    }

    /// Views that are gone when the last clone is dropped.
    pub fn in_memory(identity: LogIdentity) -> Result<Views, ViewError> {
        Self::in_memory_with(identity, crate::all())
    }

    /// As [`Views::in_memory`], with other projections.
    pub fn in_memory_with(identity: LogIdentity, registry: Registry) -> Result<Views, ViewError> {
        let folder = tempfile::Builder::new().prefix("tiffin-views").tempdir();
        let folder = folder.map_err(|error| ViewError::Unusable(format!("no room for temporary views: {error}")))?;
        let path = folder.path().to_owned();
        Self::writable(&path, identity, registry, Some(folder))
    }

    fn writable(
        folder: &Path,
        identity: LogIdentity,
        registry: Registry,
        temporary: Option<tempfile::TempDir>,
    ) -> Result<Views, ViewError> {
        let views = Self::new(folder.join("views.sqlite"), Access::Write, registry, temporary);
        // Looked at before anything is set, so that a foreign file stays as it is.
        let known = views.connect_raw().and_then(|connection| catalogue::check(&connection));
        let prepared = known
            .and_then(|_| views.connect())
            .and_then(|mut connection| catalogue::prepare(&mut connection, identity));
        prepared.map_err(|error| views.explain(error))?;
        Ok(views)
    }

    /// Opens the views of a folder that another program may be writing to, only to read them.
    pub fn open_read_only(folder: &Path, identity: LogIdentity) -> Result<Views, ViewError> {
        Self::open_read_only_with(folder, identity, crate::all())
    }

    /// As [`Views::open_read_only`], with other projections.
    pub fn open_read_only_with(folder: &Path, identity: LogIdentity, registry: Registry) -> Result<Views, ViewError> {
        let file = folder.join("views.sqlite");
        if !file.exists() {
            let message =
                format!("there are no views in {}; `tiffin projections rebuild` makes them", folder.display());
            return Err(ViewError::Unusable(message));
        }
        let views = Self::new(file.clone(), Access::Read, registry.clone(), None);
        let views = match views.check(identity) {
            Err(ViewError::Sql(error)) if cannot_write(&error) && nothing_pending(&file) => {
                let views = Self::new(file, Access::Immutable, registry, None);
                views.check(identity).map_err(|error| views.explain(error))?;
                views
            }
            checked => checked.map_err(|error| views.explain(error)).map(|()| views)?,
        };
        Ok(views)
    }

    fn check(&self, identity: LogIdentity) -> Result<(), ViewError> {
        let connection = self.connect()?;
        let ours = catalogue::check(&connection)? && catalogue::identity(&connection)? == Some(identity);
        if ours {
            return Ok(());
        }
        let file = self.0.file.display();
        Err(ViewError::Unusable(format!(
            "the views in {file} belong to another log; `tiffin projections rebuild` folds them anew"
        )))
    }

    fn new(file: PathBuf, access: Access, registry: Registry, temporary: Option<tempfile::TempDir>) -> Views {
        Views(Arc::new(Inner {
            file,
            access,
            registry,
            idle: Mutex::new(Vec::new()),
            permits: Semaphore::new(READERS),
            builds: watch::Sender::new(Arc::new([])),
            temporary,
        }))
    }

    /// Says what to do about an error that concerns the whole file.
    fn explain(&self, error: ViewError) -> ViewError {
        let file = self.0.file.display();
        match error {
            ViewError::Sql(error) if is_damage(&error) => ViewError::Unusable(format!(
                "the views in {file} are damaged ({error}); delete {file}* and start again: they are rebuilt from the log"
            )),
            ViewError::Sql(error) => ViewError::Unusable(format!("the views in {file} cannot be opened: {error}")),
            ViewError::Unusable(why) => ViewError::Unusable(format!("{file}: {why}")),
            other => other,
        }
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// A connection of its own, which may write if the views may be written.
    pub(crate) fn connect(&self) -> Result<Connection, ViewError> {
        let connection = self.connect_raw()?;
        if self.0.access == Access::Write {
            // What a power cut takes is folded again, so only checkpoints sync, and of temporary
            // views not even those.
            let synchronous = if self.0.temporary.is_some() { "OFF" } else { "NORMAL" };
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", synchronous)?;
            connection.pragma_update(None, "wal_autocheckpoint", 16_000)?;
            connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
        }
        Ok(connection)
    }

    fn connect_raw(&self) -> Result<Connection, ViewError> {
        let Inner { file, access, .. } = &*self.0;
        let threads = OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match access {
            Access::Write => Connection::open_with_flags(
                file,
                threads | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
            )?,
            Access::Read => Connection::open_with_flags(file, threads | OpenFlags::SQLITE_OPEN_READ_ONLY)?,
            Access::Immutable => Connection::open_with_flags(
                format!("file:{}?immutable=1", percent_encoded(file)),
                threads | OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI,
            )?,
        };
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(connection)
    }

    /// Runs queries on one snapshot, off the async threads; at most four at once.
    pub async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Snapshot<'_>) -> Result<T, ViewError> + Send + 'static,
    ) -> Result<T, ViewError> {
        let _permit = self.0.permits.acquire().await.map_err(|_| ViewError::Stopped)?;
        let views = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let connection = views.take_connection()?;
            connection.execute_batch("BEGIN")?;
            let outcome = Snapshot::of(&connection, &views.0.registry).and_then(|snapshot| query(&snapshot));
            connection.execute_batch("ROLLBACK")?;
            views.give_back(connection);
            outcome
        });
        reading.await.map_err(|_| ViewError::Stopped)?
    }

    pub(crate) fn take_connection(&self) -> Result<Connection, ViewError> {
        let idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(connection) = idle {
            return Ok(connection);
        }
        let connection = self.connect()?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    }

    pub(crate) fn give_back(&self, connection: Connection) {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < READERS {
            idle.push(connection);
        }
    }

    pub(crate) fn publish(&self, builds: Vec<Build>) {
        self.0.builds.send_replace(builds.into());
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Arc<[Build]>> {
        self.0.builds.subscribe()
    }

    /// Every build, live or being built, with its checkpoint and health, as of now.
    pub async fn builds(&self) -> Result<Vec<Build>, ViewError> {
        self.read(|snapshot| Ok(snapshot.builds.clone())).await
    }

    /// The last event that every sound live view has folded, as the runner of this process knows it.
    /// 0 without a runner: then [`Snapshot::position`] knows.
    pub fn position(&self) -> Position {
        lowest(self.0.builds.borrow().iter())
    }

    /// Waits until every sound live view has folded the event at `position`.
    pub async fn wait_for(&self, position: Position, timeout: Duration) -> Result<(), Stale> {
        let deadline = Instant::now() + timeout;
        let mut watch = self.watch();
        loop {
            let own = !watch.borrow_and_update().is_empty();
            let reached = match own {
                true => self.position(),
                false => self.read(|snapshot| Ok(snapshot.position())).await.unwrap_or(0),
            };
            if reached >= position {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Stale { wanted: position, reached });
            }
            // Views that another program writes have to be asked.
            let pause = if own { left } else { left.min(Duration::from_millis(20)) };
            let _moved = tokio::time::timeout(pause, watch.changed()).await;
        }
    }
}

/// Where all sound live builds have come. 0 when none is live.
fn lowest<'a>(builds: impl Iterator<Item = &'a Build>) -> Position {
    let sound = builds.filter(|build| build.live && build.health == Health::Sound);
    sound.map(|build| build.position).min().unwrap_or(0)
}

pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
        // The catalogue's own tables are missing.
        || matches!(error, rusqlite::Error::SqlInputError { .. })
}

fn cannot_write(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, ReadOnly, SystemIoFailure};
    matches!(error.sqlite_error_code(), Some(CannotOpen | ReadOnly | SystemIoFailure))
}

/// Whether the file alone holds everything, with nothing left in its write-ahead log.
fn nothing_pending(file: &Path) -> bool {
    let wal = file.with_extension("sqlite-wal");
    std::fs::metadata(wal).map_or(true, |wal| wal.len() == 0)
}

/// The path as part of a URI.
fn percent_encoded(file: &Path) -> String {
    let mut encoded = String::new();
    for byte in file.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(*byte))
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

/// The views at one moment: the catalogue and every row belong together.
pub struct Snapshot<'a> {
    connection: &'a Connection,
    registry: &'a Registry,
    builds: Vec<Build>,
}

impl<'a> Snapshot<'a> {
    /// Within a transaction that the caller has begun.
    pub(crate) fn of(connection: &'a Connection, registry: &'a Registry) -> Result<Self, ViewError> {
        Ok(Snapshot { connection, registry, builds: catalogue::builds(connection)? })
    }

    /// The last event that every sound live view has folded.
    pub fn position(&self) -> Position {
        let ours = |build: &&Build| self.registry.iter().any(|projection| build.is_of(&**projection));
        lowest(self.builds.iter().filter(ours))
    }

    /// Every build, live or being built, with its checkpoint and health.
    pub fn builds_now(&self) -> &[Build] {
        &self.builds
    }

    /// The live builds that stand before an event that they cannot take: what they show is
    /// incomplete since then.
    pub fn incomplete(&self) -> impl Iterator<Item = &Build> {
        self.builds.iter().filter(|build| build.live && build.health != Health::Sound)
    }

    /// The rows of a table that `rest` (`WHERE … ORDER BY … LIMIT …`) names. Parameters are
    /// `?1, ?2, …`; another table is named as `{table}`.
    pub fn fetch<T: Row>(&self, rest: &str, args: &[&dyn ToSql]) -> Result<Vec<T>, ViewError> {
        let spec = T::TABLE;
        let sql = format!("SELECT {} FROM {{{}}} {rest}", spec.column_list(), spec.name);
        self.query(&sql, args, T::read)
    }

    /// The one row that `rest` names, if it is there.
    pub fn fetch_one<T: Row>(&self, rest: &str, args: &[&dyn ToSql]) -> Result<Option<T>, ViewError> {
        Ok(self.fetch(rest, args)?.into_iter().next())
    }

    /// Any query. Tables are named as `{table}`.
    pub fn query<T>(
        &self,
        sql: &str,
        args: &[&dyn ToSql],
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, ViewError> {
        let mut statement = self.connection.prepare_cached(&self.resolve(sql)?)?;
        let rows = statement.query_map(args, read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Puts the live builds' tables in the place of `{table}`.
    fn resolve(&self, sql: &str) -> Result<String, ViewError> {
        let mut resolved = String::with_capacity(sql.len() + 32);
        let mut rest = sql;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            resolved.push_str(before);
            resolved.push_str(&self.table(name)?);
            rest = after;
        }
        resolved.push_str(rest);
        Ok(resolved)
    }

    fn table(&self, name: &str) -> Result<String, ViewError> {
        let owner =
            |projection: &&std::sync::Arc<dyn Projection>| projection.tables().iter().any(|table| table.name == name);
        let projection = self.registry.iter().find(owner);
        let projection = projection.ok_or_else(|| ViewError::UnknownProjection(name.to_owned()))?;
        let builds = || self.builds.iter().filter(|build| build.is_of(&**projection));
        match builds().find(|build| build.live) {
            Some(build) => Ok(format!("{name}{}", build.suffix())),
            None => {
                if let Some(build) = builds().find(|build| build.health != Health::Sound) {
                    return Err(build.failure());
                }
                let position = builds().map(|build| build.position).max().unwrap_or(0);
                Err(ViewError::Building { projection: projection.name(), position })
            }
        }
    }
}
