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

/// A company with 100.00 of credit that grants a diner 20.00 for the day; its policy.
async fn granted(house: &House, company: Uuid, diner: u128) -> Value {
    let limit = json!({ "c": company, "l": yuan("100.00"), "key": key() });
    house.ask(&finance(), LIMIT, limit).await.data();
    let open = "mutation($c: UUID!, $key: UUID!) { openSubsidyPolicy(company: $c, currency: \"CNY\",
      zone: \"Asia/Shanghai\", idempotencyKey: $key) { policy } }";
    let policy = house.ask(&finance(), open, json!({ "c": company, "key": key() })).await.data();
    let policy = policy["openSubsidyPolicy"]["policy"].clone();
    let terms = json!({ "amount": yuan("20.00"), "per": "DAY", "clearing": "DAILY", "meals": ["LUNCH"] });
    let set = "mutation($p: UUID!, $t: SubsidyTermsInput!, $key: UUID!) {
      setSubsidyTerms(policy: $p, fromDate: \"2026-11-23\", terms: $t, idempotencyKey: $key) { policy } }";
    house.ask(&finance(), set, json!({ "p": policy, "t": terms, "key": key() })).await.data();
    employ(house, diner, company, None, "2026-11-01").await;
    let grant = "mutation($p: UUID!, $key: UUID!) { grantSubsidies(policy: $p, firstDate: \"2026-11-23\",
      lastDate: \"2026-11-23\", idempotencyKey: $key) { run { granted { amount } } } }";
    let granted = house.ask(&finance(), grant, json!({ "p": policy, "key": key() })).await.data();
    assert_eq!(granted["grantSubsidies"]["run"]["granted"]["amount"], "20.00");
    policy
}

async fn employ(house: &House, diner: u128, company: Uuid, group: Option<Uuid>, from: &str) {
    let employ = "mutation($d: UUID!, $c: UUID!, $g: UUID, $f: Date!, $key: UUID!) {
      employ(diner: $d, company: $c, group: $g, fromDate: $f, idempotencyKey: $key) { diner } }";
    let who = json!({ "d": Uuid::from_u128(diner), "c": company, "g": group, "f": from, "key": key() });
    house.ask(&finance(), employ, who).await.data();
}

/// Diner 7 orders for 28.00, of which the company pays 20.00.
async fn eaten(house: &House) -> Value {
    let lunch = house.lunch().await;
    granted(house, COMPANY, 7).await;
    house.deposit(7, "50.00").await;
    let soy = json!([{ "group": "Sauce", "choice": "Sesame" }]);
    let lines = json!([{ "dish": lunch.noodles, "quantity": 2, "options": soy }]);
    let order = house.order(&diner(7), &lunch.serving, lines, &key()).await.data();
    assert_eq!(order["placeOrder"]["status"], "CONFIRMED");
    Uuid::from_u128(7).to_string().into()
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

fn auditor() -> Identity {
    Identity::new(finance().tenant, Uuid::from_u128(78), [Role::Auditor])
}

/// The same company's admin by the same ids, and finance, of another tenant.
fn strangers() -> [Identity; 2] {
    let finance = Identity::new(tenant(2), Uuid::from_u128(79), [Role::Finance]);
    [Identity { tenant: tenant(2), ..admin_of(COMPANY) }, finance]
}

const EMPLOYEES: &str = "query($c: UUID, $g: UUID, $d: Date) { employees(company: $c, group: $g, date: $d) {
  nodes { diner group fromDate untilDate person { details name company } } } }";

/// The numbers of the diners whom a list shows.
fn numbers(list: &Value) -> Vec<u128> {
    let diners = list["employees"]["nodes"].as_array().unwrap().iter();
    diners.map(|node| node["diner"].as_str().unwrap().parse::<Uuid>().unwrap().as_u128()).collect()
}

/// Of the company 7 works, 8 has left, 9 went to the other company, 10 has left and was erased. 11 is the other's.
async fn worked(house: &House, group: Uuid) {
    employ(house, 7, COMPANY, Some(group), "2026-11-01").await;
    for number in [8, 9, 10] {
        employ(house, number, COMPANY, None, "2026-11-02").await;
    }
    employ(house, 11, OTHER, Some(group), "2026-11-01").await;
    for number in 7_u128..=11 {
        let set = "mutation($d: UUID!, $n: String!, $key: UUID!) {
          setDinerDetails(diner: $d, name: $n, idempotencyKey: $key) { diner } }";
        let who = json!({ "d": Uuid::from_u128(number), "n": format!("Diner {number}"), "key": key() });
        house.ask(&finance(), set, who).await.data();
    }
    for (number, on) in [(8_u128, "2026-11-20"), (9, "2026-11-21"), (10, "2026-11-20")] {
        let leave = "mutation($d: UUID!, $on: Date!, $key: UUID!) {
          endEmployment(diner: $d, onDate: $on, idempotencyKey: $key) { diner } }";
        let who = json!({ "d": Uuid::from_u128(number), "on": on, "key": key() });
        house.ask(&finance(), leave, who).await.data();
    }
    employ(house, 9, OTHER, None, "2026-11-21").await;
    let erase = "mutation($d: UUID!, $key: UUID!) { eraseDiner(diner: $d, idempotencyKey: $key) { diner } }";
    house.ask(&finance(), erase, json!({ "d": Uuid::from_u128(10), "key": key() })).await.data();
}

