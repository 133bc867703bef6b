//! The statements that owners read of their own accounts.

use axum::http::{HeaderValue, header::ACCEPT_LANGUAGE};
use commands::Request;
use domain::{AccountId, ActorId, CompanyId, DinerId, account};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    identity::{Identity, Role},
    node::NodeId,
    testing::*,
};

const COMPANY: Uuid = Uuid::from_u128(0xc0c0_0500);
const OTHER: Uuid = Uuid::from_u128(0xc0c0_0501);
const STATEMENT: &str = "query($a: String!, $from: Date, $to: Date, $after: String) {
    statement(account: $a, from: $from, to: $to) { account opening { amount } debits { amount } credits { amount }
      closing { amount } entries(first: 3, after: $after) { pageInfo { hasNextPage endCursor } nodes {
        bookingDate occurredAt late event title amount { amount } balance { amount } correlation run reason
        order { id total { amount } serving { meal date } } } } } }";

fn admin(company: Uuid) -> Identity {
    let companies = vec![CompanyId(company)];
    Identity { companies, ..Identity::new(tenant(1), Uuid::from_u128(77), [Role::Company]) }
}

fn auditor() -> Identity {
    Identity::new(tenant(1), Uuid::from_u128(9), [Role::Auditor])
}

fn own(number: u128) -> DinerId {
    DinerId(Uuid::from_u128(number))
}

fn wallet(number: u128) -> String {
    AccountId::Wallet(own(number)).to_string()
}

fn subsidy(number: u128) -> String {
    AccountId::Subsidy(own(number)).to_string()
}

async fn asked(house: &House, who: &Identity, account: &str) -> Value {
    house.read(who, STATEMENT, json!({ "a": account })).await["statement"].clone()
}

/// Every entry over the pages.
async fn entries(house: &House, who: &Identity, account: &str) -> Vec<Value> {
    let (mut all, mut after) = (vec![], Value::Null);
    loop {
        let read = house.read(who, STATEMENT, json!({ "a": account, "after": after })).await;
        let page = read["statement"][0]["entries"].clone();
        all.extend(page["nodes"].as_array().unwrap().iter().cloned());
        if page["pageInfo"]["hasNextPage"] == false {
            return all;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}

fn shown(entries: &[Value]) -> Vec<[String; 3]> {
    let row = |entry: &'_ Value| {
        [&entry["title"], &entry["amount"]["amount"], &entry["balance"]["amount"]]
            .map(|text| text.as_str().unwrap().to_owned())
    };
    entries.iter().map(row).collect()
}

struct Lived {
    house: House,
    order: Value,
    run: Value,
}

async fn finance_asks(house: &House, mutation: &str) -> Value {
    let query = mutation.replace("KEY", &format!("idempotencyKey: \"{}\"", key()));
    house.ask(&finance(), &format!("mutation {{ it: {query} }}"), json!({})).await.data()["it"].clone()
}

/// A company funds diner 7, who eats for 28.00, gets a portion back and is put right; then the subsidy expires.
/// Diner 8 has money too, and so has another company.
async fn lived() -> Lived {
    let house = House::open().await;
    let lunch = house.lunch().await;
    let money = |amount: &str| format!("amount: {{ amount: \"{amount}\", currency: \"CNY\" }}");
    for company in [COMPANY, OTHER] {
        let account = format!("account: {{ kind: COMPANY, owner: \"{company}\" }}");
        finance_asks(&house, &format!("topUp({account}, {}, source: BANK, KEY) {{ __typename }}", money("100.00")))
            .await;
    }
    house.deposit(7, "50.00").await;
    house.deposit(8, "33.00").await;
    let seven = Uuid::from_u128(7);
    finance_asks(
        &house,
        &format!("employ(diner: \"{seven}\", company: \"{COMPANY}\", fromDate: \"2026-11-01\", KEY) {{ diner }}"),
    )
    .await;
    let opened = format!(
        "openSubsidyPolicy(company: \"{COMPANY}\", currency: \"CNY\", zone: \"Asia/Shanghai\", KEY) {{ policy }}"
    );
    let policy = finance_asks(&house, &opened).await["policy"].as_str().unwrap().to_owned();
    let terms = format!("terms: {{ {}, per: DAY, clearing: DAILY, meals: [LUNCH] }}", money("20.00"));
    finance_asks(
        &house,
        &format!("setSubsidyTerms(policy: \"{policy}\", fromDate: \"2026-11-23\", {terms}, KEY) {{ policy }}"),
    )
    .await;
    let granted = format!(
        "grantSubsidies(policy: \"{policy}\", firstDate: \"2026-11-23\", lastDate: \"2026-11-23\", KEY) {{ run {{ run }} }}"
    );
    house.views.wait_for(house.head().await, std::time::Duration::from_secs(10)).await.unwrap();
    let run = finance_asks(&house, &granted).await["run"]["run"].clone();
    let sesame = json!([{ "group": "Sauce", "choice": "Sesame" }]);
    let lines = json!([{ "dish": lunch.noodles, "quantity": 2, "options": sesame }]);
    house.views.wait_for(house.head().await, std::time::Duration::from_secs(10)).await.unwrap();
    let order = house.order(&diner(7), &lunch.serving, lines, &key()).await.data()["placeOrder"]["id"].clone();
    let back = "mutation($o: ID!, $key: UUID!) {
      refundLines(order: $o, lines: [{ line: 0, quantity: 1 }], idempotencyKey: $key) { order { id } } }";
    house.ask(&staff(), back, json!({ "o": order, "key": key() })).await.data();
    let account = NodeId::Account(AccountId::Wallet(own(7))).encode().0;
    let adjust = format!(
        "adjustAccount(account: \"{account}\", {}, reason: GOODWILL, reference: \"FIN-7\", KEY) {{ correction {{ correction }} }}",
        money("5.00")
    );
    let correction = finance_asks(&house, &adjust).await["correction"]["correction"].as_str().unwrap().to_owned();
    let second = Identity::new(tenant(1), Uuid::from_u128(333), [Role::Finance]);
    let apply = format!(
        "mutation {{ applyCorrection(correction: \"{correction}\", idempotencyKey: \"{}\") {{ __typename }} }}",
        key()
    );
    house.ask(&second, &apply, json!({})).await.data();
    house.at("2026-11-23T16:00:00Z");
    let now = house.commands.now();
    let request = Request::new((tenant(1), ActorId(Uuid::from_u128(4))), "expire", Uuid::from_u128(5), &(), now);
    let expire = account::Command::Expire { at: now };
    house.commands.on_account(request, AccountId::Subsidy(own(7)), expire).await.unwrap();
    Lived { house, order, run }
}

