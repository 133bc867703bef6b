//! Answers say when a view lacks something.

use std::time::{Duration, Instant};

use commands::Clock;
use domain::{ActorId, CommandId, StreamId, StreamKind};
use projections::{Runner, Views};
use serde_json::{Value, json};
use store::{Append, EventStore, MemoryLog, Metadata, NewEvent};
use uuid::Uuid;

use crate::{identity::Identity, incomplete::Incomplete, testing::*};

const CANTEENS: &str = "{ canteens { nodes { name } } }";

/// An event of another tenant that no view can take.
fn broken() -> Append {
    let id = Uuid::from_u128(1);
    let metadata = Metadata {
        command: CommandId(id),
        digest: None,
        actor: ActorId(id),
        correlation: id,
        causation: None,
        trace: None,
    };
    let event = NewEvent { name: "Confirmed", schema_version: 1, payload: br#"{"Confirmed":7}"#.to_vec() };
    let stream = StreamId { tenant: tenant(2), kind: StreamKind::Order, key: id };
    let occurred_at = TEN_IN_THE_MORNING.parse().unwrap();
    Append { stream, expected: 0, events: vec![event], metadata, occurred_at, snapshot: None }
}

/// Asks until the extension is `wanted`, which has a second to get about.
async fn says(house: &House, who: &Identity, wanted: Value) {
    let begun = Instant::now();
    loop {
        let answer = house.ask(who, CANTEENS, json!({})).await;
        let said = answer.body["extensions"]["incomplete"].clone();
        if said == wanted {
            answer.data();
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{:#}", answer.body);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_event_that_could_not_be_taken_shows_in_every_answer() {
    let house = House::open().await;
    let whole = house.ask(&diner(7), CANTEENS, json!({})).await;
    assert_eq!(whole.without_cost().get("extensions"), None, "{:#}", whole.body);
    house.store.append(vec![broken()], house.clock.now()).await.unwrap();
    house.views.wait_for(house.head().await, Duration::from_secs(10)).await.unwrap();
    let all: Vec<_> = projections::all().iter().map(|projection| projection.name()).collect();
    assert!(all.contains(&"journal"));
    says(&house, &diner(7), json!(all)).await;
    let open =
        "mutation($key: UUID!) { openCanteen(name: \"East\", zone: \"UTC\", currency: \"CNY\", idempotencyKey: $key) {
      consistencyToken } }";
    let opened = house.ask(&staff(), open, json!({ "key": key() })).await;
    assert_eq!(opened.body["extensions"]["incomplete"], json!(all), "mutations say it too");
    assert_eq!(opened.body["extensions"]["consistencyToken"], opened.token.unwrap());
    let books = house.ask(&finance(), "{ trialBalance { currency } }", json!({})).await;
    assert_eq!(books.code(), "INCOMPLETE", "and the books say it beside their data as well");
    assert_eq!(books.without_cost()["extensions"], json!({ "incomplete": all }), "no positions");
}

#[tokio::test]
async fn a_view_that_waits_is_named_until_it_goes_on() {
    let house = House::open().await;
    says(&house, &diner(7), Value::Null).await;
    house.views.set_paused(&["journal".into()], true).await.unwrap();
    says(&house, &diner(7), json!(["journal"])).await;
    house.views.set_paused(&["journal".into()], false).await.unwrap();
    says(&house, &diner(7), Value::Null).await;
}

#[tokio::test]
async fn views_that_another_program_writes_are_asked_once_a_second() {
    let store = std::sync::Arc::new(MemoryLog::new());
    let folder = tempfile::tempdir().unwrap();
    let theirs = Views::open(folder.path(), store.identity(), projections::all()).unwrap();
    Runner::open(store.clone(), theirs.clone()).await.unwrap().catch_up().await.unwrap();
    let views = Views::open_read_only(folder.path(), store.identity(), projections::all()).unwrap();
    let incomplete = Incomplete::new(views);
    let begun = Instant::now();
    assert!(incomplete.names().await.is_empty());
    theirs.set_paused(&["balances".into(), "journal".into()], true).await.unwrap();
    while incomplete.names().await.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(begun.elapsed() >= Duration::from_secs(1), "asked again after {:?}", begun.elapsed());
    let mut names = incomplete.names().await.to_vec();
    names.sort_unstable();
    assert_eq!(names, ["balances", "journal"]);
}
