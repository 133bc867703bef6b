//! Subsidies as finance and diners see them.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    identity::{Identity, Role},
    testing::*,
};

fn company() -> Uuid {
    Uuid::from_u128(0xc0)
}

const TERMS: &str = "mutation($p: UUID!, $from: Date!, $terms: SubsidyTermsInput!, $key: UUID!) {
    setSubsidyTerms(policy: $p, fromDate: $from, terms: $terms, idempotencyKey: $key) { policy } }";
const GRANT: &str = "mutation($p: UUID!, $first: Date!, $last: Date!, $key: UUID!) {
    grantSubsidies(policy: $p, firstDate: $first, lastDate: $last, idempotencyKey: $key) {
      run { run diners granted { amount } skipped short { amount } finished } } }";

fn terms() -> Value {
    json!({ "amount": yuan("10.00"), "per": "DAY", "clearing": "DAILY", "meals": ["LUNCH"], "sharePercent": 50 })
}

async fn policy(house: &House) -> Value {
    let fund = json!({ "account": { "kind": "COMPANY", "owner": company() }, "amount": yuan("25.00"), "key": key() });
    house.ask(&finance(), DEPOSIT, fund).await.data();
    for number in [7_u128, 8] {
        let employ = "mutation($d: UUID!, $c: UUID!, $key: UUID!) {
            employ(diner: $d, company: $c, fromDate: \"2026-11-23\", idempotencyKey: $key) { diner } }";
        let who = json!({ "d": Uuid::from_u128(number), "c": company(), "key": key() });
        house.ask(&finance(), employ, who).await.data();
    }
    let open = "mutation($c: UUID!, $key: UUID!) {
        openSubsidyPolicy(company: $c, currency: \"CNY\", zone: \"Asia/Shanghai\", idempotencyKey: $key) { policy } }";
    let opened = house.ask(&finance(), open, json!({ "c": company(), "key": key() })).await.data();
    let policy = opened["openSubsidyPolicy"]["policy"].clone();
    let set = json!({ "p": policy, "from": "2026-11-23", "terms": terms(), "key": key() });
    house.ask(&finance(), TERMS, set).await.data();
    policy
}

fn days(policy: &Value, first: &str, last: &str, key: &str) -> Value {
    json!({ "p": policy, "first": first, "last": last, "key": key })
}

#[tokio::test]
async fn a_lot_is_granted_pays_its_share_and_is_accounted_for() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    house.deposit(7, "50.00").await;
    let policy = policy(&house).await;
    let key_of_run = key();
    let day = days(&policy, "2026-11-23", "2026-11-23", &key_of_run);
    let run = house.ask(&finance(), GRANT, day.clone()).await.data()["grantSubsidies"]["run"].clone();
    assert_eq!(run["granted"]["amount"], "20.00");
    assert_eq!((&run["diners"], &run["short"], &run["finished"]), (&json!("2"), &Value::Null, &json!(true)));
    assert_eq!(run["skipped"], "0");
    assert_eq!(house.ask(&finance(), GRANT, day).await.data()["grantSubsidies"]["run"], run, "the same request");

    let lines = json!([{ "dish": lunch.rice, "quantity": 2 }]);
    let order = house.order(&diner(7), &lunch.serving, lines, &key()).await.data()["placeOrder"].clone();
    let tenders = json!([
        { "source": "SUBSIDY", "amount": { "amount": "3.00" }, "why": "SHARE" },
        { "source": "WALLET", "amount": { "amount": "3.00" }, "why": "REST" },
    ]);
    assert_eq!(order["tenders"], tenders);
    let lots = "{ mySubsidyLots { firstDate lastDate meal expiresAt left { amount } held { amount } } }";
    let mine = house.read(&diner(7), lots, json!({})).await;
    let lot = json!([{
        "firstDate": "2026-11-23", "lastDate": "2026-11-23", "meal": null, "expiresAt": "2026-11-23T16:00:00Z",
        "left": { "amount": "7.00" }, "held": { "amount": "0.00" },
    }]);
    assert_eq!(mine["mySubsidyLots"], lot);
    assert_eq!(house.read(&diner(9), lots, json!({})).await["mySubsidyLots"], json!([]), "nobody else's");
    let books = "{ subsidyUse { nodes { policy granted { amount } spent { amount } left { amount } } }
                   grantRuns { nodes { run finished } } }";
    let books = house.read(&finance(), books, json!({})).await;
    let used = &books["subsidyUse"]["nodes"][0];
    assert_eq!(
        (&used["policy"], &used["spent"]["amount"], &used["left"]["amount"]),
        (&policy, &json!("3.00"), &json!("17.00"))
    );
    assert_eq!(books["grantRuns"]["nodes"], json!([{ "run": run["run"], "finished": true }]));
}

