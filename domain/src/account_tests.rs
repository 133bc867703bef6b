use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    CanteenId, CompanyId, Fact, PaymentId, given,
    postings::{LedgerAccount, postings},
    settlements::REMEMBERED_SECONDS,
    testing::{at, bill, cases, cny, diner, hold, id, refund, step, usd},
};

fn deposit(number: u8, minor: i64) -> Command {
    Command::Deposit { deposit: id(number), amount: cny(minor), source: crate::top_up::Source::Bank }
}

fn holds(number: u8, minor: i64) -> Command {
    Command::Hold { hold: hold(number), amount: cny(minor), from: None }
}

fn refunds(number: u8, of: HoldId, minor: i64) -> Command {
    Command::Refund { refund: refund(number), hold: of, amount: cny(minor), from: RefundFrom::Prepaid, lot: None }
}

fn adjust(number: u8, minor: i64) -> Command {
    Command::Adjust { adjustment: id(number), by: cny(minor), reason: AdjustReason::Correction }
}

fn payout(number: u8) -> PayoutId {
    PayoutId(id(number))
}

fn holds_payout(number: u8, minor: i64) -> Command {
    Command::HoldPayout { payout: payout(number), amount: cny(minor) }
}

fn payout_held(number: u8, minor: i64) -> Event {
    Event::PayoutHeld { payout: payout(number), amount: cny(minor) }
}

fn floor(minor: i64) -> Command {
    Command::SetFloor { floor: cny(minor) }
}

fn deposited(number: u8, minor: i64) -> Event {
    Event::Deposited { deposit: id(number), amount: cny(minor), source: crate::top_up::Source::Bank }
}

fn held(number: u8, minor: i64) -> Event {
    Event::Held { hold: hold(number), amount: cny(minor), lot: None }
}

fn captured(number: u8, minor: i64) -> Event {
    Event::Captured { hold: hold(number), amount: cny(minor) }
}

fn released(number: u8) -> Event {
    Event::Released { hold: hold(number) }
}

fn refunded(number: u8, of: HoldId, minor: i64) -> Event {
    Event::Refunded { refund: refund(number), hold: of, amount: cny(minor), from: RefundFrom::Prepaid, lot: None }
}

fn diverted(number: u8, of: HoldId, minor: i64) -> Event {
    Event::RefundDiverted { refund: refund(number), hold: of, amount: cny(minor), from: RefundFrom::Prepaid, lot: None }
}

fn adjusted(number: u8, minor: i64) -> Event {
    Event::Adjusted { adjustment: id(number), by: cny(minor), reason: AdjustReason::Correction }
}

fn opened() -> Event {
    Event::Opened { currency: Currency::CNY }
}

/// An account with 100 in it.
fn funded() -> [Event; 2] {
    [opened(), deposited(1, 100)]
}

fn and(first: impl IntoIterator<Item = Event>, then: impl IntoIterator<Item = Event>) -> Vec<Event> {
    first.into_iter().chain(then).collect()
}

#[test]
fn a_refund_to_a_closed_account_says_which_lot_it_was_for() {
    let (lot, from) = (Some(LotId(id(90))), RefundFrom::Prepaid);
    let command = Command::Refund { refund: refund(1), hold: hold(1), amount: cny(60), from, lot };
    given::<Account>([Event::Opened { currency: Currency::CNY }, Event::Closed])
        .when(command)
        .then([Event::RefundDiverted { refund: refund(1), hold: hold(1), amount: cny(60), from, lot }]);
}

#[test]
fn the_first_deposit_opens_the_account() {
    let state = given::<Account>([])
        .when(deposit(1, 100))
        .then(funded())
        .when(deposit(1, 100))
        .then([])
        .when(deposit(2, 50))
        .then([deposited(2, 50)])
        .state();
    assert_eq!(state.book().unwrap().available(), cny(150));
}

#[test]
fn one_deposit_has_one_amount() {
    given::<Account>(funded()).when(deposit(1, 99)).refused(Error::OtherContent);
}

