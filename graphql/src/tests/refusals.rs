//! Bad input: a typed refusal or a coded error, and nothing appended.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{identity::Identity, testing::*};

/// Every refusal here leaves the log as it was.
async fn nothing_appended<T>(house: &House, asked: impl Future<Output = T>) -> T {
    let head = house.head().await;
    let answer = asked.await;
    assert_eq!(house.head().await, head, "something was appended");
    answer
}

async fn refused(house: &House, who: &Identity, query: &str, variables: Value) -> String {
    let answer = nothing_appended(house, house.ask(who, query, variables.clone())).await;
    assert_eq!(answer.body["errors"][0]["extensions"]["retryable"], false, "{variables}");
    answer.code().to_owned()
}

#[tokio::test]
async fn orders_that_cannot_be_had_are_typed_refusals() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    house.deposit(7, "500").await;
    let soy = json!([{ "group": "Sauce", "choice": "Soy" }]);
    let place = async |lines: Value| {
        let answer = nothing_appended(&house, house.order(&diner(7), &lunch.serving, lines, &key())).await;
        answer.data()["placeOrder"].clone()
    };
    let sold_out = place(json!([{ "dish": lunch.rice, "quantity": 3 }])).await;
    assert_eq!(sold_out["__typename"], "SoldOut");
    assert_eq!(sold_out["offers"], json!([{ "dish": lunch.rice, "asked": 3, "left": 2 }]));
    assert_eq!(sold_out["order"], json!(null), "nothing was recorded");
    let limit = place(json!([{ "dish": lunch.noodles, "quantity": 6, "options": soy }])).await;
    assert_eq!(limit, json!({ "__typename": "DinerLimit", "order": null, "limit": 5, "held": 0, "asked": 6 }));
    let stale = place(json!([{ "dish": lunch.rice, "quantity": 1, "unitPrice": yuan("2.90") }])).await;
    let changes = json!([{ "dish": lunch.rice, "was": { "amount": "2.90" }, "now": { "amount": "3.00" } }]);
    assert_eq!(stale, json!({ "__typename": "PriceChanged", "order": null, "changes": changes }));
    for options in [
        json!([]),
        json!([{ "group": "Sauce", "choice": "Mud" }]),
        json!([{ "group": "Size", "choice": "Soy" }]),
        json!([{ "group": "Sauce", "choice": "Soy" }, { "group": "Sauce", "choice": "Sesame" }]),
    ] {
        let wrong = place(json!([{ "dish": lunch.noodles, "quantity": 1, "options": options }])).await;
        assert_eq!((&wrong["__typename"], &wrong["dish"]), (&json!("NotOffered"), &lunch.noodles));
    }
    let tea = house.dish(&lunch.canteen, json!({ "name": "Tea", "category": "Drink", "price": yuan("2") })).await;
    let unknown = place(json!([{ "dish": tea, "quantity": 1 }])).await;
    assert_eq!((&unknown["__typename"], &unknown["dish"]), (&json!("NotOffered"), &tea));
    house.at("2026-11-22T23:59:59Z");
    let early = place(json!([{ "dish": lunch.rice, "quantity": 1 }])).await;
    assert_eq!(early, json!({ "__typename": "NotYetOpen", "order": null, "at": "2026-11-23T00:00:00Z" }));
    house.at("2026-11-23T03:00:00Z");
    let late = place(json!([{ "dish": lunch.rice, "quantity": 1 }])).await;
    assert_eq!(late, json!({ "__typename": "Closed", "order": null, "at": "2026-11-23T03:00:00Z" }));
}

#[tokio::test]
async fn a_refusal_that_comes_after_the_door_is_recorded_and_answered_again() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    let rice = || json!([{ "dish": lunch.rice, "quantity": 1 }]);
    let poor_key = key();
    let poor = house.order(&diner(8), &lunch.serving, rice(), &poor_key).await.data()["placeOrder"].clone();
    assert_eq!(poor["__typename"], "InsufficientFunds");
    assert_eq!(poor["short"], yuan("3.00"));
    let head = house.head().await;
    assert!(!poor["order"].is_null());
    let order = house
        .read(&diner(8), "query($o: ID!) { order(id: $o) { status refusal } }", json!({ "o": poor["order"] }))
        .await;
    assert_eq!(order["order"], json!({ "status": "REFUSED", "refusal": "INSUFFICIENT_FUNDS" }));
    let again = house.order(&diner(8), &lunch.serving, rice(), &poor_key).await.data()["placeOrder"].clone();
    assert_eq!(again, poor);
    assert_eq!(house.head().await, head);
    let account = house.deposit(9, "50").await;
    let freeze =
        "mutation($a: ID!, $key: UUID!) { freezeAccount(account: $a, idempotencyKey: $key) { account { frozen } } }";
    let frozen = house.ask(&finance(), freeze, json!({ "a": account["id"], "key": key() })).await.data();
    assert_eq!(frozen["freezeAccount"]["account"]["frozen"], true);
    let cold = house.order(&diner(9), &lunch.serving, rice(), &key()).await.data()["placeOrder"].clone();
    assert_eq!(cold["__typename"], "InsufficientFunds", "a frozen account is no source of money");
    let thaw = freeze.replace("freezeAccount", "unfreezeAccount");
    house.ask(&finance(), &thaw, json!({ "a": account["id"], "key": key() })).await.data();
    let warm = house.order(&diner(9), &lunch.serving, rice(), &key()).await.data()["placeOrder"].clone();
    assert_eq!(warm["status"], "CONFIRMED");
}

