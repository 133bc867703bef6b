//! What Tiffin decides, and nothing else: aggregates, money, postings.
//!
//! Everything here is pure. Nothing waits, reads a clock, draws a random number or logs;
//! what a decision needs to know is in its command.

mod aggregate;
mod change;
mod extension;
mod fact;
mod grants;
mod ids;
mod money;
mod placement;
mod settlements;
mod tender;
mod ticket;
mod time;

pub mod account;
pub mod books;
pub mod correction;
pub mod details;
pub mod diner;
pub mod grant_run;
pub mod invoice;
pub mod lot;
pub mod menu;
pub mod order;
pub mod payment;
pub mod payout;
pub mod personal;
pub mod policy;
pub mod postings;
pub mod serving;
pub mod standing;
pub mod tax;
pub mod top_up;
pub mod trade;

#[cfg(test)]
mod testing;

#[cfg(test)]
pub(crate) use aggregate::given;
pub use aggregate::{Aggregate, Event};
pub use fact::{Fact, StreamId, StreamKind, UnknownKind};
pub use ids::*;
pub use money::{Currency, Money, MoneyError};
pub use time::{Timestamp, bundled_zone, first_instant};
