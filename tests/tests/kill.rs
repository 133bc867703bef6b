//! `kill -9` of a serving program under load, again and again on the same folder: what was
//! acknowledged is there exactly once, nothing stays half-done, a repeat is the same order, and the
//! books agree with those that another program works out from the log.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on says why and fails")]

mod support;

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{
    lunch::{
        COLLECT, DATE, Lunch, PLACE, PUBLISH, Person, Place, REFUND_LINES, WITHDRAW_SERVING, key, plan, raw, step_query,
    },
    succeed, views,
};

const ROUNDS: u32 = 20;
/// Each of these asks one thing after the other.
const CLIENTS: usize = 6;
/// How long a client that is told to ask again does so.
const PATIENCE: Duration = Duration::from_secs(60);
/// So many orders are acknowledged before each crash.
const ENOUGH: usize = 12;

/// Orders that were acknowledged so far.
static PLACED: AtomicUsize = AtomicUsize::new(0);

/// A mutation as it was sent, to be sent again.
#[derive(Clone)]
struct Asked {
    by: usize,
    query: String,
    variables: Value,
}

/// What clients know, over all crashes.
#[derive(Default)]
struct Known {
    /// Orders with the last status that a client was told.
    told: BTreeMap<String, String>,
    /// Every placement that was ever asked for, answered or not.
    placements: HashSet<Value>,
    /// Some that were answered, with the order's global id.
    answered: Vec<(Asked, Value)>,
    unanswered: Vec<Asked>,
}

impl Known {
    fn merge(&mut self, other: Known) {
        self.told.extend(other.told);
        self.placements.extend(other.placements);
        self.answered.extend(other.answered);
        self.unanswered.extend(other.unanswered);
    }

    /// Takes note of an answer; the order, when there is one.
    fn hear(&mut self, data: &Value) -> Option<Value> {
        let answer = data.as_object().expect("data").values().next().expect("a field");
        let (id, status) = if answer["__typename"].is_string() && answer["__typename"] != "Order" {
            // A refusal; one that is recorded bears its order.
            (answer["order"].clone(), json!("REFUSED"))
        } else if answer["order"].is_object() {
            (answer["order"]["id"].clone(), answer["order"]["status"].clone())
        } else {
            (answer["id"].clone(), answer["status"].clone())
        };
        if !id.is_string() {
            return None;
        }
        self.told.insert(raw(&id), status.as_str().expect("a status").to_owned());
        Some(if answer["order"].is_object() { answer["order"].clone() } else { answer.clone() })
    }

    /// Lines for `recompute.py --acknowledged`. What was said of an order that goes on may have been
    /// overtaken by a step whose answer got lost: then it counts that it was confirmed.
    fn acknowledged(&self) -> String {
        let line = |(order, status): (&String, &String)| match status.as_str() {
            "REFUSED" | "CANCELLED" | "PICKED_UP" => format!("{order} {status}\n"),
            _ => format!("{order} CONFIRMED\n"),
        };
        self.told.iter().map(line).collect()
    }
}

/// A client under load: it asks until the program is gone.
struct Client {
    number: usize,
    person: Person,
    known: Known,
}

impl Client {
    /// None when the program is gone; then what was asked is noted as unanswered.
    fn ask(&mut self, query: &str, mut variables: Value) -> Option<Value> {
        variables["key"] = key();
        let asked = Asked { by: self.number, query: query.to_owned(), variables };
        if query == PLACE {
            self.known.placements.insert(asked.variables["key"].clone());
        }
        let began = Instant::now();
        let answer = loop {
            let Ok(answer) = self.person.try_ask(query, &asked.variables) else {
                self.known.unanswered.push(asked);
                return None;
            };
            if answer["errors"][0]["extensions"]["retryable"] != true {
                break answer;
            }
            assert!(began.elapsed() < PATIENCE, "{query} {}: still {answer:#}", asked.variables);
            thread::sleep(Duration::from_millis(20));
        };
        if answer["errors"].is_array() {
            let code = &answer["errors"][0]["extensions"]["code"];
            // Its order may have been cancelled by the canteen in the meantime.
            let refused = code == "OUT_OF_TURN" || code == "NOTHING_TO_REFUND";
            assert!(refused, "{query} {}: {answer:#}", asked.variables);
            return Some(Value::Null);
        }
        let order = self.known.hear(&answer["data"]);
        if query == PLACE
            && let Some(order) = &order
        {
            PLACED.fetch_add(usize::from(order["__typename"] == "Order"), Ordering::Relaxed);
            // Enough to repeat some; not all, or the repeats would take longer than the load.
            if self.known.answered.len() < 5 {
                self.known.answered.push((asked, order["id"].clone()));
            }
        }
        Some(order.unwrap_or(Value::Null))
    }

