//! One tenant's history: what it has, and the steps that chance takes with it.

use std::fmt::Debug;

use ::providers::Notification;
use commands::{Failure, NewOffer, NewServing, Request};
use domain::{
    AccountId, ActorId, CanteenId, CompanyId, CorrectionId, DinerId, HoldId, InvoiceId, OrderId, PayoutId, PolicyId,
    ServingId, TenantId, Timestamp, account, diner, first_instant,
    menu::Dish,
    policy::{self, Calendar, Clearing, Per},
    serving::Meal,
    tax::TaxRate,
    top_up::Source,
};
use jiff::{ToSpan, civil::Date, tz::TimeZone};
use projections::Runner;
use store::{EventStore, MemoryLog, Position, Recorded};
use tokio::sync::watch;
use uuid::Uuid;

use super::{
    super::{House, RICE, SOUP, STAFF, fen},
    books::Books,
    lots::Rule,
};
use crate::{Finance, Follower, Invoices, NewTopUp, Subsidies};

pub(super) const ZONE: &str = "Asia/Shanghai";
const DINERS: u64 = 3;
/// Servings of one history: today's and the next days'.
const DAYS: usize = 3;

/// A small generator, so that a failure names its seed.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    pub(super) fn within(&mut self, range: std::ops::Range<i64>) -> i64 {
        range.start + self.roll((range.end - range.start) as u64) as i64
    }

    pub(super) fn one_of<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        if of.is_empty() { None } else { Some(of[self.roll(of.len() as u64) as usize]) }
    }
}

pub(super) struct History<'a> {
    pub(super) house: &'a mut House,
    /// Runs only while somebody looks at the views.
    pub(super) runner: &'a mut Runner,
    pub(super) tenant: TenantId,
    pub(super) books: Books,
    /// The steps that were taken, for whoever has to understand a failure.
    pub(super) trail: Trail,
    pub(super) orders: Vec<OrderId>,
    pub(super) subsidies: Subsidies,
    pub(super) finance: Finance,
    pub(super) invoicing: Invoices,
    pub(super) follower: Follower,
    pub(super) read: Position,
    pub(super) dice: Dice,
    pub(super) seed: u64,
    pub(super) key: u128,
    pub(super) today: Date,
    pub(super) canteen: CanteenId,
    pub(super) company: CompanyId,
    pub(super) servings: Vec<ServingId>,
    pub(super) policies: Vec<PolicyId>,
    pub(super) payouts: Vec<PayoutId>,
    pub(super) invoices: Vec<InvoiceId>,
    pub(super) corrections: Vec<CorrectionId>,
    /// Holds of no order.
    pub(super) strange: Vec<(AccountId, HoldId)>,
    /// What the provider has said and nobody has passed on, or may pass on once more.
    pub(super) unsaid: Vec<Notification>,
}

/// Prints how a history came to its failure.
#[derive(Default)]
pub(super) struct Trail {
    pub(super) name: String,
    pub(super) steps: Vec<String>,
    /// The one that is being folded.
    pub(super) event: Option<Recorded>,
}

impl Drop for Trail {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (name, steps) = (&self.name, self.steps.join("\n  "));
            eprintln!("{name}:\n  {steps}\nwhile folding {:?}", self.event);
        }
    }
}

fn id(seed: u64, number: u64) -> Uuid {
    Uuid::from_u128((u128::from(seed) << 64) | u128::from(number))
}

/// Midday of that date, or another time of it, where the canteen is.
pub(super) fn at(date: Date, hour: i8, minute: i8) -> Timestamp {
    first_instant(date.at(hour, minute, 0, 0), &TimeZone::get(ZONE).unwrap()).unwrap()
}

/// The text of an outcome: refusals are a part of every history, a broken service is of none.
pub(super) fn told<T: Debug, E: std::error::Error>(answer: Result<T, Failure<E>>) -> (Option<T>, String) {
    match answer {
        Ok(value) => (Some(value), "done".to_owned()),
        Err(Failure::Interrupted(why)) => panic!("{why}"),
        Err(failure) => (None, failure.to_string()),
    }
}

