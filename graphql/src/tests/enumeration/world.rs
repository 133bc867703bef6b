//! A tenant with one of everything, what names its things, and a world that there is not.

use std::collections::BTreeMap;

use domain::{AccountId, CanteenId, CompanyId, DinerId, TenantId};
use serde_json::{Map, Value, json};
use store::EventStore;
use uuid::Uuid;

use super::documents::Arguments;
use crate::{
    identity::{Canteens, Identity, Role},
    node::NodeId,
    testing::*,
};

pub(in crate::tests) const DINER: u128 = 0xd00d_0000_0000_0001;
pub(in crate::tests) const COMPANY: u128 = 0xc0c0_0000_0000_0001;
/// What is written nowhere but in that tenant.
const MARKS: &[&str] =
    &["East", "Noodles", "Sesame", "Staple", "Quincy Wallaby", "ZQ-0042", "555-0123", "7731.19", "613.57"];

/// Names of things.
pub(in crate::tests) struct World {
    /// By what arguments call them.
    uuids: BTreeMap<&'static str, Uuid>,
    /// Names that only a service can make: of events and positions.
    opaque: BTreeMap<&'static str, String>,
    /// By the field that answered with them.
    pub(in crate::tests) cursors: BTreeMap<String, String>,
}

impl World {
    /// The same kinds of names, of nothing.
    pub(in crate::tests) fn unknown(&self) -> World {
        let altered = |text: &String| {
            let mut text = text.clone();
            let end = if text.ends_with("AAAA") { "BBBB" } else { "AAAA" };
            text.replace_range(text.len() - 4.., end);
            text
        };
        World {
            uuids: self.uuids.keys().map(|name| (*name, Uuid::now_v7())).collect(),
            opaque: self.opaque.iter().map(|(name, text)| (*name, altered(text))).collect(),
            cursors: BTreeMap::new(),
        }
    }

    pub(in crate::tests) fn of(&self, name: &str) -> Uuid {
        *self.uuids.get(name).unwrap_or_else(|| panic!("the world has no {name}"))
    }

    fn node(&self, name: &str) -> Option<NodeId> {
        let canteen = CanteenId(self.of("canteen"));
        Some(match name {
            "canteen" => NodeId::Canteen(canteen),
            "dish" => NodeId::Dish(canteen, self.of("dish").into()),
            "serving" => NodeId::Serving(self.of("serving").into()),
            "order" => NodeId::Order(self.of("order").into()),
            "account" => NodeId::Account(AccountId::Wallet(DinerId(self.of("diner")))),
            _ => return None,
        })
    }

    /// What a global id may name.
    pub(in crate::tests) fn id(&self, name: &str) -> Vec<Value> {
        if let Some(text) = self.opaque.get(name) {
            return vec![json!(text)];
        }
        let mut ids: Vec<_> = self.node(name).into_iter().map(|id| json!(id.encode().0)).collect();
        if name == "account" {
            ids.extend(self.account_ids().into_iter().skip(1).map(|id| json!(NodeId::Account(id).encode().0)));
        }
        ids
    }

    pub(in crate::tests) fn nodes(&self) -> Vec<Value> {
        ["canteen", "dish", "serving", "order", "account"].into_iter().flat_map(|name| self.id(name)).collect()
    }

    pub(in crate::tests) fn uuid(&self, name: &str) -> Vec<Value> {
        self.uuids.get(name).map(|id| json!(id)).into_iter().collect()
    }

    fn account_ids(&self) -> Vec<AccountId> {
        let (diner, company) = (DinerId(self.of("diner")), CompanyId(self.of("company")));
        vec![AccountId::Wallet(diner), AccountId::Subsidy(diner), AccountId::Company(company)]
    }

    /// Names of accounts of the books.
    pub(in crate::tests) fn ledger(&self) -> Vec<Value> {
        self.account_ids().into_iter().map(|id| json!(id.to_string())).collect()
    }

    pub(in crate::tests) fn cursors(&self, field: &str) -> Vec<Value> {
        // Where there is none, one of another kind: it must be refused as any nonsense.
        vec![json!(self.cursors.get(field).map_or("bm9uc2Vuc2U", String::as_str))]
    }

    /// Kinds of streams with the keys of such.
    pub(in crate::tests) fn streams(&self) -> Vec<Arguments> {
        let kinds = [
            ("MENU", "canteen"),
            ("SERVING", "serving"),
            ("ORDER", "order"),
            ("PAYMENT", "order"),
            ("WALLET", "diner"),
            ("SUBSIDY", "diner"),
            ("COMPANY", "company"),
            ("POLICY", "policy"),
            ("GRANT", "run"),
            ("DINER", "diner"),
            ("BOOKS", "tenant"),
            ("INVOICE", "invoice"),
            ("CORRECTION", "correction"),
            ("TOP_UP", "topUp"),
            ("PAYOUT", "payout"),
        ];
        kinds.into_iter().map(|(kind, name)| pair("kind", json!(kind), "key", self.of(name))).collect()
    }

