//! Invoices to companies, what is open of them, and companies' credit.

use async_graphql::{Context, Enum, Object, Result, SimpleObject, connection::Connection};
use commands::Failure;
use domain::{
    AccountId, CompanyId, InvoiceId, account,
    invoice::{self, Invoice as State, VoidReason},
};
use jiff::civil;
use projections::invoices as views;
use sagas::{InvoiceError, NewInvoice, Standing};

use crate::{
    caller::{Caller, caller},
    company,
    errors::{Code, Failed, coded, refused_at},
    paging,
    scalars::{Date, Money, MoneyInput, Uuid},
};

/// How far an invoice is.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InvoiceState {
    /// Something of it is still to be paid.
    Open,
    /// All of it is paid.
    Settled,
    /// It was taken back.
    Voided,
}

/// Why an invoice is taken back.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "VoidReason")]
pub(crate) enum InvoiceVoidReason {
    /// It should not have been issued.
    Mistake,
    /// The company does not accept it.
    Disputed,
    /// Another one takes its place.
    Replaced,
}

/// What a company owed at one moment, asked of it.
#[derive(SimpleObject)]
pub(crate) struct Invoice {
    /// Its UUID.
    invoice: Uuid,
    /// The company's UUID.
    company: Uuid,
    /// Counts the company's invoices from 1.
    number: u32,
    /// How far it is.
    state: InvoiceState,
    /// What is asked.
    amount: Money,
    /// What is paid of it.
    paid: Money,
    /// What is still to be paid.
    open: Money,
    /// The last day whose meals it is for.
    through: Date,
    /// The last day to pay it in time.
    due_on: Date,
    /// How many days it is late today; 0 if it is not.
    days_overdue: u32,
}

impl Invoice {
    fn of_row(row: &views::Invoice, today: civil::Date) -> Invoice {
        Invoice {
            invoice: row.invoice.0.into(),
            company: row.company.0.into(),
            number: row.number,
            state: match row.state {
                views::State::Open => InvoiceState::Open,
                views::State::Settled => InvoiceState::Settled,
                views::State::Voided => InvoiceState::Voided,
            },
            amount: row.amount().into(),
            paid: row.paid().into(),
            open: row.open().into(),
            through: row.through.into(),
            due_on: row.due_on.into(),
            days_overdue: row.days_overdue(today),
        }
    }

    fn of_state(id: InvoiceId, state: &State, today: civil::Date) -> Option<Invoice> {
        let sheet = state.sheet().ok()?;
        let (state, open) = match state {
            State::New => return None,
            State::Open(_) => (InvoiceState::Open, sheet.open()),
            State::Settled(_) => (InvoiceState::Settled, sheet.open()),
            State::Voided(..) => (InvoiceState::Voided, domain::Money::zero(sheet.bill.amount.currency)),
        };
        Some(Invoice {
            invoice: id.0.into(),
            company: sheet.bill.company.0.into(),
            number: sheet.bill.number,
            state,
            amount: sheet.bill.amount.into(),
            paid: sheet.paid().into(),
            open: open.into(),
            through: sheet.bill.through.into(),
            due_on: sheet.bill.due_on.into(),
            days_overdue: if open.is_positive() { views::days_late(sheet.bill.due_on, today) } else { 0 },
        })
    }
}

/// What a company has open, by how late it is.
#[derive(SimpleObject)]
pub(crate) struct Receivable {
    /// The company's UUID.
    company: Uuid,
    /// All of it.
    open: Money,
    /// What is not due yet.
    not_due: Money,
    /// Up to 30 days late.
    up_to30_days: Money,
    /// 31 to 60 days late.
    up_to60_days: Money,
    /// 61 to 90 days late.
    up_to90_days: Money,
    /// Later than that.
    later: Money,
}

