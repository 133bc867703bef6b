//! What the log in Postgres does beyond the contract. Every test has a database of its own on a real
//! server.

use std::time::{Duration, Instant};

use proptest::{prelude::*, test_runner::TestCaseResult};
use sqlx::raw_sql;
use testing::Postgres;
use tokio::time::timeout;

use super::*;
use crate::{
    MemoryLog,
    contract::{append_of, contract, rows_of, stream},
};

mod crash;
mod nodes;
mod refusals;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

async fn open(url: &str) -> PostgresLog {
    PostgresLog::connect(url).await.unwrap()
}

/// A connection as the log itself makes them.
async fn connection(url: &str) -> PgConnection {
    Place::new(url, false).unwrap().connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    contract(async || Arc::new(open(&Postgres::shared().database()).await)).await;
}

#[tokio::test]
async fn keeps_everything_when_it_is_opened_again() {
    let url = Postgres::shared().database();
    let batch = vec![append_of(stream(1, 1), 0, 3), append_of(stream(2, 1), 0, 1)];
    let identity = {
        let log = open(&url).await;
        log.append(batch.clone(), at(100)).await.unwrap();
        log.identity()
    };
    let expected = [rows_of(&batch[0], 1, at(100)), rows_of(&batch[1], 4, at(100))].concat();
    let log = open(&url).await;
    assert_eq!((log.identity(), *log.subscribe().borrow()), (identity, 4));
    assert_eq!(log.read_all(1, 10).await.unwrap(), expected);
    // Time, versions and positions go on where they were.
    assert!(log.append(vec![append_of(stream(1, 1), 0, 1)], at(100)).await.is_err());
    let appended = log.append(vec![append_of(stream(1, 1), 3, 1)], at(1)).await.unwrap();
    assert_eq!(appended, Appended { first: 5, recorded_at: at(100) });
}

#[tokio::test]
async fn times_are_exact_to_their_ends() {
    let log = open(&Postgres::shared().database()).await;
    let first = Timestamp::from_micros(-210_866_803_200_000_000);
    let times = [first, Timestamp::from_micros(i64::MAX), Timestamp::from_micros(946_684_799_999_999)];
    for (version, occurred_at) in (0..).zip(times) {
        let append = Append { occurred_at, ..append_of(stream(1, 1), version, 1) };
        log.append(vec![append], Timestamp::from_micros(version as i64 - 1)).await.unwrap();
    }
    log.append(vec![append_of(stream(1, 1), 3, 1)], Timestamp::from_micros(i64::MAX)).await.unwrap();
    let rows = log.read_all(1, 10).await.unwrap();
    assert!(rows[..3].iter().map(|row| row.occurred_at).eq(times));
    assert!(rows.iter().map(|row| row.recorded_at.micros).eq([-1, 0, 1, i64::MAX]));
    let appended = log.append(vec![append_of(stream(1, 1), 4, 1)], at(1)).await.unwrap();
    assert_eq!(appended.recorded_at.micros, i64::MAX);
}

#[tokio::test]
async fn people_can_read_it_with_psql() {
    let server = Postgres::shared();
    let url = server.database();
    let mut append = append_of(stream(1, 255), 0, 1);
    append.metadata.trace = Some([0xab; 16]);
    open(&url).await.append(vec![append], at(1)).await.unwrap();
    let id = |number: u8| Uuid::from_u128(number.into()).to_string();
    let expected = [
        "1",
        "order",
        &id(255),
        &id(1),
        "1",
        "order.Confirmed",
        "1",
        "\"Confirmed 0\"",
        "1970-01-01 00:16:40+00",
        "1970-01-01 00:00:01+00",
        &id(7),
        &id(8),
        &id(255),
        "",
        &"ab".repeat(16),
    ];
    assert_eq!(server.psql(&url, "SELECT * FROM tiffin_log.event_log"), expected.join("|"));
    let bare = "SELECT count(*) FROM pg_class c WHERE relnamespace = 'tiffin_log'::regnamespace AND relkind IN ('r', 'v') \
                AND obj_description(oid) IS NULL";
    assert_eq!(server.psql(&url, bare), "0", "tables without a comment");
    let odd = "SELECT payload::jsonb FROM tiffin_log.events";
    assert_eq!(server.psql(&url, odd), "\"Confirmed 0\"");
}

/// No plan may depend on statistics that come too late, or sort a long stream to read its end.
#[tokio::test]
async fn every_read_goes_through_an_index() {
    let url = Postgres::shared().database();
    let mut append = append_of(stream(1, 1), 0, 1);
    append.snapshot = Some(Snapshot { version: 1, state_version: 1, state: b"{}".to_vec() });
    open(&url).await.append(vec![append], at(1)).await.unwrap();
    // The server knows for certain that a scan of these is quickest.
    Postgres::shared().psql(&url, "ANALYZE");
    let key = "'00000000-0000-0000-0000-000000000001'";
    let (page, names) = (page::by_position(1, 10), known::select_names(&mut vec![1, 2, 4]));
    let reads = [
        (page.as_str(), "", String::new()),
        (names.as_str(), "", String::new()),
        (reader::BY_STREAM, "uuid, smallint, uuid, bigint, bigint", format!("{key}, 3::smallint, {key}, 1, 10")),
        (reader::SNAPSHOT, "uuid, smallint, uuid", format!("{key}, 3::smallint, {key}")),
        (
            reader::VERSIONS,
            "uuid[], smallint[], uuid[]",
            format!("array[{key}]::uuid[], '{{3}}', array[{key}]::uuid[]"),
        ),
    ];
    let mut conn = connection(&url).await;
    for (number, (sql, types, values)) in reads.into_iter().enumerate() {
        // What takes no values is planned each time.
        let explain = if types.is_empty() {
            format!("EXPLAIN {sql}")
        } else {
            let prepare = format!("PREPARE q{number} ({types}) AS {sql}");
            raw_sql(sqlx::AssertSqlSafe(prepare)).execute(&mut conn).await.unwrap();
            format!("EXPLAIN EXECUTE q{number} ({values})")
        };
        let lines = raw_sql(sqlx::AssertSqlSafe(explain)).fetch_all(&mut conn).await.unwrap();
        let plan = lines.iter().map(|line| line.get::<String, _>(0)).collect::<Vec<_>>().join("\n");
        assert!(plan.contains("Index Scan") && !plan.contains("Seq Scan") && !plan.contains("Sort"), "{plan}");
    }
}

