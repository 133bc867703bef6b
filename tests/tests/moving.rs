//! A log moves from SQLite to Postgres and back while it is in use, as `docs/guides/moving-house.md`
//! tells it: the same bytes, the same books, the same orders under the same keys, and a short pause.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on says why and fails")]

mod support;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{
    Server, fail, json,
    load::{self, Load},
    lunch::{Lunch, Person, Place, key},
    succeed,
};
use testing::Postgres;

/// The pause of a log as small as this one, on a machine that does much besides.
const PAUSE: Duration = Duration::from_secs(120);

/// A store that a log moves into, and what the moves there and away write.
struct Step<'a> {
    place: &'a Place,
    from: &'a str,
    to: &'a str,
    name: &'a str,
}

impl Step<'_> {
    fn file(&self, name: &str) -> String {
        self.place.file(&format!("{}-{name}.jsonl", self.name)).display().to_string()
    }

    /// What is done while the old store is still served. Answers the next position.
    fn copy(&self) -> u64 {
        let file = self.file("first");
        let exported = json(&["events", "export", &file, "--store", self.from, "--json"]);
        let imported = json(&["events", "import", &file, "--store", self.to, "--json"]);
        assert_eq!(imported["state"], "copy");
        assert_eq!(imported["head"], exported["last"]);
        succeed(&["projections", "rebuild", "--all", "--store", self.to]);
        exported["last"].as_u64().unwrap() + 1
    }

    /// What is done while nothing is served: the old store ends, the new one begins.
    fn finish(&self, next: u64) {
        let file = self.file("rest");
        assert_eq!(json(&["events", "seal", "--yes", "--store", self.from, "--json"])["state"], "sealed");
        let from = next.to_string();
        succeed(&["events", "export", &file, "--from", &from, "--store", self.from]);
        assert_eq!(json(&["events", "import", &file, "--store", self.to, "--json"])["state"], "complete");
        // Before anything is added: the same bytes in both.
        let whole = |store: &str| succeed(&["events", "export", "--store", store]);
        assert_eq!(whole(self.to), whole(self.from), "an export of an import is the same bytes");
        assert_eq!(json(&["events", "take-over", "--store", self.to, "--json"])["state"], "open");
    }
}

/// Everything that the books say.
fn books(store: &str) -> [Value; 3] {
    [
        json(&["balances", "--store", store, "--json"]),
        json(&["trial-balance", "--store", store, "--json"]),
        json(&["journal", "--store", store, "--json", "--limit", "100"]),
    ]
}

/// What somebody has ordered, as soon as the views show it.
fn orders_of(diner: &mut Person) -> Vec<Value> {
    let query = "{ myOrders(first: 10) { nodes { id } } }";
    let began = Instant::now();
    loop {
        let answer = diner.try_ask(query, &json!({})).expect("an answer");
        if answer["errors"].is_null() {
            println!("the views of the new store show it after {:?}", began.elapsed());
            return answer["data"]["myOrders"]["nodes"].as_array().unwrap().clone();
        }
        assert_eq!(answer["errors"][0]["extensions"]["code"], "STALE", "{answer:#}");
        assert!(began.elapsed() < Duration::from_secs(60), "{answer:#}");
    }
}

/// Goes on at a store where somebody else left off: same key folder, so the same tokens.
fn serve(store: &str, data: &Path) -> Server {
    Server::start(store, data, &[])
}

