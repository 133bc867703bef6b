//! Who sees and changes what: tenants, diners, canteens.

use domain::{CanteenId, DinerId};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    identity::{Canteens, Identity, Role},
    node::NodeId,
    testing::*,
};

/// All roles, in another tenant, under the very same ids.
fn stranger() -> Identity {
    let roles = Role::ALL.into_iter().filter(|role| *role != Role::Ops).collect::<Vec<_>>();
    Identity { canteens: Canteens::ALL, ..Identity::new(tenant(2), Uuid::from_u128(7), roles) }
}

async fn an_order(house: &House, lunch: &Lunch) -> Value {
    house.deposit(7, "50").await;
    let lines = json!([{ "dish": lunch.rice, "quantity": 1 }]);
    house.order(&diner(7), &lunch.serving, lines, &key()).await.data()["placeOrder"]["id"].clone()
}

#[tokio::test]
async fn a_foreign_id_and_an_unknown_one_get_the_same_answer() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    let order = an_order(&house, &lunch).await;
    let unknown = Uuid::from_u128(424_242);
    let known_dish = json!(NodeId::Dish(unknown.into(), unknown.into()).encode().0);
    let wallet = |owner: Uuid| json!(NodeId::Account(domain::AccountId::Wallet(DinerId(owner))).encode().0);
    let pairs = [
        (lunch.canteen.clone(), json!(NodeId::Canteen(CanteenId(unknown)).encode().0)),
        (lunch.rice.clone(), known_dish),
        (lunch.serving.clone(), json!(NodeId::Serving(unknown.into()).encode().0)),
        (order.clone(), json!(NodeId::Order(unknown.into()).encode().0)),
        (wallet(Uuid::from_u128(7)), wallet(unknown)),
    ];
    house.views.wait_for(house.head().await, std::time::Duration::from_secs(10)).await.unwrap();
    let head = house.head().await;
    for (foreign, unknown) in &pairs {
        for query in [
            "query($id: ID!) { node(id: $id) { id } }",
            "query($id: ID!) { canteen(id: $id) { id } }",
            "query($id: ID!) { serving(id: $id) { id } }",
            "query($id: ID!) { order(id: $id) { id } }",
            "query($id: ID!) { account(id: $id) { id } }",
            "query($id: ID!) { dashboard(serving: $id) { refusals { reason } } }",
            "query($id: ID!) { kitchenBoard(serving: $id) { nodes { order } } }",
            "query($id: ID!) { ordersOfServing(serving: $id) { nodes { id } } }",
            "query($id: ID!) { servings(date: \"2026-11-23\", canteen: $id) { nodes { id } } }",
            "query($id: ID!) { dashboards(date: \"2026-11-23\", canteen: $id) { refusals { reason } } }",
            "mutation($id: ID!) { cancelOrder(order: $id, idempotencyKey: \"018f4d0e-7c1a-7b3e-9a52-0242ac120002\") { consistencyToken } }",
            "mutation($id: ID!) { prepare(order: $id, idempotencyKey: \"018f4d0e-7c1a-7b3e-9a52-0242ac120002\") { consistencyToken } }",
            "mutation($id: ID!) { retireDish(dish: $id, idempotencyKey: \"018f4d0e-7c1a-7b3e-9a52-0242ac120002\") { consistencyToken } }",
            "mutation($id: ID!) { freezeAccount(account: $id, idempotencyKey: \"018f4d0e-7c1a-7b3e-9a52-0242ac120002\") { consistencyToken } }",
            "mutation($id: ID!) { withdrawServing(serving: $id, idempotencyKey: \"018f4d0e-7c1a-7b3e-9a52-0242ac120002\") { consistencyToken } }",
        ] {
            let one = house.ask(&stranger(), query, json!({ "id": foreign })).await.without_cost();
            let other = house.ask(&stranger(), query, json!({ "id": unknown })).await.without_cost();
            assert_eq!(one, other, "{query}");
            assert!(!one.to_string().contains("East"), "{one}");
        }
    }
    let place = json!({ "serving": lunch.serving, "lines": [{ "dish": lunch.rice, "quantity": 1 }] });
    let answer = house.ask(&stranger(), PLACE, json!({ "key": key(), "input": place })).await;
    assert_eq!(answer.code(), "NOT_FOUND");
    assert_eq!(house.head().await, head);
    let all = "{ canteens { nodes { id } } servings(date: \"2026-11-23\") { nodes { id } } myOrders { nodes { id } }
       myBalances { id } balances { nodes { account } } journal { nodes { account } } trialBalance { currency } }";
    let nothing = house.read(&stranger(), all, json!({})).await;
    let empty = json!({ "nodes": [] });
    assert_eq!(
        nothing,
        json!({ "canteens": empty, "servings": empty, "myOrders": empty, "myBalances": [], "balances": empty, "journal": empty, "trialBalance": [] })
    );
}

