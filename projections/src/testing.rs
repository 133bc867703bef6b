//! Histories for tests: whole lunches, as facts, as recorded events and as a log.

use std::sync::Arc;

use domain::{
    AccountId, ActorId, Aggregate, CanteenId, CommandId, Currency, DinerId, DishId, Fact, HoldId, Money, OrderId,
    RefundId, ServingId, StreamId, TenantId, Timestamp,
    account::{self, Account},
    books::Books,
    correction::Correction,
    diner::Diner,
    grant_run::GrantRun,
    invoice::Invoice,
    menu::{self, Dish, Menu},
    order::{self, Channel, Line, LineCount, Order, Placement, RefundFrom, RefundReason, Refusal, Terms},
    payment::{self, Part, Payment, Source, Tender, Why},
    payout::Payout,
    policy::Policy,
    serving::{self, Meal, Offer, Plan, Portions, Serving, Shortage},
    tax::TaxRate,
    top_up::TopUp,
};
use rustc_hash::FxHashMap;
use store::{Append, EventStore, MemoryLog, Metadata, NewEvent, Recorded, Version};
use uuid::Uuid;

use crate::{Projection, Rows};

pub(crate) fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

pub(crate) fn tenant() -> TenantId {
    TenantId(id(1))
}

pub(crate) fn canteen() -> CanteenId {
    CanteenId(id(200))
}

pub(crate) fn serving_id() -> ServingId {
    ServingId(id(300))
}

pub(crate) fn rice() -> DishId {
    DishId(id(401))
}

pub(crate) fn soup() -> DishId {
    DishId(id(402))
}

pub(crate) fn diner(number: usize) -> DinerId {
    DinerId(id(1_000_000 + number as u128))
}

pub(crate) fn order_id(number: usize) -> OrderId {
    OrderId(id(9_000_000 + number as u128))
}

pub(crate) fn cny(minor: i64) -> Money {
    Money::new(minor, Currency::CNY)
}

/// The fact with this number happens then: two a second from noon on.
pub(crate) fn at(position: u64) -> Timestamp {
    Timestamp::from_micros(1_795_579_200_000_000 + position as i64 * 500_000)
}

fn dish(name: &str, price: i64) -> Dish {
    Dish { name: name.into(), category: "mains".into(), price: cny(price), options: vec![], tax: TaxRate::ZERO }
}

/// A canteen that opens, puts two dishes and publishes a lunch with plenty of portions.
pub(crate) fn opening() -> Vec<Fact> {
    let (rice_spec, soup_spec) = (dish("Fried rice", 1_200), dish("Egg soup", 600));
    let offers = vec![
        Offer { dish: rice(), spec: rice_spec.clone(), portions: 100_000 },
        Offer { dish: soup(), spec: soup_spec.clone(), portions: 100_000 },
    ];
    let plan = Plan {
        canteen: canteen(),
        date: jiff::civil::date(2026, 11, 23),
        meal: Meal::Lunch,
        currency: Currency::CNY,
        opens_at: at(0),
        cut_off: at(1_000_000_000),
        lock_at: at(1_000_000_000),
        diner_limit: 10,
        no_show_percent: 100,
        offers,
    };
    let opened = menu::Event::Opened { name: "East".into(), zone: "Asia/Shanghai".into(), currency: Currency::CNY };
    vec![
        Fact::Menu(canteen(), opened),
        Fact::Menu(canteen(), menu::Event::DishPut { dish: rice(), spec: rice_spec }),
        Fact::Menu(canteen(), menu::Event::DishPut { dish: soup(), spec: soup_spec }),
        Fact::Serving(serving_id(), serving::Event::Published(plan)),
    ]
}

/// What a diner has: 50.00 in the wallet and 10.00 of subsidy.
pub(crate) fn funded(number: usize) -> Vec<Fact> {
    let one = |account: AccountId, minor: i64, deposit: u128| {
        [
            Fact::Account(account, account::Event::Opened { currency: Currency::CNY }),
            Fact::Account(
                account,
                account::Event::Deposited {
                    deposit: id(deposit),
                    amount: cny(minor),
                    source: domain::top_up::Source::Bank,
                },
            ),
        ]
    };
    let (wallet, subsidy) = (AccountId::Wallet(diner(number)), AccountId::Subsidy(diner(number)));
    [one(wallet, 5_000, number as u128), one(subsidy, 1_000, number as u128)].concat()
}

pub(crate) fn placed(number: usize) -> Fact {
    let line = |dish, name: &str, quantity, price| Line {
        dish,
        name: name.into(),
        quantity,
        unit_price: cny(price),
        options: vec![],
        tax: TaxRate::ZERO,
    };
    let placement = Placement {
        no_show_percent: 100,
        diner: diner(number),
        canteen: canteen(),
        serving: serving_id(),
        lines: vec![line(rice(), "Fried rice", 1, 1_200), line(soup(), "Egg soup", 2, 600)],
        total: cny(2_400),
        channel: Channel::Online,
        terms: Terms::Balances,
        lock_at: at(1_000_000_000),
        pay_by: at(1_000_000_000),
    };
    Fact::Order(order_id(number), order::Event::Placed(Box::new(placement)))
}

