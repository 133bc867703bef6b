//! Top-ups, payouts and corrections as finance and diners have them.

use commands::Request;
use domain::{DinerId, top_up};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    identity::{Identity, Role},
    node::NodeId,
    testing::*,
};

/// Somebody else of finance.
fn second() -> Identity {
    Identity::new(tenant(1), Uuid::from_u128(333), [Role::Finance])
}

fn wallet(number: u128) -> Value {
    let of = DinerId(Uuid::from_u128(number));
    json!(NodeId::Account(domain::AccountId::Wallet(of)).encode().0)
}

fn owner(number: u128) -> Value {
    json!({ "kind": "WALLET", "owner": Uuid::from_u128(number) })
}

const TOP_UP: &str = "mutation($a: AccountInput!, $m: MoneyInput!, $s: TopUpSource!, $key: UUID!) {
    topUp(account: $a, amount: $m, source: $s, idempotencyKey: $key) { topUp { topUp status source amount { amount } } } }";
const PAY_OUT: &str = "mutation($a: AccountInput!, $m: MoneyInput!, $key: UUID!) {
    requestPayout(account: $a, amount: $m, idempotencyKey: $key) { payout { payout status } } }";
const CONFIRM: &str = "mutation($p: UUID!, $key: UUID!) {
    confirmPayout(payout: $p, idempotencyKey: $key) { payout { status } } }";
const CANCEL: &str = "mutation($p: UUID!, $key: UUID!) {
    cancelPayout(payout: $p, idempotencyKey: $key) { payout { status } } }";
const ADJUST: &str = "mutation($a: ID!, $m: MoneyInput!, $key: UUID!) {
    adjustAccount(account: $a, amount: $m, reason: GOODWILL, reference: \"FIN-7\", idempotencyKey: $key) {
      correction { correction status entryCount decidedBy } } }";
const PROPOSE: &str = "mutation($e: [CorrectionEntryInput!]!, $d: Date, $key: UUID!) {
    proposeCorrection(entries: $e, dated: $d, idempotencyKey: $key) { correction { correction status } } }";
const APPLY: &str = "mutation($c: UUID!, $key: UUID!) {
    applyCorrection(correction: $c, idempotencyKey: $key) { correction { status decidedBy } } }";
const REJECT: &str = "mutation($c: UUID!, $key: UUID!) {
    rejectCorrection(correction: $c, idempotencyKey: $key) { correction { status } } }";

async fn balance(house: &House, number: u128) -> Value {
    house.views.wait_for(house.head().await, std::time::Duration::from_secs(10)).await.unwrap();
    let query = "query($a: ID!) { account(id: $a) { posted { amount } available { amount } } }";
    let account = house.read(&finance(), query, json!({ "a": wallet(number) })).await["account"].clone();
    json!([account["posted"]["amount"], account["available"]["amount"]])
}

