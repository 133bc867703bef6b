//! An open account: what it has, what is held of it, and what it decides.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Command, Disclosure, Error, Event, MAX_PAYOUTS};
use crate::{
    Currency, HoldId, LotId, Money, PayoutId, Timestamp,
    lot::{self, Lots, MAX_LOTS},
    settlements::{
        Settled, Settlements, batch_key, invoice_key, payment_key, payout_key, refund_key, run_key, void_key,
    },
};

/// An open account. Amounts are minor units of its currency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Book {
    pub currency: Currency,
    pub posted: i64,
    pub held: i64,
    pub floor: i64,
    pub frozen: bool,
    /// What is invoiced and not paid. It is not posted any more, and still uses up credit.
    pub receivable: i64,
    /// How many invoices there were.
    pub invoices: u32,
    pub disclosure: Disclosure,
    /// Money in no lot pays for anything and does not expire.
    pub lots: Lots,
    holds: BTreeMap<HoldId, Hold>,
    payouts: BTreeMap<PayoutId, i64>,
    pub(super) settled: Settlements,
}

/// What is held, and of which lot.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Hold {
    minor: i64,
    lot: Option<LotId>,
}

impl Book {
    pub(super) fn new(currency: Currency) -> Self {
        let (lots, holds, payouts) = (Lots::default(), BTreeMap::new(), BTreeMap::new());
        let settled = Settlements::default();
        let (receivable, invoices, disclosure) = (0, 0, Disclosure::Amounts);
        Book {
            currency,
            posted: 0,
            held: 0,
            floor: 0,
            frozen: false,
            receivable,
            invoices,
            disclosure,
            lots,
            holds,
            payouts,
            settled,
        }
    }

    /// What can be held that is in no lot.
    pub fn loose(&self) -> Money {
        Money::new(self.available().minor - self.lots.free(), self.currency)
    }

    /// What can be held: posted less held and less what is invoiced, above the floor. Negative after a debt.
    pub fn available(&self) -> Money {
        Money::new(self.posted - self.held - self.receivable - self.floor, self.currency)
    }

    /// What is owed and not invoiced.
    pub fn owed(&self) -> Money {
        Money::new((-self.posted).max(0), self.currency)
    }

    pub fn receivable(&self) -> Money {
        Money::new(self.receivable, self.currency)
    }

    pub fn posted(&self) -> Money {
        Money::new(self.posted, self.currency)
    }

    pub fn held(&self) -> Money {
        Money::new(self.held, self.currency)
    }

    fn expect(&self, amount: Money) -> Result<(), Error> {
        Money::zero(self.currency).plus(amount)?;
        Ok(())
    }
}

pub(super) fn positive(amount: Money) -> Result<(), Error> {
    amount.checked()?;
    if amount.is_positive() { Ok(()) } else { Err(Error::NotPositive) }
}

