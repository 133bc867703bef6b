//! What people look for: dishes by name, what is to be prepared, what views lack, and long lists of companies.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    identity::{Identity, Role},
    testing::*,
};

const SEARCH: &str = "query($name: String!, $canteen: ID, $first: Int, $after: String) {
  menuSearch(date: \"2026-11-23\", name: $name, canteen: $canteen, first: $first, after: $after) {
    nodes { offer { name left } serving { id canteen { name } } } pageInfo { hasNextPage endCursor } } }";

async fn found(house: &House, variables: Value) -> Vec<String> {
    let found = house.read(&diner(7), SEARCH, variables).await["menuSearch"]["nodes"].clone();
    found.as_array().unwrap().iter().map(|hit| hit["offer"]["name"].as_str().unwrap().to_owned()).collect()
}

/// A lunch with dishes whose names try a pattern's patience.
async fn menu(house: &House, names: &[&str]) -> (Lunch, Value) {
    let lunch = house.lunch().await;
    let mut offers = vec![];
    for name in names {
        let dish = house.dish(&lunch.canteen, json!({ "name": name, "category": "Main", "price": yuan("1.00") })).await;
        offers.push(json!({ "dish": dish, "portions": 3 }));
    }
    let serving = json!({ "canteen": lunch.canteen, "date": "2026-11-23", "meal": "DINNER", "opens": "2026-11-23T08:00",
        "cutOff": "2026-11-23T17:00", "dinerLimit": 5, "offers": offers });
    let published = house.ask(&staff(), PUBLISH, json!({ "key": key(), "serving": serving })).await.data();
    (lunch, published["publishServing"]["serving"]["id"].clone())
}

#[tokio::test]
async fn a_dish_is_found_by_a_part_of_its_name() {
    let house = House::open().await;
    let (lunch, dinner) = menu(&house, &["鱼香肉丝", "宫保鸡丁", "Beef NOODLES", "100% Juice", "A_B!", "Soup"]).await;
    for (name, hits) in [
        ("肉", vec!["鱼香肉丝"]),
        ("  宫保 ", vec!["宫保鸡丁"]),
        ("soup", vec!["Soup"]),
        ("oUp", vec!["Soup"]),
        ("%", vec!["100% Juice"]),
        ("_", vec!["A_B!"]),
        ("b!", vec!["A_B!"]),
        ("!", vec!["A_B!"]),
        ("'; DROP TABLE offers; --", vec![]),
        ("没有", vec![]),
    ] {
        assert_eq!(found(&house, json!({ "name": name })).await, hits, "{name}");
    }
    // Of both servings, whichever comes first.
    let mut noodles = found(&house, json!({ "name": "noodle", "canteen": lunch.canteen })).await;
    noodles.sort();
    assert_eq!(noodles, ["Beef NOODLES", "Noodles"]);
    // A page after the other.
    let one = house.read(&diner(7), SEARCH, json!({ "name": "noodle", "first": 1 })).await["menuSearch"].clone();
    assert_eq!((one["nodes"].as_array().unwrap().len(), &one["pageInfo"]["hasNextPage"]), (1, &json!(true)));
    let after = json!({ "name": "noodle", "first": 1, "after": one["pageInfo"]["endCursor"] });
    let other = house.read(&diner(7), SEARCH, after).await["menuSearch"].clone();
    assert_eq!(other["pageInfo"]["hasNextPage"], json!(false));
    assert_ne!(one["nodes"][0], other["nodes"][0]);
    // Nobody finds what is not sold any more, nor what another tenant sells.
    let gone = "mutation($s: ID!, $key: UUID!) { withdrawServing(serving: $s, idempotencyKey: $key) { __typename } }";
    house.ask(&staff(), gone, json!({ "s": dinner, "key": key() })).await.data();
    assert_eq!(found(&house, json!({ "name": "noodle" })).await, ["Noodles"]);
    let stranger = Identity::diner_of(tenant(2), domain::DinerId(Uuid::from_u128(7)));
    let theirs = house.read(&stranger, SEARCH, json!({ "name": "noodle" })).await;
    assert_eq!(theirs["menuSearch"]["nodes"], json!([]));
}

