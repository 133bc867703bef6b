//! Export and import: the same bytes from every log, the same log from the bytes, and no trace of a bad file.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use domain::{ActorId, CommandId, StreamId, StreamKind, Timestamp};
use proptest::prelude::*;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::{
    Append, MemoryLog, Metadata, NewEvent, PostgresLog, SqliteLog, SqliteMode,
    contract::{append_of, stream},
};

/// Takes what is written, and can be looked at afterwards.
#[derive(Clone, Default)]
struct Bytes(Arc<Mutex<Vec<u8>>>);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn exported(store: &dyn EventStore, span: (Position, Option<Position>)) -> (String, Manifest) {
    let bytes = Bytes::default();
    let manifest = export(store, span, bytes.clone(), |_, _| {}).await.unwrap();
    let text = bytes.0.lock().unwrap().clone();
    (String::from_utf8(text).unwrap(), manifest)
}

async fn all_of(store: &dyn EventStore) -> String {
    exported(store, (1, None)).await.0
}

fn file(dir: &TempDir, text: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.path().join("export.jsonl");
    std::fs::write(&path, text).unwrap();
    path
}

async fn take(store: &dyn EventStore, path: &Path) -> Result<Imported, ExportError> {
    Verified::read(path, Arc::new(|_, _| {})).await?.import(store, Arc::new(|_, _| {})).await
}

fn sqlite() -> (TempDir, SqliteLog) {
    let dir = tempfile::tempdir().unwrap();
    let log = SqliteLog::open(&dir.path().join("log"), SqliteMode::ReadWrite).unwrap();
    (dir, log)
}

/// Two streams, five events, everything that metadata can have.
async fn origin() -> MemoryLog {
    let log = MemoryLog::new();
    let mut full = append_of(stream(1, 1), 0, 2);
    full.events[0].payload = r#"{"Placed": {"b":1,"a":"\u00e9 \"",  "c":"é"}}"#.into();
    full.metadata = Metadata {
        command: CommandId(Uuid::from_u128(u128::MAX)),
        digest: Some([0xab; 16]),
        actor: ActorId(Uuid::nil()),
        correlation: Uuid::from_u128(9),
        causation: Some(CommandId(Uuid::from_u128(1))),
        trace: Some([0; 16]),
    };
    full.occurred_at = Timestamp::from_micros(-1);
    let wallet = StreamId { kind: StreamKind::Wallet, ..stream(2, 1) };
    let mut other = append_of(wallet, 0, 1);
    (other.events[0].name, other.occurred_at) = ("Deposited", Timestamp::from_micros(i64::MAX));
    log.append(vec![full, other], Timestamp::from_micros(5_000_001)).await.unwrap();
    log.append(vec![append_of(stream(1, 1), 2, 2)], Timestamp::from_seconds(6)).await.unwrap();
    log
}

