//! The fold alone: what reading, decoding and folding cost when nothing is written.

use std::sync::Arc;

use store::{EventStore, Position};

use crate::{
    Projection, Registry, Rows, ViewError,
    batch::{Decoded, Span},
    engine::BATCH,
    runner::read,
};

/// Batches that wait for the fold.
const AHEAD: usize = 2;

/// Folds the whole log into every projection of `registry`, in memory, and forgets the outcome. Reading
/// and decoding go on beside the fold. Answers how many events that were. Rows that a view keeps stay
/// in memory until the end.
pub async fn fold_only(store: Arc<dyn EventStore>, registry: Registry) -> Result<u64, ViewError> {
    let head = store.head().await?;
    let (sender, mut batches) = tokio::sync::mpsc::channel(AHEAD);
    let folding = tokio::task::spawn_blocking(move || {
        let mut views: Vec<(Arc<dyn Projection>, Rows)> =
            registry.iter().map(|projection| (Arc::clone(projection), Rows::empty())).collect();
        let mut events = 0;
        while let Some(batch) = batches.blocking_recv() {
            let batch: Decoded = batch;
            for (projection, rows) in &mut views {
                for it in batch.events.iter().flatten() {
                    if let Err(poison) = projection.apply(it, rows) {
                        tracing::warn!(projection = projection.name(), position = it.position, %poison, "poison");
                    }
                }
                drop(rows.take_changes());
                rows.keep_written();
            }
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
