//! A serving of one dish, sold by several nodes.

use std::sync::Arc;

use domain::{
    Aggregate, CanteenId, Currency, DinerId, DishId, OrderId, ServingId,
    menu::Dish,
    order::{Channel, Line},
    serving::{Command, Error, Event, Meal, Offer, Plan, Serving},
    tax::TaxRate,
};
use store::EventStore;
use uuid::Uuid;

use super::{NOON, TENANT, fen, step};
use crate::{Commands, Failure, Interrupted, Limits, ManualClock, Outcome, RandomIds};

pub(super) const SERVING: ServingId = ServingId(Uuid::from_u128(900));
pub(super) const DISH: DishId = DishId(Uuid::from_u128(901));

/// A node on `log`.
pub(super) fn node(log: &Arc<impl EventStore>) -> Commands {
    let clock = Arc::new(ManualClock::at(NOON));
    Commands::start(Arc::clone(log) as _, clock, Arc::new(RandomIds), Limits::default())
}

fn dish() -> Dish {
    Dish {
        name: "Dumplings".to_owned(),
        category: "Mains".to_owned(),
        price: fen(900),
        options: vec![],
        tax: TaxRate::ZERO,
    }
}

pub(super) async fn publish(node: &Commands, portions: u32) {
    let plan = Plan {
        canteen: CanteenId(Uuid::from_u128(902)),
        date: jiff::civil::date(2026, 11, 18),
        meal: Meal::Lunch,
        currency: Currency::CNY,
        opens_at: NOON.plus_seconds(-3_600),
        cut_off: NOON.plus_seconds(3_600),
        lock_at: NOON.plus_seconds(3_600),
        diner_limit: 1,
        no_show_percent: 100,
        offers: vec![Offer { dish: DISH, spec: dish(), portions }],
    };
    give(node, Command::Publish(plan), 900, "publish").await.unwrap();
}

pub(super) type Given = Result<Outcome<Event>, Failure<Error>>;

pub(super) async fn give(node: &Commands, command: Command, subject: u128, name: &str) -> Given {
    node.execute::<Serving>(TENANT, SERVING, command, step(subject, name)).await
}

/// One portion for the buyer of that number.
pub(super) async fn buy(node: &Commands, buyer: u128) -> Given {
    let line = Line {
        dish: DISH,
        name: dish().name,
        quantity: 1,
        unit_price: dish().price,
        options: vec![],
        tax: TaxRate::ZERO,
    };
    let command = Command::Reserve {
        order: OrderId(Uuid::from_u128(buyer)),
        diner: DinerId(Uuid::from_u128(buyer)),
        lines: vec![line],
        placed_at: NOON,
        channel: Channel::Online,
    };
    give(node, command, buyer, "reserve").await
}

/// How many portions the log alone says are sold.
pub(super) async fn sold(log: &impl EventStore) -> u32 {
    let mut serving = Serving::default();
    for row in log.read_stream(Serving::stream(TENANT, SERVING), 1, 1_000_000).await.unwrap() {
        let domain::Fact::Serving(_, event) = store::decode(&row).unwrap() else { panic!("not a serving's event") };
        serving.evolve(&event, row.occurred_at);
    }
    serving.book().unwrap().offers[&DISH].reserved
}

/// What a node sold, how many it turned away, and how many it asked to come again.
#[derive(Default)]
pub(super) struct Sales {
    pub(super) sold: u32,
    pub(super) sold_out: u32,
    pub(super) interrupted: Vec<Interrupted>,
}

/// Lets `buyers` come to each node, through `doors` of it at once.
pub(super) async fn sell(nodes: &[Commands], buyers: u128, doors: u128) -> Vec<Sales> {
    let mut buying = vec![];
    for (at, node) in nodes.iter().enumerate() {
        for door in 0..doors {
            let node = node.clone();
            let of_door = (0..buyers).filter(move |buyer| buyer % doors == door);
            buying.push((
                at,
                tokio::spawn(async move {
                    let mut answers = vec![];
                    for buyer in of_door {
                        answers.push(buy(&node, at as u128 * 100_000 + buyer + 1).await);
                    }
                    answers
                }),
            ));
        }
    }
    let mut sales: Vec<Sales> = nodes.iter().map(|_| Sales::default()).collect();
    for (at, door) in buying {
        for answer in door.await.unwrap() {
            match answer {
                Ok(_) => sales[at].sold += 1,
                Err(Failure::Refused(Error::SoldOut(_))) => sales[at].sold_out += 1,
                Err(Failure::Interrupted(why)) => sales[at].interrupted.push(why),
                Err(other) => panic!("{other}"),
            }
        }
    }
    sales
}
