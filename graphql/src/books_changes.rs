//! Opening the books, closing and reopening their periods.

use async_graphql::{Context, Enum, Object, Result, SimpleObject, Union};
use commands::{Failure, Outcome};
use domain::books::{Error, Event};

use crate::{
    books::{Books, DeductionOrder, ReopenReason},
    caller::{Caller, caller},
    errors::{self, Code, Failed},
    language::Said,
    scalars::{Date, Uuid},
};

/// What came of a change of the books.
#[derive(Union)]
pub(crate) enum BooksResult {
    Changed(BooksPayload),
    Refused(BooksRefused),
}

/// The books after a change.
#[derive(SimpleObject)]
pub(crate) struct BooksPayload {
    /// Where they stand now.
    books: Books,
    /// Whether it was not so before.
    changed: bool,
    /// Brings a query up to this change.
    consistency_token: String,
}

/// Why the books refuse a change. Nothing was changed.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BooksRefusal {
    /// They have not been opened yet.
    BooksNotOpen,
    /// They are open, in another time zone, which stays.
    BooksAlreadyOpen,
    /// There is no such time zone.
    UnknownZone,
    /// That day has not come.
    NotYet,
    /// No books are closed through a day so long ago.
    TooEarly,
    /// A later day is closed already: a period ends after the one before it.
    OutOfOrder,
    /// It was closed too long ago to be opened again.
    TooLongAgo,
    /// Something is dated into a closed period.
    PeriodClosed,
    /// An adjustment's limit is zero or more.
    BadLimit,
}

/// The books refuse a change.
#[derive(SimpleObject)]
pub(crate) struct BooksRefused {
    /// For people.
    message: Said,
    /// Why.
    refusal: BooksRefusal,
    /// What day it is in the books' time zone, when that is why.
    today: Option<Date>,
    /// The last day that is closed, when that is why.
    closed_through: Option<Date>,
}

impl From<Error> for BooksRefused {
    fn from(error: Error) -> Self {
        let message = Said::from(&error);
        let (refusal, today, closed_through) = match error {
            Error::NotOpen => (BooksRefusal::BooksNotOpen, None, None),
            Error::AlreadyOpen { .. } => (BooksRefusal::BooksAlreadyOpen, None, None),
            Error::UnknownZone { .. } => (BooksRefusal::UnknownZone, None, None),
            Error::NotYet { today, .. } => (BooksRefusal::NotYet, Some(today), None),
            Error::TooEarly { .. } => (BooksRefusal::TooEarly, None, None),
            Error::OutOfOrder { closed_through, .. } => (BooksRefusal::OutOfOrder, None, Some(closed_through)),
            Error::TooLongAgo { forgotten } => (BooksRefusal::TooLongAgo, None, Some(forgotten)),
            Error::BadLimit => (BooksRefusal::BadLimit, None, None),
            Error::Closed { period, .. } => (BooksRefusal::PeriodClosed, None, Some(period.through)),
        };
        BooksRefused { message, refusal, today: today.map(Date::from), closed_through: closed_through.map(Date::from) }
    }
}

/// The answer to a change that was asked for.
async fn answer(
    caller: &Caller<'_>,
    done: std::result::Result<Outcome<Event>, Failure<Error>>,
) -> std::result::Result<BooksResult, Failed> {
    let outcome = match done {
        Ok(outcome) => outcome,
        Err(Failure::Refused(error)) => return Ok(BooksResult::Refused(error.into())),
        Err(Failure::KeyReused) => {
            let failure = Failure::<Error>::KeyReused;
            return Err(errors::of(Code::KeyReused, &failure).at("idempotencyKey"));
        }
        Err(Failure::Interrupted(interrupted)) => return Err(interrupted.into()),
    };
    let at = caller.outcome(&outcome).await?;
    let books = Books::of(&caller.commands().books(caller.tenant()).await?);
    let changed = !outcome.events.is_empty();
    Ok(BooksResult::Changed(BooksPayload { books, changed, consistency_token: at.token }))
}

#[derive(Default)]
pub(crate) struct BooksMutation;

#[Object]
impl BooksMutation {
    /// Opens the books of your tenant with the time zone that tells their dates; it stays. For finance.
    async fn open_books(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "An IANA time zone, such as Asia/Shanghai.")] zone: String,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<BooksResult> {
        let caller = caller(ctx)?;
        let request = caller.request("openBooks", idempotency_key, &zone)?;
        let done = caller.commands().open_books(request, zone).await;
        Ok(answer(&caller, done).await?)
    }

    /// Closes every day of the books that is still open, through a day that has come. What comes later for
    /// those days is booked on the first day that is open, and marked as late. For finance.
    async fn close_period(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The last day of the period.")] through: Date,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<BooksResult> {
        let caller = caller(ctx)?;
        let request = caller.request("closePeriod", idempotency_key, &through.0)?;
        let done = caller.commands().close_period(request, through.0).await;
        Ok(answer(&caller, done).await?)
    }

    /// Opens the closed period of a day again, and those that were closed after it. For finance.
    async fn reopen_period(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "A day of the first period that is to be open.")] from: Date,
        #[graphql(desc = "What it is opened for.")] reason: ReopenReason,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<BooksResult> {
        let caller = caller(ctx)?;
        let reason = domain::books::ReopenReason::from(reason);
        let request = caller.request("reopenPeriod", idempotency_key, &(from.0, reason))?;
        let done = caller.commands().reopen_period(request, from.0, reason).await;
        Ok(answer(&caller, done).await?)
    }

    /// Says which of a diner's balances pays for an order first, from now on; what was paid stays as it is.
    /// For finance.
    async fn set_deduction_order(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What pays first.")] order: DeductionOrder,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<BooksResult> {
        let caller = caller(ctx)?;
        let order = domain::books::DeductionOrder::from(order);
        let request = caller.request("setDeductionOrder", idempotency_key, &order)?;
        let done = caller.commands().set_deduction_order(request, order).await;
        Ok(answer(&caller, done).await?)
    }
}
