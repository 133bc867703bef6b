//! Lots: granted, spent, given back and expired.

mod deduction;
mod leaving;
mod standing;
mod terms;

use commands::Failure;
use domain::{
    AccountId, CompanyId, DinerId, GrantRunId, GroupId, OrderId, PolicyId, Timestamp,
    account::{self, Account},
    diner,
    grant_run::{self, GrantRun},
    lot::Lot,
    order::{LineCount, RefundReason},
    payment::{Payment, Why},
    policy::{self, Calendar, Clearing, Per, Terms},
    serving::Meal,
};
use jiff::civil::{Date, date};
use store::EventStore;
use uuid::Uuid;

use super::{House, MORNING, RICE, RICE_PRICE, SOUP, SOUP_PRICE, TENANT, crash::crashed_after, fen, staff};
use crate::{GrantError, Granted, NewGrants, Subsidies};

const COMPANY: CompanyId = CompanyId(Uuid::from_u128(500));
const MONDAY: Date = date(2026, 11, 23);
const MEAL: [(domain::DishId, u32); 2] = [(RICE, 1), (SOUP, 2)];
const MEAL_PRICE: i64 = RICE_PRICE + 2 * SOUP_PRICE;
/// Midnight in Shanghai, thirteen hours on.
const MIDNIGHT: Timestamp = Timestamp::from_seconds(1_795_402_800 + 13 * 3_600);

fn terms(minor: i64) -> Terms {
    let calendar = Calendar { weekdays: (1..=5).collect(), holidays: [].into(), extra: [].into() };
    Terms {
        amount: fen(minor),
        per: Per::Day,
        clearing: Clearing::Daily,
        calendar,
        meals: [Meal::Lunch].into(),
        canteens: [].into(),
        order_limit: None,
        share_percent: None,
        cleared_on_leaving: false,
    }
}

fn diner(number: u128) -> DinerId {
    super::diner(number)
}

fn subsidy(number: u128) -> AccountId {
    AccountId::Subsidy(diner(number))
}

impl House {
    async fn subsidies(&mut self) -> Subsidies {
        Subsidies::new(self.ordering.commands().clone(), self.views().await)
    }

    /// A company with `funds` that employs so many diners since Monday, and a policy for them.
    async fn company(&mut self, funds: i64, diners: u128, terms: Terms) -> PolicyId {
        let commands = self.ordering.commands();
        commands.deposit(staff("fund", 1, &funds), AccountId::Company(COMPANY), fen(funds)).await.unwrap();
        for number in 0..diners {
            let join = diner::Command::Join { company: COMPANY, group: None, from: MONDAY };
            commands.on_diner(staff("join", number, &()), diner(number), join).await.unwrap();
        }
        self.policy(1, None, terms).await
    }

    async fn policy(&self, key: u128, group: Option<GroupId>, terms: Terms) -> PolicyId {
        let (commands, request) = (self.ordering.commands(), staff("policy", key, &()));
        let (of, zone) = ((COMPANY, group), "Asia/Shanghai".to_owned());
        commands.open_policy(request, of, terms.amount.currency, zone).await.unwrap();
        let policy = PolicyId(request.id);
        let command = policy::Command::SetTerms { from: MONDAY, terms: Box::new(terms) };
        commands.on_policy(staff("terms", key, &()), policy, command).await.unwrap();
        policy
    }

    async fn grant(&mut self, key: u128, policy: PolicyId, last: Date) -> Result<Granted, Failure<GrantError>> {
        let new = NewGrants { policy, first: MONDAY, last };
        let request = commands::Request { at: self.ordering.commands().now(), ..staff("grant", key, &new) };
        self.subsidies().await.grant(request, new, |_| {}).await
    }

    async fn lots(&self, number: u128) -> Vec<Lot> {
        let of = |account: &Account| account.book().map(|book| book.lots.all().copied().collect()).unwrap_or_default();
        self.ordering.commands().look(TENANT, subsidy(number), of).await.unwrap()
    }

