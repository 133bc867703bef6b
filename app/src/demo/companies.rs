//! Two companies that pay for their diners' lunch, each on terms of its own, and the evening after: a
//! complaint, what was not eaten up expires at midnight, and the books of the day are closed.

use std::sync::Arc;

use anyhow::{Context, bail};
use commands::{Failure, Interrupted};
use domain::{
    AccountId, CompanyId, Currency, DinerId, Money, PolicyId, derived_id, diner,
    order::{LineCount, Order, RefundReason},
    policy::{self, Calendar, Clearing, Per, Terms},
    postings::LedgerAccount,
    serving::Meal,
    top_up::Source,
};
use jiff::civil::Date;
use projections::{PageSize, journal, subsidies};
use sagas::{Follower, NewGrants, NewTopUp};
use tokio::task::JoinSet;

use super::{
    lunch::{AT_ONCE, Lunch, PATIENCE, SETTLES, diner as diner_id, pause, taken},
    opening::ZONE,
    script::{Does, ORDER_LIMIT, SUBSIDY},
};
use crate::wiring::House;

/// What is left in a company's funds when all lots are granted, in fen.
const RESERVE: i64 = 50_000;
/// An hour before midnight.
const COMPLAINS: i64 = 23 * 3_600;
const MIDNIGHT: i64 = 24 * 3_600;

/// An employer of some of the diners.
#[derive(Clone, Debug)]
pub struct Company {
    pub name: &'static str,
    /// What it grants, for people.
    pub grants: &'static str,
    pub policy: PolicyId,
    pub diners: u64,
}

/// What became of a company's grants, in fen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    pub granted: i64,
    pub spent: i64,
    pub refunded: i64,
    pub lapsed: i64,
}

/// A line of a diner's statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    pub what: &'static str,
    pub minor: i64,
    pub balance: i64,
}

/// The name, the words and the terms of each company.
fn companies() -> [(&'static str, &'static str, Terms); 2] {
    let calendar = || Calendar { weekdays: (1..=7).collect(), holidays: [].into(), extra: [].into() };
    let terms = |per, clearing, order_limit: Option<i64>| Terms {
        amount: Money::new(SUBSIDY, Currency::CNY),
        per,
        clearing,
        calendar: calendar(),
        meals: [Meal::Lunch].into(),
        canteens: [].into(),
        order_limit: order_limit.map(|minor| Money::new(minor, Currency::CNY)),
        share_percent: None,
        cleared_on_leaving: false,
    };
    [
        ("Harbour Works", "25.00 a day, cleared at midnight", terms(Per::Day, Clearing::Daily, None)),
        ("Tower Insurance", "25.00 a lunch, 20.00 of an order, kept for the month", {
            terms(Per::Meal, Clearing::Rollover { months: 1 }, Some(ORDER_LIMIT))
        }),
    ]
}

impl Lunch {
    /// Which company employs a diner of the script, if one does.
    fn employer(&self, index: usize) -> Option<usize> {
        (self.script.diners[index].subsidy == SUBSIDY).then_some(index % 2)
    }

    /// Opens the companies with their money, employs the diners and grants their lots for the day.
    pub(super) async fn grant(&mut self, house: &House) -> anyhow::Result<()> {
        for (index, (name, grants, terms)) in companies().into_iter().enumerate() {
            let id = CompanyId(derived_id(self.tenant.0, &[b"demo company", name.as_bytes()]));
            let employed: Vec<DinerId> = (0..self.script.diners.len())
                .filter(|diner| self.employer(*diner) == Some(index))
                .map(|diner| diner_id(self.tenant, diner))
                .collect();
            let diners = employed.len() as u64;
            let funds = Money::new(SUBSIDY * i64::try_from(diners)? + RESERVE, Currency::CNY);
            let new = NewTopUp { account: AccountId::Company(id), amount: funds, source: Source::Bank };
            let request = self.request("finance", "deposit", &new);
            self.finance.top_up(request, new).await.context("a company's funds")?;
            self.employ(id, employed).await?;
            let policy = self.open_policy(id, terms).await?;
            let new = NewGrants { policy, first: self.date, last: self.date };
            let granted = house.subsidies.grant(self.request("finance", "grant", &new), new, |_| {}).await?;
            anyhow::ensure!(granted.diners == diners, "{} of {diners} diners were granted", granted.diners);
            self.companies.push(Company { name, grants, policy, diners });
        }
        Ok(())
    }

    async fn open_policy(&self, company: CompanyId, terms: Terms) -> anyhow::Result<PolicyId> {
        let request = self.request("finance", "openPolicy", &company);
        self.commands().open_policy(request, (company, None), Currency::CNY, ZONE.to_owned()).await?;
        let policy = PolicyId(request.id);
        let set = policy::Command::SetTerms { from: self.date, terms: Box::new(terms) };
        self.commands().on_policy(self.request("finance", "setTerms", &policy), policy, set).await?;
        Ok(policy)
    }

