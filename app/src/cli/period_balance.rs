//! `tiffin trial-balance` by account: what each had before some days, what they brought, and what it had
//! after them.

use std::{collections::BTreeMap, process::ExitCode};

use domain::{Currency, Money, TenantId, postings::LedgerAccount};
use projections::{
    Snapshot,
    as_of::books::Accounts,
    periods,
    statements::{self, Days, PeriodBalance},
};
use serde_json::{Value, json};

use crate::{
    cli::days::{DaysArgs, tenant_of_books},
    config::Config,
    output,
    spreadsheet::{Cell, Column, Files, Tables, code},
    wiring::Reading,
};

#[derive(Clone, Debug, clap::Args)]
pub struct AccountsArgs {
    #[command(flatten)]
    pub days: DaysArgs,
    /// Only accounts whose name begins so: bank, canteen:, wallet:UUID
    #[arg(long, value_name = "PREFIX")]
    pub account: Option<String>,
    /// List each diner's account, instead of one sum for all of a kind
    #[arg(long)]
    pub each: bool,
    #[command(flatten)]
    pub files: Files,
}

impl AccountsArgs {
    /// Whether it is accounts that are asked for.
    pub fn are_said(&self) -> bool {
        self.days.are_said() || self.account.is_some() || self.each || self.files.are_wanted()
    }
}

/// Accounts that are read at once.
const PAGE: usize = 1_000;

const COLUMNS: &[Column] =
    &[("account", 46), ("currency", 9), ("opening", 18), ("debits", 18), ("credits", 18), ("closing", 18)];

/// A line of the balance: an account, or all of a kind.
struct Line {
    name: String,
    currency: Currency,
    opening: i64,
    debits: i64,
    credits: i64,
}

impl Line {
    fn add(&mut self, sums: &PeriodBalance) -> anyhow::Result<()> {
        for (sum, part) in [
            (&mut self.opening, sums.opening_minor),
            (&mut self.debits, sums.debits_minor),
            (&mut self.credits, sums.credits_minor),
        ] {
            *sum = sum.checked_add(part).ok_or_else(|| anyhow::anyhow!("a sum has left the range of amounts"))?;
        }
        Ok(())
    }

    fn closing(&self) -> i64 {
        self.opening.saturating_add(self.credits.saturating_sub(self.debits))
    }

    fn amounts(&self) -> [Money; 4] {
        [self.opening, self.debits, self.credits, self.closing()].map(|minor| Money::new(minor, self.currency))
    }

    fn as_json(&self) -> Value {
        json!({
            "account": self.name, "currency": self.currency, "opening_minor": self.opening,
            "debits_minor": self.debits, "credits_minor": self.credits, "closing_minor": self.closing(),
        })
    }
}

/// What was found: the sums of all, and of each line; or how many rows files have now.
struct Found {
    tenant: TenantId,
    totals: BTreeMap<Currency, Line>,
    lines: Vec<Line>,
    rows: u64,
}

impl Found {
    /// Nothing when only some accounts were asked for, which need not balance.
    fn balanced(&self, args: &AccountsArgs) -> Option<bool> {
        let balanced = |total: &Line| total.opening == 0 && total.debits == total.credits;
        args.account.is_none().then(|| self.totals.values().all(balanced))
    }
}

