//! A policy's standing order: its grants make themselves, some days before each period begins.

use jiff::{ToSpan, civil::Date};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Money, PolicyId, derived_id,
    policy::{Book, Error, Event, Per, Range},
};

/// Most days that a standing order grants ahead.
pub const MAX_AHEAD: u16 = 31;

/// That a policy's grants are to make themselves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// So many days before a period's first day, at midnight in the policy's zone.
    pub ahead_days: u16,
    /// What the last attempt that was refused waits for.
    pub delayed: Option<(Date, Delay)>,
}

/// Why the grants of a period have to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Delay {
    /// The company has less than is to be granted.
    Funds { needed: Money, short: Money },
    /// The company's account is not open, or frozen.
    Company,
}

/// The days that one run of a standing order is for, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub first: Date,
    pub last: Date,
}

impl Period {
    /// The key of its run. Runs that the company's funds cut short are counted by `attempt`, from 0: each
    /// has ended, so what it left is for a run of its own. A month's is not that of its first day, which it has
    /// where the policy was by the day when that was granted.
    pub fn key(&self, policy: PolicyId, attempt: u32) -> uuid::Uuid {
        let (first, attempt) = (self.first.to_string(), attempt.to_le_bytes());
        let parts: [&[u8]; 5] = [b"standing", policy.0.as_bytes(), first.as_bytes(), &attempt, b"month"];
        derived_id(policy.0, if self.first == self.last { &parts[..4] } else { &parts })
    }
}

impl Book {
    /// The periods that a standing order has begun to grant for by `today`, the earliest first. One that
    /// is over is not among them. Empty without a standing order.
    pub fn periods(&self, today: Date) -> Vec<Period> {
        let mut periods: Vec<Period> = Vec::new();
        let Some(Standing { ahead_days, .. }) = self.standing else { return periods };
        let horizon = today.saturating_add(i64::from(ahead_days).days());
        let versions = u32::try_from(self.versions.len()).unwrap_or(u32::MAX);
        let range = Range { first: today, last: horizon, versions };
        for date in today.series(1.day()).take_while(|date| *date <= horizon) {
            if self.ends.is_some_and(|ends| ends <= date) {
                break;
            }
            let Some((_, terms)) = self.on(date, &range) else { continue };
            let period = match terms.per {
                Per::Month => Period { first: date.first_of_month(), last: date.last_of_month() },
                Per::Day | Per::Meal if terms.calendar.includes(date) => Period { first: date, last: date },
                Per::Day | Per::Meal => continue,
            };
            if periods.last() != Some(&period) {
                periods.push(period);
            }
        }
        periods
    }

    pub(crate) fn set_standing(&self, ahead_days: u16) -> Result<Vec<Event>, Error> {
        match self.standing {
            _ if ahead_days > MAX_AHEAD => Err(Error::BadAhead { days: ahead_days }),
            Some(standing) if standing.ahead_days == ahead_days => Ok(vec![]),
            _ => Ok(vec![Event::StandingSet { ahead_days }]),
        }
    }