#[tokio::test]
async fn a_company_lists_whom_it_employs_and_reads_who_they_are_while_it_does() {
    let house = House::open().await;
    let group = Uuid::from_u128(600);
    worked(&house, group).await;
    let id = Uuid::from_u128;
    let row = |number: u128, group: Option<Uuid>, days: [Option<&str>; 2], person: Value| json!({ "diner": id(number), "group": group, "fromDate": days[0], "untilDate": days[1], "person": person });
    let known =
        |number: u128, of: Uuid| json!({ "details": "KNOWN", "name": format!("Diner {number}"), "company": of });
    let gone = json!({ "details": "ERASED", "name": null, "company": null });
    let shown = |persons: [Value; 4]| {
        let [seven, eight, nine, ten] = persons;
        json!([
            row(7, Some(group), [Some("2026-11-01"), None], seven),
            row(8, None, [Some("2026-11-02"), Some("2026-11-20")], eight),
            row(9, None, [Some("2026-11-02"), Some("2026-11-21")], nine),
            row(10, None, [Some("2026-11-02"), Some("2026-11-20")], ten),
        ])
    };
    let list = async |who: &Identity, with: Value| house.read(who, EMPLOYEES, with).await;
    let nodes = async |who: &Identity, with: Value| list(who, with).await["employees"]["nodes"].clone();
    let own = shown([known(7, COMPANY), Value::Null, Value::Null, Value::Null]);
    assert_eq!(nodes(&admin_of(COMPANY), json!({})).await, own);
    assert_eq!(nodes(&admin_of(COMPANY), json!({ "c": COMPANY })).await, own);
    let of_finance = shown([known(7, COMPANY), known(8, COMPANY), known(9, OTHER), gone]);
    assert_eq!(nodes(&finance(), json!({ "c": COMPANY })).await, of_finance);
    // Auditors may not read who a diner is.
    let of_auditor = shown([Value::Null, Value::Null, Value::Null, Value::Null]);
    assert_eq!(nodes(&auditor(), json!({ "c": COMPANY })).await, of_auditor);
    let others = json!([
        row(9, None, [Some("2026-11-21"), None], known(9, OTHER)),
        row(11, Some(group), [Some("2026-11-01"), None], known(11, OTHER)),
    ]);
    assert_eq!(nodes(&admin_of(OTHER), json!({})).await, others);

    for (with, wanted) in [
        (json!({ "d": "2026-11-01" }), &[7][..]),
        (json!({ "d": "2026-11-19" }), &[7, 8, 9, 10]),
        (json!({ "d": "2026-11-20" }), &[7, 9]),
        (json!({ "d": "2026-11-21" }), &[7]),
        (json!({ "d": "2026-10-31" }), &[]),
        (json!({ "g": group }), &[7]),
        (json!({ "g": group, "d": "2026-10-31" }), &[]),
        (json!({ "g": id(601) }), &[]),
    ] {
        assert_eq!(numbers(&list(&admin_of(COMPANY), with.clone()).await), wanted, "{with}");
    }
}

const MOVE: &str = "mutation($d: UUID!, $c: UUID!, $g: UUID, $f: Date!, $key: UUID!) {
  moveEmployment(diner: $d, company: $c, group: $g, fromDate: $f, idempotencyKey: $key) { diner consistencyToken } }";

