//! A tenant's books: the time zone that tells their dates, the periods that are closed, up to what amount
//! an adjustment needs no second person, and which of a diner's balances pays first.
//!
//! Who closed or reopened a period is the event's actor. That a closed period takes no more postings is
//! not decided here: the journal's fold books what comes late on the first open day ([`booked_on`]).

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
};

use jiff::{
    civil::{self, Date},
    tz::TimeZone,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Aggregate, Currency, Money, StreamKind, TenantId, Timestamp, bundled_zone};

/// The earliest day through which books can be closed.
pub const FIRST_DAY: Date = civil::date(1970, 1, 1);
/// How many closed periods can be opened again: those closed last. A day each, they are years.
pub const MAX_REMEMBERED: usize = 1_000;

/// What a closed period is opened again for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReopenReason {
    /// A mistake in what was booked.
    Correction,
    /// Something that belongs into the period came in after its close.
    LateInvoice,
    /// Auditors ask for it.
    Audit,
}

impl ReopenReason {
    pub const ALL: [ReopenReason; 3] = [ReopenReason::Correction, ReopenReason::LateInvoice, ReopenReason::Audit];

    pub fn name(self) -> &'static str {
        match self {
            ReopenReason::Correction => "correction",
            ReopenReason::LateInvoice => "late_invoice",
            ReopenReason::Audit => "audit",
        }
    }
}

/// Which of a diner's balances pays for an order first. A provider is always asked for the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeductionOrder {
    #[default]
    SubsidyFirst,
    WalletFirst,
}

/// Some days of the books, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// None: from the first entry on.
    pub from: Option<Date>,
    pub through: Date,
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from {
            Some(from) => write!(f, "{from} to {}", self.through),
            None => write!(f, "everything up to {}", self.through),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Opens the books. `zone` is an IANA time zone; it stays.
    Open { zone: String },
    /// Closes every day that is still open, through that one. `at` is when that is asked for.
    ClosePeriod { through: Date, at: Timestamp },
    /// Opens the closed period in which `from` lies again, and those closed after it.
    Reopen { from: Date, reason: ReopenReason },
    /// Up to what amount, either way, an adjustment in its currency needs no second person. Zero: each does.
    SetApprovalLimit { limit: Money },
    /// Orders that are paid from then on are deducted in that order.
    SetDeductionOrder { order: DeductionOrder },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Event {
    Opened {
        zone: String,
    },
    PeriodClosed {
        /// Its first day; none for the first period, which begins with the first entry.
        #[schemars(with = "Option<String>")]
        from: Option<Date>,
        #[schemars(with = "String")]
        through: Date,
    },
    PeriodReopened {
        /// The last day that is closed still; none when every day is open.
        #[schemars(with = "Option<String>")]
        closed_through: Option<Date>,
        reason: ReopenReason,
    },
    ApprovalLimitSet {
        limit: Money,
    },
    DeductionOrderSet {
        order: DeductionOrder,
    },
}

impl crate::Event for Event {
    const SCHEMAS: &'static [(&'static str, u16)] =
        &[("Opened", 1), ("PeriodClosed", 1), ("PeriodReopened", 1), ("ApprovalLimitSet", 1), ("DeductionOrderSet", 1)];

    fn name(&self) -> &'static str {
        match self {
            Event::Opened { .. } => "Opened",
            Event::PeriodClosed { .. } => "PeriodClosed",
            Event::PeriodReopened { .. } => "PeriodReopened",
            Event::ApprovalLimitSet { .. } => "ApprovalLimitSet",
            Event::DeductionOrderSet { .. } => "DeductionOrderSet",
        }
    }
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("the books have not been opened yet; open them with their time zone first")]
    NotOpen,
    #[error("the books are open already, and their time zone stays {zone}")]
    AlreadyOpen { zone: String },
    #[error("{zone:?} is not a time zone that this program knows; an example is Asia/Shanghai")]
    UnknownZone { zone: String },
    #[error("{through} has not come yet: in the books' time zone it is {today}")]
    NotYet { through: Date, today: Date },
    #[error("books are closed through a day from {FIRST_DAY} on, not {through}")]
    TooEarly { through: Date },
    #[error("the books are closed through {closed_through} already; a period ends after the one before it")]
    OutOfOrder { through: Date, closed_through: Date },
    #[error("the periods through {forgotten} were closed too long ago to be opened again")]
    TooLongAgo { forgotten: Date },
    #[error("an adjustment's limit is zero or more, and within what an account can have")]
    BadLimit,
    /// Something is dated into a closed period.
    #[error("{date} lies in a closed period ({period})")]
    Closed { date: Date, period: Period },
}