#[tokio::test]
async fn an_export_can_be_read_by_people() {
    let log = origin().await;
    let (text, manifest) = exported(&log, (1, None)).await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 7);
    assert_eq!(lines[0], format!(r#"{{"header":{{"format":2,"log":"{}","from":1}}}}"#, log.identity().log));
    let id = |number: u128| Uuid::from_u128(number);
    let expected = format!(
        r#"{{"position":1,"stream":{{"tenant":"{}","kind":"order","key":"{}"}},"version":1,"type":"order.Confirmed","schema_version":1,"occurred_at":"1969-12-31T23:59:59.999999Z","recorded_at":"1970-01-01T00:00:05.000001Z","metadata":{{"command":"{}","digest":"{}","actor":"{}","correlation":"{}","causation":"{}","trace":"{}"}},"payload":{{"Placed": {{"b":1,"a":"\u00e9 \"",  "c":"é"}}}}}}"#,
        id(1),
        id(1),
        id(u128::MAX),
        "ab".repeat(16),
        id(0),
        id(9),
        id(1),
        "00".repeat(16)
    );
    assert_eq!(lines[1], expected);
    assert!(lines[3].contains(&format!("\"occurred_at\":{}", i64::MAX)), "{}", lines[3]);
    assert!(lines[5].ends_with(r#""digest":null,"actor":"00000000-0000-0000-0000-000000000008","correlation":"00000000-0000-0000-0000-000000000001","causation":null,"trace":null},"payload":"Confirmed 1"}"#), "{}", lines[5]);
    let before = &text[..text.len() - lines[6].len() - 1];
    let digest = blake3::hash(before.as_bytes()).to_hex();
    assert_eq!(
        lines[6],
        format!(r#"{{"manifest":{{"count":5,"first":1,"last":5,"digest":"{digest}","sealed":false}}}}"#)
    );
    assert_eq!((manifest.count, manifest.first, manifest.last), (5, Some(1), Some(5)));
}

#[tokio::test]
async fn a_copy_exports_the_same_bytes() {
    let log = origin().await;
    let text = all_of(&log).await;
    let (dir, sqlite) = sqlite();
    let memory = MemoryLog::new();
    for copy in [&sqlite as &dyn EventStore, &memory] {
        let imported = take(copy, &file(&dir, &text)).await.unwrap();
        assert_eq!(imported, Imported { written: 5, head: 5 });
        assert_eq!(copy.identity().log, log.identity().log);
        assert_eq!(copy.read_all(1, 10).await.unwrap(), log.read_all(1, 10).await.unwrap());
        assert_eq!((copy.state().await.unwrap(), all_of(copy).await), (LogState::Copy, text.clone()));
        // Once more: everything is there.
        assert_eq!(take(copy, &file(&dir, &text)).await.unwrap().written, 0);
        assert_eq!(all_of(copy).await, text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_moves_to_postgres_and_back() {
    let text = all_of(&origin().await).await;
    let (dir, there) = sqlite();
    let (_dir, back) = sqlite();
    let postgres = PostgresLog::connect(&testing::Postgres::shared().database()).await.unwrap();
    for log in [&there as &dyn EventStore, &postgres, &back] {
        assert_eq!(take(log, &file(&dir, &text)).await.unwrap().written, 5);
        assert_eq!(all_of(log).await, text);
    }
    assert_eq!(back.read_all(1, 10).await.unwrap(), postgres.read_all(1, 10).await.unwrap());
}

#[tokio::test]
async fn an_empty_log_has_a_copy_too() {
    let log = MemoryLog::new();
    let text = all_of(&log).await;
    assert!(text.contains(r#""count":0,"first":null,"last":null"#), "{text}");
    let (dir, copy) = sqlite();
    assert_eq!(take(&copy, &file(&dir, &text)).await.unwrap().written, 0);
    assert_eq!((copy.identity().log, copy.state().await.unwrap()), (log.identity().log, LogState::Copy));
    assert_eq!(all_of(&copy).await, text);
    log.append(vec![append_of(stream(1, 1), 0, 1)], Timestamp::EPOCH).await.unwrap();
    assert_eq!(take(&copy, &file(&dir, all_of(&log).await)).await.unwrap().written, 1);
}

#[tokio::test]
async fn a_copy_follows_until_its_origin_is_sealed() {
    let log = origin().await;
    let (dir, copy) = sqlite();
    take(&copy, &file(&dir, exported(&log, (1, Some(2))).await.0)).await.unwrap();
    let (tail, manifest) = exported(&log, (3, None)).await;
    assert_eq!((manifest.first, manifest.sealed), (Some(3), false));
    assert_eq!(take(&copy, &file(&dir, tail)).await.unwrap().written, 3);
    log.append(vec![append_of(stream(1, 9), 0, 1)], Timestamp::from_seconds(9)).await.unwrap();
    log.set_state(LogState::Sealed).await.unwrap();
    assert!(!exported(&log, (1, Some(5))).await.1.sealed, "there is more behind it");
    // What overlaps is compared, and what is new is taken.
    let (end, manifest) = exported(&log, (4, None)).await;
    assert!(manifest.sealed);
    for written in [1, 0] {
        assert_eq!(take(&copy, &file(&dir, &end)).await.unwrap().written, written);
        assert_eq!(copy.state().await.unwrap(), LogState::Complete);
    }
    assert_eq!(all_of(&copy).await, all_of(&log).await, "sealed and complete logs export the same");
    let (nothing, manifest) = exported(&log, (7, None)).await;
    assert_eq!((manifest.count, manifest.sealed), (0, true));
    take(&copy, &file(&dir, nothing)).await.unwrap();
    copy.set_state(LogState::Open).await.unwrap();
    copy.append(vec![append_of(stream(1, 9), 1, 1)], Timestamp::from_seconds(9)).await.unwrap();
    let refused = take(&copy, &file(&dir, end)).await.unwrap_err().to_string();
    assert!(refused.contains("into an empty log"), "{refused}");
}

/// The text with a manifest that fits what stands before it, as who forges a file would make it.
fn forged(lines: &[&str]) -> String {
    let mut text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let (digest, events) = (blake3::hash(text.as_bytes()).to_hex(), lines.len() - 1);
    text += &format!(
        "{{\"manifest\":{{\"count\":{events},\"first\":1,\"last\":{events},\"digest\":\"{digest}\",\"sealed\":false}}}}\n"
    );
    text
}

#[tokio::test]
async fn a_bad_file_leaves_no_trace() {
    let origin = origin().await;
    let text = all_of(&origin).await;
    let lines: Vec<&str> = text.lines().collect();
    let events = &lines[..6];
    let with = |at: usize, from: &str, to: &str| {
        assert!(lines[at].contains(from), "{}", lines[at]);
        let changed = lines[at].replace(from, to);
        let mut all = lines.clone();
        all[at] = &changed;
        all.iter().map(|line| format!("{line}\n")).collect::<String>()
    };
    let forged_with = |at: usize, from: &str, to: &str| {
        let text = with(at, from, to);
        forged(&text.lines().take(6).collect::<Vec<_>>())
    };
    let (order_of_lines, twice, without) = (
        forged(&[events[0], events[2], events[1], events[3]]),
        forged(&[events[0], events[1], events[1]]),
        forged(&[events[0], events[1], events[3]]),
    );
    let last_line = text.len() - lines[6].len() - 1;
    let cases: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        ("nothing", vec![], "line 1:", "is empty"),
        ("cut before the manifest", text.as_bytes()[..last_line].into(), "line 7:", "without its manifest: it was cut"),
        ("cut in a line", text.as_bytes()[..last_line - 20].into(), "line 6:", "was cut short"),
        ("cut in the manifest", text.as_bytes()[..text.len() - 9].into(), "line 7:", "was cut short"),
        ("cut by its last byte", text.as_bytes()[..text.len() - 1].into(), "line 7:", "was cut short"),
        ("a payload was changed", with(2, "Confirmed 1", "Confirmed 7").into(), "line 7:", "their digest is"),
        ("a time was changed", with(4, "00:16:40Z", "00:16:41Z").into(), "line 7:", "their digest is"),
        ("the log was changed", with(0, "\"log\":\"0", "\"log\":\"1").into(), "line 7:", "their digest is"),
        ("the digest was changed", with(6, "\"digest\":\"", "\"digest\":\"0").into(), "line 7:", "their digest is"),
        ("a wrong count", with(6, "\"count\":5", "\"count\":6").into(), "line 7:", "counts 6 events, and there are 5"),
        ("a wrong end", with(6, "\"last\":5", "\"last\":6").into(), "line 7:", "another first or last"),
        ("not JSON", with(3, "\"position\"", "position").into(), "line 4:", "key must be a string"),
        ("no JSON at all", with(3, lines[3], "Dear diary").into(), "line 4:", "it is not JSON"),
        ("an empty line", with(3, lines[3], "").into(), "line 4:", "it is not JSON"),
        ("no payload", with(3, "payload", "cargo").into(), "line 4:", "has no payload"),
        ("a broken payload", with(2, "\"Confirmed 1\"", "\"Confirmed").into(), "line 3:", "its payload"),
        (
            "a field too many",
            with(2, "\"version\"", "\"vision\":1,\"version\"").into(),
            "line 3:",
            "unknown field `vision`",
        ),
        ("not UTF-8", [lines[0].as_bytes(), b"\n\xff\n"].concat(), "line 2:", "not UTF-8"),
        ("something behind it", format!("{text}{{}}\n").into(), "line 8:", "behind the manifest"),
        (
            "an unknown type",
            forged_with(3, "account.Deposited", "account.Evaporated").into(),
            "line 4:",
            "\"account.Evaporated\"",
        ),
        ("another's type", forged_with(3, "account.Deposited", "order.Placed").into(), "line 4:", "use a newer tiffin"),
        (
            "a newer schema",
            forged_with(4, "\"schema_version\":1", "\"schema_version\":9").into(),
            "line 5:",
            "schema version 9 is newer",
        ),
        (
            "an unknown kind",
            forged_with(4, "\"kind\":\"order\"", "\"kind\":\"oracle\"").into(),
            "line 5:",
            "kind \"oracle\"",
        ),
        (
            "another format",
            with(0, "\"format\":2", "\"format\":3").into(),
            "line 1:",
            "format 3, and this program reads 2",
        ),
        ("no header", lines[1..].join("\n").into(), "line 1:", "not the header"),
        ("not from 0", with(0, "\"from\":1", "\"from\":0").into(), "line 1:", "not at 0"),
        ("other order", order_of_lines.into(), "line 2:", "event 2 stands where event 1 is due"),
        ("an event twice", twice.into(), "line 3:", "event 1 stands where event 2 is due"),
        ("an event left out", without.into(), "line 3:", "event 3 stands where event 2 is due"),
        (
            "another beginning",
            with(0, "\"from\":1", "\"from\":3").into(),
            "line 2:",
            "event 1 stands where event 3 is due",
        ),
        (
            "a gap before",
            exported(&origin, (3, None)).await.0.into(),
            "",
            "begins at event 3, and this log stands at event 0",
        ),
    ];
    let (dir, sqlite) = sqlite();
    let memory = MemoryLog::new();
    for (what, bytes, line, why) in cases {
        for log in [&sqlite as &dyn EventStore, &memory] {
            let own = log.identity();
            let refused = take(log, &file(&dir, &bytes)).await.expect_err(what).to_string();
            assert!(refused.starts_with(line) && refused.contains(why), "{what}: {refused}");
            assert_eq!(
                (log.head().await.unwrap(), log.state().await.unwrap(), log.identity()),
                (0, LogState::Open, own)
            );
        }
    }
    // And what is right is still taken.
    assert_eq!(take(&sqlite, &file(&dir, &text)).await.unwrap().written, 5);
}

#[tokio::test]
async fn a_log_with_other_events_takes_none() {
    let text = all_of(&origin().await).await;
    let (dir, own) = sqlite();
    own.append(vec![append_of(stream(1, 1), 0, 1)], Timestamp::EPOCH).await.unwrap();
    let is_refused = async |log: &SqliteLog, text: &str, why: &str| {
        let before = all_of(log).await;
        let refused = take(log, &file(&dir, text)).await.unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
        assert_eq!(all_of(log).await, before);
    };
    is_refused(&own, &text, "into an empty log, or into an unfinished copy").await;
    own.set_state(LogState::Sealed).await.unwrap();
    is_refused(&own, &text, "is sealed").await;
    let (_dir, copy) = sqlite();
    take(&copy, &file(&dir, &text)).await.unwrap();
    is_refused(&copy, &all_of(&origin().await).await, "and the file is of the log").await;
    // The same log, with another history: the line is named.
    let lines: Vec<&str> = text.lines().take(6).collect();
    let changed = lines[3].replace("\"version\":1", "\"version\":2");
    let other = forged(&[lines[0], lines[1], lines[2], &changed, lines[4], lines[5]]);
    is_refused(&copy, &other, "line 4: event 3 is another one than this log has").await;
}

#[tokio::test]
async fn a_pipe_and_a_missing_file_are_refused() {
    let (dir, log) = sqlite();
    let refused = take(&log, dir.path()).await.unwrap_err().to_string();
    assert!(refused.contains("save it to a file first"), "{refused}");
    let refused = take(&log, &dir.path().join("none")).await.unwrap_err().to_string();
    assert!(refused.contains("cannot be read"), "{refused}");
}

#[tokio::test]
async fn an_event_that_is_no_text_is_not_exported() {
    let log = MemoryLog::new();
    let mut append = append_of(stream(1, 1), 0, 3);
    append.events[1].payload = vec![b'"', 0xff, b'"'];
    log.append(vec![append], Timestamp::EPOCH).await.unwrap();
    let refused = export(&log, (1, None), Bytes::default(), |_, _| {}).await.unwrap_err().to_string();
    assert!(refused.starts_with("event 2 cannot be exported: its payload is not UTF-8"), "{refused}");
}

/// Takes so many bytes and no more, as a disk does.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn an_export_onto_a_full_disk_says_so() {
    let log = origin().await;
    for room in [0, 100, 1000] {
        let refused = export(&log, (1, None), Full(room), |_, _| {}).await.unwrap_err();
        assert!(
            matches!(&refused, ExportError::Written(error) if error.kind() == io::ErrorKind::StorageFull),
            "{refused}"
        );
    }
}

/// A file of many chunks and pages, of which the last is not full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_pages_keep_their_order() {
    let log = MemoryLog::new();
    for key in 0..9 {
        log.append(vec![append_of(stream(1, key), 0, 5_011)], Timestamp::from_seconds(1)).await.unwrap();
    }
    let text = all_of(&log).await;
    let (dir, copy) = sqlite();
    take(&copy, &file(&dir, exported(&log, (1, Some(25_000))).await.0)).await.unwrap();
    let steps = Arc::new(Mutex::new(vec![]));
    let seen = steps.clone();
    let progress: OnEvents = Arc::new(move |done, total| seen.lock().unwrap().push((done, total)));
    let verified = Verified::read(&file(&dir, &text), progress.clone()).await.unwrap();
    let imported = verified.import(&copy, progress).await.unwrap();
    assert_eq!(imported, Imported { written: 9 * 5_011 - 25_000, head: 45_099 });
    assert_eq!(all_of(&copy).await, text);
    let steps = steps.lock().unwrap();
    assert_eq!((steps.first(), steps.last()), (Some(&(5_000, None)), Some(&(45_099, Some(45_099)))));
}

#[tokio::test]
async fn a_file_that_changes_under_way_is_noticed() {
    let log = origin().await;
    let text = all_of(&log).await;
    let (dir, copy) = sqlite();
    let path = file(&dir, &text);
    let verified = Verified::read(&path, Arc::new(|_, _| {})).await.unwrap();
    std::fs::write(&path, text.replace("Confirmed 1", "Confirmed 7")).unwrap();
    let refused = verified.import(&copy, Arc::new(|_, _| {})).await.unwrap_err();
    assert!(matches!(refused, ExportError::Changed { .. }), "{refused}");
}

/// Payloads with all that text can have: JSON as it may be written, and what is no JSON.
fn payloads() -> impl Strategy<Value = Vec<String>> {
    let odd = prop::sample::select(vec![
        "",
        " ",
        "{}",
        " {}",
        "{} ",
        "{\n}",
        "\"\\u0000\\ud83c\\udf5c\"",
        "\"🍜\"",
        "1e400",
        "-0.0",
        "nul",
        "[1,2",
        "\"a\r\"",
        "{\"payload\":1}",
        ",\"payload\":",
        "{\"x\":\",\\\"payload\\\":\"}",
        "\u{0}",
        "\u{2028}",
        "\\",
        "}",
    ]);
    let json =
        any::<String>().prop_map(|text| serde_json::json!({ "Placed": { text.clone(): [text, null] } }).to_string());
    let one = prop_oneof![odd.prop_map(str::to_owned), json, any::<String>(), Just("x".repeat(70_000))];
    prop::collection::vec(one, 1..12)
}

async fn survives(payloads: Vec<String>, micros: Vec<i64>) {
    let log = MemoryLog::new();
    for (key, (payload, at)) in payloads.iter().zip(micros.iter().cycle()).enumerate() {
        let event = NewEvent { name: "Confirmed", schema_version: 1, payload: payload.clone().into_bytes() };
        let mut append = Append { events: vec![event], ..append_of(stream(1, key as u128), 0, 1) };
        append.occurred_at = Timestamp::from_micros(*at);
        log.append(vec![append], Timestamp::from_micros(*at)).await.unwrap();
    }
    let text = all_of(&log).await;
    assert_eq!(text.lines().count(), payloads.len() + 2, "an event is a line");
    assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok() || line.contains("1e400")));
    let (dir, copy) = sqlite();
    take(&copy, &file(&dir, &text)).await.unwrap();
    assert_eq!(copy.read_all(1, 100).await.unwrap(), log.read_all(1, 100).await.unwrap());
    assert_eq!(all_of(&copy).await, text);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_payload_comes_back(payloads in payloads(), micros in prop::collection::vec(any::<i64>(), 1..4)) {
        tokio::runtime::Runtime::new().unwrap().block_on(survives(payloads, micros));
    }
}
