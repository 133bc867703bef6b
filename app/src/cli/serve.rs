//! `tiffin serve`: GraphQL over HTTP, and an end that loses nothing.

use std::{net::SocketAddr, path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use axum::serve::ListenerExt;
use graphql::{
    Setup,
    identity::{ISSUER, Issuer, Verifier},
};
use serde_json::json;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    admin_socket,
    config::{Config, Listen, Tokens, usage},
    output,
    wiring::House,
};

/// How long `/readyz` says no before no more connections are taken, so that whoever asks hears it.
const LEAD: Duration = Duration::from_millis(200);
/// How long requests under way may take to end. None takes longer than its own time-out.
const REQUESTS_END: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub listen: Listen,
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    let config = config.clone().listening(&args.listen);
    // From here on a signal asks for an orderly end.
    let signals = Signals::new()?;
    let house = House::open(&config).await?;
    let serving = Serving::start(house, &config).await?;
    let address = serving.address;
    if config.json {
        let process = std::process::id();
        let store = config.store.to_string();
        output::json_line(
            &json!({ "address": address, "url": format!("http://{address}/"), "store": store, "process": process }),
        )?;
    } else {
        output::line(format_args!("tiffin serves {} at http://{address}/ (GraphiQL); Ctrl-C ends it.", config.store))?;
    }
    serving.until_stopped(signals).await?;
    Ok(ExitCode::SUCCESS)
}

/// SIGINT and SIGTERM: the first asks for an orderly end, the second ends the process at once.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub fn new() -> anyhow::Result<Signals> {
        let listen = |kind| signal(kind).context("signals cannot be heard");
        Ok(Signals { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// A house that answers over HTTP and over its admin socket.
pub struct Serving {
    pub house: Arc<House>,
    /// Signs development tokens that this server takes, unless another issuer is set.
    pub issuer: Issuer,
    /// Where it listens.
    pub address: SocketAddr,
    draining: CancellationToken,
    closing: CancellationToken,
    http: JoinHandle<std::io::Result<()>>,
    admin: Option<admin_socket::Server>,
}

impl Serving {
    /// Listens on the configured address and takes requests from now on. The house is closed when
    /// that cannot be.
    pub async fn start(house: House, config: &Config) -> anyhow::Result<Serving> {
        let house = Arc::new(house);
        match Self::open(&house, config).await {
            Ok(serving) => Ok(serving),
            Err(error) => {
                if let Err(left) = close(house).await {
                    tracing::warn!(%left, "the house was not closed in order");
                }
                Err(error)
            }
        }
    }

    async fn open(house: &Arc<House>, config: &Config) -> anyhow::Result<Serving> {
        let issuer = match config.key_folder() {
            Some(folder) => {
                let named = || format!("the folder {} cannot be made", folder.display());
                std::fs::create_dir_all(&folder).with_context(named)?;
                Issuer::open(&folder)?
            }
            None => Issuer::random(),
        };
        let verifier = verifier(&issuer, &config.tokens)?;
        let listening = || format!("{} cannot be listened on; choose another address with --listen", config.listen);
        let listener = TcpListener::bind(&config.listen).await.with_context(listening)?;
        let address = listener.local_addr().with_context(listening)?;
        let admin = admin_socket::Server::start(house)?;
        let secret = issuer.token_secret();
        let setup = Setup::new(house.ordering.clone(), house.subsidies.clone(), house.views.clone(), verifier, secret);
        let draining = setup.draining.clone();
        let closing = CancellationToken::new();
        let listener = listener.tap_io(|connection| {
            if let Err(error) = connection.set_nodelay(true) {
                tracing::debug!(%error, "a connection answers late");
            }
        });
        let serve = axum::serve(listener, graphql::router(setup));
        let http = tokio::spawn(serve.with_graceful_shutdown(closing.clone().cancelled_owned()).into_future());
        tracing::info!(%address, store = %config.store, log = %house.store.identity().log, "serving");
        Ok(Serving { house: Arc::clone(house), issuer, address, draining, closing, http, admin })
    }

    /// Serves until a signal comes, then ends in order. An error when the house can serve no longer.
    pub async fn until_stopped(mut self, mut signals: Signals) -> anyhow::Result<()> {
        let broken = tokio::select! {
            signal = signals.next() => {
                tracing::info!(signal, "ending: requests under way are finished");
                None
            }
            why = self.house.failed() => Some(why.to_owned()),
            ended = &mut self.http => Some(format!("no requests are taken any more: {ended:?}")),
        };
        tokio::spawn(async move {
            signals.next().await;
            output::note("tiffin: ended at once, as asked a second time");
            std::process::exit(1);
        });
        match broken {
            None => self.stop().await,
            Some(why) => {
                tracing::error!(why, "this server has to end");
                // What was acknowledged is in the log; the next start goes on from there.
                let stopped = self.stop().await.err().map_or(String::new(), |error| format!(" ({error:#})"));
                anyhow::bail!("the server had to end: {why}{stopped}; see the log above")
            }
        }
    }

    /// Ends in order: says that it is not ready, takes no more connections, finishes requests,
    /// commands and views.
    pub async fn stop(self) -> anyhow::Result<()> {
        let Serving { house, draining, closing, http, admin, .. } = self;
        draining.cancel();
        if !http.is_finished() {
            tokio::time::sleep(LEAD).await;
        }
        closing.cancel();
        if !http.is_finished() && tokio::time::timeout(REQUESTS_END, http).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
        if let Some(admin) = admin {
            admin.stop().await;
        }
        close(house).await
    }
}

async fn close(house: Arc<House>) -> anyhow::Result<()> {
    match Arc::into_inner(house) {
        Some(house) => house.close().await,
        None => anyhow::bail!("the house is still in use and could not be closed in order"),
    }
}

/// What tokens are checked with: the configured issuer's key, or the folder's own.
fn verifier(issuer: &Issuer, tokens: &Tokens) -> anyhow::Result<Verifier> {
    let Some(file) = &tokens.public_key else { return Ok(issuer.verifier()?) };
    let broken = |file: &Path, why: String| usage(format!("tokens.public_key {}: {why}", file.display()));
    let pem = std::fs::read(file).map_err(|error| broken(file, error.to_string()))?;
    let name = tokens.issuer.as_deref().unwrap_or(ISSUER);
    Verifier::from_public_pem(&pem, name).map_err(|error| broken(file, error.to_string()))
}
