//! Servers that die, answers that do not come, and callers that do not wait for them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

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
        let deadline = Instant::now() + Duration::from_secs(60);
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
    // Once it is settled nobody waits again, which ends after five seconds only.
    let holding = other.session().await.unwrap();
    assert_eq!(timeout(Duration::from_secs(4), log.head()).await.unwrap().unwrap(), 1);
    drop(holding);
}

/// Whoever gives up waiting leaves either the whole batch or nothing, and a log that goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_nobody_waits_for_is_whole_or_absent() {
    let log = open(&Postgres::shared().database()).await;
    let mut known = Known { pair: [stream(1, 1), stream(2, 1)], batches: 0, acknowledged: vec![], unknown: 0 };
    let (mut written, mut given_up, mut slowest) = (0, 0, Duration::ZERO);
    for _ in 0..10 {
        let began = Instant::now();
        log.append(known.batch(), at(1)).await.unwrap();
        slowest = slowest.max(began.elapsed());
        known.batches += 1;
    }
    for round in 0..100 {
        let patience = slowest * round / 33;
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
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        assert!(Instant::now() < deadline, "a server that was killed goes on");
        match log.append(vec![append_of(stream(1, 1), version, 1)], at(1)).await {
            Ok(_) => version += 1,
            // Whether what had no answer is there is known when it is back.
            Err(StoreError::Unavailable(_) | StoreError::Unknown(_)) => break,
            Err(other) => panic!("neither written nor to be tried again: {other}"),
        }
    }
    let away = log.read_all(1, 10).await;
    assert!(matches!(away, Err(StoreError::Unavailable(_))), "{away:?}");
    server.restart();
    let begin = Instant::now();
    while log.read_all(1, 10).await.is_err() {
        assert!(begin.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    version = version.max(log.versions(&[stream(1, 1)]).await.unwrap()[0]);
    log.append(vec![append_of(stream(1, 1), version, 1)], at(1)).await.unwrap();
    timeout(Duration::from_secs(30), shown.wait_for(|head| *head == version + 1)).await.unwrap().unwrap();
}

/// Whoever gives up waiting for a page leaves no connection in the middle of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_nobody_waits_for_disturbs_no_other() {
    let log = open(&Postgres::shared().database()).await;
    log.append((0..2000).map(|key| append_of(stream(1, key), 0, 2)).collect(), at(1)).await.unwrap();
    let all = log.read_all(1, usize::MAX).await.unwrap();
    assert_eq!(all.len(), 4000);
    let mut given_up = 0;
    for round in 0..100u64 {
        let read = log.read_all(1, usize::MAX);
        given_up += u64::from(timeout(Duration::from_micros(round * 60), read).await.is_err());
        let from = 1 + round * 40;
        assert_eq!(log.read_all(from, 3).await.unwrap(), all[from as usize - 1..][..3]);
    }
    assert!(given_up > 0);
}

/// A server that comes back may be one that was promoted, and has given a lost number to another stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_server_called_its_streams_is_not_believed() {
    let server = Postgres::start();
    let url = server.database();
    let log = open(&url).await;
    log.append(vec![append_of(stream(1, 1), 0, 2)], at(1)).await.unwrap();
    let of = |rows: Vec<EventRow>| rows.iter().map(|row| row.stream).collect::<Vec<_>>();
    assert_eq!(of(log.read_all(1, 10).await.unwrap()), [stream(1, 1); 2]);
    server.psql(&url, &format!("UPDATE tiffin_log.streams SET key = '{}'", stream(1, 2).key));
    // The same server's names never change, so they are not asked for again.
    assert_eq!(of(log.read_all(1, 10).await.unwrap()), [stream(1, 1); 2]);
    server.restart();
    let begin = Instant::now();
    let rows = loop {
        match log.read_all(1, 10).await {
            Ok(rows) => break rows,
            Err(error) => assert!(begin.elapsed() < Duration::from_secs(30), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(of(rows), [stream(1, 2); 2]);
}

/// What a line between a log and its server does to the next COMMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Nothing,
    /// The server gets it, the log never hears of it.
    Answer,
    /// The line is cut, and the server gets it all the same, half a second later.
    Late,
    /// The server never gets it.
    Commit,
}

/// A line to `server` that cuts one COMMIT off, when it is told to. Gives its port.
async fn line_to(server: u16, cut: watch::Sender<Cut>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (log, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            tokio::spawn(carry(log, server, cut.clone()));
        }
    });
    port
}

async fn carry(log: TcpStream, server: TcpStream, cut: watch::Sender<Cut>) {
    let ((mut from_log, mut to_log), (mut from_server, mut to_server)) = (log.into_split(), server.into_split());
    let answers = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_log).await });
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from_log.read(&mut buffer).await {
        let sent = &buffer[..length];
        if sent == b"Q\0\0\0\x0bCOMMIT\0" {
            let cut = cut.send_replace(Cut::Nothing);
            if cut != Cut::Nothing {
                // Both halves of the log's end must go before the log sees the line cut.
                answers.abort();
                let _ = answers.await;
                drop(from_log);
                if cut == Cut::Late {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                if cut != Cut::Commit {
                    to_server.write_all(sent).await.unwrap();
                    // It is read before the line ends here too.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                return;
            }
        }
        if to_server.write_all(sent).await.is_err() {
            return;
        }
    }
}

/// Whatever happens to a COMMIT, the outcome is not known at first, and the next read knows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_without_an_answer_is_settled_by_the_next_read() {
    let url = Postgres::shared().database();
    let port = url.rsplit(['@', '/']).nth(1).unwrap().rsplit(':').next().unwrap();
    let cut = watch::Sender::new(Cut::Nothing);
    let line = line_to(port.parse().unwrap(), cut.clone()).await;
    let log = open(&url.replace(&format!(":{port}/"), &format!(":{line}/"))).await;
    let mut version = 0;
    for what in [Cut::Answer, Cut::Late, Cut::Commit, Cut::Late, Cut::Answer, Cut::Commit] {
        log.append(vec![append_of(stream(1, 1), version, 1)], at(1)).await.unwrap();
        version += 1;
        cut.send_replace(what);
        let outcome = log.append(vec![append_of(stream(1, 1), version, 2)], at(1)).await;
        assert!(matches!(outcome, Err(StoreError::Unknown(_))), "{what:?}: {outcome:?}");
        let rows = log.read_stream(stream(1, 1), version + 1, 10).await.unwrap().len();
        assert_eq!(rows, if what == Cut::Commit { 0 } else { 2 }, "{what:?}");
        version += rows as Version;
    }
    assert_eq!(log.head().await.unwrap(), version);
}
