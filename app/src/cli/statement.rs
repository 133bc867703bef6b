//! `tiffin statement`: an account over some days, with its balance after each entry.

use std::process::ExitCode;

use domain::{Currency, TenantId, postings::LedgerAccount};
use jiff::tz::TimeZone;
use projections::{
    Snapshot, ViewError, periods,
    statements::{self, Cursor, Days, Line, PeriodBalance},
};
use serde_json::{Value, json};

use crate::{
    cli::days::{DaysArgs, tenant_of_books},
    config::Config,
    output,
    spreadsheet::{Cell, Column, Files, Tables, code, sides},
    wiring::Reading,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Whose: bank, prepaid, wallet:UUID, canteen:UUID, …
    account: LedgerAccount,
    #[command(flatten)]
    days: DaysArgs,
    /// Only in this currency, an ISO 4217 code
    #[arg(long, value_name = "CODE")]
    currency: Option<Currency>,
    /// Whose books [default: the only ones there are]
    #[arg(long, value_name = "UUID")]
    tenant: Option<TenantId>,
    /// How many entries of a currency at most; a file has all of them
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    #[command(flatten)]
    files: Files,
}

/// Lines that are read at once.
const PAGE: usize = 1_000;

const COLUMNS: &[Column] = &[
    ("booked on", 12),
    ("late", 6),
    ("occurred at", 20),
    ("event", 24),
    ("debit", 16),
    ("credit", 16),
    ("balance", 16),
    ("currency", 9),
    ("position", 12),
    ("line", 6),
    ("about", 38),
    ("what", 30),
];

/// An account in one currency: the sums of the days, and the first of their lines.
struct Statement {
    sums: PeriodBalance,
    lines: Vec<Line>,
    /// Whether there are more.
    more: bool,
}

/// What was asked about, and what was found: the statements, or how many rows files have now.
struct Found {
    tenant: TenantId,
    zone: TimeZone,
    statements: Vec<Statement>,
    rows: u64,
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    let days = args.days.read()?;
    let views = Reading::open(config).await?.views().await?;
    let (account, asked, files) = (args.account, args.days, args.files.clone());
    let (found, position, since) = views
        .read(move |snapshot| {
            Ok((find(snapshot, &args, days), snapshot.position(), super::incomplete(snapshot, "journal")))
        })
        .await?;
    let found = found?;
    if config.json {
        let statements: Vec<Value> = found.statements.iter().map(as_json).collect();
        output::json_line(&json!({
            "position": position, "incomplete_since": since, "tenant": found.tenant, "account": account,
            "from": asked.from, "to": asked.to, "zone": found.zone.iana_name(),
            "rows_written": files.are_wanted().then_some(found.rows), "statements": statements,
        }))?;
    } else if files.are_wanted() {
        output::line(format_args!("{} rows were written.", output::count(found.rows)))?;
    } else {
        show(&found, account, asked)?;
    }
    super::warn_incomplete(since);
    Ok(ExitCode::from(u8::from(since.is_some())))
}

fn find(snapshot: &Snapshot<'_>, args: &Args, days: Days) -> anyhow::Result<Found> {
    let tenant = tenant_of_books(snapshot, args.tenant)?;
    let zone = periods::zone(snapshot, tenant)?;
    let mut of_currencies = statements::of_account(snapshot, tenant, args.account, days)?;
    of_currencies.retain(|sums| args.currency.is_none_or(|currency| currency == sums.currency));
    if args.files.are_wanted() {
        let rows = write(snapshot, args, &of_currencies, days, zone.clone())?;
        return Ok(Found { tenant, zone, statements: vec![], rows });
    }
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let statement = |sums: PeriodBalance| {
        // One more, to know whether there are more.
        let of = (sums.account, sums.currency);
        let mut lines = statements::lines(snapshot, tenant, of, days, None, limit.saturating_add(1))?;
        let more = lines.len() > limit;
        lines.truncate(limit);
        Ok(Statement { sums, lines, more })
    };
    let statements = of_currencies.into_iter().map(statement).collect::<Result<Vec<_>, ViewError>>()?;
    Ok(Found { tenant, zone, statements, rows: 0 })
}

