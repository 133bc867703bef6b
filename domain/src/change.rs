//! Changing what a confirmed order is for: ChangeBegun → Changed or ChangeRefused → ChangeSettled.
//! Nothing else happens to the order in between.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ChangeId, Money, RefundId, Timestamp,
    order::{Channel, Error, Event, Line, Order, RefundReason, Refusal, Taken},
    placement::check_lines,
};

/// Most changes of one order. Each may add tenders to its payment.
pub const MAX_CHANGES: usize = 5;

/// What an order is to be for instead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    pub change: ChangeId,
    pub lines: Vec<Line>,
    pub total: Money,
}

/// What came of a change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Made {
    Changed,
    Refused(Refusal),
}

/// A change that has not come to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changing {
    pub change: Change,
    /// When it was asked for.
    pub at: Timestamp,
    /// None until it is decided.
    pub made: Option<Made>,
}

impl Order {
    /// What came of a change, once that is decided.
    pub fn made_of(&self, change: ChangeId) -> Option<&Made> {
        let ticket = self.ticket()?;
        match &ticket.changing {
            Some(changing) if changing.change.change == change => changing.made.as_ref(),
            _ => ticket.changes.get(&change),
        }
    }

    /// Whether nothing else can happen to it before a change is settled.
    pub fn is_changing(&self) -> bool {
        self.ticket().is_some_and(|ticket| ticket.changing.is_some())
    }

    pub(crate) fn begin_change(&self, change: Change, at: Timestamp) -> Result<Vec<Event>, Error> {
        let Some(ticket) = self.ticket() else { return Err(Error::Unknown) };
        if ticket.changes.contains_key(&change.change) {
            return Ok(vec![]);
        }
        match (&ticket.changing, self) {
            (Some(known), _) if known.change == change => return Ok(vec![]),
            (Some(_), _) => return Err(Error::Changing),
            // A till's history is as it was, and a walk-up is handed over in that moment.
            (None, Order::Confirmed(ticket)) if matches!(ticket.placed.channel, Channel::Online | Channel::Counter) => {
            }
            (None, order) => return order.cannot("CHANGED"),
        }
        if at >= ticket.placed.lock_at {
            return Err(Error::KitchenLocked { at: ticket.placed.lock_at });
        }
        if !ticket.is_at_price() {
            return Err(Error::PartlyRefunded);
        }
        if ticket.changes.len() >= MAX_CHANGES {
            return Err(Error::TooManyChanges);
        }
        let (found, expected) = (change.total.currency, ticket.placed.total.currency);
        if found != expected {
            return Err(crate::MoneyError::Mixed { left: expected, right: found }.into());
        }
        check_lines(&change.lines, change.total)?;
        Ok(vec![Event::ChangeBegun { serving: ticket.placed.serving, change }])
    }

    /// Makes the change. What the order has been paid more than it costs from now on goes back.
    pub(crate) fn make_change(&self, change: ChangeId) -> Result<Vec<Event>, Error> {
        let Some(ticket) = self.ticket() else { return Err(Error::Unknown) };
        let changing = match (&ticket.changing, self.made_of(change)) {
            (_, Some(Made::Changed)) => return Ok(vec![]),
            (Some(changing), None) if changing.change.change == change => changing,
            _ => return self.cannot("CHANGED"),
        };
        let back = ticket.net().minus(changing.change.total)?;
        let of_nothing = Taken { lines: vec![], amounts: vec![], first: vec![] };
        let begun =
            back.is_positive().then(|| ticket.begin_of(RefundId(change.0), of_nothing, back, RefundReason::Changed));
        // The refund is of the order as it was: it takes nothing of the new lines.
        Ok(begun.into_iter().chain([Event::Changed(changing.change.clone())]).collect())
    }

    pub(crate) fn refuse_change(&self, change: ChangeId, refusal: Refusal) -> Result<Vec<Event>, Error> {
        let Some(ticket) = self.ticket() else { return Err(Error::Unknown) };
        match (&ticket.changing, self.made_of(change)) {
            (_, Some(Made::Refused(_))) => Ok(vec![]),
            (Some(changing), None) if changing.change.change == change => {
                Ok(vec![Event::ChangeRefused { change, refusal }])
            }
            _ => self.cannot("CHANGED"),
        }
    }

    pub(crate) fn settle_change(&self, change: ChangeId) -> Result<Vec<Event>, Error> {
        let Some(ticket) = self.ticket() else { return Err(Error::Unknown) };
        match &ticket.changing {
            Some(Changing { change: known, made: Some(_), .. }) if known.change == change => {
                Ok(vec![Event::ChangeSettled { change }])
            }
            _ if ticket.changes.contains_key(&change) => Ok(vec![]),
            _ => self.cannot("CHANGED"),
        }
    }
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
