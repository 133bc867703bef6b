//! An event that cannot be read: its stream is parked, everything else flows on, whoever reads is told
//! that something is missing, and once it is repaired all is as if it had never happened.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on says why and fails")]

mod support;

use std::process::Command;

use serde_json::{Value, json};
use support::{
    Server, fail, json, load,
    lunch::{Lunch, Person, Place, raw},
    run, succeed,
};
use testing::Postgres;

/// A log with a few orders; one of them is poisoned.
struct Scene {
    place: Place,
    lunch: Lunch,
    diner: Person,
    finance: Person,
    /// Global ids: the order whose stream is poisoned, and another one.
    bad: Value,
    good: Value,
    /// Where the poisoned event is, and what it was.
    position: u64,
    payload: String,
}

/// Changes an event's payload behind the program's back, as no program does: a disk, or a person.
fn overwrite(place: &Place, postgres: Option<&Postgres>, position: u64, payload: &str) {
    let payload = payload.replace('\'', "''");
    let set = format!("SET payload = '{payload}' WHERE position = {position}");
    match postgres {
        Some(postgres) => {
            postgres.psql(&place.store(), &format!("UPDATE tiffin_log.events {set}"));
        }
        None => {
            let script = "import sqlite3, sys\nlog = sqlite3.connect(sys.argv[1])\n\
                          log.execute(sys.argv[2])\nlog.commit()\nlog.close()";
            let file = place.folder().join("log.sqlite");
            let update = format!("UPDATE events {set}");
            let done = Command::new("python3").args(["-c", script]).arg(file).arg(update).status().unwrap();
            assert!(done.success(), "python3 cannot write the log");
        }
    }
}

fn events(store: &str) -> Vec<Value> {
    let export = succeed(&["events", "export", "--store", store]);
    export.lines().map(|line| serde_json::from_str(line).expect("JSON Lines")).collect()
}

impl Scene {
    /// Two orders, the first one poisoned at its event `kind`; its views are still sound.
    fn open(place: Place) -> Scene {
        let server = place.serve();
        let (mut staff, mut finance) = (place.staff(&server), place.finance(&server));
        let lunch = Lunch::open(&mut staff, &[("Rice", "3.00", 900)], 900);
        let mut diner = load::diners(&place, server.address, &mut finance, 1).remove(0);
        let mut order = || diner.place(&lunch.serving, json!([lunch.line(0, 1)]))["id"].clone();
        let (bad, good) = (order(), order());
        assert!(server.stop(), "it ends well");
        let poisoned = events(&place.store())
            .into_iter()
            .find(|event| event["type"] == "order.Confirmed" && event["stream"].to_string().contains(&raw(&bad)));
        let poisoned = poisoned.expect("the order was confirmed");
        let position = poisoned["position"].as_u64().unwrap();
        let payload = poisoned["payload"].to_string();
        Scene { place, lunch, diner, finance, bad, good, position, payload }
    }

    fn store(&self) -> String {
        self.place.store()
    }

    fn serve(&mut self) -> Server {
        let server = self.place.serve();
        self.diner.move_to(server.address);
        self.finance.move_to(server.address);
        server
    }

    fn order(&mut self) -> Value {
        let order = self.diner.place(&self.lunch.serving, json!([self.lunch.line(0, 1)]));
        assert_eq!(order["status"], "CONFIRMED", "{order:#}");
        order["id"].clone()
    }

    fn parked(&self) -> Vec<Value> {
        let parked = json(&["projections", "park", "list", "--store", &self.store(), "--json"]);
        parked["parked"].as_array().expect("parked").clone()
    }

    /// The positions of the events that these projections have parked, as operators see them over GraphQL.
    fn parked_over_graphql(&self, server: &Server, projections: &[String]) -> Vec<u64> {
        let mut ops = self.place.person(server, "ops");
        let mut of = |name: &String| ops.all(&format!("parkedEvents(projection: \"{name}\")"), "position");
        let parked = projections.iter().flat_map(&mut of);
        parked.map(|event| event["position"].as_str().unwrap().parse().unwrap()).collect()
    }

    /// The projections that have parked something.
    fn incomplete(&self) -> Vec<String> {
        let listed = json(&["projections", "list", "--store", &self.store(), "--json"]);
        let builds = listed["projections"].as_array().unwrap();
        let parked = builds.iter().filter(|build| build["parked"].as_u64().unwrap() > 0);
        parked.map(|build| build["projection"].as_str().unwrap().to_owned()).collect()
    }
}

