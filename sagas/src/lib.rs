//! The processes that cross aggregates: checkout, trades with providers, refund, withdrawal; grants and expiry;
//! top-up, payout, correction, invoice; erasure.
//!
//! Each is a pure fold that names one repeatable next step. Two drivers take the steps: the request
//! that starts a process takes them inline, in one chain; the [`Follower`] takes those that nobody
//! has taken for a moment. Both name the same command ids, so it does not matter who wins.

mod booked;
mod changing;
mod checkout;
mod correcting;
mod driven;
mod expiry;
mod finance;
mod follower;
mod granting;
mod inline;
mod invoicing;
mod leaving;
mod ordering;
mod pace;
mod paying_out;
mod people;
mod refund;
mod standing;
mod step;
mod tenders;
mod topping_up;
mod trades;
mod views;
mod withdrawal;

#[cfg(test)]
mod tests;

pub use checkout::{Basket, Checkout, Taken};
pub use correcting::{NewAdjustment, NewCorrection};
pub use expiry::ExpiryError;
pub use finance::{Finance, FinanceError};
pub use follower::{Follower, SettleError};
pub use granting::{GrantError, Granted, NewGrants, Subsidies};
pub use invoicing::{InvoiceError, Invoices, MAX_DAYS, NewInvoice, Standing};
pub use ordering::{NewLine, NewOrder, Ordering, PayError, PlaceError};
pub use paying_out::NewPayout;
pub use people::{FinishError, Named, Naming, People, PersonalError, Sealed};
pub use refund::Refunds;
pub use topping_up::NewTopUp;
pub use trades::OpenCalls;
pub use views::projections;

use domain::{ActorId, Fact, Timestamp};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use step::{Next, Refused};

/// Who gives the commands of a process.
pub const SAGA: ActorId = ActorId(Uuid::nil());

/// A process about one order.
pub(crate) trait Saga:
    Default + Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static
{
    const NAME: &'static str;

    /// Folds a fact about its order.
    fn evolve(&mut self, fact: &Fact, at: Timestamp);

    /// The step to take now, if any. The same state names the same step.
    fn next(&self, now: Timestamp) -> Option<Next>;

    /// What is to be recorded when a step is refused; none when there is nothing to do but wait.
    fn after_refusal(&self, step: &Next, refused: &Refused) -> Option<Next>;

    /// When it moves by itself although nothing happens. None while it waits for nobody.
    fn due_at(&self) -> Option<Timestamp>;

    /// Whether there is anything left to do.
    fn is_open(&self) -> bool;

    /// The business time of its next step: history that is imported stays at its own time.
    fn step_time(&self, now: Timestamp) -> Timestamp {
        now
    }
}
