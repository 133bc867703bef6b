//! The books: journal, balances, trial balance.

use async_graphql::{Context, Object, Result, SimpleObject, connection::Connection};
use domain::{Currency, TenantId, Timestamp, postings::LedgerAccount};
use projections::{
    PageSize, Snapshot, Views,
    as_of::{self, AsOfError, Moment, books},
    balances, journal,
};

use crate::{
    as_of::{AsOfInput, moment, warn_incomplete},
    caller::caller,
    consistency::Masks,
    errors::{Code, Failed, coded},
    paging,
    scalars::{BigInt, Date, DateTime, Money, Uuid},
};

/// One side of a booking.
#[derive(SimpleObject)]
pub(crate) struct JournalEntry {
    /// The account of the books, such as prepaid or wallet:….
    account: String,
    /// A credit is positive, a debit negative.
    amount: Money,
    /// The business time.
    occurred_at: DateTime,
    /// The day on which it is booked: the local date of its business time, or the first day that was
    /// open when it came.
    booking_date: Date,
    /// Whether it came after its own day was closed.
    late: bool,
    /// When the log took it.
    recorded_at: DateTime,
    /// The type of the event that moved the money, such as account.Captured.
    event: String,
    /// What it was all about: an order's UUID, for example.
    correlation: Uuid,
}

impl From<journal::Entry> for JournalEntry {
    fn from(row: journal::Entry) -> Self {
        JournalEntry {
            account: row.account.to_string(),
            amount: row.amount().into(),
            occurred_at: row.occurred_at.into(),
            booking_date: row.booking_date.into(),
            late: row.late,
            recorded_at: row.recorded_at.into(),
            correlation: row.correlation.into(),
            event: row.event,
        }
    }
}

/// An account of the books, in one currency.
#[derive(SimpleObject)]
pub(crate) struct LedgerBalance {
    /// Its name, such as prepaid or wallet:….
    account: String,
    /// Credits less debits.
    balance: Money,
    /// The sum of all debits, positive.
    debits: Money,
    /// The sum of all credits.
    credits: Money,
}

impl From<balances::Balance> for LedgerBalance {
    fn from(row: balances::Balance) -> Self {
        let money = |minor| Money::from(domain::Money::new(minor, row.currency));
        LedgerBalance {
            account: row.account.to_string(),
            balance: money(row.balance_minor),
            debits: money(row.debits_minor),
            credits: money(row.credits_minor),
        }
    }
}

/// All accounts of the books in one currency. They balance when `balance` is zero.
#[derive(SimpleObject)]
pub(crate) struct TrialBalance {
    /// The ISO 4217 code.
    currency: &'static str,
    /// How many accounts.
    accounts: BigInt,
    /// The sum of all debits, positive.
    debits: Money,
    /// The sum of all credits.
    credits: Money,
    /// Credits less debits.
    balance: Money,
}

impl From<balances::TrialBalance> for TrialBalance {
    fn from(row: balances::TrialBalance) -> Self {
        TrialBalance {
            currency: row.currency.code(),
            accounts: BigInt(i64::try_from(row.accounts).unwrap_or(i64::MAX)),
            debits: row.debits.into(),
            credits: row.credits.into(),
            balance: row.balance.into(),
        }
    }
}

/// A journal cursor as text: business time, masked position, line.
fn write_entry(masks: &Masks, tenant: TenantId, cursor: journal::Cursor) -> String {
    format!("{}.{}.{}", cursor.occurred_at.micros, masks.token(tenant, cursor.position), cursor.line)
}

fn read_entry(masks: &Masks, tenant: TenantId, text: &str) -> Option<journal::Cursor> {
    let mut parts = text.splitn(3, '.');
    let occurred_at = Timestamp::from_micros(parts.next()?.parse().ok()?);
    let position = masks.position(tenant, parts.next()?)?;
    Some(journal::Cursor { occurred_at, position, line: parts.next()?.parse().ok()? })
}

/// Which entries, and in which order.
enum Which {
    Latest,
    Account(LedgerAccount),
    /// From this instant up to, not including, that.
    Between(Timestamp, Timestamp),
}

fn which(account: Option<String>, from: Option<DateTime>, to: Option<DateTime>) -> Result<Which, Failed> {
    match (account, from, to) {
        (None, None, None) => Ok(Which::Latest),
        (Some(name), None, None) => {
            name.parse().map(Which::Account).map_err(|error| coded(Code::BadInput, error).at("account"))
        }
        (None, from, to) => {
            let from = from.map_or(Timestamp::from_micros(i64::MIN), |from| from.0);
            Ok(Which::Between(from, to.map_or(Timestamp::from_micros(i64::MAX), |to| to.0)))
        }
        (Some(_), _, _) => Err(coded(Code::BadInput, "ask for an account or for a time, not for both").at("account")),
    }
}

