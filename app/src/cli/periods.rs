//! `tiffin periods`: closing the books, and opening them again.

use std::process::ExitCode;

use domain::{ActorId, TenantId, books::ReopenReason};
use jiff::civil::Date;
use projections::{
    Snapshot, args,
    periods::{self, OpenBooks, Period},
};
use serde_json::{Value, json};

use crate::{
    admin_socket::{self, AdminRequest},
    bookkeeping::{BooksAnswer, BooksRequest, BooksWork},
    cli::days::tenant_of_books,
    config::Config,
    output,
    wiring::Reading,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The periods that were closed, the last first
    List {
        /// Whose books [default: the only ones there are]
        #[arg(long, value_name = "UUID")]
        tenant: Option<TenantId>,
        /// How many periods at most
        #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
    },
    /// Open the books with the time zone that tells their dates; it stays
    Open {
        /// IANA name, such as Asia/Shanghai
        #[arg(long, value_name = "ZONE")]
        zone: String,
        #[command(flatten)]
        who: Who,
    },
    /// Close every day that is still open, through a day that has come
    Close {
        /// The last day of the period
        #[arg(long, value_name = "DATE")]
        through: Date,
        #[command(flatten)]
        who: Who,
    },
    /// Open the closed period of a day again, and those closed after it
    Reopen {
        /// A day of the first period that is to be open
        #[arg(long, value_name = "DATE")]
        from: Date,
        /// What it is opened for
        #[arg(long, value_name = "REASON")]
        reason: Reason,
        #[command(flatten)]
        who: Who,
    },
}

#[derive(Debug, clap::Args)]
struct Who {
    /// Whose books [default: those of the only tenant there is]
    #[arg(long, value_name = "UUID")]
    tenant: Option<TenantId>,
    /// Who asks for it; the event names them [default: the command line]
    #[arg(long, value_name = "UUID")]
    by: Option<ActorId>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Reason {
    /// A mistake in what was booked
    Correction,
    /// Something that belongs into the period came in after its close
    LateInvoice,
    /// Auditors ask for it
    Audit,
}

impl From<Reason> for ReopenReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Correction => ReopenReason::Correction,
            Reason::LateInvoice => ReopenReason::LateInvoice,
            Reason::Audit => ReopenReason::Audit,
        }
    }
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    let (work, who) = match args.command {
        Command::List { tenant, limit } => return list(tenant, limit, config).await,
        Command::Open { zone, who } => (BooksWork::Open { zone }, who),
        Command::Close { through, who } => (BooksWork::Close { through }, who),
        Command::Reopen { from, reason, who } => (BooksWork::Reopen { from, reason: reason.into() }, who),
    };
    let request = BooksRequest { tenant: who.tenant, by: who.by, work: work.clone() };
    let answer = admin_socket::carry_out(config, AdminRequest::Books(request)).await?;
    let done: BooksAnswer = serde_json::from_value(answer.clone())?;
    if let Some(refused) = &done.refused {
        super::say_refused(config, &refused.code, &refused.message);
        return Ok(ExitCode::FAILURE);
    }
    if config.json {
        output::json_line(&json!({
            "tenant": done.tenant, "changed": done.changed, "zone": done.zone, "closed_through": done.closed_through,
        }))?;
    } else {
        output::line(said(&work, &done))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What was done, for people.
fn said(work: &BooksWork, done: &BooksAnswer) -> String {
    let open_from = done.closed_through.and_then(|closed| closed.tomorrow().ok());
    match (work, done.changed) {
        (BooksWork::Open { .. }, true) => {
            format!("The books are open. Their dates are told in {}.", done.zone.as_deref().unwrap_or("UTC"))
        }
        (BooksWork::Close { through }, true) => {
            let late = open_from.map(|day| format!(" What still comes for these days is booked on {day}."));
            format!("The books are closed through {through}.{}", late.unwrap_or_default())
        }
        (BooksWork::Reopen { .. }, true) => match open_from {
            Some(day) => format!("The books are open again from {day} on."),
            None => "Every day of the books is open again.".to_owned(),
        },
        (BooksWork::Open { .. } | BooksWork::Close { .. } | BooksWork::Reopen { .. }, false) => {
            "It was so already; nothing was changed.".to_owned()
        }
    }
}

/// What is known of a tenant's periods.
struct Known {
    tenant: TenantId,
    books: Option<OpenBooks>,
    periods: Vec<Period>,
}

fn read(snapshot: &Snapshot<'_>, said: Option<TenantId>, limit: u32) -> anyhow::Result<Known> {
    let tenant = tenant_of_books(snapshot, said)?;
    let periods = snapshot.fetch("WHERE tenant = ?1 ORDER BY number DESC LIMIT ?2", args![tenant, limit])?;
    Ok(Known { tenant, books: periods::of_tenant(snapshot, tenant)?, periods })
}

async fn list(tenant: Option<TenantId>, limit: u32, config: &Config) -> anyhow::Result<ExitCode> {
    let views = Reading::open(config).await?.views().await?;
    let (known, position, since) = views
        .read(move |snapshot| {
            let known = read(snapshot, tenant, limit);
            Ok((known, snapshot.position(), super::incomplete(snapshot, "journal")))
        })
        .await?;
    let Known { tenant, books, periods } = known?;
    if config.json {
        let periods: Vec<Value> = periods.iter().map(as_json).collect();
        output::json_line(&json!({
            "position": position, "incomplete_since": since, "tenant": tenant,
            "zone": books.as_ref().and_then(|books| books.zone.0.iana_name()),
            "closed_through": books.as_ref().and_then(|books| books.closed_through), "periods": periods,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(books) = books else {
        output::line("The books are not opened: their dates are told in UTC, and `tiffin periods open` opens them.")?;
        return Ok(ExitCode::SUCCESS);
    };
    let mut table = output::table(["period", "from", "through", "closed at", "by", "now"]);
    for period in &periods {
        let now = match (period.reopened_at, period.reason) {
            (Some(at), reason) => {
                format!("open again since {} ({})", output::time(at), reason.map_or("", ReopenReason::name))
            }
            (None, _) => "closed".to_owned(),
        };
        table.add_row([
            period.number.to_string(),
            period.first_day.map(|day| day.to_string()).unwrap_or_default(),
            period.last_day.to_string(),
            output::time(period.closed_at),
            period.closed_by.to_string(),
            now,
        ]);
    }
    output::right(&mut table, &[0]);
    if !periods.is_empty() {
        output::line(table)?;
    }
    let zone = books.zone.0.iana_name().unwrap_or("UTC").to_owned();
    match books.closed_through {
        Some(day) => output::line(format_args!("The books are closed through {day}, told in {zone}."))?,
        None => output::line(format_args!("No day of the books is closed. They are told in {zone}."))?,
    }
    super::warn_incomplete(since);
    Ok(ExitCode::SUCCESS)
}

fn as_json(period: &Period) -> Value {
    json!({
        "number": period.number, "from": period.first_day, "through": period.last_day, "closed_at": period.closed_at,
        "closed_by": period.closed_by, "position": period.position, "reopened_at": period.reopened_at,
        "reopened_by": period.reopened_by, "reason": period.reason.map(ReopenReason::name),
    })
}