#[tokio::test]
async fn a_search_for_nothing_or_too_much_is_refused() {
    let house = House::open().await;
    for name in ["", "  ", &"米".repeat(101)] {
        let refused = house.ask(&diner(7), SEARCH, json!({ "name": name })).await;
        assert_eq!((refused.code(), refused.field()), ("BAD_INPUT", "name"));
    }
    let refused = house.ask(&diner(7), SEARCH, json!({ "name": "a", "canteen": "bm9uc2Vuc2U" })).await;
    assert_eq!((refused.code(), refused.field()), ("NOT_FOUND", "canteen"));
    let refused = house.ask(&diner(7), SEARCH, json!({ "name": "a", "after": "x/y" })).await;
    assert_eq!((refused.code(), refused.field()), ("BAD_INPUT", "after"));
}

#[tokio::test]
async fn the_prep_sheet_counts_portions_by_dish_and_option() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    house.deposit(7, "100.00").await;
    let noodles = |sauce: &str, quantity: u32| json!([{ "dish": lunch.noodles, "quantity": quantity, "options": [{ "group": "Sauce", "choice": sauce }] }]);
    for lines in
        [noodles("Soy", 1), noodles("Sesame", 2), noodles("Soy", 1), json!([{ "dish": lunch.rice, "quantity": 1 }])]
    {
        let placed = house.order(&diner(7), &lunch.serving, lines, &key()).await.data();
        assert_eq!(placed["placeOrder"]["status"], "CONFIRMED", "{placed}");
    }
    let sheet =
        "query($id: ID!) { prepSheet(serving: $id) { dish name portions variants { portions options { choice } } } }";
    let read = house.read(&staff(), sheet, json!({ "id": lunch.serving })).await;
    let soy = json!({ "portions": 2, "options": [{ "choice": "Soy" }] });
    let sesame = json!({ "portions": 2, "options": [{ "choice": "Sesame" }] });
    let expected = json!([
        { "dish": lunch.noodles, "name": "Noodles", "portions": 4, "variants": [soy, sesame] },
        { "dish": lunch.rice, "name": "Rice", "portions": 1, "variants": [{ "portions": 1, "options": [] }] },
    ]);
    assert_eq!(read["prepSheet"], expected);
    assert_eq!(house.ask(&diner(7), sheet, json!({ "id": lunch.serving })).await.code(), "FORBIDDEN");
    let unknown = house.ask(&staff(), sheet, json!({ "id": "bm9uc2Vuc2U" })).await;
    assert_eq!((unknown.code(), unknown.field()), ("NOT_FOUND", "serving"));
}

#[tokio::test]
async fn the_counter_finds_an_order_by_its_code_and_hands_it_over() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    house.deposit(7, "100.00").await;
    let mut codes = vec![];
    for _ in 0..2 {
        let rice = json!([{ "dish": lunch.rice, "quantity": 1 }]);
        let placed = house.order(&diner(7), &lunch.serving, rice, &key()).await.data()["placeOrder"]["id"].clone();
        let ready = "mutation($o: ID!, $a: UUID!, $b: UUID!) { prepare(order: $o, idempotencyKey: $a) { __typename }
          markReady(order: $o, idempotencyKey: $b) { order { id pickupCode } } }";
        let ready = house.ask(&staff(), ready, json!({ "o": placed, "a": key(), "b": key() })).await.data();
        codes.push((placed, ready["markReady"]["order"]["pickupCode"].clone()));
    }
    let board =
        "query($s: ID!, $code: String) { kitchenBoard(serving: $s, code: $code) { nodes { order pickupCode } } }";
    let (order, code) = &codes[1];
    let found = house.read(&staff(), board, json!({ "s": lunch.serving, "code": code })).await;
    assert_eq!(found["kitchenBoard"]["nodes"], json!([{ "order": order, "pickupCode": code }]));
    let none = house.read(&staff(), board, json!({ "s": lunch.serving, "code": "none" })).await;
    assert_eq!(none["kitchenBoard"]["nodes"], json!([]));
    let all = house.read(&staff(), board, json!({ "s": lunch.serving })).await;
    assert_eq!(all["kitchenBoard"]["nodes"].as_array().unwrap().len(), 2);
    let collect = "mutation($o: ID!, $code: String!, $key: UUID!) {
      collect(order: $o, code: $code, idempotencyKey: $key) { order { status } } }";
    let handed = house.ask(&staff(), collect, json!({ "o": order, "code": code, "key": key() })).await.data();
    assert_eq!(handed["collect"]["order"]["status"], "PICKED_UP");
    let gone = house.read(&staff(), board, json!({ "s": lunch.serving, "code": code })).await;
    assert_eq!(gone["kitchenBoard"]["nodes"], json!([]));
}

