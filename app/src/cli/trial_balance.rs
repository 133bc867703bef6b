//! `tiffin trial-balance`.

use std::process::ExitCode;

use domain::{Currency, Money, TenantId};
use projections::{
    Snapshot, ViewError, args,
    as_of::{AsOfError, books},
    balances::TrialBalance,
};
use serde_json::{Value, json};

use crate::{
    cli::{
        as_of::{self, AsOfArgs, Asked},
        period_balance,
    },
    config::{Config, usage},
    output,
    wiring::Reading,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this tenant's books
    #[arg(long, value_name = "UUID")]
    tenant: Option<TenantId>,
    #[command(flatten)]
    as_of: AsOfArgs,
    #[command(flatten)]
    accounts: period_balance::AccountsArgs,
}

/// The trial balance of one tenant or of all, and since when it is incomplete.
pub fn read(snapshot: &Snapshot<'_>, tenant: Option<TenantId>) -> Result<Vec<TrialBalance>, ViewError> {
    let sql = "SELECT tenant, currency, count(*), sum(debits_minor), sum(credits_minor), sum(balance_minor)
               FROM {balances} WHERE ?1 IS NULL OR tenant = ?1 GROUP BY tenant, currency ORDER BY tenant, currency";
    snapshot.query(sql, args![tenant], |row| {
        let currency: Currency = row.get(1)?;
        Ok(TrialBalance {
            tenant: row.get(0)?,
            currency,
            accounts: row.get(2)?,
            debits: Money::new(row.get(3)?, currency),
            credits: Money::new(row.get(4)?, currency),
            balance: Money::new(row.get(5)?, currency),
        })
    })
}

/// As [`read`], as it was.
fn read_as_of(snapshot: &Snapshot<'_>, tenant: Option<TenantId>, asked: Asked) -> Result<Vec<TrialBalance>, AsOfError> {
    let tenants = match tenant {
        Some(tenant) => vec![tenant],
        None => books::tenants(snapshot)?,
    };
    let books = tenants.into_iter().map(|tenant| books::trial_balance(snapshot, tenant, asked.moment));
    Ok(books.collect::<Result<Vec<_>, _>>()?.concat())
}

/// One row as programs get it.
pub fn as_json(row: &TrialBalance) -> Value {
    json!({
        "tenant": row.tenant, "currency": row.currency.code(), "accounts": row.accounts,
        "debits_minor": row.debits.minor, "credits_minor": row.credits.minor, "balance_minor": row.balance.minor,
    })
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    if args.accounts.are_said() {
        if args.as_of.is_said() {
            return Err(usage("accounts are shown by booking date: ask with --from and --to, not with --as-of"));
        }
        return period_balance::run(args.tenant, args.accounts, config).await;
    }
    let reading = Reading::open(config).await?;
    let views = reading.views().await?;
    let asked = args.as_of.reached(&reading.store).await?;
    let (rows, position, since) = views
        .read(move |snapshot| {
            let (rows, view) = match asked {
                Some(asked) => (read_as_of(snapshot, args.tenant, asked), "journal"),
                None => (Ok(read(snapshot, args.tenant)?), "balances"),
            };
            Ok((rows, snapshot.position(), as_of::incomplete(snapshot, view, asked)))
        })
        .await?;
    let rows = rows.map_err(as_of::explained)?;
    let balanced = rows.iter().all(|row| row.balance.is_zero());
    if config.json {
        let books: Vec<Value> = rows.iter().map(as_json).collect();
        output::json_line(&json!({
            "position": position, "as_of": as_of::as_json(asked), "incomplete_since": since, "balanced": balanced, "books": books,
        }))?;
    } else {
        let mut table = output::table(["tenant", "currency", "accounts", "debits", "credits", "difference"]);
        for row in &rows {
            table.add_row([
                row.tenant.to_string(),
                row.currency.to_string(),
                output::count(row.accounts),
                row.debits.to_decimal().to_string(),
                row.credits.to_decimal().to_string(),
                row.balance.to_decimal().to_string(),
            ]);
        }
        output::right(&mut table, &[2, 3, 4, 5]);
        output::line(table)?;
        let verdict = if balanced { "The books balance." } else { "THE BOOKS DO NOT BALANCE." };
        output::line(format_args!("{}. {verdict}", as_of::shown(asked, position)))?;
        super::warn_incomplete(since);
    }
    Ok(ExitCode::from(u8::from(!balanced || since.is_some())))
}