pub async fn run(tenant: Option<TenantId>, args: AccountsArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let days = args.days.read()?;
    let views = Reading::open(config).await?.views().await?;
    let asked = args.clone();
    let (found, position, since) = views
        .read(move |snapshot| {
            let found = find(snapshot, tenant, &args, days);
            Ok((found, snapshot.position(), super::incomplete(snapshot, "journal")))
        })
        .await?;
    let found = found?;
    let balanced = found.balanced(&asked);
    if config.json {
        output::json_line(&json!({
            "position": position, "incomplete_since": since, "tenant": found.tenant, "from": asked.days.from,
            "to": asked.days.to, "balanced": balanced,
            "totals": found.totals.values().map(Line::as_json).collect::<Vec<_>>(),
            "accounts": found.lines.iter().map(Line::as_json).collect::<Vec<_>>(),
            "rows_written": asked.files.are_wanted().then_some(found.rows),
        }))?;
    } else if asked.files.are_wanted() {
        output::line(format_args!("{} rows were written.", output::count(found.rows)))?;
    } else {
        show(&found, asked.days)?;
    }
    match balanced {
        Some(true) if !config.json => output::line("The books balance.")?,
        Some(false) if !config.json => output::line("THE BOOKS DO NOT BALANCE.")?,
        _ => {}
    }
    super::warn_incomplete(since);
    Ok(ExitCode::from(u8::from(balanced == Some(false) || since.is_some())))
}

fn find(snapshot: &Snapshot<'_>, said: Option<TenantId>, args: &AccountsArgs, days: Days) -> anyhow::Result<Found> {
    let tenant = tenant_of_books(snapshot, said)?;
    let mut found = Found { tenant, totals: BTreeMap::new(), lines: vec![], rows: 0 };
    let mut lines: BTreeMap<(&'static str, String), Line> = BTreeMap::new();
    let mut asked = Accounts { prefix: args.account.clone(), after: None };
    while let page = statements::balances(snapshot, tenant, days, &asked, PAGE)?
        && let Some(last) = page.last()
    {
        asked.after = Some((last.account, last.currency));
        for sums in &page {
            let name = name(sums.account, args);
            let new = |name| Line { name, currency: sums.currency, opening: 0, debits: 0, credits: 0 };
            let total = found.totals.entry(sums.currency).or_insert_with(|| new("all accounts".to_owned()));
            total.add(sums)?;
            lines.entry((sums.currency.code(), name.clone())).or_insert_with(|| new(name)).add(sums)?;
        }
    }
    found.lines = lines.into_values().collect();
    if args.files.are_wanted() {
        found.rows = write(snapshot, &found, args)?;
        found.lines.clear();
    }
    Ok(found)
}

/// The account's own, or that of its kind.
fn name(account: LedgerAccount, args: &AccountsArgs) -> String {
    let single = args.each || args.account.is_some();
    match account {
        LedgerAccount::Limited(limited) if !single && limited.diner().is_some() => {
            let name = limited.to_string();
            format!("{}:*", name.split(':').next().unwrap_or_default())
        }
        other => other.to_string(),
    }
}

/// Writes the lines, a sheet for each currency.
fn write(snapshot: &Snapshot<'_>, found: &Found, args: &AccountsArgs) -> anyhow::Result<u64> {
    let mut tables = Tables::begin(&args.files, COLUMNS, periods::zone(snapshot, found.tenant)?)?;
    let mut sheet = None;
    for line in &found.lines {
        if sheet != Some(line.currency) {
            tables.sheet(&format!("trial balance {}", line.currency))?;
            sheet = Some(line.currency);
        }
        let [opening, debits, credits, closing] = line.amounts().map(Cell::Amount);
        tables.row(&[line.name.as_str().into(), code(line.currency), opening, debits, credits, closing])?;
    }
    if sheet.is_none() {
        tables.sheet("trial balance")?;
    }
    tables.finish()
}

fn show(found: &Found, days: DaysArgs) -> anyhow::Result<()> {
    let mut table = output::table(["account", "opening", "debits", "credits", "closing", "currency"]);
    for line in found.lines.iter().chain(found.totals.values()) {
        let [opening, debits, credits, closing] = line.amounts().map(|amount| amount.to_decimal().to_string());
        table.add_row([line.name.clone(), opening, debits, credits, closing, line.currency.to_string()]);
    }
    output::right(&mut table, &[1, 2, 3, 4]);
    output::line(table)?;
    output::line(format_args!("As booked {}. A balance is credits less debits.", days.shown()))
}
