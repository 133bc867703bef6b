//! The lots that a policy has for a diner: each date and meal is granted for once, whichever of its versions
//! it was.

use jiff::{ToSpan, civil::Date, tz::TimeZone};

use crate::{
    DinerId, GrantRunId, LotId, Money, PolicyId, Timestamp, bundled_zone, derived_id, first_instant,
    lot::{self, Lots, Serves},
    policy::{Book, Calendar, Error, Per, Range, Terms, check_days, plus},
    serving::Meal,
};

/// A lot that is to be granted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lot {
    pub id: LotId,
    /// The last date that it is for; it may pay for longer.
    pub until: Date,
    pub terms: lot::Terms,
    pub amount: Money,
}

impl Lot {
    fn part(&self) -> Part {
        Part { first: self.terms.serves.first, until: self.until, meal: self.terms.serves.meal }
    }
}

/// The dates, both included, and the meal that a lot is for.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Part {
    first: Date,
    until: Date,
    /// None: every meal.
    meal: Option<Meal>,
}

impl Part {
    fn meets(&self, other: &Part) -> bool {
        let same_meal = self.meal.is_none() || other.meal.is_none() || self.meal == other.meal;
        same_meal && self.first <= other.until && other.first <= self.until
    }

    /// Its longest piece beside `known`, by working days; the later one of two that are as long.
    fn beside(&self, known: &[Part], calendar: &Calendar) -> Option<(Date, Date)> {
        let known: Vec<&Part> = known.iter().filter(|part| self.meets(part)).collect();
        if known.is_empty() {
            return Some((self.first, self.until));
        }
        let (mut longest, mut days) = (None, 0_u32);
        let (mut first, mut worked) = (self.first, 0);
        for date in self.first.series(1.day()).take_while(|date| *date <= self.until) {
            if known.iter().any(|part| (part.first..=part.until).contains(&date)) {
                (first, worked) = (plus(date, 1.day()), 0);
            } else {
                worked += u32::from(calendar.includes(date));
                if worked > 0 && worked >= days {
                    (longest, days) = (Some((first, date)), worked);
                }
            }
        }
        longest
    }
}

/// What a policy has for one diner by one run.
struct Granting<'a> {
    book: &'a Book,
    zone: TimeZone,
    policy: PolicyId,
    diner: DinerId,
    run: GrantRunId,
    at: Timestamp,
}

impl Granting<'_> {
    /// The lots of a date, by the version that is in force for it.
    fn on(&self, date: Date, version: u32, terms: &Terms) -> Vec<Lot> {
        match terms.per {
            Per::Month => vec![self.month(date, version, terms)],
            _ if !terms.calendar.includes(date) => vec![],
            Per::Day => vec![self.lot((version, terms), (date, date), None)],
            Per::Meal => terms.meals.iter().map(|meal| self.lot((version, terms), (date, date), Some(*meal))).collect(),
        }
    }

    /// A month that other terms were for until its version began is for the rest of the month.
    fn month(&self, date: Date, version: u32, terms: &Terms) -> Lot {
        let (month, last) = (date.first_of_month(), date.last_of_month());
        let mut lot = self.lot((version, terms), (month, last), None);
        let before = self.book.earlier(version);
        if before.iter().any(|version| version.terms.per != Per::Month) {
            // The first day of a month has a lot of its own in a policy that was by the day or meal.
            lot.id = LotId(derived_id(self.diner.0, &[b"lot", self.policy.0.as_bytes(), b"month", &name_of(month)]));
        }
        if before.last().is_some_and(|version| version.terms.per != Per::Month) {
            lot.terms.serves.first = self.book.versions[before.len()].from.max(month);
        }
        lot
    }

    fn lot(&self, (version, terms): (u32, &Terms), (date, until): (Date, Date), meal: Option<Meal>) -> Lot {
        let of_meal = meal.map_or("", Meal::name);
        let parts: [&[u8]; 4] = [b"lot", self.policy.0.as_bytes(), &name_of(date), of_meal.as_bytes()];
        let id = LotId(derived_id(self.diner.0, &parts));
        let serves = Serves { first: date, last: terms.last_day(date), meal };
        let (policy, run, starts_at, expires_at) = (self.policy, self.run, self.at, self.ends(terms, date));
        let of_lot = lot::Terms { policy, version, run, starts_at, expires_at, serves };
        Lot { id, until, terms: of_lot, amount: terms.amount }
    }

    fn ends(&self, terms: &Terms, date: Date) -> Timestamp {
        let midnight = plus(terms.last_day(date), 1.day()).at(0, 0, 0, 0);
        first_instant(midnight, &self.zone).unwrap_or(Timestamp::EPOCH)
    }

    /// What earlier versions may have granted of a lot's dates and is over by now: an account has forgotten it,
    /// so it is taken as granted.
    fn over(&self, lot: &Lot) -> Vec<Part> {
        let mut over = Vec::new();
        for version in self.book.earlier(lot.terms.version) {
            let terms = &version.terms;
            let dates = lot.terms.serves.first.max(version.from).series(1.day());
            for date in dates.take_while(|date| *date <= lot.until && self.ends(terms, *date) <= self.at) {
                let part = |meal| Part { first: date, until: date, meal };
                match terms.per {
                    Per::Day | Per::Meal if !terms.calendar.includes(date) => {}
                    Per::Month | Per::Day => over.push(part(None)),
                    Per::Meal => over.extend(terms.meals.iter().map(|meal| part(Some(*meal)))),
                }
            }
        }
        over
    }
}

