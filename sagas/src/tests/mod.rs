//! Whole orders over a real write path and real views.

mod changing;
mod counter;
mod crash;
mod finance;
mod finance_property;
mod invoices;
mod journeys;
mod people;
mod providers;
mod subsidies;
mod whole_house;

use std::{sync::Arc, time::Duration};

use ::providers::{Providers, StandIn, Weather};
use commands::{Commands, Limits, ManualClock, NewOffer, NewServing, Request, SeededIds};
use domain::{
    AccountId, ActorId, CanteenId, Currency, DinerId, DishId, Fact, Money, OrderId, ServingId, TenantId, Timestamp,
    account::Account,
    menu::Dish,
    order::{Channel, Order, Terms},
    payment::Provider,
    postings::postings,
    serving::{Meal, Serving},
    tax::TaxRate,
};
use projections::{Runner, Views};
use store::{EventStore, MemoryLog, Recorded};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Finance, Follower, NewLine, NewOrder, Ordering, Subsidies};

const TENANT: TenantId = TenantId(Uuid::from_u128(1));
const STAFF: ActorId = ActorId(Uuid::from_u128(2));
const RICE: DishId = DishId(Uuid::from_u128(11));
const SOUP: DishId = DishId(Uuid::from_u128(12));
/// 2026-11-23T03:00:00Z: eleven o'clock in Shanghai.
const MORNING: Timestamp = Timestamp::from_seconds(1_795_402_800);
const RICE_PRICE: i64 = 1_800;
const SOUP_PRICE: i64 = 600;

fn fen(minor: i64) -> Money {
    Money::new(minor, Currency::CNY)
}

fn diner(number: u128) -> DinerId {
    DinerId(Uuid::from_u128(1_000 + number))
}

/// A canteen with one serving, its log and its views.
struct House {
    log: Arc<MemoryLog>,
    clock: Arc<ManualClock>,
    ordering: Ordering,
    /// WeChat Pay, played; its world survives a crash of ours.
    wechat: Arc<StandIn>,
    canteen: CanteenId,
    serving: ServingId,
    views: Option<Views>,
    stop: CancellationToken,
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn start(log: &Arc<MemoryLog>, at: Timestamp, wechat: &Arc<StandIn>) -> (Arc<ManualClock>, Ordering) {
    let clock = Arc::new(ManualClock::at(at));
    let commands =
        Commands::start(Arc::clone(log) as _, Arc::clone(&clock) as _, Arc::new(SeededIds::new(3)), Limits::default());
    let providers = Providers::default().with(Provider::WechatPay, Arc::clone(wechat) as _);
    (clock, Ordering::new(commands).with_providers(providers))
}

impl House {
    /// Sells rice at 18.00 and soup at 6.00 from now until noon; the kitchen locks at half past.
    async fn open(rice: u32, soup: u32) -> House {
        House::open_with(rice, soup, StandIn::new(1, Weather::default())).await
    }

    async fn open_with(rice: u32, soup: u32, wechat: StandIn) -> House {
        let (log, wechat) = (Arc::new(MemoryLog::new()), Arc::new(wechat));
        let (clock, ordering) = start(&log, MORNING, &wechat);
        let commands = ordering.commands();
        let canteen = CanteenId(staff("canteen", 1, &()).id);
        commands
            .open_canteen(staff("canteen", 1, &()), "One".into(), "Asia/Shanghai".into(), Currency::CNY)
            .await
            .unwrap();
        for (dish, name, price) in [(RICE, "Rice", RICE_PRICE), (SOUP, "Soup", SOUP_PRICE)] {
            let spec = Dish {
                name: name.into(),
                category: "Lunch".into(),
                price: fen(price),
                options: vec![],
                tax: TaxRate::ZERO,
            };
            commands.put_dish(staff("dish", dish.0.as_u128(), &()), canteen, dish, spec).await.unwrap();
        }
        let date = jiff::civil::date(2026, 11, 23);
        let new = NewServing {
            canteen,
            date,
            meal: Meal::Lunch,
            opens: date.at(8, 0, 0, 0),
            cut_off: date.at(12, 0, 0, 0),
            lock: Some(date.at(12, 30, 0, 0)),
            diner_limit: 4,
            no_show_percent: 50,
            offers: vec![
                NewOffer { dish: RICE, portions: rice, price: None },
                NewOffer { dish: SOUP, portions: soup, price: None },
            ],
        };
        let request = staff("serving", 1, &());
        commands.publish_serving(request, new).await.unwrap();
        let serving = ServingId(request.id);
        House { log, clock, ordering, wechat, canteen, serving, views: None, stop: CancellationToken::new() }
    }

