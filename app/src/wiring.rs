//! Puts the house together. The only place that names an adapter.

mod log_clock;

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use commands::{Clock, Commands, Contention, Limits, RandomIds, SystemClock};
use domain::payment::Provider;
use projections::{Registry, Runner, RunnerHandle, Views};
use providers::{PaymentProvider, Providers, StandIn, Weather};
use sagas::{Finance, Follower, Ordering, People, Subsidies};
use store::{
    EventStore, LogIdentity, MemoryLog, PostgresLog, SqliteLog, SqliteMode,
    keys::{KeyStore, Keyring, MemoryKeys, PostgresKeys, SqliteKeys},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Config, KeysAddress, Payments, StoreAddress, ViewsAddress, usage},
    output,
};

/// How long chains under way may take to end at a shutdown.
const CHAINS_END: Duration = Duration::from_secs(30);
/// How long views may take to fold what is left at a shutdown. What is not folded then is folded
/// at the next start.
const VIEWS_END: Duration = Duration::from_secs(10);

/// The views that this program keeps: those of the rooms, and where each process stands.
pub fn registry() -> Registry {
    projections::all().iter().cloned().chain(sagas::projections()).collect()
}

/// A log that this process serves: alone, or in Postgres beside others.
pub struct House {
    pub store: Arc<dyn EventStore>,
    pub views: Views,
    pub commands: Commands,
    pub ordering: Ordering,
    pub subsidies: Subsidies,
    /// Plays the providers, if that was asked for.
    pub stand_in: Option<Arc<StandIn>>,
    pub people: People,
    pub finance: Finance,
    /// Lists and rebuilds views while they are kept up to date.
    pub runner: RunnerHandle,
    /// The folder that this process alone holds, where its admin socket is; none where others may
    /// work beside it.
    pub folder: Option<PathBuf>,
    running: Running,
    /// Held for as long as the views are written.
    _views_lock: Option<FolderLock>,
}

/// The tasks in the background.
struct Running {
    stop_following: CancellationToken,
    follower: JoinHandle<()>,
    stop_folding: CancellationToken,
    folding: JoinHandle<()>,
    /// Compares the clocks, where the log has one of its own.
    comparing: Option<JoinHandle<()>>,
    /// Cancelled when a task in the background ended by itself.
    broken: CancellationToken,
}

impl House {
    /// Takes the store, and starts everything that keeps it going. Call [`House::close`] at the end.
    pub async fn open(config: &Config) -> anyhow::Result<House> {
        Self::open_with(config, Arc::new(SystemClock::start())).await
    }

    /// As [`House::open`], by another clock.
    pub async fn open_with(config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<House> {
        let log = OpenedLog::open(&config.store, LogAccess::Append).await?;
        // A copy or a sealed log is read by commands that only read.
        log.store.state().await?.takes_appends()?;
        let (views, lock) = open_views(config, log.store.identity()).await?;
        let house = House::start(log, views, keyring(config)?, lock, clock, config.payments).await?;
        Ok(House { folder: config.held_folder(), ..house })
    }

    async fn start(
        log: OpenedLog,
        views: Views,
        keys: Option<Keyring>,
        lock: Option<FolderLock>,
        clock: Arc<dyn Clock>,
        payments: Payments,
    ) -> anyhow::Result<House> {
        let store = log.store;
        let runner = Runner::open(Arc::clone(&store), views.clone()).await?;
        let handle = runner.handle();
        let broken = CancellationToken::new();
        let stop_folding = CancellationToken::new();
        let folding = kept(&broken, &stop_folding, "views", {
            let stop = stop_folding.clone();
            async move {
                if let Err(error) = runner.run(stop).await {
                    tracing::error!(%error, "the views are not kept up any more");
                }
            }
        });
        let commands = Commands::start(Arc::clone(&store), clock, Arc::new(RandomIds), Limits::default());
        let comparing = match log.postgres {
            Some(log) => Some(log_clock::compare(log, commands.clone()).await),
            None => None,
        };
        let stand_in = match payments {
            Payments::None => None,
            Payments::StandIn => Some(Arc::new(StandIn::new(0, Weather::default()))),
        };
        let ordering = Ordering::new(commands.clone()).with_providers(providers(stand_in.as_ref()));
        let stop_following = CancellationToken::new();
        let subsidies = Subsidies::new(commands.clone(), views.clone());
        let finance = Finance::new(commands.clone(), views.clone());
        let people = People::new(commands.clone(), views.clone(), keys);
        let follower = Follower::new(ordering.clone(), subsidies.clone(), finance.clone()).erasing(people.clone());
        let follower = kept(&broken, &stop_following, "processes", follower.run(stop_following.clone()));
        let running = Running { stop_following, follower, stop_folding, folding, comparing, broken };
        Ok(House {
            store,
            views,
            commands,
            ordering,
            subsidies,
            stand_in,
            people,
            finance,
            runner: handle,
            folder: None,
            running,
            _views_lock: lock,
        })
    }

    /// Resolves, with the reason, when the house can serve no longer: the process should end.
    pub async fn failed(&self) -> &'static str {
        let log = self.commands.failed();
        tokio::select! {
            () = log.cancelled() => "the log can no longer be written",
            () = self.running.broken.cancelled() => "something that runs in the background has ended",
        }
    }

