//! Answers say when a view lacks something.

use std::time::{Duration, Instant};

use commands::Clock;
use domain::{ActorId, CommandId, StreamId, StreamKind};
use projections::{Runner, Views};
use serde_json::{Value, json};
use store::{Append, EventStore, MemoryLog, Metadata, NewEvent};
use uuid::Uuid;

use crate::{
    identity::{Identity, Role},
    incomplete::Incomplete,
    testing::*,
};

const CANTEENS: &str = "{ canteens { nodes { name } } }";

/// An event of another tenant that no view can take.
fn broken() -> Append {
    of_order(1, 0, br#"{"Confirmed":7}"#)
}

/// The event after the one with that version of another tenant's order, as its bytes say.
fn of_order(order: u128, version: u64, payload: &[u8]) -> Append {
    let id = Uuid::from_u128(order);
    let metadata = Metadata {
        command: CommandId(id),
        digest: None,
        actor: ActorId(id),
        correlation: id,
        causation: None,
        trace: None,
    };
    let event = NewEvent { name: "Confirmed", schema_version: 1, payload: payload.to_vec() };
    let stream = StreamId { tenant: tenant(2), kind: StreamKind::Order, key: id };
    let occurred_at = TEN_IN_THE_MORNING.parse().unwrap();
    Append { stream, expected: version, events: vec![event], metadata, occurred_at, snapshot: None }
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

/// Two orders are parked: one by its first event, which takes a sound one with it, one by its only event.
#[tokio::test]
async fn operators_page_through_what_is_parked_until_it_is_done_without() {
    let house = House::open().await;
    let before = house.head().await;
    let (bad, sound) = (br#"{"Confirmed":"hunter2"}"#.as_slice(), br#""Confirmed""#.as_slice());
    for append in [of_order(1, 0, bad), of_order(2, 0, bad), of_order(1, 1, sound), of_order(3, 0, sound)] {
        house.store.append(vec![append], house.clock.now()).await.unwrap();
    }
    let ops = Identity::new(tenant(1), Uuid::from_u128(300), [Role::Ops]);
    let query = "query($view: String!, $after: String) {
      parkedEvents(projection: $view, first: 2, after: $after) {
        nodes { position tenant kind key type parkedAt } pageInfo { hasNextPage endCursor } } }";
    let page = async |after: &Value| {
        let page = house.read(&ops, query, json!({ "view": "journal", "after": after })).await;
        assert!(!page.to_string().contains("hunter2"), "what is in an event is nobody's business here: {page:#}");
        page["parkedEvents"].clone()
    };
    let event = |position: u64, order: u128| {
        json!({ "position": position.to_string(), "tenant": tenant(2), "kind": "ORDER",
          "key": Uuid::from_u128(order), "type": "order.Confirmed" })
    };
    let told = |page: &Value| {
        let mut nodes = page["nodes"].as_array().unwrap().clone();
        for node in &mut nodes {
            let at = node.as_object_mut().unwrap().remove("parkedAt").unwrap();
            assert!(at.as_str().unwrap().parse::<domain::Timestamp>().is_ok(), "{at}");
        }
        nodes
    };
    let first = page(&Value::Null).await;
    assert_eq!(told(&first), [event(before + 1, 1), event(before + 2, 2)]);
    assert_eq!(first["pageInfo"]["hasNextPage"], true);
    let second = page(&first["pageInfo"]["endCursor"]).await;
    assert_eq!(told(&second), [event(before + 3, 1)], "what stands behind a parked one");
    assert_eq!(second["pageInfo"]["hasNextPage"], false);
    let fields = house.read(&ops, "{ __type(name: \"ParkedEvent\") { fields { name } } }", json!({})).await;
    assert_eq!(fields["__type"]["fields"].as_array().unwrap().len(), 6, "all of them are asked for above");
    let parked = async || {
        let views = house.read(&ops, "{ projections { name live parked } }", json!({})).await["projections"].clone();
        let of_journal = |view: &&Value| view["name"] == "journal" && view["live"] == true;
        views.as_array().unwrap().iter().find(of_journal).unwrap()["parked"].clone()
    };
    assert_eq!(parked().await, "3");

    for role in [Role::Diner, Role::Canteen, Role::Company, Role::Finance, Role::Auditor] {
        // Of the very tenant whose events they are.
        let who = Identity::new(tenant(2), Uuid::from_u128(9), [role]);
        let refused = house.ask(&who, query, json!({ "view": "journal" })).await;
        assert_eq!((refused.code(), &refused.body["data"]), ("FORBIDDEN", &Value::Null), "{role:?}");
    }
    for after in ["?", "-1", "1.5"] {
        let refused = house.ask(&ops, query, json!({ "view": "journal", "after": after })).await;
        assert_eq!((refused.code(), refused.field()), ("BAD_INPUT", "after"), "{after}");
    }

    let stream = of_order(1, 0, bad).stream;
    house.views.drop_parked("journal", stream, "a test's own", "ops").await.unwrap();
    let left = page(&Value::Null).await;
    assert_eq!((told(&left), &left["pageInfo"]["hasNextPage"]), (vec![event(before + 2, 2)], &json!(false)));
    assert_eq!(parked().await, "1");
    house.views.drop_parked("journal", of_order(2, 0, bad).stream, "a test's own", "ops").await.unwrap();
    assert_eq!(told(&page(&Value::Null).await), [] as [Value; 0]);
    assert_eq!(parked().await, "0");
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
