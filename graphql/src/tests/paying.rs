//! Orders that a provider pays.

use domain::trade::TradeNumber;
use providers::Weather;
use serde_json::{Value, json};

use crate::testing::*;

const PAY: &str = "mutation($input: PlaceOrderInput!, $key: UUID!) { placeOrder(input: $input, idempotencyKey: $key) {
    __typename
    ... on Order { id status payment paymentCode tenders { source account amount { amount } state why } }
    ... on PaymentFailed { order message } } }";

const READ: &str = "query($o: ID!) { order(id: $o) { status refusal paymentCode tenders { state } } }";

async fn order(house: &House, lunch: &Lunch, with: &str, key: &str) -> Answered {
    let input = json!({ "serving": lunch.serving, "payWith": with, "lines": [{ "dish": lunch.rice, "quantity": 2 }] });
    house.ask(&diner(7), PAY, json!({ "key": key, "input": input })).await
}

fn number(code: &Value) -> TradeNumber {
    code.as_str().unwrap().rsplit('/').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_diner_pays_what_the_wallet_lacks_by_phone() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    house.deposit(7, "2.00").await;
    let key = key();
    let placed = order(&house, &lunch, "WECHAT_PAY", &key).await.data()["placeOrder"].clone();
    assert_eq!((&placed["status"], &placed["payment"]), (&json!("PLACED"), &json!("WECHAT_PAY")));
    let tenders = placed["tenders"].as_array().unwrap();
    assert_eq!(tenders[0]["source"], "WALLET");
    let by_phone = json!({ "source": "WECHAT_PAY", "account": null, "amount": { "amount": "4.00" },
        "state": "ASKED", "why": "REST" });
    assert_eq!(tenders[1], by_phone);
    // Tapping again shows the same code, and so does a look at the order; nobody else is shown it.
    let again = order(&house, &lunch, "WECHAT_PAY", &key).await.data()["placeOrder"].clone();
    assert_eq!((&again["id"], &again["paymentCode"]), (&placed["id"], &placed["paymentCode"]));
    let read = house.read(&diner(7), READ, json!({ "o": placed["id"] })).await;
    assert_eq!(read["order"]["paymentCode"], placed["paymentCode"]);
    assert_eq!(house.read(&staff(), READ, json!({ "o": placed["id"] })).await["order"]["paymentCode"], Value::Null);

    let said = house.stand_in.pay(tenant(1), number(&placed["paymentCode"])).unwrap();
    house.ordering.provider_notified(said).await.unwrap();
    let paid = house.read(&diner(7), READ, json!({ "o": placed["id"] })).await["order"].clone();
    let taken = json!([{ "state": "CAPTURED" }, { "state": "CAPTURED" }]);
    assert_eq!(paid, json!({ "status": "CONFIRMED", "refusal": null, "paymentCode": null, "tenders": taken }));
    let books = house.read(&finance(), "{ balances { nodes { account balance { amount } } } }", json!({})).await;
    let clearing = json!({ "account": "clearing:wechat_pay", "balance": { "amount": "-4.00" } });
    assert!(books["balances"]["nodes"].as_array().unwrap().contains(&clearing), "{books}");
}

#[tokio::test]
async fn a_payment_that_the_provider_refuses_is_an_answer_to_act_on() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    house.stand_in.set_weather(Weather { no_merchant: true, ..Weather::default() });
    let refused = order(&house, &lunch, "ALIPAY", &key()).await.data()["placeOrder"].clone();
    assert_eq!(refused["__typename"], "PaymentFailed");
    let read = house.read(&diner(7), READ, json!({ "o": refused["order"] })).await["order"].clone();
    let failed = json!([{ "state": "FAILED" }]);
    let expected = json!({ "status": "REFUSED", "refusal": "PAYMENT_FAILED", "paymentCode": null, "tenders": failed });
    assert_eq!(read, expected);
}

#[tokio::test]
async fn a_house_without_providers_says_so_and_appends_nothing() {
    let house = House::without_providers().await;
    let lunch = house.lunch().await;
    let head = house.head().await;
    let answer = order(&house, &lunch, "WECHAT_PAY", &key()).await;
    assert_eq!((answer.code(), answer.field()), ("BAD_INPUT", "payWith"));
    assert_eq!(house.head().await, head);
}

