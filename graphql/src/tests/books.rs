//! Closing the books, and reading them by booking date.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    identity::{Identity, Role},
    testing::*,
};

const CHANGED: &str = "{ __typename
    ... on BooksPayload { books { zone closedThrough deductionOrder } changed consistencyToken }
    ... on BooksRefused { refusal message today closedThrough } }";

async fn change(house: &House, field: &str, arguments: &str, key: &str) -> Answered {
    let query = format!("mutation {{ result: {field}({arguments}, idempotencyKey: \"{key}\") {CHANGED} }}");
    house.ask(&finance(), &query, json!({})).await
}

async fn changed(house: &House, field: &str, arguments: &str) -> Value {
    change(house, field, arguments, &key()).await.data()["result"].clone()
}

async fn close(house: &House, through: &str) -> Value {
    changed(house, "closePeriod", &format!("through: \"{through}\"")).await
}

async fn refused(house: &House, field: &str, arguments: &str) -> Value {
    let head = house.head().await;
    let result = changed(house, field, arguments).await;
    assert_eq!((&result["__typename"], house.head().await), (&json!("BooksRefused"), head), "{result}");
    result
}

/// Books in Shanghai, where it is ten in the morning of 2026-11-23.
async fn opened() -> House {
    let house = House::open().await;
    let result = changed(&house, "openBooks", "zone: \"Asia/Shanghai\"").await;
    assert_eq!(
        result["books"],
        json!({ "zone": "Asia/Shanghai", "closedThrough": null, "deductionOrder": "SUBSIDY_FIRST" })
    );
    house
}

#[tokio::test]
async fn finance_closes_and_reopens_periods() {
    let house = opened().await;
    assert_eq!(close(&house, "2026-09-30").await["books"]["closedThrough"], "2026-09-30");
    let october = key();
    for _ in 0..2 {
        // The same key again is the same close.
        let result = change(&house, "closePeriod", "through: \"2026-10-31\"", &october).await.data();
        assert_eq!((&result["result"]["changed"], house.head().await), (&json!(true), 3), "{result}");
    }
    let reused = change(&house, "closePeriod", "through: \"2026-11-01\"", &october).await;
    assert_eq!(reused.code(), "KEY_REUSED");
    assert_eq!(close(&house, "2026-10-31").await["changed"], false);

    house.at("2026-11-24T02:00:00Z");
    let reopened = changed(&house, "reopenPeriod", "from: \"2026-10-07\", reason: LATE_INVOICE").await;
    assert_eq!(reopened["books"]["closedThrough"], "2026-09-30");
    close(&house, "2026-11-15").await;
    let wallet = changed(&house, "setDeductionOrder", "order: WALLET_FIRST").await;
    assert_eq!((&wallet["books"]["deductionOrder"], &wallet["changed"]), (&json!("WALLET_FIRST"), &json!(true)));
    let query = "query($after: String) { periods(first: 2, after: $after) { zone closedThrough deductionOrder pageInfo { hasNextPage endCursor }
        nodes { number from through closedAt closedBy reopenedAt reopenedBy reason } } }";
    let page = house.read(&finance(), query, json!({})).await["periods"].clone();
    let by = Uuid::from_u128(101);
    let third = json!({ "number": 3, "from": "2026-10-01", "through": "2026-11-15", "closedAt": "2026-11-24T02:00:00Z",
        "closedBy": by, "reopenedAt": null, "reopenedBy": null, "reason": null });
    let second = json!({ "number": 2, "from": "2026-10-01", "through": "2026-10-31", "closedAt": TEN_IN_THE_MORNING,
        "closedBy": by, "reopenedAt": "2026-11-24T02:00:00Z", "reopenedBy": by, "reason": "LATE_INVOICE" });
    assert_eq!(page["nodes"], json!([third, second]));
    assert_eq!((&page["zone"], &page["closedThrough"]), (&json!("Asia/Shanghai"), &json!("2026-11-15")));
    assert_eq!((&page["deductionOrder"], &page["pageInfo"]["hasNextPage"]), (&json!("WALLET_FIRST"), &json!(true)));
    let rest = house.read(&finance(), query, json!({ "after": page["pageInfo"]["endCursor"] })).await;
    let numbers: Vec<_> = rest["periods"]["nodes"].as_array().unwrap().iter().map(|it| it["number"].clone()).collect();
    assert_eq!((numbers, &rest["periods"]["pageInfo"]["hasNextPage"]), (vec![json!(1)], &json!(false)));
}

