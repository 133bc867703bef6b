//! How many SQL statements a query takes: as many for a page of many things as for a page of one. Each query
//! is asked with everything that can be reached from it, over a tenant that has one of everything, and again
//! when it has twenty more; the documents are made from the schema, so a new field is covered by itself.

use std::collections::{BTreeMap, BTreeSet};

use domain::CanteenId;
use serde_json::{Value, json};
use uuid::Uuid;

use super::enumeration::{
    documents::{Kind, Schema},
    roles_of,
    world::{DINER, World, bearer, done, populated},
};
use crate::{DocumentLimits, HttpLimits, Rate, identity::Identity, node::NodeId, testing::*};

/// How many of each thing come to the one that there is.
const MORE: u32 = 20;

/// Of what an answer needs side by side, what comes back first may lead on before the rest has come, and the rest
/// takes a read of its own. That is a few more for a whole answer; a read for each thing takes 40 more.
const SLACK: u64 = 10;

/// Queries whose answer has no list of twenty things even then, and why.
const SHORT: &[(&str, &str)] = &[
    ("account", "one thing"),
    ("diner", "one thing"),
    ("event", "one thing"),
    ("myBalances", "a diner has two accounts"),
    ("parkedEvents", "nothing is parked"),
    ("prepSheet", "by dish, from one statement"),
    ("projections", "by view"),
    ("trialBalance", "by currency"),
    ("viewer", "who asks, from the token"),
];

/// A house in which nothing is too dear.
async fn unlimited() -> House {
    let most = 1 << 32;
    let document = DocumentLimits { complexity: most, fields: most, aliases: most, ..DocumentLimits::default() };
    let rate = Rate { burst: u64::MAX, per_second: 1 };
    House::with(HttpLimits { rate, document, ..HttpLimits::default() }, true).await
}

struct Crowd<'a> {
    house: &'a House,
    world: &'a World,
    canteen: Value,
}

