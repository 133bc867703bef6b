//! What auditors read of the log, and nobody else.

use domain::{ActorId, CommandId, StreamKind};
use serde_json::{Value, json};
use store::{Append, EventStore, Metadata, NewEvent, contract};
use uuid::Uuid;

use crate::{
    HttpLimits,
    identity::{Identity, Role},
    testing::*,
};

fn auditor(of: u128) -> Identity {
    Identity::new(tenant(of), Uuid::from_u128(300), [Role::Auditor])
}

/// A wallet's deposit in another tenant, so that positions of ours have gaps.
async fn theirs(house: &House, owner: u128) {
    let finance = Identity::new(tenant(2), Uuid::from_u128(101), [Role::Finance]);
    let account = json!({ "kind": "WALLET", "owner": Uuid::from_u128(owner) });
    house.ask(&finance, DEPOSIT, json!({ "key": key(), "account": account, "amount": yuan("9") })).await.data();
}

/// A lunch with one order that was paid and prepared; the order's global id and UUID.
async fn audited() -> (House, Value, Uuid) {
    let house = House::open().await;
    let lunch = house.lunch().await;
    theirs(&house, 7).await;
    house.deposit(7, "50").await;
    theirs(&house, 8).await;
    let lines = json!([{ "dish": lunch.rice, "quantity": 1 }]);
    let order = house.order(&diner(7), &lunch.serving, lines, &key()).await.data()["placeOrder"]["id"].clone();
    let prepare = "mutation($o: ID!, $key: UUID!) { prepare(order: $o, idempotencyKey: $key) { consistencyToken } }";
    house.ask(&staff(), prepare, json!({ "o": order, "key": key() })).await.data();
    theirs(&house, 9).await;
    let id = crate::node::order(&async_graphql::ID(order.as_str().unwrap().to_owned())).unwrap();
    (house, order, id.0)
}

const EVENTS: &str = "query($filter: EventFilter, $first: Int, $after: String, $newest: Boolean! = false) {
  events(filter: $filter, first: $first, after: $after, newestFirst: $newest) {
    scannedTo pageInfo { hasNextPage hasPreviousPage endCursor }
    nodes { id type version payload readable occurredAt recordedAt command actor correlation causation digest
            stream { kind key } books { account amount { amount currency } } } } }";

/// The types of all events of a filter, over as many pages as it takes.
async fn types(house: &House, filter: Value, first: i32, newest: bool) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), Value::Null);
    loop {
        let variables = json!({ "filter": filter, "first": first, "after": after, "newest": newest });
        let page = house.ask(&auditor(1), EVENTS, variables).await.data()["events"].clone();
        let nodes = page["nodes"].as_array().unwrap();
        assert!(nodes.len() <= first as usize);
        found.extend(nodes.iter().map(|node| node["type"].as_str().unwrap().to_owned()));
        assert_eq!(page["pageInfo"]["hasNextPage"], !page["scannedTo"].is_null());
        after = page["scannedTo"].clone();
        if after.is_null() {
            return found;
        }
    }
}

const OF_THE_ORDER: [&str; 9] = [
    "order.Placed",
    "serving.Reserved",
    "payment.Started",
    "account.Held",
    "payment.Held",
    "order.Confirmed",
    "account.Captured",
    "payment.Captured",
    "order.Preparing",
];

#[tokio::test]
async fn events_are_found_by_filter_page_by_page_from_either_end() {
    let (house, _, order) = audited().await;
    let of_order = json!({ "correlation": order });
    for first in [1, 2, 100] {
        assert_eq!(types(&house, of_order.clone(), first, false).await, OF_THE_ORDER);
        let mut newest_first = types(&house, of_order.clone(), first, true).await;
        newest_first.reverse();
        assert_eq!(newest_first, OF_THE_ORDER);
    }
    let stream = json!({ "stream": { "kind": "ORDER", "key": order } });
    assert_eq!(types(&house, stream, 2, false).await, ["order.Placed", "order.Confirmed", "order.Preparing"]);
    let wallet = json!({ "kind": "WALLET", "types": ["account.Held", "account.Deposited"] });
    assert_eq!(types(&house, wallet, 9, false).await, ["account.Deposited", "account.Held"]);
    let mine = json!({ "actor": Uuid::from_u128(7) });
    assert_eq!(types(&house, mine, 9, false).await, ["order.Placed"]);
    assert_eq!(types(&house, json!({ "recordedFrom": "2027-01-01T00:00:00Z" }), 9, false).await, [""; 0]);
    let (all, early) = (types(&house, Value::Null, 100, false).await, json!({ "occurredTo": "2027-01-01T00:00:00Z" }));
    assert_eq!(types(&house, early, 100, false).await, all);
    assert!(all.len() > OF_THE_ORDER.len());
}

