//! What a company grants its diners towards their meals: versions of terms, each from its own date.

use std::collections::BTreeSet;

use jiff::{
    Span, ToSpan,
    civil::{Date, Weekday},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Aggregate, CanteenId, CompanyId, Currency, GroupId, Money, PolicyId, StreamKind, Timestamp, bundled_zone,
    lot::MAX_LOTS,
    payment::{Limit, Why},
    serving::Meal,
    standing::{Delay, MAX_AHEAD, Standing},
};

pub use crate::grants::Lot;

/// Most versions of one policy.
pub const MAX_VERSIONS: usize = 200;
/// Most canteens, holidays or extra days that one version names.
pub const MAX_NAMED: usize = 500;
/// Most months that an unspent lot is kept for.
pub const MAX_ROLLOVER_MONTHS: u8 = 24;
/// Most days that one run grants for.
pub const MAX_DAYS: i32 = 92;

/// What the amount is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Each eligible meal of each working day.
    Meal,
    /// Each working day.
    Day,
    Month,
}

/// When what is left is cleared, at the tenant's midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Clearing {
    /// At the end of the day that it is for.
    Daily,
    /// At the end of that day's week, on Sunday.
    Weekly,
    /// At the end of that month.
    Monthly,
    /// At the end of the month so many months later: it rolls over until then.
    Rollover { months: u8 },
}

/// Which days are working days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Calendar {
    /// 1 for Monday to 7 for Sunday.
    pub weekdays: BTreeSet<u8>,
    /// Not worked, whatever the weekday.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(with = "BTreeSet<String>")]
    pub holidays: BTreeSet<Date>,
    /// Worked, whatever the weekday.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(with = "BTreeSet<String>")]
    pub extra: BTreeSet<Date>,
}

impl Calendar {
    pub fn includes(&self, date: Date) -> bool {
        let weekday = date.weekday().to_monday_one_offset().unsigned_abs();
        self.extra.contains(&date) || (self.weekdays.contains(&weekday) && !self.holidays.contains(&date))
    }

    /// The most extra days within so many days.
    fn most_extra(&self, days: usize) -> usize {
        let within = |first: Date| first..plus(first, i64::try_from(days).unwrap_or(i64::MAX).days());
        self.extra.iter().map(|first| self.extra.range(within(*first)).count()).max().unwrap_or(0)
    }
}

/// What is granted, and what it may pay for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Terms {
    pub amount: Money,
    pub per: Per,
    pub clearing: Clearing,
    pub calendar: Calendar,
    /// Eligible meals, at least one.
    pub meals: BTreeSet<Meal>,
    /// Eligible canteens; all if none is named.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub canteens: BTreeSet<CanteenId>,
    /// The most that it pays of one order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_limit: Option<Money>,
    /// The most that it pays of one order, in percent of the order, rounded down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_percent: Option<u8>,
    /// Whether what is left is cleared once the diner's employment has ended; else it stays until it expires.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cleared_on_leaving: bool,
}

impl Terms {
    /// Whether it pays at such a serving.
    pub fn pays_at(&self, canteen: CanteenId, date: Date, meal: Meal) -> bool {
        let at = self.canteens.is_empty() || self.canteens.contains(&canteen);
        at && self.meals.contains(&meal) && self.calendar.includes(date)
    }

    /// The most that it pays of an order of `total`; none when nothing bounds it.
    pub fn limit(&self, total: Money) -> Option<Limit> {
        let most = self.order_limit.map(|most| Limit { minor: most.minor, why: Why::OrderLimit });
        let share = self.share_percent.map(|percent| {
            let minor = i128::from(total.minor) * i128::from(percent) / 100;
            // A share is at most the whole, so it fits.
            Limit { minor: i64::try_from(minor).unwrap_or(total.minor), why: Why::Share }
        });
        [most, share].into_iter().flatten().min_by_key(|limit| limit.minor)
    }

