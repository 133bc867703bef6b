//! Work on diners as people, done by the server that holds the folder, or here.

use anyhow::{Context, anyhow};
use commands::{Failure, Request};
use domain::{DinerId, TenantId};
use sagas::PersonalError;
use serde::{Deserialize, Serialize};
use store::keys::KeyError;

use crate::{
    bookkeeping::{self, CATCH_UP, COMMAND_LINE},
    config::usage,
    subsidies::explained,
    wiring::House,
};

/// Who is to be erased.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EraseRequest {
    /// None: the only tenant that there is.
    pub tenant: Option<TenantId>,
    pub diner: DinerId,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EraseAnswer {
    pub tenant: TenantId,
    pub diner: DinerId,
    /// Whether it was not so before.
    pub changed: bool,
}

/// Keys that cannot be had, as an operator reads it.
pub fn without_keys(error: KeyError) -> anyhow::Error {
    match error {
        KeyError::Missing(why) => usage(why),
        error => error.into(),
    }
}

/// Erases in a house that this process holds, and answers with an [`EraseAnswer`].
pub async fn erase(house: &House, request: EraseRequest) -> anyhow::Result<serde_json::Value> {
    let EraseRequest { tenant, diner } = request;
    let tenant = bookkeeping::tenant_of(house, tenant).await?;
    let commands = &house.commands;
    // The diner itself knows a repeat.
    let request = Request::new((tenant, COMMAND_LINE), "eraseDiner", commands.new_id(), &diner, commands.now());
    let done = house.people.erase(request, diner).await.map_err(|failure| match failure {
        Failure::Refused(PersonalError::Keys(error)) => without_keys(error),
        Failure::Refused(PersonalError::Views(why)) => anyhow!("the views cannot be read: {why}"),
        failure => explained(failure),
    })?;
    house.catch_up(CATCH_UP).await.context("it is done, but does not show in the views yet")?;
    Ok(serde_json::to_value(EraseAnswer { tenant, diner, changed: !done.events.is_empty() })?)
}
