//! The runner: tails the log, keeps every view up, and rebuilds beside the live ones.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use store::{EventStore, Position, StoreError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    Build, Health,
    batch::{Decoded, Kind, Span},
    engine_thread::EngineThread,
    views::{ViewError, Views},
};

/// How often the head, and leases of others, are looked at without a hint.
const LOOK: Duration = Duration::from_millis(500);
/// After a batch smaller than [`SMALL`] the runner lets more events gather, since every transaction has its
/// price: so long while somebody waits for it, and while nobody does.
pub(crate) const GATHER: Duration = Duration::from_millis(2);
pub(crate) const GATHER_UNAWAITED: Duration = Duration::from_millis(10);
const SMALL: usize = 200;
/// Between two questions to a runner of another process.
const ASK: Duration = Duration::from_millis(100);
/// First and longest pause after an error.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Batches that are read and decoded ahead of the fold.
const AHEAD: usize = 2;

/// How far a rebuild has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub projection: String,
    /// The last event folded.
    pub position: Position,
    /// The log's last event.
    pub head: Position,
}

/// Keeps the views up with the log. Where one process can write there is one to a file; elsewhere
/// the runners of several processes share the projections among them.
pub struct Runner {
    store: Arc<dyn EventStore>,
    views: Views,
    engine: EngineThread,
    /// What is read ahead, by the kind of builds that it is for.
    ahead: [Ahead; 2],
}

/// Batches that are read and decoded while the one before is folded.
type Ahead = VecDeque<(Position, JoinHandle<Result<Decoded, ViewError>>)>;

/// Whether anything else wants the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// Reading, decoding, folding and writing go on side by side.
    Alone,
    /// One after the other, on one core.
    BesideOthers,
}

/// Rebuilds while a runner runs, in this process or in another.
#[derive(Clone)]
pub struct RunnerHandle {
    store: Arc<dyn EventStore>,
    views: Views,
}

impl Runner {
    /// Takes up the views where they stand. Nothing is folded yet; views of an empty log are whole.
    pub async fn open(store: Arc<dyn EventStore>, views: Views) -> Result<Runner, ViewError> {
        // Before the log's end is asked: what others append and fold from now on is no sign of another history.
        let stood = views.builds().await?;
        let head = store.head().await?;
        let engine = EngineThread::start(views.clone(), head, stood).await?;
        Ok(Runner { store, views, engine, ahead: Default::default() })
    }

    pub fn handle(&self) -> RunnerHandle {
        RunnerHandle { store: self.store.clone(), views: self.views.clone() }
    }