#[test]
fn amounts_that_are_not_money_in_change_nothing() {
    let (fresh, given) = (|| given::<Account>([]), || given::<Account>(funded()));
    for minor in [0, -1, -100] {
        given().when(deposit(2, minor)).refused(Error::NotPositive);
        given().when(holds(2, minor)).refused(Error::NotPositive);
        given().when(refunds(2, hold(9), minor)).refused(Error::NotPositive);
    }
    for minor in [i64::MIN, -Money::MAX_MINOR - 1, Money::MAX_MINOR + 1, i64::MAX] {
        for command in [deposit(2, minor), holds(2, minor), refunds(2, hold(9), minor), adjust(2, minor), floor(minor)]
        {
            given().when(command).refused(Error::Money(MoneyError::TooLarge));
        }
        fresh().when(deposit(2, minor)).refused(Error::Money(MoneyError::TooLarge));
    }
    given().when(adjust(2, 0)).refused(Error::NotPositive);
    given().when(deposit(2, Money::MAX_MINOR)).refused(Error::Money(MoneyError::TooLarge));
}

#[test]
fn another_currency_changes_nothing() {
    let mixed = || Error::Money(MoneyError::Mixed { left: Currency::CNY, right: Currency::USD });
    for command in [
        Command::Deposit { deposit: id(2), amount: usd(1), source: crate::top_up::Source::Bank },
        Command::Hold { hold: hold(2), amount: usd(1), from: None },
        Command::Refund { refund: refund(1), hold: hold(2), amount: usd(1), from: RefundFrom::Prepaid, lot: None },
        Command::Adjust { adjustment: id(2), by: usd(-1), reason: AdjustReason::Goodwill },
        Command::SetFloor { floor: usd(-1) },
    ] {
        given::<Account>(funded()).when(command).refused(mixed());
    }
}

#[test]
fn an_account_that_nobody_opened_takes_only_a_deposit_or_credit() {
    for command in [
        holds(1, 1),
        Command::Capture { hold: hold(1) },
        Command::Release { hold: hold(1) },
        refunds(1, hold(1), 1),
        adjust(1, 1),
        floor(0),
        Command::Freeze,
        Command::Unfreeze,
        Command::Close,
    ] {
        given::<Account>([]).when(command).refused(Error::NotOpen);
    }
    given::<Account>([]).when(floor(-1)).then([opened(), Event::FloorSet { floor: cny(-1) }]).when(floor(-1)).then([]);
}

#[test]
fn a_hold_takes_from_what_is_available() {
    given::<Account>(funded())
        .when(holds(1, 60))
        .then([held(1, 60)])
        .when(holds(1, 60))
        .then([])
        .when(holds(1, 61))
        .refused(Error::OtherContent)
        .when(holds(2, 50))
        .refused(Error::Insufficient { short: cny(10) })
        .when(holds(2, 40))
        .then([held(2, 40)])
        .when(holds(3, 1))
        .refused(Error::Insufficient { short: cny(1) });
}

#[test]
fn an_overdraft_can_be_held_too() {
    given::<Account>(funded())
        .when(floor(-50))
        .then([Event::FloorSet { floor: cny(-50) }])
        .when(holds(1, 151))
        .refused(Error::Insufficient { short: cny(1) })
        .when(holds(1, 150))
        .then([held(1, 150)]);
}

#[test]
fn a_capture_takes_what_is_held_once() {
    let state = given::<Account>(and(funded(), [held(1, 60)]))
        .when(Command::Capture { hold: hold(1) })
        .then([captured(1, 60)])
        .when(Command::Capture { hold: hold(1) })
        .then([])
        .when(holds(1, 60))
        .then([])
        .when(holds(1, 61))
        .refused(Error::OtherContent)
        .when(Command::Release { hold: hold(1) })
        .refused(Error::CapturedAlready)
        .state();
    let book = state.book().unwrap();
    assert_eq!((book.posted(), book.held(), book.available()), (cny(40), cny(0), cny(40)));
    given::<Account>(funded()).when(Command::Capture { hold: hold(1) }).refused(Error::UnknownHold);
}

#[test]
fn what_is_held_is_captured_whatever_has_happened_since() {
    let since = [held(1, 60), Event::Frozen, adjusted(1, -100)];
    let state =
        given::<Account>(and(funded(), since)).when(Command::Capture { hold: hold(1) }).then([captured(1, 60)]).state();
    assert_eq!(state.book().unwrap().available(), cny(-60));
}

#[test]
fn a_release_gives_the_hold_up_once() {
    given::<Account>(and(funded(), [held(1, 100)]))
        .when(Command::Release { hold: hold(1) })
        .then([released(1)])
        .when(Command::Release { hold: hold(1) })
        .then([])
        .when(Command::Capture { hold: hold(1) })
        .refused(Error::ReleasedAlready)
        .when(holds(2, 100))
        .then([held(2, 100)]);
}