    /// How a payment was planned: from a lot or not, how much, and why so much.
    async fn tenders(&self, order: OrderId) -> Vec<(bool, i64, Why)> {
        let of = |payment: &Payment| payment.sheet().unwrap().tenders.clone();
        let tenders = self.ordering.commands().look(TENANT, order.payment(), of).await.unwrap();
        tenders.iter().map(|one| (one.source.lot().is_some(), one.amount.minor, one.why)).collect()
    }

    /// The follower's view of the log as it is now.
    async fn seen(&mut self) -> Subsidies {
        let (subsidies, head) = (self.subsidies().await, self.log.head().await.unwrap());
        subsidies.views.wait_for(head, std::time::Duration::from_secs(60)).await.unwrap();
        subsidies
    }

    async fn transit(&self, run: GrantRunId) -> i64 {
        self.ledger(&format!("transit:{run}")).await
    }
}

#[tokio::test]
async fn a_run_grants_what_everybody_lacks_and_nothing_twice() {
    let mut house = House::open(10, 10).await;
    let policy = house.company(100_000, 3, terms(2_000)).await;
    // For the whole week: Friday's order for Monday finds Monday's lot.
    let granted = house.grant(1, policy, date(2026, 11, 29)).await.unwrap();
    assert_eq!((granted.diners, granted.granted, granted.finished), (3, fen(3 * 5 * 2_000), true));
    assert_eq!(house.lots(1).await.len(), 5);
    assert_eq!(house.ledger(&subsidy(1).to_string()).await, 10_000);
    assert_eq!(house.ledger(&format!("company:{COMPANY}")).await, 70_000);
    assert_eq!(house.transit(granted.run).await, 0);
    let head = house.log.head().await.unwrap();
    assert_eq!(house.grant(1, policy, date(2026, 11, 29)).await.unwrap(), granted, "the same request");
    let nothing = house.grant(2, policy, date(2026, 11, 27)).await.unwrap();
    assert_eq!((nothing.diners, nothing.granted), (0, fen(0)), "another request for the same days");
    assert_eq!(house.log.head().await.unwrap(), head);
    // One day more is what is lacking.
    assert_eq!(house.grant(3, policy, date(2026, 11, 30)).await.unwrap().granted, fen(3 * 2_000));
    assert_eq!(house.settle().await, 0);
}

#[tokio::test]
async fn a_run_goes_over_batches_and_pages() {
    let mut house = House::open(10, 10).await;
    let policy = house.company(10_000_000, 230, terms(100)).await;
    let granted = house.grant(1, policy, date(2026, 12, 4)).await.unwrap();
    // Ten working days each, a hundred diners a batch.
    assert_eq!((granted.diners, granted.granted), (230, fen(230 * 10 * 100)));
    let batches = house.ordering.commands().look(TENANT, granted.run, |run: &GrantRun| run.sheet().unwrap().batches);
    assert_eq!(batches.await.unwrap(), 3);
    assert_eq!((house.transit(granted.run).await, house.lots(229).await.len()), (0, 10));
}

#[tokio::test]
async fn several_drivers_of_one_run_grant_once() {
    let mut house = House::open(10, 10).await;
    let policy = house.company(10_000_000, 700, terms(100)).await;
    let new = NewGrants { policy, first: MONDAY, last: date(2026, 11, 27) };
    let mut drivers = Vec::new();
    for _ in 0..4 {
        // Each with no knowledge of the others, as on several nodes.
        let subsidies = house.subsidies().await;
        drivers.push(tokio::spawn(async move { subsidies.grant(staff("grant", 1, &new), new, |_| {}).await }));
    }
    for driver in drivers {
        let granted = driver.await.unwrap().unwrap();
        assert_eq!((granted.diners, granted.granted, granted.finished), (700, fen(700 * 5 * 100), true));
    }
    let names = house.names().await;
    assert_eq!(names.iter().filter(|name| **name == "Granted").count(), 3_500);
    assert_eq!(house.ledger(&format!("company:{COMPANY}")).await, 10_000_000 - 350_000);
    assert_eq!(house.transit(GrantRunId(staff("grant", 1, &new).id)).await, 0);
}