    /// Runs until `stop`; the batch in hand is finished. What the disk or the log refuses for the
    /// moment is tried again; an error is answered only when going on would be wrong.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), ViewError> {
        let mut hint = self.store.subscribe();
        let mut pause = RETRY.0;
        while !stop.is_cancelled() {
            hint.borrow_and_update();
            match self.step(Pace::BesideOthers).await {
                Ok(0) => {
                    pause = RETRY.0;
                    tokio::select! {
                        () = stop.cancelled() => {}
                        Ok(()) = hint.changed() => {}
                        () = self.views.changed() => {}
                        () = tokio::time::sleep(LOOK) => {}
                    }
                }
                Ok(folded) => {
                    pause = RETRY.0;
                    if folded < SMALL {
                        gather(&self.views).await;
                    }
                }
                Err(error) if is_final(&error, self.views.is_remote()) => return Err(error),
                Err(error) => {
                    tracing::error!(%error, "the views do not move; trying again");
                    self.engine.call(|engine| engine.forget()).await?;
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).min(RETRY.1);
                }
            }
        }
        // Here and not when this is dropped: the process may end before that is done.
        self.engine.call(|engine| engine.let_go()).await
    }

    /// Folds up to the log's head, with every build that is under way, and answers the head.
    pub async fn catch_up(&mut self) -> Result<Position, ViewError> {
        self.catch_up_with(|_| {}).await
    }

    /// As [`Runner::catch_up`], saying after each batch how far the view that lags most has come.
    pub async fn catch_up_with(&mut self, mut progress: impl FnMut(Progress)) -> Result<Position, ViewError> {
        while self.step(Pace::Alone).await? > 0 {
            let lags = self.views.watch().borrow().iter().min_by_key(|build| build.position).cloned();
            if let Some(build) = lags {
                let head = self.store.head().await?;
                progress(Progress { projection: build.projection, position: build.position, head });
            }
        }
        Ok(self.views.position())
    }

    /// Folds the projections with these names (none: all) anew beside the live ones, and then puts
    /// them in their place. Readers never see a half-built view. With `compare` each says what it
    /// found different from the one that it replaces.
    pub async fn rebuild(
        &mut self,
        names: &[String],
        compare: bool,
        mut progress: impl FnMut(Progress),
    ) -> Result<Vec<Build>, ViewError> {
        let started = self.views.start_builds(names, compare).await?;
        loop {
            let moved = self.step(Pace::Alone).await?;
            let head = self.store.head().await?;
            if let Some(done) = look(&self.views, &started, head, &mut progress).await? {
                while self.step(Pace::Alone).await? > 0 {}
                return Ok(done);
            }
            if moved == 0 {
                tokio::time::sleep(GATHER).await;
            }
        }
    }

    /// Takes a step. One that an operator's change has undone is to be taken again.
    async fn step(&mut self, pace: Pace) -> Result<usize, ViewError> {
        match self.try_step(pace).await {
            Err(ViewError::Revised) => Ok(1),
            stepped => stepped,
        }
    }

    /// Folds one batch into the live builds, then one into those being built, switches those that
    /// are whole, and tidies up after them. Answers how much it did; 0 when there is nothing to do.
    async fn try_step(&mut self, pace: Pace) -> Result<usize, ViewError> {
        self.engine.call(|engine| engine.sync()).await??;
        let head = self.store.head().await?;
        let mut moved = 0;
        for kind in [Kind::Live, Kind::Building] {
            moved += self.advance(kind, head, pace).await?;
        }
        let switched = self.engine.call(move |engine| engine.settle(head)).await??;
        moved += usize::from(switched);
        if moved == 0 {
            moved += match self.engine.call(|engine| engine.tidy()).await? {
                Ok(more) => usize::from(more),
                // A reader still has it. The next turn tries again.
                Err(ViewError::Sql(error)) if error.is_locked() => 0,
                Err(error) => return Err(error),
            };
        }
        Ok(moved)
    }

    /// Folds one batch into the builds of a kind. Answers how many events it had.
    async fn advance(&mut self, kind: Kind, head: Position, pace: Pace) -> Result<usize, ViewError> {
        let Some(span) = self.engine.call(move |engine| engine.next(kind, head)).await? else {
            self.ahead[kind as usize].clear();
            self.engine.call(move |engine| engine.finish_all_of(kind)).await??;
            return Ok(0);
        };
        let mut batch = None;
        while let Some((from, reading)) = self.ahead[kind as usize].pop_front() {
            if from == span.from {
                let decoded = reading.await.map_err(|_| ViewError::Stopped)??;
                batch = Some(decoded).filter(|decoded| decoded.rows.len() <= span.limit && !decoded.rows.is_empty());
                break;
            }
        }
        let batch = match batch {
            Some(batch) => batch,
            None => {
                self.ahead[kind as usize].clear();
                read(self.store.clone(), span).await?
            }
        };
        let read_events = batch.rows.len();
        let next = batch.first() + read_events as u64;
        if pace == Pace::Alone && read_events == span.limit {
            self.read_ahead(kind, next, span.limit, head);
        }
        // Whoever reads should not wait for the next batch to see the last one.
        let ahead = pace == Pace::Alone && (kind == Kind::Building || next <= head);
        self.engine.call(move |engine| engine.fold(kind, &batch, ahead)).await??;
        Ok(read_events)
    }

    /// Reads and decodes the next batches beside the fold.
    fn read_ahead(&mut self, kind: Kind, next: Position, limit: usize, head: Position) {
        let ahead = &mut self.ahead[kind as usize];
        while ahead.len() < AHEAD {
            let from = next + (ahead.len() * limit) as u64;
            if from > head {
                break;
            }
            ahead.push_back((from, tokio::spawn(read(self.store.clone(), Span { from, limit }))));
        }
    }
}