#[tokio::test]
async fn a_diner_reads_what_became_of_their_own_money_entry_by_entry() {
    let Lived { house, order, run } = lived().await;
    let me = diner(7);
    let of_wallet = entries(&house, &me, &wallet(7)).await;
    assert_eq!(
        shown(&of_wallet),
        [
            ["Top-up", "50.00", "50.00"],
            ["Meal", "-8.00", "42.00"],
            ["Refund of a meal", "8.00", "50.00"],
            ["Correction", "5.00", "55.00"],
        ]
    );
    let meal =
        json!({ "id": order, "total": { "amount": "28.00" }, "serving": { "meal": "LUNCH", "date": "2026-11-23" } });
    let orders: Vec<_> = of_wallet.iter().map(|entry| entry["order"].clone()).collect();
    assert_eq!(orders, [Value::Null, meal.clone(), meal.clone(), Value::Null]);
    let reasons: Vec<_> = of_wallet.iter().map(|entry| entry["reason"].clone()).collect();
    assert_eq!(reasons, [Value::Null, Value::Null, Value::Null, json!("GOODWILL")]);
    let of_subsidy = entries(&house, &me, &subsidy(7)).await;
    assert_eq!(
        shown(&of_subsidy),
        [
            ["Subsidy granted", "20.00", "20.00"],
            ["Meal", "-20.00", "0.00"],
            ["Refund of a meal", "6.00", "6.00"],
            ["Subsidy expired", "-6.00", "0.00"],
        ]
    );
    assert_eq!((&of_subsidy[0]["run"], &of_subsidy[1]["run"]), (&run, &Value::Null));
    assert_eq!((&of_subsidy[1]["order"], &of_subsidy[3]["order"]), (&meal, &Value::Null));

    // The days' sums, and the account by the id that the diner's balances have.
    let id = NodeId::Account(AccountId::Wallet(own(7))).encode().0;
    let one = asked(&house, &me, &id).await[0].clone();
    assert_eq!(one["account"], wallet(7));
    let sums = ["opening", "debits", "credits", "closing"].map(|sum| one[sum]["amount"].clone());
    assert_eq!(sums, ["0.00", "8.00", "63.00", "55.00"]);
    let later = house.read(&me, STATEMENT, json!({ "a": wallet(7), "from": "2026-11-24" })).await;
    assert_eq!(
        (&later["statement"][0]["opening"]["amount"], &later["statement"][0]["entries"]["nodes"]),
        (&json!("55.00"), &json!([]))
    );

    // Who at the operator's did it, the company and everybody else's accounts are in none of it.
    let all = json!([of_wallet, of_subsidy, one]).to_string();
    for nobodys in [COMPANY, OTHER, finance().actor.0, staff().actor.0, Uuid::from_u128(333), Uuid::from_u128(4)] {
        assert!(!all.contains(&nobodys.to_string()), "{nobodys}: {all}");
    }
    for other in ["bank", "suspense", "transit", "prepaid", "breakage", "FIN-7"] {
        assert!(!all.contains(other), "{other}: {all}");
    }
}

