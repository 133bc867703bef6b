//! Whoever asks a server over HTTP: at a rate that does not wait for answers, or as fast as answers come.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use uuid::Uuid;

use crate::{latency::Latencies, load::scrambled, lunch::DISH_PRICE};

/// Most connections; an arrival that finds none free waits, and its wait counts.
const CONNECTIONS: usize = 1_024;
/// Requests under way at once where there is no rate.
const IN_FLIGHT: usize = 64;
/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest answer that is read, in bytes.
const LONGEST: usize = 4 * 1024 * 1024;

/// How many requests arrive a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    Each(u32),
    Max,
}

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "max" => Ok(Rate::Max),
            text => match text.parse() {
                Ok(rate @ 1..=100_000) => Ok(Rate::Each(rate)),
                _ => Err("a rate is 1 to 100000 requests a second, or max".to_owned()),
            },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// An order of one dish, paid from the diner's wallet
    PlaceOrder,
    /// A serving with its ten offers; most come from the server's memory
    Menu,
}

/// A server that was filled, and who asks it.
pub struct Target {
    pub address: SocketAddr,
    /// A token of each diner.
    pub tokens: Vec<String>,
    /// Of each serving its global id, and those of its dishes.
    pub servings: Vec<(String, Vec<String>)>,
    /// The time of one sync on the disk of its log.
    pub sync: Duration,
    /// Told what is being done, once a stage.
    pub tell: Arc<dyn Fn(&str) + Send + Sync>,
}

/// How a request ended.
enum Ended {
    /// With what was asked for.
    Answered,
    /// Turned away as `OVERLOADED`.
    Refused,
}

/// What became of many requests.
pub(crate) struct Tally {
    /// From when a request was due to its whole answer. What failed counts among the slowest.
    pub(crate) answered: Latencies,
    /// The same of those turned away; where none is expected they have failed.
    pub(crate) refused: Option<Latencies>,
    pub(crate) answers: AtomicU64,
    pub(crate) refusals: AtomicU64,
    failed: Mutex<Failed>,
    /// Answers that take longer are late.
    late: Duration,
    /// When the last request was due that was not answered in time.
    last_bad: Mutex<Option<Instant>>,
}

/// How many requests failed, and what the first said.
#[derive(Clone, Default)]
pub(crate) struct Failed {
    pub(crate) count: u64,
    pub(crate) first: Option<String>,
}

impl Tally {
    pub(crate) fn new() -> Result<Self> {
        Ok(Tally {
            answered: Latencies::new()?,
            refused: None,
            answers: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
            failed: Mutex::default(),
            late: PATIENCE,
            last_bad: Mutex::default(),
        })
    }

    /// Where some are turned away, and an answer may be `late`.
    pub(crate) fn of_overload(late: Duration) -> Result<Self> {
        Ok(Tally { refused: Some(Latencies::new()?), late, ..Tally::new()? })
    }

    pub(crate) fn failed(&self) -> Failed {
        lock(&self.failed).clone()
    }

    pub(crate) fn last_bad(&self) -> Option<Instant> {
        *lock(&self.last_bad)
    }

    fn record(&self, due: Instant, ended: Result<Ended>) {
        let took = due.elapsed();
        let is_good = match (ended, &self.refused) {
            (Ok(Ended::Answered), _) => {
                self.answered.record(took);
                self.answers.fetch_add(1, Relaxed);
                took <= self.late
            }
            (Ok(Ended::Refused), Some(refused)) => {
                refused.record(took);
                self.refusals.fetch_add(1, Relaxed);
                false
            }
            (Ok(Ended::Refused), None) => self.fail("the server is overloaded".to_owned()),
            (Err(error), _) => self.fail(format!("{error:#}")),
        };
        if !is_good {
            let mut last = lock(&self.last_bad);
            *last = (*last).max(Some(due));
        }
    }

