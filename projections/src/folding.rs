//! The fold alone: what reading, decoding and folding cost when nothing is written.

use std::{
    cmp::Reverse,
    sync::Arc,
    time::{Duration, Instant},
};

use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use store::{EventStore, Position};

use crate::{
    Projection, Registry, Rows, ViewError,
    batch::{Decoded, Span},
    engine::BATCH,
    runner::read,
};

/// Batches that wait for the fold.
const AHEAD: usize = 2;

/// What rows that only wait to be written may take, in bytes.
const HELD_BACK: usize = 32 << 20;

/// Folds the whole log into every projection of `registry`, in memory, and forgets the outcome. Reading
/// and decoding go on beside the fold. Answers how many events that were. Rows that a view keeps stay
/// in memory until the end.
pub async fn fold_only(store: Arc<dyn EventStore>, registry: Registry) -> Result<u64, ViewError> {
    let head = store.head().await?;
    let (sender, mut batches) = tokio::sync::mpsc::channel(AHEAD);
    let folding = tokio::task::spawn_blocking(move || {
        let mut views: Vec<View> = registry.iter().map(View::new).collect();
        let mut events = 0;
        while let Some(batch) = batches.blocking_recv() {
            let batch: Decoded = batch;
            // The one that takes longest must not be the last.
            views.sort_by_key(|view| Reverse(view.spent));
            on_all_cores(views.iter_mut().collect(), true, |view| view.fold(&batch));
            events += batch.events.len() as u64;
        }
        events
    });
    let mut from: Position = 1;
    let mut ahead = std::collections::VecDeque::new();
    while from <= head || !ahead.is_empty() {
        while from <= head && ahead.len() < AHEAD {
            ahead.push_back(tokio::spawn(read(Arc::clone(&store), Span { from, limit: BATCH })));
            from += BATCH as u64;
        }
        let Some(reading) = ahead.pop_front() else { break };
        let batch = reading.await.map_err(|_| ViewError::Stopped)??;
        sender.send(batch).await.map_err(|_| ViewError::Stopped)?;
    }
    drop(sender);
    folding.await.map_err(|_| ViewError::Stopped)
}

/// A projection and its rows.
struct View {
    projection: Arc<dyn Projection>,
    rows: Rows,
    /// How long the last batch took.
    spent: Duration,
}

impl View {
    fn new(projection: &Arc<dyn Projection>) -> View {
        View { projection: Arc::clone(projection), rows: Rows::empty(), spent: Duration::ZERO }
    }

    fn fold(&mut self, batch: &Decoded) {
        let began = Instant::now();
        for it in batch.events.iter().flatten() {
            if let Err(poison) = self.projection.apply(it, &mut self.rows) {
                tracing::warn!(projection = self.projection.name(), position = it.position, %poison, "poison");
            }
        }
        // As a rebuild holds rows back; nothing has to be looked up again, since nothing is forgotten.
        if self.rows.weight().appended > HELD_BACK {
            drop(self.rows.take_changes());
            self.rows.keep_written();
        }
        self.spent = began.elapsed();
    }
}

/// Works on all of `items`, the first ones first, on all cores but the one that reads and decodes the next
/// batch; where two are all that there are, and if others want them too, on this thread alone.
pub(crate) fn on_all_cores<T: Send, R: Send>(
    items: Vec<T>,
    alone: bool,
    work: impl Fn(T) -> R + Send + Sync,
) -> Vec<R> {
    if alone && (cfg!(test) || rayon::current_num_threads() > 2) {
        return items.into_par_iter().with_max_len(1).map(work).collect();
    }
    items.into_iter().map(work).collect()
}
