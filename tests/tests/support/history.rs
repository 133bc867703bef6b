//! A log with a past, made by the program's own measurement, which is the quickest way to one.

use super::{command, json, lunch::Place, succeed};

/// Fills an empty store with a log of `diners` accounts with money and some whole orders, about four
/// events a diner, and folds its views. Answers where the log ends.
pub fn fill(place: &Place, diners: u32) -> u64 {
    let origin = Place::new();
    let (store, diners) = (origin.store(), diners.to_string());
    let arguments = ["bench", "orders", "--store", &store, "--seconds", "1", "--diners", &diners, "--servings", "10"];
    let bench = command(&arguments).args(["--in-flight", "32", "--json"]).output().expect("the program starts");
    assert!(bench.status.success(), "{}", String::from_utf8_lossy(&bench.stderr));
    // A copy has its own incarnation and nothing of the measurement but its events.
    let file = place.file("history.jsonl").display().to_string();
    succeed(&["events", "export", &file, "--store", &store]);
    let to = place.store();
    let imported = json(&["events", "import", &file, "--store", &to, "--json"]);
    succeed(&["events", "take-over", "--origin-is-dead", "--store", &to]);
    succeed(&["projections", "rebuild", "--all", "--store", &to]);
    imported["head"].as_u64().expect("a position")
}
