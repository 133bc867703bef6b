//! The fold itself, on a thread of its own: a batch of events into every build that stands before
//! it, and the changed rows with their checkpoints into the file, in one transaction.

use std::{rc::Rc, sync::Arc};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use store::{EventRow, Position, Recorded, SchemaError, StoreError};
use tokio::sync::{mpsc, oneshot};

use crate::{Build, Health, Projection, Rows, catalogue, views::ViewError, views::Views};

/// Most events of one transaction.
pub(crate) const BATCH: usize = 5_000;

/// Which builds are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Those that readers get.
    Live,
    /// Those that are being built beside them.
    Building,
}

/// What to read of the log next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: Position,
    pub(crate) limit: usize,
}

/// A batch, decoded once for all projections.
pub(crate) struct Decoded {
    pub(crate) first: Position,
    pub(crate) events: Vec<Recorded>,
    /// Why it is shorter than what was read.
    pub(crate) stop: Option<(Health, String)>,
}

impl Decoded {
    /// Decodes up to the first event that this program cannot read. A gap in the positions is an
    /// error.
    pub(crate) fn of(batch: &[EventRow]) -> Result<Option<Decoded>, ViewError> {
        let Some(first) = batch.first().map(|row| row.position) else { return Ok(None) };
        let mut decoded = Decoded { first, events: Vec::with_capacity(batch.len()), stop: None };
        for (row, expected) in batch.iter().zip(first..) {
            if row.position != expected {
                let gap = format!("the log has a gap: event {expected} is missing before {}", row.position);
                return Err(ViewError::Log(StoreError::Unusable(gap)));
            }
            match Recorded::decode(row) {
                Ok(event) => decoded.events.push(event),
                Err(error) => {
                    let health = match error {
                        SchemaError::Newer { .. } => Health::Paused,
                        SchemaError::Broken { .. } => Health::Failed,
                    };
                    decoded.stop = Some((health, error.to_string()));
                    break;
                }
            }
        }
        Ok(Some(decoded))
    }
}

/// A build that is kept up.
struct Running {
    projection: Arc<dyn Projection>,
    build: Build,
    rows: Rows,
}

impl Running {
    fn is(&self, kind: Kind) -> bool {
        self.build.health == Health::Sound && self.build.live == (kind == Kind::Live)
    }

    /// Folds `events` as far as they go. Answers how many were folded, and what stopped it.
    fn fold(&mut self, events: &[Recorded]) -> Result<(usize, Option<String>), ViewError> {
        for (index, it) in events.iter().enumerate() {
            if let Err(poison) = self.projection.apply(it, &mut self.rows) {
                self.check()?;
                // What the event has half done is taken back by folding those before it again.
                self.rows.clear();
                let again = events[..index].iter().try_for_each(|it| self.projection.apply(it, &mut self.rows));
                self.check()?;
                return match again {
                    Ok(()) => Ok((index, Some(poison.to_string()))),
                    Err(other) => Err(ViewError::Unusable(format!(
                        "the projection {} is not a pure fold: an event that it took is refused now: {other}",
                        self.build.projection
                    ))),
                };
            }
        }
        self.check()?;
        Ok((events.len(), None))
    }

    fn check(&mut self) -> Result<(), ViewError> {
        self.rows.take_failure().map_or(Ok(()), |error| Err(error.into()))
    }
}

/// Everything that writes views. It lives on one thread.
pub(crate) struct Engine {
    views: Views,
    connection: Rc<Connection>,
    running: Vec<Running>,
}

