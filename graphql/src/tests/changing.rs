//! A diner changes an order.

use serde_json::{Value, json};

use crate::{identity::Identity, testing::*};

const CHANGE: &str = "mutation($o: ID!, $lines: [OrderLineInput!]!, $key: UUID!) {
    changeOrder(order: $o, lines: $lines, idempotencyKey: $key) {
      __typename
      ... on Order { status total { amount } refunded { amount } lines { name quantity }
        tenders { source amount { amount } state } refunds { amount { amount } beforeChange lines { line } } }
      ... on SoldOut { order offers { asked left } }
      ... on InsufficientFunds { order short { amount } } } }";

async fn ask(house: &House, who: &Identity, order: &Value, lines: Value) -> Answered {
    house.ask(who, CHANGE, json!({ "o": order, "lines": lines, "key": key() })).await
}

#[tokio::test]
async fn a_changed_order_shows_what_it_is_for_and_where_the_difference_went() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    house.deposit(7, "20.00").await;
    let rice = |quantity: u32| json!([{ "dish": lunch.rice, "quantity": quantity }]);
    let soy = json!([{ "group": "Sauce", "choice": "Soy" }]);
    let noodles = |quantity: u32| json!([{ "dish": lunch.noodles, "quantity": quantity, "options": soy }]);
    let placed = house.order(&diner(7), &lunch.serving, rice(1), &key()).await.data();
    let order = placed["placeOrder"]["id"].clone();

    let changed = ask(&house, &diner(7), &order, noodles(1)).await.data()["changeOrder"].clone();
    assert_eq!((&changed["status"], &changed["total"]["amount"]), (&json!("CONFIRMED"), &json!("12.50")));
    let from = |amount: &str| json!({ "source": "WALLET", "amount": { "amount": amount }, "state": "CAPTURED" });
    assert_eq!(changed["tenders"], json!([from("3.00"), from("9.50")]));

    let cheaper = ask(&house, &diner(7), &order, rice(2)).await.data()["changeOrder"].clone();
    assert_eq!(cheaper["lines"], json!([{ "name": "Rice", "quantity": 2 }]));
    let back = json!([{ "amount": { "amount": "6.50" }, "beforeChange": true, "lines": [] }]);
    assert_eq!((&cheaper["refunds"], &cheaper["refunded"]["amount"]), (&back, &json!("0.00")));

    let mine = "{ myOrders { nodes { total { amount } lines { name quantity } refunds { beforeChange } } } }";
    let mine = house.read(&diner(7), mine, json!({})).await["myOrders"]["nodes"][0].clone();
    let expected = json!({ "total": { "amount": "6.00" }, "lines": [{ "name": "Rice", "quantity": 2 }],
                           "refunds": [{ "beforeChange": true }] });
    assert_eq!(mine, expected);
    let board = "query($s: ID!) { kitchenBoard(serving: $s) { nodes { lines { name quantity } } } }";
    let board = house.read(&staff(), board, json!({ "s": lunch.serving })).await;
    assert_eq!(board["kitchenBoard"]["nodes"][0]["lines"], json!([{ "name": "Rice", "quantity": 2 }]));
}

#[tokio::test]
async fn what_cannot_be_changed_is_typed_or_coded_and_leaves_the_order() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    house.deposit(7, "10.00").await;
    let rice = |quantity: u32| json!([{ "dish": lunch.rice, "quantity": quantity }]);
    let order = house.order(&diner(7), &lunch.serving, rice(1), &key()).await.data()["placeOrder"]["id"].clone();
    let head = house.head().await;
    let sold_out = ask(&house, &diner(7), &order, rice(4)).await.data()["changeOrder"].clone();
    let expected = json!({ "__typename": "SoldOut", "order": null, "offers": [{ "asked": 3, "left": 1 }] });
    assert_eq!(sold_out, expected);
    assert_eq!(ask(&house, &diner(8), &order, rice(2)).await.code(), "NOT_FOUND");
    assert_eq!(ask(&house, &finance(), &order, rice(2)).await.code(), "FORBIDDEN");
    assert_eq!(ask(&house, &diner(7), &order, json!([])).await.code(), "BAD_INPUT");
    assert_eq!(house.head().await, head, "nothing was appended");

    let soy = json!([{ "group": "Sauce", "choice": "Soy" }]);
    let noodles = json!([{ "dish": lunch.noodles, "quantity": 1, "options": soy }]);
    let short = ask(&house, &diner(7), &order, noodles).await.data()["changeOrder"].clone();
    assert_eq!(short, json!({ "__typename": "InsufficientFunds", "order": null, "short": { "amount": "2.50" } }));
    let prepare = "mutation($o: ID!, $key: UUID!) { prepare(order: $o, idempotencyKey: $key) { order { status total { amount } } } }";
    let prepared = house.ask(&staff(), prepare, json!({ "o": order, "key": key() })).await.data()["prepare"].clone();
    assert_eq!(prepared["order"], json!({ "status": "PREPARING", "total": { "amount": "3.00" } }));
    let late = ask(&house, &diner(7), &order, rice(2)).await;
    assert_eq!((late.code(), late.field()), ("OUT_OF_TURN", "order"));
}
