//! The admin socket: how a command changes something in a folder that a server holds.
//!
//! A Unix socket in the folder, for its owner only. A connection carries one request: a line of
//! JSON. The server answers with lines of JSON, any number with progress and one with the outcome:
//!
//! ```text
//! → {"do":"views","work":{"rebuild":{"projections":["balances"],"compare":false}}}
//! ← {"progress":{"doing":"rebuilding balances","done":512,"total":1024}}
//! ← {"done":{"rebuilt":[…]}}          or {"failed":{"message":"…","usage":false}}
//! ```
//!
//! A client that goes away stops what it asked for, but for a rebuild: that is work for the runner, and
//! only nobody watches it any more. The server's own end stops everything; it goes on with rebuilds at
//! its next start.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::MissedTickBehavior,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    bookkeeping::{self, BooksRequest},
    config::{Config, Usage, usage},
    finance::{self, FinanceRequest},
    import::{self, ImportRequest},
    invoicing::{self, InvoiceRequest},
    ordering::{self, OrderRequest},
    people::{self, EraseRequest},
    progress::{Bar, OnProgress, Progress},
    subsidies::{self, SubsidyRequest},
    upkeep::{self, ViewsWork},
    wiring::House,
};

/// Longest request, in bytes.
const MAX_REQUEST: u64 = 64 * 1024;
/// Longest line of an answer, in bytes: an import lists what it left out.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;
/// Most requests that are served at once; others wait.
const AT_ONCE: usize = 4;
/// How long a client may take to say what it wants, or to take a line.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// Longest path that a Unix socket can have everywhere, in bytes.
const MAX_PATH: usize = 103;

/// What a server can be asked to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum AdminRequest {
    /// Whether anybody is there.
    Ping,
    Import(ImportRequest),
    Books(BooksRequest),
    Views {
        work: ViewsWork,
    },
    Subsidies(SubsidyRequest),
    Invoices(InvoiceRequest),
    /// A diner, for good.
    Erase(EraseRequest),
    Finance(FinanceRequest),
    Orders(OrderRequest),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    Progress(Progress),
    Done(Value),
    Failed {
        message: String,
        /// Whether whoever asked got something wrong, and nothing was done.
        usage: bool,
    },
}

impl Reply {
    fn of(outcome: anyhow::Result<Value>) -> Reply {
        match outcome {
            Ok(value) => Reply::Done(value),
            Err(error) => Reply::Failed { message: format!("{error:#}"), usage: error.is::<Usage>() },
        }
    }
}

/// Carries a request out on a house that this process serves.
pub async fn handle(house: &House, request: AdminRequest, progress: OnProgress<'_>) -> anyhow::Result<Value> {
    match request {
        AdminRequest::Ping => Ok(json!({ "process": std::process::id() })),
        AdminRequest::Import(request) => import::run_import(house, request, progress).await,
        AdminRequest::Subsidies(request) => subsidies::carry_out(house, request, progress).await,
        AdminRequest::Invoices(request) => invoicing::carry_out(house, request).await,
        AdminRequest::Erase(request) => people::erase(house, request).await,
        AdminRequest::Orders(request) => ordering::carry_out(house, request, progress).await,
        AdminRequest::Finance(request) => finance::in_house(house, request).await,
        AdminRequest::Books(request) => bookkeeping::in_house(house, request).await,
        AdminRequest::Views { work } => upkeep::in_house(house, work, progress).await,
    }
}

/// Has a request carried out: by the server that holds the folder, or, without one, right here; on a
/// database by this process, beside the servers. Shows a bar on a terminal.
pub async fn carry_out(config: &Config, request: AdminRequest) -> anyhow::Result<Value> {
    let bar = Bar::new();
    let show = |progress| bar.show(progress);
    if let Some(folder) = config.held_folder()
        && let Some(answer) = ask(&folder, &request, &show).await?
    {
        return Ok(answer);
    }
    if let AdminRequest::Views { work } = request {
        return upkeep::here(config, work, &show).await;
    }
    let house = House::open(config).await?;
    let outcome = tokio::select! {
        outcome = handle(&house, request, &show) => outcome,
        why = house.failed() => Err(anyhow!("{why}; see the log above")),
    };
    house.close_after(outcome).await
}

fn socket_of(folder: &Path) -> PathBuf {
    folder.join("admin.sock")
}

/// Asks the server that holds `folder`; nothing when there is none.
pub async fn ask(folder: &Path, request: &AdminRequest, progress: OnProgress<'_>) -> anyhow::Result<Option<Value>> {
    let path = socket_of(folder);
    if path.as_os_str().len() > MAX_PATH {
        return Ok(None);
    }
    let stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        // Nobody listens: there is no server, or it was killed and its socket is left over.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => {
            let message = format!("the server's admin socket {} cannot be used", path.display());
            return Err(anyhow::Error::new(error).context(message));
        }
    };
    let (read, mut write) = stream.into_split();
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    write.write_all(&line).await.context("the server does not take the request")?;
    let mut read = BufReader::new(read);
    loop {
        line.clear();
        (&mut read).take(MAX_ANSWER).read_until(b'\n', &mut line).await.context("the server's answer broke off")?;
        if line.last() != Some(&b'\n') {
            bail!("the server went away before it was done; ask again, what was done already is not done twice");
        }
        match serde_json::from_slice(&line).context("the server answers in a way that this program does not know")? {
            Reply::Progress(at) => progress(at),
            Reply::Done(value) => return Ok(Some(value)),
            Reply::Failed { message, usage: true } => return Err(usage(message)),
            Reply::Failed { message, .. } => bail!(message),
        }
    }
}

