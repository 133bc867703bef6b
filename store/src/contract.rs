//! What every adapter of the log must do. Each adapter's tests call [`contract`].
#![expect(clippy::expect_used, reason = "a test, which is here so that adapters elsewhere can run it")]

mod copies;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use domain::{ActorId, CommandId, StreamId, StreamKind, TenantId, Timestamp};
use uuid::Uuid;

use crate::{
    Append, Appended, EventRow, EventStore, Metadata, Moved, NewEvent, Position, Snapshot, StoreError, Version,
};

/// Runs the whole contract; `make` gives a new, empty log each time. Needs a tokio runtime of
/// several threads.
///
/// # Panics
/// When the adapter breaks it.
pub async fn contract<S: EventStore>(make: impl AsyncFn() -> Arc<S>) {
    gives_back_what_was_written(&*make().await).await;
    numbers_without_gaps(&*make().await).await;
    a_conflict_leaves_nothing(&*make().await).await;
    an_empty_batch_writes_nothing(&*make().await).await;
    keeps_tenants_and_kinds_apart(&*make().await).await;
    snapshots_come_with_their_batch(&*make().await).await;
    reads_from_and_to(&*make().await).await;
    shows_its_head(&*make().await).await;
    recorded_at_never_decreases(&*make().await).await;
    has_an_identity(&*make().await, &*make().await);
    knows_the_versions(&*make().await).await;
    a_session_outlives_a_conflict(make().await).await;
    copies::what_is_not_open_takes_no_appends(&*make().await).await;
    copies::an_import_gives_the_same_rows(&*make().await, &*make().await).await;
    copies::an_import_that_does_not_follow_writes_nothing(&*make().await, &*make().await).await;
    copies::a_copy_is_taken_over(&*make().await, &*make().await).await;
    concurrent_appends_take_their_turn(make().await).await;
    readers_never_see_a_gap(make().await).await;
}

/// A stream of an order of the tenant `tenant`.
pub fn stream(tenant: u128, key: u128) -> StreamId {
    StreamId { tenant: TenantId(Uuid::from_u128(tenant)), kind: StreamKind::Order, key: Uuid::from_u128(key) }
}

/// `count` events after `expected`, of a command that only says who it is.
pub fn append_of(stream: StreamId, expected: Version, count: usize) -> Append {
    let event = |number| NewEvent {
        name: "Confirmed",
        schema_version: 1,
        payload: format!("\"Confirmed {number}\"").into_bytes(),
    };
    Append {
        stream,
        expected,
        events: (0..count).map(event).collect(),
        metadata: Metadata {
            command: CommandId(Uuid::from_u128(7)),
            digest: None,
            actor: ActorId(Uuid::from_u128(8)),
            correlation: stream.key,
            causation: None,
            trace: None,
        },
        occurred_at: Timestamp::from_seconds(1_000),
        snapshot: None,
    }
}

