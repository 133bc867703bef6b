//! The end of a server loses nothing that it acknowledged.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::json;

use crate::support::{Place, Server, graphql, http, program};

const DEPOSIT: &str = "mutation ($diner: UUID!, $amount: Decimal!, $key: UUID!) {
    deposit(account: { kind: WALLET, owner: $diner }, amount: { amount: $amount, currency: \"CNY\" }, idempotencyKey: $key) {
        account { posted { amount } }
    }
}";

fn uuid(number: u64) -> String {
    format!("00000000-0000-7000-8000-{number:012x}")
}

/// Deposits into wallets, each of an amount of its own, until no answer comes. The acknowledged ones.
fn load(server: &Server, token: &str, stop: &AtomicBool, next: &AtomicU64, acknowledged: &Mutex<BTreeSet<u64>>) {
    while !stop.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let amount = format!("{}.{:02}", number / 100, number % 100);
        let variables = json!({ "diner": uuid(number % 50 + 1), "amount": amount, "key": uuid(1_000_000 + number) });
        match graphql(server.address, token, DEPOSIT, variables) {
            Ok(answer) if answer["errors"].is_null() => {
                assert!(answer["data"]["deposit"]["account"].is_object(), "{answer}");
                acknowledged.lock().unwrap().insert(number);
            }
            // The end has begun.
            Ok(_) | Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// The amounts of the deposits that the log has, in minor units; each must be there once.
fn recorded(place: &Place) -> BTreeSet<u64> {
    let listed = place.json(&["events", "list", "--type", "account.Deposited", "--limit", "100000"]);
    let events = listed["events"].as_array().expect("events").iter();
    let amounts: Vec<u64> =
        events.map(|event| event["payload"]["Deposited"]["amount"]["minor"].as_u64().expect("an amount")).collect();
    let once: BTreeSet<u64> = amounts.iter().copied().collect();
    assert_eq!(once.len(), amounts.len(), "a deposit was booked twice");
    once
}

/// Puts the server under load, gives it `signal`, and answers what it acknowledged and how it ended.
fn end_under_load(place: &Place, signal: &str) -> (BTreeSet<u64>, Option<i32>) {
    let server = place.serve();
    let token = place.token("finance");
    let (stop, next, acknowledged) = (AtomicBool::new(false), AtomicU64::new(1), Mutex::default());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| load(&server, &token, &stop, &next, &acknowledged));
        }
        while acknowledged.lock().unwrap().len() < 200 {
            std::thread::sleep(Duration::from_millis(10));
        }
        server.signal(signal);
        let began = std::time::Instant::now();
        while http(server.address, "GET", "/healthz", None, "").is_ok() && began.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(20));
        }
        stop.store(true, Ordering::Relaxed);
    });
    (acknowledged.into_inner().unwrap(), server.ended())
}

#[test]
fn sigterm_under_load_loses_nothing_acknowledged() {
    let place = Place::new();
    let (acknowledged, code) = end_under_load(&place, "-TERM");
    assert_eq!(code, Some(0), "{}", place.log());
    let recorded = recorded(&place);
    let lost: Vec<&u64> = acknowledged.difference(&recorded).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    // The views came along to the end, with nobody to continue them.
    assert_eq!(place.json(&["verify"])["same"], true);
    assert_eq!(place.json(&["projections", "list"])["head"], place.json(&["balances"])["position"]);
}

#[test]
fn a_kill_under_load_loses_nothing_acknowledged() {
    let place = Place::new();
    let (acknowledged, code) = end_under_load(&place, "-KILL");
    assert_eq!(code, None);
    assert_eq!(acknowledged.difference(&recorded(&place)).count(), 0);
    let server = place.serve();
    assert_eq!(place.json(&["verify"])["same"], true);
    server.signal("-TERM");
    assert_eq!(server.ended(), Some(0), "{}", place.log());
}

#[test]
fn while_it_drains_it_says_that_it_is_not_ready() {
    let mut answers = BTreeSet::new();
    // It says so for a moment, and the machine may stand still for as long.
    for _ in 0..5 {
        let place = Place::new();
        let server = place.serve();
        server.signal("-TERM");
        while let Ok((status, _)) = http(server.address, "GET", "/readyz", None, "") {
            answers.insert(status);
        }
        assert_eq!(server.ended(), Some(0));
        if answers.contains(&503) {
            return;
        }
    }
    panic!("{answers:?}");
}

#[test]
fn a_taken_address_is_named() {
    let place = Place::new();
    let server = place.serve();
    let other = Place::new();
    let taken = other.run(&["serve", "--listen", &server.address.to_string()]);
    assert_eq!(taken.status.code(), Some(1));
    let said = crate::support::stderr(&taken);
    assert!(said.contains(&server.address.to_string()) && said.contains("--listen"), "{said}");
}

#[test]
fn a_server_that_is_told_to_end_while_it_starts_ends() {
    let place = Place::new();
    // An issuer that takes the question for its keys and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let keys = format!("http://{}/keys", silent.local_addr().expect("an address"));
    let mut child = program(place.path())
        .args(["serve", "--listen", "127.0.0.1:0", "--store", &place.store(), "--jwks", &keys, "--issuer", "a"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    let _asked = silent.accept().expect("it asks for the keys");
    assert!(!place.folder().join("admin.sock").exists(), "who finds the socket finds a server");
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().expect("kill runs").success());
    let began = std::time::Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if began.elapsed() > Duration::from_secs(20) {
            child.kill().expect("it was running");
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(0), "after {:?}", began.elapsed());
    let server = place.serve();
    server.signal("-TERM");
    assert_eq!(server.ended(), Some(0), "what was begun is in nobody's way: {}", place.log());
}

#[test]
fn a_demo_that_is_set_wrongly_opens_nothing() {
    let place = Place::new();
    std::fs::write(place.path().join("tiffin.toml"), "[http]\ncost_burst = 5\n").expect("a file");
    let output = place.run(&["demo", "--orders", "100", "--listen", "127.0.0.1:0"]);
    let said = crate::support::stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("dearest"), "{said}");
    assert!(!place.folder().exists(), "nothing was made");
}
