//! Closing the books, and reading them by booking date: periods, statements, balances of some days.

use std::sync::Arc;

use async_graphql::{
    ComplexObject, Context, Enum, Object, Result, SimpleObject,
    connection::{Connection, Edge},
};
use domain::{OrderId, TenantId, books as domain_books, postings::LedgerAccount};
use projections::{
    PageSize, Snapshot, ViewError, Views,
    as_of::books::Accounts,
    periods as views,
    statements::{self, Days, PeriodBalance},
};

use crate::{
    account,
    as_of::warn_incomplete,
    caller::{Caller, caller},
    consistency::Masks,
    correction::CorrectionReason,
    errors::{Code, Failed, coded},
    language::{self, Said},
    loaders::Loaders,
    menu::{Canteen, load_canteen},
    node::NodeId,
    order::{self, Order},
    paging,
    scalars::{Date, DateTime, Money, Uuid},
};

/// Where the books of the tenant stand.
#[derive(SimpleObject)]
pub(crate) struct Books {
    /// The IANA time zone that tells their dates; null until they are opened, and UTC until then.
    zone: Option<String>,
    /// The last day that is closed; null when every day is open.
    closed_through: Option<Date>,
    /// Which balance of a diner pays for an order first.
    deduction_order: DeductionOrder,
}

impl Books {
    pub(crate) fn of(books: &domain_books::Books) -> Books {
        let book = books.book().ok();
        Books {
            zone: book.map(|book| book.zone_name().to_owned()),
            closed_through: book.and_then(domain_books::Book::closed_through).map(Date::from),
            deduction_order: books.deduction_order().into(),
        }
    }

    fn shown(row: Option<views::OpenBooks>) -> Books {
        let Some(row) = row else { return Books::of(&domain_books::Books::New) };
        Books {
            zone: row.zone.0.iana_name().map(str::to_owned),
            closed_through: row.closed_through.map(Date::from),
            deduction_order: row.deduction_order.into(),
        }
    }
}

/// Which of a diner's balances pays for an order first. What both are short of a provider pays.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::books::DeductionOrder")]
pub(crate) enum DeductionOrder {
    /// The lots of the subsidy that end first, what of it is in no lot, then the wallet.
    SubsidyFirst,
    /// The wallet, then the subsidy.
    WalletFirst,
}

/// What a closed period is opened again for.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::books::ReopenReason")]
pub(crate) enum ReopenReason {
    /// A mistake in what was booked.
    Correction,
    /// Something that belongs into the period came in after its close.
    LateInvoice,
    /// Auditors ask for it.
    Audit,
}

/// A period of the books that was closed, and perhaps opened again.
#[derive(SimpleObject)]
pub(crate) struct Period {
    /// Counts the closes, from 1.
    number: u32,
    /// Its first day; null for the first period, which begins with the first entry.
    from: Option<Date>,
    /// Its last day.
    through: Date,
    /// When it was closed.
    closed_at: DateTime,
    /// Who closed it.
    closed_by: Uuid,
    /// When it was opened again; null while it is closed.
    reopened_at: Option<DateTime>,
    /// Who opened it again.
    reopened_by: Option<Uuid>,
    /// What it was opened for.
    reason: Option<ReopenReason>,
}

impl From<views::Period> for Period {
    fn from(row: views::Period) -> Self {
        Period {
            number: row.number,
            from: row.first_day.map(Date::from),
            through: row.last_day.into(),
            closed_at: row.closed_at.into(),
            closed_by: row.closed_by.0.into(),
            reopened_at: row.reopened_at.map(DateTime::from),
            reopened_by: row.reopened_by.map(|by| by.0.into()),
            reason: row.reason.map(ReopenReason::from),
        }
    }
}

/// An account of the books over some days, in one currency.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct Statement {
    /// The account's name, such as prepaid or wallet:….
    account: String,
    /// Its balance before the first day: credits less debits.
    opening: Money,
    /// The sum of the days' debits, positive.
    debits: Money,
    /// The sum of the days' credits.
    credits: Money,
    /// Its balance after the last day.
    closing: Money,
    #[graphql(skip)]
    of: PeriodBalance,
    #[graphql(skip)]
    days: Days,
}

/// An entry of a statement.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct StatementEntry {
    /// The day on which it is booked.
    booking_date: Date,
    /// Whether it came after its own day was closed.
    late: bool,
    /// The business time.
    occurred_at: DateTime,
    /// A credit is positive, a debit negative.
    amount: Money,
    /// The account's balance after it.
    balance: Money,
    /// What it is, in plain words, such as Top-up.
    title: Said,
    /// The type of the event that moved the money, such as account.Captured.
    event: String,
    /// What it was all about: an order's UUID, for example.
    correlation: Uuid,
    /// The UUID of the run of grants that it is of; null for what is of none.
    run: Option<Uuid>,
    /// What a correction is for; null for anything else.
    reason: Option<CorrectionReason>,
    #[graphql(skip)]
    of_order: Option<OrderId>,
}

