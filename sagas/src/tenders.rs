//! Which purses of a diner pay for an order: lots of the subsidy by their expiry, then what is in no
//! lot, then the wallet.

use std::collections::BTreeMap;

use commands::Interrupted;
use domain::{
    AccountId, CanteenId, DinerId, LotId, Money, PolicyId, ServingId, Timestamp,
    account::Account,
    lot::{self, Use},
    order::Terms,
    payment::{self, Limit, MAX_TENDERS, Provider, Purse, Source, Tender, Why},
    policy::Policy,
    serving::Serving,
};

use crate::inline::Driver;

/// Lots that one payment takes from: what is in no lot, the wallet and a provider need a tender each.
const MAX_LOTS_OF_ONE: usize = MAX_TENDERS - 3;

/// What a lot is asked to pay for.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) of: Use,
    canteen: CanteenId,
}

/// The whole order that an amount is part of, and what lots have paid for it already, in minor units.
type Before = (Money, Vec<(LotId, i64)>);

/// What a diner has, as the accounts stand.
#[derive(Default)]
struct Purses {
    /// With what each can pay, in minor units.
    lots: Vec<(LotId, lot::Terms, i64)>,
    loose: Option<Money>,
}

impl Driver<'_> {
    /// The serving's date, meal and canteen; none if there is no such serving.
    pub(crate) async fn place_of(&self, serving: ServingId, at: Timestamp) -> Result<Option<Place>, Interrupted> {
        let place = |serving: &Serving| {
            let book = serving.book().ok()?;
            Some(Place { of: Use { at, date: book.date, meal: book.meal }, canteen: book.canteen })
        };
        self.look(serving, place).await
    }

    /// Which sources pay, as far as their balances go now; `Err` has what is short.
    pub(crate) async fn tenders(
        &self,
        diner: DinerId,
        serving: ServingId,
        total: Money,
        terms: Terms,
    ) -> Result<Result<Vec<Tender>, Money>, Interrupted> {
        let external = |provider| Tender { source: Source::External(provider), amount: total, why: Why::Rest };
        if !total.is_positive() {
            return Ok(Ok(vec![]));
        }
        match terms {
            Terms::AtCounter => Ok(Ok(vec![external(Provider::Counter)])),
            Terms::Elsewhere => Ok(Ok(vec![external(Provider::Elsewhere)])),
            Terms::Balances => self.paid_by_balances(diner, serving, total, (total, vec![]), None).await,
            Terms::BalancesThen(provider) => {
                self.paid_by_balances(diner, serving, total, (total, vec![]), Some(provider)).await
            }
        }
    }

    /// Which balances pay `more` for an order that is changed.
    pub(crate) async fn more_tenders(
        &self,
        diner: DinerId,
        serving: ServingId,
        more: Money,
        before: Before,
    ) -> Result<Result<Vec<Tender>, Money>, Interrupted> {
        self.paid_by_balances(diner, serving, more, before, None).await
    }

    async fn paid_by_balances(
        &self,
        diner: DinerId,
        serving: ServingId,
        total: Money,
        (whole, by_lots): Before,
        then: Option<Provider>,
    ) -> Result<Result<Vec<Tender>, Money>, Interrupted> {
        let subsidy = AccountId::Subsidy(diner);
        let has_lots = self.look(subsidy, |account: &Account| account.book().is_ok_and(|book| !book.lots.is_empty()));
        // Most tenants' diners have none, and their serving need not be looked at.
        let place = if has_lots.await? { self.place_of(serving, self.now).await? } else { None };
        let Purses { lots, loose } = self.purses(subsidy, place.map(|place| place.of)).await?;
        let mut purses = Vec::with_capacity(2);
        let mut limits = BTreeMap::new();
        if let Some(place) = place {
            self.of_lots(diner, lots, place, whole, (&mut purses, &mut limits)).await?;
        }
        for (lot, minor) in by_lots {
            let policy = |account: &Account| account.book().ok()?.lots.get(lot).map(|lot| lot.terms.policy);
            let policy = self.look(subsidy, policy).await?;
            // One that is forgotten may have been of any policy.
            for (_, limit) in limits.iter_mut().filter(|(known, _)| policy.is_none_or(|policy| policy == **known)) {
                limit.minor = (limit.minor - minor).max(0);
            }
        }
        let wallet = AccountId::Wallet(diner);
        for (account, has) in [(subsidy, loose), (wallet, self.purses(wallet, None).await?.loose)] {
            purses.extend(has.map(|has| Purse { source: Source::Account(account), has, policy: None }));
        }
        // It is asked for what is left.
        purses.extend(then.map(|then| Purse { source: Source::External(then), has: total, policy: None }));
        Ok(payment::plan(total, &purses, &limits))
    }

    async fn purses(&self, account: AccountId, of: Option<Use>) -> Result<Purses, Interrupted> {
        self.look(account, |account: &Account| match account.book() {
            Ok(book) if !book.frozen => {
                // A debt leaves less of the lots than is in them.
                let mut left = book.available().minor;
                let lots = of.map(|of| book.lots.payable(of)).unwrap_or_default();
                let has = |(id, lot): (LotId, lot::Lot)| {
                    let minor = lot.free().min(left).max(0);
                    left -= minor;
                    (id, lot.terms, minor)
                };
                Purses { lots: lots.into_iter().map(has).collect(), loose: Some(book.loose()) }
            }
            _ => Purses::default(),
        })
        .await
    }

    /// The lots whose policies pay at this serving, and how much of one order each policy pays.
    async fn of_lots(
        &self,
        diner: DinerId,
        lots: Vec<(LotId, lot::Terms, i64)>,
        Place { of, canteen }: Place,
        total: Money,
        (purses, limits): (&mut Vec<Purse>, &mut BTreeMap<PolicyId, Limit>),
    ) -> Result<(), Interrupted> {
        for (id, lot::Terms { policy, version, .. }, minor) in lots {
            let pays = |policy: &Policy| {
                let book = policy.book().ok()?;
                let terms = book.terms(version)?;
                terms.pays_at(canteen, of.date, of.meal).then(|| (book.currency, terms.limit(total)))
            };
            let Some((currency, limit)) = self.look(policy, pays).await? else { continue };
            // Lots of several versions of one policy share the narrowest limit.
            if let Some(limit) = limit {
                let known = limits.entry(policy).or_insert(limit);
                *known = if limit.minor < known.minor { limit } else { *known };
            }
            let has = Money::new(minor, currency);
            purses.push(Purse { source: Source::Lot(diner, id), has, policy: Some(policy) });
            if purses.len() == MAX_LOTS_OF_ONE {
                break;
            }
        }
        Ok(())
    }
}