    async fn employ(&self, company: CompanyId, diners: Vec<DinerId>) -> anyhow::Result<()> {
        let mut joining = JoinSet::new();
        let from: Date = self.date;
        for id in diners {
            if joining.len() >= AT_ONCE {
                taken(joining.join_next().await)?;
            }
            let (request, commands) = (self.request("finance", "employ", &id), self.commands().clone());
            joining.spawn(async move {
                let join = diner::Command::Join { company, group: None, from };
                for attempt in 0..PATIENCE {
                    match commands.on_diner(request, id, join.clone()).await {
                        Err(Failure::Interrupted(Interrupted::Overloaded)) => pause(attempt).await,
                        done => return done.map(|_| ()).context("an employment"),
                    }
                }
                bail!("the service stayed overloaded while diners were employed")
            });
        }
        while !joining.is_empty() {
            taken(joining.join_next().await)?;
        }
        Ok(())
    }

    /// One diner of the first company complains about a dish and gets it back, to where it was paid
    /// from; then it strikes midnight.
    pub(super) async fn end_the_day(self: &Arc<Self>, follower: &mut Follower) -> anyhow::Result<()> {
        self.clock.set(self.midnight.plus_seconds(COMPLAINS));
        if let Some((index, order)) = self.complaint().await? {
            let lines = vec![LineCount { line: 0, quantity: 1 }];
            let request = self.request("staff", "refundLines", &self.order_id(index));
            self.ordering.refund_lines(request, order, lines, RefundReason::Complaint).await.context("a complaint")?;
            self.complained.set(diner_id(self.tenant, self.script.arrivals[index].diner)).ok();
        }
        self.clock.set(self.midnight.plus_seconds(MIDNIGHT));
        let open = follower.settle(SETTLES).await.context("lots do not expire")?;
        self.tally.left_open(open);
        // The day is over, and finance closes it.
        self.commands().close_period(self.request("finance", "closePeriod", &self.date), self.date).await?;
        Ok(())
    }

    /// The first order of several dishes that a diner of the first company has collected and a lot paid
    /// for alone.
    async fn complaint(&self) -> anyhow::Result<Option<(usize, domain::OrderId)>> {
        for (index, arrival) in self.script.arrivals.iter().enumerate() {
            if arrival.does != Does::Eats || arrival.lines.len() < 2 || self.employer(arrival.diner) != Some(0) {
                continue;
            }
            let id = self.order_id(index);
            let collected =
                self.commands().look(self.tenant, id, |order: &Order| order.status() == "PICKED_UP").await?;
            let lots_alone = self.commands().look(self.tenant, id.payment(), |payment: &domain::payment::Payment| {
                payment.sheet().is_ok_and(|sheet| {
                    !sheet.tenders.is_empty() && sheet.tenders.iter().all(|tender| tender.source.lot().is_some())
                })
            });
            if collected && lots_alone.await? {
                return Ok(Some((index, id)));
            }
        }
        Ok(None)
    }
}

/// What became of each company's grants, in their order.
pub(super) async fn used(house: &House, lunch: &Lunch) -> anyhow::Result<Vec<Used>> {
    let rows = subsidies::policy_use(&house.views, lunch.tenant, None, None, PageSize::MAX).await?;
    let of = |company: &Company| {
        let row = rows.iter().find(|row| row.policy == company.policy);
        row.map_or(Used::default(), |row| Used {
            granted: row.granted_minor,
            spent: row.spent_minor,
            refunded: row.refunded_minor,
            lapsed: row.lapsed_minor,
        })
    };
    Ok(lunch.companies.iter().map(of).collect())
}

/// The last day that the books take no more entries for, if there is one.
pub(super) async fn closed_through(lunch: &Lunch) -> anyhow::Result<Option<Date>> {
    let books = lunch.commands().books(lunch.tenant).await?;
    Ok(books.book().ok().and_then(|book| book.closed_through()))
}

/// The day of the diner who complained, as the books have it.
pub(super) async fn statement(house: &House, lunch: &Lunch) -> anyhow::Result<Vec<Movement>> {
    let Some(diner) = lunch.complained.get() else { return Ok(vec![]) };
    let account = LedgerAccount::Limited(AccountId::Subsidy(*diner));
    let mut entries = journal::of_account(&house.views, lunch.tenant, account, None, PageSize::MAX).await?;
    entries.reverse();
    let mut balance = 0;
    let moved = |entry: journal::Entry| {
        balance += entry.amount_minor;
        let what = match &*entry.event {
            "account.Granted" => "granted for the day",
            "account.Captured" => "paid for lunch",
            "account.Refunded" => "given back",
            "account.Lapsed" => "expired at midnight",
            _ => "booked",
        };
        Movement { what, minor: entry.amount_minor, balance }
    };
    Ok(entries.into_iter().map(moved).collect())
}