/// Poisons an event under views that are then folded anew, serves it, repairs it, and replays.
fn poisoned_and_repaired(place: Place, postgres: Option<&Postgres>) {
    let mut scene = Scene::open(place);
    let store = scene.store();
    let books = |store: &str| [["balances"], ["trial-balance"]].map(|it| succeed(&[it[0], "--store", store, "--json"]));
    let clean = books(&store);
    overwrite(&scene.place, postgres, scene.position, r#"{"Confirmed":"by nobody"}"#);

    // Folded anew, the stream is parked whole, and the command says so.
    let output = run(&["projections", "rebuild", "--all", "--store", &store]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(&format!("INCOMPLETE since event {}", scene.position)), "{said}");
    let parked = scene.parked();
    assert!(!parked.is_empty() && parked.iter().any(|it| it["position"] == scene.position), "{parked:?}");
    let of_stream = |it: &Value| it["stream"].as_str().unwrap().contains(&raw(&scene.bad));
    assert!(parked.iter().all(of_stream), "only that order's stream is parked: {parked:?}");
    assert!(parked.iter().all(|it| !it["error"].as_str().unwrap().is_empty()));
    let incomplete = scene.incomplete();
    println!("{} events are parked in {incomplete:?}", parked.len());

    // Others flow on, over GraphQL too.
    let server = scene.serve();
    let mut seen = scene.parked_over_graphql(&server, &incomplete);
    let mut positions: Vec<u64> = parked.iter().map(|it| it["position"].as_u64().unwrap()).collect();
    seen.sort_unstable();
    positions.sort_unstable();
    assert_eq!(seen, positions, "operators see what the command lists");
    let new = scene.order();
    let good = scene.good.clone();
    let shown = scene.diner.all("myOrders", "id status");
    let status = |id: &Value| shown.iter().find(|order| order["id"] == *id).map(|order| order["status"].clone());
    assert_eq!((status(&new), status(&good)), (Some(json!("CONFIRMED")), Some(json!("CONFIRMED"))), "{shown:?}");
    // Asking that order's stream itself is an error, and no other order's concern.
    let answer = scene.diner.try_ask(
        &support::lunch::step_query("cancelOrder"),
        &json!({
            "order": scene.bad, "key": support::lunch::key(),
        }),
    );
    assert!(answer.expect("an answer")["errors"].is_array(), "a stream that cannot be read takes no command");
    assert!(server.stop(), "it ends well");
    let said = String::from_utf8_lossy(&run(&["balances", "--store", &store]).stderr).into_owned();
    assert_eq!(said.contains("INCOMPLETE"), incomplete.contains(&"balances".to_owned()), "{said}");

    // Replayed too early it is parked again, and that is no success.
    let names: Vec<&str> = incomplete.iter().map(String::as_str).collect();
    let replay = [&["projections", "park", "replay"], &names[..], &["--store", &store]].concat();
    assert_eq!(run(&replay).status.code(), Some(1), "nothing is repaired yet");
    assert_eq!(scene.parked().len(), parked.len());

    overwrite(&scene.place, postgres, scene.position, &scene.payload);
    succeed(&replay);
    assert!(scene.parked().is_empty() && scene.incomplete().is_empty());
    succeed(&["verify", "--store", &store]);
    // As if it had never happened: but for the order that came in meanwhile.
    let server = scene.serve();
    assert!(scene.parked_over_graphql(&server, &incomplete).is_empty(), "nothing is parked any more");
    for order in [&scene.bad.clone(), &new] {
        scene.diner.step("cancelOrder", order);
    }
    scene.order();
    scene.place.settled(&[]);
    assert!(server.stop(), "it ends well");
    let balances = |books: &str| {
        let rows: Value = serde_json::from_str(books).unwrap();
        let prepaid = rows["balances"].as_array().unwrap().iter().find(|row| row["account"] == "prepaid");
        prepaid.unwrap()["balance_minor"].clone()
    };
    assert_eq!(balances(&books(&store)[0]), balances(&clean[0]), "two orders are paid, as before");
    succeed(&["verify", "--store", &store]);
}

#[test]
fn a_poisoned_stream_is_parked_and_comes_back_whole() {
    poisoned_and_repaired(Place::new(), None);
}

#[test]
fn a_poisoned_stream_in_postgres_is_parked_and_comes_back_whole() {
    let postgres = Postgres::shared();
    poisoned_and_repaired(Place::on(postgres.database()), Some(postgres));
}

#[test]
fn what_cannot_be_repaired_is_dropped_with_a_reason() {
    let scene = Scene::open(Place::new());
    let store = scene.store();
    overwrite(&scene.place, None, scene.position, "{}");
    run(&["projections", "rebuild", "--all", "--store", &store]);
    let position = scene.position.to_string();
    for projection in scene.incomplete() {
        let drop = ["projections", "park", "drop", &projection, "--position", &position, "--store", &store];
        let said = fail(2, &drop);
        assert!(said.contains("--reason"), "{said}");
        succeed(&[&drop[..], &["--reason", "the disk ate it"]].concat());
        let said = fail(1, &[&drop[..], &["--reason", "once more"]].concat());
        assert!(said.contains("parked"), "{said}");
    }
    assert!(scene.parked().is_empty());
    let dropped = json(&["projections", "park", "list", "--dropped", "--store", &store, "--json"]);
    let dropped = dropped["dropped"].as_array().expect("dropped");
    assert!(dropped.iter().all(|it| it["reason"] == "the disk ate it" && it["dropped_by"].is_string()), "{dropped:?}");
    assert!(dropped.iter().any(|it| it["position"] == scene.position), "{dropped:?}");
    // Later builds do without them too, and say so no more.
    succeed(&["projections", "rebuild", "--all", "--store", &store]);
    assert!(scene.parked().is_empty());
}