#[tokio::test]
async fn what_the_books_refuse_is_a_typed_answer_and_changes_nothing() {
    let house = House::open().await;
    let not_open = refused(&house, "closePeriod", "through: \"2026-10-31\"").await;
    assert_eq!(not_open["refusal"], "BOOKS_NOT_OPEN");
    refused(&house, "reopenPeriod", "from: \"2026-10-31\", reason: AUDIT").await;
    refused(&house, "setDeductionOrder", "order: WALLET_FIRST").await;
    assert_eq!(refused(&house, "openBooks", "zone: \"Mars/Olympus\"").await["refusal"], "UNKNOWN_ZONE");
    changed(&house, "openBooks", "zone: \"Asia/Shanghai\"").await;
    assert_eq!(refused(&house, "openBooks", "zone: \"UTC\"").await["refusal"], "BOOKS_ALREADY_OPEN");
    close(&house, "2026-10-31").await;
    let early = refused(&house, "closePeriod", "through: \"2026-10-15\"").await;
    assert_eq!((&early["refusal"], &early["closedThrough"]), (&json!("OUT_OF_ORDER"), &json!("2026-10-31")));
    let tomorrow = refused(&house, "closePeriod", "through: \"2026-11-24\"").await;
    assert_eq!((&tomorrow["refusal"], &tomorrow["today"]), (&json!("NOT_YET"), &json!("2026-11-23")));
    assert!(tomorrow["message"].as_str().unwrap().contains("2026-11-24 has not come yet"), "{tomorrow}");
    assert_eq!(refused(&house, "closePeriod", "through: \"1969-12-31\"").await["refusal"], "TOO_EARLY");
}

#[tokio::test]
async fn what_comes_late_is_marked_and_the_closed_period_stays() {
    let house = opened().await;
    house.deposit(7, "50").await;
    close(&house, "2026-11-23").await;
    let balances = "query($to: Date) { periodBalances(to: $to) { nodes { account closing { amount } } }
        asOf: trialBalance(asOf: { date: \"2026-11-23\" }) { debits { amount } } }";
    let before = house.read(&finance(), balances, json!({ "to": "2026-11-23" })).await;
    house.at("2026-11-23T09:00:00Z");
    house.deposit(8, "1").await;
    assert_eq!(house.read(&finance(), balances, json!({ "to": "2026-11-23" })).await, before);
    assert_eq!(before["asOf"], json!([{ "debits": { "amount": "50.00" } }]));
    let journal = "{ journal(account: \"bank\") { nodes { bookingDate late amount { amount } } } }";
    let nodes = house.read(&finance(), journal, json!({})).await["journal"]["nodes"].clone();
    let entry = |date: &str, late: bool, amount: &str| json!({ "bookingDate": date, "late": late, "amount": { "amount": amount } });
    assert_eq!(nodes, json!([entry("2026-11-24", true, "-1.00"), entry("2026-11-23", false, "-50.00")]));
    let balanced = house.read(&finance(), balances, json!({})).await["periodBalances"]["nodes"].clone();
    let sum: f64 = balanced
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["closing"]["amount"].as_str().unwrap().parse::<f64>().unwrap())
        .sum();
    assert_eq!((sum, balanced.as_array().unwrap().len()), (0.0, 3));
}

const STATEMENT: &str = "query($account: String!, $from: Date, $to: Date, $after: String) {
    statement(account: $account, from: $from, to: $to) { account opening { amount currency } debits { amount }
      credits { amount } closing { amount }
      entries(first: 2, after: $after) { pageInfo { hasNextPage endCursor }
        nodes { bookingDate late event amount { amount } balance { amount } } } } }";

