//! The log's last events in memory, so that whoever follows its head need not ask SQLite.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{EventRow, Position};

/// Bound of what is kept besides the number of events, in bytes.
const BYTES: usize = 16 << 20;
/// What an event takes besides its payload.
const OVERHEAD: usize = 256;

/// The last batches that were committed, whole and without a gap up to the head; or nothing.
pub(super) struct Tail {
    capacity: usize,
    batches: RwLock<Batches>,
}

#[derive(Default)]
struct Batches {
    batches: VecDeque<Arc<Vec<EventRow>>>,
    events: usize,
    bytes: usize,
}

fn weight(batch: &[EventRow]) -> usize {
    batch.iter().map(|event| event.payload.len() + OVERHEAD).sum()
}

impl Tail {
    /// Keeps at most `capacity` events.
    pub(super) fn new(capacity: usize) -> Tail {
        Tail { capacity, batches: RwLock::default() }
    }

    /// Takes a committed batch, which follows on the one before.
    pub(super) fn push(&self, batch: Vec<EventRow>) {
        let mut tail = self.batches.write().unwrap_or_else(PoisonError::into_inner);
        tail.events += batch.len();
        tail.bytes += weight(&batch);
        tail.batches.push_back(Arc::new(batch));
        while tail.events > self.capacity || tail.bytes > BYTES {
            let Some(gone) = tail.batches.pop_front() else { break };
            tail.events -= gone.len();
            tail.bytes -= weight(&gone);
        }
    }

    /// To be called when the head may have moved without [`Tail::push`].
    pub(super) fn clear(&self) {
        *self.batches.write().unwrap_or_else(PoisonError::into_inner) = Batches::default();
    }

    /// Events from `from` on, if all that there are of them are in here.
    pub(super) fn read(&self, from: Position, limit: usize) -> Option<Vec<EventRow>> {
        let batches: Vec<Arc<Vec<EventRow>>> = {
            let tail = self.batches.read().unwrap_or_else(PoisonError::into_inner);
            if from < tail.batches.front()?.first()?.position {
                return None;
            }
            let first = tail.batches.partition_point(|batch| batch.last().is_some_and(|last| last.position < from));
            let mut wanted = 0;
            let until_full = tail.batches.range(first..).take_while(|batch| {
                let go_on = wanted < limit;
                wanted += batch.iter().filter(|event| event.position >= from).count();
                go_on
            });
            until_full.cloned().collect()
        };
        // Copied outside the lock, so that the writer does not wait for it.
        let events = batches.iter().flat_map(|batch| batch.iter());
        Some(events.filter(|event| event.position >= from).take(limit).cloned().collect())
    }
}