#[tokio::test]
async fn quantities_keys_and_ids_that_cannot_be_right_are_coded_errors() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    house.deposit(7, "500").await;
    let me = diner(7);
    for quantity in [json!(0), json!(-1), json!(1.5), json!("1"), json!(3_000_000_000_u64), json!(null)] {
        let input = json!({ "serving": lunch.serving, "lines": [{ "dish": lunch.rice, "quantity": quantity }] });
        assert_eq!(refused(&house, &me, PLACE, json!({ "key": key(), "input": input })).await, "BAD_INPUT");
    }
    let line = |quantity: u32| json!({ "dish": lunch.rice, "quantity": quantity });
    for lines in [json!([]), json!([line(1001)]), json!([line(2_147_483_647)]), json!(vec![line(1); 51])] {
        let input = json!({ "serving": lunch.serving, "lines": lines });
        assert_eq!(refused(&house, &me, PLACE, json!({ "key": key(), "input": input })).await, "BAD_INPUT");
    }
    let input = json!({ "serving": lunch.serving, "lines": [line(1)] });
    for bad in [json!(Uuid::nil()), json!("not a uuid"), json!(7), json!(null), json!("")] {
        assert_eq!(refused(&house, &me, PLACE, json!({ "key": bad, "input": input })).await, "BAD_INPUT", "{bad}");
    }
    let nobody = |kind: &str| {
        json!(crate::node::NodeId::decode(lunch.serving.as_str().unwrap()).map(|_| {
            use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
            URL_SAFE_NO_PAD.encode(format!("{kind}:{}", Uuid::from_u128(999)))
        }))
    };
    for serving in [nobody("Serving"), nobody("Order"), json!("rubbish"), json!("")] {
        let input = json!({ "serving": serving, "lines": [line(1)] });
        assert_eq!(refused(&house, &me, PLACE, json!({ "key": key(), "input": input })).await, "NOT_FOUND");
    }
    for dish in [nobody("Dish"), json!("rubbish")] {
        let input = json!({ "serving": lunch.serving, "lines": [{ "dish": dish, "quantity": 1 }] });
        assert_eq!(refused(&house, &me, PLACE, json!({ "key": key(), "input": input })).await, "NOT_FOUND");
    }
    let cancel = "mutation($o: ID!, $key: UUID!) { cancelOrder(order: $o, idempotencyKey: $key) { consistencyToken } }";
    for order in [nobody("Order"), nobody("Serving"), json!("rubbish")] {
        assert_eq!(refused(&house, &me, cancel, json!({ "o": order, "key": key() })).await, "NOT_FOUND");
        for step in ["prepare", "markReady", "markNoShow", "recordPayment"] {
            let query = cancel.replace("cancelOrder", step);
            assert_eq!(refused(&house, &staff(), &query, json!({ "o": order, "key": key() })).await, "NOT_FOUND");
        }
    }
}

#[tokio::test]
async fn a_key_is_for_one_request() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    house.deposit(7, "50").await;
    let rice = |quantity: u32| json!([{ "dish": lunch.rice, "quantity": quantity }]);
    let key = key();
    let first = house.order(&diner(7), &lunch.serving, rice(1), &key).await.data()["placeOrder"].clone();
    let head = house.head().await;
    let again = house.order(&diner(7), &lunch.serving, rice(1), &key).await.data()["placeOrder"].clone();
    assert_eq!(again["id"], first["id"]);
    assert_eq!(house.head().await, head);
    let other = nothing_appended(&house, house.order(&diner(7), &lunch.serving, rice(2), &key)).await;
    assert_eq!(other.code(), "KEY_REUSED");
    assert_eq!(other.body["errors"][0]["extensions"]["field"], "idempotencyKey");
    // Another diner's same key is another key.
    house.deposit(8, "50").await;
    let theirs = house.order(&diner(8), &lunch.serving, rice(1), &key).await.data()["placeOrder"].clone();
    assert_ne!(theirs["id"], first["id"]);
}