#[tokio::test]
async fn a_statement_runs_on_over_its_pages() {
    let house = opened().await;
    for (day, amount) in [("21", "1"), ("22", "2"), ("23", "3"), ("24", "4"), ("25", "5")] {
        house.at(&format!("2026-11-{day}T02:00:00Z"));
        house.deposit(7, amount).await;
    }
    let ask = async |after: Value| {
        let variables = json!({ "account": "bank", "from": "2026-11-22", "to": "2026-11-24", "after": after });
        house.read(&finance(), STATEMENT, variables).await["statement"][0].clone()
    };
    let first = ask(Value::Null).await;
    assert_eq!(first["opening"], json!({ "amount": "-1.00", "currency": "CNY" }));
    let sums = ["debits", "credits", "closing"].map(|sum| first[sum]["amount"].clone());
    assert_eq!(sums, ["9.00", "0.00", "-10.00"]);
    let balances = |page: &Value| -> Vec<String> {
        let nodes = page["entries"]["nodes"].as_array().unwrap().iter();
        nodes.map(|it| it["balance"]["amount"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(balances(&first), ["-3.00", "-6.00"]);
    let second = ask(first["entries"]["pageInfo"]["endCursor"].clone()).await;
    assert_eq!(balances(&second), ["-10.00"]);
    assert_eq!(second["entries"]["pageInfo"]["hasNextPage"], false);

    for (variables, field) in [
        (json!({ "account": "petty cash" }), "account"),
        (json!({ "account": "bank", "from": "2026-11-02", "to": "2026-11-01" }), "from"),
        (json!({ "account": "bank", "after": "3" }), "after"),
    ] {
        let wrong = house.ask(&finance(), STATEMENT, variables).await;
        let at = &wrong.body["errors"][0]["extensions"]["field"];
        assert_eq!((wrong.code(), at), ("BAD_INPUT", &json!(field)), "{}", wrong.body);
    }
    // Days of no calendar that a database has are no trouble.
    let old = json!({ "account": "bank", "from": "-009999-01-01", "to": "0000-01-01" });
    assert_eq!(house.read(&finance(), STATEMENT, old).await["statement"], json!([]));
}

#[tokio::test]
async fn canteens_are_owed_what_was_collected() {
    let house = opened().await;
    let lunch = house.lunch().await;
    house.deposit(7, "50").await;
    let lines = json!([{ "dish": lunch.rice, "quantity": 2 }]);
    let order = house.order(&diner(7), &lunch.serving, lines, &key()).await.data()["placeOrder"]["id"].clone();
    for step in ["prepare", "markReady"] {
        let query =
            format!("mutation($o: ID!, $k: UUID!) {{ {step}(order: $o, idempotencyKey: $k) {{ consistencyToken }} }}");
        house.ask(&staff(), &query, json!({ "o": order, "k": key() })).await.data();
    }
    let code = house.read(&diner(7), "query($o: ID!) { order(id: $o) { pickupCode } }", json!({ "o": order })).await;
    let collect = "mutation($o: ID!, $c: String!, $k: UUID!) { collect(order: $o, code: $c, idempotencyKey: $k) { consistencyToken } }";
    let variables = json!({ "o": order, "c": code["order"]["pickupCode"], "k": key() });
    house.ask(&staff(), collect, variables).await.data();
    let payables = "query($from: Date) { payables(from: $from) {
        nodes { canteen { name } opening { amount } earned { amount } taken { amount } closing { amount } } } }";
    let one = |opening: &str, earned: &str| {
        json!([{ "canteen": { "name": "East" }, "opening": { "amount": opening },
        "earned": { "amount": earned }, "taken": { "amount": "0.00" }, "closing": { "amount": "6.00" } }])
    };
    let today = house.read(&finance(), payables, json!({ "from": "2026-11-23" })).await;
    assert_eq!(today["payables"]["nodes"], one("0.00", "6.00"));
    let later = house.read(&finance(), payables, json!({ "from": "2026-11-24" })).await;
    assert_eq!(later["payables"]["nodes"], one("6.00", "0.00"));
}

#[tokio::test]
async fn auditors_read_the_books_and_strangers_see_none_of_them() {
    let house = opened().await;
    house.deposit(7, "50").await;
    close(&house, "2026-11-23").await;
    let all = "{ periods { zone nodes { number } } statement(account: \"bank\") { account }
        periodBalances { nodes { account } } payables { nodes { account } } }";
    let auditor = Identity::new(tenant(1), Uuid::from_u128(9), [Role::Auditor]);
    let seen = house.read(&auditor, all, json!({})).await;
    assert_eq!(
        (seen["periods"]["nodes"].as_array().unwrap().len(), &seen["statement"][0]["account"]),
        (1, &json!("bank"))
    );
    let close = format!("mutation {{ closePeriod(through: \"2026-11-22\", idempotencyKey: \"{}\") {CHANGED} }}", key());
    assert_eq!(house.ask(&auditor, &close, json!({})).await.code(), "FORBIDDEN");
    let stranger = Identity::new(tenant(2), Uuid::from_u128(101), [Role::Finance]);
    let nothing = json!({ "periods": { "zone": null, "nodes": [] }, "statement": [], "periodBalances": { "nodes": [] },
        "payables": { "nodes": [] } });
    assert_eq!(house.read(&stranger, all, json!({})).await, nothing);
    assert_eq!(house.ask(&diner(7), all, json!({})).await.code(), "FORBIDDEN");
    assert_eq!(
        house.ask(&staff(), "{ statement(account: \"bank\") { account } }", json!({})).await.code(),
        "FORBIDDEN"
    );
}