/// The rows that an append becomes, by the rules of the log.
pub fn rows_of(append: &Append, first: Position, recorded_at: Timestamp) -> Vec<EventRow> {
    let row = |(number, event): (u64, &NewEvent)| EventRow {
        position: first + number,
        stream: append.stream,
        version: append.expected + 1 + number,
        event_type: format!("{}.{}", append.stream.kind.aggregate(), event.name).into(),
        schema_version: event.schema_version,
        payload: event.payload.clone(),
        metadata: append.metadata,
        occurred_at: append.occurred_at,
        recorded_at,
    };
    (0..).zip(&append.events).map(row).collect()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

async fn put(store: &impl EventStore, batch: Vec<Append>, now: i64) -> Appended {
    store.append(batch, at(now)).await.expect("the batch fits")
}

async fn all(store: &impl EventStore) -> Vec<EventRow> {
    store.read_all(1, usize::MAX).await.expect("the log can be read")
}

async fn of(store: &impl EventStore, stream: StreamId) -> Vec<EventRow> {
    store.read_stream(stream, 1, usize::MAX).await.expect("the stream can be read")
}

async fn head(store: &impl EventStore) -> Position {
    store.head().await.expect("the head can be read")
}

async fn versions(store: &impl EventStore, streams: &[StreamId]) -> Vec<Version> {
    store.versions(streams).await.expect("the versions can be read")
}

async fn gives_back_what_was_written(store: &impl EventStore) {
    let batch = odd_batch();
    let (order, wallet) = (batch[0].stream, batch[1].stream);
    let appended = put(store, batch.clone(), 50).await;
    assert_eq!(appended, Appended { first: 1, recorded_at: at(50) });
    let expected =
        [rows_of(&batch[0], 1, at(50)), rows_of(&batch[1], 4, at(50)), rows_of(&batch[2], 5, at(50))].concat();
    assert_eq!(all(store).await, expected);
    assert_eq!(of(store, order).await, [&expected[..3], &expected[4..]].concat());
    assert_eq!(of(store, wallet).await, expected[3..4]);
    assert_eq!(expected[3].event_type.as_ref(), "account.Confirmed");
}

/// Three appends of five events, which have everything that an event can have.
fn odd_batch() -> Vec<Append> {
    let (order, wallet) = (stream(1, 1), StreamId { kind: StreamKind::Wallet, ..stream(1, 1) });
    let full = Metadata {
        command: CommandId(Uuid::from_u128(u128::MAX)),
        digest: Some([0; 16]),
        actor: ActorId(Uuid::nil()),
        correlation: Uuid::from_u128(99),
        causation: Some(CommandId(Uuid::nil())),
        trace: Some([255; 16]),
    };
    let event =
        |name, schema_version, payload: &str| NewEvent { name, schema_version, payload: payload.as_bytes().to_vec() };
    vec![
        Append {
            // Bytes are kept as they are: spaces, order of keys, escapes, other scripts.
            events: vec![
                event("Placed", 1, "{ \"b\" : 1,\n \"a\": \"宫保鸡丁 \\u00e9 \\\"\" }"),
                event("Confirmed", 65_535, "\"Confirmed\""),
                event("Readied", 2, &format!("{{\"code\":\"{}\"}}", "x".repeat(100_000))),
            ],
            metadata: full,
            occurred_at: Timestamp::from_micros(-1),
            ..append_of(order, 0, 0)
        },
        append_of(wallet, 0, 1),
        Append {
            metadata: Metadata { correlation: Uuid::nil(), ..append_of(order, 3, 1).metadata },
            occurred_at: Timestamp::from_micros(i64::MAX),
            ..append_of(order, 3, 1)
        },
    ]
}

async fn numbers_without_gaps(store: &impl EventStore) {
    let (a, b) = (stream(1, 1), stream(1, 2));
    let first = put(store, vec![append_of(a, 0, 2), append_of(b, 0, 1), append_of(a, 2, 3), append_of(b, 1, 1)], 1);
    assert_eq!(first.await.first, 1);
    assert_eq!(put(store, vec![append_of(a, 5, 1)], 1).await.first, 8);
    let events = all(store).await;
    assert_eq!(events.iter().map(|event| event.position).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
    for (stream, positions) in [(a, vec![1, 2, 4, 5, 6, 8]), (b, vec![3, 7])] {
        let events = of(store, stream).await;
        assert_eq!(events.iter().map(|event| event.position).collect::<Vec<_>>(), positions);
        assert!(events.iter().map(|event| event.version).eq(1..=positions.len() as Version));
    }
}

async fn a_conflict_leaves_nothing(store: &impl EventStore) {
    let (a, b, c) = (stream(1, 1), stream(1, 2), stream(1, 3));
    put(store, vec![append_of(a, 0, 2)], 1).await;
    let before = all(store).await;
    let conflicts = [
        (vec![append_of(b, 0, 1), append_of(a, 1, 1)], a, 1, 2),
        (vec![append_of(a, 3, 1)], a, 3, 2),
        (vec![append_of(a, 0, 1)], a, 0, 2),
        (vec![append_of(c, 1, 1)], c, 1, 0),
        // Within a batch an append follows on those before it.
        (vec![append_of(b, 0, 2), append_of(b, 0, 1)], b, 0, 2),
        // One that writes nothing is checked as well.
        (vec![append_of(b, 0, 1), append_of(a, 1, 0)], a, 1, 2),
    ];
    for (batch, on, expects, is) in conflicts {
        let refused = store.append(batch, at(2)).await.expect_err("the batch does not fit");
        match refused {
            StoreError::Conflict(moved) => {
                assert_eq!(moved, [Moved { stream: on, expected: expects, actual: is }]);
            }
            other => panic!("not a conflict: {other}"),
        }
        assert_eq!(all(store).await, before);
        assert_eq!(of(store, b).await, []);
        assert_eq!(head(store).await, 2);
    }
    assert_eq!(put(store, vec![append_of(b, 0, 1), append_of(a, 2, 1)], 3).await.first, 3);
}

async fn an_empty_batch_writes_nothing(store: &impl EventStore) {
    assert_eq!(put(store, vec![], 5).await.first, 1);
    assert_eq!(put(store, vec![append_of(stream(1, 1), 0, 0)], 5).await.first, 1);
    assert_eq!((head(store).await, all(store).await), (0, vec![]));
    assert_eq!(of(store, stream(1, 1)).await, []);
    // Nothing was recorded, so an earlier time is still right.
    assert_eq!(put(store, vec![append_of(stream(1, 1), 0, 1)], 4).await, Appended { first: 1, recorded_at: at(4) });
    assert_eq!(put(store, vec![], 3).await, Appended { first: 2, recorded_at: at(4) });
}

async fn keeps_tenants_and_kinds_apart(store: &impl EventStore) {
    let one = stream(1, 5);
    let others = [
        stream(2, 5),
        stream(5, 1),
        StreamId { kind: StreamKind::Payment, ..one },
        StreamId { kind: StreamKind::Wallet, ..one },
    ];
    put(store, vec![append_of(one, 0, 3)], 1).await;
    for other in others {
        assert_eq!(of(store, other).await, []);
        put(store, vec![append_of(other, 0, 1)], 1).await;
        assert!(of(store, other).await.iter().map(|event| event.stream).eq([other]));
    }
    assert_eq!(of(store, one).await.len(), 3);
}

async fn snapshots_come_with_their_batch(store: &impl EventStore) {
    let (a, b) = (stream(1, 1), stream(1, 2));
    let snapshot =
        |version, state: &str| Some(Snapshot { version, state_version: 9, state: state.as_bytes().to_vec() });
    assert_eq!(store.read_snapshot(a).await.expect("a read"), None);
    put(store, vec![Append { snapshot: snapshot(2, "{\"é\": 1}"), ..append_of(a, 0, 2) }, append_of(a, 2, 1)], 1).await;
    assert_eq!(store.read_snapshot(a).await.expect("a read"), snapshot(2, "{\"é\": 1}"));
    let failing = vec![
        Append { snapshot: snapshot(4, "4"), ..append_of(a, 3, 1) },
        Append { snapshot: snapshot(1, "1"), ..append_of(b, 0, 1) },
        append_of(a, 3, 1),
    ];
    assert!(store.append(failing, at(1)).await.is_err());
    assert_eq!(store.read_snapshot(a).await.expect("a read"), snapshot(2, "{\"é\": 1}"));
    assert_eq!(store.read_snapshot(b).await.expect("a read"), None);
    put(store, vec![Append { snapshot: snapshot(4, "four"), ..append_of(a, 3, 1) }], 1).await;
    // Without events too: for a stream whose snapshot has become too old.
    put(store, vec![Append { snapshot: snapshot(4, "4"), ..append_of(a, 4, 0) }], 1).await;
    assert_eq!(store.read_snapshot(a).await.expect("a read"), snapshot(4, "4"));
    assert_eq!(store.read_snapshot(stream(2, 1)).await.expect("a read"), None);
    assert_eq!(head(store).await, 4);
}

async fn reads_from_and_to(store: &impl EventStore) {
    let a = stream(1, 1);
    for batch in 0..4 {
        put(store, vec![append_of(a, batch * 3, 3), append_of(stream(1, 10 + u128::from(batch)), 0, 1)], 1).await;
    }
    let (events, versions) = (all(store).await, of(store, a).await);
    assert_eq!((events.len(), versions.len()), (16, 12));
    for from in [0, 1, 2, 7, 12, 13, 16, 17, 100, u64::MAX] {
        for limit in [0, 1, 5, 100] {
            let expected: Vec<_> = events.iter().filter(|event| event.position >= from).take(limit).cloned().collect();
            assert_eq!(store.read_all(from, limit).await.expect("a read"), expected, "from {from} to {limit}");
            let expected: Vec<_> = versions.iter().filter(|event| event.version >= from).take(limit).cloned().collect();
            assert_eq!(store.read_stream(a, from, limit).await.expect("a read"), expected, "from {from} to {limit}");
        }
    }
}

async fn shows_its_head(store: &impl EventStore) {
    let mut shown = store.subscribe();
    assert_eq!((*shown.borrow_and_update(), head(store).await), (0, 0));
    put(store, vec![append_of(stream(1, 1), 0, 3)], 1).await;
    let moved = tokio::time::timeout(Duration::from_secs(30), shown.wait_for(|head| *head == 3)).await;
    moved.expect("the head is shown").expect("the store is there");
    assert_eq!(head(store).await, 3);
    assert_eq!(*store.subscribe().borrow(), 3);
}

async fn recorded_at_never_decreases(store: &impl EventStore) {
    let mut recorded = vec![];
    for (version, now) in [(0, 100), (1, 50), (2, 100), (3, 101), (4, -5)] {
        recorded.push(put(store, vec![append_of(stream(1, 1), version, 1)], now).await.recorded_at);
    }
    assert_eq!(recorded, [100, 100, 100, 101, 101].map(at));
    assert!(all(store).await.iter().map(|event| event.recorded_at).eq(recorded));
}

fn has_an_identity(one: &impl EventStore, other: &impl EventStore) {
    assert_eq!(one.identity(), one.identity());
    assert_ne!(one.identity().log, other.identity().log);
    assert_ne!(one.identity().incarnation, other.identity().incarnation);
}

async fn knows_the_versions(store: &impl EventStore) {
    let (a, b, c) = (stream(1, 1), stream(1, 2), stream(2, 1));
    let asked = [c, a, b, a, StreamId { kind: StreamKind::Wallet, ..a }];
    assert_eq!(versions(store, &asked).await, [0; 5]);
    assert_eq!(versions(store, &[]).await, [0; 0]);
    put(store, vec![append_of(a, 0, 3), append_of(b, 0, 1)], 1).await;
    assert_eq!(versions(store, &asked).await, [0, 3, 1, 3, 0]);
    put(store, vec![append_of(b, 1, 1), append_of(c, 0, 1)], 1).await;
    assert_eq!(versions(store, &asked).await, [1, 3, 2, 3, 0]);
    assert!(store.append(vec![append_of(a, 3, 2), append_of(b, 0, 1)], at(1)).await.is_err());
    assert_eq!(versions(store, &asked).await, [1, 3, 2, 3, 0]);
}

async fn a_session_outlives_a_conflict<S: EventStore>(store: Arc<S>) {
    let (a, b) = (stream(1, 1), stream(1, 2));
    put(&*store, vec![append_of(a, 0, 1)], 1).await;
    let mut session = store.session().await.expect("a session");
    // Whoever else appends waits for its end, if anybody else there can be.
    let other = {
        let store = store.clone();
        tokio::spawn(async move { put(&*store, vec![append_of(b, 0, 1)], 1).await })
    };
    let refused = session.append(vec![append_of(a, 0, 1)], at(2)).await;
    assert!(matches!(&refused, Err(StoreError::Conflict(moved)) if moved[0].actual == 1), "{refused:?}");
    let shared = store.is_shared();
    if shared {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(head(&*store).await, 1, "another appended while a session held the head");
    }
    let appended = session.append(vec![append_of(a, 1, 1)], at(2)).await.expect("the session goes on");
    drop(session);
    let other = other.await.expect("the other ends well");
    let mut places = [appended.first, other.first];
    assert!(!shared || places == [2, 3], "the session did not go first: {places:?}");
    places.sort_unstable();
    assert_eq!(places, [2, 3]);
    // One that appends nothing leaves the head to others.
    drop(store.session().await.expect("a session"));
    assert_eq!(put(&*store, vec![append_of(a, 2, 1)], 3).await.first, 4);
}

/// Sixteen tasks append to two streams of their own and fight over a shared one.
async fn concurrent_appends_take_their_turn<S: EventStore>(store: Arc<S>) {
    let shared = stream(1, 0);
    let tasks = (1..=16u128).map(|task| {
        let store = store.clone();
        tokio::spawn(async move {
            let (mut acknowledged, mut version) = (vec![], 0);
            for round in 0..20 {
                let own = put(&*store, vec![append_of(stream(1, task), round, 1)], 1).await;
                acknowledged.push((own.first, stream(1, task), round + 1));
                let both = vec![append_of(stream(2, task), 0, 0), append_of(shared, version, 1)];
                match store.append(both, at(1)).await {
                    Ok(won) => {
                        version += 1;
                        acknowledged.push((won.first, shared, version));
                    }
                    Err(StoreError::Conflict(moved)) => version = moved[0].actual,
                    Err(other) => panic!("neither written nor refused: {other}"),
                }
            }
            acknowledged
        })
    });
    let mut acknowledged = HashMap::new();
    for task in tasks.collect::<Vec<_>>() {
        for (position, stream, version) in task.await.expect("the task ends well") {
            assert_eq!(acknowledged.insert(position, (stream, version)), None, "position {position} was given twice");
        }
    }
    let events = all(&*store).await;
    assert!(events.iter().map(|event| event.position).eq(1..=events.len() as Position));
    let found: HashMap<_, _> = events.iter().map(|event| (event.position, (event.stream, event.version))).collect();
    assert_eq!(found, acknowledged);
}

/// What a reader has seen of the log and of a stream is always a whole beginning of it.
async fn readers_never_see_a_gap<S: EventStore>(store: Arc<S>) {
    let a = stream(1, 1);
    let done = Arc::new(AtomicBool::new(false));
    let readers = (0..3).map(|_| {
        let (store, done) = (store.clone(), done.clone());
        tokio::spawn(async move {
            let mut next = 1;
            loop {
                let last_round = done.load(Ordering::SeqCst);
                let head = head(&*store).await;
                let events = store.read_all(next, 7).await.expect("a read");
                assert!(events.iter().map(|event| event.position).eq(next..next + events.len() as Position));
                // A head that was shown can be read.
                assert!(events.len() == 7 || next + events.len() as Position > head);
                next += events.len() as Position;
                let versions = of(&*store, a).await;
                assert!(versions.iter().map(|event| event.version).eq(1..=versions.len() as Version));
                // Batches of this test have two events in the stream: none is ever seen half.
                assert_eq!(versions.len() % 2, 0);
                if last_round && events.is_empty() {
                    return next - 1;
                }
                tokio::task::yield_now().await;
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    for batch in 0..100u64 {
        let others = (0..3).map(|n| append_of(stream(1, 100 + u128::from(batch * 3 + n)), 0, 1));
        let appended = put(&*store, others.chain([append_of(a, batch * 2, 2)]).collect(), 1).await;
        // Whoever was answered reads what was written.
        assert_eq!(store.read_all(appended.first, 10).await.expect("a read").len(), 5);
    }
    done.store(true, Ordering::SeqCst);
    for reader in readers {
        assert_eq!(reader.await.expect("the reader ends well"), 500);
    }
}