#[tokio::test]
async fn finance_moves_a_diner_to_another_group_and_another_company() {
    let house = House::open().await;
    let group = Uuid::from_u128(600);
    employ(&house, 7, COMPANY, None, "2026-11-01").await;
    let to = |company: Uuid, group: Option<Uuid>, from: &str, key: &str| json!({ "d": Uuid::from_u128(7), "c": company, "g": group, "f": from, "key": key });
    let moved = key();
    for _ in 0..2 {
        let done = house.ask(&finance(), MOVE, to(COMPANY, Some(group), "2026-11-10", &moved)).await.data();
        assert_eq!(done["moveEmployment"]["diner"], json!(Uuid::from_u128(7)));
    }
    let reused = house.ask(&finance(), MOVE, to(COMPANY, None, "2026-11-10", &moved)).await;
    assert_eq!((reused.code(), reused.field()), ("KEY_REUSED", "idempotencyKey"));
    let of = async |company: Uuid, with: Value| numbers(&house.read(&admin_of(company), EMPLOYEES, with).await);
    assert_eq!(of(COMPANY, json!({ "g": group })).await, [7]);
    house.ask(&finance(), MOVE, to(OTHER, None, "2026-11-20", &key())).await.data();
    assert_eq!(of(OTHER, json!({ "d": "2026-11-20" })).await, [7]);
    assert_eq!(of(COMPANY, json!({ "d": "2026-11-20" })).await, [0_u128; 0]);
    let head = house.head().await;
    let early = house.ask(&finance(), MOVE, to(COMPANY, None, "2026-11-19", &key())).await;
    assert_eq!((early.code(), early.field()), ("OUT_OF_TURN", "fromDate"));
    let mut nobody = to(COMPANY, None, "2026-11-19", &key());
    nobody["d"] = json!(Uuid::from_u128(99));
    let refused = house.ask(&finance(), MOVE, nobody).await;
    assert_eq!((refused.code(), refused.field()), ("NOT_FOUND", "diner"));
    for who in [admin_of(OTHER), diner(7), auditor(), staff()] {
        assert_eq!(house.ask(&who, MOVE, to(OTHER, Some(group), "2026-11-21", &key())).await.code(), "FORBIDDEN");
    }
    assert_eq!(house.head().await, head, "nothing was appended");
}

#[tokio::test]
async fn what_an_employment_refuses_names_what_was_wrong() {
    let house = House::open().await;
    employ(&house, 7, COMPANY, None, "2026-11-10").await;
    let employed = "mutation($d: UUID!, $c: UUID!, $g: UUID, $f: Date!, $key: UUID!) {
      employ(diner: $d, company: $c, group: $g, fromDate: $f, idempotencyKey: $key) { diner } }";
    let who = |number: u128, from: &str| json!({ "d": Uuid::from_u128(number), "c": OTHER, "f": from, "key": key() });
    let again = house.ask(&finance(), employed, who(7, "2026-11-20")).await;
    assert_eq!((again.code(), again.field()), ("OUT_OF_TURN", "diner"));
    let leave = "mutation($d: UUID!, $on: Date!, $key: UUID!) {
      endEmployment(diner: $d, onDate: $on, idempotencyKey: $key) { diner } }";
    let on = |number: u128, on: &str| json!({ "d": Uuid::from_u128(number), "on": on, "key": key() });
    let early = house.ask(&finance(), leave, on(7, "2026-11-09")).await;
    assert_eq!((early.code(), early.field()), ("OUT_OF_TURN", "onDate"));
    let nobody = house.ask(&finance(), leave, on(8, "2026-11-09")).await;
    assert_eq!((nobody.code(), nobody.field()), ("NOT_FOUND", "diner"));
    house.ask(&finance(), leave, on(7, "2026-11-15")).await.data();
    let early = house.ask(&finance(), employed, who(7, "2026-11-14")).await;
    assert_eq!((early.code(), early.field()), ("OUT_OF_TURN", "fromDate"));
}

#[tokio::test]
async fn employees_are_paged_and_stay_in_their_places() {
    let house = House::open().await;
    for number in [20_u128, 30, 40, 50, 60] {
        employ(&house, number, COMPANY, None, "2026-11-01").await;
    }
    let query = "query($first: Int, $after: String) { employees(first: $first, after: $after) {
      nodes { diner } pageInfo { hasNextPage hasPreviousPage endCursor } } }";
    let page = async |after: &Value| house.read(&admin_of(COMPANY), query, json!({ "first": 2, "after": after })).await;
    let info = |page: &Value| {
        let info = &page["employees"]["pageInfo"];
        (info["hasPreviousPage"] == true, info["hasNextPage"] == true, info["endCursor"].clone())
    };
    let first = page(&Value::Null).await;
    let (before, next, end) = info(&first);
    assert_eq!((numbers(&first), before, next), (vec![20, 30], false, true));
    // Whoever comes meanwhile moves nobody.
    for number in [10_u128, 45] {
        employ(&house, number, COMPANY, None, "2026-11-01").await;
    }
    let second = page(&end).await;
    let (before, next, end) = info(&second);
    assert_eq!((numbers(&second), before, next), (vec![40, 45], true, true));
    let third = page(&end).await;
    let (before, next, _) = info(&third);
    assert_eq!((numbers(&third), before, next), (vec![50, 60], true, false));
    for (with, field) in
        [(json!({ "first": 101 }), "first"), (json!({ "first": 0 }), "first"), (json!({ "after": "?" }), "after")]
    {
        let refused = house.ask(&admin_of(COMPANY), query, with).await;
        assert_eq!((refused.code(), refused.field()), ("BAD_INPUT", field));
    }
}