impl Engine {
    /// Takes up every build where its checkpoint stands. Views ahead of a log that ends at `head`
    /// belong to another history and are removed; a projection without a build of its version
    /// gets one.
    fn open(views: Views, head: Position) -> Result<Engine, ViewError> {
        let connection = Rc::new(views.connect()?);
        connection.pragma_update(None, "cache_size", -64 * 1024)?;
        let mut engine = Engine { views, connection: connection.clone(), running: Vec::new() };
        let transaction = begin(&connection)?;
        let mut kept = Vec::new();
        for build in catalogue::builds(&transaction)? {
            let projection = engine.views.registry().iter().find(|projection| projection.name() == build.projection);
            let ahead = build.position > head;
            if ahead {
                tracing::warn!(
                    projection = build.projection,
                    position = build.position,
                    head,
                    "a view is ahead of its log: it is folded anew"
                );
            }
            match projection {
                Some(projection) if !ahead && build.is_of(&**projection) => kept.push((projection.clone(), build)),
                // The last version serves SQL prompts until its successor is whole.
                Some(_) if !ahead && build.live => {}
                // Another program's own: it goes on with it where it stands.
                None if !ahead => {}
                _ => catalogue::remove(&transaction, &build)?,
            }
        }
        // What a crash left of a build that was replaced.
        let superseded = |build: &Build| {
            !build.live
                && kept
                    .iter()
                    .any(|(_, other)| other.live && other.projection == build.projection && other.build > build.build)
        };
        let (gone, mut kept): (Vec<_>, Vec<_>) = kept.iter().cloned().partition(|(_, build)| superseded(build));
        for (_, build) in &gone {
            catalogue::remove(&transaction, build)?;
        }
        for projection in engine.views.registry().iter() {
            if !kept.iter().any(|(_, build)| build.is_of(&**projection)) {
                kept.push((projection.clone(), catalogue::add(&transaction, &**projection)?));
            }
        }
        for (_, build) in &mut kept {
            // What stopped it may have been mended with this program.
            (build.health, build.error) = (Health::Sound, None);
            catalogue::advance(&transaction, build, build.position)?;
        }
        transaction.commit()?;
        engine.running = kept.into_iter().map(|(projection, build)| engine.run(projection, build)).collect();
        engine.settle(head)?;
        engine.publish();
        Ok(engine)
    }

    fn run(&self, projection: Arc<dyn Projection>, build: Build) -> Running {
        let rows = Rows::over(self.connection.clone(), build.suffix());
        Running { projection, build, rows }
    }

    fn publish(&self) {
        self.views.publish(self.running.iter().map(|running| running.build.clone()).collect());
    }

    /// What the builds of a kind that lag most need next; nothing when they have come to `head`.
    pub(crate) fn next(&self, kind: Kind, head: Position) -> Option<Span> {
        let positions = || self.running.iter().filter(|running| running.is(kind)).map(|running| running.build.position);
        let lowest = positions().min().filter(|lowest| *lowest < head)?;
        // One that lags catches up by itself, and then goes on with the others.
        let next = positions().filter(|position| *position > lowest).min().unwrap_or(head).min(head);
        let limit = usize::try_from(next - lowest).unwrap_or(BATCH).min(BATCH);
        Some(Span { from: lowest + 1, limit })
    }

    /// Folds a batch into every build of a kind that stands right before it. On an error nothing
    /// has changed.
    pub(crate) fn fold(&mut self, kind: Kind, batch: &Decoded) -> Result<(), ViewError> {
        let connection = self.connection.clone();
        let transaction = begin(&connection)?;
        let concerned = |running: &&mut Running| running.is(kind) && running.build.position + 1 == batch.first;
        let folded: Result<Vec<Build>, ViewError> =
            self.running.iter_mut().filter(concerned).map(|running| fold_one(&connection, running, batch)).collect();
        let outcome = folded.and_then(|folded| Ok(transaction.commit().map(|()| folded)?));
        let before = |running: &&mut Running| running.is(kind) && running.build.position + 1 == batch.first;
        match outcome {
            Ok(folded) => {
                for (running, build) in self.running.iter_mut().filter(before).zip(folded) {
                    running.build = build;
                }
                self.publish();
                Ok(())
            }
            Err(error) => {
                self.running.iter_mut().for_each(|running| running.rows.clear());
                Err(error)
            }
        }
    }