#[ComplexObject]
impl StatementEntry {
    /// The order whose meal it paid for or gave back the money of; null for what is of none, and for one that you
    /// may not see.
    async fn order(&self, ctx: &Context<'_>) -> Result<Option<Order>> {
        let Some(id) = self.of_order else { return Ok(None) };
        let caller = caller(ctx)?;
        let row = ctx.data::<Loaders>()?.load_one(id).await?;
        Ok(row.map(|row| Order::from(Arc::unwrap_or_clone(row))).filter(|order| order::visible(&caller, order)))
    }
}

impl From<statements::Line> for StatementEntry {
    fn from(line: statements::Line) -> Self {
        let title = line.title().to_owned();
        let chinese = language::of_entry(&title).map_or_else(|| title.clone(), str::to_owned);
        let (of_order, run) = (line.order(), line.run().map(|run| run.0.into()));
        let statements::Line { entry, balance } = line;
        StatementEntry {
            title: Said::new(title, chinese),
            run,
            reason: entry.reason.map(CorrectionReason::from),
            of_order,
            booking_date: entry.booking_date.into(),
            late: entry.late,
            occurred_at: entry.occurred_at.into(),
            amount: entry.amount().into(),
            balance: balance.into(),
            correlation: entry.correlation.into(),
            event: entry.event,
        }
    }
}

/// An account of the books by its name, or by the global id that its owner has.
fn ledger_account(text: &str) -> Result<LedgerAccount, Failed> {
    if let Some(NodeId::Account(account)) = NodeId::decode(text) {
        return Ok(LedgerAccount::Limited(account));
    }
    text.parse().map_err(|error| coded(Code::BadInput, error).at("account"))
}

/// Whether this caller may read what was booked on it: as whoever may see the account, and the books all of them.
fn readable(caller: &Caller<'_>, account: LedgerAccount) -> bool {
    let own = matches!(account, LedgerAccount::Limited(account) if account::visible(caller, account));
    own || caller.identity.reads_books()
}

/// A cursor as text: booking date, masked position, line.
fn write_cursor(masks: &Masks, tenant: TenantId, cursor: statements::Cursor) -> String {
    format!("{}.{}.{}", cursor.booking_date, masks.token(tenant, cursor.position), cursor.line)
}

fn read_cursor(masks: &Masks, tenant: TenantId, text: &str) -> Option<statements::Cursor> {
    let mut parts = text.splitn(3, '.');
    let booking_date = parts.next()?.parse().ok()?;
    let position = masks.position(tenant, parts.next()?)?;
    Some(statements::Cursor { booking_date, position, line: parts.next()?.parse().ok()? })
}

#[ComplexObject]
impl Statement {
    /// The days' entries in the order in which they are booked.
    async fn entries(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, StatementEntry>> {
        let caller = caller(ctx)?;
        let (masks, tenant, days) = (&caller.service.masks, caller.tenant(), self.days);
        let after = paging::cursor(after.as_deref(), |text| read_cursor(masks, tenant, text))?;
        let of = (self.of.account, self.of.currency);
        let fetch = async |after, size: PageSize| {
            read(caller.views(), move |snapshot| statements::lines(snapshot, tenant, of, days, after, size.get())).await
        };
        let cursor = |line: &statements::Line| statements::Cursor::from(&line.entry);
        let page = paging::page(first, after, fetch).await?;
        Ok(paging::connection(page, |line| write_cursor(masks, tenant, cursor(line)), StatementEntry::from))
    }
}

/// What an account of the books had before some days, what they brought, and what it had after them.
#[derive(SimpleObject)]
pub(crate) struct AccountPeriod {
    /// The account's name, such as prepaid or wallet:….
    account: String,
    /// Its balance before the first day: credits less debits.
    opening: Money,
    /// The sum of the days' debits, positive.
    debits: Money,
    /// The sum of the days' credits.
    credits: Money,
    /// Its balance after the last day.
    closing: Money,
}

impl From<PeriodBalance> for AccountPeriod {
    fn from(row: PeriodBalance) -> Self {
        AccountPeriod {
            account: row.account.to_string(),
            opening: row.opening().into(),
            debits: row.debits().into(),
            credits: row.credits().into(),
            closing: row.closing().into(),
        }
    }
}

/// What the operator owes a canteen, over some days.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct Payable {
    /// Its account's name.
    account: String,
    /// What it was owed before the first day.
    opening: Money,
    /// What it earned in these days.
    earned: Money,
    /// What was given back or paid out in these days.
    taken: Money,
    /// What it is owed after the last day.
    closing: Money,
    #[graphql(skip)]
    of: LedgerAccount,
}

#[ComplexObject]
impl Payable {
    /// The canteen; null when it is not on any menu.
    async fn canteen(&self, ctx: &Context<'_>) -> Result<Option<Canteen>> {
        let LedgerAccount::Canteen(canteen) = self.of else { return Ok(None) };
        match load_canteen(ctx, canteen, 0).await {
            Err(failed) if failed.code == Code::NotFound => Ok(None),
            found => Ok(Some(found?)),
        }
    }
}

