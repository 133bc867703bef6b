//! What the embedded log does beyond the contract.

use std::{sync::Mutex, time::Duration};

use proptest::{prelude::*, test_runner::TestCaseResult};
use tempfile::TempDir;

use super::{
    checkpointer::{self, Checkpointer, Stage},
    *,
};
use crate::{
    MemoryLog,
    contract::{append_of, contract, rows_of, stream},
};

mod copies;
mod crash;
mod refusals;

/// So small that everything has to give way all the time.
const CRAMPED: Options = Options { cached_streams: 2, checkpoint_pages: 4, tail_events: 0, max_pages: None };

fn open(dir: &TempDir) -> SqliteLog {
    SqliteLog::open(dir.path(), SqliteMode::ReadWrite).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

async fn keeps_the_contract_with(options: Options) {
    let dirs = Mutex::new(vec![]);
    contract(async || {
        let dir = tempfile::tempdir().unwrap();
        let log = SqliteLog::open_with(dir.path(), SqliteMode::ReadWrite, options).unwrap();
        dirs.lock().unwrap().push(dir);
        Arc::new(log)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    keeps_the_contract_with(OPTIONS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract_without_memory() {
    keeps_the_contract_with(CRAMPED).await;
}

#[tokio::test]
async fn keeps_everything_when_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let batch = vec![append_of(stream(1, 1), 0, 3), append_of(stream(2, 1), 0, 1)];
    let identity = {
        let log = open(&dir);
        log.append(batch.clone(), at(100)).await.unwrap();
        log.identity()
    };
    let expected = [rows_of(&batch[0], 1, at(100)), rows_of(&batch[1], 4, at(100))].concat();
    let log = open(&dir);
    assert_eq!(log.identity(), identity);
    assert_eq!((log.head().await.unwrap(), *log.subscribe().borrow(), log.syncs()), (4, 4, 0));
    assert_eq!(log.read_all(1, 10).await.unwrap(), expected);
    // Time, versions and positions go on where they were.
    assert!(log.append(vec![append_of(stream(1, 1), 0, 1)], at(100)).await.is_err());
    let appended = log.append(vec![append_of(stream(1, 1), 3, 1)], at(1)).await.unwrap();
    assert_eq!(appended, Appended { first: 5, recorded_at: at(100) });
    assert_eq!(log.syncs(), 1);
    // What is read comes partly from the file, partly from memory.
    assert_eq!(log.read_all(1, 10).await.unwrap().len(), 5);
    assert_eq!(log.read_all(5, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn after_its_writer_panicked_the_log_cannot_be_used() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir);
    log.append(vec![append_of(stream(1, 1), 0, 1)], at(1)).await.unwrap();
    let over_it = log.ask(|reply| Job::Panic { reply }).await;
    assert!(matches!(over_it, Err(StoreError::Unknown(_))), "{over_it:?}");
    // The answer goes first, the queue a moment later; what came in between would not be known either.
    let Side::Writing { jobs: Some(jobs), .. } = &log.side else { panic!("it writes") };
    jobs.closed().await;
    let later = log.append(vec![append_of(stream(1, 1), 1, 1)], at(2)).await;
    assert!(matches!(&later, Err(StoreError::Unusable(why)) if why.contains("Restart")), "{later:?}");
    assert_eq!(log.read_all(1, 10).await.unwrap().len(), 1, "it can still be read");
}

#[tokio::test]
async fn a_reader_beside_the_writer_follows_it() {
    let dir = tempfile::tempdir().unwrap();
    let writing = open(&dir);
    let reading = SqliteLog::open(dir.path(), SqliteMode::ReadOnly).unwrap();
    assert_eq!(reading.identity(), writing.identity());
    let mut shown = reading.subscribe();
    writing.append(vec![append_of(stream(1, 1), 0, 2)], at(1)).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), shown.wait_for(|head| *head == 2)).await.unwrap().unwrap();
    assert_eq!(reading.head().await.unwrap(), 2);
    assert_eq!(reading.read_all(1, 10).await.unwrap(), writing.read_all(1, 10).await.unwrap());
    assert_eq!(reading.read_stream(stream(1, 1), 2, 10).await.unwrap().len(), 1);
    let refused = reading.append(vec![append_of(stream(1, 2), 0, 1)], at(1)).await;
    assert!(matches!(refused, Err(StoreError::Unusable(_))), "{refused:?}");
    // A reader that is still there keeps nobody from opening the folder again.
    drop(writing);
    let writing = open(&dir);
    writing.append(vec![append_of(stream(1, 2), 0, 1)], at(1)).await.unwrap();
    assert_eq!(reading.read_all(1, 10).await.unwrap().len(), 3);
}

#[tokio::test]
async fn people_can_read_it_with_a_sqlite_shell() {
    let dir = tempfile::tempdir().unwrap();
    open(&dir).append(vec![append_of(stream(1, 255), 0, 1)], at(1)).await.unwrap();
    let conn = rusqlite::Connection::open(dir.path().join("log.sqlite")).unwrap();
    let sql = "SELECT concat_ws(' ', position, kind, stream, tenant, version, type, payload, occurred_at, recorded_at,
                                command, actor, correlation) FROM event_log";
    let line: String = conn.query_row(sql, [], |row| row.get(0)).unwrap();
    let id = |number: u8| format!("{:030}{number:02x}", 0);
    let expected = format!(
        "1 order {key} {} 1 order.Confirmed \"Confirmed 0\" 1970-01-01T00:16:40.000Z 1970-01-01T00:00:01.000Z {} {} {key}",
        id(1),
        id(7),
        id(8),
        key = id(255)
    );
    assert_eq!(line, expected);
}

#[tokio::test]
async fn the_shells_view_names_every_kind_of_stream_in_an_old_log_too() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(&dir));
    let file = dir.path().join("log.sqlite");
    rusqlite::Connection::open(&file)
        .unwrap()
        .execute_batch("DROP VIEW event_log; CREATE VIEW event_log AS SELECT position, 'thing' AS kind FROM events")
        .unwrap();
    let log = open(&dir);
    for kind in domain::StreamKind::ALL {
        let stream = StreamId { kind, ..stream(1, kind as u128) };
        log.append(vec![append_of(stream, 0, 1)], at(1)).await.unwrap();
    }
    let conn = rusqlite::Connection::open(&file).unwrap();
    let mut named = conn.prepare("SELECT kind FROM event_log ORDER BY position").unwrap();
    let named: Vec<String> = named.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(named, domain::StreamKind::ALL.map(domain::StreamKind::name));
}

