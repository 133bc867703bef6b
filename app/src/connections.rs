//! Connections: how many there may be, and how long a client may keep one without saying or reading anything.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream, lookup_host},
    sync::Semaphore,
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

/// What connections may take of the machine.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Most at once, without those that became WebSockets; more wait to be taken.
    pub connections: usize,
    /// Within this a client must have said what it asks for: its request's head. A connection is kept idle for as
    /// long, which is longer than proxies keep theirs: the one that might ask again must close it.
    pub head: Duration,
    /// How long a client may say nothing at all. Longer than what WebSockets are pinged after.
    pub silence: Duration,
    /// How long a client may read nothing of what it is sent.
    pub reading: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        ConnectionLimits { connections: 8_192, head: seconds(75), silence: seconds(90), reading: seconds(30) }
    }
}

/// After the machine had nothing left for a connection, how long the next is waited with.
const PAUSE: Duration = Duration::from_millis(50);

/// So many may have connected and not been taken yet. Beyond that the machine drops who connects, who then tries again
/// only after a second: they would hear late that there is too much to do. Linux allows 4,096 unless it is told more.
const BACKLOG: u32 = 4_096;

/// Listens on an address, a host or its numbers with a port.
pub async fn listen(address: &str) -> io::Result<TcpListener> {
    let mut failed = io::Error::new(io::ErrorKind::InvalidInput, "it has no address");
    for address in lookup_host(address).await? {
        match listen_on(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Answers whoever connects until `closing` is cancelled; then what is under way, and ends.
pub async fn serve(listener: TcpListener, router: Router, limits: ConnectionLimits, closing: CancellationToken) {
    let room = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut http = auto::Builder::new(TokioExecutor::new()).http1_only();
    http.http1().timer(TokioTimer::new()).header_read_timeout(limits.head);
    while let Some(stream) = next(&listener, &room, &closing).await {
        let Some((stream, place)) = stream else { continue };
        let service = TowerToHyperService::new(router.clone());
        let mut stream = TimeoutStream::new(stream);
        stream.set_read_timeout(Some(limits.silence));
        stream.set_write_timeout(Some(limits.reading));
        let connection = http.serve_connection_with_upgrades(TokioIo::new(Box::pin(stream)), service);
        let connection = graceful.watch(connection.into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// The next connection with its place; none inside when one could not be taken, none at all at the end.
async fn next(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    closing: &CancellationToken,
) -> Option<Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)>> {
    let taken = async {
        let place = Arc::clone(room).acquire_owned().await.ok()?;
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "a connection answers late");
                }
                Some((stream, place))
            }
            Err(error) => {
                if !is_of_the_client(&error) {
                    tracing::warn!(%error, "no connection can be taken");
                    tokio::time::sleep(PAUSE).await;
                }
                None
            }
        }
    };
    closing.run_until_cancelled(taken).await
}

/// Whether a client went away before it was taken.
fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::Notify,
        task::JoinHandle,
        time::{Instant, timeout},
    };

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    struct Server {
        address: SocketAddr,
        closing: CancellationToken,
        /// Somebody asks for what takes a while.
        slow_begun: Arc<Notify>,
        task: JoinHandle<()>,
    }

    async fn served(limits: ConnectionLimits) -> Server {
        let slow_begun = Arc::new(Notify::new());
        let begun = Arc::clone(&slow_begun);
        let slow = async move || {
            begun.notify_one();
            tokio::time::sleep(Duration::from_millis(300)).await;
            "slow\n"
        };
        let long = async || "x".repeat(64 << 20);
        let router =
            Router::new().route("/", get(async || "here\n")).route("/slow", get(slow)).route("/long", get(long));
        let listener = listen("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let closing = CancellationToken::new();
        let task = tokio::spawn(serve(listener, router, limits, closing.clone()));
        Server { address, closing, slow_begun, task }
    }

    #[tokio::test]
    async fn many_may_connect_before_they_are_taken() {
        // More than a backlog usually has. A machine that allows less (net.core.somaxconn) drops some here.
        const MANY: usize = 1_200;
        let files = rlimit::increase_nofile_limit(u64::MAX).expect("a limit of files");
        assert!(files > 2 * MANY as u64, "this test needs more open files than {files}");
        let listener = listen("localhost:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut waiting = Vec::new();
        while waiting.len() < MANY {
            match timeout(SOON / 20, TcpStream::connect(address)).await {
                Ok(connected) => waiting.push(Some(connected.expect("a connection"))),
                // Whoever is dropped tries again after a second. The machine may stand still for as long.
                Err(_) => waiting.push(None),
            }
            let late = waiting.iter().filter(|one| one.is_none()).count();
            assert!(late <= 5, "{late} of {} had to try again", waiting.len());
        }
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_an_error() {
        let listener = listen("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let error = listen(&address).await.expect_err("it is taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    async fn asked(server: &Server, text: &str) -> TcpStream {
        let mut client = TcpStream::connect(server.address).await.expect("a connection");
        client.write_all(text.as_bytes()).await.expect("written");
        client
    }

    /// Everything until the server ends the connection, be it by a reset; or that it did not.
    async fn heard(mut client: TcpStream) -> String {
        let mut text = Vec::new();
        let ended = timeout(SOON, client.read_to_end(&mut text)).await;
        let text = String::from_utf8(text).expect("text");
        if ended.is_ok() { text } else { format!("{text}… and goes on") }
    }

    #[tokio::test]
    async fn whoever_does_not_say_what_they_want_is_let_go() {
        let head = Duration::from_millis(200);
        let server = served(ConnectionLimits { head, silence: 2 * head, ..ConnectionLimits::default() }).await;
        let began = Instant::now();
        let silent = heard(asked(&server, "").await);
        let half = heard(asked(&server, "GET / HTTP/1.1\r\nhost: x\r\nx-long: ").await);
        let idle = heard(asked(&server, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await);
        let (silent, half, idle) = tokio::join!(silent, half, idle);
        assert_eq!((silent.as_str(), half.as_str()), ("", ""));
        assert!(idle.starts_with("HTTP/1.1 200 OK") && idle.ends_with("here\n"), "{idle}");
        assert!(began.elapsed() >= head);
    }

    #[tokio::test]
    async fn whoever_reads_nothing_is_let_go() {
        let reading = Duration::from_millis(200);
        let server = served(ConnectionLimits { connections: 1, reading, ..ConnectionLimits::default() }).await;
        let stalled = asked(&server, "GET /long HTTP/1.1\r\nhost: x\r\n\r\n").await;
        // There is one place: the next is answered when the stalled reader has lost it.
        let next = asked(&server, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(heard(next).await.ends_with("here\n"));
        drop(stalled);
    }

    #[tokio::test]
    async fn more_connections_than_there_may_be_wait_for_a_place() {
        let server = served(ConnectionLimits { connections: 1, ..ConnectionLimits::default() }).await;
        let mut first = asked(&server, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        let mut some = [0; 16];
        assert!(first.read(&mut some).await.expect("an answer") > 0);
        let mut second = asked(&server, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(timeout(Duration::from_millis(200), second.read(&mut some)).await.is_err(), "there is no place");
        drop(first);
        assert!(heard(second).await.ends_with("here\n"));
    }

    #[tokio::test]
    async fn at_the_end_what_is_under_way_is_answered() {
        let server = served(ConnectionLimits::default()).await;
        let idle = asked(&server, "").await;
        let slow = asked(&server, "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
        timeout(SOON, server.slow_begun.notified()).await.expect("it is under way");
        server.closing.cancel();
        assert!(heard(slow).await.ends_with("slow\n"));
        timeout(SOON, server.task).await.expect("it ends").expect("in order");
        assert_eq!(heard(idle).await, "");
        assert!(TcpStream::connect(server.address).await.is_err(), "nobody is taken any more");
    }
}
