//! Standing orders: grants that make themselves.

use domain::{Fact, grant_run, standing::Delay};

use super::*;

/// What so many nights after Monday's morning are, in seconds.
const NIGHT: i64 = 24 * 3_600;

/// Midnight in Shanghai at the beginning of a day of that week: 1 is Tuesday.
fn midnight(day: i64) -> Timestamp {
    MIDNIGHT.plus_seconds((day - 1) * NIGHT)
}

fn day(number: i8) -> Date {
    date(2026, 11, number)
}

impl House {
    async fn stands(&self, policy: PolicyId, ahead_days: u16) {
        let command = policy::Command::SetStanding { ahead_days };
        self.ordering.commands().on_policy(staff("standing", 1, &ahead_days), policy, command).await.unwrap();
    }

    /// The dates of each run, in their order.
    async fn runs(&self) -> Vec<(Date, Date)> {
        let begun = |fact| match fact {
            Fact::Grant(_, grant_run::Event::Begun(plan)) => Some((plan.range.first, plan.range.last)),
            _ => None,
        };
        self.events().await.into_iter().filter_map(|it| begun(it.fact)).collect()
    }

    async fn delays(&self) -> Vec<(Date, Delay)> {
        let delayed = |fact| match fact {
            Fact::Policy(_, policy::Event::StandingDelayed { first, why }) => Some((first, why)),
            _ => None,
        };
        self.events().await.into_iter().filter_map(|it| delayed(it.fact)).collect()
    }

    async fn pay_in(&self, key: u128, minor: i64) {
        let request = staff("more", key, &minor);
        self.ordering.commands().deposit(request, AccountId::Company(COMPANY), fen(minor)).await.unwrap();
    }

    /// What one that remembers its attempts begins now.
    async fn tried(&mut self, subsidies: &Subsidies) -> usize {
        self.seen().await;
        subsidies.stand_all().await.unwrap()
    }
}

#[tokio::test]
async fn each_night_grants_for_one_more_day_and_the_same_night_once() {
    let mut house = House::open(10, 10).await;
    let policy = house.company(1_000_000, 2, terms(2_000)).await;
    assert_eq!(house.settle().await, 0);
    assert_eq!(house.runs().await, [], "nothing stands yet");
    house.stands(policy, 1).await;
    let mut expected = vec![(day(23), day(23)), (day(23), day(24))];
    house.settle().await;
    assert_eq!(house.runs().await, expected, "today, and what today's order may be for");
    for night in 1..=3 {
        house.clock.set(midnight(night).plus_seconds(-1));
        house.settle().await;
        assert_eq!(house.runs().await, expected, "not before midnight");
        house.clock.set(midnight(night));
        house.settle().await;
        let today = day(23 + i8::try_from(night).unwrap());
        expected.push((today, today.tomorrow().unwrap()));
        assert_eq!(house.runs().await, expected, "night {night}");
        house.settle().await;
        assert_eq!(house.runs().await, expected, "the same night again");
    }
    // Friday's horizon is a Saturday.
    house.clock.set(midnight(4));
    house.settle().await;
    assert_eq!(house.runs().await, expected);
    assert_eq!(house.ledger(&format!("company:{COMPANY}")).await, 1_000_000 - 5 * 2 * 2_000);
}

#[tokio::test]
async fn a_restart_two_days_late_grants_what_is_not_over() {
    let mut house = House::open(10, 10).await;
    let policy = house.company(1_000_000, 2, terms(2_000)).await;
    house.stands(policy, 1).await;
    house.settle().await;
    let mut late = crashed_after(&house, house.log.head().await.unwrap() as usize).await;
    late.clock.set(midnight(3));
    late.settle().await;
    // Wednesday is over.
    let runs = late.runs().await;
    assert_eq!(runs[2..], [(day(26), day(26)), (day(26), day(27))]);
    assert_eq!(late.ledger(&format!("company:{COMPANY}")).await, 1_000_000 - 4 * 2 * 2_000);
}

#[tokio::test]
async fn a_month_is_granted_once_so_many_days_before_it() {
    let mut house = House::open(10, 10).await;
    let monthly = Terms { per: Per::Month, clearing: Clearing::Monthly, ..terms(30_000) };
    let policy = house.company(1_000_000, 1, monthly).await;
    house.stands(policy, 3).await;
    house.settle().await;
    assert_eq!(house.runs().await, [(day(23), day(30))]);
    house.clock.set(midnight(4));
    house.settle().await;
    assert_eq!(house.runs().await.len(), 1);
    for later in [0, NIGHT] {
        house.clock.set(midnight(5).plus_seconds(later));
        house.settle().await;
        assert_eq!(house.runs().await[1..], [(day(28), date(2026, 12, 31))]);
    }
    assert_eq!(house.ledger(&subsidy(0).to_string()).await, 60_000);
}