/// Lets events gather, until somebody waits for those that there are.
pub(crate) async fn gather(views: &Views) {
    // Whoever waits in another process cannot be seen from here.
    if views.is_remote() || views.is_awaited() {
        return tokio::time::sleep(GATHER).await;
    }
    tokio::select! {
        () = tokio::time::sleep(GATHER_UNAWAITED) => {}
        () = views.awaited() => {}
    }
}

/// Reads and decodes a batch, the latter off the async threads.
pub(crate) async fn read(store: Arc<dyn EventStore>, span: Span) -> Result<Decoded, ViewError> {
    let rows = store.read_all(span.from, span.limit).await?;
    tokio::task::spawn_blocking(move || Decoded::of(rows)).await.map_err(|_| ViewError::Stopped)?
}

impl RunnerHandle {
    /// Folds the projections with these names (none: all) anew beside the live ones, while a runner
    /// runs, and then puts them in their place.
    pub async fn rebuild(
        &self,
        names: &[String],
        compare: bool,
        mut progress: impl FnMut(Progress),
    ) -> Result<Vec<Build>, ViewError> {
        let started = self.views.start_builds(names, compare).await?;
        let mut watch = self.views.watch();
        loop {
            watch.borrow_and_update();
            let head = self.store.head().await?;
            if let Some(done) = look(&self.views, &started, head, &mut progress).await? {
                return Ok(done);
            }
            // Another process may be at work, which this one has to ask.
            let _moved = tokio::time::timeout(ASK, watch.changed()).await;
        }
    }
}

/// How far builds have come: all of them once they are live, nothing while they are under way.
async fn look(
    views: &Views,
    started: &[Build],
    head: Position,
    progress: &mut impl FnMut(Progress),
) -> Result<Option<Vec<Build>>, ViewError> {
    let mut builds = views.builds_now().await?;
    if !started.iter().all(|one| builds.iter().any(|build| build.is_same(one))) {
        // The runner may not have seen them yet.
        builds = views.builds().await?.into();
    }
    let mut live = Vec::new();
    for one in started {
        // It is gone when somebody has begun yet another build.
        let build = builds.iter().find(|build| build.is_same(one)).ok_or(ViewError::Overtaken)?;
        match build.health {
            Health::Sound => {}
            Health::Paused => return Err(ViewError::Paused(build.projection.clone())),
            Health::Outdated => {
                let error = build.error.clone().unwrap_or_default();
                return Err(ViewError::Outdated { projection: build.projection.clone(), error });
            }
        }
        progress(Progress { projection: build.projection.clone(), position: build.position, head });
        live.extend(build.live.then(|| build.clone()));
    }
    if live.len() < started.len() {
        return Ok(None);
    }
    // With what the comparison has found, which only the catalogue knows.
    let builds = views.builds().await?;
    Ok(Some(builds.into_iter().filter(|build| started.iter().any(|one| one.is_same(build))).collect()))
}

/// Whether trying again would be no use, or wrong.
fn is_final(error: &ViewError, remote: bool) -> bool {
    match error {
        ViewError::Log(StoreError::Unusable(_)) | ViewError::Unusable(_) | ViewError::Stopped => true,
        // Where several processes may keep the views up, this one lets the other.
        ViewError::Overtaken => !remote,
        ViewError::Sql(error) => error.is_damage(),
        ViewError::Log(_)
        | ViewError::Revised
        | ViewError::Building { .. }
        | ViewError::Outdated { .. }
        | ViewError::Paused(_)
        | ViewError::UnknownProjection(_)
        | ViewError::NothingParked { .. } => false,
    }
}