    /// Waits until the views show everything that the log has.
    pub async fn catch_up(&self, patience: Duration) -> anyhow::Result<()> {
        let head = self.store.head().await?;
        Ok(self.views.wait_for(head, patience).await?)
    }

    /// Ends everything in order once `outcome` is there. What was left for the next start does not change what was
    /// done: it is noted, and the outcome stands.
    pub async fn close_after<T>(self, outcome: anyhow::Result<T>) -> anyhow::Result<T> {
        if let Err(left) = self.close().await {
            output::note(format_args!("tiffin: {left:#}"));
        }
        outcome
    }

    /// Ends everything in order: processes, commands under way, views. Nothing that was
    /// acknowledged is lost, whatever the outcome; an error says what was left for the next start.
    pub async fn close(self) -> anyhow::Result<()> {
        let Running { stop_following, follower, stop_folding, folding, comparing, broken } = self.running;
        stop_following.cancel();
        let mut left = Vec::new();
        let followed = tokio::time::timeout(CHAINS_END, follower).await;
        if !self.commands.shut_down(CHAINS_END).await || !matches!(followed, Ok(Ok(()))) {
            left.push("some commands did not end in time; the next start continues them");
        }
        report(self.commands.contention());
        let failed = self.commands.failed().is_cancelled() || broken.is_cancelled();
        if !failed {
            match self.store.head().await {
                Ok(head) if self.views.wait_for(head, VIEWS_END).await.is_ok() => {}
                Ok(_) => left.push("the views did not catch up in time; the next start goes on with them"),
                Err(_) => left.push("the log does not answer; the next start goes on with the views"),
            }
        }
        if let Some(comparing) = comparing {
            comparing.abort();
        }
        stop_folding.cancel();
        if !matches!(tokio::time::timeout(VIEWS_END, folding).await, Ok(Ok(()))) {
            left.push("the views did not stop in time");
        }
        match left.as_slice() {
            [] => Ok(()),
            left => Err(anyhow::anyhow!(left.join("; "))),
        }
    }
}

/// Both providers are one stand-in, whose numbers tell them apart.
fn providers(stand_in: Option<&Arc<StandIn>>) -> Providers {
    let Some(stand_in) = stand_in else { return Providers::default() };
    let port = || Arc::clone(stand_in) as Arc<dyn PaymentProvider>;
    Providers::default().with(Provider::WechatPay, port()).with(Provider::Alipay, port())
}

/// Says how often other nodes were in this one's way, if any was: whether one more would help.
fn report(contention: Contention) {
    let Contention { conflicts, dropped_appends, retried_chains, passes, cut_passes } = contention;
    if contention != Contention::default() {
        tracing::info!(conflicts, dropped_appends, retried_chains, passes, cut_passes, "other nodes were in the way");
    }
}

