//! `tiffin serve`: GraphQL over HTTP, and an end that loses nothing.

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use graphql::{
    Setup,
    identity::{Issuer, Refresh, Verifier, public_keys},
};
use serde_json::json;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    admin_socket,
    config::{Config, DoorArgs, Listen, Payments, TokenArgs, Tokens, Trusted, usage},
    connections::{self, ConnectionLimits},
    output, stand_in,
    wiring::House,
};

/// How long `/readyz` says no before no more connections are taken, so that whoever asks hears it.
const LEAD: Duration = Duration::from_millis(200);
/// How long requests under way may take to end. None takes longer than its own time-out.
const REQUESTS_END: Duration = Duration::from_secs(30);

/// Open files that the connections and WebSockets of a busy service need. A usual soft limit is 1,024.
const FILES: u64 = 40_000;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub listen: Listen,
    /// Who takes diners' money when their balances do not reach [default: none]
    #[arg(long, env = "TIFFIN_PAYMENTS", hide_env_values = true, value_name = "WHO")]
    pub payments: Option<Payments>,
    #[command(flatten)]
    pub tokens: TokenArgs,
    #[command(flatten)]
    pub door: DoorArgs,
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    let mut config = config.clone().listening(&args.listen);
    config.payments = args.payments.unwrap_or(config.payments);
    config.tokens = config.tokens.overlaid(args.tokens);
    config.door = config.door.overlaid(args.door);
    check(&config)?;
    // From here on a signal asks for an orderly end.
    let mut signals = Signals::new()?;
    let start = async { Serving::start(House::open(&config).await?, &config).await };
    let serving = tokio::select! {
        started = start => started?,
        signal = signals.next() => {
            // Nothing was acknowledged yet; what was begun is as after a crash.
            tracing::info!(signal, "ended before it served");
            return Ok(ExitCode::SUCCESS);
        }
    };
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

/// Says what cannot be meant, before anything is opened.
pub fn check(config: &Config) -> anyhow::Result<()> {
    config.tokens.trusted()?;
    config.door.edge()?;
    config.door.limits()?;
    Ok(())
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
    http: JoinHandle<()>,
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
        let verifier = verifier(&issuer, &config.tokens).await?;
        let listening = || format!("{} cannot be listened on; choose another address with --listen", config.listen);
        allow_files();
        let listener = connections::listen(&config.listen).await.with_context(listening)?;
        let address = listener.local_addr().with_context(listening)?;
        let secret = issuer.token_secret();
        let House { ordering, subsidies, finance, people, views, .. } = &**house;
        let (ordering, subsidies) = (ordering.clone(), subsidies.clone());
        let (finance, people) = (finance.clone(), people.clone());
        let setup = Setup {
            limits: config.door.limits()?,
            edge: config.door.edge()?,
            ..Setup::new(ordering, subsidies, finance, people, views.clone(), verifier, secret)
        };
        let draining = setup.draining.clone();
        let closing = CancellationToken::new();
        let mut router = graphql::router(setup);
        if matches!(config.tokens.trusted()?, Trusted::Development) {
            router = router.merge(public_keys(issuer.jwks()?));
        }
        if let Some(stand_in) = &house.stand_in {
            tracing::warn!("payments are played by this process: no money moves");
            router = router.merge(stand_in::router(Arc::clone(stand_in), house.ordering.clone()));
        }
        // The last that can fail: whoever finds the socket finds a server.
        let admin = admin_socket::Server::start(house)?;
        let http = tokio::spawn(connections::serve(listener, router, ConnectionLimits::default(), closing.clone()));
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

/// Asks for as many open files as this process may have: each connection is one.
fn allow_files() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(files) if files < FILES => {
            tracing::warn!(files, "few connections can be had; raise the limit of open files (ulimit -n) to {FILES}");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files stays as it is"),
    }
}

async fn close(house: Arc<House>) -> anyhow::Result<()> {
    match Arc::into_inner(house) {
        Some(house) => house.close().await,
        None => anyhow::bail!("the house is still in use and could not be closed in order"),
    }
}

/// What tokens are checked with: the configured issuer's keys, or the folder's own.
async fn verifier(issuer: &Issuer, tokens: &Tokens) -> anyhow::Result<Verifier> {
    match tokens.trusted()? {
        Trusted::Development => Ok(issuer.verifier()?),
        Trusted::Key(file, expected) => {
            let broken = |why: String| usage(format!("tokens.public_key {}: {why}", file.display()));
            let pem = std::fs::read(&file).map_err(|error| broken(error.to_string()))?;
            Verifier::from_public_pem(&pem, expected).map_err(|error| broken(error.to_string()))
        }
        Trusted::Keys(source, expected) => {
            tracing::info!(%source, issuer = expected.issuer, audience = expected.audience, "whose tokens are taken");
            Ok(Verifier::following(&source, expected, Refresh::default()).await?)
        }
    }
}