#[tokio::test]
async fn operators_see_how_views_stand_and_nobody_else_does() {
    let house = House::open().await;
    house.lunch().await;
    let ops = Identity::new(tenant(1), Uuid::from_u128(300), [Role::Ops]);
    let query = "{ projections { name live health behind parked }
      parkedEvents(projection: \"journal\") { nodes { type position } pageInfo { hasNextPage } } }";
    let read = house.read(&ops, query, json!({})).await;
    let views = read["projections"].as_array().unwrap();
    assert_eq!(views.len(), projections::all().len());
    let menu = json!({ "name": "menu", "live": true, "health": "SOUND", "behind": "0", "parked": "0" });
    assert!(views.contains(&menu), "{views:?}");
    assert_eq!(read["parkedEvents"], json!({ "nodes": [], "pageInfo": { "hasNextPage": false } }));
    house.views.set_paused(&["menu".to_owned()], true).await.unwrap();
    let paused = async || {
        let views = house.ask(&ops, "{ projections { name health } }", json!({})).await.data();
        views["projections"].as_array().unwrap().contains(&json!({ "name": "menu", "health": "PAUSED" }))
    };
    assert!(paused().await);
    let unknown = house.ask(&ops, "{ parkedEvents(projection: \"nothing\") { nodes { type } } }", json!({})).await;
    assert_eq!((unknown.code(), unknown.field()), ("NOT_FOUND", "projection"));
    for who in [diner(7), staff(), finance(), Identity::new(tenant(1), Uuid::from_u128(9), [Role::Auditor])] {
        assert_eq!(house.ask(&who, query, json!({})).await.code(), "FORBIDDEN");
    }
}

#[tokio::test]
async fn policies_are_paged_and_none_is_told_twice_or_left_out() {
    let house = House::open().await;
    let open = "mutation($c: UUID!, $key: UUID!) {
      openSubsidyPolicy(company: $c, currency: \"CNY\", zone: \"UTC\", idempotencyKey: $key) { policy } }";
    let mut opened = vec![];
    for number in 0..7 {
        let company = Uuid::from_u128(number + 1);
        let policy = house.ask(&finance(), open, json!({ "c": company, "key": key() })).await.data();
        opened.push(policy["openSubsidyPolicy"]["policy"].clone());
    }
    let query = "query($after: String) { subsidyPolicies(first: 3, after: $after) {
      nodes { policy } pageInfo { hasNextPage hasPreviousPage endCursor } } }";
    let (mut seen, mut after) = (vec![], Value::Null);
    loop {
        let page = house.read(&finance(), query, json!({ "after": after })).await["subsidyPolicies"].clone();
        assert_eq!(page["pageInfo"]["hasPreviousPage"], json!(!seen.is_empty()));
        seen.extend(page["nodes"].as_array().unwrap().iter().map(|node| node["policy"].clone()));
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] == json!(false) {
            break;
        }
    }
    let texts = |ids: Vec<Value>| {
        let mut texts: Vec<String> = ids.into_iter().map(|id| id.as_str().unwrap().to_owned()).collect();
        texts.sort();
        texts
    };
    assert_eq!(texts(seen), texts(opened));
    for list in ["subsidyPolicies", "grantRuns", "subsidyUse", "receivables"] {
        for (argument, field) in [("first: 101", "first"), ("after: \"?\"", "after")] {
            let query = format!("{{ {list}({argument}) {{ nodes {{ __typename }} }} }}");
            let refused = house.ask(&finance(), &query, json!({})).await;
            assert_eq!((refused.code(), refused.field()), ("BAD_INPUT", field));
        }
    }
}
