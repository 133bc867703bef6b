//! `tiffin bench http`: a server in another process is asked, and its figures are what was asked for.

use serde_json::json;

use crate::support::*;

#[test]
fn a_server_of_its_own_is_asked_at_a_rate() {
    let place = Place::new();
    let arguments = ["bench", "http", "--rate", "20", "--seconds", "2", "--diners", "5", "--servings", "1"];
    let report = place.json(&arguments);
    assert_eq!((&report["requests"], &report["errors"]), (&json!(40), &json!(0)), "{report}");
    assert!(report["p50_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{report}");
    // Those of the two seconds before are in the books too.
    let status = place.json(&["verify"]);
    assert_eq!((&status["same"], &place.json(&["trial-balance"])["balanced"]), (&json!(true), &json!(true)));
    let menu = ["bench", "http", "--ask", "menu", "--rate", "max", "--seconds", "1", "--diners", "5"];
    let menu = Place::new().json(&menu);
    assert_eq!((&menu["errors"], &menu["rate"]), (&json!(0), &json!(null)), "{menu}");
}

#[test]
fn a_log_that_is_in_no_folder_is_refused() {
    let output = Place::at("memory:".to_owned()).run(&["bench", "http"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("needs a folder"), "{said}");
}