#[tokio::test]
async fn what_the_company_does_not_have_is_not_granted() {
    let mut house = House::open(10, 10).await;
    let policy = house.company(5_999, 3, terms(2_000)).await;
    let head = house.log.head().await.unwrap();
    let refused = house.grant(1, policy, MONDAY).await.unwrap_err();
    let short = GrantError::Insufficient { needed: fen(6_000), diners: 3, short: fen(1) };
    assert_eq!(refused, Failure::Refused(short));
    assert_eq!(house.log.head().await.unwrap(), head);
    // Postpaid: an overdraft is what the company may owe.
    let floor = account::Command::SetFloor { floor: fen(-1) };
    house.ordering.commands().on_account(staff("floor", 1, &()), AccountId::Company(COMPANY), floor).await.unwrap();
    assert_eq!(house.grant(1, policy, MONDAY).await.unwrap().granted, fen(6_000));
    assert_eq!(house.ledger(&format!("company:{COMPANY}")).await, -1);
    let unknown = house.grant(2, PolicyId(Uuid::from_u128(9)), MONDAY).await.unwrap_err();
    assert_eq!(unknown, Failure::Refused(GrantError::Policy(policy::Error::NotOpen)));
    let backwards = house.grant(3, policy, date(2026, 11, 22)).await.unwrap_err();
    assert!(matches!(backwards, Failure::Refused(GrantError::Policy(policy::Error::BadDays { .. }))), "{backwards:?}");
}

#[tokio::test]
async fn a_policy_is_for_its_group_and_the_days_of_employment() {
    let mut house = House::open(10, 10).await;
    house.company(1_000_000, 2, terms(2_000)).await;
    let group = GroupId(Uuid::from_u128(77));
    let cooks = house.policy(2, Some(group), terms(500)).await;
    let commands = house.ordering.commands();
    let join = diner::Command::Join { company: COMPANY, group: Some(group), from: date(2026, 11, 25) };
    commands.on_diner(staff("join", 9, &()), diner(9), join).await.unwrap();
    let leave = diner::Command::Leave { on: date(2026, 11, 27) };
    commands.on_diner(staff("leave", 9, &()), diner(9), leave).await.unwrap();
    let granted = house.grant(1, cooks, date(2026, 11, 29)).await.unwrap();
    // Wednesday and Thursday of one diner.
    assert_eq!((granted.diners, granted.granted), (1, fen(1_000)));
    assert_eq!(house.lots(0).await, []);
}

#[tokio::test]
async fn an_order_is_paid_from_its_lot_first_and_says_why() {
    let mut house = House::open(20, 20).await;
    let limited = Terms { order_limit: Some(fen(1_500)), share_percent: Some(50), ..terms(2_000) };
    let policy = house.company(100_000, 3, limited).await;
    house.grant(1, policy, MONDAY).await.unwrap();
    house.fund(1, 300, 5_000).await;
    // The meal is 30.00: half of it is 15.00, which is the order limit too.
    let (id, order) = house.place(1, 1, &MEAL).await;
    assert_eq!(order.status(), "CONFIRMED");
    let why = [(true, 1_500, Why::OrderLimit), (false, 300, Why::Available), (false, MEAL_PRICE - 1_800, Why::Rest)];
    assert_eq!(house.tenders(id).await, why);
    // A soup is 6.00: half of it.
    let (id, _) = house.place(1, 2, &[(SOUP, 1)]).await;
    assert_eq!(house.tenders(id).await, [(true, 300, Why::Share), (false, 300, Why::Rest)]);
    let left = house.lots(1).await[0].left;
    assert_eq!(left, 200);
    assert_eq!(house.settle().await, 0);
}

