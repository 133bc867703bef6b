//! Watching over WebSockets, to a server in another process: what an idle subscription takes of its memory, and how
//! soon a change of a serving is told to all who watch it.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use futures::{SinkExt, StreamExt, stream};
use serde::Serialize;
use serde_json::json;
use tokio::{net::TcpStream, task::JoinSet};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue, protocol::WebSocketConfig},
};

use crate::{
    Report,
    asking::{Asked, Asking, Target},
    latency::Latencies,
    memory::resident_mib,
    report::{self, grouped, rounded},
};

/// Sockets that are opened at once.
const AT_ONCE: usize = 64;
/// Between two changes.
const PAUSE: Duration = Duration::from_secs(1);
/// A change that is not told within this is not told at all.
const PATIENCE: Duration = Duration::from_secs(10);
/// Each socket's buffer here.
const BUFFER: usize = 1_024;
/// Sockets of one diner; a service allows 32.
const SOCKETS_A_DINER: usize = 30;
const QUERY: &str = "subscription($serving: ID!) { portionsLeft(serving: $serving) { cursor offers { name left } } }";

#[derive(Args, Clone, Debug)]
pub struct LiveArgs {
    /// Subscriptions to a serving of which nothing changes
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub idle: u32,
    /// Of these on one socket. Each socket is an open file here and there
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4))]
    pub each: u32,
    /// Sockets that watch a serving that changes
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub watchers: u32,
    /// Orders of that serving, one a second
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub changes: u32,
    /// Only fill the log, and say with what
    #[arg(long, hide = true)]
    pub only_fill: bool,
}

impl LiveArgs {
    /// One that changes and one that does not.
    pub const SERVINGS: u32 = 2;

    /// So many that nobody has more sockets than a diner may have.
    pub fn diners(&self) -> u32 {
        (self.idle.div_ceil(self.each) + self.watchers).div_ceil(SOCKETS_A_DINER as u32)
    }
}

/// What came of it. Times are in milliseconds, from when the order is sent until a watcher hears of it.
#[derive(Clone, Debug, Serialize)]
pub struct LiveReport {
    pub idle: u32,
    pub sockets: u64,
    /// What the server's resident memory grew by.
    pub kib_a_subscription: f64,
    pub watchers: u32,
    pub changes: u32,
    pub told_p50_ms: f64,
    pub told_p99_ms: f64,
    pub told_longest_ms: f64,
    /// Messages that should have come and did not.
    pub missing: u64,
}

/// What the watchers of a change hear.
struct Heard {
    changed: Mutex<Instant>,
    times: Latencies,
    count: AtomicU64,
}

impl Heard {
    fn note(&self) {
        let changed = *self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        self.times.record(changed.elapsed());
        self.count.fetch_add(1, Relaxed);
    }
}

/// Watches at `target`, whose process is `server`.
pub async fn run(args: &LiveArgs, target: Target, server: u32) -> Result<LiveReport> {
    let tell = Arc::clone(&target.tell);
    let [changing, still] = &target.servings[..] else { bail!("two servings are watched") };
    let (changing, still) = (changing.clone(), still.0.clone());
    let (address, tokens) = (target.address, target.tokens.clone());
    let token = move |socket: usize| tokens[socket / SOCKETS_A_DINER].clone();
    let mut sockets = JoinSet::new();
    let heard =
        Arc::new(Heard { changed: Mutex::new(Instant::now()), times: Latencies::new()?, count: AtomicU64::new(0) });
    tell("opening sockets that watch");
    let watchers = args.watchers as usize;
    let note = {
        let heard = Arc::clone(&heard);
        move || heard.note()
    };
    let opening = (0..watchers).map(|socket| open(address, token(socket), &changing.0, 1));
    listen_all(opening, note, &mut sockets).await?;
    tell("opening sockets that are idle");
    let before = resident_mib(server)?;
    let count = args.idle.div_ceil(args.each) as usize;
    let opening = (0..count).map(|socket| open(address, token(watchers + socket), &still, args.each));
    listen_all(opening, || {}, &mut sockets).await?;
    let grown = (resident_mib(server)? - before) * 1_024.0;
    tell("ordering what is watched");
    let asking = Asking::new(Asked::PlaceOrder, Target { servings: vec![changing], ..target });
    let mut missing = 0;
    for change in 1..=u64::from(args.changes) {
        tokio::time::sleep(PAUSE).await;
        let expected = change * u64::from(args.watchers) - missing;
        *heard.changed.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        asking.once().await?;
        let deadline = Instant::now() + PATIENCE;
        while heard.count.load(Relaxed) < expected && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        missing += expected.saturating_sub(heard.count.load(Relaxed));
    }
    tokio::time::sleep(PAUSE).await;
    let expected = u64::from(args.changes) * u64::from(args.watchers) - missing;
    let told = heard.count.load(Relaxed);
    ensure!(told == expected, "{told} messages came, and not {expected}: the times are of others");
    ensure!(sockets.try_join_next().is_none(), "a socket ended");
    sockets.shutdown().await;
    Ok(LiveReport {
        idle: args.idle,
        sockets: count as u64,
        kib_a_subscription: rounded(grown / f64::from(args.idle)),
        watchers: args.watchers,
        changes: args.changes,
        told_p50_ms: rounded(heard.times.quantile_ms(0.5)),
        told_p99_ms: rounded(heard.times.quantile_ms(0.99)),
        told_longest_ms: rounded(heard.times.quantile_ms(1.0)),
        missing,
    })
}