    /// Kinds of accounts with their owners.
    pub(in crate::tests) fn accounts(&self) -> Vec<Arguments> {
        let kinds = [("WALLET", "diner"), ("SUBSIDY", "diner"), ("COMPANY", "company")];
        kinds.into_iter().map(|(kind, name)| pair("kind", json!(kind), "owner", self.of(name))).collect()
    }

    /// What must not be told to anybody else: every name of a thing, and what is written only there.
    pub(in crate::tests) async fn secrets(&self, house: &House, tenant: TenantId) -> Vec<String> {
        let rows = house.store.read_all(1, 10_000).await.unwrap();
        let rows = rows.into_iter().filter(|row| row.stream.tenant == tenant);
        let told = rows.flat_map(|row| {
            [row.stream.key.to_string(), row.metadata.command.to_string(), row.metadata.actor.to_string()]
        });
        let named = self.uuids.values().map(ToString::to_string);
        let nodes = self.nodes().into_iter().map(|id| id.as_str().unwrap().to_owned());
        let marks = MARKS.iter().map(|mark| (*mark).to_owned());
        let mut secrets: Vec<String> = told.chain(named).chain(nodes).chain(marks).collect();
        secrets.extend(self.opaque.values().cloned());
        secrets.sort();
        secrets.dedup();
        secrets
    }

    /// What is written only there, whatever it is called: also what its accounts have now.
    pub(in crate::tests) async fn marks(house: &House, tenant: TenantId) -> Vec<String> {
        let query = "{ balances(first: 100) { nodes { balance { amount } debits { amount } credits { amount } } } }";
        let balances = house.read(&bearer(tenant, Role::Finance), query, json!({})).await["balances"]["nodes"].clone();
        let rows = balances.as_array().unwrap().iter();
        let amounts = rows.flat_map(|row| ["balance", "debits", "credits"].map(|name| row[name]["amount"].clone()));
        let amounts = amounts.map(|amount| amount.as_str().unwrap().trim_start_matches('-').to_owned());
        // Short ones could be anybody's.
        let mut marks: Vec<String> = amounts.filter(|amount| amount.len() >= 6).collect();
        assert!(marks.len() > 3, "{marks:?}");
        marks.extend(MARKS.iter().map(|mark| (*mark).to_owned()));
        marks
    }
}

fn pair(one: &str, value: Value, other: &str, key: Uuid) -> Arguments {
    Map::from_iter([(one.to_owned(), value), (other.to_owned(), json!(key))])
}

/// Somebody with one role, everywhere in a tenant that the role reaches.
pub(in crate::tests) fn bearer(tenant: TenantId, role: Role) -> Identity {
    let actor = if role == Role::Diner { DINER } else { 900 + role as u128 };
    Identity {
        canteens: Canteens::ALL,
        companies: vec![CompanyId(Uuid::from_u128(COMPANY))],
        ..Identity::new(tenant, Uuid::from_u128(actor), [role])
    }
}

fn uuid(of: &Value) -> Uuid {
    of.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{of} is no UUID"))
}

pub(in crate::tests) async fn done(house: &House, who: &Identity, mutation: &str) -> Value {
    let query = mutation.replace("KEY", &format!("idempotencyKey: \"{}\"", key()));
    house.views.wait_for(house.head().await, std::time::Duration::from_secs(10)).await.unwrap();
    let data = house.ask(who, &format!("mutation {{ it: {query} }}"), json!({})).await.data();
    data["it"].clone()
}

