//! A fold of the log that shares none with the house: what must hold after every event.

use std::collections::BTreeMap;

use domain::{
    AccountId, CompanyId, DinerId, DishId, Fact, GrantRunId, HoldId, InvoiceId, LotId, OrderId, PaymentId, PolicyId,
    ServingId, Timestamp, account, grant_run, invoice, order,
    payment::{self, Source},
    postings::{LedgerAccount, postings},
    serving,
    tax::TaxRate,
};
use jiff::civil::Date;
use store::Recorded;

use super::lots::{Purse, Rule};

/// An account with a limit, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sides {
    pub(super) posted: i64,
    pub(super) held: i64,
    pub(super) floor: i64,
    pub(super) receivable: i64,
}

impl Sides {
    fn available(self) -> i64 {
        self.posted - self.held - self.receivable - self.floor
    }
}

/// What was done with one order's money.
#[derive(Clone, Debug, Default)]
pub(super) struct Bill {
    pub(super) serving: Option<ServingId>,
    pub(super) total: i64,
    pub(super) status: &'static str,
    /// Refunds begun and settled, by the order.
    pub(super) begun: i64,
    pub(super) settled: i64,
    /// Paid and neither served nor given back.
    pub(super) prepaid: i64,
    /// Refunds begun by the payment.
    payment_begun: i64,
    captured: bool,
    /// What it was placed for, what changes added to its payment, and what the last asked for.
    first_total: i64,
    extended: i64,
    wanted: i64,
    diner: Option<DinerId>,
    tenders: Vec<payment::Tender>,
    /// Refunds begun by the payment, of each tender.
    given_back: BTreeMap<u8, i64>,
    refunds: BTreeMap<domain::RefundId, i64>,
    canteen: i64,
    tax: BTreeMap<TaxRate, i64>,
}

#[derive(Default)]
pub(super) struct Books {
    pub(super) rules: BTreeMap<PolicyId, Rule>,
    /// How often events of each name came.
    pub(super) seen: BTreeMap<&'static str, u64>,
    pub(super) ledger: BTreeMap<LedgerAccount, i64>,
    pub(super) accounts: BTreeMap<AccountId, Sides>,
    pub(super) purses: BTreeMap<AccountId, Purse>,
    pub(super) orders: BTreeMap<OrderId, Bill>,
    pub(super) invoices: BTreeMap<InvoiceId, (CompanyId, i64)>,
    /// Runs of grants, and whether each has finished.
    pub(super) runs: BTreeMap<GrantRunId, bool>,
    servings: BTreeMap<ServingId, Date>,
    portions: BTreeMap<(ServingId, DishId), (u32, u32)>,
    holds: BTreeMap<HoldId, (AccountId, i64, Option<LotId>)>,
    /// What came of each tender, and what went back of it.
    taken: BTreeMap<HoldId, (i64, i64)>,
    /// What providers were asked to give back of each tender.
    asked_back: BTreeMap<HoldId, i64>,
    prepaid: i64,
}

impl Books {
    /// Folds one event and checks all that it can have broken.
    pub(super) fn apply(&mut self, it: &Recorded) {
        *self.seen.entry(it.fact.name()).or_default() += 1;
        let sides = postings(&it.fact);
        assert_eq!(sides.iter().map(|side| side.amount.minor).sum::<i64>(), 0, "postings sum to zero");
        for side in &sides {
            *self.ledger.entry(side.account).or_default() += side.amount.minor;
        }
        match &it.fact {
            Fact::Account(id, event) => self.account(*id, event, it.occurred_at),
            Fact::Payment(id, event) => self.payment(*id, event, it.occurred_at),
            Fact::Order(id, event) => self.order(*id, event),
            Fact::Serving(id, event) => self.serving(*id, event),
            Fact::Grant(id, event) => self.grant(*id, event),
            Fact::Invoice(id, event) => self.invoice(*id, event),
            Fact::Menu(..) | Fact::Policy(..) | Fact::Diner(..) | Fact::Books(..) => {}
            Fact::Correction(..) | Fact::TopUp(..) | Fact::Payout(..) => {}
        }
        assert_eq!(self.of(LedgerAccount::Prepaid), self.prepaid, "prepaid is what is paid and not served");
        let trial: i64 = self.ledger.values().sum();
        assert_eq!(trial, 0, "the trial balance");
    }