    fn check(&self, currency: Currency) -> Result<(), Error> {
        let bad = |field| Err(Error::BadTerms { field });
        let money = |amount: Money| amount.is_positive() && amount.minor <= Money::MAX_MINOR;
        if self.amount.currency != currency || self.order_limit.is_some_and(|most| most.currency != currency) {
            return Err(Error::OtherCurrency { currency });
        }
        let named = [self.canteens.len(), self.calendar.holidays.len(), self.calendar.extra.len()];
        match self {
            _ if !money(self.amount) => bad("amount"),
            _ if self.order_limit.is_some_and(|most| !money(most)) => bad("order_limit"),
            _ if self.share_percent.is_some_and(|percent| !(1..=100).contains(&percent)) => bad("share_percent"),
            _ if self.meals.is_empty() => bad("meals"),
            _ if !self.calendar.weekdays.iter().all(|day| (1..=7).contains(day)) => bad("calendar.weekdays"),
            _ if self.calendar.weekdays.is_empty() && self.calendar.extra.is_empty() => bad("calendar.weekdays"),
            _ if !self.calendar.holidays.is_disjoint(&self.calendar.extra) => bad("calendar.holidays"),
            _ if named.iter().any(|count| *count > MAX_NAMED) => bad("canteens and calendar"),
            Terms { per: Per::Month, clearing: Clearing::Daily | Clearing::Weekly, .. } => bad("clearing"),
            Terms { clearing: Clearing::Rollover { months }, .. } if !(1..=MAX_ROLLOVER_MONTHS).contains(months) => {
                bad("clearing.months")
            }
            _ if self.lots_at_once() > MAX_LOTS => Err(Error::TooManyLots { lots: self.lots_at_once() }),
            _ => Ok(()),
        }
    }

    /// The most lots that a diner can have at a time of what was granted as far ahead as one run does.
    fn lots_at_once(&self) -> usize {
        // From the first day whose lot is still there on the last one before it is cleared.
        let kept = match self.clearing {
            Clearing::Daily => 1,
            Clearing::Weekly => 7,
            Clearing::Monthly => 31,
            Clearing::Rollover { months } => 31 * (usize::from(months) + 1),
        };
        let days = kept + MAX_DAYS.unsigned_abs() as usize;
        let worked = days / 7 * self.calendar.weekdays.len() + (days % 7).min(self.calendar.weekdays.len());
        let days = worked + self.calendar.most_extra(days);
        match self.per {
            Per::Month => days / 28 + 2,
            Per::Day => days,
            Per::Meal => days * self.meals.len(),
        }
    }

    /// The last day on which something for `date` can be spent.
    pub(crate) fn last_day(&self, date: Date) -> Date {
        match self.clearing {
            Clearing::Daily => date,
            Clearing::Weekly => plus(date, i64::from(Weekday::Sunday.since(date.weekday())).days()),
            Clearing::Monthly => date.last_of_month(),
            Clearing::Rollover { months } => plus(date.first_of_month(), i64::from(months).months()).last_of_month(),
        }
    }
}

