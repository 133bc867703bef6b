//! Expiry: lots end at their tenant's midnight. The account decides; a timer that comes late, or twice,
//! does no harm, since nothing is held of a lot that is past its time.

use commands::{Cause, Failure, Interrupted};
use domain::{
    AccountId, CommandId, DinerId, TenantId, Timestamp,
    account::{self, Account},
    step_id,
};
use projections::subsidies;
use uuid::Uuid;

use crate::{SAGA, granting::Subsidies};

/// Accounts of one chain.
const AT_ONCE: u32 = 256;
/// Room for its events. An account with more lots to end than it has rows here waits for the next look.
const ROOM: u32 = 4 * AT_ONCE;
/// One expiry at a time in this process.
const TURN: Uuid = Uuid::from_u128(0x6578_7069_7279);
const NAME: &str = "expiry";

impl Subsidies {
    /// Ends what is due, unless that is under way already; for the follower.
    pub(crate) fn expire(&self) {
        if self.driven.contains(TURN) {
            return;
        }
        let subsidies = self.clone();
        drop(self.commands.spawn(async move {
            let _driving = subsidies.driven.enter(TURN).await;
            let now = subsidies.commands.now();
            match subsidies.expire_all(now).await {
                Ok(0) => {}
                Ok(accounts) => tracing::info!(accounts, "lots have expired"),
                Err(error) => tracing::warn!(%error, "lots that are due could not be ended; trying on"),
            }
        }));
    }

    /// Ends every lot whose time had come by `now`, as far as the views show them. Answers in how many
    /// accounts.
    pub async fn expire_all(&self, now: Timestamp) -> Result<u64, ExpiryError> {
        let (mut after, mut accounts) = (None, 0);
        loop {
            let page = subsidies::due(&self.views, now, after, AT_ONCE).await?;
            after = page.last().copied();
            let mut due: Vec<(TenantId, DinerId)> = page.iter().map(|due| (due.tenant, due.diner)).collect();
            due.dedup();
            if due.is_empty() {
                return Ok(accounts);
            }
            accounts += due.len() as u64;
            self.commands.pipelined_here(ROOM, || self.end(&due, now)).await?;
        }
    }

    async fn end(&self, due: &[(TenantId, DinerId)], now: Timestamp) -> Result<(), Interrupted> {
        for (tenant, diner) in due {
            let id: CommandId = step_id(NAME, diner.0, &now.to_string());
            let (command, cause) = (account::Command::Expire { at: now }, Cause::step(id, SAGA, diner.0, id, now));
            let ended = self.commands.execute::<Account>(*tenant, AccountId::Subsidy(*diner), command, cause).await;
            match ended {
                Err(Failure::Interrupted(interrupted)) => return Err(interrupted),
                // An account that is not there has no lots.
                Ok(_) | Err(Failure::Refused(_) | Failure::KeyReused) => {}
            }
        }
        Ok(())
    }
}

/// Why lots could not be ended.
#[derive(Debug, thiserror::Error)]
pub enum ExpiryError {
    #[error(transparent)]
    Views(#[from] projections::ViewError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}