    pub(super) fn of(&self, account: LedgerAccount) -> i64 {
        self.ledger.get(&account).copied().unwrap_or_default()
    }

    /// Money of an order comes into `prepaid`, or leaves it.
    fn prepay(&mut self, order: OrderId, minor: i64) {
        self.prepaid += minor;
        let bill = self.orders.entry(order).or_default();
        bill.prepaid += minor;
        assert!(bill.prepaid >= 0, "more left {order} than was paid: {bill:?}");
    }

    fn take(&mut self, hold: HoldId, minor: i64) {
        let before = self.taken.insert(hold, (minor, 0));
        assert_eq!(before, None, "{hold:?} was charged twice");
        self.prepay(OrderId(hold.payment.0), minor);
    }

    fn give_back(&mut self, hold: HoldId, minor: i64) {
        let (taken, back) = self.taken.get_mut(&hold).unwrap_or_else(|| panic!("{hold:?} never paid"));
        *back += minor;
        assert!(*back <= *taken, "{hold:?}: {back} of {taken} went back");
        self.prepay(OrderId(hold.payment.0), -minor);
    }

    fn account(&mut self, id: AccountId, event: &account::Event, at: Timestamp) {
        let before = self.accounts.get(&id).copied().unwrap_or_default();
        self.move_sides(id, event);
        self.move_lots(id, event, at);
        match event {
            account::Event::Held { hold, amount, lot } => {
                assert_eq!(self.holds.insert(*hold, (id, amount.minor, *lot)), None, "{hold:?} was held twice");
            }
            account::Event::Captured { hold, amount } => {
                let held = self.holds.remove(hold).expect("it was held");
                assert_eq!((held.0, held.1), (id, amount.minor), "what was held is what is taken");
                self.take(*hold, amount.minor);
            }
            account::Event::Released { hold } => drop(self.holds.remove(hold)),
            account::Event::Refunded { hold, amount, .. }
            | account::Event::RefundLapsed { hold, amount, .. }
            | account::Event::RefundDiverted { hold, amount, .. } => self.give_back(*hold, amount.minor),
            _ => {}
        }
        let now = self.accounts[&id];
        assert_eq!(now.posted, self.of(LedgerAccount::Limited(id)), "{id} and its ledger account");
        let adjusted = matches!(event, account::Event::Adjusted { .. });
        let holds = adjusted || now.available() >= 0 || now.available() >= before.available();
        assert!(holds, "{id} fell below its floor by {event:?}: {before:?}, {now:?}");
    }

    fn move_sides(&mut self, id: AccountId, event: &account::Event) {
        use account::Event as E;
        let held_by = |hold: &HoldId| self.holds.get(hold).map_or(0, |held| held.1);
        let (posted, held, receivable) = match event {
            E::Deposited { amount, .. }
            | E::Granted { amount, .. }
            | E::Refunded { amount, .. }
            | E::TakenBack { amount, .. }
            | E::Adjusted { by: amount, .. } => (amount.minor, 0, 0),
            E::Allocated { amount, .. } | E::Lapsed { amount, .. } => (-amount.minor, 0, 0),
            E::Held { amount, .. } | E::PayoutHeld { amount, .. } => (0, amount.minor, 0),
            E::Captured { hold, amount } => (-amount.minor, -held_by(hold), 0),
            E::Released { hold } => (0, -held_by(hold), 0),
            E::PaidOut { amount, .. } => (-amount.minor, -amount.minor, 0),
            E::PayoutReleased { amount, .. } => (0, -amount.minor, 0),
            E::Invoiced { amount, .. } => (amount.minor, 0, amount.minor),
            E::InvoicePaid { amount, .. } => (0, 0, -amount.minor),
            E::InvoiceVoided { amount, .. } => (-amount.minor, 0, -amount.minor),
            E::FloorSet { floor } => {
                self.accounts.entry(id).or_default().floor = floor.minor;
                return;
            }
            E::Opened { .. } | E::RefundLapsed { .. } | E::RefundDiverted { .. } | E::DisclosureSet { .. } => (0, 0, 0),
            E::Frozen | E::Unfrozen | E::Closed => (0, 0, 0),
        };
        let sides = self.accounts.entry(id).or_default();
        sides.posted += posted;
        sides.held += held;
        sides.receivable += receivable;
        assert!(sides.held >= 0 && sides.receivable >= 0, "{id}: {sides:?}");
    }

