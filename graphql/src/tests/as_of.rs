//! The books and the orders of a day at moments that have been.

use domain::{Aggregate, CommandId, OrderId, Timestamp, order::Order};
use serde_json::{Value, json};
use store::{Append, EventStore, Metadata, NewEvent};
use uuid::Uuid;

use crate::{HttpLimits, identity::Identity, testing::*};

const BOOKS: &str = "query($m: AsOfInput) {
  trialBalance(asOf: $m) { accounts debits { amount } credits { amount } balance { amount } }
  balances(asOf: $m) { nodes { account balance { amount } } }
  journal(asOf: $m) { nodes { event account } }
  prepaid: journal(account: \"prepaid\", asOf: $m) { nodes { event } }
  since: journal(from: \"2026-11-23T02:00:00Z\", asOf: $m) { nodes { event } }
  ordersOfDay(date: \"2026-11-23\", asOf: $m) { nodes { status tenders { amount { amount } } } } }";

/// What is on the accounts whose name begins so.
fn on(books: &Value, name: &str) -> Vec<String> {
    let nodes = books["balances"]["nodes"].as_array().unwrap().iter();
    let of = nodes.filter(|one| one["account"].as_str().unwrap().starts_with(name));
    of.map(|one| one["balance"]["amount"].as_str().unwrap().to_owned()).collect()
}

fn events(books: &Value, field: &str) -> Vec<String> {
    let nodes = books[field]["nodes"].as_array().unwrap().iter();
    nodes.map(|one| one["event"].as_str().unwrap().to_owned()).collect()
}

fn statuses(books: &Value) -> Vec<&str> {
    books["ordersOfDay"]["nodes"].as_array().unwrap().iter().map(|one| one["status"].as_str().unwrap()).collect()
}

async fn deposited(house: &House, owner: u128, amount: &str) -> String {
    let account = json!({ "kind": "WALLET", "owner": Uuid::from_u128(owner) });
    let variables = json!({ "key": key(), "account": account, "amount": yuan(amount) });
    house.ask(&finance(), DEPOSIT, variables).await.token.unwrap()
}

#[tokio::test]
async fn finance_reads_the_books_and_the_day_as_they_were() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    let funded = deposited(&house, 7, "50").await;
    house.at("2026-11-23T02:10:00Z");
    let lines = json!([{ "dish": lunch.rice, "quantity": 2 }]);
    let placed = house.order(&diner(7), &lunch.serving, lines, &key()).await.token.unwrap();
    house.at("2026-11-23T02:20:00Z");
    let richer = deposited(&house, 8, "1").await;

    let books = async |moment: Value| house.read(&finance(), BOOKS, json!({ "m": moment })).await;
    let zero = json!({ "amount": "0.00" });
    for (moments, [debits, wallets, prepaid, orders]) in [
        ([json!({ "position": funded }), json!({ "at": "2026-11-23T02:09:59Z" })], ["50.00", "50.00", "", ""]),
        (
            [json!({ "position": placed }), json!({ "at": "2026-11-23T02:10:00Z" })],
            ["56.00", "44.00", "6.00", "CONFIRMED"],
        ),
        ([json!({ "position": richer }), Value::Null], ["57.00", "44.00 1.00", "6.00", "CONFIRMED"]),
    ] {
        for moment in moments {
            let books = books(moment.clone()).await;
            let trial = &books["trialBalance"][0];
            assert_eq!((&trial["balance"], &trial["debits"]["amount"]), (&zero, &json!(debits)), "{moment}");
            assert_eq!(trial["debits"], trial["credits"]);
            assert_eq!(on(&books, "wallet:").join(" "), wallets, "{moment}");
            assert_eq!(on(&books, "prepaid").join(" "), prepaid, "{moment}");
            assert_eq!(statuses(&books).join(" "), orders, "{moment}");
            assert_eq!(events(&books, "prepaid").len(), usize::from(!prepaid.is_empty()), "{moment}");
            assert_eq!(events(&books, "since").len(), events(&books, "journal").len(), "{moment}");
            assert_eq!(trial["accounts"], on(&books, "").len().to_string(), "{moment}");
        }
    }
    let before = books(json!({ "at": "2026-11-23T01:59:59Z" })).await;
    assert_eq!((&before["trialBalance"], on(&before, "").len(), statuses(&before).len()), (&json!([]), 0, 0));

    let elsewhere = "query($c: ID!) { ordersOfDay(date: \"2026-11-23\", canteen: $c) { nodes { id } } }";
    let of = async |canteen: &Value| house.ask(&finance(), elsewhere, json!({ "c": canteen })).await;
    assert_eq!(of(&lunch.canteen).await.data()["ordersOfDay"]["nodes"].as_array().unwrap().len(), 1);
    assert_eq!(of(&lunch.rice).await.code(), "NOT_FOUND");
}

#[tokio::test]
async fn pages_of_the_past_go_on_where_they_ended() {
    let house = House::open().await;
    for _ in 0..3 {
        deposited(&house, 7, "5").await;
    }
    let moment = json!({ "position": deposited(&house, 8, "5").await });
    deposited(&house, 9, "5").await;
    for (field, count) in [("journal", 8), ("balances", 3), ("journal(account: \"bank\"", 4)] {
        let field = if field.contains('(') { field.to_owned() } else { format!("{field}(") };
        let query = format!(
            "query($m: AsOfInput, $after: String) {{ page: {field} asOf: $m, first: 2, after: $after) {{
               nodes {{ account }} pageInfo {{ hasNextPage endCursor }} }} }}"
        );
        let (mut seen, mut after) = (0, Value::Null);
        loop {
            let page = house.read(&finance(), &query, json!({ "m": moment, "after": after })).await["page"].clone();
            seen += page["nodes"].as_array().unwrap().len();
            after = page["pageInfo"]["endCursor"].clone();
            if page["pageInfo"]["hasNextPage"] == false {
                break;
            }
        }
        assert_eq!(seen, count, "{field}");
    }
}

