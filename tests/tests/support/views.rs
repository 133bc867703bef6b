//! What the product's views say, in the shape that `recompute.py --compare` reads.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    json,
    lunch::{Person, raw},
};

/// Reads orders, refusals, takings, balances, offers and totals of one tenant as an auditor does:
/// through GraphQL, the balances through the command line. `dates` are those of its servings.
pub fn read(store: &str, auditor: &mut Person, tenant: &str, dates: &[String]) -> Value {
    let mut all = Sections::default();
    for date in dates {
        for serving in auditor.all(&format!("servings(date: \"{date}\")"), "id offers { dish portions left withdrawn }")
        {
            all.offers(&serving);
            let orders = auditor.all(&format!("ordersOfServing(serving: {})", serving["id"]), "status");
            for order in orders {
                *all.orders.entry(text(&order["status"])).or_default() += 1;
            }
            let query = "query($id: ID!) { dashboard(serving: $id) { orders { confirmed } refusals { reason orders }
                         takings { portions refundedPortions net { amount currency } } } }";
            all.dashboard(&auditor.ask(query, json!({ "id": serving["id"] }))["dashboard"]);
        }
    }
    if let (Some(from), Some(to)) = (dates.iter().min(), dates.iter().max()) {
        let field = format!("sales(from: \"{from}\", to: \"{to}\")");
        auditor.all(&field, "dish units takings { amount currency }").iter().for_each(|sales| all.sales(sales));
    }
    json!({
        "orders": { tenant: all.orders }, "refused": { tenant: all.refused }, "takings": { tenant: all.takings },
        "balances": balances(store), "offers": { tenant: all.offers }, "totals": { tenant: all.totals },
    })
}

/// The dates of all servings that the export has.
pub fn dates(export: &str) -> Vec<String> {
    let events = export.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).expect("JSON Lines"));
    let published = events.filter(|event| event["type"] == "serving.Published");
    let mut dates: Vec<String> = published.map(|event| text(&event["payload"]["Published"]["date"])).collect();
    dates.sort();
    dates.dedup();
    dates
}

fn balances(store: &str) -> Value {
    let mut tenants: BTreeMap<String, BTreeMap<String, Map<String, Value>>> = BTreeMap::new();
    let said = json(&["balances", "--store", store, "--json"]);
    for row in said["balances"].as_array().expect("balances") {
        let accounts = tenants.entry(text(&row["tenant"])).or_default();
        accounts.entry(text(&row["account"])).or_default().insert(text(&row["currency"]), row["balance_minor"].clone());
    }
    json!(tenants)
}

#[derive(Default)]
struct Sections {
    orders: BTreeMap<String, u64>,
    refused: BTreeMap<String, u64>,
    takings: BTreeMap<String, Value>,
    offers: BTreeMap<String, Value>,
    totals: BTreeMap<String, Value>,
}

impl Sections {
    fn offers(&mut self, serving: &Value) {
        let offers: BTreeMap<String, Value> = list(&serving["offers"])
            .iter()
            .map(|offer| {
                let (portions, left) = (number(&offer["portions"]), number(&offer["left"]));
                // What is withdrawn has neither portions left nor any reserved.
                let reserved = if offer["withdrawn"] == true { 0 } else { portions - left };
                (raw(&offer["dish"]), json!({ "portions": portions, "reserved": reserved, "left": left }))
            })
            .collect();
        self.offers.insert(raw(&serving["id"]), json!(offers));
    }

    fn dashboard(&mut self, dashboard: &Value) {
        if dashboard.is_null() {
            return;
        }
        for refusal in list(&dashboard["refusals"]) {
            *self.refused.entry(text(&refusal["reason"])).or_default() += number(&refusal["orders"]).unsigned_abs();
        }
        for takings in list(&dashboard["takings"]) {
            let total = self.totals.entry(text(&takings["net"]["currency"])).or_insert_with(|| json!({}));
            add(total, "orders_confirmed", number(&dashboard["orders"]["confirmed"]));
            add(total, "portions", number(&takings["portions"]) - number(&takings["refundedPortions"]));
            add(total, "takings_minor", minor(&takings["net"]));
        }
    }

    fn sales(&mut self, sales: &Value) {
        let sold = self.takings.entry(raw(&sales["dish"])).or_insert_with(|| json!({}));
        add(sold, "portions", number(&sales["units"]));
        add(sold, "minor", minor(&sales["takings"]));
        sold["currency"] = sales["takings"]["currency"].clone();
    }
}

fn add(to: &mut Value, name: &str, by: i64) {
    to[name] = json!(to[name].as_i64().unwrap_or_default() + by);
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// A number, or a `BigInt`.
fn number(value: &Value) -> i64 {
    value.as_i64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_else(|| panic!("{value} is no number"))
}

/// Minor units: an amount is shown with all decimals of its currency.
fn minor(money: &Value) -> i64 {
    text(&money["amount"]).replace('.', "").parse().expect("an amount")
}