    fn move_lots(&mut self, id: AccountId, event: &account::Event, at: Timestamp) {
        use account::Event as E;
        if !matches!(id, AccountId::Subsidy(_)) {
            return;
        }
        let of = |hold: &HoldId| self.holds.get(hold).map(|(_, minor, lot)| (*lot, *minor));
        let sides = self.accounts.get(&id).copied().unwrap_or_default();
        let purse = self.purses.entry(id).or_default();
        match event {
            E::Deposited { amount, .. } | E::Adjusted { by: amount, .. } => purse.loose += amount.minor,
            E::Granted { lot, terms, amount } => purse.granted(*lot, *terms, amount.minor, at),
            E::Held { amount, lot, .. } => purse.held(*lot, amount.minor, at),
            E::Captured { hold, amount } => purse.captured(of(hold).and_then(|(lot, _)| lot), amount.minor),
            E::Released { hold } => {
                if let Some((lot, minor)) = of(hold) {
                    purse.released(lot, minor);
                }
            }
            E::Refunded { amount, lot, .. } => purse.refunded(*lot, amount.minor, false),
            E::RefundLapsed { amount, lot, .. } => purse.refunded(Some(*lot), amount.minor, true),
            E::Lapsed { lot, amount } => {
                purse.lapsed(*lot, amount.minor, at, sides.posted + amount.minor - sides.held);
            }
            E::PaidOut { amount, .. } => purse.loose -= amount.minor,
            // It was emptied first: what its lots had is the debt that is gone with them.
            E::Closed => *purse = Purse::default(),
            other => {
                let known = matches!(other, E::Opened { .. } | E::RefundDiverted { .. } | E::PayoutHeld { .. });
                assert!(known || matches!(other, E::PayoutReleased { .. }), "{other:?} is not in this model");
            }
        }
        let lots: i64 = purse.lots.values().map(|one| one.money).sum();
        assert_eq!(sides.posted, lots + purse.loose, "{id} is its lots and what is in none: {purse:?}");
    }

