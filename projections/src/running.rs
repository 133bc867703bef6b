//! A build that is kept up: what is folded into it, and what of that its tables lack.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use domain::StreamId;
use rustc_hash::{FxHashMap, FxHashSet};
use store::{EventRow, Position};

use crate::{
    Build, Health, Parked, Projection, Rows,
    batch::{Decoded, Kind},
    catalogue::now,
    db::SqlError,
    writing::BuildWrite,
};

/// How often needed rows lead to others that are fetched many at once; the rest is fetched singly.
const ROUNDS: usize = 3;

/// A build that is kept up.
pub(crate) struct Running {
    pub(crate) projection: Arc<dyn Projection>,
    /// As it is folded; the tables may lag behind.
    pub(crate) build: Build,
    /// As the tables are, or will be once the write that is in flight has ended.
    pub(crate) written: Build,
    /// What was parked since.
    pub(crate) newly_parked: Vec<Parked>,
    /// Up to here every batch is written before the next, so that one with poison can be folded again.
    pub(crate) careful_until: Position,
    pub(crate) rows: Rows,
    /// How long the last batch took to fold.
    pub(crate) spent: Duration,
    /// Streams with an event that was parked: later ones are parked behind it.
    pub(crate) parked: FxHashSet<StreamId>,
    /// Events that somebody decided to do without.
    pub(crate) dropped: FxHashSet<Position>,
    /// Whether this process folds it.
    pub(crate) ours: bool,
}

/// What came of folding a batch: the events that are parked.
pub(crate) type Attempt = Result<Vec<Parked>, Stuck>;

/// Why a batch could not be folded.
pub(crate) enum Stuck {
    /// The event at a position cannot be taken: what it has half done has to be taken back.
    Poison { position: Position, poison: String },
    /// A row could not be looked up.
    Lookup(SqlError),
}

impl Running {
    pub(crate) fn is(&self, kind: Kind) -> bool {
        let kinds = match kind {
            Kind::Live => self.build.live,
            Kind::Building => self.build.is_being_built(),
        };
        kinds && self.ours && self.build.health == Health::Sound
    }

    /// Fetches the rows that a batch needs, many at once.
    fn prefetch(&mut self, batch: &Decoded) -> Result<(), SqlError> {
        let projection = &self.projection;
        if !self.rows.looks_up_many() {
            return Ok(());
        }
        for _ in 0..ROUNDS {
            let tried = self.rows.try_out(|rows| {
                for it in batch.events.iter().flatten() {
                    // What is poison, or panics, only because rows are missing does not in the next round.
                    let _ = catch_unwind(AssertUnwindSafe(|| projection.apply(it, rows)));
                }
            });
            if tried? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Folds a batch but for the events that are `poisoned`. Answers those that are parked.
    pub(crate) fn attempt(&mut self, batch: &Decoded, poisoned: &FxHashMap<Position, String>) -> Attempt {
        let began = Instant::now();
        self.prefetch(batch).map_err(Stuck::Lookup)?;
        let mut at = batch.first();
        // A panic ends the fold of its batch and nothing else; all that it has touched is taken back.
        let folded = catch_unwind(AssertUnwindSafe(|| self.fold(batch, poisoned, &mut at)));
        let folded = folded.unwrap_or_else(|panic| {
            Err(Stuck::Poison { position: at, poison: format!("the fold panicked: {}", said(&*panic)) })
        });
        self.spent = began.elapsed();
        // Whatever was folded without a row that could not be read is worth nothing.
        self.rows.take_failure().map_or(folded, |error| Err(Stuck::Lookup(error)))
    }

    /// `at` is left at the event that it has come to.
    fn fold(&mut self, batch: &Decoded, poisoned: &FxHashMap<Position, String>, at: &mut Position) -> Attempt {
        let mut parked = Vec::new();
        let mut streams: FxHashSet<StreamId> = FxHashSet::default();
        for (row, event) in batch.rows.iter().zip(&batch.events) {
            if self.dropped.contains(&row.position) {
                continue;
            }
            let behind =
                (!self.parked.is_empty() && self.parked.contains(&row.stream)) || streams.contains(&row.stream);
            let error = match (behind, event) {
                (true, _) => Some("an earlier event of its stream is parked".to_owned()),
                (false, Err(broken)) => Some(broken.clone()),
                (false, Ok(it)) => match poisoned.get(&row.position) {
                    Some(poison) => Some(poison.clone()),
                    None => {
                        *at = row.position;
                        let applied = self.projection.apply(it, &mut self.rows);
                        applied
                            .map_err(|poison| Stuck::Poison { position: row.position, poison: poison.to_string() })?;
                        None
                    }
                },
            };
            if let Some(error) = error {
                streams.insert(row.stream);
                parked.push(self.park(row, error));
            }
        }
        Ok(parked)
    }

    /// What the tables lack of what is folded.
    pub(crate) fn take_write(&mut self) -> BuildWrite {
        let after = self.build.clone();
        let before = std::mem::replace(&mut self.written, after.clone());
        let parked = std::mem::take(&mut self.newly_parked);
        BuildWrite { before, after, parked, changes: self.rows.take_changes() }
    }

    pub(crate) fn park(&self, row: &EventRow, error: String) -> Parked {
        Parked {
            projection: self.build.projection.clone(),
            version: self.build.version,
            build: self.build.build,
            position: row.position,
            tenant: row.stream.tenant,
            kind: row.stream.kind,
            stream: row.stream.key,
            stream_version: row.version,
            event: row.event_type.to_string(),
            error,
            parked_at: now(),
        }
    }

    /// Where the build stands after a batch.
    pub(crate) fn after(&self, batch: &Decoded, parked: &[Parked]) -> Build {
        let mut build = self.build.clone();
        build.position = batch.first() + batch.events.len() as u64 - 1;
        if let Some(newer) = &batch.newer {
            (build.health, build.error) = (Health::Outdated, Some(newer.clone()));
            tracing::error!(projection = build.projection, %newer, "a view waits for a newer program");
        }
        for one in parked {
            let Parked { projection, position, event, error, .. } = one;
            tracing::error!(projection, position, event, %error, "an event is parked: the view is incomplete");
        }
        build.parked += parked.len() as u64;
        build.incomplete_since = build.incomplete_since.or(parked.first().map(|one| one.position));
        build
    }
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason was given")
}