#[tokio::test]
async fn what_waits_for_money_says_so_once_and_is_tried_again_every_hour() {
    let mut house = House::open(10, 10).await;
    let policy = house.company(3_999, 2, terms(2_000)).await;
    house.stands(policy, 0).await;
    let subsidies = house.seen().await;
    assert_eq!(subsidies.stand_all().await.unwrap(), 0);
    let why = Delay::Funds { needed: fen(4_000), short: fen(1) };
    assert_eq!((house.delays().await, house.runs().await), (vec![(day(23), why)], vec![]));
    let head = house.log.head().await.unwrap();
    house.settle().await;
    assert_eq!(house.log.head().await.unwrap(), head, "the same reason is no news");
    house.pay_in(1, 1).await;
    house.clock.set(MORNING.plus_seconds(3_599));
    assert_eq!(house.tried(&subsidies).await, 0, "it was tried within the hour");
    house.clock.set(MORNING.plus_seconds(3_600));
    assert_eq!(house.tried(&subsidies).await, 1);
    assert_eq!(house.runs().await, [(day(23), day(23))]);
    assert_eq!(house.ledger(&format!("company:{COMPANY}")).await, 0);
    // The next night, and a company that may not pay at all.
    let freeze = account::Command::Freeze;
    house.ordering.commands().on_account(staff("freeze", 1, &()), AccountId::Company(COMPANY), freeze).await.unwrap();
    house.clock.set(midnight(1));
    assert_eq!(house.tried(&subsidies).await, 0);
    assert_eq!(house.delays().await[1..], [(day(24), Delay::Company)]);
}

#[tokio::test]
async fn who_joins_later_gets_the_days_ahead_the_next_night() {
    let mut house = House::open(10, 10).await;
    let policy = house.company(1_000_000, 1, terms(2_000)).await;
    house.stands(policy, 2).await;
    house.settle().await;
    let join = diner::Command::Join { company: COMPANY, group: None, from: day(24) };
    house.ordering.commands().on_diner(staff("join", 9, &()), diner(9), join).await.unwrap();
    house.settle().await;
    assert_eq!(house.lots(9).await, []);
    house.clock.set(midnight(1));
    house.settle().await;
    // Tuesday to Thursday, as everybody.
    assert_eq!((house.lots(9).await.len(), house.runs().await.len()), (3, 4));
}

#[tokio::test]
async fn two_followers_begin_a_night_once() {
    let mut house = House::open(10, 10).await;
    let policy = house.company(1_000_000, 300, terms(100)).await;
    house.stands(policy, 2).await;
    let (one, other) = (house.seen().await, house.seen().await);
    let (one, other) = tokio::join!(one.stand_all(), other.stand_all());
    one.unwrap();
    other.unwrap();
    house.settle().await;
    assert_eq!(house.runs().await, [(day(23), day(23)), (day(23), day(24)), (day(23), day(25))]);
    assert_eq!(house.ledger(&format!("company:{COMPANY}")).await, 1_000_000 - 3 * 300 * 100);
}

#[tokio::test]
async fn a_standing_order_that_was_ended_grants_no_more() {
    let mut house = House::open(10, 10).await;
    let policy = house.company(1_000_000, 1, terms(2_000)).await;
    house.stands(policy, 0).await;
    house.settle().await;
    let end = policy::Command::EndStanding;
    house.ordering.commands().on_policy(staff("off", 1, &()), policy, end).await.unwrap();
    house.clock.set(midnight(1));
    house.settle().await;
    assert_eq!(house.runs().await, [(day(23), day(23))]);
}

#[tokio::test]
async fn every_prefix_of_a_night_comes_to_the_same_end() {
    let mut house = House::open(10, 10).await;
    let policy = house.company(100_000, 3, terms(1_000)).await;
    house.stands(policy, 1).await;
    let before = house.log.head().await.unwrap() as usize;
    house.settle().await;
    let (names, whole) = (house.names().await, house.ledger(&format!("company:{COMPANY}")).await);
    assert_eq!(whole, 100_000 - 2 * 3 * 1_000);
    for events in before..=house.log.head().await.unwrap() as usize {
        let mut crashed = crashed_after(&house, events).await;
        assert_eq!(crashed.settle().await, 0, "after {events} events");
        assert_eq!(crashed.ledger(&format!("company:{COMPANY}")).await, whole, "after {events} events");
        assert_eq!(crashed.names().await, names, "after {events} events each step was taken once");
    }
}