    fn payment(&mut self, id: PaymentId, event: &payment::Event, at: Timestamp) {
        use payment::Event as E;
        let hold = |tender: u8| HoldId { payment: id, tender };
        match event {
            E::Started { order, diner, total, tenders } => {
                self.orders.entry(*order).or_default().tenders = tenders.clone();
                let lots: Vec<_> =
                    tenders.iter().filter_map(|one| Some((one.source.lot()?, one.amount.minor))).collect();
                let external = |source: &Source| matches!(source, Source::External(payment::Provider::Counter));
                if tenders.iter().any(|one| external(&one.source)) {
                    return;
                }
                let account = AccountId::Subsidy(*diner);
                let available = self.accounts.get(&account).copied().unwrap_or_default().available();
                let date = self.servings[&self.orders[order].serving.expect("it was placed")];
                let purse = self.purses.entry(account).or_default();
                let bill = (total.minor, total.minor, &[][..]);
                let plan = purse.plan(bill, available, (date, at), &self.rules);
                assert_eq!(lots, plan, "which lots pay for {order}: {purse:?}");
            }
            E::Extended { amount, first, tenders, .. } => {
                let bill = self.orders.entry(OrderId(id.0)).or_default();
                assert_eq!(usize::from(*first), bill.tenders.len(), "the new tenders come after the others");
                let bill = bill.clone();
                let lots: Vec<_> =
                    tenders.iter().filter_map(|one| Some((one.source.lot()?, one.amount.minor))).collect();
                let before = (0_u8..).zip(&bill.tenders).filter_map(|(index, one)| {
                    let (taken, back) = self.taken.get(&hold(index)).copied()?;
                    // What a refund that is under way takes is gone already.
                    let back = bill.given_back.get(&index).copied().unwrap_or(0).max(back);
                    Some((one.source.lot()?, taken - back))
                });
                let before: Vec<_> = before.collect();
                let diner = bill.diner.expect("it was placed");
                let account = AccountId::Subsidy(diner);
                let available = self.accounts.get(&account).copied().unwrap_or_default().available();
                let date = self.servings[&bill.serving.expect("it was placed")];
                let purse = self.purses.entry(account).or_default();
                let plan = purse.plan((amount.minor, bill.wanted, &before), available, (date, at), &self.rules);
                assert_eq!(lots, plan, "which lots pay more for {id}: {purse:?}");
                self.orders.entry(OrderId(id.0)).or_default().tenders.extend(tenders.iter().copied());
            }
            E::ExtensionCaptured { amount, .. } => {
                self.orders.entry(OrderId(id.0)).or_default().extended += amount.minor;
            }
            E::Captured => self.orders.entry(OrderId(id.0)).or_default().captured = true,
            E::Paid { tender, amount, .. } => self.take(hold(*tender), amount.minor),
            E::RefundBegun { amount, parts, .. } => {
                let parts_of = parts;
                let parts: i64 = parts.iter().map(|part| part.amount.minor).sum();
                let bill = self.orders.entry(OrderId(id.0)).or_default();
                bill.payment_begun += amount.minor;
                assert_eq!(parts, amount.minor, "the parts of a refund are all of it");
                for part in parts_of {
                    *bill.given_back.entry(part.tender).or_default() += part.amount.minor;
                }
                let captured = bill.first_total + bill.extended;
                assert!(bill.captured && bill.payment_begun <= captured, "refunded beyond what was captured");
            }
            E::PayBackAsked { tender, amount, .. } => {
                let asked = self.asked_back.entry(hold(*tender)).or_default();
                *asked += amount.minor;
                let taken = self.taken.get(&hold(*tender)).map_or(0, |(taken, _)| *taken);
                assert!(*asked <= taken, "{asked} of {taken} were asked back of {id}");
            }
            E::PaidBack { tender, amount, .. } | E::PayBackDiverted { tender, amount, .. } => {
                self.give_back(hold(*tender), amount.minor);
            }
            E::Mispaid { .. } => panic!("the stand-in takes what was asked for: {event:?}"),
            E::Asked { .. } | E::OutcomeUnknown { .. } | E::Failed { .. } | E::TradeClosed { .. } => {}
            E::PayBackUnknown { .. } | E::Held | E::Released | E::RefundSettled { .. } => {}
            E::ExtensionGivenUp { .. } => {}
        }
    }