#[test]
fn a_release_that_comes_first_refuses_the_late_hold() {
    given::<Account>(funded())
        .when(Command::Release { hold: hold(1) })
        .then([released(1)])
        .when(holds(1, 10))
        .refused(Error::ReleasedAlready);
}

#[test]
fn a_refund_is_credited_once() {
    let second = HoldId { tender: 1, ..hold(1) };
    let state = given::<Account>(and(funded(), [held(1, 60), captured(1, 60)]))
        .when(refunds(1, hold(1), 20))
        .then([refunded(1, hold(1), 20)])
        .when(refunds(1, hold(1), 20))
        .then([])
        .when(refunds(1, hold(1), 21))
        .refused(Error::OtherContent)
        // The same refund may give back a second tender of the same account.
        .when(refunds(1, second, 5))
        .then([refunded(1, second, 5)])
        .state();
    assert_eq!(state.book().unwrap().posted(), cny(65));
}

#[test]
fn a_refund_may_bear_the_id_of_its_payment() {
    given::<Account>(and(funded(), [held(7, 60), captured(7, 60)]))
        .when(refunds(7, hold(7), 60))
        .then([refunded(7, hold(7), 60)])
        .when(Command::Capture { hold: hold(7) })
        .then([]);
}

#[test]
fn a_frozen_account_accepts_credits_and_makes_no_holds() {
    given::<Account>(funded())
        .when(Command::Unfreeze)
        .then([])
        .when(Command::Freeze)
        .then([Event::Frozen])
        .when(Command::Freeze)
        .then([])
        .when(holds(1, 1))
        .refused(Error::Frozen)
        .when(refunds(1, hold(9), 5))
        .then([refunded(1, hold(9), 5)])
        .when(deposit(2, 5))
        .then([deposited(2, 5)])
        .when(Command::Unfreeze)
        .then([Event::Unfrozen])
        .when(holds(1, 110))
        .then([held(1, 110)]);
}

#[test]
fn only_a_correction_makes_a_debt_and_a_debt_blocks_holds() {
    given::<Account>(funded())
        .when(adjust(3, -130))
        .then([adjusted(3, -130)])
        .when(adjust(3, -130))
        .then([])
        .when(adjust(3, -131))
        .refused(Error::OtherContent)
        .when(holds(1, 1))
        .refused(Error::Insufficient { short: cny(31) })
        .when(deposit(2, 31))
        .then([deposited(2, 31)])
        .when(holds(1, 1))
        .then([held(1, 1)]);
}

#[test]
fn a_floor_is_an_overdraft_and_is_not_taken_away_in_use() {
    given::<Account>(funded())
        .when(floor(1))
        .refused(Error::BadFloor)
        .when(floor(0))
        .then([])
        .when(floor(-50))
        .then([Event::FloorSet { floor: cny(-50) }])
        .when(floor(-50))
        .then([])
        .when(holds(1, 120))
        .then([held(1, 120)])
        .when(floor(-19))
        .refused(Error::Insufficient { short: cny(1) })
        .when(floor(-20))
        .then([Event::FloorSet { floor: cny(-20) }]);
    // More overdraft is always possible, also where it does not yet cover the debt.
    given::<Account>(and(funded(), [adjusted(1, -300)]))
        .when(floor(-50))
        .then([Event::FloorSet { floor: cny(-50) }])
        .when(floor(-40))
        .refused(Error::Insufficient { short: cny(160) });
}

#[test]
fn a_payout_takes_what_is_available_and_not_held() {
    let pays = Command::PayOut { payout: payout(2) };
    let paid = Event::PaidOut { payout: payout(2), amount: cny(40) };
    given::<Account>(and(funded(), [held(1, 60)]))
        .when(holds_payout(2, 41))
        .refused(Error::Insufficient { short: cny(1) })
        .when(holds_payout(2, 40))
        .then([payout_held(2, 40)])
        .when(holds_payout(2, 40))
        .then([])
        .when(holds_payout(2, 39))
        .refused(Error::OtherContent)
        .when(holds(3, 1))
        .refused(Error::Insufficient { short: cny(1) })
        // What is promised leaves also from an account that was frozen since.
        .when(Command::Freeze)
        .then([Event::Frozen])
        .when(pays.clone())
        .then([paid])
        .when(pays)
        .then([])
        .when(holds_payout(2, 40))
        .then([])
        .when(Command::ReleasePayout { payout: payout(2) })
        .refused(Error::CapturedAlready)
        .when(holds_payout(4, 1))
        .refused(Error::Frozen);
}

