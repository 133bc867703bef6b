//! The contract of logs that are copied, sealed and taken over.

use uuid::Uuid;

use super::{all, append_of, at, head, odd_batch, of, put, stream, versions};
use crate::{Append, Appended, EventRow, EventStore, LogIdentity, LogState, Position, Snapshot, StoreError};

async fn state(store: &impl EventStore) -> LogState {
    store.state().await.expect("the state can be read")
}

/// Panics unless it was refused for that reason.
fn is_unusable<T>(outcome: Result<T, StoreError>, why: &str) {
    match outcome {
        Err(StoreError::Unusable(reason)) => assert!(reason.contains(why), "refused, but not for {why:?}: {reason}"),
        Err(other) => panic!("refused in another way: {other:?}"),
        Ok(_) => panic!("not refused, for {why:?}"),
    }
}

pub(super) async fn what_is_not_open_takes_no_appends(store: &impl EventStore) {
    let a = stream(1, 1);
    assert_eq!(state(store).await, LogState::Open);
    let snapshot = Some(Snapshot { version: 2, state_version: 1, state: b"2".to_vec() });
    put(store, vec![Append { snapshot: snapshot.clone(), ..append_of(a, 0, 2) }], 1).await;
    let before = all(store).await;
    for closed in [LogState::Sealed, LogState::Copy, LogState::Complete] {
        store.set_state(closed).await.expect("a state is set");
        assert_eq!(state(store).await, closed);
        let word = if closed == LogState::Sealed { "sealed" } else { "copy" };
        for batch in [vec![append_of(a, 2, 1)], vec![append_of(a, 2, 0)], vec![append_of(a, 0, 1)]] {
            is_unusable(store.append(batch, at(2)).await, word);
        }
        assert_eq!((all(store).await, of(store, a).await, head(store).await), (before.clone(), before.clone(), 2));
        assert_eq!(store.read_snapshot(a).await.expect("a read"), snapshot);
        assert_eq!(versions(store, &[a]).await, [2]);
    }
    store.set_state(LogState::Open).await.expect("a state is set");
    assert_eq!(put(store, vec![append_of(a, 2, 1)], 3).await.first, 3);
}

/// Puts the odd events and some plain ones, in several appends, and gives back all rows.
async fn history(store: &impl EventStore) -> Vec<EventRow> {
    put(store, odd_batch(), 50).await;
    put(store, vec![append_of(stream(1, 7), 0, 2), append_of(stream(1, 1), 4, 1)], 40).await;
    put(store, vec![append_of(stream(2, 7), 0, 2), append_of(stream(1, 7), 2, 3)], 60).await;
    all(store).await
}

pub(super) async fn an_import_gives_the_same_rows(origin: &impl EventStore, copy: &impl EventStore) {
    let rows = history(origin).await;
    let (log, before) = (origin.identity().log, copy.identity());
    let mut shown = copy.subscribe();
    for part in rows.chunks(4) {
        copy.import(log, part.to_vec()).await.expect("the events follow");
        let last = part.last().expect("a chunk is not empty").position;
        assert_eq!((head(copy).await, state(copy).await), (last, LogState::Copy));
        assert_eq!(copy.identity(), LogIdentity { log, ..before }, "the incarnation stays, the log is the origin's");
    }
    assert_eq!(all(copy).await, rows);
    assert_eq!(*shown.borrow_and_update(), rows.len() as Position);
    for stream in [stream(1, 1), stream(1, 7), stream(2, 7), stream(9, 9)] {
        assert_eq!(of(copy, stream).await, of(origin, stream).await);
        assert_eq!(versions(copy, &[stream]).await, versions(origin, &[stream]).await);
        assert_eq!(copy.read_snapshot(stream).await.expect("a read"), None);
    }
    is_unusable(copy.append(vec![append_of(stream(5, 5), 0, 1)], at(99)).await, "copy");
    // Nothing more is nothing wrong.
    copy.import(log, vec![]).await.expect("an empty import");
    assert_eq!(all(copy).await, rows);
}

pub(super) async fn an_import_that_does_not_follow_writes_nothing(origin: &impl EventStore, copy: &impl EventStore) {
    let rows = history(origin).await;
    let log = origin.identity().log;
    let (own, stranger) = (copy.identity(), Uuid::from_u128(404));
    let broken = |at: usize, change: fn(&mut EventRow)| {
        let mut rows = rows.clone();
        change(&mut rows[at]);
        rows
    };
    let refused = [
        (rows[1..].to_vec(), "the next one is 1"),
        (broken(3, |row| row.position += 1), "the next one is 4"),
        (broken(5, |row| row.version += 1), "which is at"),
        (broken(4, |row| row.version -= 1), "which is at"),
        (broken(9, |row| row.recorded_at = at(49)), "recorded before"),
    ];
    for (rows, why) in refused {
        is_unusable(copy.import(log, rows).await, why);
        assert_eq!((all(copy).await, head(copy).await, state(copy).await), (vec![], 0, LogState::Open));
        assert_eq!(copy.identity(), own);
    }
    copy.import(log, rows[..6].to_vec()).await.expect("the events follow");
    let refused = [
        (log, rows[..6].to_vec(), "the next one is 7"),
        (log, rows[7..].to_vec(), "the next one is 7"),
        (log, broken(6, |row| row.version = 1)[6..].to_vec(), "which is at"),
        (log, broken(6, |row| row.recorded_at = at(1))[6..].to_vec(), "recorded before"),
        (stranger, rows[6..].to_vec(), "unfinished copy of the same log"),
    ];
    for (log, rows, why) in refused {
        let before = all(copy).await;
        is_unusable(copy.import(log, rows).await, why);
        assert_eq!((all(copy).await, copy.identity().log), (before, origin.identity().log));
    }
    copy.import(log, rows[6..].to_vec()).await.expect("the events follow");
    assert_eq!(all(copy).await, rows);
    // A log with events of its own takes none of another.
    is_unusable(origin.import(stranger, vec![]).await, "empty log");
    assert_eq!((all(origin).await, origin.identity().log, state(origin).await), (rows, log, LogState::Open));
}

pub(super) async fn a_copy_is_taken_over(origin: &impl EventStore, copy: &impl EventStore) {
    let rows = history(origin).await;
    let log = origin.identity().log;
    copy.import(log, rows.clone()).await.expect("the events follow");
    copy.set_state(LogState::Complete).await.expect("a state is set");
    is_unusable(copy.import(log, vec![]).await, "unfinished copy");
    copy.set_state(LogState::Open).await.expect("a state is set");
    is_unusable(copy.import(log, vec![]).await, "unfinished copy");
    // It goes on where the origin ended.
    let next = rows.len() as Position + 1;
    let refused = copy.append(vec![append_of(stream(1, 7), 4, 1)], at(70)).await;
    assert!(matches!(&refused, Err(StoreError::Conflict(moved)) if moved[0].actual == 5), "{refused:?}");
    let appended = put(copy, vec![append_of(stream(1, 7), 5, 1), append_of(stream(3, 1), 0, 1)], 55).await;
    assert_eq!(appended, Appended { first: next, recorded_at: at(60) });
    let odd = &rows[1].event_type;
    assert!(all(copy).await.iter().filter(|row| row.event_type == *odd).count() > 1, "a known type is found again");
}
