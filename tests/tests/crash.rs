//! The program dies by `abort` after every single event of a day that grants, sells, refunds, lets lots expire
//! and closes the books. Started again, and asked the same again under the same keys, it comes to the same end
//! as one that did not die.
//!
//! Debug builds die where `TIFFIN_ABORT_AFTER` says, and their clock runs ahead by `TIFFIN_CLOCK_AHEAD`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on says why and fails")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use jiff::{
    ToSpan,
    civil::{Date, date},
};
use serde_json::{Value, json};
use support::{
    Server, command,
    lunch::{Lunch, OPEN, PLACE, PUBLISH, PUT_DISH, Person, Place, REFUND_LINES, export, plan, yuan},
    recompute, succeed,
};
use uuid::Uuid;

/// So far ahead the lots have expired and the day can be closed.
const LATER: &str = "345600";
/// Runs side by side: they mostly wait.
const SIDE_BY_SIDE: usize = 4;
const SETTLED: Duration = Duration::from_secs(90);
/// How long a program takes at most from its last event until it is gone.
const DYING: Duration = Duration::from_secs(10);
const COMPANY: Uuid = Uuid::from_u128(0xc0);

const EMPLOY: &str = "mutation($d: UUID!, $c: UUID!, $from: Date!, $key: UUID!) {
  employ(diner: $d, company: $c, fromDate: $from, idempotencyKey: $key) { diner } }";
const POLICY: &str = "mutation($c: UUID!, $key: UUID!) {
  openSubsidyPolicy(company: $c, currency: \"CNY\", zone: \"UTC\", idempotencyKey: $key) { policy } }";
const TERMS: &str = "mutation($p: UUID!, $from: Date!, $terms: SubsidyTermsInput!, $key: UUID!) {
  setSubsidyTerms(policy: $p, fromDate: $from, terms: $terms, idempotencyKey: $key) { policy } }";
const GRANT: &str = "mutation($p: UUID!, $day: Date!, $key: UUID!) {
  grantSubsidies(policy: $p, firstDate: $day, lastDate: $day, idempotencyKey: $key) { run { run finished } } }";

/// What is asked on the day, each under a key of its own.
struct Day {
    origin: Place,
    diner: (Uuid, String),
    finance: (Uuid, String),
    staff: (Uuid, String),
    policy: Value,
    date: String,
    lunch: Lunch,
    head: u64,
}

/// A copy of the day's beginning.
struct Copy {
    folder: PathBuf,
    store: String,
}

/// How a run ended: the names of the events of each stream, and the books by another program.
#[derive(Debug, PartialEq)]
struct End {
    streams: BTreeMap<String, Vec<String>>,
    books: Value,
}

impl Day {
    fn begin() -> Day {
        let origin = Place::new();
        let server = origin.serve();
        let (mut staff, mut finance) = (origin.staff(&server), origin.finance(&server));
        let diner = origin.diner(&server, "50.00");
        let date = tomorrow().to_string();
        let lunch = open(&mut staff, &date);
        finance.deposit("COMPANY", COMPANY, "100.00");
        for number in [diner.id, Uuid::from_u128(8)] {
            finance.change(EMPLOY, json!({ "d": number, "c": COMPANY, "from": "2020-01-01" }));
        }
        let policy = finance.change(POLICY, json!({ "c": COMPANY }))["policy"].clone();
        let terms = json!({ "amount": yuan("10.00"), "per": "DAY", "clearing": "DAILY", "meals": ["LUNCH"],
            "weekdays": [1, 2, 3, 4, 5, 6, 7] });
        finance.change(TERMS, json!({ "p": policy, "from": "2020-01-01", "terms": terms }));
        let of = |person: &Person| (person.id, person.token.clone());
        let people = (of(&diner), of(&finance), of(&staff));
        assert!(server.stop(), "it ends well");
        succeed(&["periods", "open", "--zone", "UTC", "--store", &origin.store()]);
        let head = events(&origin.store(), &origin.file("origin.jsonl")).len() as u64;
        let (diner, finance, staff) = people;
        Day { origin, diner, finance, staff, policy, date, lunch, head }
    }

