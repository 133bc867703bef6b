//! Leaving: where a policy says so, what is left of a diner's lots is cleared once the company does not employ them any
//! more. What is held for an order stays held. A look that comes late, or twice, does no harm.

use commands::{Cause, Failure, Interrupted};
use domain::{
    AccountId, CommandId, DinerId, LotId, Timestamp,
    account::{self, Account},
    bundled_zone,
    policy::Policy,
    step_id,
};
use projections::{
    PageSize,
    policies::{self, PolicyRow},
    subsidies,
};
use uuid::Uuid;

use crate::{ExpiryError, SAGA, granting::Subsidies};

/// Lots of one chain, each of which ends with one event.
const AT_ONCE: u32 = 256;
/// One look at a time in this process.
const TURN: Uuid = Uuid::from_u128(0x006c_6561_7669_6e67);
const NAME: &str = "leaving";

impl Subsidies {
    /// Clears what those have who have left, unless that is under way already; for the follower.
    pub(crate) fn clear(&self) {
        if self.driven.contains(TURN) {
            return;
        }
        let subsidies = self.clone();
        drop(self.commands.spawn(async move {
            let _driving = subsidies.driven.enter(TURN).await;
            match subsidies.clear_all(subsidies.commands.now()).await {
                Ok(0) => {}
                Ok(lots) => tracing::info!(lots, "lots of diners who have left were cleared"),
                Err(error) => tracing::warn!(%error, "lots of diners who have left could not be cleared; trying on"),
            }
        }));
    }

    /// Clears every lot whose diner had left by `now`, in its policy's zone, as far as the views show it. Answers how
    /// many lots.
    pub async fn clear_all(&self, now: Timestamp) -> Result<u64, ExpiryError> {
        let (mut after, mut lots) = (None, 0);
        loop {
            let page = policies::clearing(&self.views, after, PageSize::MAX).await?;
            let Some(last) = page.last() else { return Ok(lots) };
            after = Some((last.tenant, last.policy));
            for row in &page {
                lots += self.clear_of(row, now).await?;
            }
        }
    }

    async fn clear_of(&self, row: &PolicyRow, now: Timestamp) -> Result<u64, ExpiryError> {
        // A policy is not opened in a zone that is not known.
        let Some(zone) = bundled_zone(&row.zone) else { return Ok(0) };
        let clearing = |policy: &Policy| {
            let versions = policy.book().map(|book| book.versions.clone()).unwrap_or_default();
            versions.iter().map(|version| version.terms.cleared_on_leaving).collect::<Vec<_>>()
        };
        let clearing = self.commands.look(row.tenant, row.policy, clearing).await?;
        let clears = |version: u32| {
            let index = usize::try_from(version).ok().and_then(|version| version.checked_sub(1));
            index.and_then(|index| clearing.get(index)).copied().unwrap_or(false)
        };
        let (of, today) = ((row.tenant, row.company, row.policy), now.date_in(&zone));
        let (mut after, mut cleared) = (None, 0);
        loop {
            let page = subsidies::left(&self.views, of, today, after, AT_ONCE).await?;
            let Some(last) = page.last() else { return Ok(cleared) };
            after = Some(*last);
            let lots = page.iter().filter(|left| clears(left.version)).map(|left| (left.diner, left.lot));
            let lots: Vec<(DinerId, LotId)> = lots.collect();
            cleared += lots.len() as u64;
            self.commands.pipelined_here(AT_ONCE, || self.clear_lots(row, &lots, now)).await?;
        }
    }

    async fn clear_lots(&self, row: &PolicyRow, lots: &[(DinerId, LotId)], now: Timestamp) -> Result<(), Interrupted> {
        for of_diner in lots.chunk_by(|one, other| one.0 == other.0) {
            let (diner, lots) = (of_diner[0].0, of_diner.iter().map(|(_, lot)| *lot).collect());
            let id: CommandId = step_id(NAME, diner.0, &format!("{}/{now}", row.policy));
            let (command, cause) = (account::Command::Clear { lots }, Cause::step(id, SAGA, diner.0, id, now));
            let cleared = self.commands.execute::<Account>(row.tenant, AccountId::Subsidy(diner), command, cause).await;
            match cleared {
                Err(Failure::Interrupted(interrupted)) => return Err(interrupted),
                // An account that is not there has no lots.
                Ok(_) | Err(Failure::Refused(_) | Failure::KeyReused) => {}
            }
        }
        Ok(())
    }
}