/// A calendar ends in the year 9999; nothing is granted there.
pub(crate) fn plus(date: Date, span: Span) -> Date {
    date.checked_add(span).unwrap_or(Date::MAX)
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// For a company's diners, or those of one group of it.
    Open {
        company: CompanyId,
        group: Option<GroupId>,
        currency: Currency,
        zone: String,
    },
    /// Terms for lots that are for dates from `from` on. Those granted before keep theirs, and nothing is granted
    /// a second time for their dates.
    SetTerms {
        from: Date,
        terms: Box<Terms>,
    },
    /// Grants nothing for dates from `from` on.
    End {
        from: Date,
    },
    /// Grants are to make themselves, so many days before each period begins.
    SetStanding {
        ahead_days: u16,
    },
    EndStanding,
    /// The grants of the period that begins on `first` have to wait.
    DelayStanding {
        first: Date,
        why: Delay,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Event {
    Opened {
        company: CompanyId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<GroupId>,
        currency: Currency,
        /// IANA name of the zone whose midnight clears.
        zone: String,
    },
    TermsSet {
        version: u32,
        #[schemars(with = "String")]
        from: Date,
        terms: Box<Terms>,
    },
    Ended {
        #[schemars(with = "String")]
        from: Date,
    },
    StandingSet {
        ahead_days: u16,
    },
    StandingEnded,
    StandingDelayed {
        /// The first day of the period that waits.
        #[schemars(with = "String")]
        first: Date,
        why: Delay,
    },
}

impl crate::Event for Event {
    const SCHEMAS: &'static [(&'static str, u16)] = &[
        ("Opened", 1),
        ("TermsSet", 2),
        ("Ended", 1),
        ("StandingSet", 1),
        ("StandingEnded", 1),
        ("StandingDelayed", 1),
    ];

    fn name(&self) -> &'static str {
        match self {
            Event::Opened { .. } => "Opened",
            Event::TermsSet { .. } => "TermsSet",
            Event::Ended { .. } => "Ended",
            Event::StandingSet { .. } => "StandingSet",
            Event::StandingEnded => "StandingEnded",
            Event::StandingDelayed { .. } => "StandingDelayed",
        }
    }
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("there is no such policy")]
    NotOpen,
    #[error("the policy was opened already, for another company, group, currency or zone")]
    OpenedAlready,
    #[error("{0:?} is not a time zone; use an IANA name such as Asia/Shanghai")]
    BadZone(String),
    #[error("the policy is in {currency}")]
    OtherCurrency { currency: Currency },
    #[error("{field} cannot be so")]
    BadTerms { field: &'static str },
    #[error(
        "a diner could come to have {lots} lots by such terms, and an account keeps at most {MAX_LOTS}: clear sooner, \
         or grant by the day or month"
    )]
    TooManyLots { lots: usize },
    #[error("from {from} on the policy has version {version} already: later terms start later")]
    Overlaps { version: u32, from: Date },
    #[error("the policy ends on {from}")]
    Ended { from: Date },
    #[error("a policy has at most {MAX_VERSIONS} versions")]
    TooManyVersions,
    #[error("{first} to {last} are not 1 to {MAX_DAYS} days")]
    BadDays { first: Date, last: Date },
    #[error("ahead_days is {days}; a standing order grants at most {MAX_AHEAD} days ahead")]
    BadAhead { days: u16 },
}

/// Terms and the date that they start on. Versions are numbered from 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    pub from: Date,
    pub terms: Box<Terms>,
}

/// A policy that grants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Book {
    pub company: CompanyId,
    pub group: Option<GroupId>,
    pub currency: Currency,
    pub zone: String,
    pub versions: Vec<Version>,
    pub ends: Option<Date>,
    /// None: its grants are made on request.
    pub standing: Option<Standing>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Policy {
    #[default]
    Unopened,
    Open(Box<Book>),
}

/// Dates to grant for, both included, by the first so many versions of a policy: what is set later
/// does not change a run that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Range {
    #[schemars(with = "String")]
    pub first: Date,
    #[schemars(with = "String")]
    pub last: Date,
    pub versions: u32,
}

impl Policy {
    pub fn book(&self) -> Result<&Book, Error> {
        match self {
            Policy::Unopened => Err(Error::NotOpen),
            Policy::Open(book) => Ok(book),
        }
    }
}

impl Book {
    /// The terms of a version.
    pub fn terms(&self, version: u32) -> Option<&Terms> {
        let index = usize::try_from(version).ok()?.checked_sub(1)?;
        self.versions.get(index).map(|version| &*version.terms)
    }

    /// The dates from `first` to `last` as the policy stands now, and the versions that it has.
    pub fn range(&self, first: Date, last: Date) -> Result<Range, Error> {
        check_days(first, last)?;
        let versions = u32::try_from(self.versions.len()).unwrap_or(u32::MAX);
        match self.ends {
            Some(ends) if ends <= first => Err(Error::Ended { from: ends }),
            Some(ends) if ends <= last => Ok(Range { first, last: plus(ends, (-1).days()), versions }),
            _ => Ok(Range { first, last, versions }),
        }
    }

    /// The version of `range` that is in force for `date`, with its number.
    pub(crate) fn on(&self, date: Date, range: &Range) -> Option<(u32, &Terms)> {
        let known = &self.versions[..self.versions.len().min(usize::try_from(range.versions).ok()?)];
        let index = known.iter().rposition(|version| version.from <= date)?;
        Some((u32::try_from(index).ok()? + 1, &known[index].terms))
    }
}

