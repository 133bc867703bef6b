//! Log and views in different databases.

use testing::Postgres;

use crate::support::{Place, program, stderr, stdout};

/// Runs the program with its views at `views`; what it answers in JSON.
#[track_caller]
fn json(place: &Place, views: &str, arguments: &[&str]) -> serde_json::Value {
    let output = program(place.path())
        .args(arguments)
        .args(["--json", "--store", &place.store(), "--views", views])
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    serde_json::from_str(&stdout(&output)).expect("JSON")
}

#[test]
fn views_may_lie_apart_from_the_log() {
    let (postgres, beside) = (Postgres::shared(), Place::with_history(4));
    let expected = beside.json(&["balances"])["balances"].clone();
    let folder = tempfile::tempdir().expect("a folder");
    let in_folder = format!("sqlite:{}", folder.path().join("views").display());
    for (place, views) in [(Place::at(postgres.database()), in_folder), (Place::new(), postgres.database())] {
        let import = place.import_of(4);
        let import: Vec<&str> = import.iter().map(String::as_str).collect();
        assert_eq!(json(&place, &views, &import)["orders_imported"], 4);
        let balances = json(&place, &views, &["balances"]);
        // Accounts of canteens have ids of their own in each history.
        assert_eq!(balances["balances"].as_array().map(Vec::len), expected.as_array().map(Vec::len), "{balances}");
        assert_eq!(json(&place, &views, &["verify"])["same"], true);
        let server = place.serve_with(&["--views", &views]);
        let rebuilt = json(&place, &views, &["projections", "rebuild", "balances"]);
        assert_eq!(rebuilt["rebuilt"][0]["projection"], "balances");
        server.signal("-TERM");
        assert_eq!(server.ended(), Some(0), "{}", place.log());
    }
}

#[test]
fn a_folder_of_views_is_for_one_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let views = format!("sqlite:{}", folder.path().display());
    let place = Place::at(Postgres::shared().database());
    let _server = place.serve_with(&["--views", &views]);
    let second = place.run(&["serve", "--listen", "127.0.0.1:0", "--views", &views]);
    assert_eq!(second.status.code(), Some(1));
    assert!(stderr(&second).contains("held by another tiffin process"), "{}", stderr(&second));
}