#[tokio::test]
async fn money_comes_from_a_till_and_leaves_by_the_bank() {
    let house = House::open().await;
    let variables = json!({ "a": owner(7), "m": yuan("50.00"), "s": "COUNTER", "key": key() });
    let done = house.ask(&finance(), TOP_UP, variables.clone()).await.data();
    assert_eq!(done["topUp"]["topUp"]["status"], "CREDITED");
    let head = house.head().await;
    assert_eq!(house.ask(&finance(), TOP_UP, variables).await.data(), done, "the same again");
    assert_eq!(house.head().await, head);
    let ask = json!({ "a": owner(7), "m": yuan("20.00"), "key": key() });
    assert_eq!(house.ask(&diner(8), PAY_OUT, ask.clone()).await.code(), "FORBIDDEN");
    let too_much = json!({ "a": owner(7), "m": yuan("50.01"), "key": key() });
    assert_eq!(house.ask(&diner(7), PAY_OUT, too_much).await.code(), "INSUFFICIENT_FUNDS");
    assert_eq!(house.head().await, head, "nothing was appended");
    let asked = house.ask(&diner(7), PAY_OUT, ask).await.data()["requestPayout"]["payout"].clone();
    assert_eq!(asked["status"], "HELD");
    assert_eq!(balance(&house, 7).await, json!(["50.00", "30.00"]));
    let end = |key: String| json!({ "p": asked["payout"], "key": key });
    assert_eq!(house.ask(&diner(7), CONFIRM, end(key())).await.code(), "FORBIDDEN");
    assert_eq!(house.ask(&diner(8), CANCEL, end(key())).await.code(), "FORBIDDEN");
    let unknown = json!({ "p": Uuid::from_u128(4242), "key": key() });
    assert_eq!(house.ask(&finance(), CONFIRM, unknown).await.code(), "NOT_FOUND");
    let paid = house.ask(&finance(), CONFIRM, end(key())).await.data();
    assert_eq!(paid["confirmPayout"]["payout"]["status"], "PAID_OUT");
    assert_eq!(house.ask(&finance(), CANCEL, end(key())).await.code(), "OUT_OF_TURN");
    assert_eq!(balance(&house, 7).await, json!(["30.00", "30.00"]));
    let list = "{ payouts(status: PAID_OUT) { nodes { payout { amount { amount } } endedBy } } }";
    let list = house.read(&finance(), list, json!({})).await;
    assert_eq!(list["payouts"]["nodes"][0]["payout"]["amount"]["amount"], "20.00");
    let mine = "{ myPayouts { nodes { payout { status } } } }";
    assert_eq!(house.read(&diner(7), mine, json!({})).await["myPayouts"]["nodes"].as_array().map(Vec::len), Some(1));
    assert_eq!(house.read(&diner(8), mine, json!({})).await["myPayouts"]["nodes"], json!([]));
    let statement = format!(
        "{{ statement(account: \"wallet:{}\") {{ entries {{ nodes {{ title event }} }} }} }}",
        Uuid::from_u128(7)
    );
    let entries = house.read(&finance(), &statement, json!({})).await["statement"][0]["entries"]["nodes"].clone();
    let titles = json!([
        { "title": "Top-up", "event": "account.Deposited" },
        { "title": "Paid out to the bank", "event": "account.PaidOut" },
    ]);
    assert_eq!(entries, titles);
}

#[tokio::test]
async fn money_that_an_account_could_not_take_is_listed_until_somebody_looks() {
    let house = House::open().await;
    let brought = |number, amount: &str| json!({ "a": owner(number), "m": yuan(amount), "s": "BANK", "key": key() });
    house.ask(&finance(), TOP_UP, brought(7, "50.00")).await.data();
    house.ask(&finance(), TOP_UP, brought(8, "60.00")).await.data();
    // Its account was closed between the asking and the answer.
    let (id, account) = (domain::TopUpId(Uuid::from_u128(55)), domain::AccountId::Wallet(DinerId(Uuid::from_u128(9))));
    let (amount, by) = (domain::Money::new(7_000, domain::Currency::CNY), finance().actor);
    let slip = top_up::Slip { account, amount, source: top_up::Source::Counter, by };
    let steps = [top_up::Command::Request(slip), top_up::Command::RecordFailed(top_up::Reason::Closed)];
    for (number, command) in (0..).zip(steps) {
        let request = Request::new((tenant(1), by), "step", Uuid::from_u128(90 + number), &(), house.commands.now());
        house.commands.execute::<top_up::TopUp>(tenant(1), id, command, request.cause(id.0)).await.unwrap();
    }
    let list =
        "query($s: TopUpStatus, $first: Int, $after: String) { topUps(status: $s, first: $first, after: $after) {
        pageInfo { hasNextPage endCursor } nodes { failure requestedBy requestedAt
          topUp { topUp account amount { amount } source status } } } }";
    house.views.wait_for(house.head().await, std::time::Duration::from_secs(10)).await.unwrap();
    let failed = json!([{ "failure": "CLOSED", "requestedBy": by.0, "requestedAt": TEN_IN_THE_MORNING, "topUp": {
        "topUp": id.0, "account": wallet(9), "amount": { "amount": "70.00" }, "source": "COUNTER", "status": "FAILED" } }]);
    let auditor = Identity::new(tenant(1), Uuid::from_u128(9), [Role::Auditor]);
    for who in [finance(), auditor] {
        assert_eq!(house.read(&who, list, json!({ "s": "FAILED" })).await["topUps"]["nodes"], failed);
    }
    let amounts = |page: &Value| -> Vec<Value> {
        let nodes = page["topUps"]["nodes"].as_array().unwrap().iter();
        nodes.map(|node| node["topUp"]["amount"]["amount"].clone()).collect()
    };
    let first = house.read(&finance(), list, json!({ "first": 2 })).await;
    assert_eq!(amounts(&first), ["70.00", "60.00"]);
    let rest = json!({ "first": 2, "after": first["topUps"]["pageInfo"]["endCursor"] });
    assert_eq!(amounts(&house.read(&finance(), list, rest).await), ["50.00"]);
    let stranger = Identity::new(tenant(2), Uuid::from_u128(101), [Role::Finance]);
    assert_eq!(house.read(&stranger, list, json!({})).await["topUps"]["nodes"], json!([]));
    for who in [diner(9), staff()] {
        assert_eq!(house.ask(&who, list, json!({})).await.code(), "FORBIDDEN");
    }
}