#[tokio::test]
async fn a_diner_sees_and_cancels_only_their_own_orders() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    let order = an_order(&house, &lunch).await;
    let query = "query($o: ID!) { order(id: $o) { id } node(id: $o) { id } }";
    let mine = house.read(&diner(7), query, json!({ "o": order })).await;
    assert_eq!(mine, json!({ "order": { "id": order }, "node": { "id": order } }));
    let theirs = house.read(&diner(8), query, json!({ "o": order })).await;
    assert_eq!(theirs, json!({ "order": null, "node": null }));
    let head = house.head().await;
    let cancel = "mutation($o: ID!, $key: UUID!) { cancelOrder(order: $o, idempotencyKey: $key) { order { status } } }";
    assert_eq!(house.ask(&diner(8), cancel, json!({ "o": order, "key": key() })).await.code(), "NOT_FOUND");
    // Nor can one diner order in another's name.
    let input = json!({ "serving": lunch.serving, "diner": Uuid::from_u128(7), "lines": [{ "dish": lunch.rice, "quantity": 1 }] });
    assert_eq!(house.ask(&diner(8), PLACE, json!({ "input": input, "key": key() })).await.code(), "FORBIDDEN");
    assert_eq!(house.head().await, head);
    let account = json!(NodeId::Account(domain::AccountId::Wallet(DinerId(Uuid::from_u128(7)))).encode().0);
    let query = "query($a: ID!) { account(id: $a) { available { amount } } }";
    assert_eq!(house.read(&diner(7), query, json!({ "a": account })).await["account"]["available"]["amount"], "47.00");
    assert_eq!(house.read(&diner(8), query, json!({ "a": account })).await["account"], json!(null));
}

#[tokio::test]
async fn staff_change_and_read_only_their_own_canteen() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    let order = an_order(&house, &lunch).await;
    let west = Identity {
        canteens: Canteens::Only(vec![CanteenId(Uuid::from_u128(55))]),
        ..Identity::new(tenant(1), Uuid::from_u128(102), [Role::Canteen])
    };
    house.views.wait_for(house.head().await, std::time::Duration::from_secs(10)).await.unwrap();
    let head = house.head().await;
    let spec = json!({ "name": "Soup", "category": "x", "price": yuan("1") });
    let variables =
        json!({ "o": order, "s": lunch.serving, "d": lunch.rice, "c": lunch.canteen, "key": key(), "spec": spec });
    for query in [
        "mutation($c: ID!, $spec: DishInput!, $key: UUID!) { putDish(canteen: $c, spec: $spec, idempotencyKey: $key) { consistencyToken } }",
        "mutation($d: ID!, $key: UUID!) { retireDish(dish: $d, idempotencyKey: $key) { consistencyToken } }",
        "mutation($key: UUID!) { openCanteen(name: \"x\", zone: \"UTC\", currency: \"CNY\", idempotencyKey: $key) { consistencyToken } }",
        "mutation($s: ID!, $key: UUID!) { withdrawServing(serving: $s, idempotencyKey: $key) { consistencyToken } }",
        "mutation($s: ID!, $d: ID!, $key: UUID!) { setPortions(serving: $s, dish: $d, portions: 9, idempotencyKey: $key) { consistencyToken } }",
        "mutation($o: ID!, $key: UUID!) { prepare(order: $o, idempotencyKey: $key) { consistencyToken } }",
        "mutation($o: ID!, $key: UUID!) { markReady(order: $o, idempotencyKey: $key) { consistencyToken } }",
        "mutation($o: ID!, $key: UUID!) { collect(order: $o, code: \"1\", idempotencyKey: $key) { consistencyToken } }",
        "mutation($o: ID!, $key: UUID!) { refundLines(order: $o, lines: [{ line: 0, quantity: 1 }], idempotencyKey: $key) { consistencyToken } }",
        "query($s: ID!) { kitchenBoard(serving: $s) { nodes { order } } }",
        "query($s: ID!) { ordersOfServing(serving: $s) { nodes { id } } }",
        "query($s: ID!) { dashboard(serving: $s) { refusals { reason } } }",
        "query($c: ID!) { dashboards(canteen: $c, date: \"2026-11-23\") { refusals { reason } } }",
        "query($c: ID!) { sales(canteen: $c, from: \"2026-11-23\", to: \"2026-11-23\") { nodes { name } } }",
    ] {
        let named: Value = ["o", "s", "d", "c", "key", "spec"]
            .into_iter()
            .filter(|name| query.contains(&format!("${name}:")))
            .map(|name| (name.to_owned(), variables[name].clone()))
            .collect::<serde_json::Map<_, _>>()
            .into();
        assert_eq!(house.ask(&west, query, named).await.code(), "FORBIDDEN", "{query}");
    }
    assert_eq!(house.head().await, head);
    let order_of = "query($o: ID!) { order(id: $o) { id } }";
    assert_eq!(house.read(&west, order_of, json!({ "o": order })).await["order"], json!(null));
    assert_eq!(house.read(&staff(), order_of, json!({ "o": order })).await["order"]["id"], order);
}
