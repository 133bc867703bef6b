//! Companies: invoices, and what they see of their own subsidies.

use domain::CompanyId;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    identity::{Identity, Role},
    testing::*,
};

const COMPANY: Uuid = Uuid::from_u128(500);
const OTHER: Uuid = Uuid::from_u128(501);

fn admin_of(company: Uuid) -> Identity {
    let companies = vec![CompanyId(company)];
    Identity { companies, ..Identity::new(finance().tenant, Uuid::from_u128(77), [Role::Company]) }
}

const LIMIT: &str = "mutation($c: UUID!, $l: MoneyInput!, $key: UUID!) {
  setCreditLimit(company: $c, limit: $l, idempotencyKey: $key) { available { amount } } }";
const ISSUE: &str = "mutation($c: UUID!, $key: UUID!) { issueInvoice(company: $c, idempotencyKey: $key) {
  invoice { invoice number state amount { amount } open { amount } daysOverdue } consistencyToken } }";
const PAY: &str =
    "mutation($i: UUID!, $a: MoneyInput!, $key: UUID!) { payInvoice(invoice: $i, amount: $a, idempotencyKey: $key) {
  invoice { state paid { amount } open { amount } } } }";
const VOID: &str =
    "mutation($i: UUID!, $key: UUID!) { voidInvoice(invoice: $i, reason: MISTAKE, idempotencyKey: $key) {
  invoice { state } } }";
const USE: &str = "query($c: UUID) { companyUse(company: $c, from: \"2026-11-01\", to: \"2026-11-30\") {
  nodes { date diner orders spent { amount } dishes } } }";
const DISCLOSE: &str = "mutation($c: UUID!, $key: UUID!) {
  setCompanyDisclosure(company: $c, disclosure: DISHES, idempotencyKey: $key) { disclosure } }";