#[tokio::test]
async fn an_event_is_told_whole_and_by_its_id_again() {
    let (house, _, order) = audited().await;
    let filter = json!({ "filter": { "correlation": order, "types": ["account.Captured"] } });
    let page = house.ask(&auditor(1), EVENTS, filter).await.data()["events"].clone();
    let captured = &page["nodes"][0];
    assert_eq!(captured["stream"], json!({ "kind": "WALLET", "key": Uuid::from_u128(7) }));
    let wallet = format!("wallet:{}", Uuid::from_u128(7));
    assert_eq!(
        captured["books"],
        json!([{ "account": wallet, "amount": yuan("-3.00") }, { "account": "prepaid", "amount": yuan("3.00") }])
    );
    let payload: Value = serde_json::from_str(captured["payload"].as_str().unwrap()).unwrap();
    assert_eq!(payload["Captured"]["amount"]["minor"], 300);
    assert_eq!((&captured["readable"], &captured["correlation"]), (&json!(true), &json!(order)));
    let query = "query($id: ID!) { event(id: $id) { id type payload version } }";
    let again = house.ask(&auditor(1), query, json!({ "id": captured["id"] })).await.data()["event"].clone();
    for field in ["id", "type", "payload", "version"] {
        assert_eq!(again[field], captured[field], "{field}");
    }
    let from = json!({ "correlation": order, "fromEvent": captured["id"] });
    assert_eq!(types(&house, from, 9, false).await, OF_THE_ORDER[6..]);
    let to = json!({ "correlation": order, "toEvent": captured["id"] });
    assert_eq!(types(&house, to, 9, false).await, OF_THE_ORDER[..=6]);
}

const CAUSATION: &str = "query($order: ID, $correlation: UUID, $event: ID) {
  causation(order: $order, correlation: $correlation, event: $event) {
    correlation isWhole commands { command depth isOrphan causation actor decided { id type } } } }";

#[tokio::test]
async fn a_matter_is_told_whole_however_it_is_named() {
    let (house, order, id) = audited().await;
    let told = async |variables: Value| house.ask(&auditor(1), CAUSATION, variables).await.data()["causation"].clone();
    let tree = told(json!({ "order": order })).await;
    assert_eq!((&tree["correlation"], &tree["isWhole"]), (&json!(id), &json!(true)));
    let commands = tree["commands"].as_array().unwrap();
    let mut decided: Vec<&str> = commands
        .iter()
        .flat_map(|command| command["decided"].as_array().unwrap())
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    let mut expected = OF_THE_ORDER.to_vec();
    decided.sort_unstable();
    expected.sort_unstable();
    assert_eq!(decided, expected);
    assert_eq!(told(json!({ "correlation": id })).await, tree);
    let event = commands[3]["decided"][0]["id"].clone();
    assert_eq!(told(json!({ "event": event })).await, tree);
    let both = house.ask(&auditor(1), CAUSATION, json!({ "order": order, "correlation": id })).await;
    assert_eq!(both.code(), "BAD_INPUT");
    assert_eq!(house.ask(&auditor(1), CAUSATION, json!({})).await.code(), "BAD_INPUT");
}

const AGGREGATE: &str = "query($kind: StreamKind!, $key: UUID!, $at: MomentInput, $first: Int, $after: String) {
  aggregate(kind: $kind, key: $key, at: $at) {
    version state last { id type }
    changes(first: $first, after: $after) { pageInfo { hasNextPage }
      edges { cursor node { event { type version } places { path old new } } } } } }";

