use domain::StreamKind;
use serde_json::json;

use crate::{MemoryLog, NewEvent, history::testing::*};

use super::*;

const LATE: i64 = 1_000_000;

async fn at(log: &MemoryLog, at: At) -> Result<Folded, String> {
    state_at(log, wallet(), at, after_noon(LATE)).await.map_err(|error| error.to_string())
}

/// Version, balance, what is held, and whether it is frozen.
fn seen(folded: &Folded) -> (Version, i64, i64, bool) {
    let number = |path: &str| folded.state.pointer(path).and_then(Value::as_i64).unwrap();
    let frozen = folded.state["content"]["frozen"].as_bool().unwrap();
    (folded.last.version, number("/content/posted"), number("/content/held"), frozen)
}

#[tokio::test]
async fn an_account_is_seen_as_it_was() {
    let log = Made::with_a_wallet().await.log;
    let expected =
        [(1, 0, 0, false), (2, 5_000, 0, false), (3, 5_000, 1_250, false), (4, 3_750, 0, false), (5, 3_750, 0, true)];
    for (version, expected) in (1..).zip(expected) {
        assert_eq!(seen(&at(&log, At::Version(version)).await.unwrap()), expected);
    }
    assert_eq!(seen(&at(&log, At::Latest).await.unwrap()), expected[4]);
    // Event 3 is another's.
    for (position, version) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 3), (6, 4)] {
        let folded = at(&log, At::Position(position)).await.unwrap();
        assert_eq!(seen(&folded), expected[version]);
        assert!(folded.last.position <= position);
    }
    for (seconds, version) in [(0, 1), (19, 1), (20, 2), (39, 3), (40, 4), (LATE, 4)] {
        let folded = at(&log, At::Recorded(after_noon(seconds))).await.unwrap();
        assert_eq!(seen(&folded), expected[version], "{seconds}");
    }
    // It was frozen at 25 by what was only recorded at 40, behind a capture at 30.
    for (seconds, version) in [(0, 1), (20, 2), (29, 2), (30, 4), (LATE, 4)] {
        let folded = at(&log, At::Occurred(after_noon(seconds))).await.unwrap();
        assert_eq!(seen(&folded), expected[version], "{seconds}");
    }
}

#[tokio::test]
async fn the_fold_is_the_aggregates_own() {
    let log = Made::with_a_wallet().await.log;
    let mut account = Account::default();
    for row in log.read_stream(wallet(), 1, 100).await.unwrap() {
        let Fact::Account(_, event) = Recorded::decode(&row).unwrap().fact else { panic!("an account's") };
        account.evolve(&event, row.occurred_at);
    }
    let state = at(&log, At::Latest).await.unwrap().state;
    assert_eq!(
        (&state["state"], &state["content"]),
        (&json!("Open"), &serde_json::to_value(&account).unwrap()["Open"])
    );
}

#[tokio::test]
async fn a_moment_that_is_none_is_refused_by_its_name() {
    let log = Made::with_a_wallet().await.log;
    let refused = async |moment| at(&log, moment).await.unwrap_err();
    assert!(refused(At::Version(0)).await.contains("begin at 1"));
    assert!(refused(At::Position(0)).await.contains("begin at 1"));
    assert!(refused(At::Version(6)).await.contains("has no version 6: it is at version 5"));
    assert!(refused(At::Position(7)).await.contains("there is no event 7; the log stands at event 6"));
    for at in [At::Occurred, At::Recorded] {
        let future = after_noon(LATE + 1);
        let said = refused(at(future)).await;
        assert!(said.contains("future") && said.contains(&future.to_string()), "{said}");
        let early = refused(at(after_noon(-1))).await;
        assert!(early.contains("was not there yet: its first event is 1"), "{early}");
    }
    let later = stream(2, StreamKind::Wallet, 8);
    let early = state_at(&log, later, At::Position(2), NOON).await.unwrap_err();
    assert!(matches!(early, HistoryError::NotYet { position: 3, .. }), "{early}");
    for nobody in
        [stream(2, StreamKind::Wallet, 7), stream(1, StreamKind::Subsidy, 7), stream(1, StreamKind::Wallet, 8)]
    {
        let error = state_at(&log, nobody, At::Latest, after_noon(LATE)).await.unwrap_err();
        assert!(matches!(error, HistoryError::NoStream(_)) && error.is_askers(), "{error}");
    }
}

#[tokio::test]
async fn each_event_says_what_it_changed() {
    let log = Made::with_a_wallet().await.log;
    let mut steps = Steps::open(&log, wallet(), At::Version(4), after_noon(LATE)).await.unwrap();
    let mut shown = Vec::new();
    let mut state = json!({ "state": "Unopened" });
    while let Some(step) = steps.next().await.unwrap() {
        let paths = step.changes.iter().map(|change| change.path.as_str()).collect::<Vec<_>>().join(" ");
        shown.push(format!("{} {paths}", step.event.event_type));
        for change in step.changes {
            assert_eq!(state.pointer(&change.path), change.old.as_ref());
            if let Some(place) = state.pointer_mut(&change.path) {
                *place = change.new.unwrap_or_default();
            }
        }
        state = steps.shown().unwrap();
    }
    assert_eq!(
        shown,
        [
            "account.Opened /content /state",
            "account.Deposited /content/posted /content/settled/00000000-0000-0000-0000-000000000046",
            "account.Held /content/held /content/holds/00000000-0000-0000-0000-00000000005a~10",
            "account.Captured /content/held /content/holds/00000000-0000-0000-0000-00000000005a~10 /content/posted \
             /content/settled/00000000-0000-0000-0000-00000000005a~10",
        ]
    );
    let mut later = Steps::open(&log, wallet(), At::Latest, after_noon(LATE)).await.unwrap();
    later.skip_to(4).await.unwrap();
    let frozen = later.next().await.unwrap().unwrap();
    let change = Change { path: "/content/frozen".into(), old: Some(json!(false)), new: Some(json!(true)) };
    assert_eq!((frozen.event.version, frozen.changes), (5, vec![change]));
    assert_eq!(later.next().await.unwrap(), None);
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_named_and_not_skipped() {
    let made = Made::with_a_wallet().await;
    let frozen = made.log.read_stream(wallet(), 5, 1).await.unwrap().remove(0);
    let melted = NewEvent { name: "Melted", schema_version: 1, payload: b"\"Melted\"".to_vec() };
    let append = crate::Append {
        stream: wallet(),
        expected: 5,
        events: vec![melted],
        metadata: frozen.metadata,
        occurred_at: NOON,
        snapshot: None,
    };
    made.log.append(vec![append], NOON).await.unwrap();
    assert!(at(&made.log, At::Latest).await.unwrap_err().contains("event 7 is account.Melted"));
    assert_eq!(at(&made.log, At::Version(5)).await.unwrap().last.version, 5);
}

#[test]
fn a_state_that_passes_on_is_one_change() {
    let (ready, taken) =
        (unfolded(json!({ "Ready": [{ "lines": 2 }, "1234"] })), unfolded(json!({ "Taken": { "lines": 2 } })));
    assert_eq!(ready, json!({ "state": "Ready", "content": { "lines": 2 }, "with": ["1234"] }));
    assert_eq!(taken, json!({ "state": "Taken", "content": { "lines": 2 } }));
    let paths: Vec<String> = changes(&ready, &taken).into_iter().map(|change| change.path).collect();
    assert_eq!(paths, ["/state", "/with"]);
    assert_eq!(unfolded(json!("New")), json!({ "state": "New" }));
}