/// A company with 100.00 of credit that grants diner 7 20.00 for the day, who orders for 28.00.
async fn eaten(house: &House) -> Value {
    let lunch = house.lunch().await;
    let limit = json!({ "c": COMPANY, "l": yuan("100.00"), "key": key() });
    house.ask(&finance(), LIMIT, limit).await.data();
    let open = "mutation($c: UUID!, $key: UUID!) { openSubsidyPolicy(company: $c, currency: \"CNY\",
      zone: \"Asia/Shanghai\", idempotencyKey: $key) { policy } }";
    let policy = house.ask(&finance(), open, json!({ "c": COMPANY, "key": key() })).await.data();
    let policy = policy["openSubsidyPolicy"]["policy"].clone();
    let terms = json!({ "amount": yuan("20.00"), "per": "DAY", "clearing": "DAILY", "meals": ["LUNCH"] });
    let set = "mutation($p: UUID!, $t: SubsidyTermsInput!, $key: UUID!) {
      setSubsidyTerms(policy: $p, fromDate: \"2026-11-23\", terms: $t, idempotencyKey: $key) { policy } }";
    house.ask(&finance(), set, json!({ "p": policy, "t": terms, "key": key() })).await.data();
    let employ = "mutation($d: UUID!, $c: UUID!, $key: UUID!) {
      employ(diner: $d, company: $c, fromDate: \"2026-11-01\", idempotencyKey: $key) { diner } }";
    let seven = Uuid::from_u128(7);
    house.ask(&finance(), employ, json!({ "d": seven, "c": COMPANY, "key": key() })).await.data();
    let grant = "mutation($p: UUID!, $key: UUID!) { grantSubsidies(policy: $p, firstDate: \"2026-11-23\",
      lastDate: \"2026-11-23\", idempotencyKey: $key) { run { granted { amount } } } }";
    let granted = house.ask(&finance(), grant, json!({ "p": policy, "key": key() })).await.data();
    assert_eq!(granted["grantSubsidies"]["run"]["granted"]["amount"], "20.00");
    house.deposit(7, "50.00").await;
    let soy = json!([{ "group": "Sauce", "choice": "Sesame" }]);
    let lines = json!([{ "dish": lunch.noodles, "quantity": 2, "options": soy }]);
    let order = house.order(&diner(7), &lunch.serving, lines, &key()).await.data();
    assert_eq!(order["placeOrder"]["status"], "CONFIRMED");
    seven.to_string().into()
}

#[tokio::test]
async fn a_company_sees_its_own_money_and_not_what_was_eaten_unless_it_was_chosen() {
    let house = House::open().await;
    let seven = eaten(&house).await;
    let own = admin_of(COMPANY);
    let day =
        json!({ "date": "2026-11-23", "diner": seven, "orders": "1", "spent": { "amount": "20.00" }, "dishes": null });
    // 8.00 came from the wallet, which is nobody's business.
    assert_eq!(house.read(&own, USE, json!({})).await["companyUse"]["nodes"], json!([day]));
    assert_eq!(house.read(&finance(), USE, json!({ "c": COMPANY })).await["companyUse"]["nodes"], json!([day]));
    house.ask(&finance(), DISCLOSE, json!({ "c": COMPANY, "key": key() })).await.data();
    let shown = house.read(&own, USE, json!({ "c": COMPANY })).await;
    assert_eq!(shown["companyUse"]["nodes"][0]["dishes"], json!(["Noodles"]));
}

#[tokio::test]
async fn a_foreign_company_and_an_unknown_one_get_the_same_answer() {
    let house = House::open().await;
    eaten(&house).await;
    let unknown = house.ask(&admin_of(COMPANY), USE, json!({ "c": Uuid::from_u128(999) })).await;
    let foreign = house.ask(&admin_of(OTHER), USE, json!({ "c": COMPANY })).await;
    let nobodys = house.ask(&finance(), USE, json!({ "c": Uuid::from_u128(999) })).await;
    let silent = house.ask(&admin_of(OTHER), USE, json!({})).await;
    for answer in [&unknown, &foreign, &nobodys, &silent] {
        assert_eq!(answer.code(), "NOT_FOUND");
        assert_eq!(answer.body["errors"], unknown.body["errors"]);
    }
    let head = house.head().await;
    for wrong in [diner(7), staff()] {
        assert_eq!(house.ask(&wrong, USE, json!({ "c": COMPANY })).await.code(), "FORBIDDEN");
        let invoices = "{ invoices { nodes { number } } receivables { nodes { company } } }";
        assert_eq!(house.ask(&wrong, invoices, json!({})).await.code(), "FORBIDDEN");
    }
    for wrong in [diner(7), staff(), admin_of(COMPANY)] {
        let invoice = Uuid::from_u128(9);
        for (mutation, variables) in [
            (ISSUE, json!({ "c": COMPANY, "key": key() })),
            (PAY, json!({ "i": invoice, "a": yuan("1.00"), "key": key() })),
            (VOID, json!({ "i": invoice, "key": key() })),
            (LIMIT, json!({ "c": COMPANY, "l": yuan("1.00"), "key": key() })),
            (DISCLOSE, json!({ "c": COMPANY, "key": key() })),
        ] {
            assert_eq!(house.ask(&wrong, mutation, variables).await.code(), "FORBIDDEN");
        }
    }
    assert_eq!(house.head().await, head, "nothing was appended");
}

#[tokio::test]
async fn finance_invoices_what_a_company_owes_and_the_company_sees_it() {
    let house = House::open().await;
    eaten(&house).await;
    let same = json!({ "c": COMPANY, "key": key() });
    let issued = house.ask(&finance(), ISSUE, same.clone()).await.data()["issueInvoice"]["invoice"].clone();
    assert_eq!((&issued["number"], &issued["state"]), (&json!(1), &json!("OPEN")));
    assert_eq!((&issued["amount"]["amount"], &issued["daysOverdue"]), (&json!("20.00"), &json!(0)));
    let head = house.head().await;
    let again = house.ask(&finance(), ISSUE, same.clone()).await.data()["issueInvoice"]["invoice"].clone();
    assert_eq!((again, house.head().await), (issued.clone(), head));
    let reused = json!({ "c": OTHER, "key": same["key"] });
    assert_eq!(house.ask(&finance(), ISSUE, reused).await.code(), "KEY_REUSED");
    let id = &issued["invoice"];
    let refused = async |a: &str, code: &str, field: &str| {
        let answer = house.ask(&finance(), PAY, json!({ "i": id, "a": yuan(a), "key": key() })).await;
        assert_eq!(answer.code(), code);
        assert_eq!(answer.body["errors"][0]["extensions"]["field"], field);
    };
    refused("20.01", "BAD_INPUT", "amount").await;
    refused("0.00", "BAD_INPUT", "amount").await;
    let nothing = house.ask(&finance(), ISSUE, json!({ "c": COMPANY, "key": key() })).await;
    assert_eq!(nothing.code(), "OUT_OF_TURN");
    assert_eq!(house.head().await, head, "nothing was appended");
    let paid = house.ask(&finance(), PAY, json!({ "i": id, "a": yuan("5.00"), "key": key() })).await.data();
    let part = json!({ "state": "OPEN", "paid": { "amount": "5.00" }, "open": { "amount": "15.00" } });
    assert_eq!(paid["payInvoice"]["invoice"], part);
    assert_eq!(house.ask(&finance(), VOID, json!({ "i": id, "key": key() })).await.code(), "OUT_OF_TURN");

    let list = "{ invoices(open: true) { nodes { number open { amount } } }
                  receivables { nodes { company open { amount } notDue { amount } later { amount } } } }";
    let seen = house.read(&admin_of(COMPANY), list, json!({})).await;
    assert_eq!(seen["invoices"]["nodes"], json!([{ "number": 1, "open": { "amount": "15.00" } }]));
    let aged = json!([{ "company": COMPANY, "open": { "amount": "15.00" }, "notDue": { "amount": "15.00" },
        "later": { "amount": "0.00" } }]);
    assert_eq!(seen["receivables"]["nodes"], aged);
    let foreign = house.read(&admin_of(OTHER), list, json!({})).await;
    assert_eq!(foreign, json!({ "invoices": { "nodes": [] }, "receivables": { "nodes": [] } }));
    let balances = house.read(&finance(), "{ balances { nodes { account balance { amount } } } }", json!({})).await;
    let receivable = json!({ "account": format!("receivable:{COMPANY}"), "balance": { "amount": "-15.00" } });
    assert!(balances["balances"]["nodes"].as_array().unwrap().contains(&receivable), "{balances}");
}