/// Listens on the socket of a folder that this process holds.
pub struct Server {
    path: PathBuf,
    stop: CancellationToken,
    accepting: JoinHandle<()>,
    requests: TaskTracker,
}

impl Server {
    /// Takes requests from now on; none for a house in memory. A socket that a dead server left is
    /// replaced: whoever holds the folder's lock is the only one who may listen there.
    pub fn start(house: &Arc<House>) -> anyhow::Result<Option<Server>> {
        let Some(folder) = &house.folder else { return Ok(None) };
        let path = socket_of(folder);
        if path.as_os_str().len() > MAX_PATH {
            let limit = MAX_PATH;
            tracing::warn!(path = %path.display(), limit, "no admin socket: its path is too long for one");
            return Ok(None);
        }
        let named = || format!("the admin socket {} cannot be made", path.display());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).with_context(named),
            _ => {}
        }
        let listener = UnixListener::bind(&path).with_context(named)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).with_context(named)?;
        let owner = fs::metadata(&path).with_context(named)?.uid();
        let (stop, requests) = (CancellationToken::new(), TaskTracker::new());
        let accepting = tokio::spawn(accept(listener, owner, Arc::clone(house), stop.clone(), requests.clone()));
        Ok(Some(Server { path, stop, accepting, requests }))
    }

    /// Takes no more requests and breaks off those under way, telling who asked.
    pub async fn stop(self) {
        self.stop.cancel();
        self.requests.close();
        self.requests.wait().await;
        // The task does not panic, and when it did, nothing is left to be done.
        let _ = self.accepting.await;
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, "the admin socket is left over; the next server replaces it");
        }
    }
}

async fn accept(listener: UnixListener, owner: u32, house: Arc<House>, stop: CancellationToken, requests: TaskTracker) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let permit = tokio::select! {
            () = stop.cancelled() => return,
            permit = Arc::clone(&room).acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file handles, say: wait a moment for better times.
            tokio::time::sleep(PROGRESS_EVERY).await;
            continue;
        };
        // Between its making and its new mode the socket was open to others.
        if !stream.peer_cred().is_ok_and(|peer| peer.uid() == owner || peer.uid() == 0) {
            tracing::warn!("somebody who does not own the folder tried the admin socket");
            continue;
        }
        let (house, stop) = (Arc::clone(&house), stop.clone());
        requests.spawn(async move {
            let _permit = permit;
            if let Err(error) = answer(&house, stream, stop).await {
                tracing::debug!(%error, "a client of the admin socket went away");
            }
        });
    }
}

async fn answer(house: &House, stream: UnixStream, stop: CancellationToken) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read.take(MAX_REQUEST));
    let mut line = Vec::new();
    tokio::time::timeout(PATIENCE, read.read_until(b'\n', &mut line)).await??;
    let request: AdminRequest = match serde_json::from_slice(&line) {
        Ok(request) => request,
        Err(error) => {
            let why = anyhow!("the server does not know this request ({error}); is it of another version?");
            return send(&mut write, &Reply::of(Err(why))).await;
        }
    };
    let (seen, mut progress) = watch::channel(None);
    let say = |at| {
        seen.send_replace(Some(at));
    };
    let mut work = pin!(handle(house, request, &say));
    let mut tick = tokio::time::interval(PROGRESS_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut surplus = [0; 64];
    let reply = loop {
        tokio::select! {
            outcome = &mut work => break Reply::of(outcome),
            () = stop.cancelled() => break Reply::of(Err(anyhow!("the server is stopping and broke this off; ask again"))),
            _ = tick.tick() => {
                let at = progress.has_changed().is_ok_and(|changed| changed).then(|| progress.borrow_and_update().clone());
                if let Some(at) = at.flatten() {
                    send(&mut write, &Reply::Progress(at)).await?;
                }
            }
            // Nothing more is expected: this ends when the client does.
            more = read.read(&mut surplus) => if more? == 0 {
                return Ok(());
            },
        }
    };
    send(&mut write, &reply).await
}

async fn send(write: &mut tokio::net::unix::OwnedWriteHalf, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    tokio::time::timeout(PATIENCE, write.write_all(&line)).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_without_a_server_is_no_server() {
        let folder = tempfile::tempdir().unwrap();
        let nothing = |_| {};
        assert_eq!(ask(folder.path(), &AdminRequest::Ping, &nothing).await.unwrap(), None);
        // What a killed server leaves: the file, and nobody behind it.
        drop(std::os::unix::net::UnixListener::bind(socket_of(folder.path())).unwrap());
        assert!(socket_of(folder.path()).exists());
        assert_eq!(ask(folder.path(), &AdminRequest::Ping, &nothing).await.unwrap(), None);
    }

    #[test]
    fn requests_read_as_documented() {
        let work = ViewsWork::Rebuild { projections: vec!["balances".into()], compare: false };
        let rebuild = AdminRequest::Views { work };
        let text = r#"{"do":"views","work":{"rebuild":{"projections":["balances"],"compare":false}}}"#;
        assert_eq!(serde_json::to_string(&rebuild).unwrap(), text);
        assert_eq!(serde_json::from_str::<AdminRequest>(text).unwrap(), rebuild);
        assert!(serde_json::from_str::<AdminRequest>(r#"{"do":"format_disk"}"#).is_err());
    }
}