    fn place(&mut self, serving: &Value, lines: Value) -> Option<Value> {
        self.ask(PLACE, json!({ "input": { "serving": serving, "lines": lines } }))
    }
}

struct Scene {
    place: Place,
    lunch: Lunch,
    /// Tokens and ids of those who ask: `CLIENTS` diners, as many without enough money, staff.
    people: Vec<(uuid::Uuid, String)>,
}

impl Scene {
    fn open() -> Scene {
        let place = Place::new();
        let server = place.serve();
        let mut staff = place.staff(&server);
        let lunch = Lunch::open(&mut staff, &[("Rice", "3.00", 900_000), ("Noodles", "12.50", 900_000)], 900_000);
        let mut finance = place.finance(&server);
        let mut people = Vec::new();
        for number in 0..2 * CLIENTS {
            let diner = place.person(&server, "diner");
            if number < CLIENTS {
                finance.deposit("SUBSIDY", diner.id, "500.00");
                finance.deposit("WALLET", diner.id, "900000.00");
            } else {
                finance.deposit("WALLET", diner.id, "1.00");
            }
            people.push((diner.id, diner.token));
        }
        people.push((staff.id, staff.token));
        server.kill();
        Scene { place, lunch, people }
    }

    fn person(&self, number: usize, address: SocketAddr) -> Person {
        let (id, token) = &self.people[number];
        Person::new(address, *id, token.clone())
    }

    fn client(&self, number: usize, address: SocketAddr) -> Client {
        Client { number, person: self.person(number, address), known: Known::default() }
    }

    fn staff(&self, address: SocketAddr) -> Client {
        self.client(2 * CLIENTS, address)
    }

    /// Orders, cancels, hands over and refunds until the program is gone.
    fn load(&self, number: usize, address: SocketAddr, extra: &Value) -> Known {
        let mut diner = self.client(number, address);
        let mut poor = self.client(CLIENTS + number, address);
        let mut staff = self.staff(address);
        while self.lap(&mut diner, &mut poor, &mut staff, extra).is_some() {}
        let mut known = diner.known;
        known.merge(poor.known);
        known.merge(staff.known);
        known
    }

    /// One of everything. None when the program is gone.
    fn lap(&self, diner: &mut Client, poor: &mut Client, staff: &mut Client, extra: &Value) -> Option<()> {
        let lunch = &self.lunch;
        let both = json!([lunch.line(0, 1), lunch.line(1, 2)]);
        diner.place(&lunch.serving, both.clone())?;
        let given_up = diner.place(&lunch.serving, both.clone())?;
        diner.ask(&step_query("cancelOrder"), json!({ "order": given_up["id"] }))?;
        // Has its portions by the time that the money is missed, and gives them back.
        poor.place(&lunch.serving, both.clone())?;
        // Of a serving that is withdrawn while all this goes on.
        diner.place(extra, json!([lunch.line(0, 1)]))?;
        let eaten = diner.place(&lunch.serving, both)?;
        let ready = staff.ask(&step_query("markReady"), json!({ "order": eaten["id"] }))?;
        staff.ask(COLLECT, json!({ "order": eaten["id"], "code": ready["pickupCode"] }))?;
        let cold = json!([{ "line": 1, "quantity": 1 }]);
        staff.ask(REFUND_LINES, json!({ "order": eaten["id"], "lines": cold }))?;
        Some(())
    }

