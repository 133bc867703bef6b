//! What an operator does to projections.

use serde_json::{Value, json};
use testing::Postgres;

use crate::support::{Place, stderr, stdout};

/// The live build of a projection.
fn build(place: &Place, name: &str) -> Value {
    let list = place.json(&["projections", "list"]);
    let builds = list["projections"].as_array().expect("builds");
    let live = builds.iter().find(|build| build["projection"] == name && build["live"] == true);
    live.unwrap_or_else(|| panic!("no live {name}: {list}")).clone()
}

/// Pauses, lets go on and rebuilds, whoever holds the views.
fn work_on(place: &Place) {
    assert_eq!(place.json(&["projections", "pause", "balances"])["paused"], json!(["balances"]));
    assert_eq!(place.json(&place.import_of(6))["orders_imported"], 3);
    let paused = build(place, "balances");
    assert_eq!(paused["health"], "paused", "{paused}");
    assert!(paused["behind"].as_u64() > Some(0) && paused["lag_seconds"].as_f64() > Some(0.0), "{paused}");
    assert!(place.succeed(&["projections", "list"]).contains("paused"));
    assert!(place.json(&["balances"])["incomplete_since"].is_number(), "what is paused is incomplete");
    let rebuild = place.run(&["projections", "rebuild", "journal", "--compare", "--json"]);
    let rebuilt: Value = serde_json::from_str(&stdout(&rebuild)).expect("JSON");
    let compared = rebuilt["rebuilt"][0]["compared"].as_str().unwrap_or_default();
    assert!(compared.starts_with("equal to the live build"), "{rebuilt} {}", stderr(&rebuild));
    assert_eq!(rebuild.status.code(), Some(0));
    place.succeed(&["projections", "resume", "balances"]);
    place.succeed(&["projections", "rebuild", "balances"]);
    assert_eq!(place.json(&["verify"])["same"], true);
    let sound = build(place, "balances");
    assert_eq!((&sound["health"], &sound["behind"], &sound["lag_seconds"]), (&json!("sound"), &json!(0), &json!(0.0)));
}

#[test]
fn projections_are_worked_on_in_a_folder_that_a_server_holds() {
    let place = Place::with_history(3);
    let _server = place.serve();
    work_on(&place);
}

#[test]
fn projections_are_worked_on_in_a_database() {
    let place = Place::at(Postgres::shared().database());
    place.json(&place.import_of(3));
    work_on(&place);
}

#[test]
fn a_wrong_word_is_wrong_usage_and_changes_nothing() {
    let place = Place::with_history(1);
    for arguments in [
        &["projections", "rebuild"][..],
        &["projections", "rebuild", "menu", "--all"],
        &["projections", "pause"],
        &["projections", "park", "drop", "menu", "--position", "1"],
        &["projections", "park", "drop", "menu", "--position", "1", "--reason", " "],
        &["projections", "park", "drop", "menu", "--stream", "lunch:1", "--reason", "x"],
        &["projections", "park", "drop", "menu", "--reason", "x"],
    ] {
        assert_eq!(place.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    for (arguments, said) in [
        (&["projections", "pause", "lunches"][..], "there is no projection \"lunches\""),
        (&["projections", "park", "list", "lunches"], "there is no projection \"lunches\""),
        (&["projections", "park", "drop", "menu", "--position", "1", "--reason", "x"], "no such event is parked"),
    ] {
        let output = place.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&output).contains(said), "{arguments:?}: {}", stderr(&output));
    }
    assert_eq!(place.json(&["verify"])["same"], true);
}

#[test]
fn a_parked_stream_is_listed_replayed_and_dropped() {
    let url = Postgres::shared().database();
    let place = Place::at(url.clone());
    place.json(&place.import_of(3));
    let psql = |sql: &str| Postgres::shared().psql(&url, sql);
    let payload = psql("SELECT payload FROM tiffin_log.events WHERE position = 5");
    psql("UPDATE tiffin_log.events SET payload = '{\"Nonsense\":{}}' WHERE position = 5");

    let poisoned = place.run(&["projections", "park", "replay", "journal", "--json"]);
    assert_eq!(poisoned.status.code(), Some(1), "{}", stderr(&poisoned));
    let parked = place.json(&["projections", "park", "list", "journal"])["parked"].clone();
    assert_eq!(parked[0]["position"], 5, "{parked}");
    assert!(place.json(&["journal", "--limit", "1"])["incomplete_since"].is_number());
    assert!(place.succeed(&["projections", "list"]).contains("INCOMPLETE since event 5"));
    assert_ne!(place.run(&["verify"]).status.code(), Some(0));

    // Repaired, it can be replayed.
    psql(&format!("UPDATE tiffin_log.events SET payload = '{}' WHERE position = 5", payload.replace('\'', "''")));
    let replayed = place.json(&["projections", "park", "replay", "journal"]);
    assert_eq!(replayed["parked"], json!([]), "{replayed}");
    assert_eq!(place.json(&["verify"])["same"], true);

    // Or done without, by somebody and for a reason.
    psql("UPDATE tiffin_log.events SET payload = '{\"Nonsense\":{}}' WHERE position = 5");
    assert_eq!(place.run(&["projections", "rebuild", "journal"]).status.code(), Some(0));
    let drop = ["projections", "park", "drop", "journal", "--position", "5", "--reason", "the till's bug"];
    let dropped = place.json(&drop);
    assert!(dropped["dropped"].as_u64() > Some(0) && dropped["dropped_by"].is_string(), "{dropped}");
    let kept = place.json(&["projections", "park", "list", "--dropped", "journal"])["dropped"].clone();
    assert_eq!((&kept[0]["position"], &kept[0]["reason"]), (&json!(5), &json!("the till's bug")), "{kept}");
    assert!(place.succeed(&["projections", "park", "list", "--dropped"]).contains("the till's bug"));
    assert_eq!(place.json(&["projections", "park", "list"])["parked"], json!([]));
    assert_eq!(place.json(&["projections", "park", "replay", "journal"])["parked"], json!([]), "for good");
}

#[test]
fn verify_shows_the_first_row_that_differs_side_by_side() {
    let url = Postgres::shared().database();
    let place = Place::at(url.clone());
    place.json(&place.import_of(2));
    let table =
        Postgres::shared().psql(&url, "SELECT tablename FROM pg_tables WHERE tablename LIKE 'canteens\\_\\_v%'");
    Postgres::shared().psql(&url, &format!("UPDATE views.{table} SET name = 'South = far'"));
    let shown = place.run(&["verify"]);
    assert_eq!(shown.status.code(), Some(1));
    let line = stdout(&shown).lines().find(|line| line.contains("South = far")).expect("a line").to_owned();
    assert!(line.contains('≠') && line.contains("North"), "{line}");
    let verified = place.run(&["verify", "--json"]);
    let report: Value = serde_json::from_str(&stdout(&verified)).expect("JSON");
    let columns = report["differences"][0]["columns"].as_array().expect("columns");
    let differing: Vec<&Value> = columns.iter().filter(|column| column["differs"] == true).collect();
    let only = json!({ "column": "name", "found": "South = far", "expected": "North", "differs": true });
    assert_eq!(differing, [&only], "{report}");
}