/// Fills the first tenant with one of everything.
pub(in crate::tests) async fn populated(house: &House) -> World {
    let lunch = house.lunch().await;
    let (finance, diner) = (finance(), Identity::diner_of(tenant(1), DinerId(Uuid::from_u128(DINER))));
    let (d, c) = (Uuid::from_u128(DINER), Uuid::from_u128(COMPANY));
    let (wallet, money) = (format!("account: {{ kind: WALLET, owner: \"{d}\" }}"), "currency: \"CNY\"");
    let ask = async |mutation: &str| done(house, &finance, mutation).await;
    let top_up = ask(&format!(
        "topUp({wallet}, amount: {{ amount: \"7731.19\", {money} }}, source: BANK, KEY) {{ topUp {{ topUp }} }}"
    ))
    .await;
    ask(&format!("setCreditLimit(company: \"{c}\", limit: {{ amount: \"613.57\", {money} }}, KEY) {{ __typename }}"))
        .await;
    ask(&format!("employ(diner: \"{d}\", company: \"{c}\", fromDate: \"2026-11-01\", KEY) {{ diner }}")).await;
    ask(&format!(
        "setDinerDetails(diner: \"{d}\", name: \"Quincy Wallaby\", employeeNumber: \"ZQ-0042\", phone: \"555-0123\", KEY) {{ diner }}"
    ))
    .await;
    let policy =
        ask(&format!("openSubsidyPolicy(company: \"{c}\", {money}, zone: \"Asia/Shanghai\", KEY) {{ policy }}")).await;
    let p = uuid(&policy["policy"]);
    ask(&format!(
        "setSubsidyTerms(policy: \"{p}\", fromDate: \"2026-11-23\", terms: {{ amount: {{ amount: \"20.00\", {money} }}, per: DAY,
           clearing: DAILY, meals: [LUNCH] }}, KEY) {{ policy }}"
    ))
    .await;
    let run = ask(&format!(
        "grantSubsidies(policy: \"{p}\", firstDate: \"2026-11-23\", lastDate: \"2026-11-23\", KEY) {{ run {{ run }} }}"
    ))
    .await;
    let sesame = json!([{ "group": "Sauce", "choice": "Sesame" }]);
    let lines = json!([{ "dish": lunch.noodles, "quantity": 2, "options": sesame }]);
    let order = house.order(&diner, &lunch.serving, lines, &key()).await.data()["placeOrder"].clone();
    assert_eq!(order["status"], "CONFIRMED");
    let walk_up = json!({ "serving": lunch.serving, "diner": d, "lines": [{ "dish": lunch.rice, "quantity": 1 }],
        "payWith": "AT_COUNTER", "handOver": true });
    let walk_up = house.ask(&staff(), PLACE, json!({ "key": key(), "input": walk_up })).await.data();
    assert_eq!(walk_up["placeOrder"]["status"], "PICKED_UP");
    let invoice = ask(&format!("issueInvoice(company: \"{c}\", KEY) {{ invoice {{ invoice }} }}")).await;
    let payout = done(
        house,
        &diner,
        &format!("requestPayout({wallet}, amount: {{ amount: \"11.00\", {money} }}, KEY) {{ payout {{ payout }} }}"),
    )
    .await;
    let correction = ask(&format!(
        "proposeCorrection(entries: [{{ account: \"wallet:{d}\", amount: {{ amount: \"1.00\", {money} }}, reason: GOODWILL }}], KEY)
           {{ correction {{ correction }} }}"
    ))
    .await;
    ask("openBooks(zone: \"Asia/Shanghai\", KEY) { __typename }").await;
    let closed =
        ask("closePeriod(through: \"2026-10-31\", KEY) { __typename ... on BooksPayload { consistencyToken } }").await;
    house.views.wait_for(house.head().await, std::time::Duration::from_secs(10)).await.unwrap();
    let events = "{ events(first: 1) { nodes { id } } }";
    let event = house.read(&bearer(tenant(1), Role::Auditor), events, json!({})).await;
    let first = house.store.read_all(1, 1).await.unwrap().remove(0);
    let Some(NodeId::Canteen(canteen)) = NodeId::decode(lunch.canteen.as_str().unwrap()) else { panic!("a canteen") };
    let Some(NodeId::Dish(_, dish)) = NodeId::decode(lunch.noodles.as_str().unwrap()) else { panic!("a dish") };
    let Some(NodeId::Serving(serving)) = NodeId::decode(lunch.serving.as_str().unwrap()) else { panic!("a serving") };
    let Some(NodeId::Order(order)) = NodeId::decode(order["id"].as_str().unwrap()) else { panic!("an order") };
    let uuids = BTreeMap::from([
        ("tenant", tenant(1).0),
        ("canteen", canteen.0),
        ("dish", dish.0),
        ("serving", serving.0),
        ("order", order.0),
        ("diner", d),
        ("company", c),
        ("policy", p),
        ("group", Uuid::from_u128(0x6666_0000_0000_0001)),
        ("run", uuid(&run["run"]["run"])),
        ("invoice", uuid(&invoice["invoice"]["invoice"])),
        ("payout", uuid(&payout["payout"]["payout"])),
        ("correction", uuid(&correction["correction"]["correction"])),
        ("topUp", uuid(&top_up["topUp"]["topUp"])),
        ("command", first.metadata.command.0),
    ]);
    let opaque = BTreeMap::from([
        ("event", event["events"]["nodes"][0]["id"].as_str().unwrap().to_owned()),
        ("position", closed["consistencyToken"].as_str().unwrap().to_owned()),
    ]);
    World { uuids, opaque, cursors: BTreeMap::new() }
}
