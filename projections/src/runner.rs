//! The runner: tails the log, keeps every view up, and rebuilds beside the live ones.

use std::{sync::Arc, time::Duration};

use store::{EventStore, Position, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    Build, Health,
    engine::{Decoded, EngineThread, Kind},
    views::{ViewError, Views},
};

/// How often the head is looked at without a hint.
const LOOK: Duration = Duration::from_secs(1);
/// After a batch smaller than [`SMALL`] the runner lets more events gather, since every
/// transaction has its price.
const GATHER: Duration = Duration::from_millis(2);
const SMALL: usize = 200;
/// First and longest pause after an error.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// How far a rebuild has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub projection: String,
    /// The last event folded.
    pub position: Position,
    /// The log's last event.
    pub head: Position,
}

enum Command {
    Rebuild { names: Vec<String>, reply: oneshot::Sender<Result<Vec<Build>, ViewError>> },
}

/// Keeps the views up with the log. There is one to a file.
pub struct Runner {
    store: Arc<dyn EventStore>,
    views: Views,
    engine: EngineThread,
    commands: mpsc::Receiver<Command>,
    handle: mpsc::Sender<Command>,
}

/// Speaks to a runner that runs.
#[derive(Clone)]
pub struct RunnerHandle {
    store: Arc<dyn EventStore>,
    views: Views,
    commands: mpsc::Sender<Command>,
}

impl Runner {
    /// Takes up the views where they stand. Nothing is folded yet; views of an empty log are whole.
    pub async fn open(store: Arc<dyn EventStore>, views: Views) -> Result<Runner, ViewError> {
        let head = store.head().await?;
        let engine = EngineThread::start(views.clone(), head).await?;
        let (handle, commands) = mpsc::channel(4);
        Ok(Runner { store, views, engine, commands, handle })
    }

    pub fn handle(&self) -> RunnerHandle {
        RunnerHandle { store: self.store.clone(), views: self.views.clone(), commands: self.handle.clone() }
    }

    /// Runs until `stop`; the batch in hand is finished. What the disk or the log refuses for the
    /// moment is tried again; an error is answered only when going on would be wrong.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), ViewError> {
        let mut hint = self.store.subscribe();
        let mut pause = RETRY.0;
        while !stop.is_cancelled() {
            hint.borrow_and_update();
            let wait = match self.step().await {
                Ok(0) => LOOK,
                Ok(folded) => {
                    pause = RETRY.0;
                    if folded >= SMALL {
                        self.take_commands().await;
                        continue;
                    }
                    tokio::time::sleep(GATHER).await;
                    self.take_commands().await;
                    continue;
                }
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => {
                    tracing::error!(%error, "the views do not move; trying again");
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).min(RETRY.1);
                    continue;
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                Ok(()) = hint.changed() => {}
                Some(command) = self.commands.recv() => self.obey(command).await,
                () = tokio::time::sleep(wait) => {}
            }
        }
        Ok(())
    }

    /// Folds up to the log's head, with every build that is under way, and answers the head.
    pub async fn catch_up(&mut self) -> Result<Position, ViewError> {
        self.catch_up_with(|_| {}).await
    }

    /// As [`Runner::catch_up`], saying after each batch how far the view that lags most has come.
    pub async fn catch_up_with(&mut self, mut progress: impl FnMut(Progress)) -> Result<Position, ViewError> {
        while self.step().await? > 0 {
            let lags = self.views.watch().borrow().iter().min_by_key(|build| build.position).cloned();
            if let Some(build) = lags {
                let head = self.store.head().await?;
                progress(Progress { projection: build.projection, position: build.position, head });
            }
        }
        Ok(self.views.position())
    }

    /// Folds the projections with these names (none: all) anew beside the live ones, and then puts
    /// them in their place. Readers never see a half-built view.
    pub async fn rebuild(
        &mut self,
        names: &[String],
        mut progress: impl FnMut(Progress),
    ) -> Result<Vec<Build>, ViewError> {
        let started = self.start(names.to_vec()).await?;
        loop {
            let moved = self.step().await?;
            let head = self.store.head().await?;
            if let Some(done) = look(&self.views, &started, head, &mut progress)? {
                return Ok(done);
            }
            if moved == 0 {
                tokio::time::sleep(GATHER).await;
            }
        }
    }

    async fn start(&self, names: Vec<String>) -> Result<Vec<Build>, ViewError> {
        let all = || self.views.registry().iter().map(|projection| projection.name().to_owned()).collect();
        let names: Vec<String> = if names.is_empty() { all() } else { names };
        let known = |name: &String| self.views.registry().iter().any(|projection| projection.name() == name);
        if let Some(unknown) = names.iter().find(|name| !known(name)) {
            return Err(ViewError::UnknownProjection(unknown.clone()));
        }
        self.engine.call(move |engine| names.iter().map(|name| engine.start_build(name)).collect()).await?
    }

    async fn take_commands(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            self.obey(command).await;
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Rebuild { names, reply } => {
                // Whoever asked may have gone away; the rebuild goes on.
                let _gone = reply.send(self.start(names).await);
            }
        }
    }

    /// Folds one batch into the live builds, then one into those being built, and switches those
    /// that are whole. Answers how many events were folded, or 1 for a switch alone.
    pub(crate) async fn step(&mut self) -> Result<usize, ViewError> {
        let head = self.store.head().await?;
        let mut folded = 0;
        for kind in [Kind::Live, Kind::Building] {
            let Some(span) = self.engine.call(move |engine| engine.next(kind, head)).await? else { continue };
            let batch = self.store.read_all(span.from, span.limit).await?;
            folded += batch.len();
            let fold = self.engine.call(move |engine| match Decoded::of(&batch)? {
                Some(batch) => engine.fold(kind, &batch),
                None => Ok(()),
            });
            fold.await??;
        }
        let switched = self.engine.call(move |engine| engine.settle(head)).await??;
        Ok(folded.max(usize::from(switched)))
    }
}