impl From<views::Ageing> for Receivable {
    fn from(row: views::Ageing) -> Self {
        let money = |minor| domain::Money::new(minor, row.currency).into();
        let [not_due, to30, to60, to90, later] = row.open_minor.map(money);
        Receivable {
            company: row.company.0.into(),
            open: money(row.total()),
            not_due,
            up_to30_days: to30,
            up_to60_days: to60,
            up_to90_days: to90,
            later,
        }
    }
}

/// An invoice after a change.
#[derive(SimpleObject)]
pub(crate) struct InvoicePayload {
    /// As it is now.
    invoice: Invoice,
    /// Brings a query up to this change.
    consistency_token: String,
}

/// A company's credit after a change.
#[derive(SimpleObject)]
pub(crate) struct CreditPayload {
    /// The company's UUID.
    company: Uuid,
    /// What can still be granted.
    available: Money,
    /// Brings a query up to this change.
    consistency_token: String,
}

async fn today(caller: &Caller<'_>) -> Result<civil::Date, Failed> {
    Ok(caller.service.finance.invoices().today(caller.tenant(), caller.commands().now()).await?)
}

/// The coded error, with the argument that it is about.
fn refused(failure: Failure<InvoiceError>) -> Failed {
    use invoice::Error as I;
    let field = match &failure {
        Failure::Refused(InvoiceError::Invoice(I::NotIssued | I::Void | I::PaidAlready | I::TooManyPayments)) => {
            Some("invoice")
        }
        Failure::Refused(InvoiceError::Invoice(I::NotPositive | I::TooMuch { .. } | I::Money(_))) => Some("amount"),
        Failure::Refused(InvoiceError::Account(_)) => Some("company"),
        Failure::Refused(InvoiceError::TooManyDays) => Some("days"),
        Failure::Refused(InvoiceError::Invoice(I::OtherContent | I::BadBill | I::Unbooked))
        | Failure::KeyReused
        | Failure::Interrupted(_) => None,
    };
    let failed = Failed::from(failure);
    match field {
        Some(field) => failed.at(field),
        None => failed,
    }
}

async fn answer(
    caller: &Caller<'_>,
    done: std::result::Result<Standing, Failure<InvoiceError>>,
) -> Result<InvoicePayload, Failed> {
    let standing = done.map_err(refused)?;
    let at = caller.written(standing.position).await?;
    let invoice = Invoice::of_state(standing.invoice, &standing.state, today(caller).await?);
    let invoice = invoice.ok_or_else(|| coded(Code::Unavailable, "the invoice cannot be read; ask again"))?;
    Ok(InvoicePayload { invoice, consistency_token: at.token })
}

#[derive(Default)]
pub(crate) struct InvoiceQuery;

#[Object]
impl InvoiceQuery {
    /// Invoices, the latest first. For finance and auditors; a company sees its own.
    async fn invoices(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only those of which something is open.", default)] open: bool,
        #[graphql(desc = "How many, 20 if it is not said; at most 100.")] first: Option<i32>,
        #[graphql(desc = "Where the page before ended.")] after: Option<String>,
    ) -> Result<Connection<String, Invoice>> {
        let caller = caller(ctx)?;
        let (today, companies) = (today(&caller).await?, company::all(&caller));
        let (tenant, masks) = (caller.tenant(), &caller.service.masks);
        // Positions themselves would tell how much others do.
        let after = paging::cursor(after.as_deref(), |text| masks.position(tenant, text))?;
        let fetch = |before, size| {
            let asked = views::Asked { companies: companies.clone(), open };
            views::list(caller.views(), tenant, asked, before, size)
        };
        let page = paging::page(first, after, fetch).await?;
        Ok(paging::connection(page, |row| masks.token(tenant, row.issued), |row| Invoice::of_row(&row, today)))
    }

