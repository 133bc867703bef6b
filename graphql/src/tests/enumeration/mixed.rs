//! Things of one's own and of another tenant named in one document: what is one's own is told, of the other
//! nothing, and nothing is done by halves.

use domain::DinerId;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    unmetered,
    world::{World, bearer, populated},
};
use crate::{
    identity::{Canteens, Identity, Role},
    node::NodeId,
    testing::*,
};

/// All roles of a tenant in one person.
fn everybody() -> Identity {
    let roles = Role::ALL.into_iter().filter(|role| *role != Role::Ops);
    Identity { canteens: Canteens::ALL, ..Identity::new(tenant(2), Uuid::from_u128(0x7777), roles.collect::<Vec<_>>()) }
}

struct Own {
    canteen: Value,
    dish: Value,
    serving: Value,
    wallet: Value,
}

/// What the second tenant has.
async fn own(house: &House, who: &Identity) -> Own {
    let ask = async |query: &str, variables: Value| house.ask(who, query, variables).await.data();
    let open = "mutation($key: UUID!) { openCanteen(name: \"Ours\", zone: \"Asia/Shanghai\", currency: \"CNY\",
      idempotencyKey: $key) { canteen { id } } }";
    let canteen = ask(open, json!({ "key": key() })).await["openCanteen"]["canteen"]["id"].clone();
    let spec = json!({ "name": "Tofu", "category": "Main", "price": yuan("2.00") });
    let dish =
        ask(PUT_DISH, json!({ "key": key(), "canteen": canteen, "spec": spec })).await["putDish"]["dish"]["id"].clone();
    let serving = json!({ "canteen": canteen, "date": "2026-11-23", "meal": "LUNCH", "opens": "2026-11-23T08:00",
        "cutOff": "2026-11-23T11:00", "dinerLimit": 5, "offers": [{ "dish": dish, "portions": 9 }] });
    let published = ask(PUBLISH, json!({ "key": key(), "serving": serving })).await;
    let account = json!({ "kind": "WALLET", "owner": who.actor });
    let deposit = json!({ "key": key(), "account": account, "amount": yuan("50.00") });
    let wallet = ask(DEPOSIT, deposit).await["deposit"]["account"]["id"].clone();
    Own { canteen, dish, serving: published["publishServing"]["serving"]["id"].clone(), wallet }
}

const NODE: &str = "{ __typename id ... on Canteen { name dishes { nodes { name } } } ... on Dish { name }
  ... on Serving { offers { name } canteen { name } } ... on Order { status } ... on Account { available { amount } } }";

#[tokio::test]
async fn own_and_foreign_ids_in_one_document_tell_nothing_of_the_foreign_ones() {
    let house = unmetered().await;
    let world = populated(&house).await;
    let secrets = world.secrets(&house, tenant(1)).await;
    let who = everybody();
    let own = own(&house, &who).await;
    house.views.wait_for(house.head().await, std::time::Duration::from_secs(10)).await.unwrap();
    let unknown = world.unknown();
    let mine = [&own.canteen, &own.dish, &own.serving, &own.wallet];
    for mine in mine {
        let alone =
            house.read(&who, &format!("query($a: ID!) {{ a: node(id: $a) {NODE} }}"), json!({ "a": mine })).await;
        assert!(!alone["a"].is_null());
        for (foreign, nowhere) in world.nodes().iter().zip(unknown.nodes()) {
            // Before it and behind it, as aliases and in a fragment.
            let query = format!(
                "query($own: ID!, $foreign: ID!, $nowhere: ID!) {{ x: node(id: $foreign) {NODE} y: node(id: $nowhere) {NODE}
                   a: node(id: $own) {NODE} ...more }}
                 fragment more on Query {{ z: node(id: $foreign) {{ ...id }} w: node(id: $own) {{ ...id }} }}
                 fragment id on Node {{ id }}"
            );
            let variables = json!({ "own": mine, "foreign": foreign, "nowhere": nowhere });
            let data = house.ask(&who, &query, variables).await.data();
            assert_eq!((&data["x"], &data["y"], &data["z"]), (&Value::Null, &Value::Null, &Value::Null), "{foreign}");
            assert_eq!((&data["a"], &data["w"]["id"]), (&alone["a"], mine));
            let text = data.to_string();
            assert!(!secrets.iter().any(|secret| text.contains(secret)), "{text}");
        }
    }
}