impl Book {
    pub(super) fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        self.check_amount(&command)?;
        if let Some(answer) = self.settled.answer(&command) {
            return answer.map(|()| vec![]);
        }
        match command {
            Command::Deposit { deposit, amount, source } => {
                self.posted().plus(amount)?;
                Ok(vec![Event::Deposited { deposit, amount, source }])
            }
            Command::Grant { lot, terms, amount, at } => self.grant(lot, terms, amount, at),
            Command::Hold { hold, amount, from } => self.hold(hold, amount, from),
            Command::Capture { hold } => match self.holds.get(&hold) {
                Some(held) => Ok(vec![Event::Captured { hold, amount: Money::new(held.minor, self.currency) }]),
                None => Err(Error::UnknownHold),
            },
            Command::Release { hold } => Ok(self.release(hold)),
            Command::Refund { refund, hold, amount, from, lot } => {
                // Only an amount that nobody can be owed would pass the bound.
                self.posted().plus(amount)?;
                Ok(vec![match lot {
                    Some(lot) if self.lots.get(lot).is_none_or(|lot| lot.expired) => {
                        Event::RefundLapsed { refund, hold, amount, from, lot }
                    }
                    lot => Event::Refunded { refund, hold, amount, from, lot },
                }])
            }
            Command::Expire { at } => Ok(self.lapse(self.lots.due(at))),
            Command::Clear { lots } => Ok(self.clear(&lots)),
            Command::Allocate { run, batch, amount } => {
                self.spendable(amount)?;
                Ok(vec![Event::Allocated { run, batch, amount }])
            }
            Command::TakeBack { run, amount } => {
                self.posted().plus(amount)?;
                Ok(vec![Event::TakenBack { run, amount }])
            }
            Command::HoldPayout { payout, amount } => self.hold_payout(payout, amount),
            Command::PayOut { payout } => match self.payouts.get(&payout) {
                Some(minor) => Ok(vec![Event::PaidOut { payout, amount: Money::new(*minor, self.currency) }]),
                None => Err(Error::UnknownHold),
            },
            Command::ReleasePayout { payout } => {
                let minor = self.payouts.get(&payout).copied().unwrap_or_default();
                Ok(vec![Event::PayoutReleased { payout, amount: Money::new(minor, self.currency) }])
            }
            Command::Adjust { adjustment, by, reason } => {
                self.posted().plus(by)?;
                Ok(vec![Event::Adjusted { adjustment, by, reason }])
            }
            Command::SetFloor { floor } => self.set_floor(floor),
            Command::Invoice { invoice, through, due_on } => {
                let (number, amount) = (self.invoices + 1, self.owed());
                if !amount.is_positive() {
                    return Err(Error::NothingOwed);
                }
                Ok(vec![Event::Invoiced { invoice, number, amount, through, due_on }])
            }
            Command::TakePayment { invoice, payment, amount } => {
                self.expect_receivable(amount)?;
                Ok(vec![Event::InvoicePaid { invoice, payment, amount }])
            }
            Command::TakeBackInvoice { invoice, amount } => {
                self.expect_receivable(amount)?;
                Ok(vec![Event::InvoiceVoided { invoice, amount }])
            }
            Command::SetDisclosure { disclosure } if disclosure == self.disclosure => Ok(vec![]),
            Command::SetDisclosure { disclosure } => Ok(vec![Event::DisclosureSet { disclosure }]),
            Command::Freeze if self.frozen => Ok(vec![]),
            Command::Freeze => Ok(vec![Event::Frozen]),
            Command::Unfreeze if self.frozen => Ok(vec![Event::Unfrozen]),
            Command::Unfreeze => Ok(vec![]),
            Command::Close if self.posted == 0 && self.held == 0 && self.receivable == 0 => Ok(self.close()),
            Command::Close => Err(Error::NotEmpty { posted: self.posted(), held: self.held() }),
        }
    }

    /// Currency, sign and bound of the amount that a command brings.
    fn check_amount(&self, command: &Command) -> Result<(), Error> {
        match command {
            Command::Deposit { amount, .. }
            | Command::Grant { amount, .. }
            | Command::Hold { amount, .. }
            | Command::Refund { amount, .. }
            | Command::Allocate { amount, .. }
            | Command::TakeBack { amount, .. }
            | Command::TakePayment { amount, .. }
            | Command::TakeBackInvoice { amount, .. }
            | Command::HoldPayout { amount, .. } => {
                positive(*amount)?;
                self.expect(*amount)
            }
            Command::Adjust { by, .. } if by.is_zero() => Err(Error::NotPositive),
            Command::Adjust { by: amount, .. } | Command::SetFloor { floor: amount } => self.expect(*amount),
            Command::Capture { .. }
            | Command::Release { .. }
            | Command::PayOut { .. }
            | Command::ReleasePayout { .. }
            | Command::Expire { .. }
            | Command::Clear { .. }
            | Command::Invoice { .. }
            | Command::SetDisclosure { .. }
            | Command::Freeze
            | Command::Unfreeze
            | Command::Close => Ok(()),
        }
    }

    fn expect_receivable(&self, amount: Money) -> Result<(), Error> {
        let open = self.receivable();
        if amount.minor > open.minor { Err(Error::NotReceivable { asked: amount, open }) } else { Ok(()) }
    }

    pub(super) fn grant(
        &self,
        lot: LotId,
        terms: lot::Terms,
        amount: Money,
        at: Timestamp,
    ) -> Result<Vec<Event>, Error> {
        if let Some(known) = self.lots.get(lot) {
            // A later run for the same time finds it granted.
            return if known.terms.policy == terms.policy { Ok(vec![]) } else { Err(Error::OtherContent) };
        }
        // One that expired and was forgotten cannot come again.
        if at >= terms.expires_at {
            return Err(Error::LotOver);
        }
        if self.lots.len() >= MAX_LOTS {
            return Err(Error::TooManyLots);
        }
        self.posted().plus(amount)?;
        Ok(vec![Event::Granted { lot, terms, amount }])
    }

    fn hold(&self, hold: HoldId, amount: Money, from: Option<(LotId, lot::Use)>) -> Result<Vec<Event>, Error> {
        let lot = from.map(|(lot, _)| lot);
        if let Some(held) = self.holds.get(&hold) {
            return if *held == (Hold { minor: amount.minor, lot }) { Ok(vec![]) } else { Err(Error::OtherContent) };
        }
        self.spendable(amount)?;
        let free = match from {
            None => self.loose().minor,
            Some((lot, of)) => match self.lots.get(lot) {
                Some(lot) if of.at >= lot.terms.expires_at => 0,
                Some(lot) if !lot.terms.pays_for(of) => return Err(Error::LotNotForThis),
                Some(lot) => lot.free(),
                None => 0,
            },
        };
        if free < amount.minor {
            return Err(Error::Insufficient { short: Money { minor: amount.minor - free, ..amount } });
        }
        Ok(vec![Event::Held { hold, amount, lot }])
    }

    fn hold_payout(&self, payout: PayoutId, amount: Money) -> Result<Vec<Event>, Error> {
        if let Some(held) = self.payouts.get(&payout) {
            return if *held == amount.minor { Ok(vec![]) } else { Err(Error::OtherContent) };
        }
        if self.payouts.len() >= MAX_PAYOUTS {
            return Err(Error::TooManyPayouts);
        }
        self.spendable(amount)?;
        // An overdraft is for meals, not for cash. The floor is never above zero.
        let own = self.loose().minor + self.floor;
        let short = amount.minor - own;
        if short > 0 {
            return Err(Error::Insufficient { short: Money { minor: short, ..amount } });
        }
        Ok(vec![Event::PayoutHeld { payout, amount }])
    }

    /// Whether so much can go out, of whatever it is.
    fn spendable(&self, amount: Money) -> Result<(), Error> {
        if self.frozen {
            return Err(Error::Frozen);
        }
        let left = self.available().minus(amount)?;
        if left.minor < 0 {
            return Err(Error::Insufficient { short: left.negated() });
        }
        Ok(())
    }

    /// Gives up a hold. What it held of a lot that has expired meanwhile lapses.
    fn release(&self, hold: HoldId) -> Vec<Event> {
        let held = self.holds.get(&hold);
        let expired = held.and_then(|held| {
            let lot = held.lot?;
            let free = held.minor.min((self.posted - self.held + held.minor).max(0));
            self.lots.get(lot)?.expired.then_some(Event::Lapsed { lot, amount: Money::new(free, self.currency) })
        });
        [Event::Released { hold }].into_iter().chain(expired).collect()
    }

    fn clear(&self, lots: &[LotId]) -> Vec<Event> {
        let open = lots.iter().filter_map(|lot| Some((*lot, self.lots.get(*lot)?)));
        self.lapse(open.filter(|(_, of)| !of.expired).map(|(lot, of)| (lot, of.free())))
    }

    /// What lapses is never more than is posted and not held: expiry makes no debt.
    fn lapse(&self, ending: impl Iterator<Item = (LotId, i64)>) -> Vec<Event> {
        let mut free = (self.posted - self.held).max(0);
        let lapsed = ending.map(|(lot, minor)| {
            let minor = minor.min(free);
            free -= minor;
            Event::Lapsed { lot, amount: Money::new(minor, self.currency) }
        });
        lapsed.collect()
    }

    /// Its lots end with it, so that nobody waits for their time. Nothing is posted, so nothing of them lapses.
    fn close(&self) -> Vec<Event> {
        let lapsed = self.lots.open().map(|lot| Event::Lapsed { lot, amount: Money::zero(self.currency) });
        lapsed.chain([Event::Closed]).collect()
    }

    fn set_floor(&self, floor: Money) -> Result<Vec<Event>, Error> {
        if floor.is_positive() {
            return Err(Error::BadFloor);
        }
        if floor.minor == self.floor {
            return Ok(vec![]);
        }
        // An overdraft that is in use cannot be taken away: only a correction makes a debt.
        let left = self.posted - self.held - self.receivable - floor.minor;
        if floor.minor > self.floor && left < 0 {
            return Err(Error::Insufficient { short: Money::new(-left, self.currency) });
        }
        Ok(vec![Event::FloorSet { floor }])
    }

    pub(super) fn evolve(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::Opened { .. } | Event::Closed | Event::RefundDiverted { .. } => {}
            Event::Deposited { deposit, amount, .. } => {
                self.posted += amount.minor;
                self.settled.add(deposit, Settled::Deposited(amount.minor), at);
            }
            Event::Granted { lot, terms, amount } => {
                self.posted += amount.minor;
                self.lots.grant(*lot, *terms, amount.minor);
            }
            Event::Held { hold, amount, lot } => {
                self.held += amount.minor;
                self.holds.insert(*hold, Hold { minor: amount.minor, lot: *lot });
                if let Some(lot) = lot {
                    self.lots.hold(*lot, amount.minor);
                }
            }
            Event::Captured { hold, amount } => {
                self.unhold(*hold, amount.minor, at);
                self.posted -= amount.minor;
                self.settled.add(hold, Settled::Captured(amount.minor), at);
            }
            Event::Released { hold } => {
                self.unhold(*hold, 0, at);
                self.settled.add(hold, Settled::Released, at);
            }
            Event::Refunded { refund, hold, amount, lot, .. } => {
                self.posted += amount.minor;
                if let Some(lot) = lot {
                    self.lots.refund(*lot, amount.minor);
                }
                self.settled.add(&refund_key(*refund, *hold), Settled::Refunded(amount.minor), at);
            }
            Event::RefundLapsed { refund, hold, amount, .. } => {
                self.settled.add(&refund_key(*refund, *hold), Settled::Refunded(amount.minor), at);
            }
            Event::Lapsed { lot, amount } => {
                self.posted -= amount.minor;
                self.lots.lapse(*lot, at);
            }
            Event::Allocated { run, batch, amount } => {
                self.posted -= amount.minor;
                self.settled.add(&batch_key(*run, *batch), Settled::Allocated(amount.minor), at);
            }
            Event::TakenBack { run, amount } => {
                self.posted += amount.minor;
                self.settled.add(&run_key(*run), Settled::TakenBack(amount.minor), at);
            }
            Event::PayoutHeld { payout, amount } => {
                self.held += amount.minor;
                self.payouts.insert(*payout, amount.minor);
            }
            Event::PaidOut { payout, amount } => {
                self.held -= self.payouts.remove(payout).unwrap_or_default();
                self.posted -= amount.minor;
                self.settled.add(&payout_key(*payout), Settled::PaidOut(amount.minor), at);
            }
            Event::PayoutReleased { payout, .. } => {
                self.held -= self.payouts.remove(payout).unwrap_or_default();
                self.settled.add(&payout_key(*payout), Settled::Released, at);
            }
            Event::Adjusted { adjustment, by, .. } => {
                self.posted += by.minor;
                self.settled.add(adjustment, Settled::Adjusted(by.minor), at);
            }
            Event::FloorSet { floor } => self.floor = floor.minor,
            Event::Invoiced { invoice, number, amount, .. } => {
                self.posted += amount.minor;
                self.receivable += amount.minor;
                self.invoices = *number;
                self.settled.add(&invoice_key(*invoice), Settled::Invoiced, at);
            }
            Event::InvoicePaid { invoice, payment, amount } => {
                self.receivable -= amount.minor;
                self.settled.add(&payment_key(*invoice, *payment), Settled::InvoicePaid(amount.minor), at);
            }
            Event::InvoiceVoided { invoice, amount } => {
                self.posted -= amount.minor;
                self.receivable -= amount.minor;
                self.settled.add(&void_key(*invoice), Settled::InvoiceVoided(amount.minor), at);
            }
            Event::DisclosureSet { disclosure } => self.disclosure = *disclosure,
            Event::Frozen => self.frozen = true,
            Event::Unfrozen => self.frozen = false,
        }
    }

    fn unhold(&mut self, hold: HoldId, spent: i64, at: Timestamp) {
        let Some(Hold { minor, lot }) = self.holds.remove(&hold) else { return };
        self.held -= minor;
        if let Some(lot) = lot {
            self.lots.unhold(lot, minor, spent, at);
        }
    }
}
