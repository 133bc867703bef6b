//! Puts the house together. The only place that names an adapter.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use commands::{Clock, Commands, Limits, RandomIds, SystemClock};
use projections::{Registry, Runner, RunnerHandle, Views};
use sagas::{Follower, Ordering};
use store::{EventStore, LogIdentity, MemoryLog, SqliteLog, SqliteMode};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, StoreAddress, usage};

/// How long chains under way may take to end at a shutdown.
const CHAINS_END: Duration = Duration::from_secs(30);
/// How long views may take to fold what is left at a shutdown. What is not folded then is folded
/// at the next start.
const VIEWS_END: Duration = Duration::from_secs(10);

/// The views that this program keeps: those of the rooms, and where each process stands.
pub fn registry() -> Registry {
    projections::all().iter().cloned().chain(sagas::projections()).collect()
}

/// A folder, or memory, that this process alone serves.
pub struct House {
    pub store: Arc<dyn EventStore>,
    pub views: Views,
    pub commands: Commands,
    pub ordering: Ordering,
    /// Lists and rebuilds views while they are kept up to date.
    pub runner: RunnerHandle,
    /// Where log, views, keys and admin socket are; none in memory.
    pub folder: Option<PathBuf>,
    running: Running,
}

/// The tasks in the background.
struct Running {
    stop_following: CancellationToken,
    follower: JoinHandle<()>,
    stop_folding: CancellationToken,
    folding: JoinHandle<()>,
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
        let (store, _) = open_store(&config.store).await?;
        let folder = config.store.folder().map(Path::to_owned);
        let views = match &folder {
            Some(folder) => {
                let (folder, identity) = (folder.clone(), store.identity());
                let opened = tokio::task::spawn_blocking(move || Views::open_with(&folder, identity, registry()));
                opened.await.context("the views' opening broke off")??
            }
            None => Views::in_memory_with(store.identity(), registry())?,
        };
        House::start(store, views, folder, clock).await
    }

    async fn start(
        store: Arc<dyn EventStore>,
        views: Views,
        folder: Option<PathBuf>,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<House> {
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
        let ordering = Ordering::new(commands.clone());
        let stop_following = CancellationToken::new();
        let follower = Follower::new(ordering.clone(), views.clone());
        let follower = kept(&broken, &stop_following, "processes", follower.run(stop_following.clone()));
        let running = Running { stop_following, follower, stop_folding, folding, broken };
        Ok(House { store, views, commands, ordering, runner: handle, folder, running })
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

    /// Ends everything in order: processes, commands under way, views. Nothing that was
    /// acknowledged is lost, whatever the outcome; an error says what was left for the next start.
    pub async fn close(self) -> anyhow::Result<()> {
        let Running { stop_following, follower, stop_folding, folding, broken } = self.running;
        stop_following.cancel();
        let mut left = Vec::new();
        let followed = tokio::time::timeout(CHAINS_END, follower).await;
        if !self.commands.shut_down(CHAINS_END).await || !matches!(followed, Ok(Ok(()))) {
            left.push("some commands did not end in time; the next start continues them");
        }
        let failed = self.commands.failed().is_cancelled() || broken.is_cancelled();
        if !failed {
            let head = self.store.head().await?;
            if self.views.wait_for(head, VIEWS_END).await.is_err() {
                left.push("the views did not catch up in time; the next start goes on with them");
            }
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

/// A log on its own, for measurements: they put commands and views on it themselves.
pub async fn open_log(config: &Config) -> anyhow::Result<(Arc<dyn EventStore>, Syncs)> {
    let (store, sqlite) = open_store(&config.store).await?;
    Ok((store, Arc::new(move || sqlite.as_ref().map_or(0, |log| log.syncs()))))
}

/// Counts how often a log has synced since it was opened.
pub type Syncs = Arc<dyn Fn() -> u64 + Send + Sync>;

type Opened = (Arc<dyn EventStore>, Option<Arc<SqliteLog>>);

async fn open_store(address: &StoreAddress) -> anyhow::Result<Opened> {
    Ok(match address {
        StoreAddress::Memory => (Arc::new(MemoryLog::new()), None),
        StoreAddress::Sqlite(folder) => {
            let folder = folder.clone();
            let opened = tokio::task::spawn_blocking(move || SqliteLog::open(&folder, SqliteMode::ReadWrite));
            let log = Arc::new(opened.await.context("the log's opening broke off")??);
            (Arc::clone(&log) as Arc<dyn EventStore>, Some(log))
        }
    })
}

/// A folder that is only read, beside whoever serves it.
pub struct Reading {
    pub store: Arc<dyn EventStore>,
    folder: PathBuf,
}

impl Reading {
    pub async fn open(config: &Config) -> anyhow::Result<Reading> {
        let StoreAddress::Sqlite(folder) = &config.store else {
            return Err(usage(
                "a log in memory is gone when its process ends, so there is nothing to read here; use --store sqlite:DIR",
            ));
        };
        let dir = folder.clone();
        let opened = tokio::task::spawn_blocking(move || SqliteLog::open(&dir, SqliteMode::ReadOnly));
        let log = opened.await.context("the log's opening broke off")??;
        Ok(Reading { store: Arc::new(log), folder: folder.clone() })
    }

    /// The views as whoever serves the folder has written them so far.
    pub async fn views(&self) -> anyhow::Result<Views> {
        let (folder, identity): (_, LogIdentity) = (self.folder.clone(), self.store.identity());
        let opened = tokio::task::spawn_blocking(move || Views::open_read_only_with(&folder, identity, registry()));
        Ok(opened.await.context("the views' opening broke off")??)
    }
}