    fn fail(&self, why: String) -> bool {
        self.answered.record(PATIENCE);
        let mut failed = lock(&self.failed);
        failed.count += 1;
        failed.first.get_or_insert(why);
        false
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Asking {
    ask: Asked,
    pub(crate) target: Target,
    idle: Mutex<Vec<TcpStream>>,
    room: Semaphore,
    next: AtomicU64,
}

impl Asking {
    pub(crate) fn new(ask: Asked, target: Target) -> Arc<Self> {
        let (idle, room, next) = (Mutex::default(), Semaphore::new(CONNECTIONS), AtomicU64::new(0));
        Arc::new(Asking { ask, target, idle, room, next })
    }

    /// How long it took until the last answer.
    pub(crate) async fn for_a_while(
        self: &Arc<Self>,
        rate: Rate,
        length: Duration,
        tally: &Arc<Tally>,
    ) -> Result<Duration> {
        let began = Instant::now();
        let mut asked = JoinSet::new();
        match rate {
            Rate::Each(rate) => {
                let mut arriving = arrivals(rate, began, length)?;
                while let Some(due) = arriving.recv().await {
                    let (this, tally) = (Arc::clone(self), Arc::clone(tally));
                    asked.spawn(async move { this.one(due, &tally).await });
                    while asked.try_join_next().is_some() {}
                }
            }
            Rate::Max => {
                for _ in 0..IN_FLIGHT {
                    let (this, tally) = (Arc::clone(self), Arc::clone(tally));
                    asked.spawn(async move {
                        while began.elapsed() < length {
                            this.one(Instant::now(), &tally).await;
                        }
                    });
                }
            }
        }
        while let Some(ended) = asked.join_next().await {
            ended?;
        }
        Ok(began.elapsed())
    }

    /// Asks once.
    pub(crate) async fn once(&self) -> Result<()> {
        match self.ask(self.next.fetch_add(1, Relaxed)).await? {
            Ended::Answered => Ok(()),
            Ended::Refused => bail!("the server is overloaded"),
        }
    }

    async fn one(&self, due: Instant, tally: &Tally) {
        let number = self.next.fetch_add(1, Relaxed);
        let asked = tokio::time::timeout(PATIENCE, self.ask(number)).await;
        tally.record(due, asked.unwrap_or_else(|_| bail!("no answer within {PATIENCE:?}")));
    }

    async fn ask(&self, number: u64) -> Result<Ended> {
        let _room = self.room.acquire().await?;
        let idle = lock(&self.idle).pop();
        let mut stream = match idle {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.target.address).await.context("no connection")?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        stream.write_all(&self.request(number)).await?;
        let (status, body) = answer(&mut stream).await?;
        lock(&self.idle).push(stream);
        let wanted = match self.ask {
            Asked::PlaceOrder => r#""status":"CONFIRMED""#,
            Asked::Menu => r#""left":"#,
        };
        if status == 503 && body.contains(r#""code":"OVERLOADED""#) {
            return Ok(Ended::Refused);
        }
        let start = &body[..body.len().min(300)];
        ensure!(status == 200 && body.contains(wanted), "{status} {start}");
        Ok(Ended::Answered)
    }

    fn request(&self, number: u64) -> Vec<u8> {
        let Target { address, tokens, servings, .. } = &self.target;
        let random = scrambled(number);
        let token = &tokens[number as usize % tokens.len()];
        let (serving, dishes) = &servings[random as usize % servings.len()];
        let body = match self.ask {
            Asked::PlaceOrder => {
                let dish = &dishes[(random >> 24) as usize % dishes.len()];
                let price = format!("{}.{:02}", DISH_PRICE / 100, DISH_PRICE % 100);
                let (query, key) = (PLACE, Uuid::now_v7());
                format!(
                    r#"{{"query":"{query}","variables":{{"key":"{key}","input":{{"serving":"{serving}","lines":[{{"dish":"{dish}","quantity":1,"unitPrice":{{"amount":"{price}","currency":"CNY"}}}}]}}}}}}"#
                )
            }
            Asked::Menu => format!(r#"{{"query":"{MENU}","variables":{{"serving":"{serving}"}}}}"#),
        };
        let length = body.len();
        format!(
            "POST /graphql HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// When each request is due, told then: by a thread of its own, since the runtime's timers are late by up to two
/// milliseconds.
fn arrivals(rate: u32, began: Instant, length: Duration) -> Result<mpsc::Receiver<Instant>> {
    let (arrived, arriving) = mpsc::channel(CONNECTIONS);
    let count = (f64::from(rate) * length.as_secs_f64()) as u64;
    let arrive = move || {
        for number in 0..count {
            let due = began + Duration::from_secs_f64(number as f64 / f64::from(rate));
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if arrived.blocking_send(due).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("tiffin-arrivals".to_owned()).spawn(arrive)?;
    Ok(arriving)
}

const PLACE: &str = "mutation($input: PlaceOrderInput!, $key: UUID!) { placeOrder(input: $input, idempotencyKey: $key) \
                     { __typename ... on Order { id status total { amount } } } }";
const MENU: &str = "query($serving: ID!) { serving(id: $serving) { id meal cutOff offers { dish name left price \
                    { amount currency } } } }";

/// The status and the body of an answer that says how long it is.
async fn answer(stream: &mut TcpStream) -> Result<(u16, String)> {
    let mut read = Vec::with_capacity(4_096);
    let head = loop {
        ensure!(stream.read_buf(&mut read).await? > 0, "the connection ended within an answer");
        match read.windows(4).position(|four| four == b"\r\n\r\n") {
            Some(end) => break end + 4,
            None => ensure!(read.len() < LONGEST, "an answer's head has no end"),
        }
    };
    let text = std::str::from_utf8(&read[..head])?;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    let mut named = text.lines().filter_map(|line| line.split_once(':'));
    let length = named.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let Some(length) = length.and_then(|(_, length)| length.trim().parse::<usize>().ok()) else {
        bail!("an answer does not say how long it is")
    };
    ensure!(length < LONGEST, "an answer of {length} bytes");
    while read.len() < head + length {
        ensure!(stream.read_buf(&mut read).await? > 0, "the connection ended within an answer");
    }
    Ok((status, String::from_utf8(read.split_off(head))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_or_as_fast_as_can_be() {
        assert_eq!("200".parse(), Ok(Rate::Each(200)));
        assert_eq!("max".parse(), Ok(Rate::Max));
        for wrong in ["", "0", "-1", "100001", "fast"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn an_answer_is_read_whole_however_it_comes() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            for part in ["HTTP/1.1 200 OK\r\nContent-", "Length: 5\r\n\r", "\nhel", "lo"] {
                stream.write_all(part.as_bytes()).await.expect("written");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        assert_eq!(answer(&mut stream).await.expect("an answer"), (200, "hello".to_owned()));
        assert!(answer(&mut stream).await.is_err(), "the connection has ended");
    }
}