#[test]
fn only_so_many_payouts_wait_at_a_time() {
    let held = (0..MAX_PAYOUTS as u8).map(|number| payout_held(number, 1));
    given::<Account>(and(funded(), held.collect::<Vec<_>>()))
        .when(holds_payout(99, 1))
        .refused(Error::TooManyPayouts)
        .when(holds_payout(0, 1))
        .then([])
        .when(Command::ReleasePayout { payout: payout(0) })
        .then([Event::PayoutReleased { payout: payout(0), amount: cny(1) }])
        .when(holds_payout(99, 1))
        .then([payout_held(99, 1)]);
}

#[test]
fn a_payout_takes_nothing_of_an_overdraft() {
    let overdrawn = and(funded(), [Event::FloorSet { floor: cny(-1_000) }]);
    given::<Account>(overdrawn)
        .when(holds_payout(2, 101))
        .refused(Error::Insufficient { short: cny(1) })
        .when(holds_payout(2, 100))
        .then([payout_held(2, 100)]);
}

#[test]
fn a_payout_that_is_given_up_is_available_again() {
    let gives_up = Command::ReleasePayout { payout: payout(2) };
    let given_up = |minor| Event::PayoutReleased { payout: payout(2), amount: cny(minor) };
    given::<Account>(and(funded(), [payout_held(2, 100)]))
        .when(gives_up.clone())
        .then([given_up(100)])
        .when(gives_up.clone())
        .then([])
        .when(Command::PayOut { payout: payout(2) })
        .refused(Error::ReleasedAlready)
        .when(holds(3, 100))
        .then([held(3, 100)]);
    // One that comes first refuses the late one.
    given::<Account>(funded())
        .when(gives_up.clone())
        .then([given_up(0)])
        .when(holds_payout(2, 100))
        .refused(Error::ReleasedAlready);
    given::<Account>(funded()).when(Command::PayOut { payout: payout(9) }).refused(Error::UnknownHold);
    given::<Account>([]).when(holds_payout(2, 1)).refused(Error::NotOpen);
    given::<Account>(closed()).when(gives_up).then([]).when(holds_payout(2, 1)).refused(Error::Closed);
}

#[test]
fn an_account_closes_only_when_it_is_empty() {
    given::<Account>(funded()).when(Command::Close).refused(Error::NotEmpty { posted: cny(100), held: cny(0) });
    given::<Account>(and(funded(), [held(1, 100), adjusted(2, -100)]))
        .when(Command::Close)
        .refused(Error::NotEmpty { posted: cny(0), held: cny(100) });
    given::<Account>(and(funded(), [adjusted(2, -100)]))
        .when(Command::Close)
        .then([Event::Closed])
        .when(Command::Close)
        .then([]);
}

/// 100 came, 60 were captured, 40 corrected away; hold 2 was given up.
fn closed() -> Vec<Event> {
    and(funded(), [held(1, 60), captured(1, 60), released(2), adjusted(3, -40), Event::Closed])
}

#[test]
fn a_closed_account_sends_refunds_to_suspense_once() {
    given::<Account>(closed())
        .when(refunds(1, hold(1), 60))
        .then([diverted(1, hold(1), 60)])
        .when(refunds(1, hold(1), 60))
        .then([])
        .when(refunds(1, hold(1), 61))
        .refused(Error::OtherContent)
        .when(refunds(2, hold(1), 0))
        .refused(Error::NotPositive);
    let refunded_before = and(funded(), [refunded(1, hold(9), 5), adjusted(3, -105), Event::Closed]);
    given::<Account>(refunded_before).when(refunds(1, hold(9), 5)).then([]);
}

#[test]
fn a_closed_account_knows_repeats_and_refuses_the_rest() {
    let given = || given::<Account>(closed());
    for repeat in [
        deposit(1, 100),
        holds(1, 60),
        Command::Capture { hold: hold(1) },
        Command::Release { hold: hold(2) },
        // Never made, and never will be.
        Command::Release { hold: hold(3) },
        adjust(3, -40),
    ] {
        given().when(repeat).then([]);
    }
    given().when(Command::Release { hold: hold(1) }).refused(Error::CapturedAlready);
    given().when(holds(2, 1)).refused(Error::ReleasedAlready);
    given().when(deposit(1, 99)).refused(Error::OtherContent);
    for command in [
        deposit(9, 1),
        holds(9, 1),
        Command::Capture { hold: hold(9) },
        adjust(9, 1),
        floor(0),
        Command::Freeze,
        Command::Unfreeze,
    ] {
        given().when(command).refused(Error::Closed);
    }
}