/// Asks about a moment that has been, on one snapshot.
async fn ask<T: Send + 'static>(
    views: &Views,
    question: impl FnOnce(&Snapshot<'_>) -> Result<T, AsOfError> + Send + 'static,
) -> Result<T, AsOfError> {
    views.read(move |snapshot| Ok(question(snapshot))).await?
}

async fn entries_as_of(
    views: &Views,
    tenant: TenantId,
    which: &Which,
    (after, size): (Option<journal::Cursor>, PageSize),
    moment: Moment,
) -> Result<Vec<journal::Entry>, AsOfError> {
    let size = size.get();
    let account = match *which {
        Which::Latest => None,
        Which::Account(account) => Some(account),
        Which::Between(from, to) => {
            let between = move |snapshot: &Snapshot<'_>| {
                as_of::journal::between(snapshot, tenant, (from, to), after, size, moment)
            };
            return ask(views, between).await;
        }
    };
    ask(views, move |snapshot| as_of::journal::latest(snapshot, tenant, account, after, size, moment)).await
}

/// A balances cursor as text: `account/currency`.
pub(crate) fn read_balance(text: &str) -> Option<(LedgerAccount, Currency)> {
    let (account, currency) = text.rsplit_once('/')?;
    Some((account.parse().ok()?, currency.parse().ok()?))
}

#[derive(Default)]
pub(crate) struct LedgerQuery;

#[Object]
impl LedgerQuery {
    /// The books' journal: the latest entries first, or those of one account, or those of a time in
    /// its order. For finance and auditors.
    #[expect(clippy::too_many_arguments, reason = "they are the field's")]
    async fn journal(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only of this account of the books, such as prepaid; newest first.")] account: Option<String>,
        #[graphql(desc = "From this business time on, in its order.")] from: Option<DateTime>,
        #[graphql(desc = "Up to this business time, not including it.")] to: Option<DateTime>,
        #[graphql(desc = "As it was; as it is now, if it is not said.")] as_of: Option<AsOfInput>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, JournalEntry>> {
        let caller = caller(ctx)?;
        let which = which(account, from, to)?;
        let (views, tenant, masks) = (caller.views(), caller.tenant(), &caller.service.masks);
        let after = paging::cursor(after.as_deref(), |text| read_entry(masks, tenant, text))?;
        let moment = moment(&caller, as_of).await?;
        warn_incomplete(ctx, &caller, "journal", moment).await?;
        let fetch = async |after, size| match (moment, &which) {
            (Some(moment), which) => entries_as_of(views, tenant, which, (after, size), moment).await,
            (None, Which::Latest) => Ok(journal::latest(views, tenant, after, size).await?),
            (None, Which::Account(account)) => Ok(journal::of_account(views, tenant, *account, after, size).await?),
            (None, Which::Between(from, to)) => Ok(journal::between(views, tenant, *from, *to, after, size).await?),
        };
        let page = paging::page(first, after, fetch).await?;
        let cursor = |row: &journal::Entry| write_entry(masks, tenant, row.cursor());
        Ok(paging::connection(page, cursor, JournalEntry::from))
    }

    /// The accounts of the books with their balances, in the order of their names. For finance and
    /// auditors.
    async fn balances(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As it was; as it is now, if it is not said.")] as_of: Option<AsOfInput>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, LedgerBalance>> {
        let caller = caller(ctx)?;
        let after = paging::cursor(after.as_deref(), read_balance)?;
        let (views, tenant) = (caller.views(), caller.tenant());
        let moment = moment(&caller, as_of).await?;
        warn_incomplete(ctx, &caller, if moment.is_some() { "journal" } else { "balances" }, moment).await?;
        let fetch = async |after, size: PageSize| match moment {
            Some(moment) => {
                let (asked, limit) = (books::Accounts { prefix: None, after }, size.get());
                ask(views, move |snapshot| books::balances(snapshot, tenant, &asked, limit, moment)).await
            }
            None => Ok(balances::list(views, tenant, after, size).await?),
        };
        let page = paging::page(first, after, fetch).await?;
        let cursor = |row: &balances::Balance| format!("{}/{}", row.account, row.currency);
        Ok(paging::connection(page, cursor, LedgerBalance::from))
    }

    /// All accounts of the books together, by currency. For finance and auditors.
    async fn trial_balance(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As it was; as it is now, if it is not said.")] as_of: Option<AsOfInput>,
    ) -> Result<Vec<TrialBalance>> {
        let caller = caller(ctx)?;
        let (views, tenant) = (caller.views(), caller.tenant());
        let moment = moment(&caller, as_of).await?;
        warn_incomplete(ctx, &caller, if moment.is_some() { "journal" } else { "balances" }, moment).await?;
        let rows = match moment {
            Some(moment) => ask(views, move |snapshot| books::trial_balance(snapshot, tenant, moment)).await,
            None => balances::trial_balance(views, tenant).await.map_err(AsOfError::from),
        };
        let rows = rows.map_err(Failed::from)?;
        Ok(rows.into_iter().map(TrialBalance::from).collect())
    }
}