#[tokio::test]
async fn the_write_ahead_log_stays_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { checkpoint_pages: 64, ..OPTIONS };
    let log = SqliteLog::open_with(dir.path(), SqliteMode::ReadWrite, options).unwrap();
    let mut most = 0;
    for key in 0..300 {
        log.append(vec![append_of(stream(1, key), 0, 40)], at(1)).await.unwrap();
        most = most.max(Folder::new(dir.path()).wal_bytes().unwrap());
    }
    // A checkpoint begins at 64 pages, beside the writer; at four times as many everybody waits for the next one.
    let bound = 10 * 64 * 8300;
    assert!((64 * 8192..bound).contains(&most), "{most} bytes");
    assert_eq!(log.head().await.unwrap(), 12_000);
    drop(log);
    assert_eq!(Folder::new(dir.path()).wal_bytes(), None);
}

#[tokio::test]
async fn a_long_reader_keeps_the_writer_waiting_for_a_moment_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { checkpoint_pages: 16, ..OPTIONS };
    let log = SqliteLog::open_with(dir.path(), SqliteMode::ReadWrite, options).unwrap();
    log.append(vec![append_of(stream(1, 1_000), 0, 1)], at(1)).await.unwrap();
    let reader = Folder::new(dir.path()).try_reader(false).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM events").unwrap();
    let mut longest = Duration::ZERO;
    for key in 0..40 {
        let began = std::time::Instant::now();
        log.append(vec![append_of(stream(1, key), 0, 40)], at(1)).await.unwrap();
        longest = longest.max(began.elapsed());
    }
    let pages = Folder::new(dir.path()).wal_bytes().unwrap() / 8_192;
    assert!(pages > 6 * 16, "the reader holds the write-ahead log, which has {pages} pages");
    assert!(longest < Duration::from_secs(2), "an append took {longest:?}");
    reader.execute_batch("COMMIT").unwrap();
    for key in 40..80 {
        log.append(vec![append_of(stream(1, key), 0, 40)], at(1)).await.unwrap();
    }
    let after = Folder::new(dir.path()).wal_bytes().unwrap() / 8_192;
    assert!(after <= pages + 16, "it begins anew: {after} pages after {pages}");
}

