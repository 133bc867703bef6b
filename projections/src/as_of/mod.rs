//! How it was: the books, and the orders of a day, at an earlier moment.
//!
//! *As of a position* is what the log had when it stood there. *As of a date* is what is booked through
//! that day, which is what the books are kept by: when the day's period is closed, it never changes. *As
//! of a time* is what had occurred by then in business time. The last two count whatever the log has by
//! now, whenever it learned of it.
//!
//! No question folds the log. The journal keeps sums by account and day ([`books`]), and only what
//! the moment cuts through is added up from its entries; an order is folded from its own events.

use std::str::FromStr;

use domain::{OrderId, Timestamp, first_instant};
use jiff::{civil::Date, tz::TimeZone};
use store::{EventStore, Position, StoreError};

use crate::{Projection, Snapshot, Stale, ViewError, periods::FIRST_BOOKED};

pub mod books;
pub mod journal;
pub mod orders;

/// A moment that somebody asks about. As text: the position of an event, an instant in RFC 3339, or a
/// date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsOf {
    Position(Position),
    /// Business time, that instant included.
    Time(Timestamp),
    /// Booking date, that day included. What is not booked counts by its business time, until the day
    /// ends in the zone of the tenant's books.
    Date(Date),
}

/// A text that names no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no moment; give an event's position, an instant such as 2026-11-23T04:00:00Z, or a booking date such \
     as 2026-11-23"
)]
pub struct NotAMoment(pub String);

impl FromStr for AsOf {
    type Err = NotAMoment;

    fn from_str(text: &str) -> Result<Self, NotAMoment> {
        let wrong = || NotAMoment(text.chars().take(80).collect());
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(AsOf::Position).map_err(|_| wrong());
        }
        if let Ok(date) = text.parse()
            && text.len() == 10
        {
            return Ok(AsOf::Date(date));
        }
        text.parse().map(AsOf::Time).map_err(|_| wrong())
    }
}

impl AsOf {
    /// Makes sure that this is no moment to come. What the log's last event was recorded at has been,
    /// whatever `now` is.
    ///
    /// # Errors
    /// When it is behind the log's last event or after `now`; nothing else is read then.
    pub async fn reached(self, store: &dyn EventStore, now: Timestamp) -> Result<Moment, AsOfError> {
        match self {
            AsOf::Position(0) => Err(AsOfError::Zero),
            AsOf::Position(asked) => {
                let head = store.head().await?;
                if asked > head { Err(AsOfError::NoPosition { asked, head }) } else { Ok(Moment(self)) }
            }
            AsOf::Time(time) => {
                let now = latest(store, now).await?;
                if time > now { Err(AsOfError::Future { asked: time, now }) } else { Ok(Moment(self)) }
            }
            AsOf::Date(asked) => {
                let now = latest(store, now).await?;
                let begun = now.plus_seconds(FIRST_TO_BEGIN).date_in(&TimeZone::UTC);
                if asked > begun { Err(AsOfError::FutureDay { asked, now }) } else { Ok(Moment(self)) }
            }
        }
    }
}

/// A day begins first where clocks are 14 hours ahead of UTC; in seconds. Whose books are asked about is
/// not known yet, and a day that has begun has books that can be shown.
const FIRST_TO_BEGIN: i64 = 14 * 60 * 60;

/// What the log's last event was recorded at, if that lies ahead.
async fn latest(store: &dyn EventStore, now: Timestamp) -> Result<Timestamp, StoreError> {
    let last = store.read_all(store.head().await?.max(1), 1).await?.pop();
    Ok(last.map_or(now, |last| now.max(last.recorded_at)))
}

/// A moment that has been: [`AsOf::reached`] makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(AsOf);

impl Moment {
    /// The last position that counts.
    fn position(self) -> Position {
        match self.0 {
            AsOf::Position(position) => position,
            AsOf::Time(_) | AsOf::Date(_) => i64::MAX as u64,
        }
    }

    /// The last business time that counts.
    fn time(self) -> Timestamp {
        match self.0 {
            AsOf::Position(_) | AsOf::Date(_) => Timestamp::from_micros(i64::MAX),
            AsOf::Time(time) => time,
        }
    }

    /// The last booking date that counts.
    fn date(self) -> Date {
        match self.0 {
            AsOf::Position(_) | AsOf::Time(_) => Date::MAX,
            AsOf::Date(date) => date.max(FIRST_BOOKED),
        }
    }

    /// With the end of its day in `zone` instead of a date: for what is not booked.
    fn by_time(self, zone: &TimeZone) -> Moment {
        let AsOf::Date(date) = self.0 else { return self };
        let next = date.tomorrow().ok().and_then(|next| first_instant(next.at(0, 0, 0, 0), zone).ok());
        Moment(AsOf::Time(Timestamp::from_micros(next.map_or(i64::MAX, |next| next.micros - 1))))
    }

    /// How far the views have to be.
    pub fn needs(self) -> Position {
        match self.0 {
            AsOf::Position(position) => position,
            AsOf::Time(_) | AsOf::Date(_) => 0,
        }
    }

    /// Whether a view that cannot go on at `since` shows less than there was at this moment.
    pub fn is_touched_by(self, since: Position) -> bool {
        since <= self.position()
    }

    /// Makes sure that a view has come so far.
    fn check(self, snapshot: &Snapshot<'_>, view: &dyn Projection) -> Result<(), AsOfError> {
        let live = snapshot.builds_now().find(|build| build.live && build.is_of(view));
        let reached = live.map_or(0, |build| build.position);
        let wanted = self.needs();
        if reached < wanted { Err(AsOfError::Stale(Stale { wanted, reached })) } else { Ok(()) }
    }
}

/// Why it cannot be said how it was.
#[derive(Debug, thiserror::Error)]
pub enum AsOfError {
    #[error("positions begin at 1: 0 is before the first event")]
    Zero,
    #[error("there is no event {asked} yet; the log stands at event {head}")]
    NoPosition { asked: Position, head: Position },
    #[error("{asked} lies in the future: it is {now} now")]
    Future { asked: Timestamp, now: Timestamp },
    #[error("{asked} lies in the future: it is {now} now, and that day has begun nowhere")]
    FutureDay { asked: Date, now: Timestamp },
    #[error(transparent)]
    Stale(#[from] Stale),
    #[error(transparent)]
    View(#[from] ViewError),
    #[error(transparent)]
    Log(#[from] StoreError),
    #[error("order {order} cannot be folded from its events: {reason}")]
    Unfoldable { order: OrderId, reason: String },
}

impl AsOfError {
    /// Whether the one who asked got it wrong, so that asking again is of no use.
    pub fn is_askers(&self) -> bool {
        match self {
            AsOfError::Zero | AsOfError::NoPosition { .. } | AsOfError::Future { .. } | AsOfError::FutureDay { .. } => {
                true
            }
            AsOfError::Stale(_) | AsOfError::View(_) | AsOfError::Log(_) | AsOfError::Unfoldable { .. } => false,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
