//! `tiffin accounts`: money into and out of accounts with a limit, and what may be done with them.

use std::process::ExitCode;

use domain::{
    AccountId, ActorId, PayoutId, TenantId, account::AdjustReason, books::DeductionOrder, correction::Reference,
    top_up::Source,
};
use projections::{
    PageSize,
    payouts::{self, Status},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    cli::{days::tenant_of_books, fix},
    config::Config,
    finance::{FinanceRequest, FinanceWork, NewMoney},
    output,
    wiring::Reading,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// Whose they are [default: the only tenant there is]
    #[arg(long, value_name = "UUID", global = true)]
    tenant: Option<TenantId>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Bring money into an account; the first opens it
    TopUp {
        #[command(flatten)]
        money: MoneyArgs,
        /// Where the money is
        #[arg(long, value_name = "SOURCE", default_value = "bank")]
        source: From,
    },
    /// Set money aside that the bank is to pay to the account's owner
    PayOut {
        #[command(flatten)]
        money: MoneyArgs,
    },
    /// The bank has paid a payout
    Confirm {
        payout: PayoutId,
        #[command(flatten)]
        who: Who,
    },
    /// Give a payout up: its money is available again
    Cancel {
        payout: PayoutId,
        #[command(flatten)]
        who: Who,
    },
    /// List payouts, the latest first
    Payouts {
        /// Only those that the bank has to pay
        #[arg(long)]
        open: bool,
    },
    /// List top-ups, the latest first
    TopUps {
        /// Only those that their accounts could not take: the money has to go back
        #[arg(long)]
        failed: bool,
    },
    /// Correct a balance: at once within the limit, else a second person applies it
    Adjust {
        #[command(flatten)]
        money: MoneyArgs,
        /// What for
        #[arg(long, value_name = "REASON")]
        reason: Reason,
        /// A ticket or voucher, such as FIN-1042
        #[arg(long, value_name = "REFERENCE")]
        reference: Option<Reference>,
    },
    /// Say which of a diner's balances pays for an order first; what is short a provider pays
    DeductFirst {
        balance: Balance,
        #[command(flatten)]
        who: Who,
    },
    /// Let nothing be spent from an account
    Freeze {
        account: AccountId,
        #[command(flatten)]
        who: Who,
    },
    /// Let an account be spent from again
    Unfreeze {
        account: AccountId,
        #[command(flatten)]
        who: Who,
    },
    /// End an account, which has nothing any more
    Close {
        account: AccountId,
        #[command(flatten)]
        who: Who,
    },
}

#[derive(Debug, clap::Args)]
struct MoneyArgs {
    /// wallet:UUID, subsidy:UUID or company:UUID
    account: AccountId,
    /// In major units, with the currency: "12.50 CNY"
    #[arg(allow_hyphen_values = true)]
    amount: String,
    /// A UUID of your own making; the same again is the same request
    #[arg(long, value_name = "UUID")]
    key: Uuid,
    #[command(flatten)]
    who: Who,
}

impl MoneyArgs {
    fn read(&self) -> anyhow::Result<NewMoney> {
        Ok(NewMoney { account: self.account, amount: super::amount(&self.amount)?, key: self.key })
    }
}

#[derive(Debug, clap::Args)]
struct Who {
    /// Who asks for it; the events name them
    #[arg(long, value_name = "UUID")]
    actor: ActorId,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum From {
    /// On the operator's bank account
    Bank,
    /// In a canteen's till
    Counter,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Balance {
    /// As it is at first: the lots that end first, then what is in no lot
    Subsidy,
    Wallet,
}

impl std::convert::From<Balance> for DeductionOrder {
    fn from(balance: Balance) -> Self {
        match balance {
            Balance::Subsidy => DeductionOrder::SubsidyFirst,
            Balance::Wallet => DeductionOrder::WalletFirst,
        }
    }
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Reason {
    /// A mistake in an earlier booking
    Correction,
    /// Found when the books were reconciled
    Reconciliation,
    /// A kindness of the operator
    Goodwill,
}

impl std::convert::From<Reason> for AdjustReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Correction => AdjustReason::Correction,
            Reason::Reconciliation => AdjustReason::Reconciliation,
            Reason::Goodwill => AdjustReason::Goodwill,
        }
    }
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    let tenant = args.tenant;
    let (who, work) = match args.command {
        Command::TopUp { money, source } => {
            let source = match source {
                From::Bank => Source::Bank,
                From::Counter => Source::Counter,
            };
            let new = money.read()?;
            (money.who, FinanceWork::TopUp { new, source })
        }
        Command::PayOut { money } => {
            let new = money.read()?;
            (money.who, FinanceWork::PayOut(new))
        }
        Command::Adjust { money, reason, reference } => {
            let new = money.read()?;
            (money.who, FinanceWork::Adjust { new, reason: reason.into(), reference })
        }
        Command::Confirm { payout, who } => (who, FinanceWork::Confirm(payout)),
        Command::Cancel { payout, who } => (who, FinanceWork::Cancel(payout)),
        Command::DeductFirst { balance, who } => (who, FinanceWork::DeductionOrder(balance.into())),
        Command::Freeze { account, who } => (who, FinanceWork::Freeze(account)),
        Command::Unfreeze { account, who } => (who, FinanceWork::Unfreeze(account)),
        Command::Close { account, who } => (who, FinanceWork::Close(account)),
        Command::TopUps { failed } => return super::top_ups::run(tenant, failed, config).await,
        Command::Payouts { open } => return list(tenant, open, config).await,
    };
    fix::carry_out(config, FinanceRequest { tenant, by: who.actor, work }).await
}

async fn list(tenant: Option<TenantId>, open: bool, config: &Config) -> anyhow::Result<ExitCode> {
    let views = Reading::open(config).await?.views().await?;
    let status = open.then_some(Status::Held);
    let rows = views
        .read(move |snapshot| {
            let tenant = tenant_of_books(snapshot, tenant);
            Ok(tenant.map(|tenant| payouts::list(snapshot, tenant, (None, status), None, PageSize::MAX)))
        })
        .await???;
    super::warn_cut(&rows, PageSize::MAX.get());
    if config.json {
        let rows = rows.iter().map(|row| {
            json!({
                "tenant": row.tenant, "payout": row.payout, "account": row.account, "amount_minor": row.amount_minor,
                "currency": row.currency, "status": row.status.name(), "reason": row.reason.map(|why| why.name()),
                "requested_by": row.requested_by, "requested_at": row.requested_at, "ended_by": row.ended_by,
                "ended_at": row.ended_at,
            })
        });
        output::json_line(&json!({ "payouts": rows.collect::<Vec<Value>>() }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(["requested", "payout", "account", "amount", "status", "ended by"]);
    for row in &rows {
        table.add_row([
            output::time(row.requested_at),
            row.payout.to_string(),
            row.account.to_string(),
            row.amount().to_string(),
            row.status.name().to_owned(),
            row.ended_by.map(|by| by.to_string()).unwrap_or_default(),
        ]);
    }
    output::right(&mut table, &[3]);
    output::line(table)?;
    Ok(ExitCode::SUCCESS)
}