impl Crowd<'_> {
    async fn finance(&self, mutation: &str) -> Value {
        done(self.house, &finance(), mutation).await
    }

    async fn serving(&self, canteen: &Value, dish: &Value) -> Value {
        let serving = json!({ "canteen": canteen, "date": "2026-11-23", "meal": "LUNCH", "opens": "2026-11-23T08:00",
            "cutOff": "2026-11-23T11:00", "dinerLimit": 100, "offers": [{ "dish": dish, "portions": 100 }] });
        let published = self.house.ask(&staff(), PUBLISH, json!({ "key": key(), "serving": serving })).await.data();
        published["publishServing"]["serving"]["id"].clone()
    }

    /// Sold at the counter, and handed over.
    async fn sell(&self, serving: &Value, dish: &Value) {
        let input = json!({ "serving": serving, "diner": Uuid::from_u128(DINER), "payWith": "AT_COUNTER",
            "handOver": true, "lines": [{ "dish": dish, "quantity": 1 }] });
        let sold = self.house.ask(&staff(), PLACE, json!({ "key": key(), "input": input })).await.data();
        assert_eq!(sold["placeOrder"]["status"], "PICKED_UP", "{sold}");
    }

    async fn dish(&self, canteen: &Value, name: &str) -> Value {
        self.house.dish(canteen, json!({ "name": name, "category": "Main", "price": yuan("2.00") })).await
    }

    /// Another canteen and another serving, with a sale each.
    async fn sold(&self, number: u32) {
        let opened = format!(
            "openCanteen(name: \"C{number}\", zone: \"Asia/Shanghai\", currency: \"CNY\", KEY) {{ canteen {{ id }} }}"
        );
        let other = done(self.house, &staff(), &opened).await["canteen"]["id"].clone();
        for canteen in [&self.canteen, &other] {
            let dish = self.dish(canteen, &format!("Noodles {number}")).await;
            let serving = self.serving(canteen, &dish).await;
            self.sell(&serving, &dish).await;
        }
    }

    /// Another diner of the company, who orders with its money.
    async fn ordered(&self, number: u32) {
        let who = u128::from(number) + 5_000;
        let (company, policy) = (self.world.of("company"), self.world.of("policy"));
        self.house.deposit(who, "20.00").await;
        let employed = Uuid::from_u128(who);
        self.finance(&format!(
            "employ(diner: \"{employed}\", company: \"{company}\", fromDate: \"2026-11-01\", KEY) {{ diner }}"
        ))
        .await;
        self.grant(policy, "2026-11-23").await;
        let (canteen, serving) = (CanteenId(self.world.of("canteen")), self.world.of("serving"));
        let dish = NodeId::Dish(canteen, self.world.of("dish").into()).encode().0;
        let serving = json!(NodeId::Serving(serving.into()).encode().0);
        let soy = json!([{ "group": "Sauce", "choice": "Soy" }]);
        let lines = json!([{ "dish": dish, "quantity": 1, "options": soy }]);
        let placed = self.house.order(&diner(who), &serving, lines, &key()).await.data();
        assert_eq!(placed["placeOrder"]["status"], "CONFIRMED", "{placed}");
    }

    async fn grant(&self, policy: Uuid, day: &str) {
        self.finance(&format!(
            "grantSubsidies(policy: \"{policy}\", firstDate: \"{day}\", lastDate: \"{day}\", KEY) {{ __typename }}"
        ))
        .await;
    }

    async fn credit(&self, company: Uuid) {
        self.finance(&format!(
            "setCreditLimit(company: \"{company}\", limit: {{ amount: \"90000.00\", currency: \"CNY\" }}, KEY) {{ __typename }}"
        ))
        .await;
    }

    async fn invoice(&self, company: Uuid) {
        self.finance(&format!("issueInvoice(company: \"{company}\", KEY) {{ __typename }}")).await;
    }

    /// Another company, which owes something.
    async fn founded(&self, number: u32) {
        let company = Uuid::from_u128(u128::from(number) + 6_000);
        let employed = Uuid::from_u128(u128::from(number) + 7_000);
        self.credit(company).await;
        self.finance(&format!(
            "employ(diner: \"{employed}\", company: \"{company}\", fromDate: \"2026-11-01\", KEY) {{ diner }}"
        ))
        .await;
        let opened = format!(
            "openSubsidyPolicy(company: \"{company}\", currency: \"CNY\", zone: \"Asia/Shanghai\", KEY) {{ policy }}"
        );
        let policy: Uuid = self.finance(&opened).await["policy"].as_str().unwrap().parse().unwrap();
        self.finance(&format!(
            "setSubsidyTerms(policy: \"{policy}\", fromDate: \"2026-11-23\", terms: {{ amount: {{ amount: \"20.00\",
               currency: \"CNY\" }}, per: DAY, clearing: DAILY, meals: [LUNCH] }}, KEY) {{ policy }}"
        ))
        .await;
        self.grant(policy, "2026-11-23").await;
        self.invoice(company).await;
    }

    /// Another of everything that finance has of the diner and the company.
    async fn paid(&self, number: u32) {
        let (who, company) = (Uuid::from_u128(DINER), self.world.of("company"));
        let wallet = format!("account: {{ kind: WALLET, owner: \"{who}\" }}");
        let one = "amount: { amount: \"1.00\", currency: \"CNY\" }";
        // A working day, for which nothing is granted yet.
        let later = jiff::Span::new().weeks(number / 5).days(number % 5);
        let day = jiff::civil::date(2026, 11, 30).checked_add(later).unwrap();
        let closed = format!("2026-11-{:02}", number + 1);
        self.finance(&format!("topUp({wallet}, {one}, source: BANK, KEY) {{ __typename }}")).await;
        self.grant(self.world.of("policy"), &day.to_string()).await;
        self.invoice(company).await;
        self.finance(&format!("closePeriod(through: \"{closed}\", KEY) {{ __typename }}")).await;
        let entry = format!("{{ account: \"wallet:{who}\", {one}, reason: GOODWILL }}");
        let entries = vec![entry; number as usize + 1].join(", ");
        self.finance(&format!("proposeCorrection(entries: [{entries}], KEY) {{ __typename }}")).await;
        let asked = format!("requestPayout({wallet}, {one}, KEY) {{ payout {{ payout }} }}");
        let asked = done(self.house, &diner(DINER), &asked).await;
        let payout = asked["payout"]["payout"].as_str().unwrap();
        self.finance(&format!("confirmPayout(payout: \"{payout}\", KEY) {{ __typename }}")).await;
    }
}