#[tokio::test]
async fn a_lot_pays_only_where_its_policy_says() {
    let mut house = House::open(20, 20).await;
    let elsewhere = [domain::CanteenId(Uuid::from_u128(4_711))].into();
    let policy = house.company(100_000, 3, Terms { canteens: elsewhere, ..terms(9_000) }).await;
    let dinner = house.policy(2, None, Terms { meals: [Meal::Dinner].into(), per: Per::Meal, ..terms(9_000) }).await;
    let here = house.policy(3, None, Terms { canteens: [house.canteen].into(), ..terms(1_000) }).await;
    for (key, policy) in [(1, policy), (2, dinner), (3, here)] {
        house.grant(key, policy, MONDAY).await.unwrap();
    }
    house.fund(1, 0, 5_000).await;
    let (id, _) = house.place(1, 1, &MEAL).await;
    assert_eq!(house.tenders(id).await, [(true, 1_000, Why::Available), (false, MEAL_PRICE - 1_000, Why::Rest)]);
    let (_, refused) = house.place(2, 2, &MEAL).await;
    assert_eq!(refused.status(), "REFUSED", "nobody else's lots, and no wallet");
}

#[tokio::test]
async fn a_refund_goes_back_to_its_lot_and_lapses_with_it() {
    let mut house = House::open(20, 20).await;
    let policy = house.company(100_000, 1, terms(2_000)).await;
    house.grant(1, policy, MONDAY).await.unwrap();
    house.fund(0, 0, 5_000).await;
    let (id, _) = house.place(0, 1, &MEAL).await;
    let soup = vec![LineCount { line: 1, quantity: 2 }];
    house.ordering.refund_lines(staff("refund", 1, &()), id, soup, RefundReason::Complaint).await.unwrap();
    // The wallet paid the last 10.00 of it, and gets them back first.
    assert_eq!((house.lots(0).await[0].left, house.ledger(&format!("wallet:{}", diner(0))).await), (200, 5_000));
    house.clock.set(MIDNIGHT);
    assert_eq!(house.settle().await, 0);
    assert_eq!((house.ledger("breakage").await, house.lots(0).await.len()), (200, 0));
    let rice = vec![LineCount { line: 0, quantity: 1 }];
    house.ordering.refund_lines(staff("refund", 2, &()), id, rice, RefundReason::Complaint).await.unwrap();
    assert_eq!((house.ledger("breakage").await, house.ledger("prepaid").await), (2_000, 0));
    assert_eq!(house.money(0).await, (5_000, 0));
    assert_eq!(house.settle().await, 0);
}

#[tokio::test]
async fn lots_expire_at_midnight_and_what_is_held_stays() {
    let mut house = House::open(20, 20).await;
    let policy = house.company(2_000_000, 300, terms(2_000)).await;
    house.grant(1, policy, date(2026, 11, 24)).await.unwrap();
    let held = account::Command::Hold {
        hold: domain::HoldId { payment: domain::PaymentId(Uuid::from_u128(1)), tender: 0 },
        amount: fen(700),
        from: {
            let lots = |account: &Account| {
                let of = domain::lot::Use { at: MORNING, date: MONDAY, meal: Meal::Lunch };
                account.book().unwrap().lots.payable(of).first().map(|(id, _)| (*id, of))
            };
            house.ordering.commands().look(TENANT, subsidy(5), lots).await.unwrap()
        },
    };
    house.ordering.commands().on_account(staff("hold", 1, &()), subsidy(5), held).await.unwrap();
    house.clock.set(MIDNIGHT.plus_seconds(-1));
    // The hold is of no order that there is, and stays.
    assert_eq!(house.settle().await, 1);
    assert_eq!(house.ledger("breakage").await, 0);
    house.clock.set(MIDNIGHT);
    house.settle().await;
    assert_eq!(house.ledger("breakage").await, 300 * 2_000 - 700);
    // Tuesday's lot stands, and what was held of Monday's.
    assert_eq!(house.lots(5).await.iter().map(|lot| lot.left).sum::<i64>(), 2_700);
    let head = house.log.head().await.unwrap();
    house.settle().await;
    assert_eq!(house.log.head().await.unwrap(), head, "the timer again does nothing");
}

