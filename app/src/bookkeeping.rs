//! Work on a tenant's books: opening them, closing and reopening periods. Done by the server that holds the
//! folder, or here.

use std::time::Duration;

use anyhow::Context;
use commands::{Failure, Request};
use domain::{
    ActorId, TenantId,
    books::{Error, ReopenReason},
};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use store::{EventStore, history};
use uuid::Uuid;

use crate::{config::usage, wiring::House};

/// Whoever works on the command line and says no other name.
pub const COMMAND_LINE: ActorId = ActorId(Uuid::from_u128(0x7469_6666_696e_8000_8000_636f_6e73_6f6c));
/// How long the views may take to show what was changed.
pub const CATCH_UP: Duration = Duration::from_secs(120);

/// What is to be done with the books.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BooksWork {
    Open { zone: String },
    Close { through: Date },
    Reopen { from: Date, reason: ReopenReason },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BooksRequest {
    /// None: the only tenant that the log has.
    pub tenant: Option<TenantId>,
    /// Who asks for it; none: somebody on the command line.
    pub by: Option<ActorId>,
    pub work: BooksWork,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BooksAnswer {
    pub tenant: TenantId,
    /// Whether it was not so before.
    pub changed: bool,
    /// Of the books, when they are open.
    pub zone: Option<String>,
    pub closed_through: Option<Date>,
    /// When nothing was done, because the books refuse it.
    pub refused: Option<Refused>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    pub code: String,
    pub message: String,
}

impl Refused {
    fn by(error: &Error) -> Refused {
        Refused { code: error.code().to_owned(), message: error.to_string() }
    }
}

/// Does it in a house that this process holds, and answers with a [`BooksAnswer`].
pub async fn in_house(house: &House, request: BooksRequest) -> anyhow::Result<serde_json::Value> {
    let BooksRequest { tenant, by, work } = request;
    let tenant = tenant_of(house, tenant).await?;
    let commands = &house.commands;
    let who = (tenant, by.unwrap_or(COMMAND_LINE));
    let request = |mutation: &str| Request::new(who, mutation, commands.new_id(), &work, commands.now());
    let done = match work.clone() {
        BooksWork::Open { zone } => commands.open_books(request("openBooks"), zone).await,
        BooksWork::Close { through } => commands.close_period(request("closePeriod"), through).await,
        BooksWork::Reopen { from, reason } => commands.reopen_period(request("reopenPeriod"), from, reason).await,
    };
    let (changed, refused) = match done {
        Ok(outcome) => (!outcome.events.is_empty(), None),
        Err(Failure::Refused(error)) => (false, Some(Refused::by(&error))),
        Err(failure) => return Err(failure.into()),
    };
    if changed {
        house.catch_up(CATCH_UP).await.context("it is done, but does not show in the views yet")?;
    }
    let books = commands.books(tenant).await?;
    let (zone, closed_through) = match books.book() {
        Ok(book) => (Some(book.zone_name().to_owned()), book.closed_through()),
        Err(_) => (None, None),
    };
    Ok(serde_json::to_value(BooksAnswer { tenant, changed, zone, closed_through, refused })?)
}

/// The tenant that was said, or the only one.
pub async fn tenant_of(house: &House, said: Option<TenantId>) -> anyhow::Result<TenantId> {
    match said {
        Some(tenant) => Ok(tenant),
        None => only_tenant(&*house.store).await,
    }
}

/// The only tenant that the log has; an error asks for `--tenant` where there is another number.
pub async fn only_tenant(store: &dyn EventStore) -> anyhow::Result<TenantId> {
    match history::tenants(store, 2).await?.as_slice() {
        [only] => Ok(*only),
        [] => Err(usage("the log has no tenants yet; --tenant UUID says whose things are meant")),
        _ => Err(usage("the log has several tenants; --tenant UUID says whose things are meant")),
    }
}