    fn copy(&self, name: &str) -> Copy {
        let folder = self.origin.file(name).join("data");
        fs::create_dir_all(&folder).expect("a folder");
        for file in fs::read_dir(self.origin.folder()).expect("a folder").flatten() {
            if file.file_type().expect("a file").is_file() {
                fs::copy(file.path(), folder.join(file.file_name())).expect("a copy");
            }
        }
        let store = format!("sqlite:{}", folder.display());
        Copy { folder, store }
    }

    /// What the day asks for, up to the first that gets no answer. Every time the same.
    fn ask(&self, server: &Server) -> bool {
        let person = |(id, token): &(Uuid, String)| Person::new(server.address, *id, token.clone());
        let key = |number: u128| json!(Uuid::from_u128(0xdad_0000 + number));
        let ask = |who: &(Uuid, String), query: &str, variables: Value| {
            let (mut person, began) = (person(who), Instant::now());
            let answer = loop {
                let answer = person.try_ask(query, &variables).ok()?;
                if answer["errors"][0]["extensions"]["retryable"] != true || began.elapsed() > SETTLED {
                    break answer;
                }
                thread::sleep(Duration::from_millis(20));
            };
            assert!(answer["errors"].is_null(), "{query} {variables}: {answer:#}");
            answer["data"].as_object().and_then(|data| data.values().next()).cloned()
        };
        let asked = || {
            ask(&self.finance, GRANT, json!({ "p": self.policy, "day": self.date, "key": key(1) }))?;
            let lines = json!([self.lunch.line(0, 1), self.lunch.line(1, 2)]);
            let input = json!({ "serving": self.lunch.serving, "lines": lines });
            let order = ask(&self.diner, PLACE, json!({ "input": input, "key": key(2) }))?;
            assert_eq!(order["status"], "CONFIRMED", "{order}");
            let lines = json!([{ "line": 1, "quantity": 1 }]);
            ask(&self.staff, REFUND_LINES, json!({ "order": order["id"], "lines": lines, "key": key(3) }))
        };
        asked().is_some()
    }

    /// Lives the day on a copy; with `dies_after` the program dies once after that event. What it came to.
    fn live(&self, name: &str, dies_after: Option<u64>) -> End {
        let copy = self.copy(name);
        let after = dies_after.map(|position| position.to_string());
        let failpoint: Vec<(&str, &str)> = after.iter().map(|after| ("TIFFIN_ABORT_AFTER", after.as_str())).collect();
        let mut died = 0;
        let mut server = copy.serve(&failpoint);
        if !(server.comes_up() && self.ask(&server)) {
            died += 1;
            drop(server);
            server = copy.serve(&[]);
            assert!(server.comes_up(), "{}", server.log());
            // What the crash left open is the follower's first, and then the caller's who asks again.
            thread::sleep(Duration::from_millis(300));
            assert!(self.ask(&server), "{}", server.log());
        }
        drop(server);
        let later = [("TIFFIN_CLOCK_AHEAD", LATER)];
        let dying: Vec<_> = later.iter().chain(failpoint.iter().filter(|_| died == 0)).copied().collect();
        if !self.expires_and_closes(&copy, &dying) {
            died += 1;
            assert!(self.expires_and_closes(&copy, &later), "it goes on without a failpoint");
        }
        assert_eq!(died, u32::from(dies_after.is_some()), "{name} dies once");
        copy.end()
    }

