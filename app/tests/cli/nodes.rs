//! Several servers on one database.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testing::Postgres;

use crate::{
    canteen::{DEPOSIT, DINER, ask, diner, insist, key, open_canteen, order},
    support::{Place, Server, graphql, http, program, stderr},
};

/// Longer than any of this may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The status of an order as a server shows it to whoever has seen `seen`.
fn status(server: &Server, diner: &str, order: &Value, seen: &Value) -> Value {
    let body = json!({
        "query": "query ($id: ID!) { node(id: $id) { ... on Order { status } } }", "variables": { "id": order },
        "extensions": { "consistencyToken": seen },
    });
    let answer = insist(|| {
        let (_, answer) = http(server.address, "POST", "/graphql", Some(diner), &body.to_string()).expect("an answer");
        serde_json::from_slice(&answer).expect("JSON")
    });
    answer["data"]["node"]["status"].clone()
}

/// Who has the lease on open processes now, if anybody has.
fn follower(url: &str) -> String {
    let asked = "SELECT holder FROM views.leases WHERE name = 'processes' AND until > clock_timestamp()";
    Postgres::shared().psql(url, asked)
}

#[test]
fn two_servers_share_a_database() {
    let url = Postgres::shared().database();
    let place = Place::at(url.clone());
    let (one, other) = (place.serve(), place.serve());
    let (staff, finance, diner) = (place.token("canteen"), place.token("finance"), diner(&place));
    let input = open_canteen(&one, &staff);
    ask(&other, &finance, DEPOSIT, json!({ "owner": DINER, "key": key(4) }));
    let (first, seen_first) = order(&one, &diner, &input, 10);
    let (second, seen_second) = order(&other, &diner, &input, 11);
    assert_eq!(status(&other, &diner, &first, &seen_first), "CONFIRMED");
    assert_eq!(status(&one, &diner, &second, &seen_second), "CONFIRMED");
    // The same key at the other server is the same order.
    assert_eq!(order(&other, &diner, &input, 10).0, first);

    // Commands work beside both, and nobody's password is shown.
    assert_eq!(place.json(&place.import_of(3))["orders_imported"], 3);
    assert_eq!(place.json(&["verify"])["same"], true);
    assert_eq!(place.json(&["trial-balance"])["balanced"], true);
    let password = Postgres::shared().password();
    assert!(!place.log().contains(password), "{}", place.log());

    // Whoever follows open processes: when it is killed, another one does.
    one.kill();
    let third = place.serve();
    other.kill();
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs(5));
    while follower(&url).is_empty() {
        assert!(began.elapsed() < PATIENCE, "nobody follows: {}", place.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    let (third_order, seen) = order(&third, &diner, &input, 12);
    assert_eq!(status(&third, &diner, &third_order, &seen), "CONFIRMED");
    third.signal("-TERM");
    assert_eq!(third.ended(), Some(0), "{}", place.log());
    assert_eq!(follower(&url), "", "the lease was given back");
    assert_eq!(place.json(&["verify"])["same"], true);
}

#[test]
fn a_server_outlives_its_database() {
    let postgres = Postgres::start();
    let place = Place::at(postgres.database());
    let server = place.serve();
    let finance = place.token("finance");
    ask(&server, &finance, DEPOSIT, json!({ "owner": DINER, "key": key(1) }));
    postgres.kill();
    let mut deposited = 1;
    let began = Instant::now();
    // For a moment what is left of it still answers, and even commits.
    let refused = (2..5_000).find_map(|number| {
        let answer = graphql(server.address, &finance, DEPOSIT, json!({ "owner": DINER, "key": key(number) }));
        let answer = answer.expect("an answer");
        deposited = number;
        answer["errors"].is_array().then_some(answer)
    });
    let refused = refused.expect("a server that was killed ends");
    let extensions = &refused["errors"][0]["extensions"];
    assert_eq!((&extensions["code"], &extensions["retryable"]), (&json!("UNAVAILABLE"), &json!(true)), "{refused:#}");
    let ready = http(server.address, "GET", "/readyz", None, "").expect("an answer");
    assert_eq!(ready.0, 503, "{}", String::from_utf8_lossy(&ready.1));
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    assert_eq!(http(server.address, "GET", "/healthz", None, "").expect("an answer").0, 200);

    postgres.restart();
    let began = Instant::now();
    loop {
        let answer = graphql(server.address, &finance, DEPOSIT, json!({ "owner": DINER, "key": key(deposited) }));
        if answer.expect("an answer")["errors"].is_null() {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "it does not recover: {}", place.log());
        std::thread::sleep(Duration::from_millis(200));
    }
    let deposits = place.json(&["events", "list", "--type", "account.Deposited", "--limit", "1000"]);
    assert_eq!(deposits["events"].as_array().map(Vec::len), Some(deposited as usize), "{deposits}");
    server.signal("-TERM");
    assert_eq!(server.ended(), Some(0), "{}", place.log());
}

#[test]
fn a_copy_is_not_served_but_read() {
    let origin = Place::with_history(3);
    let file = origin.path().join("export.jsonl").display().to_string();
    origin.succeed(&["events", "export", &file]);
    let copy = Place::at(Postgres::shared().database());
    copy.succeed(&["events", "import", &file]);
    for arguments in [vec!["serve".to_owned(), "--listen".into(), "127.0.0.1:0".into()], copy.import_of(4)] {
        let refused = copy.run(&arguments);
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&refused).contains("copy") && stderr(&refused).contains("take-over"), "{}", stderr(&refused));
    }
    // Its views can be folded all the same.
    copy.succeed(&["projections", "rebuild", "--all"]);
    assert_eq!(copy.json(&["balances"])["balances"], origin.json(&["balances"])["balances"]);
    assert_eq!(copy.json(&["verify"])["same"], true);
}

#[test]
fn what_is_wrong_with_a_database_is_said_without_its_password() {
    let postgres = Postgres::shared();
    let password = postgres.password();
    let right = postgres.database();
    let cases = [
        (right.replace(password, "wrongpassword"), 1, "password authentication failed"),
        (postgres.url("nowhere"), 1, "createdb"),
        (format!("postgres://tiffin:{password}@127.0.0.1:1/x"), 1, "not available"),
        (format!("postgres://tiffin:{password}@127.0.0.1"), 2, "names no database"),
    ];
    let place = Place::new();
    for (url, code, said) in cases {
        for command in [&["balances"][..], &["serve", "--listen", "127.0.0.1:0"], &["projections", "list"]] {
            let output = program(place.path()).args(command).args(["--store", &url]).output().expect("it starts");
            let errors = stderr(&output);
            assert_eq!(output.status.code(), Some(code), "{command:?}: {errors}");
            assert!(errors.contains(said), "{command:?}: {errors}");
            assert!(!errors.contains(password) && !errors.contains("wrongpassword"), "{command:?}: {errors}");
        }
    }
}
