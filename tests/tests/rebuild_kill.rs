//! `kill -9` at twenty random moments of a rebuild, ten in Postgres, where each takes longer: readers see the
//! live views all the while, whoever folds these views next goes on, and what goes live in the end is what the
//! log says.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on says why and fails")]

mod support;

use std::{
    process::{Child, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{command, history, json, lunch::Place, succeed};
use testing::Postgres;

const ROUNDS: u32 = 20;
const ROUNDS_IN_POSTGRES: u32 = 10;
/// Accounts of the log; it has about four events each.
const DINERS: u32 = 5_000;

/// The builds as `projections list` tells of them.
fn builds(store: &str) -> Vec<Value> {
    json(&["projections", "list", "--store", store, "--json"])["projections"].as_array().unwrap().clone()
}

/// The live builds' names and numbers.
fn live(store: &str) -> Vec<(Value, Value)> {
    let builds = builds(store);
    let live = builds.iter().filter(|build| build["live"] == true);
    live.map(|build| (build["projection"].clone(), build["build"].clone())).collect()
}

fn balances(store: &str) -> String {
    succeed(&["balances", "--store", store, "--json"])
}

/// From 0 to 1.
fn random_share() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}

fn rebuild(store: &str) -> Child {
    let mut command = command(&["projections", "rebuild", "--all", "--store", store]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts")
}

/// Waits until `moment` after its start. How long it took, if it has ended before.
fn ends_before(rebuilding: &mut Child, moment: Duration) -> Option<Duration> {
    let began = Instant::now();
    loop {
        if rebuilding.try_wait().unwrap().is_some() {
            return Some(began.elapsed());
        }
        let left = moment.saturating_sub(began.elapsed());
        if left.is_zero() {
            return None;
        }
        sleep(left.min(Duration::from_millis(5)));
    }
}

/// Kills rebuilds at random moments of the time that a whole one takes, and looks at what readers see
/// after each. Answers how many were killed before they had ended.
fn kill_rebuilds(store: &str, rounds: u32) -> u32 {
    let known = balances(store);
    let began = Instant::now();
    succeed(&["projections", "rebuild", "--all", "--store", store]);
    let mut whole = began.elapsed();
    let mut killed = 0;
    for round in 0..rounds {
        let before = live(store);
        let anew = builds(store).iter().all(|build| build["live"] == true);
        let mut rebuilding = rebuild(store);
        // From its first moments to its last: the switch and the tidying up.
        let moment = whole.mul_f64(random_share());
        println!("round {round}: killed after {moment:?} of {whole:?}");
        let ended = ends_before(&mut rebuilding, moment);
        rebuilding.kill().unwrap();
        rebuilding.wait().unwrap();
        assert!(balances(store) == known, "round {round}: readers see something else");
        // Each view is the old one whole or the new one whole; none is missing.
        let after = live(store);
        let names = |builds: &[(Value, Value)]| builds.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&after), names(&before), "round {round}");
        killed += u32::from(ended.is_none());
        // The machine may have been slow when the whole was measured. What only goes on is shorter anyway.
        whole = ended.filter(|_| anew).unwrap_or(whole);
    }
    killed
}

/// Whatever was left is gone on with, ends, and is right; nothing is left over.
fn settle(store: &str) {
    succeed(&["projections", "rebuild", "--all", "--store", store]);
    succeed(&["verify", "--store", store]);
    let builds = builds(store);
    assert!(builds.iter().all(|build| build["live"] == true), "a build is left over: {builds:#?}");
}

#[test]
fn a_killed_rebuild_leaves_the_live_views_alone_and_ends_right() {
    let place = Place::new();
    let head = history::fill(&place, DINERS);
    let killed = kill_rebuilds(&place.store(), ROUNDS);
    println!("{head} events: {killed} of {ROUNDS} rebuilds were killed before they had ended");
    assert!(killed >= ROUNDS / 4, "most rebuilds had ended when they were to be killed: {killed}");
    settle(&place.store());
}

#[test]
fn a_killed_rebuild_in_postgres_leaves_the_live_views_alone_and_ends_right() {
    let place = Place::on(Postgres::shared().database());
    // A small history: what takes its time here is to make the tables, and that is where most kills fall.
    let head = history::fill(&place, DINERS / 5);
    let killed = kill_rebuilds(&place.store(), ROUNDS_IN_POSTGRES);
    println!("{head} events: {killed} of {ROUNDS_IN_POSTGRES} rebuilds were killed before they had ended");
    assert!(killed >= ROUNDS_IN_POSTGRES / 4, "most rebuilds had ended when they were to be killed: {killed}");
    settle(&place.store());
}

#[test]
fn a_server_that_is_killed_while_it_rebuilds_goes_on_at_its_next_start() {
    let place = Place::new();
    history::fill(&place, DINERS);
    let store = place.store();
    let known = balances(&store);
    let first = live(&store);
    let mut server = place.serve();
    for round in 0..5_u64 {
        let mut asked = rebuild(&store);
        sleep(Duration::from_millis(100 + 150 * round));
        server.kill();
        asked.wait().unwrap();
        assert!(balances(&store) == known, "round {round}: readers see something else");
        server = place.serve();
    }
    // The rebuild that was under way ends without anybody asking for it again.
    let deadline = Instant::now() + Duration::from_secs(60);
    while builds(&store).iter().any(|build| build["live"] == false) {
        assert!(Instant::now() < deadline, "the rebuild is not gone on with: {:#?}", builds(&store));
        assert!(balances(&store) == known, "readers see something else while it ends");
        sleep(Duration::from_millis(100));
    }
    assert!(live(&store) != first, "no rebuild came to its end");
    assert!(server.stop(), "it ends well");
    succeed(&["verify", "--store", &store]);
}