/// What a run comes to, whichever way: every balance, and that nothing is left in transit.
async fn ends(house: &House, run: GrantRunId) -> (Vec<i64>, i64, i64) {
    let mut lots = Vec::new();
    for number in 0..3 {
        lots.push(house.ledger(&subsidy(number).to_string()).await);
    }
    (lots, house.ledger(&format!("company:{COMPANY}")).await, house.transit(run).await)
}

#[tokio::test]
async fn every_prefix_of_a_run_of_grants_comes_to_the_same_end() {
    let mut house = House::open(10, 10).await;
    let policy = house.company(10_000, 3, terms(1_000)).await;
    let before = house.log.head().await.unwrap() as usize;
    let granted = house.grant(1, policy, date(2026, 11, 24)).await.unwrap();
    let whole = ends(&house, granted.run).await;
    assert_eq!(whole, (vec![2_000; 3], 4_000, 0));
    for events in before + 1..=house.log.head().await.unwrap() as usize {
        let mut crashed = crashed_after(&house, events).await;
        assert_eq!(crashed.settle().await, 0, "after {} events of the run", events - before);
        assert_eq!(ends(&crashed, granted.run).await, whole, "after {} events of the run", events - before);
        assert_eq!(crashed.names().await, house.names().await, "each step was taken once");
    }
}

#[tokio::test]
async fn a_run_that_goes_on_after_midnight_knows_what_it_granted_and_what_expired_since() {
    let mut house = House::open(10, 10).await;
    let policy = house.company(10_000, 3, terms(1_000)).await;
    let before = house.log.head().await.unwrap() as usize;
    let granted = house.grant(1, policy, MONDAY).await.unwrap();
    for events in before + 1..house.log.head().await.unwrap() as usize {
        let mut crashed = crashed_after(&house, events).await;
        let lots = crashed.names().await.iter().filter(|name| **name == "Granted").count() as i64;
        crashed.clock.set(MIDNIGHT);
        let subsidies = crashed.seen().await;
        assert_eq!(subsidies.expire_all(MIDNIGHT).await.unwrap(), lots as u64, "the timer is first");
        assert_eq!(crashed.settle().await, 0, "after {} events of the run", events - before);
        // What was granted has expired, and what had not been granted is too late and goes back.
        assert_eq!(crashed.ledger("breakage").await, lots * 1_000, "after {} events of the run", events - before);
        assert_eq!(ends(&crashed, granted.run).await, (vec![0; 3], 10_000 - lots * 1_000, 0));
    }
}

impl House {
    /// Goes on with the run, once the views show what has been written; answers the minor units of all its lots.
    async fn goes_on(&mut self) -> i64 {
        self.seen().await;
        assert_eq!(self.settle().await, 0);
        let events = self.events().await;
        let of = |it: &store::Recorded| match &it.fact {
            domain::Fact::Account(_, account::Event::Granted { amount, .. }) => amount.minor,
            _ => 0,
        };
        events.iter().map(of).sum()
    }
}

#[tokio::test]
async fn a_run_that_goes_on_keeps_the_lots_that_are_not_due_any_more() {
    let mut house = House::open(10, 10).await;
    let policy = house.company(10_000, 3, terms(1_000)).await;
    let before = house.log.head().await.unwrap() as usize;
    let granted = house.grant(1, policy, date(2026, 11, 24)).await.unwrap();
    let over = MIDNIGHT.plus_seconds(86_400);
    for (events, late) in
        (before + 1..house.log.head().await.unwrap() as usize).flat_map(|at| [(at, false), (at, true)])
    {
        let mut crashed = crashed_after(&house, events).await;
        let leave = diner::Command::Leave { on: date(2026, 11, 24) };
        crashed.ordering.commands().on_diner(staff("leave", 0, &()), diner(0), leave).await.unwrap();
        if late {
            crashed.clock.set(over);
            crashed.seen().await.expire_all(over).await.unwrap();
        }
        let lots = crashed.goes_on().await;
        let (_, company, transit) = ends(&crashed, granted.run).await;
        assert_eq!((company, transit), (10_000 - lots, 0), "after {} events of the run, {late}", events - before);
    }
}