/// Runs `work` in the background. When it ends, or panics, before `stop` says so, `broken` is cancelled.
fn kept(
    broken: &CancellationToken,
    stop: &CancellationToken,
    what: &'static str,
    work: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let (guard, stop) = (broken.clone().drop_guard(), stop.clone());
    tokio::spawn(async move {
        work.await;
        if stop.is_cancelled() {
            guard.disarm();
        } else {
            tracing::error!(what, "ended before its time");
        }
    })
}

/// Folds the views of a log that nobody serves into `folder`, up to its head, and answers how far they
/// are. `progress` is called after each batch.
pub async fn fold_views(
    store: Arc<dyn EventStore>,
    folder: &Path,
    progress: impl FnMut(projections::Progress),
) -> anyhow::Result<store::Position> {
    let (folder, identity) = (folder.to_owned(), store.identity());
    let opened = tokio::task::spawn_blocking(move || Views::open(&folder, identity, registry()));
    let views = opened.await.context("the views' opening broke off")??;
    Ok(Runner::open(store, views).await?.catch_up_with(progress).await?)
}

/// A log on its own: for measurements, which put commands and views on it themselves, and for imports.
pub async fn open_log(config: &Config) -> anyhow::Result<(Arc<dyn EventStore>, Syncs)> {
    let OpenedLog { store, sqlite, .. } = OpenedLog::open(&config.store, LogAccess::Append).await?;
    Ok((store, Arc::new(move || sqlite.as_ref().map_or(0, |log| log.syncs()))))
}

/// Counts how often a log has synced since it was opened; always 0 where another program does that.
pub type Syncs = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The keys of personal data; none where nothing says where they are. Nothing is opened yet.
fn keyring(config: &Config) -> anyhow::Result<Option<Keyring>> {
    let keys: Arc<dyn KeyStore> = match config.keys() {
        None => return Ok(None),
        Some(KeysAddress::Memory) => Arc::new(MemoryKeys::default()),
        Some(KeysAddress::Sqlite(folder)) => Arc::new(SqliteKeys::new(&folder)),
        Some(KeysAddress::Postgres(url)) => Arc::new(PostgresKeys::new(url.reveal())?),
    };
    Ok(Some(Keyring::new(keys)))
}

/// What a log is opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LogAccess {
    Append,
    /// Beside whoever appends.
    Read,
}

/// A log, and what only its adapter knows.
struct OpenedLog {
    store: Arc<dyn EventStore>,
    sqlite: Option<Arc<SqliteLog>>,
    postgres: Option<Arc<PostgresLog>>,
}

impl OpenedLog {
    async fn open(address: &StoreAddress, access: LogAccess) -> anyhow::Result<OpenedLog> {
        Ok(match address {
            StoreAddress::Memory => OpenedLog { store: Arc::new(MemoryLog::new()), sqlite: None, postgres: None },
            StoreAddress::Sqlite(folder) => {
                let folder = folder.clone();
                let mode = match access {
                    LogAccess::Append => SqliteMode::ReadWrite,
                    LogAccess::Read => SqliteMode::ReadOnly,
                };
                let opened = tokio::task::spawn_blocking(move || SqliteLog::open(&folder, mode));
                let log = Arc::new(opened.await.context("the log's opening broke off")??);
                OpenedLog { store: Arc::clone(&log) as Arc<dyn EventStore>, sqlite: Some(log), postgres: None }
            }
            StoreAddress::Postgres(url) => {
                let log = Arc::new(match access {
                    LogAccess::Append => PostgresLog::connect(url.reveal()).await?,
                    LogAccess::Read => PostgresLog::connect_read_only(url.reveal()).await?,
                });
                OpenedLog { store: Arc::clone(&log) as Arc<dyn EventStore>, sqlite: None, postgres: Some(log) }
            }
        })
    }
}

