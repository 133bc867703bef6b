//! Which streams there are, as far as that can be known without asking SQLite.

use std::{
    hash::Hasher,
    sync::{PoisonError, RwLock},
};

use domain::{StreamId, StreamKind, TenantId};
use rusqlite::Connection;
use rustc_hash::{FxHashMap, FxHashSet, FxHasher};
use uuid::Uuid;

use crate::Version;

/// A hash of every stream of the log. A stream that is not in here does not exist; one that is
/// may exist. About 20 bytes a stream.
#[derive(Default)]
pub(super) struct KnownStreams(RwLock<FxHashSet<u64>>);

/// By numbers and bytes, since a log may hold kinds that this program does not know.
fn fingerprint(key: &[u8; 16], kind: u8, tenant: &[u8; 16]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write_u128(u128::from_ne_bytes(*key));
    hasher.write_u8(kind);
    hasher.write_u128(u128::from_ne_bytes(*tenant));
    hasher.finish()
}

fn fingerprint_of(stream: &StreamId) -> u64 {
    fingerprint(stream.key.as_bytes(), stream.kind as u8, stream.tenant.0.as_bytes())
}

impl KnownStreams {
    /// Reads them all. `about` says how many there may be.
    pub(super) fn load(conn: &Connection, about: i64) -> rusqlite::Result<KnownStreams> {
        let mut known = FxHashSet::default();
        known.reserve(usize::try_from(about).unwrap_or(0).min(1 << 26));
        let mut select = conn.prepare("SELECT key, kind, tenant FROM streams")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            known.insert(fingerprint(&row.get(0)?, row.get(1)?, &row.get(2)?));
        }
        Ok(KnownStreams(RwLock::new(known)))
    }

    pub(super) fn may_have(&self, stream: &StreamId) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&fingerprint_of(stream))
    }

    pub(super) fn add<'a>(&self, streams: impl Iterator<Item = &'a StreamId>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).extend(streams.map(fingerprint_of));
    }
}

/// A stream's row, and the version of its last durable event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StreamRow {
    pub(super) id: i64,
    pub(super) version: Version,
}

const NONE: u32 = u32::MAX;

/// The streams that were written last, at most a given number of them: the one that was not used
/// for longest goes first.
pub(super) struct StreamCache {
    capacity: usize,
    slots: FxHashMap<StreamId, u32>,
    nodes: Vec<Node>,
    newest: u32,
    oldest: u32,
}

struct Node {
    stream: StreamId,
    row: StreamRow,
    newer: u32,
    older: u32,
}

impl StreamCache {
    /// `capacity` is at least 1 and fits 31 bits.
    pub(super) fn new(capacity: usize) -> StreamCache {
        StreamCache { capacity, slots: FxHashMap::default(), nodes: Vec::new(), newest: NONE, oldest: NONE }
    }

    pub(super) fn get(&mut self, stream: &StreamId) -> Option<StreamRow> {
        let slot = *self.slots.get(stream)?;
        self.touch(slot);
        Some(self.nodes[slot as usize].row)
    }

    pub(super) fn put(&mut self, stream: StreamId, row: StreamRow) {
        if let Some(slot) = self.slots.get(&stream).copied() {
            self.nodes[slot as usize].row = row;
            self.touch(slot);
            return;
        }
        let node = Node { stream, row, newer: NONE, older: NONE };
        let slot = if self.nodes.len() < self.capacity {
            self.nodes.push(node);
            self.nodes.len() as u32 - 1
        } else {
            let slot = self.oldest;
            self.unlink(slot);
            let gone = std::mem::replace(&mut self.nodes[slot as usize], node);
            self.slots.remove(&gone.stream);
            slot
        };
        self.slots.insert(stream, slot);
        self.link_newest(slot);
    }

    pub(super) fn clear(&mut self) {
        *self = StreamCache::new(self.capacity);
    }

    fn touch(&mut self, slot: u32) {
        if self.newest != slot {
            self.unlink(slot);
            self.link_newest(slot);
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Node { newer, older, .. } = self.nodes[slot as usize];
        match self.nodes.get_mut(newer as usize) {
            Some(node) => node.older = older,
            None => self.newest = older,
        }
        match self.nodes.get_mut(older as usize) {
            Some(node) => node.newer = newer,
            None => self.oldest = newer,
        }
    }

    fn link_newest(&mut self, slot: u32) {
        let second = self.newest;
        let node = &mut self.nodes[slot as usize];
        (node.newer, node.older) = (NONE, second);
        match self.nodes.get_mut(second as usize) {
            Some(node) => node.newer = slot,
            None => self.oldest = slot,
        }
        self.newest = slot;
    }
}

/// Names of the streams that a reader met last, by their number: one slot a number, the newest
/// stays. Rows of streams never change, so nothing in here grows stale.
pub(super) struct StreamNames {
    slots: Vec<Option<(i64, StreamId)>>,
    newest: i64,
}

impl StreamNames {
    /// `slots` is a power of two.
    pub(super) fn new(slots: usize) -> StreamNames {
        StreamNames { slots: vec![None; slots], newest: 0 }
    }

    pub(super) fn get(&self, id: i64) -> Option<StreamId> {
        self.slots[id as usize & (self.slots.len() - 1)].filter(|(known, _)| *known == id).map(|(_, stream)| stream)
    }

    pub(super) fn put(&mut self, id: i64, stream: StreamId) {
        let slot = id as usize & (self.slots.len() - 1);
        self.slots[slot] = Some((id, stream));
        self.newest = self.newest.max(id);
    }

    /// Whether it is behind every stream that was met.
    pub(super) fn is_newest(&self, id: i64) -> bool {
        id > self.newest
    }
}

/// A stream from its row's columns; none if its kind is not known here.
pub(super) fn stream_of(key: [u8; 16], kind: u8, tenant: [u8; 16]) -> Option<StreamId> {
    let kind = StreamKind::try_from(kind).ok()?;
    Some(StreamId { tenant: TenantId(Uuid::from_bytes(tenant)), kind, key: Uuid::from_bytes(key) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(number: u8) -> StreamId {
        StreamId { tenant: TenantId(Uuid::nil()), kind: StreamKind::Order, key: Uuid::from_u128(u128::from(number)) }
    }

    #[test]
    fn a_name_is_not_taken_for_another_of_its_slot() {
        let mut names = StreamNames::new(4);
        names.put(2, stream(2));
        assert_eq!((names.get(2), names.get(6)), (Some(stream(2)), None));
        names.put(6, stream(6));
        assert_eq!((names.get(2), names.get(6)), (None, Some(stream(6))));
    }

    proptest! {
        #[test]
        fn the_cache_forgets_what_was_not_used_for_longest(
            steps in prop::collection::vec((0u8..12, any::<bool>()), 0..200), capacity in 1usize..6,
        ) {
            let mut cache = StreamCache::new(capacity);
            // The plainest model: a list, the newest last.
            let mut model: Vec<(u8, StreamRow)> = vec![];
            for (step, (number, put)) in steps.into_iter().enumerate() {
                let found = model.iter().position(|(known, _)| *known == number).map(|at| model.remove(at));
                let row = StreamRow { id: i64::from(number), version: step as Version };
                if put {
                    cache.put(stream(number), row);
                    model.push((number, row));
                    if model.len() > capacity {
                        model.remove(0);
                    }
                } else {
                    prop_assert_eq!(cache.get(&stream(number)), found.map(|(_, row)| row));
                    model.extend(found);
                }
                prop_assert_eq!(cache.slots.len(), model.len());
            }
        }
    }
}
