//! The log as an auditor reads it: lists, one event, trees, counts, as it grows.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use serde_json::{Value, json};

use crate::support::{Place, program, stderr, stdout};

/// A folder with the demo's lunch, which nobody changes: the same one for all that hold it at once.
pub fn demo() -> Arc<Place> {
    static DEMO: Mutex<Weak<Place>> = Mutex::new(Weak::new());
    let mut kept = DEMO.lock().unwrap_or_else(PoisonError::into_inner);
    kept.upgrade().unwrap_or_else(|| {
        let place = Arc::new(Place::new());
        assert_eq!(place.json(&["demo", "--orders", "100", "--seed", "5", "--exit"])["sound"], true);
        *kept = Arc::downgrade(&place);
        place
    })
}

fn listed(arguments: &[&str]) -> Vec<Value> {
    let answer = demo().json(&[&["events", "list", "--limit", "100000"], arguments].concat());
    answer["events"].as_array().expect("events").clone()
}

fn positions(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["position"].as_u64().expect("a position")).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// An order that was cooked, collected, and never refunded.
pub fn collected_order() -> String {
    let refunded = listed(&["--type", "order.RefundBegun"]);
    let other = |event: &&Value| refunded.iter().all(|refund| refund["stream"] != event["stream"]);
    let collected = listed(&["--type", "order.PickedUp"]);
    text(&collected.iter().find(other).expect("one nobody complained about")["stream"]["key"]).to_owned()
}

#[test]
fn each_filter_leaves_exactly_what_it_names() {
    let _demo = demo();
    let all = listed(&[]);
    assert_eq!(positions(&all), (1..=all.len() as u64).collect::<Vec<_>>());
    let sample = all.iter().find(|event| event["type"] == "account.Captured").expect("a capture");
    let metadata = &sample["metadata"];
    let stream = format!("{}:{}", text(&sample["stream"]["kind"]), text(&sample["stream"]["key"]));
    let (tenant, at) = (text(&sample["stream"]["tenant"]), text(&sample["occurred_at"]));
    type Takes<'a> = Box<dyn Fn(&Value) -> bool + 'a>;
    let filters: Vec<(Vec<&str>, Takes<'_>)> = vec![
        (vec!["--stream", &stream], Box::new(|event| event["stream"] == sample["stream"])),
        (vec!["--stream", &stream, "--tenant", tenant], Box::new(|event| event["stream"] == sample["stream"])),
        (vec!["--kind", "subsidy"], Box::new(|event| event["stream"]["kind"] == "subsidy")),
        (vec!["--type", "account.Captured"], Box::new(|event| event["type"] == sample["type"])),
        (
            vec!["--type", "order.Placed", "--type", "payment"],
            Box::new(|event| event["type"] == "order.Placed" || text(&event["type"]).starts_with("payment.")),
        ),
        (vec!["--tenant", tenant], Box::new(|_| true)),
        (vec!["--actor", text(&metadata["actor"])], Box::new(|event| event["metadata"]["actor"] == metadata["actor"])),
        (
            vec!["--correlation", text(&metadata["correlation"])],
            Box::new(|event| event["metadata"]["correlation"] == metadata["correlation"]),
        ),
        (
            vec!["--command", text(&metadata["command"])],
            Box::new(|event| event["metadata"]["command"] == metadata["command"]),
        ),
        (vec!["--occurred-from", at], Box::new(|event| text(&event["occurred_at"]) >= at)),
        (vec!["--occurred-to", at], Box::new(|event| text(&event["occurred_at"]) < at)),
        (vec!["--recorded-from", at], Box::new(|event| text(&event["recorded_at"]) >= at)),
        (vec!["--recorded-to", at], Box::new(|event| text(&event["recorded_at"]) < at)),
        (
            vec!["--from", "10", "--to", "700", "--type", "menu"],
            Box::new(|event| {
                (10..=700).contains(&event["position"].as_u64().unwrap_or(0)) && event["stream"]["kind"] == "menu"
            }),
        ),
    ];
    for (arguments, takes) in filters {
        let expected: Vec<Value> = all.iter().filter(|event| takes(event)).cloned().collect();
        assert!(!expected.is_empty(), "{arguments:?} leaves nothing, so this shows nothing");
        assert_eq!(positions(&listed(&arguments)), positions(&expected), "{arguments:?}");
        let mut newest_first = positions(&listed(&[&arguments[..], &["--reverse"]].concat()));
        newest_first.reverse();
        assert_eq!(newest_first, positions(&expected), "{arguments:?}");
    }
}

