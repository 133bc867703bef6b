//! What never changes in a log, as far as it was met: the names of streams and of types of events.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{StreamId, StreamKind, TenantId};
use rustc_hash::FxHashMap;
use sqlx::error::BoxDynError;
use uuid::Uuid;

use super::copied::{Copied, fixed};

/// Streams that are remembered: about 6 MB.
const STREAMS: usize = 1 << 17;

/// The name of type n. A log has a few dozen.
pub(super) type TypeNames = FxHashMap<i16, Arc<str>>;
/// The name of a stream, or the number of its kind, which this program does not know.
pub(super) type StreamName = Result<StreamId, i16>;

/// What was learnt from one server.
#[derive(Default)]
pub(super) struct Known {
    types: Mutex<Arc<TypeNames>>,
    streams: Mutex<Names>,
}

impl Known {
    pub(super) fn types(&self) -> MutexGuard<'_, Arc<TypeNames>> {
        self.types.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn streams(&self) -> MutexGuard<'_, Names> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names of streams by their number: one slot a number, the newest stays.
#[derive(Default)]
pub(super) struct Names(Vec<Option<(i64, StreamId)>>);

impl Names {
    #[inline]
    pub(super) fn get(&self, id: i64) -> Option<StreamId> {
        let slot = self.0.get(id as usize & self.0.len().wrapping_sub(1))?;
        slot.filter(|(known, _)| *known == id).map(|(_, stream)| stream)
    }

    fn put(&mut self, id: i64, stream: StreamId) {
        // Numbers are dense, so a small log needs few slots. While each number has its own, growing moves none.
        let wanted = ((id as usize).min(STREAMS - 1) + 1).next_power_of_two();
        if self.0.len() < wanted {
            self.0.resize(wanted, None);
        }
        let slot = id as usize & (self.0.len() - 1);
        self.0[slot] = Some((id, stream));
    }
}

impl Extend<(i64, StreamId)> for Names {
    fn extend<T: IntoIterator<Item = (i64, StreamId)>>(&mut self, names: T) {
        names.into_iter().for_each(|(id, stream)| self.put(id, stream));
    }
}

/// The query for the names of streams, of which some may stand there more than once. New streams have
/// numbers that follow on one another, and a range costs less than its numbers one by one.
pub(super) fn select_names(ids: &mut Vec<i64>) -> String {
    ids.sort_unstable();
    ids.dedup();
    let list = |ends: Vec<i64>| ends.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
    let ranges = || ids.chunk_by(|one, next| *one + 1 == *next);
    let lows = list(ranges().filter_map(|range| range.first().copied()).collect());
    let highs = list(ranges().filter_map(|range| range.last().copied()).collect());
    // OFFSET keeps the two apart: whatever the server believes of the table, it looks each range up.
    format!(
        "SELECT s.* FROM unnest('{{{lows}}}'::bigint[], '{{{highs}}}'::bigint[]) AS r (low, high), \
         LATERAL (SELECT id, key, kind, tenant FROM tiffin_log.streams WHERE id BETWEEN low AND high OFFSET 0) AS s"
    )
}

/// The answer to [`select_names`].
pub(super) fn read_names(copied: &[u8]) -> Result<FxHashMap<i64, StreamName>, BoxDynError> {
    let (mut copied, mut names) = (Copied::new(copied)?, FxHashMap::default());
    while let Some([id, key, kind, tenant]) = copied.row()? {
        let kind = i16::from_be_bytes(fixed(kind)?);
        let known = u8::try_from(kind).ok().and_then(|kind| StreamKind::try_from(kind).ok());
        let (key, tenant) = (Uuid::from_bytes(fixed(key)?), TenantId(Uuid::from_bytes(fixed(tenant)?)));
        let name = known.map(|kind| StreamId { tenant, kind, key }).ok_or(kind);
        names.insert(i64::from_be_bytes(fixed(id)?), name);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(number: u128) -> StreamId {
        StreamId { tenant: TenantId(Uuid::nil()), kind: StreamKind::Order, key: Uuid::from_u128(number) }
    }

    #[test]
    fn a_name_is_not_taken_for_another_of_its_slot() {
        let mut names = Names::default();
        assert_eq!(names.get(0), None);
        let known = |names: &Names, ids: &[i64]| ids.iter().map(|id| names.get(*id)).collect::<Vec<_>>();
        let far = 2 + STREAMS as i64;
        // It grows in between, and what it had stays where it is found.
        names.extend([(2, stream(2)), (3, stream(3)), (900, stream(900))]);
        assert_eq!(
            known(&names, &[2, 3, 900, 4, far]),
            [Some(stream(2)), Some(stream(3)), Some(stream(900)), None, None]
        );
        names.extend([(far, stream(7))]);
        assert_eq!(known(&names, &[2, 3, 900, far]), [None, Some(stream(3)), Some(stream(900)), Some(stream(7))]);
        names.extend([(i64::MAX, stream(8)), (i64::MIN, stream(9)), (-1, stream(10))]);
        assert_eq!(names.0.len(), STREAMS);
        assert_eq!(known(&names, &[i64::MAX, i64::MIN, -1]), [None, Some(stream(9)), Some(stream(10))]);
    }

    #[test]
    fn streams_are_asked_for_in_ranges() {
        let select = select_names(&mut vec![7, 3, 1, 2, 9, 2, 8, -4]);
        assert!(select.contains("unnest('{-4,1,7}'::bigint[], '{-4,3,9}'::bigint[])"), "{select}");
    }
}
