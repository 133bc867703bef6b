//! The books and a day's orders as they were.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    events::demo,
    support::{TENANT, stderr},
};

fn list<'a>(answer: &'a Value, field: &str) -> &'a Vec<Value> {
    answer[field].as_array().unwrap_or_else(|| panic!("no {field}: {answer}"))
}

/// What entries come to, by account and currency: debits, credits.
fn sums<'a>(entries: impl Iterator<Item = &'a Value>) -> BTreeMap<(String, String), (i64, i64)> {
    let mut sums = BTreeMap::new();
    for entry in entries {
        let text = |field: &str| entry[field].as_str().expect("a text").to_owned();
        let amount = entry["amount_minor"].as_i64().expect("an amount");
        let sum: &mut (i64, i64) = sums.entry((text("account"), text("currency"))).or_default();
        *sum = (sum.0 - amount.min(0), sum.1 + amount.max(0));
    }
    sums
}

fn balances(as_of: &str) -> BTreeMap<(String, String), (i64, i64)> {
    let answer = demo().json(&["balances", "--each", "--as-of", as_of]);
    let rows = list(&answer, "balances").iter().map(|row| {
        let text = |field: &str| row[field].as_str().expect("a text").to_owned();
        let (debits, credits) = (row["debits_minor"].as_i64(), row["credits_minor"].as_i64());
        ((text("account"), text("currency")), (debits.expect("debits"), credits.expect("credits")))
    });
    rows.collect()
}

#[test]
fn books_add_up_at_every_moment_of_a_lunch() {
    let _demo = demo();
    let journal = demo().json(&["journal", "--limit", "1000000"]);
    let entries = list(&journal, "entries");
    let (head, last) = (journal["position"].as_u64().expect("a position"), &entries[0]["occurred_at"]);
    assert_eq!(journal["as_of"], Value::Null);
    for position in (1..=head).step_by(usize::try_from(head / 6).expect("a step")).chain([head]) {
        let as_of = position.to_string();
        let known = || entries.iter().filter(|entry| entry["position"].as_u64() <= Some(position));
        assert_eq!(balances(&as_of), sums(known()), "{position}");
        let page = demo().json(&["journal", "--limit", "1000000", "--as-of", &as_of]);
        assert_eq!((&page["as_of"], &page["position"]), (&json!({ "position": position }), &json!(head)));
        assert!(list(&page, "entries").iter().eq(known()), "{position}");
        // It exits with 1 unless debits and credits are the same.
        let books = demo().json(&["trial-balance", "--as-of", &as_of]);
        let debits: i64 = known().map(|entry| -entry["amount_minor"].as_i64().unwrap_or(0).min(0)).sum();
        assert_eq!(list(&books, "books").iter().filter_map(|book| book["debits_minor"].as_i64()).sum::<i64>(), debits);
    }
    for entry in [&entries[0], &entries[entries.len() / 2], &entries[entries.len() - 1]] {
        let time = entry["occurred_at"].as_str().expect("a time");
        // All of the demo's times are written alike, but for fractions.
        let micros = |entry: &Value| entry["occurred_at"].as_str().and_then(|at| at.parse::<domain::Timestamp>().ok());
        let booked = || entries.iter().filter(|other| micros(other) <= micros(entry));
        assert_eq!(balances(time), sums(booked()), "{time}");
        let page = demo().json(&["journal", "--limit", "1000000", "--as-of", time]);
        assert!(list(&page, "entries").iter().eq(booked()), "{time}");
    }
    let shown = demo().succeed(&["trial-balance", "--as-of", last.as_str().expect("a time")]);
    assert!(shown.contains("as known at event") && shown.contains("The books balance."), "{shown}");
}

#[test]
fn the_orders_of_a_day_are_listed_as_they_were() {
    let _demo = demo();
    let placed = demo().json(&["events", "list", "--type", "order.Placed", "--limit", "100000"]);
    let placed = list(&placed, "events");
    let serving = demo().json(&["events", "list", "--type", "serving.Published", "--limit", "1"]);
    let day = list(&serving, "events")[0]["payload"].pointer("/Published/date").cloned();
    let day = day.or_else(|| list(&serving, "events")[0]["payload"]["date"].as_str().map(Into::into));
    let day = day.and_then(|day| day.as_str().map(str::to_owned)).unwrap_or_else(|| panic!("no date: {serving}"));
    let orders = |arguments: &[&str]| {
        let answer = demo().json(&[&["orders", "list", "--day", &day, "--limit", "100000"], arguments].concat());
        list(&answer, "orders").clone()
    };
    assert_eq!(orders(&[]).len(), placed.len());
    let middle = placed[placed.len() / 2]["position"].as_u64().expect("a position");
    let then = orders(&["--as-of", &middle.to_string()]);
    assert_eq!(then.len(), placed.iter().filter(|event| event["position"].as_u64() <= Some(middle)).count());
    assert_eq!(then.last().map(|order| &order["status"]), Some(&json!("PLACED")));
    for order in then.iter().rev().take(3) {
        let id = order["order"].as_str().expect("an id");
        let seen = demo().json(&["aggregate", "show", "order", id, "--at", &format!("position:{middle}")]);
        let state = seen["state"]["state"].as_str().expect("a state").to_uppercase();
        assert_eq!(order["status"].as_str().map(|status| status.replace('_', "")), Some(state));
    }
    let none = orders(&["--as-of", "1"]);
    assert_eq!(none, Vec::<Value>::new());
}

#[test]
fn what_is_no_moment_is_wrong_usage() {
    let _demo = demo();
    for command in [&["balances"][..], &["journal"], &["trial-balance"], &["orders", "list", "--day", "2026-11-23"]] {
        for (moment, says) in [
            ("0", "positions begin at 1"),
            ("99999999", "there is no event 99999999"),
            ("9999-01-01", "lies in the future"),
            ("yesterday", "is no moment"),
        ] {
            let output = demo().run(&[command, &["--as-of", moment, "--tenant", TENANT]].concat());
            let said = stderr(&output);
            assert!(output.status.code() == Some(2) && said.contains(says), "{command:?} {moment}: {said}");
        }
    }
}