#[tokio::test]
async fn a_thing_is_seen_as_it_was_and_what_changed_it() {
    let (house, _, order) = audited().await;
    let seen = async |at: Value| {
        let variables = json!({ "kind": "ORDER", "key": order, "at": at });
        house.ask(&auditor(1), AGGREGATE, variables).await.data()["aggregate"].clone()
    };
    let name = |seen: &Value| {
        let state: Value = serde_json::from_str(seen["state"].as_str().unwrap()).unwrap();
        state["state"].as_str().unwrap().to_owned()
    };
    for (version, state) in [("1", "Placed"), ("2", "Confirmed"), ("3", "Preparing")] {
        let at_version = seen(json!({ "version": version })).await;
        assert_eq!((&at_version["version"], name(&at_version)), (&json!(version), state.to_owned()));
        assert_eq!(seen(json!({ "event": at_version["last"]["id"] })).await, at_version);
    }
    let now = seen(Value::Null).await;
    assert_eq!(now, seen(json!({ "recorded": TEN_IN_THE_MORNING })).await);
    assert_eq!(now, seen(json!({ "occurred": TEN_IN_THE_MORNING })).await);
    let steps = now["changes"]["edges"].as_array().unwrap();
    assert_eq!((steps.len(), &now["changes"]["pageInfo"]["hasNextPage"]), (3, &json!(false)));
    let change = json!([{ "path": "/state", "old": "\"Placed\"", "new": "\"Confirmed\"" }]);
    assert_eq!(steps[1]["node"]["places"], change);
    let page = json!({ "kind": "ORDER", "key": order, "first": 1, "after": steps[0]["cursor"] });
    let page = house.ask(&auditor(1), AGGREGATE, page).await.data()["aggregate"]["changes"].clone();
    assert_eq!(page, json!({ "pageInfo": { "hasNextPage": true }, "edges": [steps[1]] }));
    let wallet = json!({ "kind": "WALLET", "key": Uuid::from_u128(7) });
    let wallet = house.ask(&auditor(1), AGGREGATE, wallet).await.data()["aggregate"].clone();
    let state: Value = serde_json::from_str(wallet["state"].as_str().unwrap()).unwrap();
    assert_eq!(state["content"]["posted"], 4_700, "{state}");
}