    /// Days later: the follower ends the lots, and finance closes the day. False when the program died.
    fn expires_and_closes(&self, copy: &Copy, settings: &[(&str, &str)]) -> bool {
        let mut server = copy.serve(settings);
        if !server.comes_up() {
            return false;
        }
        let began = Instant::now();
        while copy.lapsed() < 2 {
            assert!(began.elapsed() < SETTLED, "the lots do not expire: {}", server.log());
            if !server.is_running() {
                return false;
            }
            thread::sleep(Duration::from_millis(50));
        }
        let closing = ["periods", "close", "--through", &self.date, "--store", &copy.store];
        // Where the program has just died, this does the work itself, and must not die too.
        let closed = command(&closing).envs([("TIFFIN_CLOCK_AHEAD", LATER)]).output().expect("it starts");
        // One that is to die has done so by now, or is about to.
        let (to_die, asked) = (settings.len() > 1, Instant::now());
        while to_die && server.is_running() && asked.elapsed() < DYING {
            thread::sleep(Duration::from_millis(20));
        }
        if !server.is_running() {
            return false;
        }
        let again = String::from_utf8_lossy(&closed.stderr).into_owned();
        assert!(closed.status.success() || again.contains("closed"), "{again}");
        true
    }
}

/// In UTC.
fn tomorrow() -> Date {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
    let days = i64::try_from(seconds / 86_400 + 1).expect("few days");
    date(1970, 1, 1).checked_add(days.days()).expect("a date")
}

/// A canteen that sells for tomorrow.
fn open(staff: &mut Person, date: &str) -> Lunch {
    let canteen = staff.change(OPEN, json!({ "name": "East", "zone": "UTC", "currency": "CNY" }));
    let canteen = canteen["canteen"]["id"].clone();
    let mut dish = |name: &str, price: &str| {
        let spec = json!({ "name": name, "category": "main", "price": yuan(price) });
        staff.change(PUT_DISH, json!({ "canteen": canteen, "spec": spec }))["dish"]["id"].clone()
    };
    let dishes = vec![dish("Rice", "18.00"), dish("Soup", "6.00")];
    let offers = dishes.iter().map(|dish| json!({ "dish": dish, "portions": 9 })).collect();
    let mut serving = plan(&canteen, offers, "LUNCH", 9);
    (serving["date"], serving["cutOff"]) = (json!(date), json!(format!("{date}T11:00")));
    let serving = staff.change(PUBLISH, json!({ "serving": serving }))["serving"]["id"].clone();
    Lunch { canteen, dishes, serving }
}

/// The events of a store's export.
fn events(store: &str, file: &Path) -> Vec<Value> {
    let text = export(store, file);
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON Lines"));
    rows.filter(|row| row.get("position").is_some()).collect()
}

fn name_of(event: &Value) -> String {
    event["type"].as_str().unwrap_or_else(|| panic!("no type: {event}")).to_owned()
}

impl Copy {
    fn serve(&self, settings: &[(&str, &str)]) -> Server {
        Server::spawn(&self.store, &self.folder, &[], settings)
    }

    fn file(&self) -> PathBuf {
        self.folder.with_extension("jsonl")
    }

    fn lapsed(&self) -> usize {
        events(&self.store, &self.file()).iter().filter(|event| name_of(event) == "account.Lapsed").count()
    }

    fn end(&self) -> End {
        let mut streams: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for event in events(&self.store, &self.file()) {
            streams.entry(event["stream"].to_string()).or_default().push(name_of(&event));
        }
        let said = recompute(&self.store, &self.file(), &["--finished"]);
        End { streams, books: said["balances"].clone() }
    }
}

#[test]
fn it_comes_to_the_same_end_whichever_event_it_dies_after() {
    let day = Day::begin();
    let whole = day.live("whole", None);
    let head: usize = whole.streams.values().map(Vec::len).sum();
    let happened = |name: &str| whole.streams.values().flatten().any(|one| one == name);
    for name in ["grant.Finished", "order.RefundSettled", "account.Lapsed", "books.PeriodClosed"] {
        assert!(happened(name), "{name} is no part of the day: {whole:?}");
    }
    assert!(whole.books.as_object().is_some_and(|books| !books.is_empty()), "the books are told");
    let (next, last) = (AtomicU64::new(day.head + 1), head as u64);
    assert!(last > day.head + 20, "a day of {last} events less {} is no day", day.head);
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let after = next.fetch_add(1, Ordering::Relaxed);
                    if after > last {
                        return;
                    }
                    let end = day.live(&format!("after-{after}"), Some(after));
                    assert_eq!(end, whole, "it died after event {after}, {} of the day", after - day.head);
                }
            });
        }
    });
}