/// Writes every line, with the balance that the days begin with in front: a sheet for each currency.
fn write(
    snapshot: &Snapshot<'_>,
    args: &Args,
    of_currencies: &[PeriodBalance],
    days: Days,
    zone: TimeZone,
) -> anyhow::Result<u64> {
    let mut tables = Tables::begin(&args.files, COLUMNS, zone)?;
    if of_currencies.is_empty() {
        tables.sheet("statement")?;
    }
    for sums in of_currencies {
        tables.sheet(&format!("statement {}", sums.currency))?;
        tables.row(&carried(sums, args.days))?;
        let mut after: Option<Cursor> = None;
        let of = (sums.account, sums.currency);
        while let page = statements::lines(snapshot, sums.tenant, of, days, after, PAGE)?
            && let Some(last) = page.last()
        {
            after = Some(Cursor::from(&last.entry));
            page.iter().try_for_each(|line| tables.row(&cells(line)))?;
        }
    }
    tables.finish()
}

/// The row with the opening balance.
fn carried(sums: &PeriodBalance, days: DaysArgs) -> [Cell<'static>; 12] {
    let mut cells = [const { Cell::Nothing }; 12];
    if let Some(from) = days.from {
        cells[0] = Cell::Date(from);
    }
    cells[3] = "balance carried forward".into();
    cells[6] = Cell::Amount(sums.opening());
    cells[7] = code(sums.currency);
    cells
}

fn cells(line: &Line) -> [Cell<'_>; 12] {
    let entry = &line.entry;
    let [debit, credit] = sides(entry.amount());
    [
        Cell::Date(entry.booking_date),
        Cell::Truth(entry.late),
        Cell::Time(entry.occurred_at),
        entry.event.as_str().into(),
        debit,
        credit,
        Cell::Amount(line.balance),
        code(entry.currency),
        Cell::Count(entry.position),
        Cell::Count(entry.line.into()),
        entry.correlation.to_string().into(),
        line.title().into(),
    ]
}

fn show(found: &Found, account: LedgerAccount, days: DaysArgs) -> anyhow::Result<()> {
    if found.statements.is_empty() {
        return output::line(format_args!("Nothing had been booked on {account} by then."));
    }
    for Statement { sums, lines, more } in &found.statements {
        let amount = |money: domain::Money| format!("{} {}", money.to_decimal(), money.currency);
        output::line(format_args!("{account} {}: opening balance {}", days.shown(), amount(sums.opening())))?;
        let mut table = output::table(["booked on", "occurred at", "what", "event", "debit", "credit", "balance"]);
        for line in lines {
            let [debit, credit] = sides(line.entry.amount()).map(|side| match side {
                Cell::Amount(amount) => amount.to_decimal().to_string(),
                _ => String::new(),
            });
            let late = if line.entry.late { ", late" } else { "" };
            table.add_row([
                format!("{}{late}", line.entry.booking_date),
                output::time(line.entry.occurred_at),
                line.title().to_owned(),
                line.entry.event.clone(),
                debit,
                credit,
                line.balance.to_decimal().to_string(),
            ]);
        }
        output::right(&mut table, &[4, 5, 6]);
        output::line(table)?;
        if *more {
            output::line(" … and more; --limit shows them, and a file has all")?;
        }
        output::line(format_args!(
            "Debits {}, credits {}, closing balance {}.",
            sums.debits().to_decimal(),
            sums.credits().to_decimal(),
            amount(sums.closing())
        ))?;
    }
    Ok(())
}

fn as_json(statement: &Statement) -> Value {
    let Statement { sums, lines, more } = statement;
    let line = |line: &Line| {
        json!({
            "booking_date": line.entry.booking_date, "late": line.entry.late, "position": line.entry.position,
            "line": line.entry.line, "event": line.entry.event, "what": line.title(), "occurred_at": line.entry.occurred_at,
            "amount_minor": line.entry.amount_minor, "balance_minor": line.balance.minor,
            "correlation": line.entry.correlation, "reason": line.entry.reason,
        })
    };
    json!({
        "currency": sums.currency, "opening_minor": sums.opening_minor, "debits_minor": sums.debits_minor,
        "credits_minor": sums.credits_minor, "closing_minor": sums.closing().minor,
        "lines": lines.iter().map(line).collect::<Vec<_>>(), "more": more,
    })
}