/// Keeps the views up with the log until `work` is done.
pub(super) async fn beside<T>(runner: &mut Runner, log: &MemoryLog, work: impl Future<Output = T>) -> T {
    let (done, mut is_done) = watch::channel(false);
    let mut hint = log.subscribe();
    let folding = async {
        while !*is_done.borrow_and_update() {
            hint.borrow_and_update();
            runner.catch_up().await.unwrap();
            tokio::select! {
                Ok(()) = hint.changed() => {}
                _ = is_done.changed() => {}
            }
        }
    };
    let working = async {
        let answer = work.await;
        done.send_replace(true);
        answer
    };
    tokio::join!(folding, working).1
}

impl<'a> History<'a> {
    pub(super) async fn begin(house: &'a mut House, runner: &'a mut Runner, seed: u64, today: Date) -> History<'a> {
        house.clock.set(at(today, 11, 0));
        let (commands, views) = (house.ordering.commands().clone(), house.views().await);
        let subsidies = Subsidies::new(commands.clone(), views.clone());
        let finance = Finance::new(commands.clone(), views.clone());
        let follower = Follower::new(house.ordering.clone(), subsidies.clone(), finance.clone());
        let tenant = TenantId(id(seed, 1));
        let read = house.log.head().await.unwrap();
        let mut history = History {
            tenant,
            read,
            seed,
            today,
            subsidies,
            finance,
            follower,
            invoicing: Invoices::new(commands),
            house,
            runner,
            books: Books::default(),
            trail: Trail { name: format!("seed {seed}, from {today} on"), steps: vec![], event: None },
            dice: Dice::new(seed),
            key: 0,
            canteen: CanteenId(Uuid::nil()),
            company: CompanyId(id(seed, 2)),
            orders: vec![],
            servings: vec![],
            policies: vec![],
            payouts: vec![],
            invoices: vec![],
            corrections: vec![],
            strange: vec![],
            unsaid: vec![],
        };
        history.open().await;
        history
    }

    pub(super) fn diner(&self, number: u64) -> DinerId {
        DinerId(id(self.seed, 10 + number))
    }

    pub(super) fn any_diner(&mut self) -> DinerId {
        let number = self.dice.roll(DINERS);
        self.diner(number)
    }

    pub(super) fn by(&mut self, who: ActorId, mutation: &str, input: &impl serde::Serialize) -> Request {
        self.key += 1;
        let now = self.house.ordering.commands().now();
        Request::new((self.tenant, who), mutation, Uuid::from_u128(self.key), input, now)
    }

    pub(super) fn staff(&mut self, mutation: &str) -> Request {
        self.by(STAFF, mutation, &())
    }

    async fn open(&mut self) {
        let commands = self.house.ordering.commands().clone();
        commands.open_books(self.staff("openBooks"), ZONE.into()).await.unwrap();
        let limit = self.dice.within(0..400);
        commands.set_approval_limit(self.staff("limit"), fen(limit)).await.unwrap();
        let request = self.staff("canteen");
        self.canteen = CanteenId(request.id);
        commands.open_canteen(request, "One".into(), ZONE.into(), fen(0).currency).await.unwrap();
        for (dish, price, tax) in [(RICE, 1_800, 6), (SOUP, 599, 13)] {
            let tax = TaxRate::from_percent(tax.into()).unwrap();
            let spec = Dish { name: "Dish".into(), category: "Lunch".into(), price: fen(price), options: vec![], tax };
            commands.put_dish(self.staff("dish"), self.canteen, dish, spec).await.unwrap();
        }
        for day in 0..DAYS {
            self.publish(day).await;
        }
        self.employ().await;
        for number in 0..2 {
            self.policy(number).await;
        }
    }

    async fn publish(&mut self, day: usize) {
        let date = self.today.checked_add((day as i64).days()).unwrap();
        let portions = |dice: &mut Dice| 2 + dice.roll(10) as u32;
        let offers = [RICE, SOUP].map(|dish| NewOffer { dish, portions: portions(&mut self.dice), price: None });
        let new = NewServing {
            canteen: self.canteen,
            date,
            meal: Meal::Lunch,
            opens: self.today.at(8, 0, 0, 0),
            cut_off: date.at(12, 0, 0, 0),
            lock: Some(date.at(12, 30, 0, 0)),
            diner_limit: 6,
            no_show_percent: 50,
            offers: offers.into(),
        };
        let request = self.staff("serving");
        self.servings.push(ServingId(request.id));
        self.house.ordering.commands().publish_serving(request, new).await.unwrap();
    }

    /// A company that pays ahead, or owes, or both; and its diners.
    async fn employ(&mut self) {
        let account = AccountId::Company(self.company);
        let (ahead, owes) = [(30_000, 0), (0, 20_000), (5_000, 9_000)][self.dice.roll(3) as usize];
        if owes > 0 {
            let floor = account::Command::SetFloor { floor: fen(-owes) };
            let request = self.staff("floor");
            self.house.ordering.commands().on_account(request, account, floor).await.unwrap();
        }
        if ahead > 0 {
            self.top_up(account, ahead).await;
        }
        for number in 0..DINERS {
            let (joins, diner) = (self.staff("join"), self.diner(number));
            let join = diner::Command::Join { company: self.company, group: None, from: self.today };
            self.house.ordering.commands().on_diner(joins, diner, join).await.unwrap();
            let minor = self.dice.within(0..6_000);
            self.top_up(AccountId::Wallet(diner), minor + 1).await;
            if self.dice.roll(3) == 0 {
                self.top_up(AccountId::Subsidy(diner), 250).await;
            }
        }
    }

    async fn policy(&mut self, number: usize) {
        let request = self.staff("policy");
        let policy = PolicyId(request.id);
        let commands = self.house.ordering.commands().clone();
        commands.open_policy(request, (self.company, None), fen(0).currency, ZONE.into()).await.unwrap();
        let per = [Per::Day, Per::Month, Per::Meal][self.dice.roll(3) as usize];
        let long = [Clearing::Monthly, Clearing::Rollover { months: 1 }];
        let short = [Clearing::Daily, Clearing::Weekly, long[0], long[1]];
        let clearing =
            if per == Per::Month { self.dice.one_of(&long).unwrap() } else { self.dice.one_of(&short).unwrap() };
        let days = if self.dice.roll(2) == 0 { 5 } else { 7 };
        let order_limit = (self.dice.roll(3) == 0).then(|| self.dice.within(300..1_500));
        let share_percent = (self.dice.roll(3) == 0).then(|| self.dice.within(10..90));
        let terms = policy::Terms {
            amount: fen(self.dice.within(200..1_600)),
            per,
            clearing,
            calendar: Calendar { weekdays: (1..=days).collect(), holidays: [].into(), extra: [].into() },
            meals: [Meal::Lunch].into(),
            canteens: [].into(),
            order_limit: order_limit.map(fen),
            share_percent: share_percent.map(|percent| percent as u8),
            cleared_on_leaving: false,
        };
        self.trail.steps.push(format!("policy {number}: {terms:?}"));
        let weekdays = (1..=days as i8).collect();
        self.books.rules.insert(policy, Rule { weekdays, order_limit, share_percent });
        let set = policy::Command::SetTerms { from: self.today.first_of_month(), terms: Box::new(terms) };
        commands.on_policy(self.staff("terms"), policy, set).await.unwrap();
        self.policies.push(policy);
    }

    pub(super) async fn top_up(&mut self, account: AccountId, minor: i64) -> String {
        let source = if self.dice.roll(2) == 0 { Source::Bank } else { Source::Counter };
        let new = NewTopUp { account, amount: fen(minor), source };
        let request = self.by(STAFF, "topUp", &new);
        told(self.finance.top_up(request, new).await).1
    }
}
