//! What becomes of the lots of those who leave.

use super::*;

const WEDNESDAY: Date = date(2026, 11, 25);
const FRIDAY: Date = date(2026, 11, 27);
/// When Wednesday begins in Shanghai.
const ON_WEDNESDAY: Timestamp = Timestamp::from_seconds(1_795_402_800 + 37 * 3_600);

/// A week's lots that end on its Sunday.
fn weekly(cleared_on_leaving: bool) -> Terms {
    Terms { clearing: Clearing::Weekly, cleared_on_leaving, ..terms(4_000) }
}

impl House {
    async fn changes(&self, key: u128, number: u128, command: diner::Command) {
        self.ordering.commands().on_diner(staff("change", key, &()), diner(number), command).await.unwrap();
    }

    async fn leaves(&self, number: u128, on: Date) {
        self.changes(number, number, diner::Command::Leave { on }).await;
    }

    /// What the lots that are open have left.
    async fn open_lots(&self, number: u128) -> Vec<i64> {
        let mut lots = self.lots(number).await;
        lots.retain(|lot| !lot.expired);
        lots.sort_by_key(|lot| lot.terms.serves.first);
        lots.iter().map(|lot| lot.left).collect()
    }
}

#[tokio::test]
async fn who_has_left_loses_what_is_left_where_the_policy_says_so() {
    let mut house = House::open(20, 20).await;
    let policy = house.company(1_000_000, 3, weekly(true)).await;
    house.grant(1, policy, FRIDAY).await.unwrap();
    house.fund(1, 0, 5_000).await;
    let (order, placed) = house.place(1, 1, &MEAL).await;
    assert_eq!(placed.status(), "CONFIRMED");
    house.leaves(1, WEDNESDAY).await;
    // Until then nothing changes, and the last day is a day like any other.
    house.clock.set(ON_WEDNESDAY.plus_seconds(-1));
    assert_eq!(house.settle().await, 0);
    assert_eq!(house.open_lots(1).await, [4_000 - MEAL_PRICE, 4_000, 4_000, 4_000, 4_000]);
    house.clock.set(ON_WEDNESDAY);
    assert_eq!(house.settle().await, 0);
    assert_eq!((house.open_lots(1).await.len(), house.ledger(&subsidy(1).to_string()).await), (0, 0));
    let cleared = 5 * 4_000 - MEAL_PRICE;
    assert_eq!(house.ledger("breakage").await, cleared);
    // The wallet is the diner's own, and others are employed.
    assert_eq!(house.money(1).await, (5_000, 0));
    assert_eq!(house.open_lots(2).await, [4_000; 5]);
    // What comes back is too late, as after an expiry.
    let soup = vec![LineCount { line: 1, quantity: 2 }];
    house.ordering.refund_lines(staff("refund", 1, &()), order, soup, RefundReason::Complaint).await.unwrap();
    assert_eq!(house.ledger("breakage").await, cleared + 2 * SOUP_PRICE);
    let head = house.log.head().await.unwrap();
    assert_eq!(house.settle().await, 0);
    assert_eq!(house.log.head().await.unwrap(), head, "another look does nothing");
}

#[tokio::test]
async fn what_was_cleared_is_not_granted_again() {
    let mut house = House::open(20, 20).await;
    let policy = house.company(1_000_000, 2, weekly(true)).await;
    // Nobody has anything for Friday yet.
    house.grant(1, policy, date(2026, 11, 26)).await.unwrap();
    house.leaves(1, WEDNESDAY).await;
    house.clock.set(ON_WEDNESDAY);
    house.settle().await;
    let lacking = house.grant(2, policy, FRIDAY).await.unwrap();
    assert_eq!((lacking.diners, lacking.granted), (1, fen(4_000)), "only who is still there");
    // Who comes back in that week is granted what nobody had been granted yet.
    let again = diner::Command::Join { company: COMPANY, group: None, from: date(2026, 11, 26) };
    house.changes(9, 1, again).await;
    let back = house.grant(3, policy, FRIDAY).await.unwrap();
    assert_eq!((back.diners, back.granted), (1, fen(4_000)));
    assert_eq!((house.settle().await, house.open_lots(1).await), (0, vec![4_000]));
    // A week later all of it is forgotten.
    house.clock.set(ON_WEDNESDAY.plus_seconds(7 * 24 * 3_600));
    house.settle().await;
    assert_eq!((house.lots(0).await.len(), house.lots(1).await.len()), (0, 0));
}