#[tokio::test]
async fn a_run_that_goes_on_grants_what_is_newly_due_only_after_what_it_granted() {
    let mut house = House::open(10, 10).await;
    let policy = house.company(10_000, 3, terms(1_000)).await;
    let leave = diner::Command::Leave { on: date(2026, 11, 24) };
    house.ordering.commands().on_diner(staff("leave", 0, &()), diner(0), leave).await.unwrap();
    let before = house.log.head().await.unwrap() as usize;
    let granted = house.grant(1, policy, date(2026, 11, 24)).await.unwrap();
    assert_eq!(granted.granted, fen(5_000));
    for events in before + 1..house.log.head().await.unwrap() as usize {
        let mut crashed = crashed_after(&house, events).await;
        let join = diner::Command::Join { company: COMPANY, group: None, from: date(2026, 11, 24) };
        crashed.ordering.commands().on_diner(staff("again", 0, &()), diner(0), join).await.unwrap();
        let lots = crashed.goes_on().await;
        let (_, company, transit) = ends(&crashed, granted.run).await;
        assert_eq!((company, transit), (10_000 - lots, 0), "after {} events of the run", events - before);
    }
}

#[tokio::test]
async fn every_prefix_of_an_expiry_comes_to_the_same_end() {
    let mut house = House::open(10, 10).await;
    let policy = house.company(10_000, 3, terms(1_000)).await;
    house.grant(1, policy, MONDAY).await.unwrap();
    let before = house.log.head().await.unwrap() as usize;
    house.clock.set(MIDNIGHT);
    house.settle().await;
    for events in before..=house.log.head().await.unwrap() as usize {
        let mut crashed = crashed_after(&house, events).await;
        crashed.clock.set(MIDNIGHT.plus_seconds(3_600));
        assert_eq!(crashed.settle().await, 0);
        assert_eq!(crashed.ledger("breakage").await, 3_000);
        assert_eq!(crashed.names().await, house.names().await);
    }
}

#[tokio::test]
async fn a_run_that_funds_run_out_of_stops_and_keeps_the_books() {
    let mut house = House::open(10, 10).await;
    let policy = house.company(10_000, 3, terms(1_000)).await;
    let before = house.log.head().await.unwrap() as usize;
    let granted = house.grant(1, policy, MONDAY).await.unwrap();
    // It has begun its batch when the funds go elsewhere.
    let mut crashed = crashed_after(&house, before + 2).await;
    let spent = account::Command::Adjust {
        adjustment: Uuid::from_u128(3),
        by: fen(-9_000),
        reason: account::AdjustReason::Correction,
    };
    crashed.ordering.commands().on_account(staff("x", 1, &()), AccountId::Company(COMPANY), spent).await.unwrap();
    assert_eq!(crashed.settle().await, 0);
    let short = crashed.ordering.commands().look(TENANT, granted.run, |run: &GrantRun| run.sheet().unwrap().short);
    assert_eq!(short.await.unwrap(), Some(fen(2_000)));
    assert_eq!(ends(&crashed, granted.run).await, (vec![0; 3], 1_000, 0));
    let events = crashed.names().await;
    assert_eq!(events[events.len() - 2..], ["BatchRefused", "Finished"]);
    let repeat = grant_run::Command::Finish;
    let again = crashed.ordering.commands().execute::<GrantRun>(
        TENANT,
        granted.run,
        repeat,
        staff("again", 1, &()).cause(granted.run.0),
    );
    assert!(again.await.unwrap().events.is_empty());
}
