//! Invoices: a company is asked for what it owes, pays, or is told that it was not meant.
//!
//! Issuing begins with the company's account, which decides the amount and number in its turn. Paying and
//! voiding begin with the invoice, and the account takes what that decided. Each is one chain; wherever it
//! broke off, the next who comes by goes on from what is recorded.

use commands::{Cause, Commands, Failure, Interrupted, Request};
use domain::{
    AccountId, CommandId, CompanyId, InvoiceId, Money, TenantId, Timestamp,
    account::{self, Account},
    books::Books,
    invoice::{self, Bill, Invoice, Unbooked, VoidReason},
    step_id,
};
use jiff::{ToSpan, civil::Date, tz::TimeZone};
use projections::invoices;
use serde::Serialize;

use crate::{SAGA, driven::Driven, ordering::answered};

/// Longest time to pay, in days.
pub const MAX_DAYS: u16 = 366;
/// Room for one chain: what was left undone before, and what is asked now.
const ROOM: u32 = 8;
const NAME: &str = "invoice";

/// What is to be invoiced. This is what a repeat is compared by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NewInvoice {
    pub company: CompanyId,
    /// Days to pay it, from today.
    pub days: u16,
}

/// Why an invoice does not change.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvoiceError {
    #[error(transparent)]
    Invoice(#[from] invoice::Error),
    #[error("the company's account: {0}")]
    Account(account::Error),
    #[error("an invoice is due within {MAX_DAYS} days")]
    TooManyDays,
}

/// An invoice as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub invoice: InvoiceId,
    pub state: Invoice,
    /// Whether it was so before.
    pub repeated: bool,
    /// Of the last event; 0 for a repeat.
    pub position: store::Position,
}

/// What companies are asked for. Cheap to clone.
#[derive(Clone)]
pub struct Invoices {
    commands: Commands,
    pub(crate) driven: Driven,
}

type Answer<T> = Result<T, Failure<InvoiceError>>;

fn refused(error: impl Into<InvoiceError>) -> Failure<InvoiceError> {
    Failure::Refused(error.into())
}

/// What a caller asks of an invoice that there is.
#[derive(Clone, Copy, Debug)]
enum Change {
    Pay(Money),
    Void(VoidReason),
    /// Only what was left undone.
    Nothing,
}

impl Invoices {
    pub fn new(commands: Commands) -> Self {
        Invoices { commands, driven: Driven::default() }
    }

    /// Asks a company for all that it owes. The invoice's id is the request's.
    pub async fn issue(&self, request: Request, new: NewInvoice) -> Answer<Standing> {
        if new.days > MAX_DAYS {
            return Err(refused(InvoiceError::TooManyDays));
        }
        let through = self.today(request.tenant, request.at).await?;
        let due_on = through.saturating_add(i64::from(new.days).days());
        self.in_turn(request.tenant, InvoiceId(request.id), move |one| async move {
            one.issue(request, new.company, (through, due_on)).await
        })
        .await
    }

    /// Records a payment that is in the bank, under the request's id.
    pub async fn pay(&self, request: Request, invoice: InvoiceId, amount: Money) -> Answer<Standing> {
        self.change(request, invoice, Change::Pay(amount)).await
    }

    /// Takes an invoice back before any payment.
    pub async fn void(&self, request: Request, invoice: InvoiceId, reason: VoidReason) -> Answer<Standing> {
        self.change(request, invoice, Change::Void(reason)).await
    }

    async fn change(&self, request: Request, invoice: InvoiceId, change: Change) -> Answer<Standing> {
        self.in_turn(request.tenant, invoice, move |one| async move { one.change(Some(request), change).await }).await
    }

    /// Carries on with an invoice that stands between its stream and the account; for the follower.
    pub(crate) async fn go_on(&self, row: &invoices::Invoice) -> Result<(), Interrupted> {
        let invoices::Invoice { company, number, through, due_on, .. } = *row;
        let bill = Bill { company, number, amount: row.amount(), through, due_on };
        let go_on = move |one: One| async move { one.go_on(bill).await };
        match self.in_turn(row.tenant, row.invoice, go_on).await {
            Err(Failure::Interrupted(interrupted)) => Err(interrupted),
            _ => Ok(()),
        }
    }

    /// The date in the tenant's books; in UTC where they are not open.
    pub async fn today(&self, tenant: TenantId, at: Timestamp) -> Result<Date, Interrupted> {
        let zone = |books: &Books| books.book().ok().and_then(|book| book.zone().ok());
        let zone = self.commands.look(tenant, tenant, zone).await?;
        Ok(at.date_in(&zone.unwrap_or(TimeZone::UTC)))
    }

    /// Runs `work` as one chain, in a task that a caller who goes away does not end, one at a time.
    async fn in_turn<Fut>(
        &self,
        tenant: TenantId,
        id: InvoiceId,
        work: impl Fn(One) -> Fut + Send + Sync + 'static,
    ) -> Answer<Standing>
    where
        Fut: Future<Output = Link> + Send + 'static,
    {
        let commands = self.commands.clone();
        let chain = move || {
            let (commands, work) = (commands.clone(), work(One { commands: commands.clone(), tenant, id }));
            async move {
                Ok(match work.await? {
                    Ok(repeated) => Ok((repeated, commands.look(tenant, id, Invoice::clone).await?)),
                    Err(failure) => Err(failure),
                })
            }
        };
        let finished = self.driven.chained(&self.commands, id.0, ROOM, chain).await?;
        let (repeated, state) = finished.value;
        Ok(Standing { invoice: id, state, repeated, position: finished.position })
    }
}