impl Error {
    /// The refusal's name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Error::NotOpen => "BOOKS_NOT_OPEN",
            Error::AlreadyOpen { .. } => "BOOKS_ALREADY_OPEN",
            Error::UnknownZone { .. } => "UNKNOWN_ZONE",
            Error::NotYet { .. } => "NOT_YET",
            Error::TooEarly { .. } => "TOO_EARLY",
            Error::OutOfOrder { .. } => "OUT_OF_ORDER",
            Error::TooLongAgo { .. } => "TOO_LONG_AGO",
            Error::BadLimit => "BAD_LIMIT",
            Error::Closed { .. } => "PERIOD_CLOSED",
        }
    }
}

/// The day on which something is booked that happened on `date`, and whether it comes too late for
/// its own: then it is the first day that is open.
pub fn booked_on(date: Date, closed_through: Option<Date>) -> (Date, bool) {
    match closed_through {
        Some(closed) if date <= closed => (day_after(closed), true),
        _ => (date, false),
    }
}

fn day_after(day: Date) -> Date {
    day.tomorrow().unwrap_or(Date::MAX)
}

/// Open books.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Book {
    zone: String,
    /// Through which days books were closed, the latest last; at most [`MAX_REMEMBERED`].
    closes: VecDeque<Date>,
    /// The latest close that is remembered no more.
    forgotten: Option<Date>,
    limits: BTreeMap<Currency, i64>,
    deduction_order: DeductionOrder,
}

impl Book {
    /// The IANA name of the zone that tells the books' dates.
    pub fn zone_name(&self) -> &str {
        &self.zone
    }

    pub fn zone(&self) -> Result<TimeZone, Error> {
        bundled_zone(&self.zone).ok_or_else(|| Error::UnknownZone { zone: self.zone.clone() })
    }

    /// The last day that is closed; none when every day is open.
    pub fn closed_through(&self) -> Option<Date> {
        self.closes.back().copied().or(self.forgotten)
    }

    /// The first day that is open, if not all are.
    pub fn open_from(&self) -> Option<Date> {
        self.closed_through().map(day_after)
    }

    /// The closed period in which a day lies.
    pub fn closed_period(&self, date: Date) -> Option<Period> {
        let mut from = None;
        for through in self.forgotten.iter().chain(&self.closes).copied() {
            if date <= through {
                return Some(Period { from, through });
            }
            from = Some(day_after(through));
        }
        None
    }

    /// Up to what amount an adjustment needs no second person; zero unless it was set.
    pub fn approval_limit(&self, currency: Currency) -> Money {
        Money::new(self.limits.get(&currency).copied().unwrap_or_default(), currency)
    }

    fn set_limit(&self, limit: Money) -> Result<Vec<Event>, Error> {
        if limit.minor < 0 || limit.checked().is_err() {
            return Err(Error::BadLimit);
        }
        if self.approval_limit(limit.currency) == limit {
            return Ok(vec![]);
        }
        Ok(vec![Event::ApprovalLimitSet { limit }])
    }

    fn close(&self, through: Date, at: Timestamp) -> Result<Vec<Event>, Error> {
        if self.closes.contains(&through) {
            return Ok(vec![]);
        }
        if through < FIRST_DAY {
            return Err(Error::TooEarly { through });
        }
        if let Some(closed_through) = self.closed_through().filter(|closed| through <= *closed) {
            return Err(Error::OutOfOrder { through, closed_through });
        }
        let today = at.date_in(&self.zone()?);
        if through > today {
            return Err(Error::NotYet { through, today });
        }
        Ok(vec![Event::PeriodClosed { from: self.open_from(), through }])
    }