#[tokio::test]
async fn staff_sell_at_once_and_refund_an_amount_to_the_tender_they_name() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    house.deposit(9, "2.00").await;
    let input = |more: Value| {
        let mut input = json!({ "serving": lunch.serving, "diner": uuid::Uuid::from_u128(9), "handOver": true,
            "lines": [{ "dish": lunch.rice, "quantity": 2 }] });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "key": key(), "input": input })
    };
    let sell = "mutation($input: PlaceOrderInput!, $key: UUID!) { placeOrder(input: $input, idempotencyKey: $key) {
        ... on Order { id status channel } } }";
    let sold = house.ask(&staff(), sell, input(json!({ "payWith": "AT_COUNTER" }))).await.data()["placeOrder"].clone();
    assert_eq!((&sold["status"], &sold["channel"]), (&json!("PICKED_UP"), &json!("WALK_UP")));
    let refund = "mutation($o: ID!, $a: MoneyInput!, $to: [Int!], $why: StaffRefundReason, $key: UUID!) {
        refundAmount(order: $o, amount: $a, firstTo: $to, reason: $why, idempotencyKey: $key) {
          order { refunded { amount } refunds { amount { amount } lines { line quantity amount { amount } } }
                  tenders { refunded { amount } } } } }";
    let of = |amount: &str| json!({ "o": sold["id"], "a": yuan(amount), "to": [0], "why": "COMPLAINT", "key": key() });
    let order = house.ask(&staff(), refund, of("1.50")).await.data()["refundAmount"]["order"].clone();
    let lines = json!([{ "line": 0, "quantity": 0, "amount": { "amount": "1.50" } }]);
    assert_eq!(order["refunds"], json!([{ "amount": { "amount": "1.50" }, "lines": lines }]));
    assert_eq!(order["tenders"], json!([{ "refunded": { "amount": "1.50" } }]));
    let head = house.head().await;
    for amount in ["4.51", "-1.00", "0.00"] {
        let answer = house.ask(&staff(), refund, of(amount)).await;
        assert_eq!((answer.code(), answer.field()), ("BAD_INPUT", "amount"));
    }
    // A diner hands nothing over.
    let mine = json!({ "key": key(), "input": { "serving": lunch.serving, "handOver": true,
        "lines": [{ "dish": lunch.rice, "quantity": 1 }] } });
    let answer = house.ask(&diner(9), sell, mine).await;
    assert_eq!((answer.code(), answer.field()), ("BAD_INPUT", "handOver"));
    assert_eq!(house.head().await, head, "nothing was appended");
}