/// The views, to be written. With the lock on their folder, where the log's own lock is not on it.
async fn open_views(config: &Config, identity: LogIdentity) -> anyhow::Result<(Views, Option<FolderLock>)> {
    let folder = match config.views() {
        Some(ViewsAddress::Postgres(url)) => {
            return Ok((Views::open_postgres(url.reveal(), identity, registry()).await?, None));
        }
        Some(ViewsAddress::Sqlite(folder)) => folder,
        None => return Ok((Views::in_memory(identity, registry())?, None)),
    };
    let apart = config.store.folder() != Some(&*folder);
    let opened = tokio::task::spawn_blocking(move || {
        let lock = if apart { Some(FolderLock::take(&folder)?) } else { None };
        anyhow::Ok((Views::open(&folder, identity, registry())?, lock))
    });
    opened.await.context("the views' opening broke off")?
}

/// Keeps a folder with views and no log for this process.
struct FolderLock(File);

impl FolderLock {
    /// Makes the folder if it is not there. Blocks.
    fn take(folder: &Path) -> anyhow::Result<FolderLock> {
        let named = || format!("the folder {} cannot be used", folder.display());
        std::fs::create_dir_all(folder).with_context(named)?;
        let file = File::options().create(true).append(true).open(folder.join("views.lock")).with_context(named)?;
        match file.try_lock() {
            Ok(()) => Ok(FolderLock(file)),
            Err(TryLockError::WouldBlock) => {
                anyhow::bail!("the views in {} are held by another tiffin process", folder.display())
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(named),
        }
    }
}

impl Drop for FolderLock {
    /// As closing it does, but also while a child that is just being spawned has a copy of the file.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// A log that is only read, beside whoever serves it.
pub struct Reading {
    pub store: Arc<dyn EventStore>,
    pub keys: Option<Keyring>,
    views: ViewsAddress,
}

impl Reading {
    pub async fn open(config: &Config) -> anyhow::Result<Reading> {
        let nothing = "a log in memory is gone when its process ends, so there is nothing to read here; use --store \
                       sqlite:DIR or postgres://…";
        if config.store == StoreAddress::Memory {
            return Err(usage(nothing));
        }
        let log = OpenedLog::open(&config.store, LogAccess::Read).await?;
        let views = config.views().ok_or_else(|| usage(nothing))?;
        Ok(Reading { store: log.store, keys: keyring(config)?, views })
    }

    /// The views as whoever serves the log has written them so far.
    pub async fn views(&self) -> anyhow::Result<Views> {
        let identity = self.store.identity();
        let folder = match &self.views {
            ViewsAddress::Postgres(url) => {
                return Ok(Views::open_postgres_read_only(url.reveal(), identity, registry()).await?);
            }
            ViewsAddress::Sqlite(folder) => folder.clone(),
        };
        let opened = tokio::task::spawn_blocking(move || Views::open_read_only(&folder, identity, registry()));
        Ok(opened.await.context("the views' opening broke off")??)
    }
}

/// Log and views for work on the views alone: nothing is appended, so a copy or a sealed log will do.
pub struct Upkeep {
    pub store: Arc<dyn EventStore>,
    pub views: Views,
    _views_lock: Option<FolderLock>,
}

impl Upkeep {
    pub async fn open(config: &Config) -> anyhow::Result<Upkeep> {
        let access = match &config.store {
            // Whoever holds the folder of the log holds the views.
            StoreAddress::Sqlite(_) => LogAccess::Append,
            StoreAddress::Postgres(_) => LogAccess::Read,
            StoreAddress::Memory => {
                return Err(usage(
                    "views in memory are gone with their process; use --store sqlite:DIR or postgres://…",
                ));
            }
        };
        let log = OpenedLog::open(&config.store, access).await?;
        let (views, lock) = open_views(config, log.store.identity()).await?;
        Ok(Upkeep { store: log.store, views, _views_lock: lock })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Globals;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_done_is_answered_though_the_house_does_not_close_in_order() {
        let memory = Globals { store: Some("memory:".into()), ..Globals::default() };
        let config = Config::load(&memory).unwrap();
        let broken = async || {
            let house = House::open(&config).await.unwrap();
            house.running.follower.abort();
            house
        };
        assert!(broken().await.close().await.is_err());
        assert_eq!(broken().await.close_after(Ok(5)).await.unwrap(), 5);
        let failed = broken().await.close_after::<()>(Err(anyhow::anyhow!("refused"))).await.unwrap_err();
        assert_eq!(failed.to_string(), "refused");
    }
}
