//! The fold itself, on a thread of its own: a batch of events into every build that stands before
//! it. What changed goes to a second thread ([`writing`](crate::writing)), which puts rows and
//! checkpoints into the tables in one transaction while the next batch is folded.

use std::{
    cmp::Reverse,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::Timestamp;
use rustc_hash::FxHashMap;
use store::Position;
use uuid::Uuid;

use crate::{
    Build, Parked, Rows,
    batch::{Decoded, Kind, Span},
    catalogue,
    db::{Connection, Mode},
    folding::on_all_cores,
    lease::{self, Keeper, lease_of},
    lookups::Lookups,
    parking::{self, Dropped},
    running::{Attempt, Running, Stuck},
    views::{ViewError, Views},
    writing::{BuildWrite, InFlight, WritingThread},
};

/// Most events of one transaction.
pub(crate) const BATCH: usize = 1_000;
/// Fewest and most events of a transaction for builds that are not live, beside others.
const BUILDING: (usize, usize) = (200, 5_000);
/// What all rows in memory together may take, in bytes, before some are forgotten. While a rebuild has the
/// machine to itself they are not written before that either: a row that changes again meanwhile is written
/// once, and rows that are written together stand side by side.
const ROOM: usize = 64 << 20;
/// How often a rebuild that holds rows back writes them all the same: what a crash costs at most.
const CHECKPOINT: Duration = Duration::from_secs(30);
/// A transaction for a build that is longer than this makes the next one smaller, so that whoever
/// keeps the live views up need not wait.
const SHORT: Duration = Duration::from_millis(50);
/// How often a process that keeps all views up looks whether it still may.
const CHECK: Duration = Duration::from_secs(1);
/// Everything that folds views. It lives on one thread.
pub(crate) struct Engine {
    pub(crate) views: Views,
    pub(crate) connection: Connection,
    /// On which rows are looked up that are not in memory.
    lookups: Lookups,
    writing: WritingThread,
    in_flight: Option<InFlight>,
    pub(crate) running: Vec<Running>,
    revision: u64,
    /// Most events of the next transaction for builds that are not live.
    building: usize,
    /// How far behind the log they are, and whether the last batch has brought them much closer.
    behind: u64,
    gaining: bool,
    holder: Uuid,
    /// Renews the leases, where there are any.
    keeper: Option<Keeper>,
    synced: Option<Instant>,
    /// When all that was folded was last handed over.
    checkpointed: Instant,
    /// Whether the connection may have gone with an error.
    broken: bool,
}

impl Engine {
    /// Takes up every build where its checkpoint stands. Views that were ahead, as they `stood` before the log
    /// ended at `head`, belong to another history and are removed; a projection without a build of its
    /// version gets one.
    pub(crate) fn open(views: Views, head: Position, stood: &[Build]) -> Result<Engine, ViewError> {
        if !views.is_writable() {
            return Err(ViewError::Unusable("these views were opened to be read only".into()));
        }
        let (connection, lookups) = (views.connect()?, Lookups::new(views.connect()?));
        let writing = WritingThread::start(&views)?;
        let holder = views.process();
        let keeper = if views.is_remote() { Some(Keeper::start(&views, holder)?) } else { None };
        let mut engine = Engine {
            views,
            connection,
            lookups,
            writing,
            in_flight: None,
            running: Vec::new(),
            revision: 0,
            building: BATCH,
            behind: 0,
            gaining: true,
            holder,
            keeper,
            synced: None,
            checkpointed: Instant::now(),
            broken: false,
        };
        engine.tidy_up_at_start(head, stood)?;
        engine.sync()?;
        engine.settle(head)?;
        Ok(engine)
    }

    /// Takes over what was changed in the catalogue beside this thread, and leases that have run out.
    pub(crate) fn sync(&mut self) -> Result<(), ViewError> {
        if self.broken {
            (self.connection, self.lookups) = (self.views.connect()?, Lookups::new(self.views.connect()?));
            self.broken = false;
        }
        let every = if self.running.iter().all(|running| running.ours) { CHECK } else { lease::RENEW };
        let due = self.connection.is_postgres() && self.synced.is_none_or(|synced| synced.elapsed() >= every);
        let unchanged = catalogue::revision(&self.connection)? == self.revision;
        if unchanged && !due {
            return Ok(());
        }
        let now = lease::moment(&self.connection)?;
        lease::throw_out_expired(&self.connection, self.holder, now);
        if unchanged && self.holds_as_before(now)? {
            self.synced = Some(Instant::now());
            return Ok(());
        }
        self.finish()?;
        let transaction = self.connection.begin(Mode::Read)?;
        let (revision, builds) = (catalogue::revision(&transaction)?, catalogue::builds(&transaction)?);
        transaction.commit()?;
        let mut known = std::mem::take(&mut self.running);
        for build in builds.into_iter().filter(|build| build.replaced_at.is_none()) {
            let Some(projection) = self.views.registry().iter().find(|projection| build.is_of(&***projection)) else {
                continue;
            };
            let projection = Arc::clone(projection);
            let name = lease_of(&build.projection, build.version);
            let ours = lease::hold(&self.connection, &name, self.holder, lease::LEASE, now)?;
            let known = known.iter().position(|one| one.build.is_same(&build)).map(|index| known.swap_remove(index));
            // Rows in memory are worth something only while nobody else has moved the build.
            let rows = match known {
                Some(known) if known.ours && ours && known.build.position == build.position => known.rows,
                _ => Rows::over(self.lookups.clone(), build.suffix(), build.position == 0),
            };
            let parked = parking::streams(&self.connection, &build)?.into_iter().collect();
            let dropped = parking::dropped(&self.connection, &build.projection)?;
            let dropped = dropped.into_iter().map(|Dropped { position, .. }| position).collect();
            let (written, newly_parked, careful_until) = (build.clone(), Vec::new(), 0);
            self.running.push(Running {
                projection,
                build,
                written,
                newly_parked,
                careful_until,
                rows,
                spent: Duration::ZERO,
                parked,
                dropped,
                ours,
            });
        }
        (self.revision, self.synced) = (revision, Some(Instant::now()));
        self.publish();
        Ok(())
    }

    /// Asks for every lease anew. Answers whether the same are ours, so that rows can be held back on.
    fn holds_as_before(&self, now: Timestamp) -> Result<bool, ViewError> {
        for Running { build, ours, .. } in &self.running {
            let name = lease_of(&build.projection, build.version);
            if lease::hold(&self.connection, &name, self.holder, lease::LEASE, now)? != *ours {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Shows how far the views have come, if it is this process that keeps all of them up; otherwise
    /// whoever wants to know has to ask the database. What readers get is in the tables by then.
    fn publish(&self) {
        let all = self.running.iter().all(|running| running.ours);
        let shown = |running: &Running| if running.build.live { &running.written } else { &running.build }.clone();
        self.views.publish(self.running.iter().filter(|_| all).map(shown).collect());
    }

    /// What the builds of a kind that lag most need next; nothing when they have come to `head`.
    pub(crate) fn next(&mut self, kind: Kind, head: Position) -> Option<Span> {
        let positions = || self.running.iter().filter(|running| running.is(kind)).map(|running| running.build.position);
        let lowest = positions().min().filter(|lowest| *lowest < head)?;
        // One that lags catches up by itself, and then goes on with the others.
        let next = positions().filter(|position| *position > lowest).min().unwrap_or(head).min(head);
        let most = if kind == Kind::Live { BATCH } else { self.building };
        let limit = usize::try_from(next - lowest).unwrap_or(most).min(most);
        if kind == Kind::Building {
            // Of so many events that were folded, most must not have come anew meanwhile.
            let behind = head - lowest;
            // In a file a short transaction is cheap, and a long one is in everybody's way.
            let gains = behind + limit as u64 / 2 < self.behind || self.behind == 0;
            self.gaining = gains || !self.views.is_remote();
            self.behind = behind;
        }
        Some(Span { from: lowest + 1, limit })
    }

    /// Folds a batch into every build of a kind that stands right before it, and has it written.
    /// With `ahead` the write may still be in flight when this returns. On an error the rows in
    /// memory are forgotten, and the builds stand where the tables say.
    pub(crate) fn fold(&mut self, kind: Kind, batch: &Decoded, ahead: bool) -> Result<(), ViewError> {
        let folded = self.fold_and_write(kind, batch, ahead);
        if folded.is_err() {
            self.forget();
        }
        folded
    }

    fn fold_and_write(&mut self, kind: Kind, batch: &Decoded, ahead: bool) -> Result<(), ViewError> {
        if batch.rows.is_empty() {
            return Ok(());
        }
        if kind == Kind::Building && !ahead {
            // An index on a table that is full already would keep everybody waiting.
            self.index(|_| true)?;
        }
        for (index, attempt) in self.attempt_all(kind, batch, ahead)? {
            self.conclude(index, batch, attempt)?;
        }
        let careful = |running: &Running| running.build.position <= running.careful_until;
        if ahead && kind == Kind::Building && !self.running.iter().any(careful) {
            self.publish();
            return self.hold_back(kind);
        }
        self.write(kind)?;
        let full = self.weight() > ROOM;
        if !ahead || full {
            self.finish()?;
        }
        if full {
            let heaviest = self.running.iter_mut().max_by_key(|running| running.rows.weight().entries);
            heaviest.into_iter().for_each(|running| running.rows.clear());
        }
        Ok(())
    }

    /// Writes no more than has to be written, so that there is room.
    fn hold_back(&mut self, kind: Kind) -> Result<(), ViewError> {
        // Nobody waits for a transaction to end.
        self.building = BATCH;
        if self.checkpointed.elapsed() > CHECKPOINT {
            return self.write(kind);
        }
        if self.weight() <= ROOM {
            return Ok(());
        }
        self.wait()?;
        let Some(running) = self.running.iter_mut().max_by_key(|running| running.rows.spare()) else { return Ok(()) };
        if running.build == running.written {
            running.rows.clear();
            return Ok(());
        }
        let write = running.take_write();
        self.in_flight = Some(self.writing.write(kind, vec![write], self.revision)?);
        Ok(())
    }

    /// What rows in memory take, in bytes, without those that are being written.
    fn weight(&self) -> usize {
        let weights = self.running.iter().map(|running| running.rows.weight());
        weights.map(|weight| weight.entries + weight.appended).sum()
    }

    /// Forgets rows that were written if there is no room for them.
    fn settle_rows(&mut self) {
        let mut weight = self.weight();
        for running in &mut self.running {
            let frozen = running.rows.weight().frozen;
            if frozen > 0 && weight + frozen > ROOM - ROOM / 8 {
                running.rows.forget_written();
            } else {
                weight += frozen;
                running.rows.keep_written();
            }
        }
    }

    /// Hands over what was folded and is not written yet.
    fn write(&mut self, kind: Kind) -> Result<(), ViewError> {
        self.wait()?;
        self.checkpointed = Instant::now();
        let unwritten = |running: &&mut Running| running.build != running.written;
        let writes: Vec<BuildWrite> = self.running.iter_mut().filter(unwritten).map(Running::take_write).collect();
        if !writes.is_empty() {
            self.in_flight = Some(self.writing.write(kind, writes, self.revision)?);
        }
        Ok(())
    }

    /// Folds a batch into the builds of a kind that stand right before it, on all cores if there is nobody
    /// else who wants them. Answers what came of each, by its index.
    fn attempt_all(&mut self, kind: Kind, batch: &Decoded, alone: bool) -> Result<Vec<(usize, Attempt)>, ViewError> {
        let stands_before = |running: &Running| running.is(kind) && running.build.position + 1 == batch.first();
        let due = self.running.iter_mut().enumerate().filter(|(_, running)| stands_before(running));
        let mut due: Vec<(usize, &mut Running)> = due.collect();
        // The one that takes longest must not be the last.
        due.sort_by_key(|(_, running)| Reverse(running.spent));
        let none = FxHashMap::default();
        let attempts = self
            .lookups
            .as_of_now(|| on_all_cores(due, alone, |(index, running)| (index, running.attempt(batch, &none))))?;
        Ok(attempts)
    }

    /// Takes over what came of a batch: events that are poison are parked.
    fn conclude(&mut self, index: usize, batch: &Decoded, mut attempt: Attempt) -> Result<(), ViewError> {
        let mut poisoned = FxHashMap::default();
        let parked = loop {
            match attempt {
                Ok(parked) => break parked,
                Err(Stuck::Lookup(error)) => return Err(error.into()),
                Err(Stuck::Poison { position, poison }) => {
                    // What the event has half done is taken back: the batch is folded again without it.
                    self.wait()?;
                    let running = &mut self.running[index];
                    running.rows.clear();
                    if running.build != running.written {
                        // With the batches before it that are not written either.
                        running.build = running.written.clone();
                        running.newly_parked.clear();
                        running.careful_until = batch.first() + batch.rows.len() as u64;
                        let parked = parking::streams(&self.connection, &running.build)?;
                        running.parked = parked.into_iter().collect();
                        return Ok(());
                    }
                    poisoned.insert(position, poison);
                    attempt = self.lookups.as_of_now(|| running.attempt(batch, &poisoned))?;
                }
            }
        };
        let running = &mut self.running[index];
        running.build = running.after(batch, &parked);
        running.parked.extend(parked.iter().map(Parked::stream_id));
        running.newly_parked.extend(parked);
        Ok(())
    }

    /// Writes all that is folded into the builds of a kind, and waits until it is in the tables.
    pub(crate) fn finish_all_of(&mut self, kind: Kind) -> Result<(), ViewError> {
        let unwritten = |running: &Running| running.is(kind) && running.build != running.written;
        if self.running.iter().any(unwritten) {
            return self.finish();
        }
        if self.in_flight.as_ref().is_some_and(|in_flight| in_flight.kind == kind) { self.wait() } else { Ok(()) }
    }

    /// Writes all that is folded, and waits until it is in the tables.
    pub(crate) fn finish(&mut self) -> Result<(), ViewError> {
        if self.running.iter().any(|running| running.build != running.written) {
            self.write(Kind::Live)?;
        }
        self.wait()
    }

    /// Waits for the write that is in flight, and shows what it has brought.
    fn wait(&mut self) -> Result<(), ViewError> {
        let Some(in_flight) = self.in_flight.take() else { return Ok(()) };
        let kind = in_flight.kind;
        match in_flight.wait() {
            Ok(took) => {
                self.settle_rows();
                if kind == Kind::Building {
                    self.building = match (self.gaining, took > SHORT) {
                        // A build that does not gain on the log would never be whole.
                        (false, _) => self.building * 2,
                        (true, true) => self.building / 2,
                        (true, false) => self.building + self.building / 4,
                    };
                    self.building = self.building.clamp(BUILDING.0, BUILDING.1);
                }
                self.publish();
                Ok(())
            }
            Err(error) => {
                self.forget();
                Err(error)
            }
        }
    }

    /// Takes everything up again where the tables say that it stands.
    pub(crate) fn forget(&mut self) {
        if let Some(in_flight) = self.in_flight.take() {
            // Whatever came of it, the tables tell.
            let _ = in_flight.wait();
        }
        self.running.clear();
        (self.revision, self.broken) = (0, true);
        self.publish();
    }

    /// Ends what is in flight, and leaves the builds to whoever keeps them up next.
    pub(crate) fn let_go(&mut self) {
        let finished = self.finish();
        self.keeper = None;
        let ended = finished.and_then(|()| Ok(lease::let_go(&self.connection, self.holder)?));
        if let Err(error) = ended {
            tracing::debug!(%error, "the last write is folded again at the next start");
        }
    }
}
