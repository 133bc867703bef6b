//! Postpaid companies, from the command line: credit, invoices, payments, and what they see.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Place, TENANT, stderr};

const COMPANY: &str = "00000000-0000-7000-8000-0000000000c1";
const DINER: &str = "00000000-0000-7000-8000-00000000d001";
const TERMS: &str = "amount = { minor = 2000, currency = 'CNY' }\nper = 'day'\nclearing = 'daily'\nmeals = ['lunch']\n\
                     [calendar]\nweekdays = [1, 2, 3, 4, 5, 6, 7]\n";

fn key(number: u32) -> String {
    format!("00000000-0000-7000-8000-{number:012}")
}

fn written(place: &Place, name: &str, text: &str) -> String {
    let file = place.path().join(name);
    fs::write(&file, text).expect("a file");
    file.display().to_string()
}

fn on(place: &Place, noun: &str, arguments: &[&str]) -> Value {
    place.json(&[&[noun, "--tenant", TENANT], arguments].concat())
}

/// A company with 100.00 of credit that has granted 20.00 for one day.
fn owing(place: &Place) {
    assert_eq!(on(place, "invoices", &["limit", "--company", COMPANY, "100.00 CNY"])["changed"], true);
    let employed = written(place, "diners.csv", &format!("diner,from,to,group\n{DINER},2020-01-01,,\n"));
    on(place, "subsidies", &["employ", COMPANY, &employed]);
    let open = ["open", "--company", COMPANY, "--currency", "CNY", "--zone", "UTC"];
    let policy = on(place, "subsidies", &open)["policy"].as_str().expect("an id").to_owned();
    let terms = written(place, "terms.toml", TERMS);
    on(place, "subsidies", &["set", &policy, "--from", "2020-01-01", "--terms", &terms]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let today = domain::Timestamp::from_seconds(now as i64).date_in(&jiff::tz::TimeZone::UTC).to_string();
    let granted = on(place, "subsidies", &["grant", &policy, "--from", &today, "--to", &today]);
    assert_eq!(granted["granted_minor"], 2_000, "{granted}");
}

fn listed(place: &Place, arguments: &[&str]) -> Value {
    on(place, "invoices", &[&["list"], arguments].concat())["invoices"].clone()
}

#[test]
fn a_company_is_invoiced_and_pays_with_or_without_a_server() {
    let place = Place::new();
    owing(&place);
    let issue = ["issue", "--company", COMPANY, "--key", &key(1)];
    let issued = on(&place, "invoices", &issue);
    assert_eq!((&issued["amount"]["minor"], &issued["changed"]), (&json!(2_000), &json!(true)), "{issued}");
    assert_eq!(on(&place, "invoices", &issue)["changed"], false, "the same key again");
    let invoice = issued["invoice"].as_str().expect("an id").to_owned();
    let server = place.serve();
    let pay = |minor: &str, number| on(&place, "invoices", &["pay", &invoice, minor, "--key", &key(number)]);
    assert_eq!(pay("5.00 CNY", 2)["paid"]["minor"], 500);
    assert_eq!(pay("5.00 CNY", 2)["changed"], false, "the same payment again");
    let open = listed(&place, &["--open", "--company", COMPANY]);
    assert_eq!((&open[0]["open_minor"], &open[0]["days_overdue"]), (&json!(1_500), &json!(0)), "{open}");
    server.signal("-TERM");
    assert_eq!(server.ended(), Some(0));
    assert_eq!(pay("15.00 CNY", 3)["state"], "settled");
    assert_eq!(listed(&place, &["--open"]), json!([]));
    assert_eq!(listed(&place, &[])[0]["state"], "settled");
    let receivable = place.json(&["balances", "--account", "receivable:"]);
    assert_eq!(receivable["balances"][0]["balance_minor"], 0, "{receivable}");
    assert_eq!(place.json(&["verify"])["same"], true);
    assert_eq!(place.json(&["trial-balance"])["balanced"], true);
}

#[test]
fn what_cannot_be_invoiced_or_paid_is_named_and_changes_nothing() {
    let place = Place::new();
    owing(&place);
    let issued = on(&place, "invoices", &["issue", "--company", COMPANY, "--key", &key(1)]);
    let invoice = issued["invoice"].as_str().expect("an id");
    let head = place.json(&["trial-balance"])["position"].clone();
    let refused = |arguments: &[&str], says: &str| {
        let output = place.run(&[&["invoices", "--tenant", TENANT], arguments].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    };
    refused(&["issue", "--company", COMPANY, "--key", &key(2)], "owes nothing");
    refused(&["issue", "--company", DINER, "--key", &key(3)], "no such account");
    refused(&["pay", invoice, "20.01 CNY", "--key", &key(4)], "20.00 CNY is open");
    refused(&["pay", invoice, "1.00 USD", "--key", &key(4)], "do not add up");
    refused(&["pay", DINER, "1.00 CNY", "--key", &key(4)], "no such invoice");
    refused(&["limit", "--company", COMPANY, "19.99 CNY"], "0.01 CNY is missing");
    assert_eq!(place.json(&["trial-balance"])["position"], head);
    assert_eq!(on(&place, "invoices", &["void", invoice, "--reason", "mistake"])["state"], "voided");
    assert_eq!(on(&place, "invoices", &["void", invoice, "--reason", "mistake"])["changed"], false);
    refused(&["pay", invoice, "1.00 CNY", "--key", &key(4)], "it is void");
    assert_eq!(place.json(&["verify"])["same"], true);
}

#[test]
fn a_companys_use_is_shown_and_written() {
    let place = Place::new();
    owing(&place);
    let shown = on(&place, "subsidies", &["use", "--company", COMPANY, "--from", "2026-01-01"]);
    assert_eq!(shown["days"], json!([]), "nobody has eaten");
    let file = place.path().join("use.csv");
    let file = file.to_str().expect("a path");
    assert_eq!(on(&place, "subsidies", &["use", "--company", COMPANY, "--csv", file])["rows_written"], 0);
    assert_eq!(fs::read_to_string(file).expect("a file"), "date,diner,orders,spent,currency,dishes\n");
    assert_eq!(on(&place, "subsidies", &["disclose", "--company", COMPANY, "dishes"])["changed"], true);
    assert_eq!(on(&place, "subsidies", &["disclose", "--company", COMPANY, "dishes"])["changed"], false);
    for (arguments, says) in [
        (vec!["use", "--company", DINER], "there is no company"),
        (vec!["use", "--from", "2026-01-01"], "go with --company"),
    ] {
        let output = place.run(&[&["subsidies", "--tenant", TENANT][..], &arguments].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    }
}