#[test]
fn a_log_moves_to_postgres_while_lunch_goes_on_and_back_again() {
    let place = Place::new();
    let postgres = Postgres::start();
    let old = place.store();
    let new = postgres.database();
    let back = format!("sqlite:{}", place.file("back").display());

    let server = place.serve();
    let (mut staff, mut finance) = (place.staff(&server), place.finance(&server));
    let lunch = Lunch::open(&mut staff, &[("Rice", "3.00", 900_000)], 900_000);
    let mut diner = load::diners(&place, server.address, &mut finance, 1).remove(0);
    let before = key();
    let order = diner.place_as(&before, &lunch.serving, json!([lunch.line(0, 2)]))["id"].clone();
    let shoppers = load::diners(&place, server.address, &mut finance, 4);
    let lunchtime = Load::start(shoppers, &lunch, 20.0);

    // To Postgres, in the middle of it.
    let there = Step { place: &place, from: &old, to: &new, name: "there" };
    let next = there.copy();
    let placed = lunchtime.stop();
    assert!(placed.iter().all(|placed| placed.order.is_some()), "an export disturbs nobody: {placed:?}");
    let began = Instant::now();
    assert!(server.stop(), "it ends well");
    there.finish(next);
    let server = serve(&new, &place.folder());
    diner.move_to(server.address);
    let after = diner.place(&lunch.serving, json!([lunch.line(0, 1)]));
    let pause = began.elapsed();
    assert_eq!(after["status"], "CONFIRMED", "{after:#}");
    println!("{next} events and some more moved; nobody could order for {pause:?}");
    assert!(pause < PAUSE, "the pause was {pause:?}");

    // Nothing but the store has changed: tokens, ids, keys, what is owed.
    let again = diner.place_as(&before, &lunch.serving, json!([lunch.line(0, 2)]));
    assert_eq!(again["id"], order, "a key from before the move gives the order from before the move");
    let orders = orders_of(&mut diner);
    assert_eq!(orders.len(), 2, "{orders:?}");
    assert!(orders.iter().any(|one| one["id"] == order));
    let said = fail(1, &["serve", "--store", &old, "--listen", "127.0.0.1:0"]);
    assert!(said.contains("sealed"), "{said}");
    assert!(server.stop(), "it ends well");
    succeed(&["verify", "--store", &new]);

    // And back, with nobody there.
    let books_there = books(&new);
    let home = Step { place: &place, from: &new, to: &back, name: "back" };
    home.finish(home.copy());
    let server = serve(&back, &place.folder());
    let mut diner = Person::new(server.address, diner.id, diner.token.clone());
    diner.place(&lunch.serving, json!([lunch.line(0, 1)]));
    assert!(server.stop(), "it ends well");
    succeed(&["verify", "--store", &back]);
    // What was placed here is the only difference.
    let orders = support::recompute(&back, &place.file("back.jsonl"), &["--finished"]);
    let confirmed = orders["orders"][place.tenant.to_string()]["CONFIRMED"].as_u64().unwrap() as usize;
    assert_eq!(confirmed, placed.len() + 3);
    assert_ne!(books(&back), books_there, "an order more");
}

#[test]
fn views_of_a_copy_are_those_of_its_origin_in_either_database() {
    let place = Place::new();
    let server = place.serve();
    let (mut staff, mut finance) = (place.staff(&server), place.finance(&server));
    let lunch = Lunch::open(&mut staff, &[("Rice", "3.00", 10), ("Noodles", "12.50", 10)], 100);
    let mut diner = load::diners(&place, server.address, &mut finance, 1).remove(0);
    let orders: Vec<Value> =
        (0..6).map(|number| diner.place(&lunch.serving, json!([lunch.line(number % 2, 1)]))["id"].clone()).collect();
    diner.step("cancelOrder", &orders[0]);
    staff.step("markReady", &orders[1]);
    assert!(server.stop(), "it ends well");

    let postgres = Postgres::shared();
    let stores = [place.store(), postgres.database(), format!("sqlite:{}", place.file("back").display())];
    let file = |number: usize| place.file(&format!("{number}.jsonl")).display().to_string();
    for (number, store) in stores.iter().enumerate() {
        if number > 0 {
            succeed(&["events", "import", &file(number - 1), "--store", store]);
            succeed(&["projections", "rebuild", "--all", "--store", store]);
        }
        succeed(&["events", "export", &file(number), "--store", store]);
        succeed(&["verify", "--store", store]);
        assert_eq!(books(store), books(&stores[0]), "{number}");
        let [first, this] = [0, number].map(|number| fs::read(file(number)).unwrap());
        assert!(first == this, "export {number} differs from the first");
    }
}