#[tokio::test]
async fn who_stays_with_the_company_keeps_it_and_so_does_everybody_where_the_policy_does_not_clear() {
    let mut house = House::open(20, 20).await;
    let clears = house.company(1_000_000, 3, weekly(true)).await;
    let keeps = house.policy(2, None, weekly(false)).await;
    for (key, policy) in [(1, clears), (2, keeps)] {
        house.grant(key, policy, FRIDAY).await.unwrap();
    }
    let group = Some(GroupId(Uuid::from_u128(77)));
    house.changes(10, 0, diner::Command::Move { company: COMPANY, group, from: WEDNESDAY }).await;
    // Who is to come back has not left.
    house.leaves(1, WEDNESDAY).await;
    house.changes(11, 1, diner::Command::Join { company: COMPANY, group: None, from: FRIDAY }).await;
    let other = CompanyId(Uuid::from_u128(501));
    house.changes(12, 2, diner::Command::Move { company: other, group: None, from: WEDNESDAY }).await;
    house.clock.set(ON_WEDNESDAY);
    assert_eq!(house.settle().await, 0);
    let open = [house.open_lots(0).await.len(), house.open_lots(1).await.len(), house.open_lots(2).await.len()];
    assert_eq!(open, [10, 10, 5], "another company's diner has what the second policy granted");
}

#[tokio::test]
async fn what_is_held_stays_held_and_a_crash_amid_it_changes_nothing() {
    let mut house = House::open(20, 20).await;
    let policy = house.company(1_000_000, 3, weekly(true)).await;
    house.grant(1, policy, FRIDAY).await.unwrap();
    let of = domain::lot::Use { at: MORNING, date: MONDAY, meal: Meal::Lunch };
    let first = |account: &Account| account.book().unwrap().lots.payable(of).first().map(|(id, _)| (*id, of));
    let from = house.ordering.commands().look(TENANT, subsidy(1), first).await.unwrap();
    let hold = domain::HoldId { payment: domain::PaymentId(Uuid::from_u128(1)), tender: 0 };
    let held = account::Command::Hold { hold, amount: fen(700), from };
    house.ordering.commands().on_account(staff("hold", 1, &()), subsidy(1), held).await.unwrap();
    for number in 0..3 {
        house.leaves(number, WEDNESDAY).await;
    }
    let before = house.log.head().await.unwrap() as usize;
    house.clock.set(ON_WEDNESDAY);
    house.settle().await;
    let cleared = 3 * 5 * 4_000 - 700;
    assert_eq!((house.ledger("breakage").await, house.ledger(&subsidy(1).to_string()).await), (cleared, 700));
    for events in before..house.log.head().await.unwrap() as usize {
        let mut crashed = crashed_after(&house, events).await;
        crashed.clock.set(ON_WEDNESDAY.plus_seconds(3_600));
        crashed.settle().await;
        assert_eq!(crashed.ledger("breakage").await, cleared, "after {} lots", events - before);
        assert_eq!(crashed.names().await, house.names().await, "each lot was cleared once");
    }
    let release = account::Command::Release { hold };
    house.ordering.commands().on_account(staff("release", 1, &()), subsidy(1), release).await.unwrap();
    assert_eq!((house.ledger("breakage").await, house.ledger(&subsidy(1).to_string()).await), (cleared + 700, 0));
}
