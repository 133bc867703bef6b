use proptest::prelude::*;

use super::*;
use crate::{
    CanteenId, Fact, PaymentId, given,
    postings::{LedgerAccount, postings},
    settlements::REMEMBERED_SECONDS,
    testing::{at, cases, cny, diner, hold, id, refund, step, usd},
};

fn deposit(number: u8, minor: i64) -> Command {
    Command::Deposit { deposit: id(number), amount: cny(minor) }
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

fn floor(minor: i64) -> Command {
    Command::SetFloor { floor: cny(minor) }
}

fn deposited(number: u8, minor: i64) -> Event {
    Event::Deposited { deposit: id(number), amount: cny(minor) }
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
    Event::RefundDiverted { refund: refund(number), hold: of, amount: cny(minor), from: RefundFrom::Prepaid }
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
        Command::Deposit { deposit: id(2), amount: usd(1) },
        Command::Hold { hold: hold(2), amount: usd(1), from: None },
        Command::Refund { refund: refund(1), hold: hold(2), amount: usd(1), from: RefundFrom::Prepaid, lot: None },
        Command::Adjust { adjustment: id(2), by: usd(-1), reason: AdjustReason::Goodwill },
        Command::SetFloor { floor: usd(-1) },
    ] {
        given::<Account>(funded()).when(command).refused(mixed());
    }
}

#[test]
fn an_account_that_nobody_opened_takes_only_a_deposit() {
    for command in [
        holds(1, 1),
        Command::Capture { hold: hold(1) },
        Command::Release { hold: hold(1) },
        refunds(1, hold(1), 1),
        adjust(1, 1),
        floor(-1),
        Command::Freeze,
        Command::Unfreeze,
        Command::Close,
    ] {
        given::<Account>([]).when(command).refused(Error::NotOpen);
    }
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
fn an_account_closes_only_when_it_is_empty() {
    given::<Account>(funded()).when(Command::Close).refused(Error::NotEmpty);
    given::<Account>(and(funded(), [held(1, 100), adjusted(2, -100)])).when(Command::Close).refused(Error::NotEmpty);
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
    let op = prop_oneof![
        6 => (1..=9_u8, minor()).prop_map(|(n, minor)| Op::Deposit(n, minor)),
        14 => (1..=9_u8, minor()).prop_map(|(n, minor)| Op::Hold(n, minor)),
        8 => (1..=9_u8).prop_map(Op::Capture),
        6 => (1..=9_u8).prop_map(Op::Release),
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
            Op::Dollars => Command::SetFloor { floor: usd(-1) },
        }
    }

    /// Does the op and names its outcome.
    fn run(&mut self, op: &Op) -> &'static str {
        if !self.open && !matches!(op, Op::Deposit(..)) {
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