#[test]
fn settled_ids_are_forgotten_after_thirty_days() {
    let mut account = Account::default();
    account.evolve(&opened(), at(0));
    let count = |account: &Account| account.book().unwrap().settled.len();
    for number in 0..200_u8 {
        account.evolve(&deposited(number, 1), at(i64::from(number)));
    }
    assert_eq!(count(&account), 200);
    let later = at(REMEMBERED_SECONDS + 100);
    for number in 200..=255_u8 {
        account.evolve(&deposited(number, 1), later);
    }
    // The 256th looked for what is older than thirty days: the first hundred.
    assert_eq!(count(&account), 156);
    assert_eq!(account.decide(deposit(100, 1)), Ok(vec![]));
    assert_eq!(account.book().unwrap().posted(), cny(256));
}

/// What is held under a number above this is held for a payout.
const PAYOUTS: u8 = 100;

/// A command of the state machine, in small numbers.
#[derive(Clone, Debug)]
enum Op {
    Deposit(u8, i64),
    Hold(u8, i64),
    Capture(u8),
    Release(u8),
    Refund(u8, i64),
    Adjust(u8, i64),
    /// A correction that leaves nothing posted.
    Empty(u8),
    SetFloor(i64),
    Freeze,
    Unfreeze,
    Close,
    Dollars,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let minor = || prop_oneof![1 => -2..=0_i64, 12 => 1..=40_i64];
    let claims = || prop_oneof![9 => 1..=9_u8, 4 => PAYOUTS + 1..=PAYOUTS + 4];
    let op = prop_oneof![
        6 => (1..=9_u8, minor()).prop_map(|(n, minor)| Op::Deposit(n, minor)),
        14 => (claims(), minor()).prop_map(|(n, minor)| Op::Hold(n, minor)),
        8 => claims().prop_map(Op::Capture),
        6 => claims().prop_map(Op::Release),
        5 => (1..=9_u8, minor()).prop_map(|(n, minor)| Op::Refund(n, minor)),
        2 => (20..=25_u8, -60..=60_i64).prop_map(|(n, minor)| Op::Adjust(n, minor)),
        1 => (30..=35_u8).prop_map(Op::Empty),
        3 => (-40..=5_i64).prop_map(Op::SetFloor),
        1 => Just(Op::Freeze),
        2 => Just(Op::Unfreeze),
        2 => Just(Op::Close),
        1 => Just(Op::Dollars),
    ];
    prop::collection::vec(op, 1..60)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Claim {
    Live(i64),
    Captured(i64),
    Released,
}

/// Lists of everything that was ever booked, added up when it is asked.
#[derive(Default)]
struct Model {
    open: bool,
    closed: bool,
    frozen: bool,
    floor: i64,
    deposits: BTreeMap<u8, i64>,
    adjustments: BTreeMap<u8, i64>,
    refunds: BTreeMap<u8, i64>,
    diverted: BTreeMap<u8, i64>,
    claims: BTreeMap<u8, Claim>,
}

impl Model {
    fn posted(&self) -> i64 {
        let credits: i64 = [&self.deposits, &self.adjustments, &self.refunds].iter().flat_map(|one| one.values()).sum();
        let captured = self.claims.values().map(|claim| if let Claim::Captured(minor) = claim { *minor } else { 0 });
        credits - captured.sum::<i64>()
    }

    fn held(&self) -> i64 {
        self.claims.values().map(|claim| if let Claim::Live(minor) = claim { *minor } else { 0 }).sum()
    }

    fn available(&self) -> i64 {
        self.posted() - self.held() - self.floor
    }

    fn command(&self, op: &Op) -> Command {
        match *op {
            Op::Deposit(number, minor) => deposit(number, minor),
            Op::Hold(number, minor) if number > PAYOUTS => holds_payout(number, minor),
            Op::Capture(number) if number > PAYOUTS => Command::PayOut { payout: payout(number) },
            Op::Release(number) if number > PAYOUTS => Command::ReleasePayout { payout: payout(number) },
            Op::Hold(number, minor) => holds(number, minor),
            Op::Capture(number) => Command::Capture { hold: hold(number) },
            Op::Release(number) => Command::Release { hold: hold(number) },
            Op::Refund(number, minor) => refunds(number, hold(number), minor),
            Op::Adjust(number, minor) => adjust(number, minor),
            Op::Empty(number) => adjust(number, -self.posted()),
            Op::SetFloor(minor) => floor(minor),
            Op::Freeze => Command::Freeze,
            Op::Unfreeze => Command::Unfreeze,
            Op::Close => Command::Close,
            Op::Dollars => Command::SetFloor { floor: usd(0) },
        }
    }

