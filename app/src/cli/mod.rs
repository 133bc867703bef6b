//! The command line, one file a command.

pub mod accounts;
pub mod aggregate;
mod as_of;
pub mod balances;
pub mod bench;
mod company_use;
pub mod completions;
mod days;
pub mod demo;
pub mod diners;
pub mod events;
pub mod fix;
pub mod import;
pub mod invoices;
pub mod journal;
pub mod orders;
mod period_balance;
pub mod periods;
pub mod policies;
pub mod projections;
pub mod replay;
pub mod serve;
pub mod statement;
pub mod subsidies;
mod tenant;
pub mod token;
pub mod top_ups;
pub mod trial_balance;
pub mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, Globals, usage};

/// Since which event a view cannot go on, if it cannot: what it shows is incomplete.
pub(crate) fn incomplete(snapshot: &::projections::Snapshot<'_>, view: &str) -> Option<store::Position> {
    let build = snapshot.incomplete().find(|build| build.projection == view)?;
    Some(build.incomplete_since.unwrap_or(build.position + 1))
}

/// An amount in major units with its currency, as "1200.00 CNY".
pub(crate) fn amount(text: &str) -> anyhow::Result<domain::Money> {
    let wrong = || usage(format!("{text:?} is not an amount such as \"1200.00 CNY\""));
    let (number, code) = text.split_once(' ').ok_or_else(wrong)?;
    let currency = code.parse().map_err(|_| wrong())?;
    domain::Money::from_decimal(number.parse().map_err(|_| wrong())?, currency)
        .map_err(|error| usage(error.to_string()))
}

/// Says on stderr what was refused, and why.
pub(crate) fn say_refused(config: &Config, code: &str, message: &str) {
    if config.json {
        crate::output::note(serde_json::json!({ "error": { "code": code, "message": message } }));
    } else {
        crate::output::note(format_args!("tiffin: {message}"));
    }
}

/// Tells people that what they read is incomplete.
pub(crate) fn warn_incomplete(since: Option<store::Position>) {
    if let Some(since) = since {
        crate::output::note(format_args!("INCOMPLETE since event {since}; `tiffin projections list` says why"));
    }
}

/// Tells people that a list was cut at as many rows as it shows.
pub(crate) fn warn_cut<T>(rows: &[T], shown: usize) {
    if rows.len() >= shown {
        crate::output::note(format_args!("only {shown} rows are shown; there may be more"));
    }
}

/// The back end of company canteens: every fact an event in one log, everything read folded from it.
#[derive(Debug, Parser)]
#[command(name = "tiffin", version, max_term_width = 100, after_help = AFTER_HELP, subcommand_required = true)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Settings come from the file, then the environment (TIFFIN_STORE, TIFFIN_LISTEN, TIFFIN_LOG, …), then
flags; the later wins. A password in a URL is better kept in one of the first two than in a flag. While a server holds a folder, commands that read work beside it and commands
that change something are carried out by the server. On a database several servers may run, and
commands work beside them.

Exit codes: 0 all is well; 1 a check failed, or something was refused or went wrong; 2 wrong usage.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Open canteens, serve a lunch, prove the books, keep serving
    Demo(demo::Args),
    /// Serve GraphQL until SIGINT or SIGTERM
    Serve(serve::Args),
    /// Take over dishes, or a till's history of orders, from a CSV file
    Import(import::Args),
    /// Read the log
    Events(events::Args),
    /// Show what a thing is or was, folded from its events
    Aggregate(aggregate::Args),
    /// What is on the books' accounts
    Balances(balances::Args),
    /// The books' postings, newest first
    Journal(journal::Args),
    /// Debits and credits by currency, or by account over some days; exits with 1 unless they balance
    TrialBalance(trial_balance::Args),
    /// An account of the books over some days, with its balance after each entry
    Statement(statement::Args),
    /// The books' periods: list, close and reopen them
    Periods(periods::Args),
    /// Orders: list, cancel and refund them, withdraw what a serving sells
    Orders(orders::Args),
    /// Corrections of the books: one person proposes them, another applies them
    Fix(fix::Args),
    /// Money into and out of wallets and companies' funds: top-ups, payouts, adjustments; freeze, close
    Accounts(accounts::Args),
    /// What companies grant their diners: policies, runs of grants, lots
    Subsidies(subsidies::Args),
    /// What postpaid companies owe: issue, pay, take back and list invoices
    Invoices(invoices::Args),
    /// Diners as people: what is known of them, and erasing it
    Diners(diners::Args),
    /// How the views are: list, rebuild, pause them, see to what they could not take
    Projections(projections::Args),
    /// Put a log and all its views into a folder of their own, from an export: to audit without access to production
    Replay(replay::Args),
    /// Fold the log anew and compare it with the views; exits with 1 on any difference
    Verify(verify::Args),
    /// Issue an access token with the folder's development key
    Token(token::Args),
    /// Measure this machine
    Bench(bench::Args),
    /// Write a shell's completions to stdout
    Completions(completions::Args),
}

impl Command {
    /// What is logged unless something else is set: a server tells its story, a command answers.
    pub fn log_level(&self) -> &'static str {
        match self {
            Command::Serve(_) => "info",
            _ => "warn",
        }
    }

    pub async fn run(self, config: Config) -> anyhow::Result<ExitCode> {
        match self {
            Command::Demo(args) => demo::run(args, &config).await,
            Command::Serve(args) => serve::run(args, &config).await,
            Command::Import(args) => import::run(args, &config).await,
            Command::Events(args) => events::run(args, &config).await,
            Command::Aggregate(args) => aggregate::run(args, &config).await,
            Command::Balances(args) => balances::run(args, &config).await,
            Command::Journal(args) => journal::run(args, &config).await,
            Command::TrialBalance(args) => trial_balance::run(args, &config).await,
            Command::Statement(args) => statement::run(args, &config).await,
            Command::Periods(args) => periods::run(args, &config).await,
            Command::Orders(args) => orders::run(args, &config).await,
            Command::Fix(args) => fix::run(args, &config).await,
            Command::Accounts(args) => accounts::run(args, &config).await,
            Command::Subsidies(args) => subsidies::run(args, &config).await,
            Command::Invoices(args) => invoices::run(args, &config).await,
            Command::Diners(args) => diners::run(args, &config).await,
            Command::Projections(args) => projections::run(args, &config).await,
            Command::Replay(args) => replay::run(args, &config).await,
            Command::Verify(args) => verify::run(args, &config).await,
            Command::Token(args) => token::run(args, &config).await,
            Command::Bench(args) => bench::run(args, &config).await,
            Command::Completions(args) => completions::run(&args),
        }
    }
}