const SUBSIDIES: &str = "query($c: UUID) {
  subsidyPolicies(company: $c) { nodes { policy company } }
  subsidyUse(company: $c) { nodes { policy granted { amount } spent { amount } } }
  grantRuns(company: $c) { nodes { diners granted { amount } } } }";

#[tokio::test]
async fn a_company_sees_its_own_policies_runs_and_what_became_of_its_money() {
    let house = House::open().await;
    eaten(&house).await;
    let other = granted(&house, OTHER, 20).await;
    let all = house.read(&finance(), SUBSIDIES, json!({})).await;
    assert_eq!(house.read(&auditor(), SUBSIDIES, json!({})).await, all);
    for list in ["subsidyPolicies", "subsidyUse", "grantRuns"] {
        assert_eq!(all[list]["nodes"].as_array().unwrap().len(), 2, "{all}");
    }
    let policies = all["subsidyPolicies"]["nodes"].as_array().unwrap();
    let own = policies.iter().find(|node| node["company"] == json!(COMPANY)).unwrap()["policy"].clone();
    let shown = |policy: &Value, company: Uuid, spent: &str| {
        json!({
            "subsidyPolicies": { "nodes": [{ "policy": policy, "company": company }] },
            "subsidyUse": { "nodes": [{
                "policy": policy, "granted": { "amount": "20.00" }, "spent": { "amount": spent },
            }] },
            "grantRuns": { "nodes": [{ "diners": "1", "granted": { "amount": "20.00" } }] },
        })
    };
    for (company, policy, spent) in [(COMPANY, &own, "20.00"), (OTHER, &other, "0.00")] {
        let wanted = shown(policy, company, spent);
        assert_eq!(house.read(&admin_of(company), SUBSIDIES, json!({})).await, wanted);
        for who in [admin_of(company), finance(), auditor()] {
            assert_eq!(house.read(&who, SUBSIDIES, json!({ "c": company })).await, wanted);
        }
    }
    let both =
        Identity { companies: vec![CompanyId(OTHER), CompanyId(COMPANY), CompanyId(OTHER)], ..admin_of(COMPANY) };
    assert_eq!(house.read(&both, SUBSIDIES, json!({})).await, all);
    assert_eq!(house.read(&both, SUBSIDIES, json!({ "c": OTHER })).await, shown(&other, OTHER, "0.00"));
    let nothing = json!({ "nodes": [] });
    let nothing = json!({ "subsidyPolicies": nothing, "subsidyUse": nothing, "grantRuns": nothing });
    for stranger in strangers() {
        assert_eq!(house.read(&stranger, SUBSIDIES, json!({})).await, nothing);
    }
}

#[tokio::test]
async fn what_is_not_the_callers_company_is_told_from_nothing_in_no_list() {
    let house = House::open().await;
    granted(&house, COMPANY, 7).await;
    granted(&house, OTHER, 20).await;
    house.views.wait_for(house.head().await, std::time::Duration::from_secs(10)).await.unwrap();
    let [admin_elsewhere, finance_elsewhere] = strangers();
    let unknown = Uuid::from_u128(999);
    for list in ["employees", "subsidyPolicies", "subsidyUse", "grantRuns"] {
        let query = format!("query($c: UUID) {{ {list}(company: $c) {{ nodes {{ __typename }} }} }}");
        let own = house.ask(&admin_of(COMPANY), &query, json!({ "c": COMPANY })).await.data();
        assert_eq!(own[list]["nodes"].as_array().unwrap().len(), 1);
        let mut answers = vec![];
        for (who, company) in [
            (admin_of(COMPANY), unknown),
            (admin_of(COMPANY), OTHER),
            (admin_of(unknown), unknown),
            (finance(), unknown),
            (auditor(), unknown),
            (admin_elsewhere.clone(), COMPANY),
            (finance_elsewhere.clone(), COMPANY),
            (finance_elsewhere.clone(), unknown),
        ] {
            let answer = house.ask(&who, &query, json!({ "c": company })).await;
            assert_eq!((answer.code(), answer.field()), ("NOT_FOUND", "company"), "{list}: {who:?}");
            answers.push(answer.body["errors"].clone());
        }
        assert!(answers.iter().all(|errors| *errors == answers[0]), "{answers:?}");
        for wrong in [diner(7), staff()] {
            assert_eq!(house.ask(&wrong, &query, json!({ "c": COMPANY })).await.code(), "FORBIDDEN");
        }
    }
}