pub(crate) fn check_days(first: Date, last: Date) -> Result<(), Error> {
    let count = first.until(last).map_or(-1, |span| span.get_days());
    if (0..MAX_DAYS).contains(&count) { Ok(()) } else { Err(Error::BadDays { first, last }) }
}

impl Aggregate for Policy {
    const NAME: &'static str = "policy";
    const STATE_VERSION: u32 = 2;
    type Id = PolicyId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn stream_key(id: PolicyId) -> (StreamKind, uuid::Uuid) {
        (StreamKind::Policy, id.0)
    }

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        let book = match (self, command) {
            (Policy::Unopened, Command::Open { company, group, currency, zone }) => {
                bundled_zone(&zone).ok_or_else(|| Error::BadZone(zone.chars().take(80).collect()))?;
                return Ok(vec![Event::Opened { company, group, currency, zone }]);
            }
            (Policy::Open(book), Command::Open { company, group, currency, zone }) => {
                let same = (book.company, book.group, book.currency, &book.zone) == (company, group, currency, &zone);
                return if same { Ok(vec![]) } else { Err(Error::OpenedAlready) };
            }
            (policy, command) => (policy.book()?, command),
        };
        match book {
            (book, Command::SetTerms { from, terms }) => book.set_terms(from, terms),
            (book, Command::End { from }) => match book.ends {
                Some(ends) if ends == from => Ok(vec![]),
                Some(ends) if ends < from => Err(Error::Ended { from: ends }),
                _ => Ok(vec![Event::Ended { from }]),
            },
            (book, Command::SetStanding { ahead_days }) => book.set_standing(ahead_days),
            (book, Command::EndStanding) => Ok(book.standing.iter().map(|_| Event::StandingEnded).collect()),
            (book, Command::DelayStanding { first, why }) => Ok(book.delay(first, why)),
            (_, Command::Open { .. }) => Ok(vec![]),
        }
    }

    fn evolve(&mut self, event: &Event, _at: Timestamp) {
        match (self, event) {
            (policy, Event::Opened { company, group, currency, zone }) => {
                let (versions, ends) = (vec![], None);
                let (company, group) = (*company, *group);
                let (zone, standing) = (zone.clone(), None);
                let book = Book { company, group, currency: *currency, zone, versions, ends, standing };
                *policy = Policy::Open(Box::new(book));
            }
            (Policy::Open(book), Event::TermsSet { from, terms, .. }) => {
                book.versions.push(Version { from: *from, terms: terms.clone() });
            }
            (Policy::Open(book), Event::Ended { from }) => book.ends = Some(*from),
            (Policy::Open(book), Event::StandingSet { ahead_days }) => {
                book.standing = Some(Standing { ahead_days: *ahead_days, delayed: None });
            }
            (Policy::Open(book), Event::StandingEnded) => book.standing = None,
            (Policy::Open(book), Event::StandingDelayed { first, why }) => {
                if let Some(standing) = &mut book.standing {
                    standing.delayed = Some((*first, *why));
                }
            }
            (
                Policy::Unopened,
                Event::TermsSet { .. }
                | Event::Ended { .. }
                | Event::StandingSet { .. }
                | Event::StandingEnded
                | Event::StandingDelayed { .. },
            ) => {}
        }
    }
}

impl Book {
    fn set_terms(&self, from: Date, terms: Box<Terms>) -> Result<Vec<Event>, Error> {
        let version = u32::try_from(self.versions.len()).unwrap_or(u32::MAX);
        if self.versions.last().is_some_and(|last| last.from == from && last.terms == terms) {
            return Ok(vec![]);
        }
        terms.check(self.currency)?;
        match (self.ends, self.versions.last()) {
            (Some(ends), _) if ends <= from => Err(Error::Ended { from: ends }),
            (_, Some(last)) if from <= last.from => Err(Error::Overlaps { version, from: last.from }),
            _ if self.versions.len() >= MAX_VERSIONS => Err(Error::TooManyVersions),
            _ => Ok(vec![Event::TermsSet { version: version + 1, from, terms }]),
        }
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
