//! What a thing was at any moment, and what each event changed.

use serde_json::{Value, json};

use crate::{
    events::{collected_order, demo},
    support::{stderr, stdout},
};

fn order_at(order: &str, at: &str) -> Value {
    demo().json(&["aggregate", "show", "order", order, "--at", at])
}

fn events_of(order: &str) -> Vec<Value> {
    let list = demo().json(&["events", "list", "--stream", &format!("order:{order}"), "--limit", "1000"]);
    list["events"].as_array().expect("events").clone()
}

#[test]
fn an_order_is_seen_as_it_was_by_version_position_and_time() {
    let _demo = demo();
    let order = collected_order();
    let events = events_of(&order);
    let states = ["Placed", "Confirmed", "Preparing", "Ready", "PickedUp"];
    assert_eq!(events.len(), states.len(), "{events:?}");
    let head = demo().json(&["events", "list", "--limit", "1"])["head"].as_u64().expect("a head");
    for (event, state) in events.iter().zip(states) {
        let (version, position) = (event["version"].to_string(), event["position"].as_u64().expect("a position"));
        let seen = order_at(&order, &version);
        assert_eq!((&seen["state"]["state"], &seen["position"]), (&json!(state), &event["position"]));
        assert_eq!(seen, order_at(&order, &format!("position:{position}")));
        // Until the next one of the stream nothing changes.
        let next = events.iter().filter_map(|other| other["position"].as_u64()).find(|other| *other > position);
        assert_eq!(seen, order_at(&order, &format!("position:{}", next.map_or(head, |next| next - 1))));
    }
    assert_eq!(order_at(&order, "latest"), order_at(&order, "5"));
    let occurred = |index: usize| events[index]["occurred_at"].as_str().expect("a time").to_owned();
    // Between two business times: what had occurred by then.
    assert_eq!(order_at(&order, &occurred(2))["state"]["state"], "Preparing");
    assert_eq!(order_at(&order, &format!("occurred:{}", occurred(3)))["state"]["state"], "Ready");
    let recorded = events[4]["recorded_at"].as_str().expect("a time");
    assert_eq!(order_at(&order, &format!("recorded:{recorded}"))["version"], 5);
    let shown = demo().succeed(&["aggregate", "show", &format!("order:{order}"), "--at", "2"]);
    assert!(shown.contains("order.Confirmed") && shown.contains("\"state\": \"Confirmed\""), "{shown}");
}

#[test]
fn the_last_state_of_an_account_is_what_the_books_say() {
    let _demo = demo();
    let balances = demo().json(&["balances", "--each", "--account", "wallet:"]);
    let balances = balances["balances"].as_array().expect("balances").iter();
    let touched: Vec<&Value> = balances.filter(|balance| balance["debits_minor"] != 0).take(3).collect();
    assert_eq!(touched.len(), 3);
    for balance in touched {
        let account = balance["account"].as_str().expect("an account");
        let seen = demo().json(&["aggregate", "show", "account", account]);
        assert_eq!(seen["state"]["content"]["posted"], balance["balance_minor"], "{seen}");
    }
}

#[test]
fn changes_lead_from_each_state_to_the_next() {
    let _demo = demo();
    let order = collected_order();
    let steps = demo().json(&["aggregate", "show", "order", &order, "--diff"]);
    let steps = steps["steps"].as_array().expect("steps");
    let mut state = json!({ "state": "New" });
    for step in steps {
        let after = order_at(&order, &step["version"].to_string())["state"].clone();
        let changes = step["changes"].as_array().expect("changes");
        assert!(!changes.is_empty());
        for change in changes {
            let path = change["path"].as_str().expect("a path");
            assert_eq!(state.pointer(path), change.get("old"), "{step}");
            assert_eq!(after.pointer(path), change.get("new"), "{step}");
        }
        state = after;
    }
    assert_eq!(steps.len(), 5);
    let some = demo().json(&["aggregate", "show", "order", &order, "--diff", "--since", "2", "--at", "4"]);
    assert_eq!(some["steps"], json!(steps[2..4]));
    let between = demo().json(&["aggregate", "show", "order", &order, "--since", "2", "--at", "3"]);
    assert_eq!(between["changes"], json!([{ "path": "/state", "old": "Confirmed", "new": "Preparing" }]));
    assert_eq!((&between["since"]["version"], &between["at"]["version"]), (&json!(2), &json!(3)));
    let shown = demo().succeed(&["aggregate", "show", "order", &order, "--diff"]);
    assert!(shown.contains("  /state: \"Placed\" → \"Confirmed\""), "{shown}");
}

#[test]
fn what_cannot_be_shown_is_refused_by_its_reason() {
    let _demo = demo();
    let order = collected_order();
    let unknown = "00000000-0000-0000-0000-00000000beef";
    for (arguments, code, says) in [
        (&["order", &order, "--at", "0"][..], 1, "begin at 1"),
        (&["order", &order, "--at", "99"], 1, "has no version 99: it is at version 5"),
        (&["order", &order, "--at", "position:99999999"], 1, "there is no event 99999999"),
        (&["order", &order, "--at", "position:1"], 1, "was not there yet"),
        (&["order", &order, "--at", "2019-01-01"], 1, "was not there yet"),
        (&["order", &order, "--at", "2999-01-01"], 1, "lies in the future"),
        (&["order", &order, "--at", "recorded:2999-01-01"], 1, "lies in the future"),
        (&["order", &order, "--at", "noon"], 2, "recorded:TIME"),
        (&["order", &order, "--since", "4", "--at", "2"], 2, "turn them round"),
        (&["order", &order, "--diff", "--since", "4", "--at", "2"], 2, "turn them round"),
        (&["order", unknown], 1, "no events of order"),
        (&["order", &order, "--tenant", unknown], 1, "has no events"),
        (&["payment", unknown], 1, "no events of payment"),
        (&["order"], 2, "order:UUID"),
        (&["purse", &order], 2, "wallet, subsidy, company"),
        (&["order", "7"], 2, "not a UUID"),
        (&["account", &order], 2, "wallet:ID"),
    ] {
        let output = demo().run(&[&["aggregate", "show"], arguments].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
    }
}
