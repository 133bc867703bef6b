//! Ten portions and sixty-four buyers at once, a hundred times: ten have one each, all others are
//! told that it is sold out.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on says why and fails")]

mod support;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Barrier,
    thread,
};

use serde_json::{Value, json};
use support::lunch::{Lunch, Person, Place};

const ROUNDS: usize = 100;
const BUYERS: usize = 64;
const PORTIONS: u32 = 10;

/// Buys one portion of each dish, each at the same moment as everybody else does.
fn shop(mut diner: Person, lunch: &Lunch, start: &Barrier) -> Vec<Value> {
    let buy = |dish| {
        start.wait();
        // Whoever fails goes on all the same, or all others would wait for them for ever.
        let answer = catch_unwind(AssertUnwindSafe(|| diner.place(&lunch.serving, json!([lunch.line(dish, 1)]))));
        answer.unwrap_or_else(|_| json!("no answer"))
    };
    (0..ROUNDS).map(buy).collect()
}

#[test]
fn of_ten_portions_exactly_ten_are_sold_however_many_want_one() {
    let place = Place::new();
    let server = place.serve();
    let mut staff = place.staff(&server);
    let names: Vec<String> = (1..=ROUNDS).map(|round| format!("Dish {round}")).collect();
    let offers: Vec<_> = names.iter().map(|name| (name.as_str(), "2.50", PORTIONS)).collect();
    let lunch = Lunch::open(&mut staff, &offers, 1_000);
    let mut finance = place.finance(&server);
    let buyers: Vec<Person> = (0..BUYERS).map(|_| place.person(&server, "diner")).collect();
    for buyer in &buyers {
        finance.deposit("WALLET", buyer.id, "250.00");
    }

    let start = Barrier::new(BUYERS);
    let answers: Vec<Vec<Value>> = thread::scope(|scope| {
        let shopping: Vec<_> = buyers.into_iter().map(|buyer| scope.spawn(|| shop(buyer, &lunch, &start))).collect();
        shopping.into_iter().map(|buyer| buyer.join().expect("a buyer")).collect()
    });

    for (round, dish) in lunch.dishes.iter().enumerate() {
        let answers = answers.iter().map(|of_buyer| &of_buyer[round]);
        let (sold, refused): (Vec<_>, Vec<_>) = answers.partition(|answer| answer["__typename"] == "Order");
        assert!(sold.iter().all(|order| order["status"] == "CONFIRMED"), "round {round}: {sold:?}");
        let none_left = json!([{ "dish": dish, "asked": 1, "left": 0 }]);
        let right = |answer: &&Value| answer["__typename"] == "SoldOut" && answer["offers"] == none_left;
        assert!(refused.iter().all(right), "round {round}: {refused:?}");
        assert_eq!((sold.len(), refused.len()), (PORTIONS as usize, BUYERS - PORTIONS as usize), "round {round}");
    }

    // The log says the same, and the money of exactly these portions has moved.
    let said = place.settled(&[]);
    let tenant = place.tenant.to_string();
    assert_eq!(said["orders"][&tenant]["CONFIRMED"], ROUNDS * PORTIONS as usize);
    assert_eq!(said["balances"][&tenant]["prepaid"]["CNY"], 250 * ROUNDS * PORTIONS as usize);
    let offers = said["offers"][&tenant].as_object().unwrap().values().flat_map(|dishes| dishes.as_object().unwrap());
    let offers: Vec<_> = offers.map(|(_, offer)| offer.clone()).collect();
    assert_eq!(offers, vec![json!({ "portions": PORTIONS, "reserved": PORTIONS, "left": 0 }); ROUNDS]);
}