fn name_of(date: Date) -> Vec<u8> {
    date.to_string().into_bytes()
}

impl Book {
    /// The versions before one.
    fn earlier(&self, version: u32) -> &[crate::policy::Version] {
        let before = usize::try_from(version).unwrap_or(usize::MAX).saturating_sub(1);
        &self.versions[..before.min(self.versions.len())]
    }

    /// What one diner is granted for the dates of `range` by a run at `at`. The lots of the same diner, policy and
    /// time always have the same ids, so that no run grants twice; what [`Book::lacking`] says of them is for
    /// dates that other terms have granted for.
    pub fn lots(
        &self,
        policy: PolicyId,
        diner: DinerId,
        range: &Range,
        (run, at): (GrantRunId, Timestamp),
    ) -> Result<Vec<Lot>, Error> {
        let zone = bundled_zone(&self.zone).ok_or_else(|| Error::BadZone(self.zone.clone()))?;
        check_days(range.first, range.last)?;
        let granting = Granting { book: self, zone, policy, diner, run, at };
        let mut lots: Vec<Lot> = Vec::new();
        for date in range.first.series(1.day()).take_while(|date| *date <= range.last) {
            let Some((version, terms)) = self.on(date, range) else { continue };
            for lot in granting.on(date, version, terms) {
                let known = terms.per == Per::Month && lots.iter().any(|known| known.id == lot.id);
                match version {
                    _ if known => {}
                    1 => lots.push(lot),
                    _ => {
                        let before = granting.over(&lot).into_iter().chain(lots.iter().map(Lot::part));
                        lots.extend(self.beside(lot, &before.collect::<Vec<_>>()));
                    }
                }
            }
        }
        lots.retain(|lot| at < lot.terms.expires_at);
        Ok(lots)
    }

    /// Those of `lots` that are lacking beside what a diner has. A lot for dates that one of the same policy is for
    /// already, on whatever terms, is not; a month that has been granted for in part is for the rest of it.
    pub fn lacking(&self, lots: Vec<Lot>, has: &Lots) -> Vec<Lot> {
        let Some(policy) = lots.first().map(|lot| lot.terms.policy) else { return lots };
        let of_policy = has.all().filter(|known| known.terms.policy == policy);
        let known: Vec<Part> = of_policy.map(|known| self.part(&known.terms)).collect();
        let lacking = lots.into_iter().filter(|lot| has.get(lot.id).is_none());
        lacking.filter_map(|lot| self.beside(lot, &known)).collect()
    }

    /// Whether a lot's dates were granted for on other terms.
    pub fn is_granted_otherwise(&self, lot: &Lot, has: &Lots) -> bool {
        let mut of_policy = has.all().filter(|known| known.terms.policy == lot.terms.policy);
        has.get(lot.id).is_none() && of_policy.any(|known| self.part(&known.terms).meets(&lot.part()))
    }

    /// What a lot that was granted is for.
    fn part(&self, terms: &lot::Terms) -> Part {
        let Serves { first, last, meal } = terms.serves;
        let of_month = self.terms(terms.version).is_some_and(|terms| terms.per == Per::Month);
        Part { first, until: if of_month { last.min(first.last_of_month()) } else { first }, meal }
    }

    fn beside(&self, mut lot: Lot, known: &[Part]) -> Option<Lot> {
        let part = lot.part();
        let (first, until) = part.beside(known, &self.terms(lot.terms.version)?.calendar)?;
        if until < lot.until {
            (lot.until, lot.terms.serves.last) = (until, until);
        }
        lot.terms.serves.first = first;
        Some(lot)
    }
}

#[cfg(test)]
#[path = "grants_tests.rs"]
mod tests;
