//! Several processes on one log, each with connections of its own.

use std::collections::HashMap;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_start_at_once_make_one_log() {
    let url = Postgres::shared().database();
    let starts: Vec<_> = (0..6)
        .map(|_| {
            tokio::spawn({
                let url = url.clone();
                async move { open(&url).await.identity() }
            })
        })
        .collect();
    let mut identities = vec![];
    for start in starts {
        identities.push(start.await.unwrap());
    }
    identities.dedup();
    assert_eq!(identities, [open(&url).await.identity()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_take_their_turn() {
    const NAMES: [&str; 4] = ["Placed", "Readied", "Expired", "Refused"];
    let url = Postgres::shared().database();
    let shared = stream(1, 0);
    let mut tasks = vec![];
    for node in 0..3u128 {
        let log = Arc::new(open(&url).await);
        for task in 0..3u128 {
            let log = log.clone();
            tasks.push(tokio::spawn(async move {
                let (own, mut version, mut acknowledged) = (stream(1, 1 + node * 10 + task), 0, vec![]);
                for round in 0..20 {
                    // All of them meet the same names for the first time.
                    let mut appends = vec![append_of(own, round, 1), append_of(shared, version, 1)];
                    appends[0].events[0].name = NAMES[round as usize / 5];
                    loop {
                        match log.append(appends.clone(), at(1)).await {
                            Ok(appended) => break acknowledged.push((appended.first, own, round + 1)),
                            Err(StoreError::Conflict(moved)) => {
                                assert_eq!((moved.len(), moved[0].stream), (1, shared));
                                appends[1].expected = moved[0].actual;
                            }
                            Err(other) => panic!("neither written nor refused: {other}"),
                        }
                    }
                    version = appends[1].expected + 1;
                }
                acknowledged
            }));
        }
    }
    let mut acknowledged = HashMap::new();
    for task in tasks {
        for (position, stream, version) in task.await.unwrap() {
            assert_eq!(acknowledged.insert(position, (stream, version)), None, "position {position} was given twice");
        }
    }
    let rows = open(&url).await.read_all(1, 1000).await.unwrap();
    assert!(rows.iter().map(|row| row.position).eq(1..=360));
    let (hot, own): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.stream == shared);
    assert!(hot.iter().map(|row| row.version).eq(1..=180));
    let found: HashMap<_, _> = own.iter().map(|row| (row.position, (row.stream, row.version))).collect();
    assert_eq!(found, acknowledged);
    assert_eq!(own.iter().filter(|row| row.event_type.as_ref() == "order.Refused").count(), 45);
}

async fn shows(shown: &mut watch::Receiver<Position>, position: Position) {
    let moved = timeout(Duration::from_secs(30), shown.wait_for(|head| *head == position)).await;
    moved.expect("the head is shown").unwrap();
}

/// Each of the two ways by which a node learns of others, alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_sees_what_others_append() {
    let url = Postgres::shared().database();
    let log = open(&url).await;
    let place = Place::new(&url, false).unwrap();
    let (told, polled) = (watch::Sender::new(0), watch::Sender::new(0));
    let listening = tokio::spawn(follow::listen(place.clone(), told.clone()));
    let readers = Arc::new(Readers::new(place.clone(), connection(&url).await).await.unwrap());
    let polling = tokio::spawn(follow::poll(readers, polled.clone()));
    // A listener hears only what comes after it, so something comes until it does.
    let mut version = 0;
    let deadline = Instant::now() + Duration::from_secs(30);
    while *told.borrow() == 0 {
        assert!(Instant::now() < deadline, "nothing was announced");
        log.append(vec![append_of(stream(1, 1), version, 1)], at(1)).await.unwrap();
        version += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shows(&mut told.subscribe(), version).await;
    shows(&mut polled.subscribe(), version).await;
    listening.abort();
    polling.abort();
    // And together, in another node and in one that only reads.
    let (other, reader) = (open(&url).await, PostgresLog::connect_read_only(&url).await.unwrap());
    log.append(vec![append_of(stream(1, 1), version, 2)], at(1)).await.unwrap();
    shows(&mut other.subscribe(), version + 2).await;
    shows(&mut reader.subscribe(), version + 2).await;
    // An older announcement does not bring it back.
    show(&other.shown, 1);
    assert_eq!(*other.subscribe().borrow(), version + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_stops_with_the_lock_loses_it_in_a_second() {
    let url = Postgres::shared().database();
    let database = url.rsplit('/').next().unwrap();
    let as_in_service = format!("ALTER DATABASE {database} SET idle_in_transaction_session_timeout = 1000");
    Postgres::shared().psql(&url, &as_in_service);
    let (stopped, other) = (open(&url).await, open(&url).await);
    let begin = Instant::now();
    let mut session = stopped.session().await.unwrap();
    other.append(vec![append_of(stream(1, 1), 0, 1)], at(1)).await.unwrap();
    let waited = begin.elapsed();
    assert!((Duration::from_millis(500)..Duration::from_secs(15)).contains(&waited), "{waited:?}");
    // What the stopped one wants to write after that is not written, and it can begin again.
    let late = session.append(vec![append_of(stream(1, 2), 0, 1)], at(1)).await;
    assert!(matches!(late, Err(StoreError::Unavailable(_))), "{late:?}");
    drop(session);
    assert_eq!(stopped.append(vec![append_of(stream(1, 2), 0, 1)], at(1)).await.unwrap().first, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_dropped_gives_the_lock_back_at_once() {
    let url = Postgres::shared().database();
    let (log, other) = (open(&url).await, open(&url).await);
    let mut waited = Vec::new();
    for version in 0..5 {
        drop(log.session().await.unwrap());
        let begin = Instant::now();
        other.append(vec![append_of(stream(1, 1), version, 1)], at(1)).await.unwrap();
        waited.push(begin.elapsed());
    }
    // The machine may be busy with something else in most of them.
    assert!(waited.iter().min() < Some(&Duration::from_millis(500)), "{waited:?}");
    // After a success there is no session any more.
    let mut session = log.session().await.unwrap();
    session.append(vec![append_of(stream(1, 2), 0, 1)], at(1)).await.unwrap();
    let again = session.append(vec![append_of(stream(1, 2), 1, 1)], at(1)).await;
    assert!(matches!(again, Err(StoreError::Unavailable(_))), "{again:?}");
    other.append(vec![append_of(stream(1, 2), 1, 1)], at(1)).await.unwrap();
}

/// Somebody holds the lock and is busy: whoever waits is told in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_the_lock_ends() {
    let url = Postgres::shared().database();
    let log = open(&url).await;
    let mut busy = connection(&url).await;
    raw_sql("BEGIN; SELECT 1 FROM tiffin_log.head FOR UPDATE").execute(&mut busy).await.unwrap();
    let holding = tokio::spawn(async move { raw_sql("SELECT pg_sleep(12); COMMIT").execute(&mut busy).await });
    let begin = Instant::now();
    let refused = log.append(vec![append_of(stream(1, 1), 0, 1)], at(1)).await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(why)) if why.contains("lock timeout")), "{refused:?}");
    assert!(begin.elapsed() < Duration::from_secs(11), "{:?}", begin.elapsed());
    // Readers do not wait for anybody who writes.
    assert_eq!(log.head().await.unwrap(), 0);
    holding.await.unwrap().unwrap();
    log.append(vec![append_of(stream(1, 1), 0, 1)], at(1)).await.unwrap();
}

#[tokio::test]
async fn the_state_holds_for_every_node() {
    let url = Postgres::shared().database();
    let (one, other) = (open(&url).await, open(&url).await);
    one.append(vec![append_of(stream(1, 1), 0, 1)], at(1)).await.unwrap();
    for state in [LogState::Sealed, LogState::Copy, LogState::Complete] {
        one.set_state(state).await.unwrap();
        assert_eq!(other.state().await.unwrap(), state);
        let refused = other.append(vec![append_of(stream(1, 1), 1, 1)], at(1)).await;
        assert!(matches!(refused, Err(StoreError::Unusable(_))), "{refused:?}");
        assert_eq!(other.read_all(1, 10).await.unwrap().len(), 1);
    }
    other.set_state(LogState::Open).await.unwrap();
    one.append(vec![append_of(stream(1, 1), 1, 1)], at(1)).await.unwrap();
}

/// More than one statement's worth, with streams and types that go on from one to the next.
#[tokio::test]
async fn a_long_import_is_one_transaction() {
    let origin = MemoryLog::new();
    for number in 0..1100u64 {
        let mut batch = vec![append_of(stream(1, number.into()), 0, 4), append_of(stream(2, 1), number * 6, 6)];
        batch[0].metadata.digest = Some([number as u8; 16]);
        origin.append(batch, at(number as i64)).await.unwrap();
    }
    let mut events = origin.read_all(1, usize::MAX).await.unwrap();
    let url = Postgres::shared().database();
    let (log, other) = (open(&url).await, open(&url).await);
    let last = events.len() - 1;
    events[last].version += 1;
    let refused = log.import(origin.identity().log, events.clone()).await;
    assert!(matches!(&refused, Err(StoreError::Unusable(why)) if why.contains("event 11000")), "{refused:?}");
    assert_eq!((log.head().await.unwrap(), log.state().await.unwrap()), (0, LogState::Open));
    assert_ne!(log.identity().log, origin.identity().log);
    events[last].version -= 1;
    log.import(origin.identity().log, events.clone()).await.unwrap();
    assert_eq!(log.identity().log, origin.identity().log);
    assert_eq!(open(&url).await.identity(), log.identity());
    assert_eq!(other.read_all(1, usize::MAX).await.unwrap(), events);
    // When it is taken over, it goes on with its own numbers.
    log.set_state(LogState::Open).await.unwrap();
    let appended = other.append(vec![append_of(stream(2, 1), 6600, 1), append_of(stream(3, 1), 0, 1)], at(1)).await;
    assert_eq!(appended.unwrap(), Appended { first: 11_001, recorded_at: at(1099) });
}