/// One invoice of one tenant, within a chain.
struct One {
    commands: Commands,
    tenant: TenantId,
    id: InvoiceId,
}

/// A chain's answer: whether all was so before.
type Link = Result<Answer<bool>, Interrupted>;

impl One {
    async fn issue(self, request: Request, company: CompanyId, (through, due_on): (Date, Date)) -> Link {
        // The account forgets after a month what it has dealt with; the invoice does not.
        let known = |invoice: &Invoice| invoice.sheet().ok().map(|sheet| sheet.bill);
        if let Some(known) = self.commands.look(self.tenant, self.id, known).await? {
            // It was issued on another day, so that only the days to pay are the same.
            let days = |through: Date, due_on: Date| (due_on - through).get_days();
            let same = known.company == company && days(known.through, known.due_on) == days(through, due_on);
            return Ok(if same { Ok(true) } else { Err(Failure::KeyReused) });
        }
        let command = account::Command::Invoice { invoice: self.id, through, due_on };
        let cause = request.cause(self.id.0);
        let done = self.commands.execute::<Account>(self.tenant, AccountId::Company(company), command, cause).await;
        let outcome = match done {
            Ok(outcome) => outcome,
            Err(failure) => return failed(failure, InvoiceError::Account),
        };
        let bill = outcome.events.iter().find_map(|event| match **event {
            account::Event::Invoiced { number, amount, through, due_on, .. } => {
                Some(Bill { company, number, amount, through, due_on })
            }
            _ => None,
        });
        // Without it the account has dealt with the request before, and the invoice stands.
        let Some(bill) = bill else { return Ok(Ok(true)) };
        match self.record(bill).await? {
            Ok(_) => Ok(Ok(outcome.repeated)),
            failure => Ok(failure),
        }
    }

    /// The invoice's own stream takes what the account has issued.
    async fn record(&self, bill: Bill) -> Link {
        self.step("issue", invoice::Command::Issue(bill)).await
    }

    async fn go_on(self, bill: Bill) -> Link {
        let missing = self.commands.look(self.tenant, self.id, |invoice: &Invoice| *invoice == Invoice::New).await?;
        if missing { self.record(bill).await } else { self.change(None, Change::Nothing).await }
    }

    async fn change(self, request: Option<Request>, change: Change) -> Link {
        if let failure @ Err(_) = self.book().await? {
            return Ok(failure);
        }
        let (Some(request), Some(command)) = (request, command(request, change)) else { return Ok(Ok(false)) };
        let done = self.commands.execute::<Invoice>(self.tenant, self.id, command, request.cause(self.id.0)).await;
        let repeated = match done {
            Ok(outcome) => outcome.repeated || outcome.events.is_empty(),
            Err(failure) => return failed(failure, InvoiceError::Invoice),
        };
        Ok(self.book().await?.map(|_| repeated))
    }

    /// The account takes what the invoice has decided and it has not.
    async fn book(&self) -> Link {
        let look = |invoice: &Invoice| invoice.sheet().ok().map(|sheet| (sheet.bill, sheet.unbooked));
        let Some((bill, Some(unbooked))) = self.commands.look(self.tenant, self.id, look).await? else {
            return Ok(Ok(true));
        };
        let (name, command) = match unbooked {
            Unbooked::Payment { payment, amount } => {
                (format!("pay/{payment}"), account::Command::TakePayment { invoice: self.id, payment, amount })
            }
            Unbooked::Void => {
                let command = account::Command::TakeBackInvoice { invoice: self.id, amount: bill.amount };
                ("void".to_owned(), command)
            }
        };
        let account = AccountId::Company(bill.company);
        match self.commands.execute::<Account>(self.tenant, account, command, self.cause(&name)).await {
            Ok(_) => self.step(&format!("booked/{name}"), invoice::Command::RecordBooked(unbooked)).await,
            Err(failure) => failed(failure, InvoiceError::Account),
        }
    }

    async fn step(&self, name: &str, command: invoice::Command) -> Link {
        match self.commands.execute::<Invoice>(self.tenant, self.id, command, self.cause(name)).await {
            Ok(outcome) => Ok(Ok(outcome.events.is_empty())),
            Err(failure) => failed(failure, InvoiceError::Invoice),
        }
    }

    fn cause(&self, step: &str) -> Cause {
        let id = step_id(NAME, self.id.0, step);
        Cause::step(id, SAGA, self.id.0, CommandId(self.id.0), self.commands.now())
    }
}

fn command(request: Option<Request>, change: Change) -> Option<invoice::Command> {
    match change {
        Change::Pay(amount) => Some(invoice::Command::RecordPayment { payment: request?.id, amount }),
        Change::Void(reason) => Some(invoice::Command::Void { reason }),
        Change::Nothing => None,
    }
}

/// An interruption ends the chain, and perhaps begins it anew; anything else is its answer.
fn failed<E: std::error::Error>(failure: Failure<E>, of: impl FnOnce(E) -> InvoiceError) -> Link {
    answered(Err(failure.map(of)))
}