#[tokio::test]
async fn money_menus_and_servings_that_cannot_be_right_are_coded_errors() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    let wallet = json!({ "kind": "WALLET", "owner": Uuid::from_u128(7) });
    for (amount, currency) in [
        ("0", "CNY"),
        ("-1", "CNY"),
        ("1.001", "CNY"),
        ("1", "XYZ"),
        ("1", "cny"),
        ("1e3", "CNY"),
        ("NaN", "CNY"),
        ("99999999999999999999", "CNY"),
        ("", "CNY"),
    ] {
        let amount = json!({ "amount": amount, "currency": currency });
        let code =
            refused(&house, &finance(), DEPOSIT, json!({ "key": key(), "account": wallet, "amount": amount })).await;
        assert_eq!(code, "BAD_INPUT", "{amount}");
    }
    let number = json!({ "amount": 1.5, "currency": "CNY" });
    let variables = json!({ "key": key(), "account": wallet, "amount": number });
    assert_eq!(refused(&house, &finance(), DEPOSIT, variables).await, "BAD_INPUT", "no float is an amount");
    house.deposit(7, "1").await;
    let dollars = json!({ "key": key(), "account": wallet, "amount": { "amount": "1", "currency": "USD" } });
    assert_eq!(refused(&house, &finance(), DEPOSIT, dollars).await, "BAD_INPUT", "another currency than the account's");

    let put = async |spec: Value| {
        refused(&house, &staff(), PUT_DISH, json!({ "key": key(), "canteen": lunch.canteen, "spec": spec })).await
    };
    let dish = |name: &str, price: Value| json!({ "name": name, "category": "x", "price": price });
    assert_eq!(put(dish("", yuan("1"))).await, "BAD_INPUT");
    assert_eq!(put(dish(&"x".repeat(121), yuan("1"))).await, "BAD_INPUT");
    assert_eq!(put(dish("Soup", yuan("-1"))).await, "BAD_INPUT");
    assert_eq!(put(dish("Soup", json!({ "amount": "1", "currency": "USD" }))).await, "BAD_INPUT");
    let open = "mutation($n: String!, $z: String!, $c: String!, $key: UUID!) { openCanteen(name: $n, zone: $z, currency: $c, idempotencyKey: $key) { consistencyToken } }";
    for (name, zone, currency) in
        [("", "Asia/Shanghai", "CNY"), ("A", "Mars/Olympus", "CNY"), ("A", "Asia/Shanghai", "XYZ")]
    {
        let variables = json!({ "n": name, "z": zone, "c": currency, "key": key() });
        assert_eq!(refused(&house, &staff(), open, variables).await, "BAD_INPUT", "{name} {zone} {currency}");
    }
    let publish = async |change: fn(&mut Value)| {
        let mut serving = json!({
            "canteen": lunch.canteen, "date": "2026-11-24", "meal": "LUNCH", "opens": "2026-11-24T08:00",
            "cutOff": "2026-11-24T11:00", "dinerLimit": 5, "offers": [{ "dish": lunch.rice, "portions": 2 }] });
        change(&mut serving);
        refused(&house, &staff(), PUBLISH, json!({ "key": key(), "serving": serving })).await
    };
    assert_eq!(publish(|it| it["offers"] = json!([])).await, "BAD_INPUT");
    assert_eq!(publish(|it| it["offers"][0]["portions"] = json!(0)).await, "BAD_INPUT");
    assert_eq!(publish(|it| it["offers"][0]["portions"] = json!(1_000_001)).await, "BAD_INPUT");
    assert_eq!(publish(|it| it["offers"][0]["dish"] = it["canteen"].clone()).await, "NOT_FOUND");
    assert_eq!(publish(|it| it["cutOff"] = json!("2026-11-24T07:00")).await, "BAD_INPUT");
    assert_eq!(publish(|it| it["opens"] = json!("noon")).await, "BAD_INPUT");
    assert_eq!(publish(|it| it["dinerLimit"] = json!(0)).await, "BAD_INPUT");
}

#[tokio::test]
async fn portions_stay_above_what_is_reserved_and_the_kitchen_locks() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    house.deposit(7, "50").await;
    let two = json!([{ "dish": lunch.rice, "quantity": 2 }]);
    let order = house.order(&diner(7), &lunch.serving, two, &key()).await.data()["placeOrder"].clone();
    let portions = "mutation($s: ID!, $d: ID!, $p: Int!, $key: UUID!) {
      setPortions(serving: $s, dish: $d, portions: $p, idempotencyKey: $key) { consistencyToken } }";
    let set = |portions: i64| json!({ "s": lunch.serving, "d": lunch.rice, "p": portions, "key": key() });
    assert_eq!(refused(&house, &staff(), portions, set(1)).await, "BELOW_RESERVED");
    assert_eq!(refused(&house, &staff(), portions, set(-1)).await, "BAD_INPUT");
    assert_eq!(refused(&house, &staff(), portions, set(2_000_000_000)).await, "BAD_INPUT");
    house.at("2026-11-23T03:15:00Z");
    let cancel = "mutation($o: ID!, $key: UUID!) { cancelOrder(order: $o, idempotencyKey: $key) { order { status } } }";
    let variables = || json!({ "o": order["id"], "key": key() });
    assert_eq!(refused(&house, &diner(7), cancel, variables()).await, "KITCHEN_LOCKED");
    let by_canteen = house.ask(&staff(), cancel, variables()).await.data();
    assert_eq!(by_canteen["cancelOrder"]["order"]["status"], "CANCELLED");
    let ready = "mutation($o: ID!, $key: UUID!) { markReady(order: $o, idempotencyKey: $key) { order { status } } }";
    assert_eq!(refused(&house, &staff(), ready, variables()).await, "OUT_OF_TURN");
}
