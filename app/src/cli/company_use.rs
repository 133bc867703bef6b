//! `tiffin subsidies use --company`: what a company's subsidies paid for, as the company sees it.

use std::process::ExitCode;

use domain::{CompanyId, Currency, DinerId, Money, TenantId};
use jiff::{civil::Date, tz::TimeZone};
use projections::{
    Snapshot,
    company_use::{self, Asked, DayOfDiner},
    statements::Days,
};
use serde_json::{Value, json};

use crate::{
    cli::days::{DaysArgs, tenant_of_books},
    config::{Config, usage},
    output,
    spreadsheet::{Cell, Column, Files, Tables, code},
    wiring::Reading,
};

/// Days that are read at once.
const PAGE: usize = 1_000;
/// Most that are shown; a file has all of them.
const SHOWN: usize = 10_000;

const COLUMNS: &[Column] =
    &[("date", 12), ("diner", 38), ("orders", 8), ("spent", 16), ("currency", 9), ("dishes", 48)];

/// Whose use, and of which days.
#[derive(Clone, Debug)]
pub struct Use {
    pub tenant: Option<TenantId>,
    pub company: CompanyId,
    pub days: DaysArgs,
    pub files: Files,
}

pub async fn run(asked: Use, config: &Config) -> anyhow::Result<ExitCode> {
    let days = asked.days.read()?;
    let views = Reading::open(config).await?.views().await?;
    let (company, to_files) = (asked.company, asked.files.are_wanted());
    let (found, since) = views
        .read(move |snapshot| Ok((find(snapshot, &asked, days), super::incomplete(snapshot, "company_use"))))
        .await?;
    let (rows, written) = found?;
    if config.json {
        let rows: Vec<Value> = rows.iter().map(as_json).collect();
        let written = to_files.then_some(written);
        output::json_line(
            &json!({ "company": company, "incomplete_since": since, "rows_written": written, "days": rows }),
        )?;
    } else if to_files {
        output::line(format_args!("{} rows were written.", output::count(written)))?;
    } else {
        show(&rows)?;
    }
    super::warn_cut(&rows, SHOWN);
    super::warn_incomplete(since);
    Ok(ExitCode::SUCCESS)
}

/// The rows to show, or how many were written.
fn find(snapshot: &Snapshot<'_>, asked: &Use, Days { from, to }: Days) -> anyhow::Result<(Vec<DayOfDiner>, u64)> {
    let (tenant, company) = (tenant_of_books(snapshot, asked.tenant)?, asked.company);
    if !company_use::is_known(snapshot, tenant, company)? {
        return Err(usage(format!("there is no company {company} with a policy or an employee")));
    }
    let mut after: Option<(Date, DinerId, Currency)> = None;
    let mut next = || -> anyhow::Result<Vec<DayOfDiner>> {
        let page = company_use::days(snapshot, &Asked { tenant, company, from, to, after }, PAGE)?;
        after = page.last().map(|row| (row.day, row.diner, row.currency)).or(after);
        Ok(page)
    };
    if asked.files.are_wanted() {
        let mut tables = Tables::begin(&asked.files, COLUMNS, TimeZone::UTC)?;
        tables.sheet("use")?;
        while let page = next()?
            && !page.is_empty()
        {
            page.iter().try_for_each(|row| tables.row(&cells(row)))?;
        }
        return Ok((vec![], tables.finish()?));
    }
    let mut rows = Vec::new();
    while let page = next()?
        && !page.is_empty()
        && rows.len() < SHOWN
    {
        rows.extend(page);
    }
    rows.truncate(SHOWN);
    Ok((rows, 0))
}

fn cells(row: &DayOfDiner) -> [Cell<'static>; 6] {
    let dishes = row.dishes.as_ref().map_or(Cell::Nothing, |names| names.join(", ").into());
    [
        Cell::Date(row.day),
        row.diner.to_string().into(),
        Cell::Count(row.orders),
        Cell::Amount(Money::new(row.spent_minor, row.currency)),
        code(row.currency),
        dishes,
    ]
}

fn as_json(row: &DayOfDiner) -> Value {
    json!({
        "date": row.day, "diner": row.diner, "orders": row.orders, "spent_minor": row.spent_minor,
        "currency": row.currency.code(), "dishes": row.dishes,
    })
}

fn show(rows: &[DayOfDiner]) -> anyhow::Result<()> {
    let mut table = output::table(["date", "diner", "orders", "spent", "dishes"]);
    for row in rows {
        table.add_row([
            row.day.to_string(),
            row.diner.to_string(),
            output::count(row.orders),
            Money::new(row.spent_minor, row.currency).to_string(),
            row.dishes.as_ref().map_or_else(|| "not shown".to_owned(), |names| names.join(", ")),
        ]);
    }
    output::right(&mut table, &[2, 3]);
    output::line(table)
}