#[tokio::test]
async fn what_is_no_moment_is_bad_input_and_tells_no_positions() {
    let house = House::open().await;
    let token = deposited(&house, 7, "50").await;
    let other = Identity::new(tenant(2), Uuid::from_u128(1), [crate::identity::Role::Finance]);
    let books = "query($m: AsOfInput) { trialBalance(asOf: $m) { currency } }";
    for (who, moment) in [
        (finance(), json!({})),
        (finance(), json!({ "position": token, "at": "2026-11-23T02:00:00Z" })),
        (finance(), json!({ "position": "rubbish" })),
        (finance(), json!({ "position": "17" })),
        (finance(), json!({ "event": token })),
        (finance(), json!({ "at": "2026-11-23T02:00:01Z" })),
        (other.clone(), json!({ "position": token })),
    ] {
        let answer = house.ask(&who, books, json!({ "m": moment })).await;
        assert_eq!(answer.code(), "BAD_INPUT", "{moment}");
        assert_eq!(answer.body["errors"][0]["extensions"]["field"], "asOf", "{moment}");
    }
    let theirs = house.read(&other, BOOKS, json!({ "m": { "at": "2026-11-23T02:00:00Z" } })).await;
    assert_eq!((&theirs["trialBalance"], on(&theirs, "").len()), (&json!([]), 0));
}

#[tokio::test]
async fn views_that_stand_still_are_stale() {
    let limits = HttpLimits { patience: std::time::Duration::from_millis(20), ..HttpLimits::default() };
    let house = House::with(limits, false).await;
    let token = deposited(&house, 7, "50").await;
    let answer = house.ask(&finance(), BOOKS, json!({ "m": { "position": token } })).await;
    assert_eq!(answer.code(), "STALE");
}

#[tokio::test]
async fn a_view_that_could_not_take_an_event_says_so_from_there_on() {
    let house = House::open().await;
    let before = deposited(&house, 7, "50").await;
    let nobodys = OrderId(Uuid::from_u128(404));
    let events = vec![NewEvent { name: "Confirmed", schema_version: 1, payload: b"\"Confirmed\"".to_vec() }];
    let metadata = Metadata {
        command: CommandId(Uuid::from_u128(1)),
        digest: None,
        actor: domain::ActorId(Uuid::from_u128(2)),
        correlation: nobodys.0,
        causation: None,
        trace: None,
    };
    let at: Timestamp = TEN_IN_THE_MORNING.parse().unwrap();
    let stream = Order::stream(tenant(1), nobodys);
    let append = Append { stream, expected: 0, events, metadata, occurred_at: at, snapshot: None };
    house.store.append(vec![append], at).await.unwrap();
    house.views.wait_for(house.head().await, std::time::Duration::from_secs(10)).await.unwrap();

    let day = "query($m: AsOfInput) { ordersOfDay(date: \"2026-11-23\", asOf: $m) { nodes { status } } }";
    for moment in [Value::Null, json!({ "at": TEN_IN_THE_MORNING })] {
        let now = house.ask(&finance(), day, json!({ "m": moment })).await;
        assert_eq!((now.code(), &now.body["data"]["ordersOfDay"]["nodes"]), ("INCOMPLETE", &json!([])));
        assert_eq!(now.body["errors"][0]["path"], json!(["ordersOfDay"]));
    }
    house.ask(&finance(), day, json!({ "m": { "position": before } })).await.data();
}
