//! Whose tokens a server takes: its own folder's, or those of an issuer whose keys it follows.

use std::fs;

use serde_json::json;

use crate::support::{Place, graphql, http, stderr};

const VIEWER: &str = "{ viewer { roles } }";

#[test]
fn a_server_takes_the_tokens_of_the_issuer_that_it_follows_and_no_others() {
    let (issuer, place) = (Place::new(), Place::new());
    let login = issuer.serve();
    let jwks = format!("http://{}/.well-known/jwks.json", login.address);
    let server = place.serve_with(&["--jwks", &jwks, "--issuer", "tiffin"]);
    let theirs = graphql(server.address, &issuer.token("auditor"), VIEWER, json!({})).unwrap();
    assert_eq!(theirs["data"]["viewer"]["roles"], json!(["AUDITOR"]), "{theirs}");
    let own = graphql(server.address, &place.token("auditor"), VIEWER, json!({})).unwrap();
    assert_eq!(own["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{own}");
    // What it does not take, it does not publish either.
    assert_eq!(http(server.address, "GET", "/.well-known/jwks.json", None, "").unwrap().0, 404);
    // Known keys outlive the issuer's server.
    login.kill();
    let later = graphql(server.address, &issuer.token("diner"), VIEWER, json!({})).unwrap();
    assert_eq!(later["data"]["viewer"]["roles"], json!(["DINER"]), "{later}");
    let elsewhere = Place::new();
    let other = elsewhere.serve_with(&["--jwks", &saved(&elsewhere), "--issuer", "tiffin", "--audience", "other"]);
    let refused = graphql(other.address, &elsewhere.token("diner"), VIEWER, json!({})).unwrap();
    assert_eq!(refused["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "another audience: {refused}");
}

/// A key set in a file, of the folder's own key.
fn saved(place: &Place) -> String {
    let server = place.serve();
    let (status, keys) = http(server.address, "GET", "/.well-known/jwks.json", None, "").unwrap();
    assert_eq!(status, 200);
    let file = place.path().join("keys.json");
    fs::write(&file, keys).unwrap();
    file.display().to_string()
}

#[test]
fn what_cannot_be_meant_or_reached_ends_the_start() {
    let place = Place::new();
    for (arguments, code, named) in [
        (["--jwks", "keys.json"].as_slice(), 2, "--issuer"),
        (&["--issuer", "https://login.example/"], 2, "--jwks"),
        (&["--jwks", "http://login.example/", "--issuer", "a"], 2, "https"),
        (&["--jwks", "https://user:hunter2@login.example/", "--issuer", "a"], 2, "password"),
        (&["--jwks", "http://127.0.0.1:1/keys?key=hunter2", "--issuer", "a"], 1, "http://127.0.0.1:1/keys"),
        (&["--jwks", "nowhere.json", "--issuer", "a"], 1, "nowhere.json"),
        (&["--cost-burst", "5"], 2, "dearest"),
        (&["--allow-origin", "*"], 2, "origin"),
    ] {
        let all = [&["serve", "--listen", "127.0.0.1:0"], arguments].concat();
        let output = place.run(&all);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(named) && !said.contains("hunter2"), "{arguments:?}: {said}");
    }
}