    /// Load for a while, a withdrawal in the midst of it, then SIGKILL.
    fn crash(&self, server: support::Server, round: u32) -> Known {
        let address = server.address;
        let mut staff = self.staff(address);
        let extra = plan(
            &self.lunch.canteen,
            vec![json!({ "dish": self.lunch.dishes[0], "portions": 900_000 })],
            "DINNER",
            900_000,
        );
        let extra = staff.person.change(PUBLISH, json!({ "serving": extra }))["serving"]["id"].clone();
        let (placed, began) = (PLACED.load(Ordering::Relaxed), Instant::now());
        // Never at the same moment of the same work.
        let under_load = Duration::from_millis(500 + u64::from(round * 37 % 400));
        thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|number| {
                    scope.spawn({
                        let extra = &extra;
                        move || self.load(number, address, extra)
                    })
                })
                .collect();
            thread::sleep(under_load - Duration::from_millis(u64::from(round % 5) * 10));
            // On a slow machine it takes longer until there is something to lose.
            while PLACED.load(Ordering::Relaxed) < placed + ENOUGH && began.elapsed() < PATIENCE {
                thread::sleep(Duration::from_millis(5));
            }
            let withdrawal = scope.spawn({
                let extra = &extra;
                move || {
                    // Answered or not; its repeat is asked with the others'.
                    staff.ask(WITHDRAW_SERVING, json!({ "serving": extra }));
                    staff.known
                }
            });
            thread::sleep(Duration::from_millis(u64::from(round % 5) * 10));
            server.kill();
            let mut known = Known::default();
            clients.into_iter().for_each(|client| known.merge(client.join().expect("a client")));
            known.merge(withdrawal.join().expect("staff"));
            known
        })
    }

    /// What nobody heard the answer of is asked again, twice; some of the rest too.
    fn repeat(&self, address: SocketAddr, known: &mut Known) {
        for asked in std::mem::take(&mut known.unanswered) {
            let mut person = self.person(asked.by, address);
            let mut answers = (0..2).map(|_| person.insist(&asked.query, &asked.variables));
            let (once, again) = (answers.next().unwrap(), answers.next().unwrap());
            let order = |answer: &Value| answer["data"]["placeOrder"]["id"].clone();
            assert_eq!(order(&once), order(&again));
            assert_eq!(once["errors"][0]["extensions"]["code"], again["errors"][0]["extensions"]["code"]);
            if once["data"].is_object() && asked.query != WITHDRAW_SERVING {
                known.hear(&once["data"]);
            }
        }
        for (asked, order) in std::mem::take(&mut known.answered) {
            let again = self.person(asked.by, address).insist(&asked.query, &asked.variables);
            let answer = &again["data"]["placeOrder"];
            let again = if answer["__typename"] == "Order" { &answer["id"] } else { &answer["order"] };
            let refused = answer["__typename"] != "Order";
            assert!(*again == order || (refused && order == Value::Null), "{order}: {answer}");
        }
    }

    fn recompute(&self, known: &Known, arguments: &[&str]) -> Value {
        let file = self.place.file("acknowledged.txt");
        fs::write(&file, known.acknowledged()).expect("a file");
        let file = file.display().to_string();
        // What its crash left open the program settles once it is ready again.
        let said = self.place.settled(&[&["--acknowledged", &file], arguments].concat());
        // None has come through before the first crash, perhaps.
        let orders = said["orders"][self.place.tenant.to_string()].as_object();
        let orders: u64 = orders.map_or(0, |orders| orders.values().map(|count| count.as_u64().unwrap()).sum());
        let asked = known.placements.len() as u64;
        assert!(orders <= asked, "{orders} orders of {asked} placements");
        said
    }
}

#[test]
fn killed_under_load_it_keeps_every_promise() {
    let scene = Scene::open();
    let mut known = Known::default();
    let mut lost = 0;
    let mut slowest = Duration::ZERO;
    let mut server = scene.place.serve();
    for round in 1..=ROUNDS {
        known.merge(scene.crash(server, round));
        lost += known.unanswered.len();
        let began = Instant::now();
        server = scene.place.serve();
        slowest = slowest.max(began.elapsed());
        scene.recompute(&known, &[]);
        scene.repeat(server.address, &mut known);
    }
    // Nothing was proven if nothing was under way.
    let confirmed = known.told.values().filter(|status| *status != "REFUSED").count();
    assert!(confirmed > 200 && lost > ROUNDS as usize, "{confirmed} orders, {lost} answers lost");
    println!("{confirmed} orders acknowledged, {lost} answers lost; ready again within {slowest:?}");

    let mut auditor = scene.place.auditor(&server);
    // The views have come as far as the last of what was written.
    let mut last = scene.client(0, server.address);
    last.place(&scene.lunch.serving, json!([scene.lunch.line(0, 1)])).expect("an answer");
    auditor.after(&last.person);
    known.merge(last.known);
    let (store, tenant) = (scene.place.store(), scene.place.tenant.to_string());
    let said = views::read(&store, &mut auditor, &tenant, &[DATE.to_owned()]);
    let file = scene.place.file("views.json");
    fs::write(&file, said.to_string()).expect("a file");
    scene.recompute(&known, &["--compare", file.to_str().expect("UTF-8")]);
    assert!(server.stop(), "it ends well");
    succeed(&["verify", "--store", &store]);
    succeed(&["trial-balance", "--store", &store]);
}
