//! Lots: a diner's subsidy in portions, each with an expiry and the servings that it may pay for.

use std::collections::BTreeMap;

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{GrantRunId, LotId, PolicyId, Timestamp, serving::Meal};

/// Most lots that one account keeps at a time: a year of working days, and then some.
pub const MAX_LOTS: usize = 400;

/// The servings that a lot may pay for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Serves {
    #[schemars(with = "String")]
    pub first: Date,
    /// Included.
    #[schemars(with = "String")]
    pub last: Date,
    /// Only this meal; any if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meal: Option<Meal>,
}

impl Serves {
    pub fn includes(&self, date: Date, meal: Meal) -> bool {
        (self.first..=self.last).contains(&date) && self.meal.is_none_or(|only| only == meal)
    }
}

/// What a lot is granted on. It keeps the version of the policy that it was granted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Terms {
    pub policy: PolicyId,
    pub version: u32,
    /// Who granted it; its ledger account is `transit:{run}`.
    pub run: GrantRunId,
    /// It can be spent from `starts_at` up to, not including, `expires_at`.
    pub starts_at: Timestamp,
    pub expires_at: Timestamp,
    pub serves: Serves,
}

impl Terms {
    /// Whether it can be spent at `at` on such a serving.
    pub fn pays_for(&self, of: Use) -> bool {
        self.starts_at <= of.at && of.at < self.expires_at && self.serves.includes(of.date, of.meal)
    }
}

/// When a lot is to be spent, and on what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    pub at: Timestamp,
    /// Of the serving.
    pub date: Date,
    pub meal: Meal,
}

/// A lot that has money, or may still get some back. Amounts are minor units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lot {
    pub terms: Terms,
    /// What was not spent, held included.
    pub left: i64,
    pub held: i64,
    /// Nothing more can be spent: what is still held ends in `prepaid` or in `breakage`.
    pub expired: bool,
}

impl Lot {
    /// What can be held of it.
    pub fn free(&self) -> i64 {
        if self.expired { 0 } else { self.left - self.held }
    }

    /// Whether it has ended, and nothing of it is held.
    fn is_done(&self) -> bool {
        self.expired && self.left == 0 && self.held == 0
    }
}

/// The lots of one account, until they have expired and nothing of them is held.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lots(BTreeMap<LotId, Lot>);

impl Lots {
    pub fn get(&self, lot: LotId) -> Option<&Lot> {
        self.0.get(&lot)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn all(&self) -> impl Iterator<Item = &Lot> {
        self.0.values()
    }

    /// What can be held of all of them: it is kept for the servings that each may pay for.
    pub fn free(&self) -> i64 {
        self.0.values().map(Lot::free).sum()
    }

    /// Those that can pay for a serving, the earliest expiry first.
    pub fn payable(&self, of: Use) -> Vec<(LotId, Lot)> {
        let payable = |lot: &Lot| lot.free() > 0 && lot.terms.pays_for(of);
        let mut lots: Vec<_> = self.0.iter().filter(|(_, lot)| payable(lot)).map(|(id, lot)| (*id, *lot)).collect();
        lots.sort_by_key(|(id, lot)| (lot.terms.expires_at, *id));
        lots
    }

    /// Those that have not been ended.
    pub fn open(&self) -> impl Iterator<Item = LotId> {
        self.0.iter().filter(|(_, lot)| !lot.expired).map(|(id, _)| *id)
    }

    /// Those whose time has come, and how much of each lapses. Of one that ended before its time that is nothing.
    pub fn due(&self, at: Timestamp) -> impl Iterator<Item = (LotId, i64)> {
        let due = move |lot: &Lot| lot.terms.expires_at <= at && (!lot.expired || lot.is_done());
        self.0.iter().filter(move |(_, lot)| due(lot)).map(|(id, lot)| (*id, lot.free()))
    }

    pub(crate) fn grant(&mut self, id: LotId, terms: Terms, minor: i64) {
        self.0.insert(id, Lot { terms, left: minor, held: 0, expired: false });
    }

    pub(crate) fn hold(&mut self, id: LotId, minor: i64) {
        if let Some(lot) = self.0.get_mut(&id) {
            lot.held += minor;
        }
    }

    /// Gives up a hold; `spent` is what was taken of it.
    pub(crate) fn unhold(&mut self, id: LotId, minor: i64, spent: i64, at: Timestamp) {
        if let Some(lot) = self.0.get_mut(&id) {
            lot.held -= minor;
            lot.left -= spent;
            self.forget_if_done(id, at);
        }
    }

    pub(crate) fn refund(&mut self, id: LotId, minor: i64) {
        if let Some(lot) = self.0.get_mut(&id) {
            lot.left += minor;
        }
    }

    /// Ends a lot: what is not held is gone, from it at least.
    pub(crate) fn lapse(&mut self, id: LotId, at: Timestamp) {
        if let Some(lot) = self.0.get_mut(&id) {
            lot.expired = true;
            lot.left = lot.held;
            self.forget_if_done(id, at);
        }
    }

    /// The payment remembers which lot each of its tenders came from, so an account need not. Until its time has
    /// come a lot is known all the same, so that nobody grants it again.
    fn forget_if_done(&mut self, id: LotId, at: Timestamp) {
        // What a release leaves of an expired lot lapses with the next event.
        if self.0.get(&id).is_some_and(|lot| lot.is_done() && lot.terms.expires_at <= at) {
            self.0.remove(&id);
        }
    }
}

#[cfg(test)]
#[path = "lot_tests.rs"]
mod tests;