impl RunnerHandle {
    /// Folds the projections with these names (none: all) anew beside the live ones, while the
    /// runner runs, and then puts them in their place.
    pub async fn rebuild(&self, names: &[String], mut progress: impl FnMut(Progress)) -> Result<Vec<Build>, ViewError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Rebuild { names: names.to_vec(), reply };
        self.commands.send(command).await.map_err(|_| ViewError::Stopped)?;
        let started = answer.await.map_err(|_| ViewError::Stopped)??;
        let mut watch = self.views.watch();
        loop {
            watch.borrow_and_update();
            let head = self.store.head().await?;
            if let Some(done) = look(&self.views, &started, head, &mut progress)? {
                return Ok(done);
            }
            tokio::select! {
                changed = watch.changed() => changed.map_err(|_| ViewError::Stopped)?,
                () = self.commands.closed() => return Err(ViewError::Stopped),
            }
        }
    }
}

/// How far builds have come: all of them once they are live, nothing while they are under way.
fn look(
    views: &Views,
    started: &[Build],
    head: Position,
    progress: &mut impl FnMut(Progress),
) -> Result<Option<Vec<Build>>, ViewError> {
    let builds = views.watch().borrow().clone();
    let mut live = Vec::new();
    for one in started {
        // It is gone when somebody has begun yet another build.
        let build = builds.iter().find(|build| build.is_same(one)).ok_or(ViewError::Overtaken)?;
        if build.health != Health::Sound {
            return Err(build.failure());
        }
        progress(Progress { projection: build.projection.clone(), position: build.position, head });
        live.extend(build.live.then(|| build.clone()));
    }
    Ok((live.len() == started.len()).then_some(live))
}

/// Whether trying again would be no use, or wrong.
fn is_final(error: &ViewError) -> bool {
    match error {
        ViewError::Log(StoreError::Unusable(_))
        | ViewError::Unusable(_)
        | ViewError::Overtaken
        | ViewError::Stopped => true,
        ViewError::Sql(error) => crate::views::is_damage(error),
        ViewError::Log(_) | ViewError::Building { .. } | ViewError::Failed { .. } | ViewError::UnknownProjection(_) => {
            false
        }
    }
}
