//! Views: what everybody reads, folded from the log.
//!
//! A [`Projection`] is a pure fold of events into [`Row`]s. The [`Runner`] tails the log, folds each
//! batch in memory and writes the changed rows and the checkpoint in one transaction, so each
//! event counts exactly once. Queries run against [`Views`], on snapshots in which every table and
//! its checkpoint belong together. Everything here can be thrown away and folded anew.
//!
//! ```text
//! let views = Views::open(folder, store.identity(), all())?;   // or Views::open_postgres(url, …)
//! let runner = Runner::open(store, views.clone()).await?;      // catch_up().await for one pass
//! let handle = runner.handle();                                // rebuilds while it runs
//! tokio::spawn(runner.run(stop));
//! let board = kitchen_board::of_serving(&views, tenant, serving, None, PageSize::MAX).await?;
//! ```

use std::sync::Arc;

use store::Recorded;

mod administration;
mod audit;
mod batch;
mod catalogue;
mod column;
mod compare;
mod db;
mod engine;
mod engine_thread;
mod entries;
mod folding;
mod frozen;
mod lease;
mod life_of_builds;
mod lookups;
mod many;
mod parking;
mod row;
mod rows;
mod runner;
mod running;
mod snapshot;
mod verify;
mod views;
mod working;
mod writing;

pub mod as_of;
pub mod balances;
pub mod company_use;
pub mod corrections;
pub mod dashboard;
pub mod diner_orders;
pub mod diners;
pub mod employment;
pub mod grant_runs;
pub mod invoices;
pub mod journal;
pub mod kitchen_board;
pub mod live;
pub mod menu;
pub mod payouts;
pub mod periods;
pub mod policies;
pub mod preview;
pub mod statements;
pub mod subsidies;
pub mod top_ups;

pub use catalogue::{Build, Health};
pub use column::{Column, ColumnType, Json, Kind, Misfit, Param, Value};
pub use db::{SqlError, SqlRow};
pub use folding::fold_only;
pub use parking::{Dropped, Parked};
pub use row::{ColumnSpec, Row, TableSpec};
pub use rows::Rows;
pub use runner::{Progress, Runner, RunnerHandle};
pub use snapshot::Snapshot;
pub use verify::{Difference, Report, verify};
pub use views::{PageSize, Stale, ViewError, Views};

/// Why a projection cannot take an event. It stops there; the others flow on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Poison(pub String);

impl From<domain::MoneyError> for Poison {
    fn from(error: domain::MoneyError) -> Self {
        Poison(error.to_string())
    }
}

/// One read model: a pure fold of the log into rows.
pub trait Projection: Send + Sync + 'static {
    /// The word for it in the catalogue and on the command line.
    fn name(&self) -> &'static str;
    /// Raised whenever rows or fold change: a higher version folds itself anew from the first event.
    fn version(&self) -> u32;
    fn tables(&self) -> &'static [TableSpec];
    /// Folds one event. Every projection names every event, so that a new one is a compile error.
    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison>;
}

/// The projections that a program keeps.
pub type Registry = Arc<[Arc<dyn Projection>]>;

/// All that Tiffin keeps.
pub fn all() -> Registry {
    Arc::new([
        Arc::new(menu::Menus) as Arc<dyn Projection>,
        Arc::new(kitchen_board::KitchenBoard),
        Arc::new(diner_orders::DinerOrders),
        Arc::new(dashboard::Dashboard),
        Arc::new(journal::Journal),
        Arc::new(balances::Balances),
        Arc::new(subsidies::Subsidies),
        Arc::new(employment::Employment),
        Arc::new(diners::Diners),
        Arc::new(grant_runs::GrantRuns),
        Arc::new(policies::Policies),
        Arc::new(invoices::Invoices),
        Arc::new(company_use::CompanyUse),
        Arc::new(corrections::Corrections),
        Arc::new(top_ups::TopUps),
        Arc::new(payouts::Payouts),
    ])
}

#[cfg(test)]
mod company_tests;
#[cfg(test)]
mod finance_tests;
#[cfg(test)]
mod fold_tests;
#[cfg(test)]
mod lease_tests;
#[cfg(test)]
mod operator_tests;
#[cfg(test)]
mod pace_tests;
#[cfg(test)]
mod postgres_tests;
#[cfg(test)]
mod runner_tests;
#[cfg(test)]
mod subsidy_tests;
#[cfg(test)]
mod testing;