type Socket = WebSocketStream<TcpStream>;

/// Opens sockets, and listens to each from then on.
async fn listen_all(
    opening: impl Iterator<Item = impl Future<Output = Result<Socket>>>,
    told: impl Fn() + Clone + Send + 'static,
    sockets: &mut JoinSet<()>,
) -> Result<()> {
    let mut opened = stream::iter(opening).buffer_unordered(AT_ONCE);
    while let Some(socket) = opened.next().await {
        let socket = socket.context("a socket cannot be opened; see ulimit -n, and --each")?;
        sockets.spawn(listen(socket, told.clone()));
    }
    Ok(())
}

/// A socket with `each` subscriptions that have been told their first state.
async fn open(address: SocketAddr, token: String, serving: &str, each: u32) -> Result<Socket> {
    let stream = TcpStream::connect(address).await?;
    let mut request = format!("ws://{address}/graphql").into_client_request()?;
    let protocol = HeaderValue::from_static("graphql-transport-ws");
    request.headers_mut().insert("sec-websocket-protocol", protocol);
    let small = WebSocketConfig::default().read_buffer_size(BUFFER).write_buffer_size(0);
    let (mut socket, _) = client_async_with_config(request, stream, Some(small)).await?;
    let payload = json!({ "authorization": format!("Bearer {token}") });
    say(&mut socket, &json!({ "type": "connection_init", "payload": payload })).await?;
    hear(&mut socket, "connection_ack").await?;
    for number in 0..each {
        let payload = json!({ "query": QUERY, "variables": { "serving": serving } });
        say(&mut socket, &json!({ "id": number.to_string(), "type": "subscribe", "payload": payload })).await?;
        hear(&mut socket, "\"left\":").await?;
    }
    Ok(socket)
}

async fn say(socket: &mut Socket, message: &serde_json::Value) -> Result<()> {
    Ok(socket.send(Message::text(message.to_string())).await?)
}

/// The next text, which must have `wanted` in it.
async fn hear(socket: &mut Socket, wanted: &str) -> Result<()> {
    loop {
        match tokio::time::timeout(PATIENCE, socket.next()).await?.context("the socket ended")?? {
            Message::Text(text) if text.contains(wanted) => return Ok(()),
            Message::Text(text) => bail!("{wanted} did not come, but {}", text.as_str()),
            Message::Close(why) => bail!("the server closed the socket: {why:?}"),
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

/// Until the socket ends. Reading answers pings too.
async fn listen(mut socket: Socket, told: impl Fn()) {
    while let Some(Ok(message)) = socket.next().await {
        if matches!(message, Message::Text(text) if text.contains("\"left\":")) {
            told();
        }
    }
}

impl Report for LiveReport {
    fn lines(&self) -> Vec<(&'static str, String)> {
        vec![
            ("idle subscriptions", grouped(f64::from(self.idle))),
            ("on sockets", grouped(self.sockets as f64)),
            ("memory of each", format!("{:.1} KiB", self.kib_a_subscription)),
            ("watchers", grouped(f64::from(self.watchers))),
            ("changes", self.changes.to_string()),
            ("told in", format!("{:.0} ms (p50), {:.0} ms (p99)", self.told_p50_ms, self.told_p99_ms)),
            ("at the longest", format!("{:.0} ms", self.told_longest_ms)),
            ("not told", self.missing.to_string()),
        ]
    }
}

impl fmt::Display for LiveReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        report::write(self, f)
    }
}