#[tokio::test]
async fn another_tenants_history_is_as_if_it_were_not() {
    let (house, order, id) = audited().await;
    let ours = house.ask(&auditor(1), EVENTS, json!({ "first": 100 })).await.data()["events"]["nodes"].clone();
    let event = &ours[0]["id"];
    let unknown = Uuid::from_u128(424_242);
    let unknown_order = json!(crate::NodeId::Order(unknown.into()).encode().0);
    for (query, foreign, unknown) in [
        ("query($id: ID!) { event(id: $id) { type } }", json!({ "id": event }), json!({ "id": "AAAA" })),
        (CAUSATION, json!({ "order": order }), json!({ "order": unknown_order })),
        (CAUSATION, json!({ "correlation": id }), json!({ "correlation": unknown })),
        (CAUSATION, json!({ "event": event }), json!({ "event": "AAAA" })),
        (AGGREGATE, json!({ "kind": "ORDER", "key": id }), json!({ "kind": "ORDER", "key": unknown })),
        (EVENTS, json!({ "after": event }), json!({ "after": "AAAA" })),
        (EVENTS, json!({ "filter": { "fromEvent": event } }), json!({ "filter": { "fromEvent": "AAAA" } })),
    ] {
        let one = house.ask(&auditor(2), query, foreign).await.without_cost();
        assert_eq!(one, house.ask(&auditor(2), query, unknown).await.without_cost(), "{query}");
    }
    // A wallet of the same diner's UUID is another one there.
    let wallet = json!({ "kind": "WALLET", "key": Uuid::from_u128(7) });
    let theirs = house.ask(&auditor(2), AGGREGATE, wallet).await.data()["aggregate"].clone();
    assert!(theirs["state"].as_str().unwrap().contains("\"posted\":900"), "{theirs}");
    let listed = house.ask(&auditor(2), EVENTS, json!({ "first": 100 })).await.data()["events"]["nodes"].clone();
    assert_eq!(listed.as_array().map(Vec::len), Some(12), "three accounts, each with a top-up");
    let count = house.head().await as usize;
    assert_eq!(ours.as_array().map(Vec::len), Some(count - 12));
    // A cursor at a foreign event is a place and no event.
    let at_theirs = house.ask(&auditor(1), EVENTS, json!({ "first": 100 })).await.body.to_string();
    assert!(!at_theirs.contains("position"), "{at_theirs}");
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_without_a_number_of_the_log() {
    let (house, _, order) = audited().await;
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
    let first = house.ask(&auditor(1), EVENTS, json!({ "first": 2 })).await.data()["events"]["nodes"].clone();
    let filter = |filter: Value| json!({ "filter": filter });
    let at = |at: Value| json!({ "kind": "ORDER", "key": order, "at": at });
    for (query, variables, says) in [
        (EVENTS, filter(json!({ "types": ["order.Melted"] })), "order.Placed"),
        (EVENTS, filter(json!({ "types": vec!["order"; 51] })), "at most 50"),
        (EVENTS, filter(json!({ "recordedFrom": late, "recordedTo": early })), "earlier"),
        (EVENTS, filter(json!({ "occurredFrom": late, "occurredTo": early })), "earlier"),
        (EVENTS, filter(json!({ "fromEvent": first[1]["id"], "toEvent": first[0]["id"] })), "turn them round"),
        (EVENTS, filter(json!({ "fromEvent": "7" })), "not the id of an event"),
        (EVENTS, filter(json!({ "kind": "MENU", "stream": { "kind": "ORDER", "key": order } })), "of kind order"),
        (EVENTS, json!({ "first": 101 }), "1 to 100"),
        (EVENTS, json!({ "first": 0 }), "1 to 100"),
        (EVENTS, json!({ "after": "7" }), "not a cursor"),
        (AGGREGATE, at(json!({ "version": "0" })), "begin at 1"),
        (AGGREGATE, at(json!({ "version": "-1" })), "begin at 1"),
        (AGGREGATE, at(json!({ "version": "9" })), "has no version 9: it is at version 3"),
        (AGGREGATE, at(json!({ "occurred": "2999-01-01T00:00:00Z" })), "future"),
        (AGGREGATE, at(json!({ "recorded": "2999-01-01T00:00:00Z" })), "future"),
        (AGGREGATE, at(json!({ "recorded": early })), "was not there yet"),
        (AGGREGATE, at(json!({ "event": first[0]["id"] })), "was not there yet"),
        (AGGREGATE, at(json!({ "event": "7" })), "not the id of an event"),
        (AGGREGATE, at(json!({})), "exactly one"),
        (AGGREGATE, at(json!({ "version": "1", "recorded": early })), "exactly one"),
        (AGGREGATE, json!({ "kind": "ORDER", "key": order, "after": "x" }), "not a cursor"),
    ] {
        let answer = house.ask(&auditor(1), query, variables.clone()).await;
        assert_eq!(answer.code(), "BAD_INPUT", "{variables}: {}", answer.body);
        let message = answer.body["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains(says), "{variables}: {message}");
        assert!(!message.contains("event 1") && !message.contains("is 1"), "{message}");
    }
    let many: String = (0..10).map(|n| format!("e{n}: events(first: 1) {{ scannedTo }} ")).collect();
    assert_eq!(house.ask(&auditor(1), &format!("{{ {many} }}"), json!({})).await.code(), "TOO_COMPLEX");
}

#[tokio::test]
async fn a_page_looks_only_so_far_and_says_how_far() {
    let house = House::with(HttpLimits::default(), false).await;
    // Another tenant's, and many.
    let append = Append {
        stream: domain::StreamId { kind: StreamKind::Wallet, ..contract::stream(2, 1) },
        expected: 0,
        events: vec![NewEvent { name: "Frozen", schema_version: 1, payload: b"\"Frozen\"".to_vec() }; 20_500],
        metadata: Metadata {
            command: CommandId(Uuid::from_u128(7)),
            digest: None,
            actor: ActorId(Uuid::from_u128(8)),
            correlation: Uuid::from_u128(1),
            causation: None,
            trace: None,
        },
        occurred_at: domain::Timestamp::EPOCH,
        snapshot: None,
    };
    house.store.append(vec![append], domain::Timestamp::EPOCH).await.unwrap();
    house.deposit(7, "50").await;
    let page = async |after: Value| {
        let variables = json!({ "filter": { "types": ["account.Deposited"] }, "after": after });
        house.ask(&auditor(1), EVENTS, variables).await.data()["events"].clone()
    };
    let first = page(Value::Null).await;
    assert_eq!((&first["nodes"], &first["pageInfo"]["hasNextPage"]), (&json!([]), &json!(true)));
    assert_eq!(house.ask(&auditor(2), EVENTS, json!({ "after": first["scannedTo"] })).await.code(), "BAD_INPUT");
    // What stands there is another's: no id that is made of the cursor gives it away.
    let forged = base64::Engine::encode(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD,
        format!("Event:{}", first["scannedTo"].as_str().unwrap()),
    );
    for query in
        ["query($id: ID!) { event(id: $id) { type } }", "query($id: ID!) { causation(event: $id) { isWhole } }"]
    {
        let answer = house.ask(&auditor(1), query, json!({ "id": forged })).await.data();
        assert!(answer.as_object().unwrap().values().all(Value::is_null), "{answer}");
    }
    let second = page(first["scannedTo"].clone()).await;
    assert_eq!((second["nodes"][0]["type"].as_str(), &second["scannedTo"]), (Some("account.Deposited"), &Value::Null));
    // What is sought by its stream or by time is found at once.
    for (filter, count) in [
        (json!({ "stream": { "kind": "WALLET", "key": Uuid::from_u128(7) } }), 2),
        (json!({ "recordedFrom": TEN_IN_THE_MORNING }), 4),
    ] {
        let found = house.ask(&auditor(1), EVENTS, json!({ "filter": filter })).await.data()["events"].clone();
        assert_eq!((found["nodes"].as_array().map(Vec::len), &found["scannedTo"]), (Some(count), &Value::Null));
    }
}
