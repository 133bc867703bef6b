//! Postgres is killed under load, again and again: whoever orders meanwhile is told to ask again, the
//! service comes back by itself, and every order that was acknowledged is there once.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on says why and fails")]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    sync::atomic::{AtomicU32, Ordering},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{
    load,
    lunch::{DATE, Lunch, PLACE, Person, Place, key, raw},
    succeed, views,
};
use testing::Postgres;

const ROUNDS: u32 = 20;
const CLIENTS: usize = 6;
/// From the moment at which Postgres takes connections again to the first order.
const RECOVERED: Duration = Duration::from_secs(60);
/// How long an unanswered order may be asked for again before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a client knows.
#[derive(Default)]
struct Known {
    /// Orders that were acknowledged, by the keys under which they were asked for.
    orders: Vec<(Value, String)>,
    /// How often the answer was to ask again.
    again: u32,
}

/// Orders one after the other until the round is over; each is asked for again, under its key, until it
/// is answered. What it is told meanwhile must be retryable.
fn shop(diner: &mut Person, lunch: &Lunch, rounds: &AtomicU32, round: u32) -> Known {
    let mut known = Known::default();
    while rounds.load(Ordering::Relaxed) == round {
        let variables = json!({ "input": { "serving": lunch.serving, "lines": [lunch.line(0, 1)] }, "key": key() });
        let began = Instant::now();
        let order = loop {
            // The service itself is up all the while: it answers.
            let answer = diner.try_ask(PLACE, &variables).expect("an answer while Postgres is down");
            if answer["errors"].is_array() {
                let error = &answer["errors"][0]["extensions"];
                let told = ["UNAVAILABLE", "TIMEOUT", "OVERLOADED"].iter().any(|code| error["code"] == *code);
                assert!(told && error["retryable"] == true, "{answer:#}");
                known.again += 1;
                assert!(began.elapsed() < PATIENCE, "not answered for {PATIENCE:?}: {answer:#}");
                sleep(Duration::from_millis(20));
                continue;
            }
            break answer["data"]["placeOrder"].clone();
        };
        assert_eq!(order["status"], "CONFIRMED", "{order:#}");
        known.orders.push((variables["key"].clone(), raw(&order["id"])));
    }
    known
}

/// How long it takes until the views have come as far as the reader knows that the log has.
fn shown_after(reader: &mut Person) -> Duration {
    let query = format!("{{ servings(date: \"{DATE}\", first: 1) {{ nodes {{ id }} }} }}");
    let began = Instant::now();
    loop {
        let answer = reader.try_ask(&query, &json!({})).expect("an answer");
        if answer["errors"].is_null() {
            return began.elapsed();
        }
        let error = &answer["errors"][0]["extensions"];
        assert!(error["retryable"] == true, "{answer:#}");
        assert!(began.elapsed() < RECOVERED, "the views do not come back: {answer:#}");
    }
}

#[test]
fn killed_under_load_postgres_loses_no_order_and_the_service_comes_back() {
    let postgres = Postgres::start();
    let place = Place::on(postgres.database());
    let mut server = place.serve();
    let (mut staff, mut finance) = (place.staff(&server), place.finance(&server));
    let lunch = Lunch::open(&mut staff, &[("Rice", "3.00", 900_000)], 900_000);
    let mut diners = load::diners(&place, server.address, &mut finance, CLIENTS);
    let mut probe = load::diners(&place, server.address, &mut finance, 1).remove(0);

    let (mut known, mut slowest) = (Known::default(), Duration::ZERO);
    let rounds = AtomicU32::new(0);
    for round in 1..=ROUNDS {
        rounds.store(round, Ordering::Relaxed);
        let (of_round, took) = thread::scope(|scope| {
            let (lunch, rounds) = (&lunch, &rounds);
            let clients: Vec<_> =
                diners.iter_mut().map(|diner| scope.spawn(move || shop(diner, lunch, rounds, round))).collect();
            // Never at the same moment of the same work.
            sleep(Duration::from_millis(300 + u64::from(round * 37 % 400)));
            postgres.kill();
            sleep(Duration::from_millis(u64::from(round % 4) * 150));
            postgres.restart();
            let back = Instant::now();
            load::insist(&mut probe, lunch, 0, 1);
            let took = back.elapsed();
            rounds.store(0, Ordering::Relaxed);
            (clients.into_iter().map(|client| client.join().expect("a client")).collect::<Vec<_>>(), took)
        });
        assert!(took <= RECOVERED, "round {round}: no order for {took:?} after Postgres was back");
        assert!(server.is_running(), "round {round}: {}", server.log());
        slowest = slowest.max(took);
        for one in of_round {
            known.orders.extend(one.orders);
            known.again += one.again;
        }
    }
    println!(
        "{} orders acknowledged, {} times told to ask again; an order within {slowest:?} after Postgres was back",
        known.orders.len(),
        known.again
    );
    // Nothing was proven if nothing was under way.
    assert!(known.orders.len() > 100 && known.again > ROUNDS, "{} and {}", known.orders.len(), known.again);

    let ids: BTreeSet<&String> = known.orders.iter().map(|(_, order)| order).collect();
    assert_eq!(ids.len(), known.orders.len(), "each key has an order of its own");
    let acknowledged = place.file("acknowledged.txt");
    fs::write(&acknowledged, ids.iter().map(|order| format!("{order} CONFIRMED\n")).collect::<String>()).unwrap();
    let mut auditor = place.auditor(&server);
    // Some ordered after the last of the probe: the views have to show theirs too.
    auditor.after_all(diners.iter().chain([&probe]));
    println!("the views show the last of it after {:?}", shown_after(&mut auditor));
    let (store, tenant) = (place.store(), place.tenant.to_string());
    let shown = views::read(&store, &mut auditor, &tenant, &[DATE.to_owned()]);
    let file = place.file("views.json");
    fs::write(&file, shown.to_string()).unwrap();
    let arguments = ["--acknowledged", acknowledged.to_str().unwrap(), "--compare", file.to_str().unwrap()];
    let said = place.settled(&arguments);
    // Those of the clients, one of the probe a round, and none besides: every one is there once.
    let confirmed = said["orders"][&tenant]["CONFIRMED"].as_u64().unwrap() as usize;
    assert_eq!(confirmed, ids.len() + ROUNDS as usize);
    assert!(server.stop(), "it ends well");
    succeed(&["verify", "--store", &store]);
}
