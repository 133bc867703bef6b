//! Reading events by filter, from either end, a bounded number at a time.

use domain::StreamId;

use super::{
    filter::Filter,
    seek::{first_recorded, first_version_from, last_version},
};
use crate::{EventRow, EventStore, Position, StoreError, Version};

/// Events that are read from the log at once.
pub(super) const BATCH: usize = 2_000;

/// From which end events are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    #[default]
    OldestFirst,
    NewestFirst,
}

/// A walk over what a filter means. It begins where the filter's stream, times and positions begin,
/// and ends at the head that the log had when the walk began.
pub struct Scan<'a> {
    store: &'a dyn EventStore,
    filter: Filter,
    direction: Direction,
    way: Way,
    /// The last position that was looked at, if any was.
    at: Option<Position>,
    looked_at: u64,
}

/// What is still to be looked at: from the first to the last, both included; none when the first is
/// the greater.
enum Way {
    Positions(Position, Position),
    Versions(StreamId, Version, Version),
}

impl<'a> Scan<'a> {
    /// `after` is the position of an event behind which, in the scan's direction, it begins: a
    /// cursor to go on from. With a tenant and a stream, nothing but the stream is read.
    pub async fn open(
        store: &'a dyn EventStore,
        filter: Filter,
        direction: Direction,
        after: Option<Position>,
    ) -> Result<Scan<'a>, StoreError> {
        let (low, high) = bounds(store, &filter, direction, after).await?;
        let way = match (filter.tenant, filter.stream) {
            (Some(tenant), Some((kind, key))) => {
                let stream = StreamId { tenant, kind, key };
                let last = last_version(store, stream).await?;
                let from = first_version_from(store, stream, last, low).await?;
                let to = first_version_from(store, stream, last, high.saturating_add(1)).await? - 1;
                Way::Versions(stream, from, to)
            }
            _ => Way::Positions(low, high),
        };
        Ok(Scan { store, filter, direction, way, at: None, looked_at: 0 })
    }

    /// Looks at up to `most` more events, but never more than one reading's worth: those of them
    /// that match, in the scan's direction. None when there is nothing left to look at.
    pub async fn next(&mut self, most: usize) -> Result<Option<Vec<EventRow>>, StoreError> {
        let most = most.clamp(1, BATCH) as u64;
        let (low, high) = match self.way {
            Way::Positions(low, high) | Way::Versions(_, low, high) => (low, high),
        };
        if low > high {
            return Ok(None);
        }
        let count = most.min(high - low + 1);
        let first = match self.direction {
            Direction::OldestFirst => low,
            Direction::NewestFirst => high - count + 1,
        };
        let mut rows = self.read(first, count).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let read = rows.len() as u64;
        let rest = match self.direction {
            Direction::OldestFirst => (low + read, high),
            Direction::NewestFirst => (low, first - 1),
        };
        self.way = match self.way {
            Way::Positions(..) => Way::Positions(rest.0, rest.1),
            Way::Versions(stream, ..) => Way::Versions(stream, rest.0, rest.1),
        };
        if self.direction == Direction::NewestFirst {
            rows.reverse();
        }
        self.at = rows.last().map(|row| row.position);
        self.looked_at += read;
        rows.retain(|row| self.filter.matches(row));
        Ok(Some(rows))
    }

    /// `count` events from `first` on, unless the log ends before.
    async fn read(&self, first: u64, count: u64) -> Result<Vec<EventRow>, StoreError> {
        let mut rows: Vec<EventRow> = Vec::new();
        // A log that meets an event that it cannot read gives what stands before it, and then says why.
        while (rows.len() as u64) < count {
            let read = rows.len() as u64;
            // Bounded by BATCH.
            let rest = (count - read) as usize;
            let more = match self.way {
                Way::Positions(..) => self.store.read_all(first + read, rest).await?,
                Way::Versions(stream, ..) => self.store.read_stream(stream, first + read, rest).await?,
            };
            if more.is_empty() {
                break;
            }
            rows.extend(more);
        }
        Ok(rows)
    }

    /// How many events were looked at so far.
    pub fn looked_at(&self) -> u64 {
        self.looked_at
    }

    /// How many events may be left to look at.
    pub fn left(&self) -> u64 {
        let (Way::Positions(low, high) | Way::Versions(_, low, high)) = self.way;
        (high + 1).saturating_sub(low)
    }

    /// The last position that was looked at: a cursor to go on from.
    pub fn at(&self) -> Option<Position> {
        self.at
    }
}

/// First and last position that can match.
async fn bounds(
    store: &dyn EventStore,
    filter: &Filter,
    direction: Direction,
    after: Option<Position>,
) -> Result<(Position, Position), StoreError> {
    let head = store.head().await?;
    let mut low = filter.positions.from.unwrap_or(1).max(1);
    let mut high = filter.positions.to.unwrap_or(head).min(head);
    match (direction, after) {
        (_, None) => {}
        (Direction::OldestFirst, Some(after)) => low = low.max(after.saturating_add(1)),
        (Direction::NewestFirst, Some(after)) => high = high.min(after.saturating_sub(1)),
    }
    if let Some(from) = filter.recorded.from {
        low = low.max(first_recorded(store, head, from).await?);
    }
    if let Some(to) = filter.recorded.to {
        high = high.min(first_recorded(store, head, to).await? - 1);
    }
    Ok((low, high))
}

/// Part of what a filter means.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Those that match, in the direction that was asked for.
    pub events: Vec<EventRow>,
    /// How many events were looked at, matching or not.
    pub looked_at: u64,
    /// Up to where everything was looked at, to go on after it; none when all was.
    pub next: Option<Position>,
}

/// Up to `limit` matching events, for which at most `look_at` events are looked at. A page can be
/// empty although there are more: then its `next` says where to go on.
pub async fn page(
    store: &dyn EventStore,
    filter: &Filter,
    direction: Direction,
    after: Option<Position>,
    (limit, look_at): (usize, u64),
) -> Result<Page, StoreError> {
    let mut scan = Scan::open(store, filter.clone(), direction, after).await?;
    let mut events: Vec<EventRow> = Vec::new();
    // No more than is wanted when everything matches, and more each time that it does not.
    let mut step = limit;
    while events.len() < limit && scan.looked_at() < look_at {
        let most = usize::try_from(look_at - scan.looked_at()).unwrap_or(BATCH).min(step);
        step = step.saturating_mul(2).min(BATCH);
        match scan.next(most).await? {
            Some(rows) => events.extend(rows),
            None => return Ok(Page { events, looked_at: scan.looked_at(), next: None }),
        }
    }
    let mut next = scan.at().filter(|_| scan.left() > 0);
    if events.len() > limit {
        events.truncate(limit);
        next = events.last().map(|row| row.position);
    }
    Ok(Page { events, looked_at: scan.looked_at(), next })
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
