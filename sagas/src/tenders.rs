//! Which purses of a diner pay for an order, in the tenant's order of deduction. Of the subsidy that is lots by
//! their expiry, then what is in no lot.

use std::collections::{BTreeMap, btree_map::Entry};

use commands::Interrupted;
use domain::{
    AccountId, CanteenId, DinerId, LotId, Money, PolicyId, ServingId, Timestamp,
    account::Account,
    books::{Books, DeductionOrder},
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

/// How much of one order each policy pays.
type Limits = BTreeMap<PolicyId, Limit>;

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
        let (subsidy, wallet) = (AccountId::Subsidy(diner), AccountId::Wallet(diner));
        let has_lots = self.look(subsidy, |account: &Account| account.book().is_ok_and(|book| !book.lots.is_empty()));
        // Most tenants' diners have none, and their serving need not be looked at.
        let place = if has_lots.await? { self.place_of(serving, self.now).await? } else { None };
        let Purses { lots, loose } = self.purses(subsidy, place.map(|place| place.of)).await?;
        let mut limits = BTreeMap::new();
        let mut purses = match place {
            Some(place) => {
                let mut lots = self.that_pay(lots, place, whole, &mut limits).await?;
                self.count_in(subsidy, by_lots, &mut limits).await?;
                needed(&mut lots, total.minor, limits.clone());
                let purse = |(id, policy, has)| Purse { source: Source::Lot(diner, id), has, policy: Some(policy) };
                lots.into_iter().map(purse).collect()
            }
            None => vec![],
        };
        let of_account = |account| move |has| Purse { source: Source::Account(account), has, policy: None };
        purses.extend(loose.map(of_account(subsidy)));
        let wallet = self.purses(wallet, None).await?.loose.map(of_account(wallet));
        match self.look(self.tenant, |books: &Books| books.deduction_order()).await? {
            DeductionOrder::SubsidyFirst => purses.extend(wallet),
            DeductionOrder::WalletFirst => purses.splice(..0, wallet).for_each(drop),
        }
        // It is asked for what is left.
        purses.extend(then.map(|then| Purse { source: Source::External(then), has: total, policy: None }));
        Ok(payment::plan(total, &purses, &limits))
    }

    /// What lots have paid of the order already counts within the limits of their policies.
    async fn count_in(
        &self,
        subsidy: AccountId,
        by_lots: Vec<(LotId, i64)>,
        limits: &mut Limits,
    ) -> Result<(), Interrupted> {
        for (lot, minor) in by_lots {
            let policy = |account: &Account| account.book().ok()?.lots.get(lot).map(|lot| lot.terms.policy);
            let policy = self.look(subsidy, policy).await?;
            // One that is forgotten may have been of any policy.
            for (_, limit) in limits.iter_mut().filter(|(known, _)| policy.is_none_or(|policy| policy == **known)) {
                limit.minor = (limit.minor - minor).max(0);
            }
        }
        Ok(())
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

    /// The lots whose policies pay at this serving, with what is in them, and how much of one order each
    /// policy pays: lots of several versions of it share the narrowest limit.
    async fn that_pay(
        &self,
        lots: Vec<(LotId, lot::Terms, i64)>,
        Place { of, canteen }: Place,
        whole: Money,
        limits: &mut Limits,
    ) -> Result<Vec<(LotId, PolicyId, Money)>, Interrupted> {
        let (mut known, mut that_pay) = (BTreeMap::new(), Vec::with_capacity(lots.len()));
        for (id, lot::Terms { policy, version, .. }, minor) in lots {
            let pays = |policy: &Policy| {
                let book = policy.book().ok()?;
                let terms = book.terms(version)?;
                terms.pays_at(canteen, of.date, of.meal).then(|| (book.currency, terms.limit(whole)))
            };
            let pays = match known.entry((policy, version)) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(unknown) => *unknown.insert(self.look(policy, pays).await?),
            };
            let Some((currency, limit)) = pays else { continue };
            if let Some(limit) = limit {
                let known = limits.entry(policy).or_insert(limit);
                *known = if limit.minor < known.minor { limit } else { *known };
            }
            that_pay.push((id, policy, Money::new(minor, currency)));
        }
        Ok(that_pay)
    }
}

/// Keeps the lots of which something is taken for `rest`: no more than a payment has tenders for.
fn needed(lots: &mut Vec<(LotId, PolicyId, Money)>, mut rest: i64, mut limits: Limits) {
    let mut asked = 0;
    lots.retain(|(_, policy, has)| {
        let limit = limits.get_mut(policy);
        let minor = has.minor.min(rest).min(limit.as_ref().map_or(i64::MAX, |limit| limit.minor));
        if minor <= 0 || asked == MAX_LOTS_OF_ONE {
            return false;
        }
        (asked, rest) = (asked + 1, rest - minor);
        limit.into_iter().for_each(|limit| limit.minor -= minor);
        true
    });
}
