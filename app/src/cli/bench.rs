//! `tiffin bench`.

use std::{
    fmt::Display,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{self, Child, ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use benches::{
    commands::CommandsArgs,
    grants::GrantsArgs,
    http::{Filled, HttpArgs, Target},
    live::LiveArgs,
    orders::OrdersArgs,
    overload::OverloadArgs,
    rebuild::RebuildArgs,
};
use graphql::{
    NodeId,
    identity::{Identity, Issuer},
};
use serde::{Deserialize, Serialize};

use crate::{
    config::{Config, StoreAddress, usage},
    output, wiring,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Commands a second on single aggregates, beside a bare insert on the same disk
    Commands(CommandsArgs),
    /// Whole paid orders a second, all views kept up
    Orders(OrdersArgs),
    /// Subsidies: how long a run of grants takes, the same again, and all lots' expiry
    Grants(GrantsArgs),
    /// Requests to a server over HTTP, at a rate or as fast as answers come, beside the disk's sync
    Http(HttpArgs),
    /// More orders over HTTP than a server can take, server and load each on a core of its own
    Overload(OverloadArgs),
    /// Watching over WebSockets: what a subscription takes of memory, how soon a change is told
    Live(LiveArgs),
    /// Events a second into views that are folded anew, beside bare reads and bare inserts
    Rebuild(RebuildArgs),
}

/// Longest life of the tokens of one run.
const TOKENS_LIVE: Duration = Duration::from_secs(3_600);

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    if let Command::Http(args @ HttpArgs { only_fill: false, .. }) = &args.command {
        return over_http(args, config).await;
    }
    if let Command::Overload(args @ OverloadArgs { only_fill: false, .. }) = &args.command {
        return too_much(args, config).await;
    }
    if let Command::Live(args @ LiveArgs { only_fill: false, .. }) = &args.command {
        return live(args, config).await;
    }
    if let Command::Rebuild(RebuildArgs { only_fill: false, .. }) = &args.command
        && config.store != StoreAddress::Memory
    {
        tokio::task::spawn_blocking(fill_apart).await??;
    }
    let (store, syncs) = wiring::open_log(config).await?;
    let folder = config.store.folder().map(Into::into);
    let tell = teller(config);
    let database = match &config.store {
        StoreAddress::Postgres(url) => Some(url.reveal().to_owned()),
        StoreAddress::Memory | StoreAddress::Sqlite(_) => None,
    };
    let log = benches::Log { store, syncs, folder, database, tell };
    match args.command {
        Command::Commands(args) => show(&benches::commands::run(&args, &log).await?, config),
        Command::Orders(args) => show(&benches::orders::run(&args, &log).await?, config),
        Command::Grants(args) => show(&benches::grants::run(&args, &log).await?, config),
        Command::Http(HttpArgs { servings, diners, .. }) | Command::Overload(OverloadArgs { servings, diners, .. }) => {
            fill(servings, diners, &log).await
        }
        Command::Live(args) => fill(LiveArgs::SERVINGS, args.diners(), &log).await,
        Command::Rebuild(args) if args.only_fill => {
            benches::rebuild::fill(&args, &log).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Rebuild(args) => show(&benches::rebuild::run(&args, &log).await?, config),
    }
}

/// Fills a log that another process will serve, and says with what.
async fn fill(servings: u32, diners: u32, log: &benches::Log) -> anyhow::Result<ExitCode> {
    output::json_line(&serde_json::to_value(benches::http::fill(servings, diners, log).await?)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the log of `bench rebuild` in a process of its own: what that leaves in memory is no rebuild's.
fn fill_apart() -> anyhow::Result<()> {
    let itself = std::env::current_exe()?;
    let filled = process::Command::new(itself).args(std::env::args_os().skip(1)).arg("--only-fill").status()?;
    anyhow::ensure!(filled.success(), "the log could not be made");
    Ok(())
}

fn show(report: &(impl Display + Serialize), config: &Config) -> anyhow::Result<ExitCode> {
    if config.json {
        output::json_line(&serde_json::to_value(report)?)?;
    } else {
        output::line(report)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn teller(config: &Config) -> Arc<dyn Fn(&str) + Send + Sync> {
    let quiet = config.json;
    Arc::new(move |stage: &str| {
        if !quiet {
            output::note(format_args!("{stage} …"));
        }
    })
}

/// A server in a process of its own, which ends with this.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    /// Asks it for an orderly end, so that its views stand where its log does.
    fn end(mut self) -> anyhow::Result<()> {
        let process = self.process.id().to_string();
        let asked = process::Command::new("kill").args(["-TERM", &process]).status()?;
        anyhow::ensure!(asked.success() && self.process.wait()?.success(), "the server did not end in order");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What `tiffin serve --json` says first.
#[derive(Deserialize)]
struct Serves {
    address: SocketAddr,
}

/// The core of a server that has one of its own, and that of whoever asks it.
const CORES: [&str; 2] = ["0", "1"];

async fn over_http(args: &HttpArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let (server, target) = filled_and_served(args.servings, args.diners, None, config).await?;
    let report = benches::http::run(args, target).await?;
    end_and_show(server, &report, config).await
}

async fn too_much(args: &OverloadArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let [its, ours] = CORES;
    let (server, target) = filled_and_served(args.servings, args.diners, Some(its), config).await?;
    let itself = process::id().to_string();
    let moved = process::Command::new("taskset").args(["-a", "-c", "-p", ours, &itself]).output()?;
    anyhow::ensure!(moved.status.success(), "core {ours} cannot be had: {}", String::from_utf8_lossy(&moved.stderr));
    let report = benches::overload::run(args, target, server.process.id()).await?;
    end_and_show(server, &report, config).await
}

async fn live(args: &LiveArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let (server, target) = filled_and_served(LiveArgs::SERVINGS, args.diners(), None, config).await?;
    rlimit::increase_nofile_limit(u64::MAX)?;
    let report = benches::live::run(args, target, server.process.id()).await?;
    end_and_show(server, &report, config).await
}

/// A figure counts only if its server ends in order.
async fn end_and_show(
    server: Server,
    report: &(impl Display + Serialize),
    config: &Config,
) -> anyhow::Result<ExitCode> {
    tokio::task::spawn_blocking(|| server.end()).await??;
    show(report, config)
}

/// The log is filled by one process and served by another, on `core` if one is named: this one only asks.
async fn filled_and_served(
    servings: u32,
    diners: u32,
    core: Option<&'static str>,
    config: &Config,
) -> anyhow::Result<(Server, Target)> {
    let Some(folder) = config.store.folder().map(Path::to_path_buf) else {
        return Err(usage("a server of its own needs a folder: --store sqlite:DIR"));
    };
    let tell = teller(config);
    tell(&format!("publishing {servings} servings and filling wallets of {diners}"));
    let store = config.store.to_string();
    let key_folder = folder.clone();
    let (filled, sync, server, issuer) = tokio::task::spawn_blocking(move || {
        let filled = filled_apart()?;
        let sync = benches::time_of_one_sync(&folder)?;
        anyhow::Ok((filled, sync, serve_apart(&store, core)?, Issuer::open(&key_folder)?))
    })
    .await??;
    let token = |diner| issuer.mint(&Identity::diner_of(filled.tenant, diner), TOKENS_LIVE);
    let tokens = filled.diners.iter().copied().map(token).collect::<Result<_, _>>()?;
    let servings = filled.servings.iter().map(|one| {
        let dishes = one.dishes.iter().map(|dish| NodeId::Dish(one.canteen, *dish).encode().0);
        (NodeId::Serving(one.serving).encode().0, dishes.collect())
    });
    let target = Target { address: server.address, tokens, servings: servings.collect(), sync, tell };
    Ok((server, target))
}

fn filled_apart() -> anyhow::Result<Filled> {
    let mut filling = process::Command::new(std::env::current_exe()?);
    let filled = filling.args(std::env::args_os().skip(1)).arg("--only-fill").stderr(Stdio::inherit()).output()?;
    anyhow::ensure!(filled.status.success(), "the log could not be filled");
    serde_json::from_slice(&filled.stdout).context("the process that filled the log did not say with what")
}

fn serve_apart(store: &str, core: Option<&str>) -> anyhow::Result<Server> {
    let itself = std::env::current_exe()?;
    let mut serving = match core {
        None => process::Command::new(itself),
        Some(core) => {
            let mut pinned = process::Command::new("taskset");
            pinned.args(["-c", core]).arg(itself);
            pinned
        }
    };
    serving.args(["serve", "--json", "--listen", "127.0.0.1:0", "--store", store]).stdout(Stdio::piped());
    let mut process = serving.spawn()?;
    let stdout = process.stdout.take().context("the server has no output")?;
    let mut server = Server { process, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    server.address = serde_json::from_str::<Serves>(&line).context("the server did not start")?.address;
    Ok(server)
}
