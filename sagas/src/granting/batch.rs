//! The lots of one batch: which it granted before a break, and which are still to be granted.

use commands::{Failure, Interrupted};
use domain::{
    AccountId, DinerId, Money,
    account::{self, Account},
    grant_run::Sheet,
    policy::{self, Lot},
};
use projections::employment;

use super::{Answer, Grants, InHand, Run, lacking::is_due, refused};

impl Run<'_> {
    /// What a batch that was begun before has in hand: what it has granted, whatever has become of the diners'
    /// employment since, and the lots that are due and were not granted.
    pub(super) async fn of_batch(
        &self,
        sheet: &Sheet,
        policy: &policy::Book,
        diners: &[DinerId],
    ) -> Answer<(Money, Grants)> {
        let plan = &sheet.plan;
        let (mut granted, mut grants) = (Money::zero(plan.currency), Vec::with_capacity(diners.len()));
        for diner in diners {
            let of = (self.tenant, plan.company, *diner);
            let times = employment::of_diner(&self.subsidies.views, of, policy.group).await.map_err(refused)?;
            let lots = policy.lots(plan.policy, *diner, &plan.range, (self.id, sheet.begun_at)).map_err(refused)?;
            let mut open = Vec::new();
            for lot in lots {
                if self.has_granted(*diner, &lot).await? {
                    granted = granted.plus(lot.amount).map_err(refused)?;
                } else if is_due(&times, &lot) {
                    open.push(lot);
                }
            }
            grants.push((*diner, self.lacks(policy, (*diner, &times), open).await?));
        }
        Ok((granted, grants))
    }

    /// Grants the lots, and answers what was granted, with what was granted before, and how many diners did not get
    /// all of theirs. Never more than `amount`, whatever has become of the diners' employment since the batch was
    /// begun.
    pub(super) async fn to_diners(&self, batch: &InHand, amount: Money) -> Result<(Money, u64), Interrupted> {
        let mut granted = Money { minor: batch.granted.minor.min(amount.minor), ..amount };
        let mut skipped = 0;
        for (diner, lots) in &batch.grants {
            let mut refused = false;
            for lot in self.still_lacked(&batch.policy, *diner, lots).await? {
                if granted.minor + lot.amount.minor > amount.minor {
                    continue;
                }
                match self.to_diner(*diner, &lot).await? {
                    Came::Granted => granted.minor += lot.amount.minor,
                    Came::ByAnother => {}
                    Came::Refused => refused = true,
                }
            }
            skipped += u64::from(refused);
        }
        Ok((granted, skipped))
    }

    /// Grants one lot, unless it was granted before.
    async fn to_diner(&self, diner: DinerId, lot: &Lot) -> Result<Came, Interrupted> {
        let account = AccountId::Subsidy(diner);
        let cause = self.cause(&step_of(lot));
        let command = account::Command::Grant { lot: lot.id, terms: lot.terms, amount: lot.amount, at: cause.at };
        match self.commands().execute::<Account>(self.tenant, account, command, cause).await {
            Ok(outcome) if !outcome.events.is_empty() => Ok(Came::Granted),
            // It may have been granted before a crash, and have expired since.
            Ok(_) | Err(Failure::Refused(account::Error::LotOver)) => {
                Ok(if self.has_granted(diner, lot).await? { Came::Granted } else { Came::ByAnother })
            }
            Err(Failure::Interrupted(interrupted)) => Err(interrupted),
            Err(Failure::Refused(error)) => {
                tracing::warn!(%error, %account, run = %self.id, "a lot could not be granted");
                Ok(Came::Refused)
            }
            Err(Failure::KeyReused) => Ok(Came::ByAnother),
        }
    }

    /// Whether this run has granted the lot, which its account may have forgotten since.
    async fn has_granted(&self, diner: DinerId, lot: &Lot) -> Result<bool, Interrupted> {
        let account = AccountId::Subsidy(diner);
        let of = |account: &Account| account.book().ok().map(|book| book.lots.get(lot.id).map(|known| known.terms.run));
        match self.commands().look(self.tenant, account, of).await? {
            Some(Some(run)) => Ok(run == self.id),
            // An open account keeps a lot until it expires.
            Some(None) if self.commands().now() < lot.terms.expires_at => Ok(false),
            _ => {
                let id = self.cause(&step_of(lot)).metadata.command;
                let recorded = self.commands().recorded::<Account>(self.tenant, account, id).await?;
                Ok(recorded.iter().any(|event| matches!(event, account::Event::Granted { .. })))
            }
        }
    }
}

/// What came of a lot that was to be granted.
enum Came {
    /// This run has granted it, now or before.
    Granted,
    /// Another run has, or it is over.
    ByAnother,
    Refused,
}

fn step_of(lot: &Lot) -> String {
    format!("lot/{}", lot.id)
}
