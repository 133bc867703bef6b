//! Finding a place in the log without reading all of it.

use std::collections::BTreeSet;

use domain::{StreamId, TenantId, Timestamp};

use super::{HistoryError, scan::BATCH};
use crate::{EventRow, EventStore, Position, StoreError, Version};

/// The event at `position`.
pub async fn event(store: &dyn EventStore, position: Position) -> Result<EventRow, HistoryError> {
    if position == 0 {
        return Err(HistoryError::Zero);
    }
    let row = store.read_all(position, 1).await?.pop().filter(|row| row.position == position);
    match row {
        Some(row) => Ok(row),
        None => Err(HistoryError::NoPosition { asked: position, head: store.head().await? }),
    }
}

/// The first position in `1..=head` whose event was recorded at `at` or later; `head + 1` if none was.
pub(super) async fn first_recorded(
    store: &dyn EventStore,
    head: Position,
    at: Timestamp,
) -> Result<Position, StoreError> {
    // `recorded_at` never decreases with the position.
    let (mut low, mut high) = (1, head + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        match store.read_all(middle, 1).await?.first() {
            Some(row) if row.recorded_at < at => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The first version of a stream that stands at `position` or behind it; one more than its last if
/// none does.
pub(super) async fn first_version_from(
    store: &dyn EventStore,
    stream: StreamId,
    last: Version,
    position: Position,
) -> Result<Version, StoreError> {
    let (mut low, mut high) = (1, last + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        match store.read_stream(stream, middle, 1).await?.first() {
            Some(row) if row.position < position => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// The version that a stream had when the log stood at `position`; 0 when it was not there yet.
pub async fn version_at_position(
    store: &dyn EventStore,
    stream: StreamId,
    position: Position,
) -> Result<Version, StoreError> {
    let last = last_version(store, stream).await?;
    Ok(first_version_from(store, stream, last, position.saturating_add(1)).await? - 1)
}

/// The version of a stream's last event; 0 for none.
pub(super) async fn last_version(store: &dyn EventStore, stream: StreamId) -> Result<Version, StoreError> {
    Ok(store.versions(&[stream]).await?.first().copied().unwrap_or(0))
}

/// Whose events the log holds, in the order of their ids, at most `limit` of them: as soon as there
/// are more, it stops looking. Reads the whole log when there are fewer.
pub async fn tenants(store: &dyn EventStore, limit: usize) -> Result<Vec<TenantId>, StoreError> {
    let mut found = BTreeSet::new();
    let mut next = 1;
    loop {
        let rows = store.read_all(next, BATCH).await?;
        let Some(last) = rows.last() else { break };
        next = last.position + 1;
        let mut known = None;
        for row in &rows {
            if known != Some(row.stream.tenant) {
                known = Some(row.stream.tenant);
                found.insert(row.stream.tenant);
            }
        }
        if found.len() >= limit {
            break;
        }
    }
    Ok(found.into_iter().take(limit).collect())
}