/// One step of the comparison with the log in memory.
#[derive(Clone, Debug)]
enum Step {
    /// Appends: stream, how far the expected version is off (mostly not), events, snapshot.
    Append(Vec<(u8, u8, usize, bool)>, i64),
    /// The same in a session, where a conflict is followed by a batch that fits.
    Session(Vec<(u8, u8, usize, bool)>),
    ReadStream(u8, Version, usize),
    ReadAll(Position, usize),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let off = prop_oneof![20 => Just(0u8), 1 => Just(1)];
    let append = prop::collection::vec((0u8..6, off, 0usize..4, any::<bool>()), 0..4);
    let step = prop_oneof![
        6 => (append.clone(), -5i64..20).prop_map(|(appends, now)| Step::Append(appends, now)),
        2 => append.prop_map(Step::Session),
        2 => (0u8..7, 0u64..8, 0usize..5).prop_map(|(stream, from, limit)| Step::ReadStream(stream, from, limit)),
        2 => (0u64..30, 0usize..20).prop_map(|(from, limit)| Step::ReadAll(from, limit)),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..25)
}

/// Two tenants with the same keys.
fn stream_of(key: u8) -> StreamId {
    stream(1 + u128::from(key % 2), u128::from(key / 2))
}

/// The batch, made from the versions that the log in memory has, so that most of them fit.
async fn batch(memory: &MemoryLog, appends: &[(u8, u8, usize, bool)], salt: usize) -> Vec<Append> {
    let mut versions = std::collections::HashMap::new();
    let mut batch = vec![];
    for (number, (key, off, events, snapshot)) in appends.iter().enumerate() {
        let stream = stream_of(*key);
        let known = memory.versions(&[stream]).await.unwrap()[0];
        let version = versions.entry(stream).or_insert(known);
        let mut append = append_of(stream, *version + Version::from(*off), *events);
        append.metadata.trace = salt.is_multiple_of(2).then_some([salt as u8; 16]);
        append.metadata.causation = number.is_multiple_of(2).then_some(append.metadata.command);
        append.events.iter_mut().for_each(|event| event.name = ["Placed", "Readied", "Expired"][salt % 3]);
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

async fn memory_and_postgres_agree(steps: Vec<Step>) -> TestCaseResult {
    let url = Postgres::shared().database();
    let memory = MemoryLog::new();
    let mut postgres = open(&url).await;
    let beside = PostgresLog::connect_read_only(&url).await.unwrap();
    for (salt, step) in steps.into_iter().enumerate() {
        match step {
            Step::Append(appends, now) => {
                let batch = batch(&memory, &appends, salt).await;
                let (left, right) =
                    (memory.append(batch.clone(), at(now)).await, postgres.append(batch, at(now)).await);
                prop_assert_eq!(format!("{left:?}"), format!("{right:?}"));
            }
            Step::Session(appends) => {
                let batch = batch(&memory, &appends, salt).await;
                let then = vec![append_of(stream(9, salt as u128), 0, 1)];
                let (mut left, mut right) = (memory.session().await.unwrap(), postgres.session().await.unwrap());
                let results = (left.append(batch.clone(), at(1)).await, right.append(batch, at(1)).await);
                prop_assert_eq!(format!("{:?}", results.0), format!("{:?}", results.1));
                if results.0.is_err() {
                    let results = (left.append(then.clone(), at(1)).await, right.append(then, at(1)).await);
                    prop_assert_eq!(format!("{:?}", results.0), format!("{:?}", results.1));
                }
            }
            Step::ReadStream(key, from, limit) => {
                let expected = memory.read_stream(stream_of(key), from, limit).await.unwrap();
                let snapshot = memory.read_snapshot(stream_of(key)).await.unwrap();
                for log in [&postgres, &beside] {
                    prop_assert_eq!(&log.read_stream(stream_of(key), from, limit).await.unwrap(), &expected);
                    prop_assert_eq!(&log.read_snapshot(stream_of(key)).await.unwrap(), &snapshot);
                }
            }
            Step::ReadAll(from, limit) => {
                let expected = memory.read_all(from, limit).await.unwrap();
                for log in [&postgres, &beside] {
                    prop_assert_eq!(&log.read_all(from, limit).await.unwrap(), &expected);
                    prop_assert_eq!(log.head().await.unwrap(), memory.head().await.unwrap());
                }
            }
            Step::Reopen => postgres = open(&url).await,
        }
    }
    prop_assert_eq!(postgres.read_all(1, 1000).await.unwrap(), memory.read_all(1, 1000).await.unwrap());
    // Twice the same stream, and one that is not there.
    let streams = [0, 1, 2, 0, 200].map(stream_of);
    prop_assert_eq!(postgres.versions(&streams).await.unwrap(), memory.versions(&streams).await.unwrap());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn answers_as_the_log_in_memory_does(steps in steps()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(memory_and_postgres_agree(steps))?;
    }
}
