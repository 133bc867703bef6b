//! What Tiffin decides, and nothing else: aggregates, money, postings.
//!
//! Everything here is pure. Nothing waits, reads a clock, draws a random number or logs;
//! what a decision needs to know is in its command.

mod aggregate;
mod fact;
mod ids;
mod money;
mod settlements;
mod time;

pub mod account;
pub mod books;
pub mod diner;
pub mod grant_run;
pub mod lot;
pub mod menu;
pub mod order;
pub mod payment;
pub mod policy;
pub mod postings;
pub mod serving;

#[cfg(test)]
mod testing;

#[cfg(test)]
pub(crate) use aggregate::given;
pub use aggregate::{Aggregate, Event};
pub use fact::{Fact, StreamId, StreamKind, UnknownKind};
pub use ids::*;
pub use money::{Currency, Money, MoneyError};
pub use time::{Timestamp, bundled_zone, first_instant};
