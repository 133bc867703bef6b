//! The books as another program works them out from the log, beside what the views say: after a
//! demo, after an import.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on says why and fails")]

mod support;

use std::{fs, process::Command};

use serde_json::{Value, json};
use support::{
    lunch::{Place, export},
    root, succeed, views,
};
use uuid::Uuid;

/// Recomputes the books, and compares every section that the views have too.
fn agree(place: &Place) -> Value {
    let log = export(&place.store(), &place.file("export.jsonl"));
    let tenants: Vec<String> = tenants(&log);
    assert_eq!(tenants.len(), 1, "{tenants:?}");
    let place_of_tenant = tenants[0].parse::<Uuid>().expect("a tenant");
    let server = place.serve();
    let token = place.token_of(place_of_tenant, "auditor", Uuid::now_v7(), None);
    let mut auditor = support::lunch::Person::new(server.address, Uuid::now_v7(), token);
    let views = views::read(&place.store(), &mut auditor, &tenants[0], &views::dates(&log));
    for section in ["orders", "takings", "balances", "offers", "totals"] {
        let rows = views[section][&tenants[0]].as_object().map_or(0, serde_json::Map::len);
        assert!(rows > 0, "the views have no {section}: {views}");
    }
    let file = place.file("views.json");
    fs::write(&file, views.to_string()).expect("a file");
    let said = place.recompute(&["--finished", "--compare", file.to_str().expect("UTF-8")]);
    assert_eq!((&said["differences"], &said["problems"]), (&json!(0), &json!(0)));
    assert!(server.stop(), "it ends well");
    succeed(&["verify", "--store", &place.store()]);
    succeed(&["trial-balance", "--store", &place.store()]);
    said
}

fn tenants(log: &str) -> Vec<String> {
    let rows = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON Lines"));
    // A header stands before the events, and a manifest behind them.
    let events = rows.filter(|row| row.get("position").is_some());
    let mut tenants: Vec<String> =
        events.map(|row| row["stream"]["tenant"].as_str().expect("a tenant").to_owned()).collect();
    tenants.sort();
    tenants.dedup();
    tenants
}

#[test]
fn after_a_demo_the_views_say_what_the_log_says() {
    let place = Place::new();
    let store = place.store();
    let demo = support::json(&["demo", "--orders", "300", "--seed", "7", "--exit", "--json", "--store", &store]);
    let said = agree(&place);
    let totals = said["totals"].as_object().unwrap().values().next().unwrap()["CNY"].clone();
    assert_eq!(totals["orders_confirmed"], demo["orders"]["confirmed"], "{demo}");
    let money = |name: &str| demo["money"][name].as_i64().unwrap_or_else(|| panic!("no {name}: {demo}"));
    assert_eq!(totals["takings_minor"], money("paid_minor") - money("refunded_minor"), "{demo}");
    assert_eq!(said["events"], demo["events"], "{demo}");
}

#[test]
fn after_an_import_the_views_say_what_the_log_and_the_file_say() {
    let place = Place::new();
    let rows = slice(&place, 300);
    let mapping = root().join("docs/mappings/pizzaplace.toml").display().to_string();
    let (file, tenant) = (place.file("till.csv").display().to_string(), place.tenant.to_string());
    let arguments = ["import", "orders", &file, "--mapping", &mapping, "--tenant", &tenant, "--store", &place.store()];
    succeed(&arguments);
    let said = agree(&place);
    let cents: i64 = rows.iter().map(|row| cents(row.rsplit(',').next().expect("a price"))).sum();
    let expected = json!({ "orders_confirmed": 300, "portions": rows.len(), "takings_minor": cents });
    assert_eq!(said["totals"][&tenant]["USD"], expected);
    assert_eq!(said["balances"][&tenant]["prepaid"]["USD"], 0, "all of it was eaten");
}

/// The rows of the pizzeria's first so many orders, also written to `till.csv`.
fn slice(place: &Place, orders: usize) -> Vec<String> {
    let packed = root().join("tests/data/pizzaplace.csv.gz");
    let output = Command::new("gzip").arg("-dc").arg(packed).output().expect("gzip runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let (head, body) = text.split_once('\n').expect("a header");
    let mut numbers = std::collections::BTreeSet::new();
    let first = |row: &&str| {
        numbers.insert(row.split(',').next().expect("a number").to_owned());
        numbers.len() <= orders
    };
    let rows: Vec<String> = body.lines().take_while(first).map(str::to_owned).collect();
    fs::write(place.file("till.csv"), format!("{head}\n{}\n", rows.join("\n"))).expect("a file");
    rows
}

/// "13.5" is 1350.
fn cents(text: &str) -> i64 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{part:0<2}").parse().expect("a price")
}