    /// Does the op and names its outcome.
    fn run(&mut self, op: &Op) -> &'static str {
        if !self.open && !matches!(op, Op::Deposit(..)) && !matches!(op, Op::SetFloor(minor) if *minor < 0) {
            return "NotOpen";
        }
        match *op {
            Op::Deposit(_, minor) | Op::Hold(_, minor) | Op::Refund(_, minor)
                if minor <= 0 && (!self.closed || matches!(op, Op::Refund(..))) =>
            {
                "NotPositive"
            }
            Op::Deposit(number, minor) => {
                self.open = true;
                Self::book(&mut self.deposits, number, minor, self.closed)
            }
            Op::Adjust(_, 0) if !self.closed => "NotPositive",
            Op::Adjust(number, minor) => Self::book(&mut self.adjustments, number, minor, self.closed),
            Op::Empty(_) if self.posted() == 0 && !self.closed => "NotPositive",
            Op::Empty(number) => {
                let by = -self.posted();
                Self::book(&mut self.adjustments, number, by, self.closed)
            }
            Op::Refund(number, minor) if self.closed && !self.refunds.contains_key(&number) => {
                Self::book(&mut self.diverted, number, minor, false)
            }
            Op::Refund(number, minor) => Self::book(&mut self.refunds, number, minor, false),
            Op::Hold(number, minor) => self.hold(number, minor),
            Op::Capture(number) => match self.claims.get(&number) {
                Some(Claim::Live(minor)) => {
                    let minor = *minor;
                    self.claims.insert(number, Claim::Captured(minor));
                    "done"
                }
                Some(Claim::Captured(_)) => "repeat",
                Some(Claim::Released) => "ReleasedAlready",
                None if self.closed => "Closed",
                None => "UnknownHold",
            },
            Op::Release(number) => match self.claims.get(&number) {
                Some(Claim::Captured(_)) => "CapturedAlready",
                Some(Claim::Released) => "repeat",
                None if self.closed => "repeat",
                Some(Claim::Live(_)) | None => {
                    self.claims.insert(number, Claim::Released);
                    "done"
                }
            },
            Op::Close if self.closed => "repeat",
            Op::Dollars | Op::SetFloor(_) | Op::Freeze | Op::Unfreeze if self.closed => "Closed",
            Op::Dollars => "Money",
            Op::SetFloor(minor) if minor > 0 => "BadFloor",
            Op::SetFloor(minor) if minor == self.floor => "repeat",
            Op::SetFloor(minor) if minor > self.floor && self.posted() - self.held() < minor => "Insufficient",
            Op::SetFloor(minor) => {
                self.open = true;
                self.floor = minor;
                "done"
            }
            Op::Freeze => {
                if std::mem::replace(&mut self.frozen, true) {
                    "repeat"
                } else {
                    "done"
                }
            }
            Op::Unfreeze => {
                if std::mem::replace(&mut self.frozen, false) {
                    "done"
                } else {
                    "repeat"
                }
            }
            Op::Close if self.posted() != 0 || self.held() != 0 => "NotEmpty",
            Op::Close => {
                self.closed = true;
                "done"
            }
        }
    }

    fn book(bookings: &mut BTreeMap<u8, i64>, number: u8, minor: i64, closed: bool) -> &'static str {
        match bookings.get(&number) {
            Some(known) if *known == minor => "repeat",
            Some(_) => "OtherContent",
            None if closed => "Closed",
            None => {
                bookings.insert(number, minor);
                "done"
            }
        }
    }

    fn hold(&mut self, number: u8, minor: i64) -> &'static str {
        match self.claims.get(&number) {
            Some(Claim::Live(known) | Claim::Captured(known)) if *known == minor => "repeat",
            Some(Claim::Live(_) | Claim::Captured(_)) => "OtherContent",
            Some(Claim::Released) => "ReleasedAlready",
            None if self.closed => "Closed",
            None if self.frozen => "Frozen",
            None if minor > self.available() => "Insufficient",
            // An overdraft is for meals, not for cash.
            None if number > PAYOUTS && minor > self.posted() - self.held() => "Insufficient",
            None => {
                self.claims.insert(number, Claim::Live(minor));
                "done"
            }
        }
    }
}

