//! Reads on as other nodes write, so that states in memory which they left behind are loaded anew.
//!
//! It only saves conflicts and stale looks: what is answered is compared with the log in any case.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use store::{Position, StoreError};

use crate::Shared;

/// Most events read at once.
const PAGE: usize = 1_000;
/// The hint may be lost: how long it is waited for at most.
const LOOK_ANYWAY: Duration = Duration::from_secs(1);
/// Between the hint and the read, so that a busy log is read in pieces of some size.
const BREATH: Duration = Duration::from_millis(2);
/// After a read that failed.
const REST: Duration = Duration::from_millis(500);
/// Most stretches remembered; what is forgotten is read, which costs time and nothing else.
const MAX_STRETCHES: usize = 1_024;

/// The stretches of the log that this node wrote itself and that the tail has not passed, in order.
#[derive(Default)]
pub(crate) struct OwnWrites(Mutex<VecDeque<(Position, Position)>>);

impl OwnWrites {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(Position, Position)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the stretch from `first` to `last`, behind all noted before.
    pub(crate) fn note(&self, first: Position, last: Position) {
        let mut stretches = self.lock();
        match stretches.back_mut() {
            Some((_, end)) if *end + 1 == first => *end = last,
            _ => stretches.push_back((first, last)),
        }
        if stretches.len() > MAX_STRETCHES {
            stretches.pop_front();
        }
    }

    /// The first position from `from` on that somebody else may have written, and how many follow
    /// before this node's next stretch.
    fn next_foreign(&self, mut from: Position) -> (Position, u64) {
        let mut stretches = self.lock();
        while let Some((first, last)) = stretches.front().copied() {
            if from < first {
                return (from, first - from);
            }
            from = from.max(last + 1);
            stretches.pop_front();
        }
        (from, u64::MAX)
    }
}

/// Follows the log until the node shuts down. A log that no other node writes is only looked at once: whether this
/// node's clock has gone back since its last run.
pub(crate) async fn follow(shared: Arc<Shared>) {
    let stopping = shared.writer.stopping.clone();
    tokio::select! {
        () = stopping.cancelled() => {}
        () = follow_on(&shared) => {}
    }
}

async fn follow_on(shared: &Shared) {
    let mut head = shared.store.subscribe();
    let mut failing = false;
    let mut next = None;
    loop {
        let read = match next {
            None => begin(shared).await,
            Some(from) => read_from(shared, from).await,
        };
        match read {
            Ok(_) if !shared.store.is_shared() => return,
            Ok(position) => {
                (next, failing) = (Some(position), false);
                let hint = tokio::time::timeout(LOOK_ANYWAY, head.changed()).await;
                // Nobody hints any more: the store is going away.
                tokio::time::sleep(if matches!(hint, Ok(Err(_))) { LOOK_ANYWAY } else { BREATH }).await;
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "what other nodes wrote cannot be read; trying on");
                }
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// Where the log ends now: what is loaded later has everything before.
async fn begin(shared: &Shared) -> Result<Position, StoreError> {
    let head = shared.store.head().await?;
    if head > 0 {
        for row in shared.store.read_all(head, 1).await? {
            shared.standing.saw(row.recorded_at);
        }
    }
    shared.standing.is_known();
    Ok(head + 1)
}

/// Reads everything from `from` on that this node did not write, and says where to go on.
async fn read_from(shared: &Shared, from: Position) -> Result<Position, StoreError> {
    let mut next = from;
    loop {
        let (from, foreign) = shared.writer.own_writes.next_foreign(next);
        let limit = usize::try_from(foreign).unwrap_or(PAGE).min(PAGE);
        let rows = shared.store.read_all(from, limit).await?;
        next = from;
        for row in &rows {
            shared.saw(row.stream, row.version);
            next = row.position + 1;
        }
        if let Some(last) = rows.last() {
            shared.standing.saw(last.recorded_at);
        }
        if rows.len() < limit {
            return Ok(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_node_wrote_is_passed_over() {
        let own = OwnWrites::default();
        own.note(3, 5);
        own.note(6, 6);
        own.note(10, 20);
        assert_eq!(own.next_foreign(1), (1, 2));
        assert_eq!(own.next_foreign(3), (7, 3));
        assert_eq!(own.next_foreign(8), (8, 2));
        assert_eq!(own.next_foreign(12), (21, u64::MAX));
    }

    #[test]
    fn only_so_many_stretches_are_remembered() {
        let own = OwnWrites::default();
        for number in 0..5_000 {
            own.note(number * 10 + 1, number * 10 + 5);
        }
        assert_eq!(own.lock().len(), MAX_STRETCHES);
    }
}