#[tokio::test]
async fn an_entry_is_said_in_the_diners_language() {
    let Lived { house, .. } = lived().await;
    let body = json!({ "query": STATEMENT, "variables": { "a": wallet(7) } }).to_string();
    let mut request = house.request(Some(&diner(7)), body);
    request.headers_mut().insert(ACCEPT_LANGUAGE, HeaderValue::from_static("zh-CN"));
    house.views.wait_for(house.head().await, std::time::Duration::from_secs(10)).await.unwrap();
    let read = house.send(request).await.data();
    let titles: Vec<_> = read["statement"][0]["entries"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["title"].clone())
        .collect();
    assert_eq!(titles, ["充值", "用餐", "用餐退款"]);
}

#[tokio::test]
async fn another_ones_account_is_told_from_none_by_nobody() {
    let Lived { house, .. } = lived().await;
    let nobody = Uuid::from_u128(424_242);
    let company = |of: Uuid| AccountId::Company(CompanyId(of)).to_string();
    let unknown = [wallet(nobody.as_u128()), subsidy(nobody.as_u128()), company(nobody)];
    let foreign = |who: &str| match who {
        "diner" => vec![wallet(8), company(COMPANY)],
        _ => vec![wallet(7), subsidy(7), company(OTHER)],
    };
    for (name, who) in [("diner", diner(7)), ("company", admin(COMPANY))] {
        let of_books = ["bank", "prepaid", "suspense", "breakage"].map(str::to_owned);
        for account in foreign(name).iter().chain(&unknown).chain(&of_books) {
            let before = house.views.statements();
            let answer = house.ask(&who, STATEMENT, json!({ "a": account })).await.without_cost();
            let taken = house.views.statements() - before;
            assert_eq!(answer["data"], json!({ "statement": [] }), "{name} {account}");
            assert_eq!((answer["errors"].clone(), taken), (Value::Null, 1), "{name} {account}");
        }
    }
    // The same names in another tenant are nobody's there.
    let stranger = Identity::diner_of(tenant(2), own(7));
    assert_eq!(asked(&house, &stranger, &wallet(7)).await, json!([]));
    let strange = Identity { tenant: tenant(2), ..admin(COMPANY) };
    assert_eq!(asked(&house, &strange, &company(COMPANY)).await, json!([]));
    // Who is a diner, or of a company, only by an id in the token that no role goes with is neither.
    let of_kitchen = Identity { companies: vec![CompanyId(COMPANY)], ..staff() };
    assert_eq!(house.ask(&of_kitchen, STATEMENT, json!({ "a": company(COMPANY) })).await.code(), "FORBIDDEN");
}

#[tokio::test]
async fn a_company_reads_its_own_funds_and_the_books_readers_everything() {
    let Lived { house, run, .. } = lived().await;
    let funds = AccountId::Company(CompanyId(COMPANY)).to_string();
    let own = entries(&house, &admin(COMPANY), &funds).await;
    assert_eq!(shown(&own), [["Top-up", "100.00", "100.00"], ["Set aside for subsidies", "-20.00", "80.00"]]);
    assert_eq!((&own[1]["run"], &own[1]["order"]), (&run, &Value::Null));
    let text = json!(own).to_string();
    for nobodys in [Uuid::from_u128(7), OTHER, finance().actor.0] {
        assert!(!text.contains(&nobodys.to_string()), "{nobodys}: {text}");
    }
    for who in [finance(), auditor()] {
        assert_eq!(entries(&house, &who, &funds).await, own);
        assert_eq!(asked(&house, &who, &wallet(8)).await[0]["closing"]["amount"], "33.00");
        let prepaid = entries(&house, &who, "prepaid").await;
        assert!(prepaid.iter().all(|entry| entry["order"]["total"]["amount"] == "28.00"), "{prepaid:?}");
    }
}