#[tokio::test]
async fn an_adjustment_above_the_limit_waits_for_a_second_person() {
    let house = House::open().await;
    house.deposit(7, "50.00").await;
    let adjust = |amount: &str| json!({ "a": wallet(7), "m": yuan(amount), "key": key() });
    let waits = house.ask(&finance(), ADJUST, adjust("-5.00")).await.data()["adjustAccount"]["correction"].clone();
    assert_eq!((&waits["status"], &waits["entryCount"]), (&json!("PROPOSED"), &json!(1)));
    assert_eq!(balance(&house, 7).await, json!(["50.00", "50.00"]));
    let list = "{ corrections(status: PROPOSED) { nodes { correction { correction proposedBy }
       entries { nodes { number account amount { amount } reason reference } }
       balanceChanges { posted { amount } postedAfter { amount } belowFloor refused } } } }";
    let list = house.read(&finance(), list, json!({})).await["corrections"]["nodes"].clone();
    assert_eq!(list[0]["entries"]["nodes"][0]["reference"], "FIN-7");
    assert_eq!(list[0]["balanceChanges"][0]["postedAfter"]["amount"], "45.00");
    let end = || json!({ "c": waits["correction"], "key": key() });
    let head = house.head().await;
    assert_eq!(house.ask(&finance(), APPLY, end()).await.code(), "SECOND_PERSON");
    assert_eq!(house.ask(&diner(7), APPLY, end()).await.code(), "FORBIDDEN");
    assert_eq!(house.head().await, head);
    let applied = house.ask(&second(), APPLY, end()).await.data()["applyCorrection"]["correction"].clone();
    assert_eq!(applied, json!({ "status": "SETTLED", "decidedBy": Uuid::from_u128(333) }));
    assert_eq!(balance(&house, 7).await, json!(["45.00", "45.00"]));
    assert_eq!(house.ask(&second(), REJECT, end()).await.code(), "OUT_OF_TURN");

    let open = "mutation($key: UUID!) { openBooks(zone: \"UTC\", idempotencyKey: $key) { __typename } }";
    house.ask(&finance(), open, json!({ "key": key() })).await.data();
    let limit = domain::Money::new(100, domain::Currency::CNY);
    let who = (tenant(1), domain::ActorId(Uuid::from_u128(9)));
    let request = commands::Request::new(who, "limit", Uuid::from_u128(1), &limit, house.commands.now());
    house.commands.set_approval_limit(request, limit).await.unwrap();
    let at_once = house.ask(&finance(), ADJUST, adjust("1.00")).await.data()["adjustAccount"]["correction"].clone();
    assert_eq!((&at_once["status"], &at_once["decidedBy"]), (&json!("SETTLED"), &Value::Null));
    assert_eq!(balance(&house, 7).await, json!(["46.00", "46.00"]));
}

