//! `tiffin balances`.

use std::{
    collections::BTreeMap,
    io::{BufWriter, Write},
    process::ExitCode,
};

use domain::{Currency, Money, TenantId, postings::LedgerAccount};
use projections::{
    Snapshot, args,
    as_of::books::{self, Accounts},
    balances::Balance,
};
use serde_json::json;

use crate::{
    cli::as_of::{self, AsOfArgs, Asked},
    config::Config,
    output,
    wiring::Reading,
};

/// Rows that are read at once.
const PAGE: usize = 1_000;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this tenant's books
    #[arg(long, value_name = "UUID")]
    tenant: Option<TenantId>,
    /// Only accounts whose name begins so: bank, canteen:, wallet:UUID
    #[arg(long, value_name = "PREFIX")]
    account: Option<String>,
    /// List each diner's account, instead of one sum for all of a kind
    #[arg(long)]
    each: bool,
    #[command(flatten)]
    as_of: AsOfArgs,
}

/// What is asked, and about which moment.
struct Question {
    args: Args,
    asked: Option<Asked>,
}

impl Question {
    /// The view that knows.
    fn view(&self) -> &'static str {
        if self.asked.is_some() { "journal" } else { "balances" }
    }
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    let reading = Reading::open(config).await?;
    let views = reading.views().await?;
    let json = config.json;
    let question = Question { asked: args.as_of.reached(&reading.store).await?, args };
    // Everything from one snapshot, so that the balances belong together.
    views
        .read(move |snapshot| Ok(if json { write_json(snapshot, &question) } else { write_table(snapshot, &question) }))
        .await??;
    Ok(ExitCode::SUCCESS)
}

/// Gives every balance that was asked for to `take`, in the order of tenant, account and currency.
fn each(
    snapshot: &Snapshot<'_>,
    question: &Question,
    mut take: impl FnMut(Balance) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let asked = &question.args;
    if let Some(Asked { moment, .. }) = question.asked {
        let tenants = match asked.tenant {
            Some(tenant) => vec![tenant],
            None => books::tenants(snapshot)?,
        };
        for tenant in tenants {
            let mut accounts = Accounts { prefix: asked.account.clone(), after: None };
            while let page = books::balances(snapshot, tenant, &accounts, PAGE, moment).map_err(as_of::explained)?
                && let Some(last) = page.last()
            {
                accounts.after = Some((last.account, last.currency));
                page.into_iter().try_for_each(&mut take)?;
            }
        }
        return Ok(());
    }
    let mut after: Option<(TenantId, LedgerAccount, Currency)> = None;
    loop {
        let (tenant, account, currency) = match after {
            Some((tenant, account, currency)) => (Some(tenant), Some(account), Some(currency)),
            None => (None, None, None),
        };
        let page: Vec<Balance> = snapshot.fetch(
            "WHERE (?1 IS NULL OR tenant = ?1) AND (?2 IS NULL OR (tenant, account, currency) > (?2, ?3, ?4))
             ORDER BY tenant, account, currency LIMIT ?5",
            args![asked.tenant, tenant, account, currency, PAGE],
        )?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some((last.tenant, last.account, last.currency));
        for balance in page {
            if asked.account.as_ref().is_none_or(|prefix| balance.account.to_string().starts_with(prefix)) {
                take(balance)?;
            }
        }
    }
}

fn write_json(snapshot: &Snapshot<'_>, question: &Question) -> anyhow::Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    as_of::begin_json(&mut out, snapshot, question.view(), question.asked)?;
    write!(out, ",\"balances\":[")?;
    let mut separator = "";
    each(snapshot, question, |balance| {
        let row = json!({
            "tenant": balance.tenant, "account": balance.account, "currency": balance.currency,
            "balance_minor": balance.balance_minor, "debits_minor": balance.debits_minor,
            "credits_minor": balance.credits_minor,
        });
        write!(out, "{separator}{row}")?;
        separator = ",";
        Ok(())
    })?;
    writeln!(out, "]}}")?;
    out.flush()?;
    Ok(())
}

/// Sums of the accounts that a line of the table stands for.
#[derive(Default)]
struct Line {
    accounts: u64,
    balance: i128,
    debits: i128,
    credits: i128,
}

fn write_table(snapshot: &Snapshot<'_>, question: &Question) -> anyhow::Result<()> {
    let single = question.args.each || question.args.account.is_some();
    let mut lines: BTreeMap<(TenantId, String, Currency), Line> = BTreeMap::new();
    each(snapshot, question, |balance| {
        let name = match balance.account {
            LedgerAccount::Limited(account) if !single && account.diner().is_some() => {
                let name = account.to_string();
                format!("{}:*", name.split(':').next().unwrap_or_default())
            }
            other => other.to_string(),
        };
        let line = lines.entry((balance.tenant, name, balance.currency)).or_default();
        line.accounts += 1;
        line.balance += i128::from(balance.balance_minor);
        line.debits += i128::from(balance.debits_minor);
        line.credits += i128::from(balance.credits_minor);
        Ok(())
    })?;
    let several = lines.keys().next().map(|key| key.0) != lines.keys().next_back().map(|key| key.0);
    let mut tenant = None;
    let mut table = output::table(["account", "accounts", "debits", "credits", "balance", "currency"]);
    for ((of, name, currency), line) in lines {
        if several && tenant != Some(of) {
            table.add_row([format!("tenant {of}")]);
            tenant = Some(of);
        }
        let shown = |minor: i128| -> String {
            i64::try_from(minor)
                .map_or_else(|_| format!("{minor} minor"), |minor| Money::new(minor, currency).to_decimal().to_string())
        };
        table.add_row([
            name,
            output::count(line.accounts),
            shown(line.debits),
            shown(line.credits),
            shown(line.balance),
            currency.to_string(),
        ]);
    }
    output::right(&mut table, &[1, 2, 3, 4]);
    output::line(table)?;
    let moment = as_of::shown(question.asked, snapshot.position());
    output::line(format_args!("{moment}. A balance is credits less debits."))?;
    super::warn_incomplete(as_of::incomplete(snapshot, question.view(), question.asked));
    Ok(())
}
