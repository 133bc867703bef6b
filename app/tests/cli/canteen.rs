//! A canteen that is opened and ordered from over a server's GraphQL.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Place, Server, TENANT, graphql};

pub const DINER: &str = "00000000-0000-7000-8000-00000000d1e5";

/// Longer than any of this may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A new idempotency key.
pub fn key(number: u32) -> String {
    format!("00000000-0000-7000-8000-0000000{number:05}")
}

/// The first answer that is not to ask again; until then the same is asked, under the same key.
pub fn insist(ask: impl Fn() -> Value) -> Value {
    let began = Instant::now();
    loop {
        let answer = ask();
        if answer["errors"][0]["extensions"]["retryable"] != true || began.elapsed() > PATIENCE {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The data of an answer without errors, and its consistency token.
#[track_caller]
pub fn ask(server: &Server, token: &str, query: &str, variables: Value) -> Value {
    let answer = insist(|| graphql(server.address, token, query, variables.clone()).expect("an answer"));
    assert!(answer["errors"].is_null(), "{query}: {answer:#}");
    answer
}

/// Opens a canteen at a server, and gives a serving's input for an order of one portion.
pub fn open_canteen(server: &Server, staff: &str) -> Value {
    let canteen = "mutation ($key: UUID!) { openCanteen(name: \"East\", zone: \"Asia/Shanghai\", currency: \"CNY\",
                   idempotencyKey: $key) { canteen { id } } }";
    let answer = ask(server, staff, canteen, json!({ "key": key(1) }));
    let canteen = &answer["data"]["openCanteen"]["canteen"]["id"];
    let dish = "mutation ($canteen: ID!, $spec: DishInput!, $key: UUID!) {
                putDish(canteen: $canteen, spec: $spec, idempotencyKey: $key) { dish { id } } }";
    let spec = json!({ "name": "Rice", "category": "main", "price": { "amount": "5.00", "currency": "CNY" } });
    let answer = ask(server, staff, dish, json!({ "canteen": canteen, "spec": spec, "key": key(2) }));
    let dish = &answer["data"]["putDish"]["dish"]["id"];
    let serving = json!({
        "canteen": canteen, "date": "2099-03-02", "meal": "LUNCH", "opens": "2020-01-01T06:00",
        "cutOff": "2099-03-02T11:00", "dinerLimit": 9, "noShowPercent": 40, "offers": [{ "dish": dish, "portions": 100 }],
    });
    let publish = "mutation ($serving: ServingInput!, $key: UUID!) {
                   publishServing(serving: $serving, idempotencyKey: $key) { serving { id } } }";
    let answer = ask(server, staff, publish, json!({ "serving": serving, "key": key(3) }));
    let serving = &answer["data"]["publishServing"]["serving"]["id"];
    json!({ "serving": serving, "lines": [{ "dish": dish, "quantity": 1 }] })
}

/// Places an order; its id, and the token by which others see it.
pub fn order(server: &Server, diner: &str, input: &Value, number: u32) -> (Value, Value) {
    let place = "mutation ($input: PlaceOrderInput!, $key: UUID!) {
                 placeOrder(input: $input, idempotencyKey: $key) { __typename ... on Order { id status } } }";
    let answer = ask(server, diner, place, json!({ "input": input, "key": key(number) }));
    let order = &answer["data"]["placeOrder"];
    assert_eq!(order["status"], "CONFIRMED", "{answer:#}");
    (order["id"].clone(), answer["extensions"]["consistencyToken"].clone())
}

pub const DEPOSIT: &str = "mutation ($owner: UUID!, $key: UUID!) {
    deposit(account: { kind: WALLET, owner: $owner }, amount: { amount: \"1000.00\", currency: \"CNY\" },
            idempotencyKey: $key) { account { id } } }";

pub fn diner(place: &Place) -> String {
    place.succeed(&["token", "--tenant", TENANT, "--role", "diner", "--subject", DINER]).trim().to_owned()
}
