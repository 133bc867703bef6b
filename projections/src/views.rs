//! Views: the file, its readers, and how far the fold has come.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use store::{LogIdentity, Position};
use tokio::sync::{Notify, Semaphore, watch};
use uuid::Uuid;

use crate::{
    Build, Health, Projection, Registry, Snapshot, SqlError, catalogue,
    db::{self, Access, Connection, Database, Mode, PostgresPool, SqliteFile},
};

/// Of the connection that writes rows; negative, as SQLite wants it for kibibytes.
const WRITER_CACHE_KIB: i64 = -32 * 1024;
/// Most queries that run at once.
const READERS: usize = 4;

#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The file is foreign, damaged or newer than this program; the text says what to do.
    #[error("{0}")]
    Unusable(String),
    /// Readers get a view only when it is whole. Ask again.
    #[error("the view {projection} is being built and stands at event {position}; ask again in a moment")]
    Building { projection: &'static str, position: Position },
    /// A build met an event that is newer than this program.
    #[error("the view {projection} waits for a newer program: {error}")]
    Outdated { projection: String, error: String },
    /// Somebody told the projection to wait.
    #[error("the projection {0} is paused; `tiffin projections resume {0}` lets it go on")]
    Paused(String),
    #[error("there is no projection {0:?}; `projections list` names them")]
    UnknownProjection(String),
    #[error("the projection {projection} has no event of {stream} parked; `tiffin projections park list` names them")]
    NothingParked { projection: &'static str, stream: domain::StreamId },
    #[error("the views cannot be read or written: {0}")]
    Sql(#[from] SqlError),
    #[error(transparent)]
    Log(#[from] store::StoreError),
    /// Two programs fold into the same file.
    #[error("another program writes these views; only one may")]
    Overtaken,
    /// A batch that parks events was folded by a catalogue that is another now. It is folded anew.
    #[error("the catalogue of the views was changed meanwhile; the batch is folded again")]
    Revised,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageSize(u32);

impl PageSize {
    pub const MAX: PageSize = PageSize(100);

    /// The nearest size that is allowed.
    pub fn clamped(size: usize) -> Self {
        PageSize(size.clamp(1, 100) as u32)
    }

    /// This page and one item more, which tells whether there are more.
    pub fn and_one(self) -> Self {
        PageSize(self.0 + 1)
    }

    pub fn get(self) -> usize {
        self.0 as usize
    }
}

impl crate::Column for PageSize {
    const TYPE: crate::ColumnType = <u32 as crate::Column>::TYPE;
    fn to_value(&self) -> Result<crate::Value<'_>, crate::Misfit> {
        Ok(crate::Value::Integer(i64::from(self.0)))
    }
    fn from_value(value: crate::Value<'_>) -> Result<Self, crate::Misfit> {
        <u32 as crate::Column>::from_value(value).map(|size| PageSize::clamped(size as usize))
    }
}

/// The views: cheap to clone, shared by everyone who reads them.
#[derive(Clone)]
pub struct Views(Arc<Inner>);

struct Inner {
    database: Database,
    registry: Registry,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    /// How many statements readers have run.
    statements: AtomicU64,
    /// What the runner of this process last wrote; empty when it does not keep all of them up.
    builds: watch::Sender<Arc<[Build]>>,
    /// Wakes the runner of this process.
    changed: Notify,
    /// How many readers wait for the runner of this process, and wakes it when one more does.
    waiting: AtomicUsize,
    awaited: Notify,
    /// Holds the file of views that live only as long as the process.
    _temporary: Option<tempfile::TempDir>,
}

impl std::fmt::Debug for Views {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Views").field("at", &self.0.database.to_string()).finish_non_exhaustive()
    }
}

impl Views {
    /// Opens `views.sqlite` in `folder`, or makes it. Views of another log are emptied. Blocks.
    pub fn open(folder: &Path, identity: LogIdentity, registry: Registry) -> Result<Views, ViewError> {
        Self::writable(folder, identity, registry, None)
    }

    /// Views that are gone when the last clone is dropped. Blocks.
    pub fn in_memory(identity: LogIdentity, registry: Registry) -> Result<Views, ViewError> {
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
        let (path, kept) = (folder.join("views.sqlite"), temporary.is_none());
        let file = SqliteFile { path, access: Access::Write, temporary: !kept };
        // Looked at before anything is set, so that a foreign file stays as it is.
        let raw = file.connect_raw().map(Connection::Sqlite);
        let views = Self::new(Database::Sqlite(file), registry, temporary);
        let known = raw.map_err(ViewError::from).and_then(|connection| catalogue::check(&connection));
        let prepared = known.and_then(|_| views.prepare(identity));
        prepared.map_err(|error| views.explain(error))?;
        Ok(views)
    }

    /// Opens the views of a folder that another program may be writing to, only to read them. Blocks.
    pub fn open_read_only(folder: &Path, identity: LogIdentity, registry: Registry) -> Result<Views, ViewError> {
        let path = folder.join("views.sqlite");
        if !path.exists() {
            let message =
                format!("there are no views in {}; `tiffin projections rebuild --all` makes them", folder.display());
            return Err(ViewError::Unusable(message));
        }
        let file = |access| SqliteFile { path: path.clone(), access, temporary: false };
        let pending = !file(Access::Read).nothing_pending();
        let views = Self::new(Database::Sqlite(file(Access::Read)), registry.clone(), None);
        match views.check(identity) {
            Err(ViewError::Sql(error)) if !pending && db::cannot_write(&error) => {
                let views = Self::new(Database::Sqlite(file(Access::Immutable)), registry, None);
                views.check(identity).map_err(|error| views.explain(error)).map(|()| views)
            }
            checked => checked.map_err(|error| views.explain(error)).map(|()| views),
        }
    }

    /// Opens the views in the schema `views` of a Postgres database, or makes them. Views of another
    /// log are emptied. Within a tokio runtime.
    pub async fn open_postgres(url: &str, identity: LogIdentity, registry: Registry) -> Result<Views, ViewError> {
        Self::postgres(url, Access::Write, registry, move |views| views.prepare(identity)).await
    }

    /// As [`Views::open_postgres`], only to read what another program writes.
    pub async fn open_postgres_read_only(
        url: &str,
        identity: LogIdentity,
        registry: Registry,
    ) -> Result<Views, ViewError> {
        Self::postgres(url, Access::Read, registry, move |views| views.check(identity)).await
    }

    async fn postgres(
        url: &str,
        access: Access,
        registry: Registry,
        begin: impl FnOnce(&Views) -> Result<(), ViewError> + Send + 'static,
    ) -> Result<Views, ViewError> {
        let views = Self::new(Database::Postgres(Box::new(PostgresPool::open(url, access)?)), registry, None);
        let opened = tokio::task::spawn_blocking(move || match begin(&views) {
            Ok(()) => Ok(views),
            Err(error) => Err(views.explain(error)),
        });
        opened.await.map_err(|_| ViewError::Stopped)?
    }

    fn prepare(&self, identity: LogIdentity) -> Result<(), ViewError> {
        catalogue::prepare(&self.0.database.connect()?, identity)
    }

    fn check(&self, identity: LogIdentity) -> Result<(), ViewError> {
        let connection = self.0.database.connect()?;
        if catalogue::check(&connection)? && catalogue::identity(&connection)? == Some(identity) {
            return Ok(());
        }
        Err(ViewError::Unusable(format!(
            "the views in {} belong to another log; `tiffin projections rebuild --all` folds them anew",
            self.0.database
        )))
    }

    fn new(database: Database, registry: Registry, temporary: Option<tempfile::TempDir>) -> Views {
        Views(Arc::new(Inner {
            database,
            registry,
            idle: Mutex::new(Vec::new()),
            permits: Arc::new(Semaphore::new(READERS)),
            statements: AtomicU64::new(0),
            builds: watch::Sender::new(Arc::new([])),
            changed: Notify::new(),
            waiting: AtomicUsize::new(0),
            awaited: Notify::new(),
            _temporary: temporary,
        }))
    }

    /// Says what to do about an error that concerns all of the views.
    fn explain(&self, error: ViewError) -> ViewError {
        let place = &self.0.database;
        match (error, place) {
            (ViewError::Sql(error), Database::Sqlite(_)) if error.is_damage() => ViewError::Unusable(format!(
                "the views in {place} are damaged ({error}); delete {place}* and start again: they are rebuilt from the log"
            )),
            (ViewError::Sql(error), Database::Postgres(_)) if error.is_damage() => ViewError::Unusable(format!(
                "the views in {place} are damaged ({error}); DROP SCHEMA views CASCADE and start again: they are \
                 rebuilt from the log"
            )),
            (ViewError::Sql(error), _) => {
                ViewError::Unusable(format!("the views in {place} cannot be opened: {error}"))
            }
            (ViewError::Unusable(why), _) => ViewError::Unusable(format!("{place}: {why}")),
            (other, _) => other,
        }
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Whether each look at a row is a round trip, and other processes may keep the views up.
    pub(crate) fn is_remote(&self) -> bool {
        self.0.database.is_remote()
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.0.database.is_writable()
    }

    /// What this process holds leases as. The server knows its sessions by the same name.
    pub(crate) fn process(&self) -> Uuid {
        self.0.database.process()
    }

    /// A connection of its own, which may write if the views may be written. Blocks.
    pub(crate) fn connect(&self) -> Result<Connection, ViewError> {
        Ok(self.0.database.connect()?)
    }

    /// A connection for all the rows of a fold. Blocks.
    pub(crate) fn connect_to_write(&self) -> Result<Connection, ViewError> {
        let connection = self.connect()?;
        if let Connection::Sqlite(file) = &connection {
            file.pragma_update(None, "cache_size", WRITER_CACHE_KIB).map_err(SqlError::from)?;
        }
        Ok(connection)
    }

    /// Makes a change of the catalogue in one transaction, and wakes the runner of this process.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> Result<T, ViewError> + Send + 'static,
    ) -> Result<T, ViewError> {
        let views = self.clone();
        let changing = tokio::task::spawn_blocking(move || {
            let connection = views.connect()?;
            let transaction = catalogue::begin(&connection)?;
            let changed = change(&transaction)?;
            transaction.commit()?;
            Ok(changed)
        });
        let changed = changing.await.map_err(|_| ViewError::Stopped)?;
        self.0.changed.notify_one();
        changed
    }

    /// Resolves when somebody in this process has changed the catalogue.
    pub(crate) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Whether somebody waits for the runner of this process.
    pub(crate) fn is_awaited(&self) -> bool {
        self.0.waiting.load(Ordering::Acquire) > 0
    }

    /// Resolves when somebody begins to wait for the runner of this process.
    pub(crate) async fn awaited(&self) {
        let awaited = self.0.awaited.notified();
        tokio::pin!(awaited);
        awaited.as_mut().enable();
        // One who began before this looked.
        if !self.is_awaited() {
            awaited.await;
        }
    }

    /// Runs queries on one snapshot, off the async threads; at most four at once.
    pub async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Snapshot<'_>) -> Result<T, ViewError> + Send + 'static,
    ) -> Result<T, ViewError> {
        let permits = Arc::clone(&self.0.permits);
        let permit = permits.acquire_owned().await.map_err(|_| ViewError::Stopped)?;
        let views = self.clone();
        let reading = tokio::task::spawn_blocking(move || {
            // Whoever asked may go away; the query goes on all the same.
            let _permit = permit;
            let connection = views.take_connection()?;
            let transaction = connection.begin(Mode::Read)?;
            let outcome = Snapshot::of(&transaction, &views).and_then(|snapshot| query(&snapshot));
            let ended = transaction.commit();
            let found = outcome?;
            ended?;
            views.give_back(connection);
            Ok(found)
        });
        reading.await.map_err(|_| ViewError::Stopped)?
    }

    /// How many statements readers of these views have run, in this process. What it grows by while something
    /// is read tells whether that takes more of them where there is more to read.
    pub fn statements(&self) -> u64 {
        self.0.statements.load(Ordering::Relaxed)
    }

    pub(crate) fn count_statement(&self) {
        self.0.statements.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn take_connection(&self) -> Result<Connection, ViewError> {
        let idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(connection) = idle {
            return Ok(connection);
        }
        let connection = self.connect()?;
        if let Connection::Sqlite(file) = &connection {
            file.pragma_update(None, "query_only", true).map_err(SqlError::from)?;
        }
        Ok(connection)
    }

    pub(crate) fn give_back(&self, connection: Connection) {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // A remote one has a pool of its own, which looks whether it still works.
        if idle.len() < READERS && !self.is_remote() {
            idle.push(connection);
        }
    }

    pub(crate) fn publish(&self, builds: Vec<Build>) {
        self.0.builds.send_replace(builds.into());
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Arc<[Build]>> {
        self.0.builds.subscribe()
    }

    /// Every build as the runner of this process knows it, or else as the catalogue does.
    pub(crate) async fn builds_now(&self) -> Result<Arc<[Build]>, ViewError> {
        let known = self.0.builds.borrow().clone();
        if known.is_empty() { Ok(self.builds().await?.into()) } else { Ok(known) }
    }

    /// The names of the views that do not show everything, in the registry's order: events of theirs
    /// are parked, or they are paused or outdated. As the runner of this process knows it, or else as
    /// the catalogue does.
    pub async fn incomplete_views(&self) -> Result<Vec<&'static str>, ViewError> {
        let builds = self.builds_now().await?;
        let lacking = |projection: &&Arc<dyn Projection>| {
            builds.iter().any(|build| build.live && build.is_of(&***projection) && !is_whole(build))
        };
        Ok(self.0.registry.iter().filter(lacking).map(|projection| projection.name()).collect())
    }

    /// Every build that is in use or being built, with its checkpoint and health, as of now.
    pub async fn builds(&self) -> Result<Vec<Build>, ViewError> {
        self.read(|snapshot| Ok(snapshot.builds_now().cloned().collect())).await
    }

    /// The last event that every sound live view has folded, as the runner of this process knows it.
    /// 0 without a runner: then [`Snapshot::position`] knows.
    pub fn position(&self) -> Position {
        lowest(self.0.builds.borrow().iter())
    }

    /// As [`Views::position`], also where another program keeps the views up: then they are asked. 0 when they do
    /// not answer.
    pub async fn reached(&self) -> Position {
        let own = !self.0.builds.borrow().is_empty();
        if own { self.position() } else { self.read(|snapshot| Ok(snapshot.position())).await.unwrap_or(0) }
    }

    /// Waits until every sound live view has folded the event at `position`. The runner of this process
    /// lets nothing gather meanwhile.
    pub async fn wait_for(&self, position: Position, timeout: Duration) -> Result<(), Stale> {
        if self.position() >= position {
            return self.wait_in_turn(position, timeout).await;
        }
        let _hurry = Hurry::on(&self.0);
        self.wait_in_turn(position, timeout).await
    }

    /// As [`Views::wait_for`], for whoever can as well be told a moment later: the runner takes its time.
    pub async fn wait_in_turn(&self, position: Position, timeout: Duration) -> Result<(), Stale> {
        let deadline = Instant::now() + timeout;
        let mut watch = self.watch();
        loop {
            let own = !watch.borrow_and_update().is_empty();
            let reached = self.reached().await;
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

/// Somebody who waits for the runner of this process.
struct Hurry<'a>(&'a Inner);

impl Hurry<'_> {
    fn on(views: &Inner) -> Hurry<'_> {
        views.waiting.fetch_add(1, Ordering::AcqRel);
        views.awaited.notify_waiters();
        Hurry(views)
    }
}

impl Drop for Hurry<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Where all sound live builds have come. 0 when none is live.
pub(crate) fn lowest<'a>(builds: impl Iterator<Item = &'a Build>) -> Position {
    let sound = builds.filter(|build| build.live && build.health == Health::Sound);
    sound.map(|build| build.position).min().unwrap_or(0)
}

/// Whether it has taken every event up to where it stands, and goes on.
pub(crate) fn is_whole(build: &Build) -> bool {
    build.parked == 0 && build.health == Health::Sound
}