pub(crate) fn ordered(number: usize, event: order::Event) -> Fact {
    Fact::Order(order_id(number), event)
}

fn paid(number: usize, event: payment::Event) -> Fact {
    Fact::Payment(order_id(number).payment(), event)
}

pub(crate) fn portions() -> Vec<Portions> {
    vec![Portions { dish: rice(), quantity: 1 }, Portions { dish: soup(), quantity: 2 }]
}

pub(crate) fn hold(number: usize, tender: u8) -> HoldId {
    HoldId { payment: order_id(number).payment(), tender }
}

/// An order of one rice and two soups, 24.00, that is paid: 10.00 subsidy and 14.00 wallet.
pub(crate) fn confirmed(number: usize) -> Vec<Fact> {
    let (wallet, subsidy) = (AccountId::Wallet(diner(number)), AccountId::Subsidy(diner(number)));
    let tenders = vec![
        Tender { source: Source::Account(subsidy), amount: cny(1_000), why: Why::Available },
        Tender { source: Source::Account(wallet), amount: cny(1_400), why: Why::Rest },
    ];
    let started = payment::Event::Started { order: order_id(number), diner: diner(number), total: cny(2_400), tenders };
    let reserved = serving::Event::Reserved { order: order_id(number), diner: diner(number), portions: portions() };
    vec![
        placed(number),
        Fact::Serving(serving_id(), reserved),
        paid(number, started),
        Fact::Account(subsidy, account::Event::Held { hold: hold(number, 0), amount: cny(1_000), lot: None }),
        Fact::Account(wallet, account::Event::Held { hold: hold(number, 1), amount: cny(1_400), lot: None }),
        paid(number, payment::Event::Held),
        ordered(number, order::Event::Confirmed),
        Fact::Account(subsidy, account::Event::Captured { hold: hold(number, 0), amount: cny(1_000) }),
        Fact::Account(wallet, account::Event::Captured { hold: hold(number, 1), amount: cny(1_400) }),
        paid(number, payment::Event::Captured),
    ]
}

/// What follows when a confirmed order is cancelled: everything goes back.
pub(crate) fn cancelled(number: usize) -> Vec<Fact> {
    let refund = RefundId(order_id(number).0);
    let from = RefundFrom::Prepaid;
    let reason = RefundReason::CancelledByDiner;
    let lines = vec![LineCount { line: 0, quantity: 1 }, LineCount { line: 1, quantity: 2 }];
    let parts = vec![Part { tender: 1, amount: cny(1_400) }, Part { tender: 0, amount: cny(1_000) }];
    let back = |tender: u8, minor: i64| account::Event::Refunded {
        refund,
        hold: hold(number, tender),
        amount: cny(minor),
        from,
        lot: None,
    };
    let released = serving::Event::Released { order: order_id(number), portions: portions() };
    vec![
        ordered(number, order::Event::Cancelled { reason }),
        ordered(
            number,
            order::Event::RefundBegun {
                refund,
                lines,
                amounts: vec![],
                first: vec![],
                amount: cny(2_400),
                from,
                unearned: None,
                reason,
            },
        ),
        Fact::Serving(serving_id(), released),
        paid(number, payment::Event::RefundBegun { refund, amount: cny(2_400), from, parts }),
        Fact::Account(AccountId::Wallet(diner(number)), back(1, 1_400)),
        Fact::Account(AccountId::Subsidy(diner(number)), back(0, 1_000)),
        paid(number, payment::Event::RefundSettled { refund }),
        ordered(number, order::Event::RefundSettled { refund }),
    ]
}

/// An order that finds its dish sold out.
pub(crate) fn refused(number: usize) -> Vec<Fact> {
    let short = vec![Shortage { dish: soup(), asked: 2, left: 1 }];
    vec![placed(number), ordered(number, order::Event::Refused(Refusal::SoldOut(short)))]
}

pub(crate) fn served(number: usize) -> Vec<Fact> {
    let code = format!("{number:04}");
    vec![
        ordered(number, order::Event::Preparing),
        ordered(number, order::Event::Readied { code }),
        ordered(number, order::Event::PickedUp { canteen: canteen(), recognised: cny(2_400), tax: vec![] }),
    ]
}

/// A whole lunch of `orders` orders: every seventh is refused, every fifth cancelled, the others
/// are served.
pub(crate) fn lunch(orders: usize) -> Vec<Fact> {
    let mut facts = opening();
    for number in 0..orders {
        facts.extend(funded(number));
        if number % 7 == 6 {
            facts.extend(refused(number));
            continue;
        }
        facts.extend(confirmed(number));
        facts.extend(if number % 5 == 4 { cancelled(number) } else { served(number) });
    }
    facts
}

