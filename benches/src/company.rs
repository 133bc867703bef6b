//! A company with diners and a policy, whose lots the product's own runs of grants make.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use commands::Failure;
use domain::{
    AccountId, CompanyId, Currency, DinerId, Money, PolicyId, diner,
    policy::{self, Calendar, Clearing, Per, Terms},
    serving::Meal,
};
use jiff::{civil::Date, tz::TimeZone};
use sagas::{Granted, NewGrants};

use crate::{Log, load::Load, orders::Kitchen};

/// Joined in one chain.
const JOINS: usize = 500;

/// A company's policy, in UTC.
pub(crate) struct Company {
    pub(crate) policy: PolicyId,
    pub(crate) diners: Vec<DinerId>,
}

impl Company {
    /// Hires so many diners under `terms`, with money for a lot of each. Nothing is granted yet.
    pub(crate) async fn open(load: &Load, diners: u32, terms: Terms) -> Result<Company> {
        let company = CompanyId(load.id());
        let funds = Money::new(terms.amount.minor * i64::from(diners), terms.amount.currency);
        load.fill(&[AccountId::Company(company)], funds).await?;
        let diners: Vec<DinerId> = (0..diners).map(|_| DinerId(load.id())).collect();
        let from = Date::new(2020, 1, 1)?;
        for some in diners.chunks(JOINS) {
            join(load, (company, from), some.into()).await?;
        }
        let request = load.request("openPolicy", &company);
        load.commands.open_policy(request, (company, None), funds.currency, "UTC".to_owned()).await?;
        let policy = PolicyId(request.id);
        let set = policy::Command::SetTerms { from, terms: Box::new(terms) };
        load.commands.on_policy(load.request("setTerms", &policy), policy, set).await?;
        Ok(Company { policy, diners })
    }

    /// Grants what the diners lack for `day`, and waits until every view shows it.
    pub(crate) async fn grant(&self, (load, kitchen): (&Load, &Kitchen), log: &Log, day: Date) -> Result<Granted> {
        let new = NewGrants { policy: self.policy, first: day, last: day };
        let request = load.request("grant", &new);
        let granted = kitchen.subsidies.grant(request, new, |_| {}).await?;
        kitchen.caught_up(log).await?;
        Ok(granted)
    }

    /// Grants for today, once and for everybody.
    pub(crate) async fn grant_all(&self, of: (&Load, &Kitchen), log: &Log) -> Result<()> {
        let granted = self.grant(of, log, today(of.0)).await.context("lots could not be granted")?;
        ensure!(granted.diners == self.diners.len() as u64, "{} diners were granted, not all", granted.diners);
        Ok(())
    }
}

/// In the zone of every policy here.
pub(crate) fn today(load: &Load) -> Date {
    load.commands.now().date_in(&TimeZone::UTC)
}

async fn join(load: &Load, (company, from): (CompanyId, Date), diners: Arc<[DinerId]>) -> Result<()> {
    let (own, commands) = (load.clone(), &load.commands);
    let joined = commands.pipelined(diners.len() as u32, move || {
        let (load, diners) = (own.clone(), Arc::clone(&diners));
        async move {
            for diner in diners.iter() {
                let join = diner::Command::Join { company, group: None, from };
                match load.commands.on_diner(load.request("join", diner), *diner, join).await {
                    Ok(_) => {}
                    Err(Failure::Interrupted(interrupted)) => return Err(interrupted),
                    Err(refused) => return Ok(Err(refused)),
                }
            }
            Ok(Ok(()))
        }
    });
    joined.await?.value.map_err(|refused| anyhow!("a diner could not join: {refused}"))
}

/// Terms of `minor` units for lunch on every day of the week, anywhere.
pub(crate) fn terms(minor: i64, (per, clearing): (Per, Clearing)) -> Terms {
    Terms {
        amount: Money::new(minor, Currency::CNY),
        per,
        clearing,
        calendar: Calendar { weekdays: (1..=7).collect(), holidays: [].into(), extra: [].into() },
        meals: [Meal::Lunch].into(),
        canteens: [].into(),
        order_limit: None,
        share_percent: None,
        cleared_on_leaving: false,
    }
}