impl From<PeriodBalance> for Payable {
    fn from(row: PeriodBalance) -> Self {
        Payable {
            account: row.account.to_string(),
            opening: row.opening().into(),
            earned: row.credits().into(),
            taken: row.debits().into(),
            closing: row.closing().into(),
            of: row.account,
        }
    }
}

/// Days that a query asks about, the last included.
fn days(from: Option<Date>, to: Option<Date>) -> Result<Days, Failed> {
    let days = Days::new(from.map(|from| from.0), to.map(|to| to.0));
    if days.from > days.to { Err(coded(Code::BadInput, "it lies behind the last day").at("from")) } else { Ok(days) }
}

async fn read<T: Send + 'static>(
    views: &Views,
    question: impl FnOnce(&Snapshot<'_>) -> Result<T, ViewError> + Send + 'static,
) -> Result<T, ViewError> {
    views.read(question).await
}

/// A page of accounts, those whose name begins with `prefix`.
async fn accounts(
    caller: &Caller<'_>,
    prefix: Option<String>,
    days: Days,
    (first, after): (Option<i32>, Option<String>),
) -> Result<paging::Page<PeriodBalance>, Failed> {
    let tenant = caller.tenant();
    let after = paging::cursor(after.as_deref(), crate::ledger::read_balance)?;
    let fetch = async |after, size: PageSize| {
        let asked = Accounts { prefix: prefix.clone(), after };
        read(caller.views(), move |snapshot| statements::balances(snapshot, tenant, days, &asked, size.get())).await
    };
    paging::page(first, after, fetch).await
}

fn account_cursor(row: &PeriodBalance) -> String {
    format!("{}/{}", row.account, row.currency)
}

#[derive(Default)]
pub(crate) struct BooksQuery;

#[Object]
impl BooksQuery {
    /// The periods of the books that were closed, the last first, and where the books stand. For finance
    /// and auditors.
    async fn periods(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, Period, Books>> {
        let caller = caller(ctx)?;
        let (views, tenant, size) = (caller.views(), caller.tenant(), paging::size(first)?);
        let after: Option<u32> = paging::cursor(after.as_deref(), |text| text.parse().ok())?;
        warn_incomplete(ctx, &caller, "journal", None).await?;
        let (books, periods) = views::list(views, tenant, after, size).await.map_err(Failed::from)?;
        // They count down to the first.
        let more = periods.last().is_some_and(|last| last.number > 1);
        let mut page = Connection::with_additional_fields(after.is_some(), more, Books::shown(books));
        page.edges.extend(periods.into_iter().map(|row| Edge::new(row.number.to_string(), row.into())));
        Ok(page)
    }

    /// An account of the books over some days by booking date, in each of its currencies. Diners read their own
    /// wallet and subsidy, a company the funds that are its own, finance and auditors every account; of any other
    /// account nothing is told, as of one that there is not.
    async fn statement(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account's name, such as prepaid or wallet:…; or its global id.")] account: String,
        #[graphql(desc = "The first day; from the first entry on, if it is not said.")] from: Option<Date>,
        #[graphql(desc = "The last day; through the last entry, if it is not said.")] to: Option<Date>,
    ) -> Result<Vec<Statement>> {
        let caller = caller(ctx)?;
        let account = ledger_account(&account)?;
        let (days, tenant) = (days(from, to)?, caller.tenant());
        warn_incomplete(ctx, &caller, "journal", None).await?;
        if !readable(&caller, account) {
            return Ok(vec![]);
        }
        let found = read(caller.views(), move |snapshot| statements::of_account(snapshot, tenant, account, days));
        let statement = |of: PeriodBalance| Statement {
            account: of.account.to_string(),
            opening: of.opening().into(),
            debits: of.debits().into(),
            credits: of.credits().into(),
            closing: of.closing().into(),
            of,
            days,
        };
        Ok(found.await.map_err(Failed::from)?.into_iter().map(statement).collect())
    }

    /// The trial balance of some days by booking date: each account of the books, in the order of their
    /// names. For finance and auditors.
    async fn period_balances(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first day; from the first entry on, if it is not said.")] from: Option<Date>,
        #[graphql(desc = "The last day; through the last entry, if it is not said.")] to: Option<Date>,
        #[graphql(desc = "Only accounts whose name begins so, such as canteen: or wallet:.")] account: Option<String>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, AccountPeriod>> {
        let caller = caller(ctx)?;
        warn_incomplete(ctx, &caller, "journal", None).await?;
        let page = accounts(&caller, account, days(from, to)?, (first, after)).await?;
        Ok(paging::connection(page, account_cursor, AccountPeriod::from))
    }

    /// What the operator owes its canteens, over some days by booking date. For finance and auditors.
    async fn payables(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first day; from the first entry on, if it is not said.")] from: Option<Date>,
        #[graphql(desc = "The last day; through the last entry, if it is not said.")] to: Option<Date>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, Payable>> {
        let caller = caller(ctx)?;
        warn_incomplete(ctx, &caller, "journal", None).await?;
        let page = accounts(&caller, Some("canteen:".to_owned()), days(from, to)?, (first, after)).await?;
        Ok(paging::connection(page, account_cursor, Payable::from))
    }
}