/// Twenty more of everything.
async fn crowd(house: &House, world: &World) {
    let canteen = json!(NodeId::Canteen(CanteenId(world.of("canteen"))).encode().0);
    let crowd = Crowd { house, world, canteen };
    crowd.credit(world.of("company")).await;
    let (serving, dish) = (world.id("serving")[0].clone(), world.id("dish")[0].clone());
    let more = "mutation($serving: ID!, $dish: ID!, $key: UUID!) {
      setPortions(serving: $serving, dish: $dish, portions: 500, idempotencyKey: $key) { __typename } }";
    house.ask(&staff(), more, json!({ "serving": serving, "dish": dish, "key": key() })).await.data();
    for number in 0..MORE {
        crowd.sold(number).await;
        crowd.ordered(number).await;
        crowd.founded(number).await;
        crowd.paid(number).await;
    }
}

/// How many statements each query took, by whom and how it was asked; and how many things it showed at most.
struct Counted {
    statements: BTreeMap<String, u64>,
    longest: BTreeMap<String, usize>,
}

/// The length of the longest list within.
fn longest(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(longest).max().unwrap_or(0).max(values.len()),
        Value::Object(fields) => fields.values().map(longest).max().unwrap_or(0),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

async fn counted(house: &House, schema: &Schema, world: &World) -> Counted {
    house.views.wait_for(house.head().await, std::time::Duration::from_secs(10)).await.unwrap();
    let mut counted = Counted { statements: BTreeMap::new(), longest: BTreeMap::new() };
    for root in schema.roots().iter().filter(|root| root.kind == Kind::Query) {
        for (way, mut arguments) in schema.arguments(root, world).into_iter().enumerate() {
            // Where a page begins and how long it is are asked about elsewhere.
            if arguments.contains_key("after") || arguments.contains_key("first") {
                continue;
            }
            if root.takes("first") {
                arguments.insert("first".to_owned(), json!(100));
            }
            for role in roles_of(&root.name) {
                let (who, asked): (Identity, _) =
                    (bearer(tenant(1), *role), format!("{} {way} as {role:?}", root.name));
                let before = house.views.statements();
                let answer = house.ask(&who, &schema.document(root, &arguments), json!(arguments)).await.body;
                let taken = house.views.statements() - before;
                assert_ne!(answer["errors"][0]["extensions"]["code"], "TOO_COMPLEX", "{answer}");
                counted.statements.insert(asked, taken);
                let longest = longest(&answer["data"]);
                let known = counted.longest.entry(root.name.clone()).or_default();
                *known = longest.max(*known);
            }
        }
    }
    counted
}

#[tokio::test]
async fn no_query_takes_more_statements_for_a_longer_page() {
    let house = unlimited().await;
    let world = populated(&house).await;
    let company = world.of("company");
    let disclosed = format!("setCompanyDisclosure(company: \"{company}\", disclosure: DISHES, KEY) {{ __typename }}");
    done(&house, &finance(), &disclosed).await;
    let schema = Schema::read().with_pages(100);
    let few = counted(&house, &schema, &world).await;
    crowd(&house, &world).await;
    let many = counted(&house, &schema, &world).await;
    let grown: Vec<_> = few
        .statements
        .iter()
        .filter_map(|(asked, before)| {
            let after = many.statements[asked];
            (after > *before + SLACK).then(|| format!("{asked}: {before} statements, then {after}"))
        })
        .collect();
    assert!(grown.is_empty(), "{}", grown.join("\n"));
    assert!(few.statements.values().filter(|taken| **taken > 0).count() > 50, "{:?}", few.statements);
    // Without this nothing would have been asked about long pages.
    let short = many.longest.iter().filter(|(_, longest)| **longest < MORE as usize).map(|(name, _)| name.as_str());
    let short: BTreeSet<_> = short.collect();
    let known: BTreeSet<_> = SHORT.iter().map(|(name, _)| *name).collect();
    assert_eq!(short, known, "{:?}", many.longest);
}