#[tokio::test]
async fn the_write_ahead_log_is_moved_beside_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let log = SqliteLog::open_with(dir.path(), SqliteMode::ReadWrite, OPTIONS).unwrap();
    let folder = Folder::new(dir.path());
    let checkpointer = Checkpointer::start(&folder).unwrap();
    assert_eq!(checkpointer.stage(), Stage::Idle);
    log.append(vec![append_of(stream(1, 1), 0, 400)], at(1)).await.unwrap();
    let before = folder.stamp();
    checkpointer.begin();
    while checkpointer.stage() == Stage::Running {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(checkpointer.stage(), Stage::Done);
    assert_ne!(folder.stamp(), before);
    checkpointer.finished();
    assert_eq!(checkpointer.stage(), Stage::Idle);
    drop(checkpointer);
    log.append(vec![append_of(stream(1, 1), 400, 1)], at(2)).await.unwrap();
    assert_eq!(log.head().await.unwrap(), 401);
}

#[test]
fn after_a_failed_sync_nothing_is_written_and_the_write_ahead_log_stays() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(&dir));
    let folder = Folder::new(dir.path());
    let writer = folder.open_writer(true).unwrap();
    let checkpointer = Checkpointer::start(&folder).unwrap();
    writer.execute_batch("CREATE TABLE more (one); DROP TABLE more").unwrap();
    checkpointer.failed();
    checkpointer.finished();
    assert_eq!(checkpointer.stage(), Stage::FailedSync, "whatever is said of it later");
    checkpointer::keep_write_ahead_log(&writer);
    drop(writer);
    drop(checkpointer);
    assert!(folder.wal_bytes().unwrap() > 0);
    drop(open(&dir));
    assert_eq!(folder.wal_bytes(), None, "the next one moves it");
}