fn stream(fact: &Fact) -> StreamId {
    match fact {
        Fact::Menu(id, _) => Menu::stream(tenant(), *id),
        Fact::Serving(id, _) => Serving::stream(tenant(), *id),
        Fact::Order(id, _) => Order::stream(tenant(), *id),
        Fact::Payment(id, _) => Payment::stream(tenant(), *id),
        Fact::Account(id, _) => Account::stream(tenant(), *id),
        Fact::Policy(id, _) => Policy::stream(tenant(), *id),
        Fact::Grant(id, _) => GrantRun::stream(tenant(), *id),
        Fact::Diner(id, _) => Diner::stream(tenant(), *id),
        Fact::Books(id, _) => Books::stream(tenant(), *id),
        Fact::Invoice(id, _) => Invoice::stream(tenant(), *id),
        Fact::Correction(id, _) => Correction::stream(tenant(), *id),
        Fact::TopUp(id, _) => TopUp::stream(tenant(), *id),
        Fact::Payout(id, _) => Payout::stream(tenant(), *id),
    }
}

pub(crate) fn metadata() -> Metadata {
    Metadata {
        command: CommandId(id(7)),
        digest: None,
        actor: ActorId(id(8)),
        correlation: id(9),
        causation: None,
        trace: None,
    }
}

/// The facts as recorded events, from position 1 on.
pub(crate) fn recorded(facts: &[Fact]) -> Vec<Recorded> {
    let mut versions: FxHashMap<StreamId, Version> = FxHashMap::default();
    let mut one = |(fact, position): (&Fact, u64)| {
        let version = versions.entry(stream(fact)).or_default();
        *version += 1;
        Recorded {
            position,
            tenant: tenant(),
            version: *version,
            fact: fact.clone(),
            metadata: metadata(),
            occurred_at: at(position),
            recorded_at: at(position),
        }
    };
    facts.iter().zip(1..).map(&mut one).collect()
}

/// What a projection makes of the facts, without a database.
pub(crate) fn fold(projection: &dyn Projection, facts: &[Fact]) -> Rows {
    let mut rows = Rows::empty();
    for it in recorded(facts) {
        projection.apply(&it, &mut rows).unwrap();
    }
    rows
}

/// A log in memory, and the version of each of its streams.
pub(crate) struct World {
    pub(crate) store: Arc<MemoryLog>,
    versions: FxHashMap<StreamId, Version>,
}

impl World {
    pub(crate) fn new() -> Self {
        World { store: Arc::new(MemoryLog::new()), versions: FxHashMap::default() }
    }

    pub(crate) async fn with(facts: &[Fact]) -> Self {
        let mut world = World::new();
        world.happen(facts).await;
        world
    }

    /// Appends the facts, each at its time.
    pub(crate) async fn happen(&mut self, facts: &[Fact]) {
        let mut position = self.store.head().await.unwrap();
        let mut batch = Vec::new();
        for fact in facts {
            position += 1;
            let payload = match fact {
                Fact::Menu(_, event) => serde_json::to_vec(event),
                Fact::Serving(_, event) => serde_json::to_vec(event),
                Fact::Order(_, event) => serde_json::to_vec(event),
                Fact::Payment(_, event) => serde_json::to_vec(event),
                Fact::Account(_, event) => serde_json::to_vec(event),
                Fact::Policy(_, event) => serde_json::to_vec(event),
                Fact::Grant(_, event) => serde_json::to_vec(event),
                Fact::Diner(_, event) => serde_json::to_vec(event),
                Fact::Books(_, event) => serde_json::to_vec(event),
                Fact::Invoice(_, event) => serde_json::to_vec(event),
                Fact::Correction(_, event) => serde_json::to_vec(event),
                Fact::TopUp(_, event) => serde_json::to_vec(event),
                Fact::Payout(_, event) => serde_json::to_vec(event),
            };
            batch.push(self.raw(stream(fact), fact.name(), 1, payload.unwrap(), at(position)));
        }
        self.store.append(batch, at(position)).await.unwrap();
    }

    /// Appends an event as no program of today would write it.
    pub(crate) async fn happen_raw(&mut self, of: &Fact, schema_version: u16, payload: &[u8]) {
        let position = self.store.head().await.unwrap() + 1;
        let append = self.raw(stream(of), of.name(), schema_version, payload.to_vec(), at(position));
        self.store.append(vec![append], at(position)).await.unwrap();
    }

    fn raw(
        &mut self,
        stream: StreamId,
        name: &'static str,
        schema_version: u16,
        payload: Vec<u8>,
        occurred_at: Timestamp,
    ) -> Append {
        let version = self.versions.entry(stream).or_default();
        *version += 1;
        let events = vec![NewEvent { name, schema_version, payload }];
        Append { stream, expected: *version - 1, events, metadata: metadata(), occurred_at, snapshot: None }
    }
}
