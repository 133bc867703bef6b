//! Amounts of a trillion yuan go in and out exactly, as texts; beyond the bound they are refused.

use domain::{AccountId, Money};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{scalars, testing::*};

/// 10¹² yuan, and the largest amount that there is.
const TRILLION: &str = "1000000000000.00";
const READ: &str = "query($id: ID!, $name: String!) {
  account(id: $id) { posted { amount } available { amount } }
  journal(account: $name) { nodes { amount { amount } } } }";

fn wallet(owner: u128) -> (Value, String) {
    let id = AccountId::Wallet(domain::DinerId(Uuid::from_u128(owner)));
    (json!(crate::node::NodeId::Account(id).encode().0), id.to_string())
}

#[test]
fn money_as_people_read_it_is_exact_up_to_its_bound() {
    for minor in
        [0, 1, -1, 100_000_000_000_000, 100_000_000_000_001, -100_000_000_000_001, Money::MAX_MINOR, -Money::MAX_MINOR]
    {
        let money = Money::new(minor, domain::Currency::CNY);
        let written = serde_json::to_value(async_graphql::ScalarType::to_value(&scalars::Decimal::from(
            scalars::Exact(money.to_decimal()),
        )));
        let written = written.unwrap();
        let expected = format!("{}{}.{:02}", if minor < 0 { "-" } else { "" }, minor.abs() / 100, minor.abs() % 100);
        assert_eq!(written, json!(expected), "a text, with every digit");
        let read: scalars::Decimal = async_graphql::ScalarType::parse(expected.into()).unwrap();
        assert_eq!(Money::from_decimal(read.0.0, domain::Currency::CNY), Ok(money));
    }
    // A number of JSON would be a binary fraction.
    let number = async_graphql::Value::from(1_000_000_000_000_i64);
    assert!(<scalars::Decimal as async_graphql::ScalarType>::parse(number).is_err());
}

#[tokio::test]
async fn a_trillion_yuan_goes_through_the_books_to_the_last_fen() {
    let house = House::open().await;
    let account = house.deposit(7, TRILLION).await;
    assert_eq!(account["available"]["amount"], TRILLION);
    house.deposit(7, "0.01").await;
    let (id, name) = wallet(7);
    let read = house.read(&finance(), READ, json!({ "id": id, "name": name })).await;
    assert_eq!(read["account"]["posted"]["amount"], "1000000000000.01");
    let mut entries: Vec<_> =
        read["journal"]["nodes"].as_array().unwrap().iter().map(|node| node["amount"]["amount"].clone()).collect();
    entries.sort_by_key(ToString::to_string);
    assert_eq!(entries, [json!("0.01"), json!(TRILLION)]);
    let balances = house
        .read(
            &finance(),
            "{ balances { nodes { account balance { amount } } } trialBalance { credits { amount } } }",
            json!({}),
        )
        .await;
    let bank = json!({ "account": "bank", "balance": { "amount": "-1000000000000.01" } });
    assert!(balances["balances"]["nodes"].as_array().unwrap().contains(&bank), "{balances}");
}

#[tokio::test]
async fn beyond_the_bound_an_amount_is_refused_and_nothing_is_appended() {
    let house = House::open().await;
    let most = Money::new(Money::MAX_MINOR, domain::Currency::CNY).to_decimal();
    house.deposit(8, &most.to_string()).await;
    let head = house.head().await;
    let over = Money::MAX_MINOR / 100 + 1;
    let deposit = async |owner: u128, amount: &str| {
        let account = json!({ "kind": "WALLET", "owner": Uuid::from_u128(owner) });
        house.ask(&finance(), DEPOSIT, json!({ "key": key(), "account": account, "amount": yuan(amount) })).await
    };
    for amount in [format!("{over}.00"), "9".repeat(28)] {
        let refused = deposit(7, &amount).await;
        assert_eq!((refused.code(), refused.field()), ("BAD_INPUT", "amount"), "{amount}");
    }
    // What is no decimal at all does not pass the scalar.
    for amount in ["9".repeat(60), "1e12".to_owned(), "1,000".to_owned(), String::new()] {
        assert_eq!(deposit(7, &amount).await.code(), "BAD_INPUT", "{amount}");
    }
    assert_eq!(house.head().await, head);
    // An account that has the most takes no more.
    assert!(matches!(deposit(8, "0.01").await.code(), "BAD_INPUT" | "OUT_OF_TURN"));
    let (id, _) = wallet(8);
    let read =
        house.read(&finance(), "query($id: ID!) { account(id: $id) { posted { amount } } }", json!({ "id": id })).await;
    assert_eq!(read["account"]["posted"]["amount"], most.to_string());
}

#[tokio::test]
async fn a_price_has_a_bound_of_its_own() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    let head = house.head().await;
    let put = async |price: &str| {
        let spec = json!({ "name": "Gold", "category": "Main", "price": yuan(price) });
        house.ask(&staff(), PUT_DISH, json!({ "key": key(), "canteen": lunch.canteen, "spec": spec })).await
    };
    for price in [TRILLION, "10000000.01"] {
        assert_eq!(put(price).await.code(), "BAD_INPUT", "{price}");
    }
    assert_eq!(house.head().await, head, "nothing was appended");
    put("10000000.00").await.data();
    let dishes = "{ canteens { nodes { dishes { nodes { name price { amount } } } } } }";
    let read = house.read(&staff(), dishes, json!({})).await;
    let gold = json!({ "name": "Gold", "price": { "amount": "10000000.00" } });
    assert!(read["canteens"]["nodes"][0]["dishes"]["nodes"].as_array().unwrap().contains(&gold), "{read}");
}