/// The same request with a foreign and with an unknown id beside one's own.
async fn refused_alike(house: &House, who: &Identity, query: &str, (theirs, nothing): (Value, Value)) {
    let head = house.head().await;
    let one = house.ask(who, query, theirs).await;
    let other = house.ask(who, query, nothing).await;
    let texts = [one, other].map(|answer| {
        // Ids of the asker's own making.
        let refused = answer.error_code().is_some() || answer.body["data"].to_string().contains("NotOffered");
        assert!(refused, "{query}: {}", answer.body);
        answer.without_cost()
    });
    let without = |text: &Value| {
        let mut errors = text["errors"].clone();
        errors.as_array_mut().into_iter().flatten().for_each(|error| error["message"] = Value::Null);
        errors
    };
    assert_eq!(without(&texts[0]), without(&texts[1]), "{query}");
    assert_eq!(house.head().await, head, "{query} did a part of it");
}

#[tokio::test]
async fn own_and_foreign_ids_in_one_input_are_refused_whole() {
    let house = unmetered().await;
    let world = populated(&house).await;
    let who = everybody();
    let own = own(&house, &who).await;
    let unknown = world.unknown();
    let ids = |world: &World, name: &str| world.id(name)[0].clone();
    let (theirs, nothing) = (ids(&world, "dish"), ids(&unknown, "dish"));
    let line = |dish: &Value| json!({ "dish": dish, "quantity": 1 });
    let order = |dish: &Value| json!({ "key": key(), "input": { "serving": own.serving, "lines": [line(&own.dish), line(dish)] } });
    refused_alike(&house, &who, PLACE, (order(&theirs), order(&nothing))).await;
    let serving = |dish: &Value| {
        let offers = json!([{ "dish": own.dish, "portions": 1 }, { "dish": dish, "portions": 1 }]);
        json!({ "key": key(), "serving": { "canteen": own.canteen, "date": "2026-11-24", "meal": "LUNCH",
            "opens": "2026-11-24T08:00", "cutOff": "2026-11-24T11:00", "dinerLimit": 5, "offers": offers } })
    };
    refused_alike(&house, &who, PUBLISH, (serving(&theirs), serving(&nothing))).await;
    let accounts = |world: &World| {
        let other = NodeId::Account(domain::AccountId::Wallet(DinerId(world.of("diner")))).encode().0;
        json!({ "own": own.wallet, "other": other, "key": key(), "more": key() })
    };
    // What is asked of one's own beside it is done, and only that.
    let both = "mutation($own: ID!, $other: ID!, $key: UUID!, $more: UUID!) {
      a: freezeAccount(account: $other, idempotencyKey: $key) { account { id } }
      b: freezeAccount(account: $own, idempotencyKey: $more) { account { id frozen } } }";
    let head = house.head().await;
    let answer = house.ask(&who, both, accounts(&world)).await;
    assert_eq!(answer.code(), "NOT_FOUND", "{}", answer.body);
    let rows = store::EventStore::read_all(&*house.store, head + 1, 100).await.unwrap();
    assert!(rows.iter().all(|row| row.stream.tenant == tenant(2)), "another tenant was changed");
    let theirs = house
        .read(
            &bearer(tenant(1), Role::Finance),
            "query($id: ID!) { account(id: $id) { frozen } }",
            json!({ "id": accounts(&world)["other"] }),
        )
        .await;
    assert_eq!(theirs["account"]["frozen"], false);
}