/// What the books say that the account holds, from the postings of its events alone.
fn ledger(of: AccountId, events: &[Event]) -> i64 {
    let all = events.iter().flat_map(|event| postings(&Fact::Account(of, event.clone())));
    all.filter(|posting| posting.account == LedgerAccount::Limited(of)).map(|posting| posting.amount.minor).sum()
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn an_account_does_what_a_list_of_bookings_says(ops in ops()) {
        let (mut account, mut model) = (Account::default(), Model::default());
        let (of, mut history) = (AccountId::Wallet(diner(1)), vec![]);
        for op in ops {
            let before = model.available();
            let command = model.command(&op);
            let (outcome, events) = step(&mut account, command);
            prop_assert_eq!(outcome.as_str(), model.run(&op), "{:?}", op);
            history.extend(events);
            if let Ok(book) = account.book() {
                prop_assert_eq!(book.posted, model.posted());
                prop_assert_eq!(book.held, model.held());
                prop_assert_eq!(book.available(), cny(model.available()));
                prop_assert_eq!(ledger(of, &history), book.posted);
                let kept = book.available().minor >= before.min(0);
                prop_assert!(kept || matches!(op, Op::Adjust(..) | Op::Empty(_)), "{:?} went below the floor", op);
            } else {
                prop_assert_eq!(ledger(of, &history), 0);
            }
        }
    }

    #[test]
    fn no_amount_makes_an_account_panic(
        amounts in prop::collection::vec((0..5_u8, prop_oneof![any::<i64>(), -Money::MAX_MINOR..=Money::MAX_MINOR]), 1..40)
    ) {
        let mut account = Account::default();
        for (number, (kind, minor)) in amounts.into_iter().enumerate() {
            let number = number as u8;
            step(&mut account, match kind {
                0 => deposit(number, minor),
                1 => holds(number, minor),
                2 => refunds(number, HoldId { payment: PaymentId(id(number)), tender: 0 }, minor),
                3 => adjust(number, minor),
                _ => floor(minor),
            });
        }
    }
}

#[test]
fn a_refund_after_the_meal_comes_from_the_canteen() {
    let from = RefundFrom::Canteen(CanteenId(id(5)));
    let event = Event::Refunded { refund: refund(1), hold: hold(1), amount: cny(7), from, lot: None };
    let of = AccountId::Wallet(diner(1));
    let booked: Vec<_> =
        postings(&Fact::Account(of, event)).iter().map(|one| (one.account, one.amount.minor)).collect();
    assert_eq!(booked, [(LedgerAccount::Canteen(CanteenId(id(5))), -7), (LedgerAccount::Limited(of), 7)]);
}

fn invoiced(number: u8) -> Command {
    Command::Invoice { invoice: InvoiceId(id(number)), through: bill().through, due_on: bill().due_on }
}

fn was_invoiced(number: u8, nth: u32, minor: i64) -> Event {
    let (through, due_on) = (bill().through, bill().due_on);
    Event::Invoiced { invoice: InvoiceId(id(number)), number: nth, amount: cny(minor), through, due_on }
}

fn allocate(batch: u32, minor: i64) -> Command {
    Command::Allocate { run: GrantRunId(id(70)), batch, amount: cny(minor) }
}

/// A company that may owe 1.00 and owes 0.60.
fn postpaid() -> Vec<Event> {
    let allocated = Event::Allocated { run: GrantRunId(id(70)), batch: 1, amount: cny(60) };
    vec![opened(), Event::FloorSet { floor: cny(-100) }, allocated]
}

#[test]
fn an_invoice_is_for_all_that_is_owed_and_gives_no_credit() {
    let short = Error::Insufficient { short: cny(1) };
    let state = given::<Account>(postpaid())
        .when(invoiced(1))
        .then([was_invoiced(1, 1, 60)])
        .when(invoiced(1))
        .then([])
        .when(invoiced(2))
        .refused(Error::NothingOwed)
        .when(allocate(2, 41))
        .refused(short)
        .when(allocate(2, 40))
        .then([Event::Allocated { run: GrantRunId(id(70)), batch: 2, amount: cny(40) }])
        .when(invoiced(2))
        .then([was_invoiced(2, 2, 40)])
        .when(Command::Close)
        .refused(Error::NotEmpty { posted: cny(0), held: cny(0) })
        .when(floor(-99))
        .refused(Error::Insufficient { short: cny(1) })
        .state();
    let book = state.book().unwrap();
    assert_eq!((book.posted(), book.receivable(), book.available()), (cny(0), cny(100), cny(0)));
    given::<Account>(funded()).when(invoiced(1)).refused(Error::NothingOwed);
}

