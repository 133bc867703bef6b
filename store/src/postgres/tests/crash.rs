//! Servers that die, answers that do not come, and callers that do not wait for them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;

/// What one appender knows: where its two streams stand, and what was acknowledged.
struct Known {
    pair: [StreamId; 2],
    batches: Version,
    acknowledged: Vec<(Position, Version)>,
    unknown: u64,
}

impl Known {
    /// A batch for both streams, so that half of one would be seen.
    fn batch(&self) -> Vec<Append> {
        vec![append_of(self.pair[0], self.batches * 2, 2), append_of(self.pair[1], self.batches, 1)]
    }

    /// Whether the batch whose outcome was not known is there: all of it, or nothing.
    async fn settle(&self, log: &PostgresLog) -> bool {
        loop {
            match log.read_stream(self.pair[0], self.batches * 2 + 1, 10).await {
                Ok(rows) => {
                    let versions = log.versions(&self.pair[1..]).await;
                    if let Ok(versions) = versions {
                        assert_eq!(versions[0] - self.batches, rows.len() as Version / 2);
                        assert!(rows.is_empty() || rows.len() == 2);
                    }
                    return !rows.is_empty();
                }
                Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(other) => panic!("not to be read: {other}"),
            }
        }
    }
}

async fn append_until(stop: Arc<AtomicBool>, log: Arc<PostgresLog>, key: u128, written: Arc<AtomicU64>) -> Known {
    let pair = [stream(1, key), stream(2, key)];
    let mut known = Known { pair, batches: 0, acknowledged: vec![], unknown: 0 };
    while !stop.load(Ordering::SeqCst) {
        match log.append(known.batch(), at(1)).await {
            Ok(appended) => {
                known.acknowledged.push((appended.first, known.batches));
                known.batches += 1;
                written.fetch_add(1, Ordering::SeqCst);
            }
            Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(StoreError::Unknown(_)) => {
                known.unknown += 1;
                known.batches += Version::from(known.settle(&log).await);
            }
            Err(other) => panic!("neither written nor to be tried again: {other}"),
        }
    }
    known
}

/// Twenty times the postmaster is killed while two nodes append, and started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed() {
    const ROUNDS: u64 = 20;
    let server = Arc::new(Postgres::start());
    let url = server.database();
    let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut appenders = vec![];
    for node in 0..2 {
        let log = Arc::new(open(&url).await);
        for task in 0..3 {
            let appender = append_until(stop.clone(), log.clone(), node * 10 + task, written.clone());
            appenders.push(tokio::spawn(appender));
        }
    }
    for round in 0..ROUNDS {
        let before = written.load(Ordering::SeqCst);
        let deadline = Instant::now() + Duration::from_secs(10);
        while written.load(Ordering::SeqCst) < before + 12 {
            assert!(Instant::now() < deadline, "the nodes do not append again in round {round}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Not always at the same moment of a transaction.
        tokio::time::sleep(Duration::from_micros(round * 377 % 5000)).await;
        let server = server.clone();
        tokio::task::spawn_blocking(move || {
            server.kill();
            server.restart();
        })
        .await
        .unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    let log = open(&url).await;
    let (mut events, mut unknown) = (0, 0);
    for appender in appenders {
        let known = appender.await.unwrap();
        assert_eq!(log.versions(&known.pair).await.unwrap(), [known.batches * 2, known.batches]);
        for (first, batch) in &known.acknowledged {
            let rows = log.read_all(*first, 3).await.unwrap();
            let found: Vec<_> = rows.iter().map(|row| (row.stream, row.version)).collect();
            let [a, b] = known.pair;
            assert_eq!(found, [(a, batch * 2 + 1), (a, batch * 2 + 2), (b, batch + 1)]);
        }
        events += known.batches * 3;
        unknown += known.unknown;
    }
    let rows = log.read_all(1, usize::MAX).await.unwrap();
    assert!(rows.iter().map(|row| row.position).eq(1..=events));
    eprintln!("{ROUNDS} kills: {events} events, {unknown} outcomes not known at first");
}

/// The server may still be committing what nobody waits for any more: a read waits until it has, or
/// cannot any longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_after_an_unknown_outcome_waits_for_it() {
    let url = Postgres::shared().database();
    let (log, other) = (Arc::new(open(&url).await), open(&url).await);
    let mut old = other.session().await.unwrap();
    drop(reader::InDoubt(Some(&log.readers.doubts)));
    let reading = tokio::spawn({
        let log = log.clone();
        async move { log.read_stream(stream(1, 1), 1, 10).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!reading.is_finished(), "it was read as if nothing could come");
    old.append(vec![append_of(stream(1, 1), 0, 1)], at(1)).await.unwrap();
    assert_eq!(reading.await.unwrap().unwrap().len(), 1);
    // Once it is settled nobody waits again.
    let holding = other.session().await.unwrap();
    assert_eq!(timeout(Duration::from_millis(300), log.head()).await.unwrap().unwrap(), 1);
    drop(holding);
}

/// Whoever gives up waiting leaves either the whole batch or nothing, and a log that goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_nobody_waits_for_is_whole_or_absent() {
    let log = open(&Postgres::shared().database()).await;
    let mut known = Known { pair: [stream(1, 1), stream(2, 1)], batches: 0, acknowledged: vec![], unknown: 0 };
    let (mut written, mut given_up) = (0, 0);
    for round in 0..100u64 {
        let patience = Duration::from_micros(round * 600);
        match timeout(patience, log.append(known.batch(), at(1))).await {
            Ok(appended) => {
                appended.unwrap();
                known.batches += 1;
                written += 1;
            }
            Err(_) => {
                given_up += 1;
                known.batches += Version::from(known.settle(&log).await);
            }
        }
    }
    assert!(written > 0 && given_up > 0, "{written} were written, {given_up} given up");
    let head = log.head().await.unwrap();
    assert_eq!(head, known.batches * 3);
    assert!(log.read_all(1, usize::MAX).await.unwrap().iter().map(|row| row.position).eq(1..=head));
}

/// Readers come back by themselves too, and say in the meantime that it may be tried again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_find_the_server_again() {
    let server = Postgres::start();
    let log = open(&server.database()).await;
    log.append(vec![append_of(stream(1, 1), 0, 3)], at(1)).await.unwrap();
    let mut shown = log.subscribe();
    server.kill();
    // For a moment what is left of it still answers, and even commits.
    let mut version = 3;
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        assert!(Instant::now() < deadline, "a server that was killed goes on");
        match log.append(vec![append_of(stream(1, 1), version, 1)], at(1)).await {
            Ok(_) => version += 1,
            Err(StoreError::Unavailable(_)) => break,
            Err(other) => panic!("neither written nor to be tried again: {other}"),
        }
    }
    let away = log.read_all(1, 10).await;
    assert!(matches!(away, Err(StoreError::Unavailable(_))), "{away:?}");
    server.restart();
    let begin = Instant::now();
    while log.read_all(1, 10).await.is_err() {
        assert!(begin.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    log.append(vec![append_of(stream(1, 1), version, 1)], at(1)).await.unwrap();
    timeout(Duration::from_secs(5), shown.wait_for(|head| *head == version + 1)).await.unwrap().unwrap();
}
