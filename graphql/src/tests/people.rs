//! Who a diner is, over the API: who may read it, and what becomes of it.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    identity::{Identity, Role},
    testing::*,
};

const SET: &str = "mutation($d: UUID!, $name: String!, $number: String, $phone: String, $key: UUID!) {
    setDinerDetails(diner: $d, name: $name, employeeNumber: $number, phone: $phone, idempotencyKey: $key) { diner } }";
const ERASE: &str = "mutation($d: UUID!, $key: UUID!) { eraseDiner(diner: $d, idempotencyKey: $key) { diner } }";
const DINER: &str = "query($d: UUID!) { diner(diner: $d) { details name employeeNumber phone company employed } }";

fn company() -> Uuid {
    Uuid::from_u128(0xc0)
}

fn of_company(number: u128) -> Identity {
    let companies = vec![domain::CompanyId(Uuid::from_u128(number))];
    Identity { companies, ..Identity::new(tenant(1), Uuid::from_u128(300), [Role::Company]) }
}

async fn employed(house: &House, number: u128) {
    let employ = "mutation($d: UUID!, $c: UUID!, $key: UUID!) {
        employ(diner: $d, company: $c, fromDate: \"2026-11-01\", idempotencyKey: $key) { diner } }";
    let who = json!({ "d": Uuid::from_u128(number), "c": company(), "key": key() });
    house.ask(&finance(), employ, who).await.data();
}

async fn left(house: &House, number: u128) {
    let leave = "mutation($d: UUID!, $key: UUID!) {
        endEmployment(diner: $d, onDate: \"2026-11-02\", idempotencyKey: $key) { diner } }";
    house.ask(&finance(), leave, json!({ "d": Uuid::from_u128(number), "key": key() })).await.data();
}

fn ada(key: &str) -> Value {
    json!({ "d": Uuid::from_u128(7), "name": " Ada Lovelace ", "number": "0042", "phone": "555-0100", "key": key })
}

fn who(number: u128) -> Value {
    json!({ "d": Uuid::from_u128(number) })
}

#[tokio::test]
async fn the_diner_their_company_and_finance_read_a_name_and_nobody_else() {
    let house = House::open().await;
    employed(&house, 7).await;
    let under = key();
    house.ask(&finance(), SET, ada(&under)).await.data();
    let head = house.head().await;
    house.ask(&finance(), SET, ada(&under)).await.data();
    let mut other = ada(&under);
    other["name"] = json!("Eve");
    assert_eq!(house.ask(&finance(), SET, other).await.code(), "KEY_REUSED");
    assert_eq!(house.head().await, head);
    let known = json!({
        "details": "KNOWN", "name": "Ada Lovelace", "employeeNumber": "0042", "phone": "555-0100",
        "company": company(), "employed": true,
    });
    for reader in [finance(), diner(7), of_company(0xc0)] {
        assert_eq!(house.read(&reader, DINER, who(7)).await["diner"], known);
    }
    let elsewhere = Identity::new(tenant(2), Uuid::from_u128(101), [Role::Finance]);
    for stranger in [diner(8), of_company(0xc1), elsewhere] {
        assert_eq!(house.read(&stranger, DINER, who(7)).await["diner"], Value::Null);
        assert_eq!(house.read(&stranger, DINER, who(99)).await["diner"], Value::Null, "as one who is not there");
    }
    assert_eq!(house.ask(&staff(), DINER, who(7)).await.code(), "FORBIDDEN");
    assert_eq!(house.ask(&diner(7), SET, ada(&key())).await.code(), "FORBIDDEN");
    left(&house, 7).await;
    assert_eq!(house.read(&of_company(0xc0), DINER, who(7)).await["diner"], Value::Null, "not theirs any more");
}

#[tokio::test]
async fn wrong_details_are_named_by_their_field_and_record_nothing() {
    let house = House::open().await;
    employed(&house, 7).await;
    employed(&house, 8).await;
    house.ask(&finance(), SET, ada(&key())).await.data();
    let head = house.head().await;
    let set = async |field: &str, value: Value| {
        let mut input = ada(&key());
        input[field] = value;
        let answer = house.ask(&finance(), SET, input).await;
        let field = answer.body["errors"][0]["extensions"]["field"].as_str().unwrap_or("").to_owned();
        (answer.code().to_owned(), field)
    };
    let bad = |field: &str| ("BAD_INPUT".to_owned(), field.to_owned());
    assert_eq!(set("name", json!(" ")).await, bad("name"));
    assert_eq!(set("phone", json!("call me")).await, bad("phone"));
    assert_eq!(set("number", json!("1".repeat(65))).await, bad("employeeNumber"));
    assert_eq!(set("d", json!(Uuid::from_u128(8))).await, bad("employeeNumber"), "it is another's");
    assert_eq!(set("d", json!(Uuid::from_u128(9))).await.0, "NOT_FOUND");
    let erase = house.ask(&finance(), ERASE, json!({ "d": Uuid::from_u128(7), "key": key() })).await;
    assert_eq!(erase.code(), "OUT_OF_TURN");
    let message = erase.body["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("employed since 2026-11-01"), "{message}");
    assert_eq!(house.head().await, head);
}

#[tokio::test]
async fn an_erased_diner_shows_as_erased() {
    let house = House::open().await;
    employed(&house, 7).await;
    house.ask(&finance(), SET, ada(&key())).await.data();
    left(&house, 7).await;
    let erase = json!({ "d": Uuid::from_u128(7), "key": key() });
    house.ask(&finance(), ERASE, erase.clone()).await.data();
    house.ask(&finance(), ERASE, erase).await.data();
    let gone = json!({
        "details": "ERASED", "name": null, "employeeNumber": null, "phone": null, "company": null, "employed": false,
    });
    assert_eq!(house.read(&finance(), DINER, who(7)).await["diner"], gone);
    assert_eq!(house.ask(&finance(), SET, ada(&key())).await.code(), "ERASED");
}

#[tokio::test]
async fn without_keys_it_says_so_and_names_nobody() {
    let house = House::without_keys().await;
    employed(&house, 7).await;
    let head = house.head().await;
    assert_eq!(house.ask(&finance(), SET, ada(&key())).await.code(), "KEYS_MISSING");
    assert_eq!(
        house.ask(&finance(), ERASE, json!({ "d": Uuid::from_u128(7), "key": key() })).await.code(),
        "KEYS_MISSING"
    );
    assert_eq!(house.head().await, head);
    assert_eq!(house.read(&finance(), DINER, who(7)).await["diner"]["details"], "NONE", "nothing to open");
    // Somebody else's key sealed it, elsewhere.
    let (id, tenant) = (domain::DinerId(Uuid::from_u128(7)), tenant(1));
    let details = domain::details::Details::new("Ada Lovelace", None, None).unwrap();
    let person = domain::personal::Person { tenant, diner: id };
    let sealed = domain::personal::Personal::seal(&details, person, &domain::personal::PersonKey::new(&[1; 32]));
    let request = commands::Request::new(
        (tenant, domain::ActorId(Uuid::from_u128(1))),
        "set",
        Uuid::from_u128(1),
        &(),
        house.commands.now(),
    );
    let command = domain::diner::Command::SetDetails { details: sealed.unwrap() };
    house.commands.on_diner(request, id, command).await.unwrap();
    house.views.wait_for(house.head().await, std::time::Duration::from_secs(10)).await.unwrap();
    assert_eq!(house.ask(&finance(), DINER, who(7)).await.code(), "KEYS_MISSING");
}
