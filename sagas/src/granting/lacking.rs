//! Who lacks what: the lots that a policy has for those whom its company employs and who do not have them yet.

use commands::Interrupted;
use domain::{
    AccountId, DinerId, Timestamp,
    account::Account,
    bundled_zone,
    grant_run::Plan,
    policy::{self, Lot},
};
use futures::{TryStreamExt, stream::FuturesOrdered};
use projections::{
    PageSize,
    employment::{self, Employee},
};

use super::{Answer, Grants, Run, refused};

/// A diner and their times with the company, as far as the policy is for them.
pub(super) type Person = (DinerId, Vec<Employee>);

impl Run<'_> {
    /// The next whom the company employs on a date of the plan, and the policy is for.
    pub(super) async fn page(&self, plan: Plan, policy: &policy::Book, after: Option<DinerId>) -> Answer<Vec<Person>> {
        let (of, days) = ((self.tenant, plan.company), (plan.range.first, plan.range.last));
        let times = employment::due(&self.subsidies.views, (of, policy.group), days, after, PageSize::MAX).await;
        let mut page: Vec<Person> = Vec::new();
        for time in times.map_err(refused)? {
            match page.last_mut() {
                Some((diner, times)) if *diner == time.diner => times.push(time),
                _ => page.push((time.diner, vec![time])),
            }
        }
        Ok(page)
    }

    /// Those of `page` who do not have all of their lots yet.
    pub(super) async fn lacking(
        &self,
        (plan, policy, at): (Plan, &policy::Book, Timestamp),
        page: &[Person],
    ) -> Answer<Grants> {
        let mut looks = FuturesOrdered::new();
        for (diner, times) in page {
            let mut lots = policy.lots(plan.policy, *diner, &plan.range, (self.id, at)).map_err(refused)?;
            lots.retain(|lot| is_due(times, lot) && !is_cleared(policy, times, lot));
            looks.push_back(async move { Ok((*diner, self.lacks(policy, (*diner, times), lots).await?)) });
        }
        let all: Result<Grants, Interrupted> = looks.try_collect().await;
        Ok(all?.into_iter().filter(|(_, lots)| !lots.is_empty()).collect())
    }

    /// Those of `lots` that the diner does not have. Whose account is closed lacks nothing.
    pub(super) async fn lacks(
        &self,
        policy: &policy::Book,
        (diner, times): (DinerId, &[Employee]),
        lots: Vec<Lot>,
    ) -> Result<Vec<Lot>, Interrupted> {
        let look = |account: &Account| match account {
            Account::Unopened => lots,
            Account::Open(book) => policy.lacking(lots, &book.lots),
            Account::Closed(_) => vec![],
        };
        let mut lots = self.commands().look(self.tenant, AccountId::Subsidy(diner), look).await?;
        // The rest of a month may come after the last day.
        lots.retain(|lot| is_due(times, lot) && !is_cleared(policy, times, lot));
        Ok(lots)
    }

    /// Those of a batch's lots whose dates no other run has granted for since, on other terms.
    pub(super) async fn still_lacked(
        &self,
        policy: &policy::Book,
        diner: DinerId,
        lots: &[Lot],
    ) -> Result<Vec<Lot>, Interrupted> {
        let mut lots = lots.to_vec();
        if policy.versions.len() < 2 {
            return Ok(lots);
        }
        let look = |account: &Account| {
            if let Ok(book) = account.book() {
                lots.retain(|lot| !policy.is_granted_otherwise(lot, &book.lots));
            }
            lots
        };
        self.commands().look(self.tenant, AccountId::Subsidy(diner), look).await
    }
}

/// Whether the lot would be cleared at once, since its diner has left the company by the time of its run. Who is not
/// in a policy's group any more may still be employed.
fn is_cleared(policy: &policy::Book, times: &[Employee], lot: &Lot) -> bool {
    let Some(zone) = bundled_zone(&policy.zone) else { return false };
    let today = lot.terms.starts_at.date_in(&zone);
    policy.group.is_none()
        && times.iter().all(|time| time.to_date.is_some_and(|ends| ends <= today))
        && policy.terms(lot.terms.version).is_some_and(|terms| terms.cleared_on_leaving)
}

/// Whether the days of an employment have a part in the lot.
pub(super) fn is_due(times: &[Employee], lot: &Lot) -> bool {
    let first = lot.terms.serves.first;
    let due = |time: &Employee| {
        time.from_date <= lot.until && time.to_date.is_none_or(|ends| first < ends && time.from_date < ends)
    };
    times.iter().any(due)
}