#[tokio::test]
async fn what_is_wrong_with_a_correction_is_named_and_appends_nothing() {
    let house = House::open().await;
    house.deposit(7, "50.00").await;
    let open = "mutation($key: UUID!) { openBooks(zone: \"UTC\", idempotencyKey: $key) { __typename } }";
    house.ask(&finance(), open, json!({ "key": key() })).await.data();
    let close = "mutation($key: UUID!) { closePeriod(through: \"2026-11-22\", idempotencyKey: $key) { __typename } }";
    house.ask(&finance(), close, json!({ "key": key() })).await.data();
    let head = house.head().await;
    let own = format!("wallet:{}", Uuid::from_u128(7));
    let entry =
        |account: &str, amount: &str| json!({ "account": account, "amount": yuan(amount), "reason": "CORRECTION" });
    let refused = async |entries: Value, dated: Value, code: &str| {
        let answer = house.ask(&finance(), PROPOSE, json!({ "e": entries, "d": dated, "key": key() })).await;
        assert_eq!(answer.code(), code, "{}", answer.body);
        answer.body["errors"][0]["extensions"]["field"].clone()
    };
    assert_eq!(refused(json!([entry("purse:7", "1")]), Value::Null, "BAD_INPUT").await, "account");
    assert_eq!(refused(json!([entry("suspense", "1")]), Value::Null, "BAD_INPUT").await, "to");
    let mut bad = entry(&own, "1");
    bad["reference"] = json!("two words");
    assert_eq!(refused(json!([bad]), Value::Null, "BAD_INPUT").await, "reference");
    refused(json!([]), Value::Null, "BAD_INPUT").await;
    refused(json!([entry(&own, "0")]), Value::Null, "BAD_INPUT").await;
    let unknown = format!("wallet:{}", Uuid::from_u128(99));
    refused(json!([entry(&own, "1"), entry(&unknown, "1")]), Value::Null, "NOT_FOUND").await;
    refused(json!([entry(&own, "1")]), json!("2026-11-20"), "PERIOD_CLOSED").await;
    refused(json!([entry(&own, "1")]), json!("2099-11-20"), "BAD_INPUT").await;
    for mutation in [APPLY, REJECT] {
        let nothing = json!({ "c": Uuid::from_u128(4242), "key": key() });
        assert_eq!(house.ask(&second(), mutation, nothing).await.code(), "NOT_FOUND");
    }
    assert_eq!(house.head().await, head);
}

#[tokio::test]
async fn an_account_closes_when_its_balance_was_paid_out() {
    let house = House::open().await;
    house.deposit(7, "50.00").await;
    let close = "mutation($a: ID!, $key: UUID!) { closeAccount(account: $a, idempotencyKey: $key) { account } }";
    let asked = json!({ "a": wallet(7), "key": key() });
    let refused = house.ask(&finance(), close, asked.clone()).await;
    assert_eq!(refused.code(), "OUT_OF_TURN");
    assert!(refused.body.to_string().contains("its balance is to be paid out first"), "{}", refused.body);
    let out = json!({ "a": owner(7), "m": yuan("50.00"), "key": key() });
    let payout = house.ask(&finance(), PAY_OUT, out).await.data()["requestPayout"]["payout"]["payout"].clone();
    house.ask(&finance(), CONFIRM, json!({ "p": payout, "key": key() })).await.data();
    house.ask(&finance(), close, asked.clone()).await.data();
    let head = house.head().await;
    house.ask(&finance(), close, asked).await.data();
    assert_eq!(house.head().await, head);
    let late = json!({ "a": owner(7), "m": yuan("1.00"), "s": "BANK", "key": key() });
    assert_eq!(house.ask(&finance(), TOP_UP, late).await.code(), "OUT_OF_TURN");
    assert_eq!(house.head().await, head);
}