#[test]
fn a_list_goes_on_where_it_ended() {
    let _demo = demo();
    let expected = positions(&listed(&["--type", "order"]));
    for (direction, expected) in [(&[][..], expected.clone()), (&["--reverse"], expected.into_iter().rev().collect())] {
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let mut arguments = vec!["events", "list", "--limit", "37", "--type", "order"];
            arguments.extend(direction);
            if let Some(after) = &after {
                arguments.extend(["--after", after]);
            }
            let page = demo().json(&arguments);
            found.extend(positions(page["events"].as_array().expect("events")));
            match page["next"].as_u64() {
                Some(next) => after = Some(next.to_string()),
                None => break,
            }
        }
        assert_eq!(found, expected);
    }
    let shown = demo().succeed(&["events", "list", "--limit", "2"]);
    assert!(shown.contains("menu.Opened") && shown.contains("--after 2"), "{shown}");
    let last = demo().succeed(&["events", "list", "--limit", "2", "--last"]);
    assert!(!last.contains("--after"), "{last}");
}

#[test]
fn a_wrong_filter_is_refused_before_anything_is_read() {
    // The store is not even there.
    let place = Place::new();
    for (arguments, says) in [
        (&["--type", "order.Melted"][..], "order.Placed"),
        (&["--type", "wallet"], "menu, serving, order, payment, account"),
        (&["--kind", "purse"], "wallet, subsidy, company"),
        (&["--stream", "order"], "KIND:UUID"),
        (&["--stream", "order:7"], "not a UUID"),
        (&["--actor", "me"], "--actor"),
        (&["--command", "7"], "--command"),
        (&["--recorded-from", "yesterday"], "2026-11-23T04:00:00Z"),
        (&["--recorded-from", "2026-11-23", "--recorded-to", "2026-11-22"], "recorded: from 2026-11-23"),
        (&["--occurred-from", "2026-11-23", "--occurred-to", "2026-11-23"], "occurred: from 2026-11-23"),
        (&["--from", "5", "--to", "4"], "positions: from 5 to 4"),
        (&["--kind", "menu", "--stream", "order:00000000-0000-0000-0000-000000000001"], "of kind order, not menu"),
    ] {
        for command in ["list", "tail", "stats"] {
            let output = place.run(&[&["events", command], arguments].concat());
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{command} {arguments:?}: {said}");
            assert!(said.contains(says), "{command} {arguments:?}: {said}");
            assert_eq!(stdout(&output), "", "{command} {arguments:?}");
        }
    }
    assert!(!place.folder().exists());
}