    async fn fund(&self, number: u128, subsidy: i64, wallet: i64) {
        let accounts = [(AccountId::Subsidy(diner(number)), subsidy), (AccountId::Wallet(diner(number)), wallet)];
        for (account, minor) in accounts.into_iter().filter(|(_, minor)| *minor > 0) {
            let request = staff(&account.to_string(), number, &minor);
            self.ordering.commands().deposit(request, account, fen(minor)).await.unwrap();
        }
    }

    fn order(&self, number: u128, lines: &[(DishId, u32)]) -> NewOrder {
        let line = |(dish, quantity): &(DishId, u32)| NewLine {
            dish: *dish,
            quantity: *quantity,
            options: vec![],
            unit_price: None,
        };
        NewOrder {
            diner: diner(number),
            serving: self.serving,
            lines: lines.iter().map(line).collect(),
            channel: Channel::Online,
            terms: Terms::Balances,
        }
    }

    fn request(&self, number: u128, key: u128, new: &NewOrder) -> Request {
        let at = self.ordering.commands().now();
        Request::new((TENANT, ActorId(diner(number).0)), "placeOrder", Uuid::from_u128(key), new, at)
    }

    async fn place(&self, number: u128, key: u128, lines: &[(DishId, u32)]) -> (OrderId, Order) {
        let new = self.order(number, lines);
        let request = self.request(number, key, &new);
        let placed = self.ordering.place_order(request, new).await.unwrap();
        (OrderId(request.id), placed.value)
    }

    /// The views, and the runner that keeps them.
    async fn views(&mut self) -> Views {
        if let Some(views) = &self.views {
            return views.clone();
        }
        let registry = projections::all().iter().cloned().chain(crate::projections()).collect();
        let runner = self.runner_of(registry).await;
        tokio::spawn(runner.run(self.stop.clone()));
        self.views.clone().unwrap()
    }

    /// Only these views, and the runner that is to keep them.
    async fn runner_of(&mut self, registry: projections::Registry) -> Runner {
        let views = Views::in_memory(self.log.identity(), registry).unwrap();
        self.views = Some(views.clone());
        Runner::open(Arc::clone(&self.log) as _, views).await.unwrap()
    }

    /// Lets the follower do what there is to do; answers how many processes stay open.
    async fn settle(&mut self) -> u64 {
        let subsidies = Subsidies::new(self.ordering.commands().clone(), self.views().await);
        let finance = Finance::new(self.ordering.commands().clone(), self.views().await);
        Follower::new(self.ordering.clone(), subsidies, finance).settle(Duration::from_secs(60)).await.unwrap()
    }

    async fn left(&self, dish: DishId) -> u32 {
        let left = |serving: &Serving| serving.book().unwrap().offers[&dish].left();
        self.ordering.commands().look(TENANT, self.serving, left).await.unwrap()
    }

    /// Posted and held of a diner's subsidy and wallet together.
    async fn money(&self, number: u128) -> (i64, i64) {
        let mut sum = (0, 0);
        for account in [AccountId::Subsidy(diner(number)), AccountId::Wallet(diner(number))] {
            let has = |account: &Account| account.book().map(|book| (book.posted, book.held)).unwrap_or_default();
            let (posted, held) = self.ordering.commands().look(TENANT, account, has).await.unwrap();
            sum = (sum.0 + posted, sum.1 + held);
        }
        sum
    }

    async fn state(&self, order: OrderId) -> Order {
        self.ordering.commands().look(TENANT, order, Order::clone).await.unwrap()
    }

    async fn events(&self) -> Vec<Recorded> {
        let rows = self.log.read_all(1, 1_000_000).await.unwrap();
        rows.iter().map(|row| Recorded::decode(row).unwrap()).collect()
    }

    async fn names(&self) -> Vec<&'static str> {
        self.events().await.iter().map(|it| it.fact.name()).collect()
    }

    /// What the ledger account has by the log alone; and that every event balances.
    async fn ledger(&self, account: &str) -> i64 {
        let mut balance = 0;
        for it in self.events().await {
            let sides = postings(&it.fact);
            assert_eq!(sides.iter().map(|side| side.amount.minor).sum::<i64>(), 0, "{:?}", it.fact);
            balance +=
                sides.iter().filter(|side| side.account.to_string() == account).map(|s| s.amount.minor).sum::<i64>();
        }
        balance
    }
}

fn staff(mutation: &str, key: u128, input: &impl serde::Serialize) -> Request {
    Request::new((TENANT, STAFF), mutation, Uuid::from_u128(key), input, MORNING)
}

/// How often each kind of fact about `order` stands in the log.
fn count(events: &[Recorded], is: impl Fn(&Fact) -> bool) -> usize {
    events.iter().filter(|it| is(&it.fact)).count()
}