    fn reopen(&self, from: Date, reason: ReopenReason) -> Result<Vec<Event>, Error> {
        if let Some(forgotten) = self.forgotten.filter(|forgotten| from <= *forgotten) {
            return Err(Error::TooLongAgo { forgotten });
        }
        // What is open already need not be opened.
        let Some(period) = self.closed_period(from) else { return Ok(vec![]) };
        let closed_through = period.from.and_then(|first| first.yesterday().ok());
        Ok(vec![Event::PeriodReopened { closed_through, reason }])
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Books {
    #[default]
    New,
    Open(Book),
}

impl Books {
    pub fn book(&self) -> Result<&Book, Error> {
        match self {
            Books::New => Err(Error::NotOpen),
            Books::Open(book) => Ok(book),
        }
    }

    /// Up to what amount an adjustment needs no second person. Nothing is, before the books are open.
    pub fn approval_limit(&self, currency: Currency) -> Money {
        self.book().map_or(Money::zero(currency), |book| book.approval_limit(currency))
    }

    /// Which balance of a diner pays first.
    pub fn deduction_order(&self) -> DeductionOrder {
        self.book().map_or(DeductionOrder::default(), |book| book.deduction_order)
    }

    /// Refuses what is dated into a closed period. Before the books are open, no period is.
    pub fn takes(&self, at: Timestamp) -> Result<(), Error> {
        let Books::Open(book) = self else { return Ok(()) };
        let date = at.date_in(&book.zone()?);
        book.closed_period(date).map_or(Ok(()), |period| Err(Error::Closed { date, period }))
    }
}

impl Aggregate for Books {
    const NAME: &'static str = "books";
    const STATE_VERSION: u32 = 3;
    type Id = TenantId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn stream_key(id: TenantId) -> (StreamKind, uuid::Uuid) {
        (StreamKind::Books, id.0)
    }

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (books, Command::Open { zone }) => {
                let known = bundled_zone(&zone).and_then(|known| known.iana_name().map(str::to_owned));
                let Some(name) = known else {
                    return Err(Error::UnknownZone { zone: zone.chars().take(80).collect() });
                };
                match books {
                    Books::New => Ok(vec![Event::Opened { zone: name }]),
                    Books::Open(book) if book.zone == name => Ok(vec![]),
                    Books::Open(book) => Err(Error::AlreadyOpen { zone: book.zone.clone() }),
                }
            }
            (Books::New, _) => Err(Error::NotOpen),
            (Books::Open(book), Command::SetApprovalLimit { limit }) => book.set_limit(limit),
            (Books::Open(book), Command::SetDeductionOrder { order }) if book.deduction_order == order => Ok(vec![]),
            (Books::Open(_), Command::SetDeductionOrder { order }) => Ok(vec![Event::DeductionOrderSet { order }]),
            (Books::Open(book), Command::ClosePeriod { through, at }) => book.close(through, at),
            (Books::Open(book), Command::Reopen { from, reason }) => book.reopen(from, reason),
        }
    }

    fn evolve(&mut self, event: &Event, _at: Timestamp) {
        match (self, event) {
            (books, Event::Opened { zone }) => {
                *books = Books::Open(Book {
                    zone: zone.clone(),
                    closes: VecDeque::new(),
                    forgotten: None,
                    limits: BTreeMap::new(),
                    deduction_order: DeductionOrder::default(),
                });
            }
            (Books::Open(book), Event::PeriodClosed { through, .. }) => {
                book.closes.push_back(*through);
                if book.closes.len() > MAX_REMEMBERED {
                    book.forgotten = book.closes.pop_front();
                }
            }
            (Books::Open(book), Event::PeriodReopened { closed_through, .. }) => {
                book.closes.retain(|through| Some(*through) <= *closed_through);
            }
            (Books::Open(book), Event::ApprovalLimitSet { limit }) => {
                book.limits.insert(limit.currency, limit.minor);
            }
            (Books::Open(book), Event::DeductionOrderSet { order }) => book.deduction_order = *order,
            (
                Books::New,
                Event::PeriodClosed { .. }
                | Event::PeriodReopened { .. }
                | Event::ApprovalLimitSet { .. }
                | Event::DeductionOrderSet { .. },
            ) => {}
        }
    }
}

#[cfg(test)]
#[path = "books_tests.rs"]
mod tests;