/// The system cannot be made to fail a sync here; that every byte is written once more shows in the times.
#[test]
fn a_write_ahead_log_is_written_again_before_it_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path());
    let path = dir.path().join("log.sqlite-wal");
    folder.sync_write_ahead_log().unwrap();
    assert!(!path.exists(), "none is made");
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    // None, a part of what is written at once, and several with a rest.
    for length in [0, 1, 3 * (1 << 20) + 7] {
        let bytes: Vec<u8> = (0..length).map(|index: u32| (index % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
        folder.sync_write_ahead_log().unwrap();
        assert!(std::fs::read(&path).unwrap() == bytes, "{length} bytes are others now");
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(modified > long_ago, length > 0, "{length}");
    }
}

#[tokio::test]
async fn what_a_write_ahead_log_holds_is_written_again_when_it_is_opened() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = open(&dir);
    log.append(vec![append_of(stream(1, 1), 0, 3)], at(1)).await.unwrap();
    // As a kill leaves it.
    for name in ["log.sqlite", "log.sqlite-wal"] {
        std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let path = copy.path().join("log.sqlite-wal");
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    let log = open(&copy);
    assert!(std::fs::metadata(&path).unwrap().modified().unwrap() > long_ago);
    assert_eq!(log.head().await.unwrap(), 3);
}

/// One step of the comparison with the log in memory.
#[derive(Clone, Debug)]
enum Step {
    /// Appends: stream, how far the expected version is off (mostly not), events, snapshot.
    Append(Vec<(u8, u8, usize, bool)>, i64),
    ReadStream(u8, Version, usize),
    ReadAll(Position, usize),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let off = prop_oneof![20 => Just(0u8), 1 => Just(1)];
    let append = prop::collection::vec((0u8..6, off, 0usize..4, any::<bool>()), 0..4);
    let step = prop_oneof![
        6 => (append, -5i64..20).prop_map(|(appends, now)| Step::Append(appends, now)),
        2 => (0u8..7, 0u64..8, 0usize..5).prop_map(|(stream, from, limit)| Step::ReadStream(stream, from, limit)),
        2 => (0u64..30, 0usize..20).prop_map(|(from, limit)| Step::ReadAll(from, limit)),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..25)
}

/// The batch, made from the versions that the log in memory has, so that most of them fit.
async fn batch(memory: &MemoryLog, appends: &[(u8, u8, usize, bool)], salt: usize) -> Vec<Append> {
    let mut versions = std::collections::HashMap::new();
    let mut batch = vec![];
    for (number, (key, off, events, snapshot)) in appends.iter().enumerate() {
        // Two tenants with the same keys.
        let stream = stream(1 + u128::from(key % 2), u128::from(key / 2));
        let known = memory.read_stream(stream, 1, usize::MAX).await.unwrap().len() as Version;
        let version = versions.entry(stream).or_insert(known);
        let mut append = append_of(stream, *version + Version::from(*off), *events);
        append.metadata.trace = salt.is_multiple_of(2).then_some([salt as u8; 16]);
        append.metadata.causation = number.is_multiple_of(2).then_some(append.metadata.command);
        append.occurred_at = at(salt as i64);
        *version += *events as Version;
        append.snapshot = snapshot.then(|| Snapshot {
            version: *version,
            state_version: salt as u32,
            state: format!("{salt}/{number}").into_bytes(),
        });
        batch.push(append);
    }
    batch
}

async fn memory_and_sqlite_agree(steps: Vec<Step>, options: Options) -> TestCaseResult {
    let dir = tempfile::tempdir().unwrap();
    let memory = MemoryLog::new();
    let mut sqlite = SqliteLog::open_with(dir.path(), SqliteMode::ReadWrite, options).unwrap();
    let beside = SqliteLog::open(dir.path(), SqliteMode::ReadOnly).unwrap();
    for (salt, step) in steps.into_iter().enumerate() {
        match step {
            Step::Append(appends, now) => {
                let batch = batch(&memory, &appends, salt).await;
                let (left, right) = (memory.append(batch.clone(), at(now)).await, sqlite.append(batch, at(now)).await);
                prop_assert_eq!(format!("{left:?}"), format!("{right:?}"));
            }
            Step::ReadStream(key, from, limit) => {
                let stream = stream(1 + u128::from(key % 2), u128::from(key / 2));
                let expected = memory.read_stream(stream, from, limit).await.unwrap();
                let snapshot = memory.read_snapshot(stream).await.unwrap();
                for log in [&sqlite, &beside] {
                    prop_assert_eq!(&log.read_stream(stream, from, limit).await.unwrap(), &expected);
                    prop_assert_eq!(&log.read_snapshot(stream).await.unwrap(), &snapshot);
                }
            }
            Step::ReadAll(from, limit) => {
                let expected = memory.read_all(from, limit).await.unwrap();
                for log in [&sqlite, &beside] {
                    prop_assert_eq!(&log.read_all(from, limit).await.unwrap(), &expected);
                    prop_assert_eq!(log.head().await.unwrap(), memory.head().await.unwrap());
                }
            }
            Step::Reopen => {
                drop(sqlite);
                sqlite = SqliteLog::open_with(dir.path(), SqliteMode::ReadWrite, options).unwrap();
            }
        }
    }
    prop_assert_eq!(sqlite.read_all(1, 1000).await.unwrap(), memory.read_all(1, 1000).await.unwrap());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn answers_as_the_log_in_memory_does(steps in steps(), cramped in any::<bool>()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let options = if cramped { CRAMPED } else { OPTIONS };
        runtime.block_on(memory_and_sqlite_agree(steps, options))?;
    }
}