#[test]
fn a_payment_frees_credit_and_a_void_invoice_is_owed_again() {
    let invoice = InvoiceId(id(1));
    let take = |number, minor| Command::TakePayment { invoice, payment: id(number), amount: cny(minor) };
    let back = |minor| Command::TakeBackInvoice { invoice, amount: cny(minor) };
    let after = and(postpaid(), [was_invoiced(1, 1, 60)]);
    let state = given::<Account>(after.clone())
        .when(take(5, 61))
        .refused(Error::NotReceivable { asked: cny(61), open: cny(60) })
        .when(take(5, 20))
        .then([Event::InvoicePaid { invoice, payment: id(5), amount: cny(20) }])
        .when(take(5, 20))
        .then([])
        .when(take(5, 21))
        .refused(Error::OtherContent)
        .state();
    assert_eq!(state.book().unwrap().available(), cny(60));
    let state = given::<Account>(after)
        .when(back(60))
        .then([Event::InvoiceVoided { invoice, amount: cny(60) }])
        .when(back(60))
        .then([])
        .state();
    let book = state.book().unwrap();
    assert_eq!((book.owed(), book.receivable(), book.available()), (cny(60), cny(0), cny(40)));
}

#[test]
fn what_a_company_sees_is_set_by_an_event() {
    let set = |disclosure| Command::SetDisclosure { disclosure };
    given::<Account>(postpaid())
        .when(set(Disclosure::Amounts))
        .then([])
        .when(set(Disclosure::Dishes))
        .then([Event::DisclosureSet { disclosure: Disclosure::Dishes }])
        .when(set(Disclosure::Dishes))
        .then([])
        .when(set(Disclosure::Amounts))
        .then([Event::DisclosureSet { disclosure: Disclosure::Amounts }]);
    given::<Account>([]).when(set(Disclosure::Dishes)).refused(Error::NotOpen);
}

proptest! {
    #![proptest_config(cases(128))]

    /// Whatever is granted, invoiced, paid and voided: credit changes by grants and payments alone, and the
    /// books have the receivable that the account has.
    #[test]
    fn invoices_give_no_credit(ops in prop::collection::vec((0..4_u8, 1..60_i64), 1..40)) {
        let company = CompanyId(id(73));
        let of = AccountId::Company(company);
        let (mut account, mut open, mut granted, mut paid) = (Account::default(), BTreeMap::new(), 0, 0);
        let mut booked: BTreeMap<LedgerAccount, i64> = BTreeMap::new();
        step(&mut account, floor(-100));
        for (number, (which, minor)) in ops.into_iter().enumerate() {
            let (number, first) = (number as u8 + 1, open.first_key_value().map(|(id, minor)| (*id, *minor)));
            let command = match (which, first) {
                (0, _) => allocate(number.into(), minor),
                (2, Some((invoice, left))) => {
                    let amount = cny(minor.min(left));
                    Command::TakePayment { invoice, payment: id(number), amount }
                }
                (3, Some((invoice, left))) => Command::TakeBackInvoice { invoice, amount: cny(left) },
                _ => invoiced(number),
            };
            for event in step(&mut account, command).1 {
                match &event {
                    Event::Allocated { amount, .. } => granted += amount.minor,
                    Event::Invoiced { invoice, amount, .. } => { open.insert(*invoice, amount.minor); }
                    Event::InvoicePaid { invoice, amount, .. } => {
                        paid += amount.minor;
                        let left = open.remove(invoice).unwrap() - amount.minor;
                        if left > 0 { open.insert(*invoice, left); }
                        // The invoice's own event books it.
                        *booked.entry(LedgerAccount::Receivable(company)).or_default() += amount.minor;
                    }
                    Event::InvoiceVoided { invoice, .. } => { open.remove(invoice); }
                    _ => {}
                }
                for posting in postings(&Fact::Account(of, event)) {
                    *booked.entry(posting.account).or_default() += posting.amount.minor;
                }
            }
            let book = account.book().unwrap();
            prop_assert_eq!(book.available().minor, 100 - granted + paid);
            prop_assert!(book.available().minor >= 0 && book.posted <= 0);
            prop_assert_eq!(book.receivable, open.values().sum::<i64>());
            let at = |account| booked.get(&account).copied().unwrap_or(0);
            prop_assert_eq!(at(LedgerAccount::Receivable(company)), -book.receivable);
            prop_assert_eq!(at(LedgerAccount::Limited(of)), book.posted);
        }
    }
}
