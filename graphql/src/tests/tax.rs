//! Tax from the menu to the receipt and the books.

use serde_json::{Value, json};

use crate::testing::*;

async fn balance(house: &House, account: &str) -> Value {
    let books = house.read(&finance(), "{ balances { nodes { account balance { amount } } } }", json!({})).await;
    let nodes = books["balances"]["nodes"].as_array().unwrap().clone();
    let found = nodes.into_iter().find(|one| one["account"].as_str().unwrap().starts_with(account));
    found.map_or(Value::Null, |one| one["balance"]["amount"].clone())
}

#[tokio::test]
async fn tax_is_on_the_offer_and_the_receipt_and_goes_back_with_a_refund() {
    let house = House::open().await;
    let canteen = house.lunch().await.canteen;
    house.deposit(7, "50.00").await;
    let spec = json!({ "name": "Dumplings", "category": "Main", "price": yuan("10.60"), "taxRate": "6.00" });
    let dish = house.dish(&canteen, spec).await;
    let serving = json!({
        "canteen": canteen, "date": "2026-11-23", "meal": "LUNCH", "dinerLimit": 5,
        "opens": "2026-11-23T08:00", "cutOff": "2026-11-23T11:00", "offers": [{ "dish": dish, "portions": 5 }],
    });
    let serving = house.ask(&staff(), PUBLISH, json!({ "key": key(), "serving": serving })).await.data();
    let serving = serving["publishServing"]["serving"]["id"].clone();
    let offered = "query($s: ID!) { serving(id: $s) { offers { taxRate } } }";
    let offered = house.read(&diner(7), offered, json!({ "s": serving })).await;
    assert_eq!(offered["serving"]["offers"], json!([{ "taxRate": "6" }]));
    let order = house.order(&diner(7), &serving, json!([{ "dish": dish, "quantity": 2 }]), &key()).await;
    let order = order.data()["placeOrder"]["id"].clone();
    let receipt = "query($o: ID!) { order(id: $o) { lines { taxRate } tax { rate amount { amount } } } }";
    let read = house.read(&diner(7), receipt, json!({ "o": order })).await["order"].clone();
    assert_eq!(read["lines"], json!([{ "taxRate": "6" }]));
    assert_eq!(read["tax"], json!([{ "rate": "6", "amount": { "amount": "1.20" } }]));
    assert_eq!(balance(&house, "tax:").await, Value::Null, "nothing is earned yet");

    let no_show = "mutation($o: ID!, $key: UUID!) { markNoShow(order: $o, idempotencyKey: $key) { order { status } } }";
    house.ask(&staff(), no_show, json!({ "o": order, "key": key() })).await.data();
    assert_eq!(balance(&house, "tax:6").await, "1.20");
    assert_eq!(balance(&house, "canteen:").await, "20.00");
    let refund = "mutation($o: ID!, $key: UUID!) {
      refundLines(order: $o, lines: [{ line: 0, quantity: 1 }], reason: NO_SHOW, idempotencyKey: $key) {
        order { tax { amount { amount } } } } }";
    let refunded = house.ask(&staff(), refund, json!({ "o": order, "key": key() })).await.data();
    assert_eq!(refunded["refundLines"]["order"]["tax"], json!([{ "amount": { "amount": "0.60" } }]));
    for (account, left) in [("tax:6", "0.60"), ("canteen:", "10.00"), ("prepaid", "0.00"), ("wallet:", "39.40")] {
        assert_eq!(balance(&house, account).await, left, "{account}");
    }
}

#[tokio::test]
async fn a_rate_that_is_none_is_refused_and_changes_nothing() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    let head = house.head().await;
    for rate in ["-1", "100.01", "6.005"] {
        let spec = json!({ "name": "Rice", "category": "Staple", "price": yuan("3.00"), "taxRate": rate });
        let put = json!({ "key": key(), "canteen": lunch.canteen, "dish": lunch.rice, "spec": spec });
        let refused = house.ask(&staff(), PUT_DISH, put).await;
        assert_eq!(refused.code(), "BAD_INPUT", "{rate}");
        assert_eq!(refused.body["errors"][0]["extensions"]["field"], "taxRate");
    }
    assert_eq!(house.head().await, head, "nothing was appended");
}