    /// What companies have open, by how late it is. For finance and auditors; a company sees its own.
    async fn receivables(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, Receivable>> {
        let caller = caller(ctx)?;
        let (today, companies) = (today(&caller).await?, company::all(&caller));
        let after = paging::cursor(after.as_deref(), |text| {
            let (company, currency) = text.split_once('/')?;
            Some((company.parse().ok()?, currency.parse().ok()?))
        })?;
        let fetch =
            |after, size| views::ageing_after(caller.views(), caller.tenant(), companies.clone(), today, (after, size));
        let page = paging::page(first, after, fetch).await?;
        Ok(paging::connection(page, |row| format!("{}/{}", row.company, row.currency), Receivable::from))
    }
}

#[derive(Default)]
pub(crate) struct InvoiceMutation;

#[Object]
impl InvoiceMutation {
    /// Asks a company for all that it owes. Until it has paid, what is asked uses up its credit. For finance.
    async fn issue_invoice(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The company's UUID.")] company: Uuid,
        #[graphql(desc = "Days to pay it, 0 to 366.", default = 30)] days: u16,
        #[graphql(desc = "A UUID of your own making; the same again is the same invoice.")] idempotency_key: Uuid,
    ) -> Result<InvoicePayload> {
        let caller = caller(ctx)?;
        let new = NewInvoice { company: CompanyId(company.0), days };
        let request = caller.request("issueInvoice", idempotency_key, &new)?;
        let done = caller.service.finance.invoices().issue(request, new).await;
        Ok(answer(&caller, done).await?)
    }

    /// Records what a company has paid of an invoice, once it is in the bank. For finance.
    async fn pay_invoice(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The invoice's UUID.")] invoice: Uuid,
        #[graphql(desc = "How much, at most what is open.")] amount: MoneyInput,
        #[graphql(desc = "A UUID of your own making; the same again is the same payment.")] idempotency_key: Uuid,
    ) -> Result<InvoicePayload> {
        let caller = caller(ctx)?;
        let (id, amount) = (InvoiceId(invoice.0), amount.read("amount")?);
        let request = caller.request("payInvoice", idempotency_key, &(id, amount))?;
        let done = caller.service.finance.invoices().pay(request, id, amount).await;
        Ok(answer(&caller, done).await?)
    }

    /// Takes an invoice back of which nothing is paid: the company owes its amount as before it. For finance.
    async fn void_invoice(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The invoice's UUID.")] invoice: Uuid,
        #[graphql(desc = "Why.")] reason: InvoiceVoidReason,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<InvoicePayload> {
        let caller = caller(ctx)?;
        let (id, reason) = (InvoiceId(invoice.0), VoidReason::from(reason));
        let request = caller.request("voidInvoice", idempotency_key, &(id, reason))?;
        let done = caller.service.finance.invoices().void(request, id, reason).await;
        Ok(answer(&caller, done).await?)
    }

    /// Sets how much a company may owe, what it was invoiced included. A first limit opens its account. For
    /// finance.
    async fn set_credit_limit(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The company's UUID.")] company: Uuid,
        #[graphql(desc = "How much, zero or more.")] limit: MoneyInput,
        #[graphql(desc = "A UUID of your own making; the same again is the same change.")] idempotency_key: Uuid,
    ) -> Result<CreditPayload> {
        let caller = caller(ctx)?;
        let (id, limit) = (AccountId::Company(CompanyId(company.0)), limit.read("limit")?);
        let request = caller.request("setCreditLimit", idempotency_key, &(id, limit))?;
        let command = account::Command::SetFloor { floor: limit.negated() };
        let done = caller.commands().on_account(request, id, command).await;
        let outcome = done.map_err(|failure| refused_at(failure, "limit"))?;
        let token = caller.outcome(&outcome).await?.token;
        let available = |account: &account::Account| account.book().map(|book| book.available());
        let available = caller.commands().look(caller.tenant(), id, available).await.map_err(Failed::from)?;
        let available = available.map_err(|error| Failed::from(Failure::Refused(error)).at("company"))?;
        Ok(CreditPayload { company, available: available.into(), consistency_token: token })
    }
}