#[tokio::test]
async fn what_cannot_be_granted_is_a_coded_error() {
    let house = House::open().await;
    let policy = policy(&house).await;
    let head = house.head().await;
    let said = |refused: Answered| (refused.code().to_owned(), refused.field().to_owned());
    let is = |code: &str, field: &str| (code.to_owned(), field.to_owned());
    let grant = async |days: Value| said(house.ask(&finance(), GRANT, days).await);
    let lacks = grant(days(&policy, "2026-11-23", "2026-11-24", &key())).await;
    assert_eq!(lacks, is("INSUFFICIENT_FUNDS", "policy"));
    assert_eq!(grant(days(&policy, "2026-11-24", "2026-11-23", &key())).await, is("BAD_INPUT", "lastDate"));
    let unknown = days(&json!(company()), "2026-11-23", "2026-11-23", &key());
    assert_eq!(grant(unknown).await, is("NOT_FOUND", "policy"));
    let set = async |from: &str, terms: Value| {
        let set = json!({ "p": policy, "from": from, "terms": terms, "key": key() });
        said(house.ask(&finance(), TERMS, set).await)
    };
    let with = |field: &str, value: Value| {
        let mut terms = terms();
        terms[field] = value;
        terms
    };
    let overlaps = set("2026-11-23", with("amount", yuan("11.00"))).await;
    assert_eq!(overlaps, is("OUT_OF_TURN", "fromDate"), "it overlaps itself");
    let dollar = json!({ "amount": "1.00", "currency": "USD" });
    let days_off: Vec<_> =
        (0..501).map(|day| jiff::civil::date(2030, 1, 1).checked_add(jiff::Span::new().days(day)).unwrap()).collect();
    for (field, value) in [
        ("amount", yuan("-1.00")),
        ("amount", dollar.clone()),
        ("orderLimit", dollar),
        ("orderLimit", yuan("0.00")),
        ("sharePercent", json!(101)),
        ("meals", json!([])),
        ("weekdays", json!([8])),
        ("weekdays", json!([])),
        ("holidays", json!(days_off)),
        ("extraDays", json!(days_off)),
    ] {
        assert_eq!(set("2026-12-01", with(field, value.clone())).await, is("BAD_INPUT", field), "{value}");
    }
    let mut both = with("holidays", json!(["2026-12-25"]));
    both["extraDays"] = json!(["2026-12-25"]);
    assert_eq!(set("2026-12-01", both).await, is("BAD_INPUT", "holidays"));
    let mut monthly = with("per", json!("MONTH"));
    assert_eq!(set("2026-12-01", monthly.clone()).await, is("BAD_INPUT", "clearing"));
    monthly["clearing"] = json!("ROLLOVER");
    assert_eq!(set("2026-12-01", monthly).await, is("BAD_INPUT", "rolloverMonths"));
    assert_eq!(set("2026-12-01", with("canteens", json!(["x"]))).await, is("NOT_FOUND", "canteens"));
    let nowhere = json!({ "p": company(), "from": "2026-12-01", "terms": terms(), "key": key() });
    assert_eq!(said(house.ask(&finance(), TERMS, nowhere).await), is("NOT_FOUND", "policy"));
    let open = "mutation($c: UUID!, $currency: String!, $zone: String!, $key: UUID!) {
        openSubsidyPolicy(company: $c, currency: $currency, zone: $zone, idempotencyKey: $key) { policy } }";
    for (currency, zone, field) in [("CNY", "Mars/Olympus", "zone"), ("XYZ", "UTC", "currency")] {
        let opened = json!({ "c": company(), "currency": currency, "zone": zone, "key": key() });
        assert_eq!(said(house.ask(&finance(), open, opened).await), is("BAD_INPUT", field));
    }
    let end = async |policy: Value| {
        let end = "mutation($p: UUID!, $key: UUID!) {
            endSubsidyPolicy(policy: $p, fromDate: \"2027-01-01\", idempotencyKey: $key) { policy } }";
        said(house.ask(&finance(), end, json!({ "p": policy, "key": key() })).await)
    };
    assert_eq!(end(json!(company())).await, is("NOT_FOUND", "policy"));
    let mut many = with("per", json!("MEAL"));
    for (field, value) in [
        ("clearing", json!("MONTHLY")),
        ("meals", json!(["BREAKFAST", "LUNCH", "DINNER", "SNACK"])),
        ("weekdays", json!([1, 2, 3, 4, 5, 6, 7])),
    ] {
        many[field] = value;
    }
    assert_eq!(set("2026-12-01", many).await, is("BAD_INPUT", "clearing"), "492 lots at a time");
    assert_eq!(
        house.ask(&diner(7), GRANT, days(&policy, "2026-11-23", "2026-11-23", &key())).await.code(),
        "FORBIDDEN"
    );
    assert_eq!(house.head().await, head);
}