    /// The same reason again is no news; nothing waits where nothing stands any more.
    pub(crate) fn delay(&self, first: Date, why: Delay) -> Vec<Event> {
        match self.standing {
            Some(standing) if standing.delayed != Some((first, why)) => vec![Event::StandingDelayed { first, why }],
            Some(_) | None => vec![],
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::{
        Aggregate, CompanyId, Currency, Timestamp,
        aggregate::given,
        policy::{Calendar, Clearing, Command, Policy, Terms},
        serving::Meal,
        testing::{cny, id},
    };

    const FRIDAY: Date = date(2026, 11, 27);
    const START: Date = date(2026, 11, 23);

    fn opened() -> Event {
        Event::Opened { company: CompanyId(id(1)), group: None, currency: Currency::CNY, zone: "Asia/Shanghai".into() }
    }

    fn terms(version: u32, from: Date, per: Per) -> Event {
        let calendar = Calendar { weekdays: (1..=5).collect(), holidays: [].into(), extra: [].into() };
        let terms = Terms {
            amount: cny(2_000),
            per,
            clearing: Clearing::Monthly,
            calendar,
            meals: [Meal::Lunch].into(),
            canteens: [].into(),
            order_limit: None,
            share_percent: None,
            cleared_on_leaving: false,
        };
        Event::TermsSet { version, from, terms: Box::new(terms) }
    }

    fn set(ahead_days: u16) -> Event {
        Event::StandingSet { ahead_days }
    }

    fn delayed(short: i64) -> (Date, Delay) {
        (FRIDAY, Delay::Funds { needed: cny(2_000), short: cny(short) })
    }

    fn periods(events: &[Event], today: Date) -> Vec<(Date, Date)> {
        let mut policy = Policy::default();
        events.iter().for_each(|event| policy.evolve(event, Timestamp::EPOCH));
        policy.book().unwrap().periods(today).iter().map(|period| (period.first, period.last)).collect()
    }

    #[test]
    fn it_is_set_once_changed_and_ended_once() {
        let command = |ahead_days| Command::SetStanding { ahead_days };
        given::<Policy>([opened()]).when(command(7)).then([set(7)]);
        given::<Policy>([opened(), set(7)]).when(command(7)).then([]);
        given::<Policy>([opened(), set(7)]).when(command(0)).then([set(0)]);
        given::<Policy>([opened(), set(7)]).when(Command::EndStanding).then([Event::StandingEnded]);
        given::<Policy>([opened(), set(7), Event::StandingEnded]).when(Command::EndStanding).then([]);
        given::<Policy>([opened()]).when(command(MAX_AHEAD + 1)).refused(Error::BadAhead { days: MAX_AHEAD + 1 });
        given::<Policy>([]).when(command(7)).refused(Error::NotOpen);
        given::<Policy>([]).when(Command::EndStanding).refused(Error::NotOpen);
    }

    #[test]
    fn why_it_waits_is_recorded_when_it_changes() {
        let (first, why) = delayed(100);
        let delay = Command::DelayStanding { first, why };
        let event = Event::StandingDelayed { first, why };
        let had = [opened(), set(7), event.clone()];
        given::<Policy>(had[..2].to_vec()).when(delay.clone()).then([event.clone()]);
        given::<Policy>(had.clone()).when(delay.clone()).then([]);
        let other = Command::DelayStanding { first, why: Delay::Company };
        given::<Policy>(had.clone()).when(other).then([Event::StandingDelayed { first, why: Delay::Company }]);
        given::<Policy>([opened(), set(7), Event::StandingEnded]).when(delay).then([]);
    }

    #[test]
    fn periods_are_working_days_up_to_the_horizon() {
        let events = [opened(), terms(1, START, Per::Day), set(3)];
        let monday = date(2026, 11, 30);
        assert_eq!(periods(&events, FRIDAY), [(FRIDAY, FRIDAY), (monday, monday)], "no weekend");
        assert_eq!(periods(&events[..2], FRIDAY), [], "nothing stands");
        assert_eq!(periods(&events, date(2026, 11, 19)), [], "no terms are in force by then");
        let ended = [&events[..], &[Event::Ended { from: monday }]].concat();
        assert_eq!(periods(&ended, FRIDAY), [(FRIDAY, FRIDAY)]);
        assert_eq!(periods(&[opened(), terms(1, START, Per::Meal), set(0)], FRIDAY), [(FRIDAY, FRIDAY)]);
    }

    #[test]
    fn a_month_is_one_period_from_so_many_days_before_it() {
        let events = [opened(), terms(1, START, Per::Month), set(3)];
        let november = (date(2026, 11, 1), date(2026, 11, 30));
        let december = (date(2026, 12, 1), date(2026, 12, 31));
        assert_eq!(periods(&events, FRIDAY), [november]);
        assert_eq!(periods(&events, date(2026, 11, 28)), [november, december]);
        // From December on by the day.
        let changed = [&events[..], &[terms(2, date(2026, 12, 1), Per::Day)]].concat();
        let first = date(2026, 12, 1);
        assert_eq!(periods(&changed, date(2026, 11, 28)), [november, (first, first)]);
    }

    #[test]
    fn a_periods_run_has_one_key_and_another_after_it_fell_short() {
        let (policy, day) = (PolicyId(id(2)), Period { first: FRIDAY, last: FRIDAY });
        let other = Period { first: START, last: START };
        let (first, last) = (date(2026, 12, 1), date(2026, 12, 31));
        let (month, first_day) = (Period { first, last }, Period { first, last: first });
        let keys = [day.key(policy, 0), day.key(policy, 1), other.key(policy, 0), day.key(PolicyId(id(3)), 0)];
        let keys = [&keys[..], &[month.key(policy, 0), first_day.key(policy, 0)]].concat();
        assert!((1..6).all(|index| !keys[..index].contains(&keys[index])), "{keys:?}");
    }
}