    /// Gives builds that have come to `head` to the readers, all at once, and removes those that
    /// they replace. Answers whether there were any.
    pub(crate) fn settle(&mut self, head: Position) -> Result<bool, ViewError> {
        let whole = |running: &Running| running.is(Kind::Building) && running.build.position >= head;
        if !self.running.iter().any(whole) {
            return Ok(false);
        }
        let connection = self.connection.clone();
        let transaction = begin(&connection)?;
        let mut replaced = Vec::new();
        for running in self.running.iter().filter(|running| whole(running)) {
            replaced.extend(catalogue::switch(&transaction, &*running.projection, &running.build)?);
        }
        transaction.commit()?;
        for running in self.running.iter_mut().filter(|running| whole(running)) {
            running.build.live = true;
        }
        self.running.retain(|running| !replaced.iter().any(|old| old.is_same(&running.build)));
        self.publish();
        for old in replaced {
            let transaction = begin(&connection)?;
            catalogue::remove(&transaction, &Build { live: false, ..old })?;
            transaction.commit()?;
        }
        Ok(true)
    }

    /// Begins a new build of a projection beside the live one. One that is under way is thrown away.
    pub(crate) fn start_build(&mut self, name: &str) -> Result<Build, ViewError> {
        let known = self.views.registry().iter().find(|projection| projection.name() == name).cloned();
        let projection = known.ok_or_else(|| ViewError::UnknownProjection(name.to_owned()))?;
        let connection = self.connection.clone();
        let transaction = begin(&connection)?;
        let started = catalogue::add(&transaction, &*projection)?;
        let under_way = |running: &Running| running.build.projection == name && !running.build.live;
        for running in self.running.iter().filter(|running| under_way(running)) {
            catalogue::remove(&transaction, &running.build)?;
        }
        transaction.commit()?;
        self.running.retain(|running| !under_way(running));
        self.running.push(self.run(projection, started.clone()));
        self.publish();
        Ok(started)
    }
}

fn begin(connection: &Connection) -> Result<Transaction<'_>, ViewError> {
    Ok(Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?)
}

/// Folds and writes one build within the caller's transaction. Answers where it then stands.
fn fold_one(connection: &Connection, running: &mut Running, batch: &Decoded) -> Result<Build, ViewError> {
    let (folded, poison) = running.fold(&batch.events)?;
    let position = batch.first + folded as u64 - 1;
    let mut build = running.build.clone();
    let stop = match poison {
        Some(poison) => Some((Health::Failed, poison)),
        None => batch.stop.clone(),
    };
    if let Some((health, error)) = stop {
        let next = position + 1;
        tracing::error!(projection = build.projection, position = next, %error, "a view stops before an event that it cannot take");
        (build.health, build.error) = (health, Some(format!("event {next}: {error}")));
    }
    running.rows.flush()?;
    catalogue::advance(connection, &build, position)?;
    Ok(Build { position, ..build })
}

type Job = Box<dyn FnOnce(&mut Engine) + Send>;

/// The engine's thread. It ends when this is dropped.
pub(crate) struct EngineThread(mpsc::Sender<Job>);

impl EngineThread {
    pub(crate) async fn start(views: Views, head: Position) -> Result<EngineThread, ViewError> {
        let (sender, mut jobs) = mpsc::channel::<Job>(4);
        let (opened, answer) = oneshot::channel();
        let work = move || match Engine::open(views, head) {
            Ok(mut engine) => {
                let _ = opened.send(Ok(()));
                while let Some(job) = jobs.blocking_recv() {
                    job(&mut engine);
                }
            }
            Err(error) => {
                let _ = opened.send(Err(error));
            }
        };
        let thread = std::thread::Builder::new().name("tiffin-views".into()).spawn(work);
        thread.map_err(|error| ViewError::Unusable(format!("no thread for the views: {error}")))?;
        answer.await.map_err(|_| ViewError::Stopped)??;
        Ok(EngineThread(sender))
    }

    /// Runs `job` on the engine's thread. Once handed over, it runs to its end.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Engine) -> T + Send + 'static,
    ) -> Result<T, ViewError> {
        let (done, answer) = oneshot::channel();
        let job: Job = Box::new(move |engine| {
            let _ = done.send(job(engine));
        });
        self.0.send(job).await.map_err(|_| ViewError::Stopped)?;
        answer.await.map_err(|_| ViewError::Stopped)
    }
}
