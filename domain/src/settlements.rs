//! What an account has dealt with, by id: so it knows a repeat, and tells it from a conflict.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    GrantRunId, HoldId, InvoiceId, PayoutId, RefundId, Timestamp,
    account::{Command, Error},
};

/// How long an account remembers an id that it has dealt with, in seconds: 30 days.
pub(crate) const REMEMBERED_SECONDS: i64 = 30 * 24 * 60 * 60;

/// How something that the account was asked once has ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Settled {
    Deposited(i64),
    Captured(i64),
    Released,
    Refunded(i64),
    Adjusted(i64),
    Allocated(i64),
    TakenBack(i64),
    /// For what it came to: the account decided that itself.
    Invoiced,
    InvoicePaid(i64),
    InvoiceVoided(i64),
    PaidOut(i64),
}

/// What an account dealt with in the last 30 days, by id, and when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settlements(BTreeMap<String, (Settled, Timestamp)>);

impl Settlements {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    fn of(&self, id: &impl ToString) -> Option<Settled> {
        self.0.get(&id.to_string()).map(|(settled, _)| *settled)
    }

    pub(crate) fn add(&mut self, id: &impl ToString, how: Settled, at: Timestamp) {
        self.0.insert(id.to_string(), (how, at));
        // Cheap while everything is young: the oldest are looked for only as the list grows.
        if self.0.len().is_multiple_of(64) {
            let forgotten = at.plus_seconds(-REMEMBERED_SECONDS);
            self.0.retain(|_, (_, settled_at)| *settled_at >= forgotten);
        }
    }

    /// The answer to a command whose matter is settled: nothing more for a repeat, an error for a
    /// conflict, and none for what is new.
    pub(crate) fn answer(&self, command: &Command) -> Option<Result<(), Error>> {
        let repeat = |known: Settled, asked: Settled| if known == asked { Ok(()) } else { Err(Error::OtherContent) };
        match command {
            Command::Deposit { deposit, amount, .. } => {
                self.of(deposit).map(|known| repeat(known, Settled::Deposited(amount.minor)))
            }
            Command::Adjust { adjustment, by, .. } => {
                self.of(adjustment).map(|known| repeat(known, Settled::Adjusted(by.minor)))
            }
            Command::Refund { refund, hold, amount, .. } => {
                self.of(&refund_key(*refund, *hold)).map(|known| repeat(known, Settled::Refunded(amount.minor)))
            }
            Command::Allocate { run, batch, amount } => {
                self.of(&batch_key(*run, *batch)).map(|known| repeat(known, Settled::Allocated(amount.minor)))
            }
            Command::TakeBack { run, amount } => {
                self.of(&run_key(*run)).map(|known| repeat(known, Settled::TakenBack(amount.minor)))
            }
            Command::HoldPayout { payout, amount } => self.of(&payout_key(*payout)).map(|known| match known {
                Settled::Released => Err(Error::ReleasedAlready),
                known => repeat(known, Settled::PaidOut(amount.minor)),
            }),
            Command::PayOut { payout } => self.of(&payout_key(*payout)).map(|known| match known {
                Settled::PaidOut(_) => Ok(()),
                _ => Err(Error::ReleasedAlready),
            }),
            Command::ReleasePayout { payout } => self.of(&payout_key(*payout)).map(|known| match known {
                Settled::Released => Ok(()),
                _ => Err(Error::CapturedAlready),
            }),
            Command::Hold { hold, amount, .. } => self.of(hold).map(|known| match known {
                Settled::Released => Err(Error::ReleasedAlready),
                known => repeat(known, Settled::Captured(amount.minor)),
            }),
            Command::Capture { hold } => self.of(hold).map(|known| match known {
                Settled::Captured(_) => Ok(()),
                _ => Err(Error::ReleasedAlready),
            }),
            Command::Release { hold } => self.of(hold).map(|known| match known {
                Settled::Released => Ok(()),
                _ => Err(Error::CapturedAlready),
            }),
            Command::Invoice { invoice, .. } => {
                self.of(&invoice_key(*invoice)).map(|known| repeat(known, Settled::Invoiced))
            }
            Command::TakePayment { invoice, payment, amount } => {
                let known = self.of(&payment_key(*invoice, *payment));
                known.map(|known| repeat(known, Settled::InvoicePaid(amount.minor)))
            }
            Command::TakeBackInvoice { invoice, amount } => {
                self.of(&void_key(*invoice)).map(|known| repeat(known, Settled::InvoiceVoided(amount.minor)))
            }
            // A lot is known for as long as it could be granted.
            Command::Grant { .. }
            | Command::Expire { .. }
            | Command::Clear { .. }
            | Command::SetFloor { .. }
            | Command::SetDisclosure { .. }
            | Command::Freeze
            | Command::Unfreeze
            | Command::Close => None,
        }
    }
}

/// A refund may give back two tenders of one account, so its id alone does not name the credit.
/// The word keeps it apart from the holds of a payment that bears the same UUID.
pub(crate) fn refund_key(refund: RefundId, hold: HoldId) -> String {
    format!("refund:{refund}/{}", hold.tender)
}

pub(crate) fn payout_key(payout: PayoutId) -> String {
    format!("payout:{payout}")
}

pub(crate) fn batch_key(run: GrantRunId, batch: u32) -> String {
    format!("run:{run}/{batch}")
}

pub(crate) fn run_key(run: GrantRunId) -> String {
    format!("run:{run}")
}

pub(crate) fn invoice_key(invoice: InvoiceId) -> String {
    format!("invoice:{invoice}")
}

pub(crate) fn payment_key(invoice: InvoiceId, payment: Uuid) -> String {
    format!("invoice:{invoice}/{payment}")
}

pub(crate) fn void_key(invoice: InvoiceId) -> String {
    format!("void:{invoice}")
}