#[tokio::test]
async fn after_the_meal_staff_say_what_they_refund_for_and_before_it_they_may() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    house.deposit(7, "20.00").await;
    house.deposit(8, "20.00").await;
    let more = "mutation($s: ID!, $d: ID!, $key: UUID!) {
        setPortions(serving: $s, dish: $d, portions: 4, idempotencyKey: $key) { __typename } }";
    house.ask(&staff(), more, json!({ "s": lunch.serving, "d": lunch.rice, "key": key() })).await.data();
    let place = async |number| {
        let lines = json!([{ "dish": lunch.rice, "quantity": 2 }]);
        house.order(&diner(number), &lunch.serving, lines, &key()).await.data()["placeOrder"]["id"].clone()
    };
    let reasons = "order { refunds { reason begunAt parts { tender source account amount { amount } status since } } }";
    let lines = format!(
        "mutation($o: ID!, $why: StaffRefundReason, $key: UUID!) {{ it: refundLines(order: $o,
           lines: [{{ line: 0, quantity: 1 }}], reason: $why, idempotencyKey: $key) {{ {reasons} }} }}"
    );
    let amount = format!(
        "mutation($o: ID!, $why: StaffRefundReason, $key: UUID!) {{ it: refundAmount(order: $o,
           amount: {{ amount: \"1.00\", currency: \"CNY\" }}, reason: $why, idempotencyKey: $key) {{ {reasons} }} }}"
    );
    let ask = async |query: &str, order: &Value, why: Value, key: &str| {
        house.ask(&staff(), query, json!({ "o": order, "why": why, "key": key })).await
    };
    let before = place(7).await;
    let (first, second) = (key(), key());
    let unsaid = ask(&lines, &before, Value::Null, &first).await.data()["it"]["order"]["refunds"].clone();
    assert_eq!(unsaid[0]["reason"], "COMPLAINT");
    assert_eq!(unsaid[0]["begunAt"], TEN_IN_THE_MORNING);
    ask(&amount, &before, json!("WITHDRAWN"), &second).await.data();
    // The same key with another reason is another request.
    assert_eq!(ask(&lines, &before, json!("COMPLAINT"), &first).await.code(), "KEY_REUSED");
    assert_eq!(ask(&amount, &before, json!("NO_SHOW"), &second).await.code(), "KEY_REUSED");
    let read = "query($o: ID!) { order(id: $o) { refunds { reason amount { amount }
        parts { tender source account amount { amount } status since } } } }";
    let account = json!(
        crate::node::NodeId::Account(domain::AccountId::Wallet(domain::DinerId(uuid::Uuid::from_u128(7)))).encode().0
    );
    let part = |amount: &str| {
        json!([{ "tender": 0, "source": "WALLET", "account": account, "amount": { "amount": amount },
            "status": "RETURNED", "since": TEN_IN_THE_MORNING }])
    };
    assert_eq!(unsaid[0]["parts"], part("3.00"), "of the mutation's own answer");
    let mut shown = house.read(&diner(7), read, json!({ "o": before })).await["order"]["refunds"].clone();
    shown.as_array_mut().unwrap().sort_by_key(|refund| refund["reason"].to_string());
    let refund =
        |reason: &str, amount: &str| json!({ "reason": reason, "amount": { "amount": amount }, "parts": part(amount) });
    assert_eq!(shown, json!([refund("COMPLAINT", "3.00"), refund("WITHDRAWN", "1.00")]));

    let after = place(8).await;
    let mark = "mutation($o: ID!, $key: UUID!) { markNoShow(order: $o, idempotencyKey: $key) { order { status } } }";
    house.ask(&staff(), mark, json!({ "o": after, "key": key() })).await.data();
    let head = house.head().await;
    let free = key();
    for query in [&lines, &amount] {
        let refused = ask(query, &after, Value::Null, &free).await;
        assert_eq!((refused.code(), refused.field()), ("BAD_INPUT", "reason"));
    }
    assert_eq!(house.head().await, head, "nothing was appended");
    let said = ask(&lines, &after, json!("NO_SHOW"), &free).await.data()["it"]["order"]["refunds"].clone();
    assert_eq!((said.as_array().map(Vec::len), &said[0]["reason"]), (Some(1), &json!("NO_SHOW")));
    for who in [diner(7), finance()] {
        let refused = house.ask(&who, &lines, json!({ "o": after, "why": "COMPLAINT", "key": key() })).await;
        assert_eq!(refused.code(), "FORBIDDEN");
    }
}

#[tokio::test]
async fn a_serving_may_charge_a_no_show_less_than_all_of_it() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    house.deposit(7, "6.00").await;
    let serving = |percent| {
        json!({
        "canteen": lunch.canteen, "date": "2026-11-23", "meal": "DINNER", "opens": "2026-11-23T08:00",
        "cutOff": "2026-11-23T17:00", "dinerLimit": 5, "noShowPercent": percent,
        "offers": [{ "dish": lunch.rice, "portions": 2 }] })
    };
    let head = house.head().await;
    let wrong = house.ask(&staff(), PUBLISH, json!({ "key": key(), "serving": serving(101) })).await;
    assert_eq!((wrong.code(), house.head().await), ("BAD_INPUT", head));
    let dinner = house.ask(&staff(), PUBLISH, json!({ "key": key(), "serving": serving(50) })).await.data();
    let two = json!([{ "dish": lunch.rice, "quantity": 2 }]);
    let order = house.order(&diner(7), &dinner["publishServing"]["serving"]["id"], two, &key()).await.data();
    let order = order["placeOrder"]["id"].clone();
    let mark = "mutation($o: ID!, $key: UUID!) { markNoShow(order: $o, idempotencyKey: $key) {
        order { status refunded { amount } } } }";
    let marked = house.ask(&staff(), mark, json!({ "o": order, "key": key() })).await.data()["markNoShow"].clone();
    assert_eq!(marked["order"], json!({ "status": "NO_SHOW", "refunded": { "amount": "3.00" } }));
}