#[test]
fn an_event_says_everything_that_the_log_knows_of_it() {
    let _demo = demo();
    let captured = &listed(&["--type", "account.Captured"])[0];
    let position = captured["position"].to_string();
    let shown = demo().succeed(&["events", "show", &position]);
    let metadata = &captured["metadata"];
    for part in ["command", "actor", "correlation"] {
        let id = text(&metadata[part]);
        let is_process = id == "00000000-0000-0000-0000-000000000000";
        assert!(shown.contains(if is_process { "a process" } else { id }), "{part}: {shown}");
    }
    assert!(shown.contains("account.Captured, schema version 1") && shown.contains("\"hold\":"), "{shown}");
    let account = format!("{}:{}", text(&captured["stream"]["kind"]), text(&captured["stream"]["key"]));
    assert!(shown.contains(&format!("debit {account}")) && shown.contains("credit prepaid"), "{shown}");
    assert!(demo().succeed(&["events", "show", "1"]).contains("books        not touched"));
    for (position, says) in [("0", "begin at 1"), ("99999999", "there is no event 99999999; the log stands at event")] {
        let output = demo().run(&["events", "show", position]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    }
}

#[test]
fn a_tree_has_every_event_of_the_matter_however_it_is_named() {
    let _demo = demo();
    let order = collected_order();
    let expected = positions(&listed(&["--correlation", &order]));
    let of = |tree: &Value| {
        assert_eq!((&tree["correlation"], &tree["whole"]), (&json!(order), &json!(true)), "{tree}");
        let commands = tree["commands"].as_array().expect("commands");
        let mut found: Vec<u64> =
            commands.iter().flat_map(|it| positions(it["events"].as_array().expect("events"))).collect();
        found.sort_unstable();
        found
    };
    let tree = |arguments: &[&str]| demo().json(&[&["events", "tree"], arguments].concat());
    let some = expected[expected.len() / 2].to_string();
    let event = demo().json(&["events", "show", &some]);
    let tenant = text(&event["stream"]["tenant"]);
    for arguments in [
        &["--order", &order][..],
        &["--order", &order, "--tenant", tenant],
        &["--correlation", &order],
        &["--command", text(&event["metadata"]["command"])],
        &[&some],
    ] {
        assert_eq!(of(&tree(arguments)), expected, "{arguments:?}");
    }
    let beside = demo().json(&["events", "show", &some, "--tree"]);
    assert_eq!((&beside["event"], of(&beside["tree"])), (&event, expected.clone()));
    let shown = demo().succeed(&["events", "tree", &some]);
    assert!(shown.contains(&format!("▶ {some}  ")) && shown.contains("order.Placed"), "{shown}");
    // A window that is too small says so.
    let narrow = demo().run(&["events", "tree", "--order", &order, "--window", "1"]);
    assert!(stderr(&narrow).contains("may be missing"), "{}", stderr(&narrow));
    let unknown = "00000000-0000-0000-0000-00000000beef";
    for (arguments, code) in [
        (&[][..], 2),
        (&["--order", &order, &some], 2),
        (&["--order", "7"], 2),
        (&["--order", unknown], 1),
        (&["--order", &order, "--tenant", unknown], 1),
        (&["--command", unknown], 1),
        (&["0"], 1),
    ] {
        let output = demo().run(&[&["events", "tree"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn counts_add_up_however_they_are_cut() {
    let _demo = demo();
    let all = listed(&[]);
    let stats = demo().json(&["events", "stats"]);
    let count = all.len();
    assert_eq!((&stats["events"], &stats["head"]), (&json!(count), &json!(count)));
    for cut in ["types", "kinds", "tenants", "days"] {
        let parts = stats[cut].as_object().expect(cut);
        for sum in ["events", "payload_bytes"] {
            let total: u64 = parts.values().map(|part| part[sum].as_u64().expect("a number")).sum();
            assert_eq!(json!(total), stats[sum], "{cut} {sum}");
        }
    }
    let placed = all.iter().filter(|event| event["type"] == "order.Placed").count();
    assert_eq!(stats["types"]["order.Placed"]["events"], json!(placed));
    let times = |name: &str| all.iter().map(|event| text(&event[name]).to_owned()).collect::<Vec<_>>();
    let occurred = times("occurred_at");
    assert_eq!(stats["occurred_at"], json!({ "first": occurred.iter().min(), "last": occurred.iter().max() }));
    let payments = demo().json(&["events", "stats", "--kind", "payment"]);
    assert_eq!(payments["kinds"].as_object().map(serde_json::Map::len), Some(1));
    assert_eq!(payments["events"], stats["kinds"]["payment"]["events"]);
    let shown = demo().succeed(&["events", "stats"]);
    assert!(shown.contains("order.Placed") && shown.contains("business day"), "{shown}");
    let nothing = demo().succeed(&["events", "stats", "--tenant", "00000000-0000-0000-0000-00000000beef"]);
    assert!(nothing.contains("No event matches"), "{nothing}");
}

#[test]
fn a_tail_shows_what_comes_by_filter_and_ends_with_an_interrupt() {
    let place = Place::with_history(3);
    let before = place.json(&["events", "list", "--limit", "1"])["head"].as_u64().expect("a head");
    // However late it begins: nothing of what was there before, and everything that comes.
    let from = (before + 1).to_string();
    let mut tail = program(place.path())
        .args(["events", "tail", "--json", "--lines", "1000", "--from", &from, "--type", "order.Placed"])
        .args(["--store", &place.store()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let server = place.serve();
    assert_eq!(place.json(&place.import_of(5))["orders_imported"], 2);
    let mut lines = BufReader::new(tail.stdout.take().expect("a pipe")).lines();
    for _ in 0..2 {
        let event: Value = serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON");
        assert_eq!(event["type"], "order.Placed");
        assert!(event["position"].as_u64() > Some(before), "{event}");
    }
    let id = tail.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().expect("kill runs").success());
    assert_eq!(tail.wait().expect("it ends").code(), Some(0));
    assert!(lines.next().is_none(), "each is shown once");
    drop(server);
}