    fn order(&mut self, id: OrderId, event: &order::Event) {
        use order::Event as E;
        let bill = self.orders.entry(id).or_default();
        match event {
            E::Placed(placed) => {
                bill.serving = Some(placed.serving);
                (bill.total, bill.first_total, bill.status) = (placed.total.minor, placed.total.minor, "PLACED");
                bill.diner = Some(placed.diner);
            }
            E::Confirmed => bill.status = "CONFIRMED",
            E::Preparing | E::Readied { .. } => bill.status = "READY",
            E::Refused(_) => bill.status = "REFUSED",
            E::Expired => bill.status = "EXPIRED",
            E::Cancelled { .. } => bill.status = "CANCELLED",
            E::PickedUp { recognised, tax, .. } | E::NoShow { recognised, tax, .. } => {
                assert!(!matches!(bill.status, "PICKED_UP" | "NO_SHOW"), "it was served twice");
                bill.status = if matches!(event, E::PickedUp { .. }) { "PICKED_UP" } else { "NO_SHOW" };
                assert_eq!(recognised.minor, bill.total - bill.begun, "what is earned is what was not given back");
                bill.canteen += recognised.minor;
                for part in tax {
                    bill.canteen -= part.amount.minor;
                    *bill.tax.entry(part.rate).or_default() += part.amount.minor;
                }
                self.prepay(id, -recognised.minor);
            }
            E::RefundBegun { refund, amount, unearned, .. } => {
                bill.begun += amount.minor;
                assert_eq!(bill.refunds.insert(*refund, amount.minor), None, "a refund began twice");
                assert!(bill.begun <= bill.total, "more is given back than the order cost");
                if let Some(unearned) = unearned {
                    bill.canteen -= amount.minor;
                    for part in &unearned.tax {
                        bill.canteen += part.amount.minor;
                        *bill.tax.entry(part.rate).or_default() -= part.amount.minor;
                    }
                    let all = bill.begun == bill.total;
                    let none = bill.canteen == 0 && bill.tax.values().all(|minor| *minor == 0);
                    assert!(!all || none, "all is given back, and yet something is earned: {bill:?}");
                    assert!(bill.canteen >= 0 && bill.tax.values().all(|minor| *minor >= 0), "{bill:?}");
                    self.prepay(id, amount.minor);
                }
            }
            E::RefundSettled { refund } => bill.settled += bill.refunds[refund],
            E::ChangeBegun { change, .. } => bill.wanted = change.total.minor,
            // What was given back of it before is no part of what it is for now.
            E::Changed(change) => {
                assert_eq!(change.total.minor, bill.wanted, "it is changed to what was asked");
                bill.total = change.total.minor + bill.begun;
            }
            E::ChangeRefused { .. } => {}
            E::ChangeSettled { .. } => {
                let net = (bill.total - bill.begun, bill.first_total + bill.extended - bill.begun);
                assert_eq!(net.0, net.1, "what it costs is what was taken and not given back: {bill:?}");
            }
        }
    }

    fn serving(&mut self, id: ServingId, event: &serving::Event) {
        use serving::Event as E;
        match event {
            E::Published(plan) => {
                self.servings.insert(id, plan.date);
                for offer in &plan.offers {
                    self.portions.insert((id, offer.dish), (offer.portions, 0));
                }
            }
            E::PortionsSet { dish, portions } => self.portions.entry((id, *dish)).or_default().0 = *portions,
            E::Reserved { portions, .. } | E::Widened { portions, .. } => {
                for one in portions {
                    self.portions.entry((id, one.dish)).or_default().1 += one.quantity;
                }
            }
            E::Released { portions, .. } | E::Narrowed { portions, .. } => {
                for one in portions {
                    let reserved = &mut self.portions.entry((id, one.dish)).or_default().1;
                    *reserved = reserved.checked_sub(one.quantity).expect("it was reserved");
                }
            }
            // Its reservations are given up with it.
            E::DishWithdrawn { dish, .. } => self.portions.entry((id, *dish)).or_default().1 = 0,
            E::PriceSet { .. } | E::Withdrawn { .. } | E::WithdrawalSettled { .. } => {}
        }
        for (of, (offered, reserved)) in self.portions.range((id, DishId(uuid::Uuid::nil()))..) {
            assert!(of.0 != id || reserved <= offered, "oversold: {reserved} of {offered}");
        }
    }

    fn grant(&mut self, id: GrantRunId, event: &grant_run::Event) {
        use grant_run::Event as E;
        match event {
            E::Begun(_) => drop(self.runs.insert(id, false)),
            E::Finished { .. } => drop(self.runs.insert(id, true)),
            E::BatchBegun { .. } | E::BatchRefused { .. } | E::BatchSettled { .. } => {}
        }
        if self.runs[&id] {
            assert_eq!(self.of(LedgerAccount::Transit(id)), 0, "a run is over, and money is in transit");
        }
    }

    fn invoice(&mut self, id: InvoiceId, event: &invoice::Event) {
        use invoice::Event as E;
        match event {
            E::Issued(bill) => drop(self.invoices.insert(id, (bill.company, bill.amount.minor))),
            E::Paid { amount, .. } => {
                let open = &mut self.invoices.get_mut(&id).expect("it was issued").1;
                *open -= amount.minor;
                assert!(*open >= 0, "more was paid than was asked");
            }
            E::Voided { .. } => self.invoices.get_mut(&id).expect("it was issued").1 = 0,
            E::Settled | E::Booked => {}
        }
    }
}