#[tokio::test]
async fn a_policy_is_read_back_version_by_version_by_those_whose_it_is() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    let policy = policy(&house).await;
    let later = json!({ "amount": yuan("300.00"), "per": "MONTH", "clearing": "ROLLOVER", "rolloverMonths": 2,
        "weekdays": [6, 1], "holidays": ["2027-01-01"], "extraDays": ["2027-01-02"], "meals": ["DINNER", "LUNCH"],
        "canteens": [lunch.canteen], "orderLimit": yuan("20.00"), "clearedOnLeaving": true });
    let set = json!({ "p": policy, "from": "2027-01-01", "terms": later, "key": key() });
    house.ask(&finance(), TERMS, set).await.data();
    let end = "mutation($p: UUID!, $key: UUID!) {
        endSubsidyPolicy(policy: $p, fromDate: \"2028-01-01\", idempotencyKey: $key) { policy } }";
    house.ask(&finance(), end, json!({ "p": policy, "key": key() })).await.data();
    let query = "{ subsidyPolicies { nodes { endDate versions { version fromDate terms { amount { amount currency } per clearing
        rolloverMonths weekdays holidays extraDays meals canteens orderLimit { amount } sharePercent clearedOnLeaving } } } } }";
    let first = json!({ "version": 1, "fromDate": "2026-11-23", "terms": {
        "amount": yuan("10.00"), "per": "DAY", "clearing": "DAILY", "rolloverMonths": null, "weekdays": [1, 2, 3, 4, 5],
        "holidays": [], "extraDays": [], "meals": ["LUNCH"], "canteens": [], "orderLimit": null, "sharePercent": 50,
        "clearedOnLeaving": false } });
    let second = json!({ "version": 2, "fromDate": "2027-01-01", "terms": {
        "amount": yuan("300.00"), "per": "MONTH", "clearing": "ROLLOVER", "rolloverMonths": 2, "weekdays": [1, 6],
        "holidays": ["2027-01-01"], "extraDays": ["2027-01-02"], "meals": ["LUNCH", "DINNER"], "canteens": [lunch.canteen],
        "orderLimit": { "amount": "20.00" }, "sharePercent": null, "clearedOnLeaving": true } });
    let expected = json!([{ "endDate": "2028-01-01", "versions": [first, second] }]);
    let admin = |of: Uuid| Identity {
        companies: vec![domain::CompanyId(of)],
        ..Identity::new(tenant(1), Uuid::from_u128(44), [Role::Company])
    };
    for who in [finance(), admin(company())] {
        assert_eq!(house.read(&who, query, json!({})).await["subsidyPolicies"]["nodes"], expected);
    }
    assert_eq!(
        house.read(&admin(Uuid::from_u128(0xc1)), query, json!({})).await["subsidyPolicies"]["nodes"],
        json!([])
    );
    assert_eq!(house.ask(&diner(7), query, json!({})).await.code(), "FORBIDDEN");
}

const STANDING: &str = "mutation($p: UUID!, $ahead: Int, $key: UUID!) {
    setStandingGrants(policy: $p, aheadDays: $ahead, idempotencyKey: $key) { policy } }";
const POLICIES: &str =
    "{ subsidyPolicies { nodes { policy company group currency zone aheadDays waitsFor short { amount }
    lastRun lastRunAt } } }";

#[tokio::test]
async fn finance_lets_grants_make_themselves_and_sees_that_they_stand() {
    let house = House::open().await;
    let policy = policy(&house).await;
    let ahead = |days: Value, key: &str| json!({ "p": policy, "ahead": days, "key": key });
    let listed = async || house.read(&finance(), POLICIES, json!({})).await["subsidyPolicies"]["nodes"][0].clone();
    let key_of_it = key();
    for _ in 0..2 {
        let set = house.ask(&finance(), STANDING, ahead(json!(7), &key_of_it)).await.data();
        assert_eq!(set["setStandingGrants"]["policy"], policy);
    }
    let row = listed().await;
    assert_eq!((&row["aheadDays"], &row["company"], &row["group"]), (&json!(7), &json!(company()), &Value::Null));
    assert_eq!((&row["waitsFor"], &row["short"], &row["lastRun"]), (&Value::Null, &Value::Null, &Value::Null));
    let reused = house.ask(&finance(), STANDING, ahead(json!(8), &key_of_it)).await;
    assert_eq!(reused.code(), "KEY_REUSED");
    let bad = house.ask(&finance(), STANDING, ahead(json!(32), &key())).await;
    assert_eq!((bad.code(), bad.field()), ("BAD_INPUT", "aheadDays"));
    let unknown = json!({ "p": key(), "ahead": 1, "key": key() });
    assert_eq!(house.ask(&finance(), STANDING, unknown).await.code(), "NOT_FOUND");
    assert_eq!(listed().await, row, "what was refused changed nothing");
    house.ask(&finance(), STANDING, ahead(Value::Null, &key())).await.data();
    assert_eq!(listed().await["aheadDays"], Value::Null);
    assert_eq!(house.ask(&diner(7), STANDING, ahead(json!(1), &key())).await.code(), "FORBIDDEN");
}
