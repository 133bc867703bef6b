//! Orders that come in at a steady rate, as at lunch, and how long each took.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle, sleep},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::lunch::{Lunch, PLACE, Person, Place, key};

/// How long somebody asks again before it counts as never answered.
const PATIENCE: Duration = Duration::from_secs(60);

/// One placement, from the moment at which it was due.
#[derive(Clone, Debug)]
pub struct Placed {
    pub due: Instant,
    pub took: Duration,
    /// From the moment at which it was asked for, which is later where the one before it took long.
    pub answered_in: Duration,
    /// The order's global id; none if it was refused or not answered.
    pub order: Option<Value>,
    /// What was answered instead of an order: a code, or that nothing was.
    pub trouble: Option<String>,
}

/// Diners with more money than they can spend.
pub fn diners(place: &Place, address: SocketAddr, finance: &mut Person, number: usize) -> Vec<Person> {
    let diner = || {
        let who = uuid::Uuid::now_v7();
        finance.deposit("WALLET", who, "9000000.00");
        Person::new(address, who, place.token("diner", who, None))
    };
    std::iter::repeat_with(diner).take(number).collect()
}

/// How many orders a second the diners get when each asks for one after the other.
pub fn most(diners: &mut [Person], lunch: &Lunch, time: Duration) -> f64 {
    let began = Instant::now();
    let shop = |diner: &mut Person| {
        let mut placed = 0;
        while began.elapsed() < time {
            assert_eq!(insist(diner, lunch, 0, 1).0["status"], "CONFIRMED");
            placed += 1;
        }
        placed
    };
    let placed: u32 = thread::scope(|scope| {
        let shopping: Vec<_> = diners.iter_mut().map(|diner| scope.spawn(move || shop(diner))).collect();
        shopping.into_iter().map(|diner| diner.join().expect("a diner")).sum()
    });
    f64::from(placed) / began.elapsed().as_secs_f64()
}

/// Asks for so many of a dish until there is an answer that counts, under one key, as a frontend does.
/// The answer, and how often it was told to ask again.
pub fn insist(diner: &mut Person, lunch: &Lunch, dish: usize, quantity: u32) -> (Value, u32) {
    let input = json!({ "serving": lunch.serving, "lines": [lunch.line(dish, quantity)] });
    let variables = json!({ "input": input, "key": key() });
    let began = Instant::now();
    for again in 0.. {
        let answer = diner.try_ask(PLACE, &variables).expect("an answer");
        if !answer["errors"].is_array() {
            return (answer["data"]["placeOrder"].clone(), again);
        }
        assert!(answer["errors"][0]["extensions"]["retryable"] == true, "{answer}");
        assert!(began.elapsed() < PATIENCE, "after {PATIENCE:?} still {answer}");
        sleep(Duration::from_millis(20));
    }
    unreachable!("more than four thousand million repeats")
}

/// Diners who order at a rate, whether or not what came before is answered: one who falls behind
/// orders at once, and what waited counts as waiting.
pub struct Load {
    stop: Arc<AtomicBool>,
    diners: Vec<JoinHandle<Vec<Placed>>>,
}

impl Load {
    /// `rate` is that of all together, in orders a second. Each is asked for once.
    pub fn start(diners: Vec<Person>, lunch: &Lunch, rate: f64) -> Load {
        Load::with(place, diners, lunch, rate)
    }

    /// As [`Load::start`]. Who is told to ask again does so, and that counts as waiting too.
    pub fn insisting(diners: Vec<Person>, lunch: &Lunch, rate: f64) -> Load {
        Load::with(insist_on_one, diners, lunch, rate)
    }

    fn with(place: Placing, diners: Vec<Person>, lunch: &Lunch, rate: f64) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let between = Duration::from_secs_f64(diners.len() as f64 / rate);
        let number = diners.len() as u32;
        let shop = |(at, diner): (usize, Person)| {
            let (stop, lunch, first) = (Arc::clone(&stop), lunch.clone(), between * at as u32 / number);
            thread::spawn(move || {
                let first = Instant::now() + first;
                order_until(&stop, (place, diner), &lunch, first, between)
            })
        };
        let diners = diners.into_iter().enumerate().map(shop).collect();
        Load { stop, diners }
    }

    /// Ends it. Everything that was asked for, by the time at which it was due.
    pub fn stop(self) -> Vec<Placed> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all: Vec<Placed> = self.diners.into_iter().flat_map(|diner| diner.join().expect("a diner")).collect();
        all.sort_by_key(|placed| placed.due);
        all
    }
}

/// Asks for an order that is due.
type Placing = fn(&mut Person, &Lunch, Instant) -> Placed;

fn order_until(
    stop: &AtomicBool,
    (place, mut diner): (Placing, Person),
    lunch: &Lunch,
    first: Instant,
    between: Duration,
) -> Vec<Placed> {
    let (mut placed, mut due) = (Vec::new(), first);
    while !stop.load(Ordering::Relaxed) {
        sleep(due.saturating_duration_since(Instant::now()).min(Duration::from_millis(50)));
        if Instant::now() < due {
            continue;
        }
        placed.push(place(&mut diner, lunch, due));
        due += between;
    }
    placed
}

/// One portion of the first dish.
pub fn place(diner: &mut Person, lunch: &Lunch, due: Instant) -> Placed {
    let asked = Instant::now();
    let answer = diner.try_ask(PLACE, &one_portion(lunch));
    placed(due, asked, answer)
}

fn insist_on_one(diner: &mut Person, lunch: &Lunch, due: Instant) -> Placed {
    let asked = Instant::now();
    let answer = diner.insist(PLACE, &one_portion(lunch));
    placed(due, asked, Ok(answer))
}

fn one_portion(lunch: &Lunch) -> Value {
    json!({ "input": { "serving": lunch.serving, "lines": [lunch.line(0, 1)] }, "key": key() })
}

fn placed(due: Instant, asked: Instant, answer: io::Result<Value>) -> Placed {
    let (took, answered_in) = (due.elapsed(), asked.elapsed());
    let (order, trouble) = match answer {
        Err(error) => (None, Some(error.to_string())),
        Ok(answer) => match &answer["data"]["placeOrder"] {
            order if order["__typename"] == "Order" => (Some(order["id"].clone()), None),
            Value::Null => (None, Some(answer["errors"][0]["extensions"]["code"].to_string())),
            refused => (None, Some(refused["__typename"].to_string())),
        },
    };
    Placed { due, took, answered_in, order, trouble }
}

/// The time that `share` of these were answered within; nothing of nothing.
pub fn within(share: f64, placed: &[Placed]) -> Duration {
    let mut times: Vec<Duration> = placed.iter().map(|placed| placed.took).collect();
    times.sort();
    let last = times.len().saturating_sub(1);
    times.get((last as f64 * share).ceil() as usize).copied().unwrap_or_default()
}
