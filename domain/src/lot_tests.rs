//! Lots as accounts keep them.

use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::{
    AccountId, Fact, HoldId, Money, RefundId,
    account::{Account, Command, Error, Event},
    given,
    order::RefundFrom,
    postings::{LedgerAccount, postings},
    testing::{at, cases, cny, diner, hold, id, lot_terms, refund, step_at},
};

fn lot(number: u8) -> LotId {
    LotId(id(number))
}

/// Lunch on the date of [`lot_terms`].
fn lunch(second: i64) -> Use {
    Use { at: at(second), date: lot_terms().serves.first, meal: Meal::Lunch }
}

fn terms(expires: i64) -> Terms {
    Terms { expires_at: at(expires), ..lot_terms() }
}

fn grants(number: u8, expires: i64, minor: i64) -> Command {
    Command::Grant { lot: lot(number), terms: terms(expires), amount: cny(minor), at: at(100) }
}

fn granted(number: u8, expires: i64, minor: i64) -> Event {
    Event::Granted { lot: lot(number), terms: terms(expires), amount: cny(minor) }
}

fn holds(number: u8, of: u8, second: i64, minor: i64) -> Command {
    Command::Hold { hold: hold(number), amount: cny(minor), from: Some((lot(of), lunch(second))) }
}

fn held(number: u8, of: u8, minor: i64) -> Event {
    Event::Held { hold: hold(number), amount: cny(minor), lot: Some(lot(of)) }
}

fn captured(number: u8, minor: i64) -> Event {
    Event::Captured { hold: hold(number), amount: cny(minor) }
}

fn released(number: u8) -> Event {
    Event::Released { hold: hold(number) }
}

fn lapsed(of: u8, minor: i64) -> Event {
    Event::Lapsed { lot: lot(of), amount: cny(minor) }
}

fn refunds(number: u8, of: HoldId, minor: i64, from: u8) -> Command {
    let (refund, lot) = (refund(number), Some(lot(from)));
    Command::Refund { refund, hold: of, amount: cny(minor), from: RefundFrom::Prepaid, lot }
}

fn refunded(number: u8, of: HoldId, minor: i64, from: u8) -> Event {
    let (refund, lot) = (refund(number), Some(lot(from)));
    Event::Refunded { refund, hold: of, amount: cny(minor), from: RefundFrom::Prepaid, lot }
}

fn opened() -> Event {
    Event::Opened { currency: crate::Currency::CNY }
}

fn expires(second: i64) -> Command {
    Command::Expire { at: at(second) }
}

#[test]
fn the_first_grant_opens_the_account_and_a_repeat_adds_nothing() {
    let later = Terms { run: GrantRunId(id(99)), version: 2, ..terms(1_000) };
    given::<Account>([])
        .when(grants(1, 1_000, 50))
        .then([opened(), granted(1, 1_000, 50)])
        .when(grants(1, 1_000, 50))
        .then([])
        // Another run for the same time finds it granted, on whatever terms it would.
        .when(Command::Grant { lot: lot(1), terms: later, amount: cny(70), at: at(200) })
        .then([])
        .when(Command::Grant { lot: lot(2), terms: terms(1_000), amount: cny(1), at: at(1_000) })
        .refused(Error::LotOver)
        .when(grants(2, 1_000, 0))
        .refused(Error::NotPositive);
    given::<Account>([]).when(grants(1, 1_000, -5)).refused(Error::NotPositive);
    given::<Account>([opened(), Event::Closed]).when(grants(1, 1_000, 5)).refused(Error::Closed);
}

#[test]
fn lots_are_cleared_before_their_time_and_known_until_then() {
    let clears = |lots: &[u8]| Command::Clear { lots: lots.iter().copied().map(lot).collect() };
    given::<Account>([opened(), granted(1, 1_000, 50), granted(2, 1_000, 70), held(1, 2, 30)])
        .when(clears(&[1, 2, 9]))
        .then([lapsed(1, 50), lapsed(2, 40)])
        .when(clears(&[1, 2]))
        .then([])
        // Granted once, whatever became of it.
        .when(grants(1, 1_000, 50))
        .then([])
        .when(Command::Release { hold: hold(1) })
        .then([released(1), lapsed(2, 30)])
        .at(at(1_000))
        .when(expires(1_000))
        .then([lapsed(1, 0), lapsed(2, 0)])
        .when(expires(1_000))
        .then([]);
    given::<Account>([opened(), Event::Closed]).when(clears(&[1])).then([]);
}

#[test]
fn an_account_keeps_so_many_lots() {
    let number = |n: usize| LotId(uuid::Uuid::from_u128(1_000 + n as u128));
    let grant = |n: usize| Event::Granted { lot: number(n), terms: terms(1_000), amount: cny(1) };
    let full = [opened()].into_iter().chain((0..MAX_LOTS).map(grant));
    given::<Account>(full).when(grants(1, 1_000, 1)).refused(Error::TooManyLots);
}

#[test]
fn a_lot_pays_for_its_servings_in_its_time() {
    let given = || given::<Account>([opened(), granted(1, 1_000, 50)]);
    given().when(holds(1, 1, 999, 50)).then([held(1, 1, 50)]).when(holds(1, 1, 999, 50)).then([]);
    given().when(holds(1, 1, 999, 51)).refused(Error::Insufficient { short: cny(1) });
    given().when(holds(1, 1, 1_000, 50)).refused(Error::Insufficient { short: cny(50) });
    given().when(holds(1, 9, 500, 50)).refused(Error::Insufficient { short: cny(50) });
    given().when(holds(1, 1, 99, 50)).refused(Error::LotNotForThis);
    let on = |of: Use| Command::Hold { hold: hold(1), amount: cny(5), from: Some((lot(1), of)) };
    given().when(on(Use { meal: Meal::Dinner, ..lunch(500) })).refused(Error::LotNotForThis);
    given().when(on(Use { date: date(2026, 11, 24), ..lunch(500) })).refused(Error::LotNotForThis);
    // What is in a lot pays for nothing else.
    let loose = Command::Hold { hold: hold(1), amount: cny(1), from: None };
    given().when(loose.clone()).refused(Error::Insufficient { short: cny(1) });
    let deposit = Command::Deposit { deposit: id(5), amount: cny(1), source: crate::top_up::Source::Bank };
    given()
        .when(deposit)
        .then([Event::Deposited { deposit: id(5), amount: cny(1), source: crate::top_up::Source::Bank }])
        .when(loose)
        .then([Event::Held { hold: hold(1), amount: cny(1), lot: None }]);
}

#[test]
fn the_earliest_expiry_pays_first() {
    let state =
        given::<Account>([opened(), granted(1, 900, 5), granted(2, 700, 5), granted(3, 800, 5), granted(4, 500, 5)]);
    let payable = state.state().book().unwrap().lots.payable(lunch(600));
    assert_eq!(payable.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [lot(2), lot(3), lot(1)]);
}

#[test]
fn expiry_takes_what_is_not_held_and_late_timers_are_harmless() {
    given::<Account>([opened(), granted(1, 1_000, 50), granted(2, 2_000, 7), held(1, 1, 30)])
        .when(expires(999))
        .then([])
        .at(at(1_500))
        .when(expires(1_000))
        .then([lapsed(1, 20)])
        .when(expires(1_500))
        .then([])
        .when(Command::Freeze)
        .then([Event::Frozen])
        .when(Command::Capture { hold: hold(1) })
        .then([captured(1, 30)])
        .when(expires(9_999))
        .then([lapsed(2, 7)]);
    given::<Account>([]).when(expires(1)).refused(Error::NotOpen);
    given::<Account>([opened(), Event::Closed]).when(expires(1)).then([]);
}

#[test]
fn what_is_released_after_expiry_lapses() {
    given::<Account>([opened(), granted(1, 1_000, 50), held(1, 1, 30), held(2, 1, 5), lapsed(1, 15)])
        .when(Command::Release { hold: hold(1) })
        .then([released(1), lapsed(1, 30)])
        .when(Command::Release { hold: hold(1) })
        .then([])
        .when(Command::Release { hold: hold(2) })
        .then([released(2), lapsed(1, 5)])
        .when(Command::Close)
        .then([Event::Closed]);
}

#[test]
fn an_account_that_is_closed_ends_its_lots_and_nothing_lapses() {
    let spent = [opened(), granted(1, 1_000, 50), held(1, 1, 50), captured(1, 50)];
    // A debt has eaten the second lot.
    let owed = Event::Adjusted { adjustment: id(1), by: cny(-5), reason: crate::account::AdjustReason::Correction };
    let all = spent.into_iter().chain([granted(2, 2_000, 5), owed]);
    given::<Account>(all)
        .when(Command::Close)
        .then([lapsed(1, 0), lapsed(2, 0), Event::Closed])
        .when(expires(3_000))
        .then([])
        .when(Command::Close)
        .then([]);
}

#[test]
fn a_refund_returns_to_its_lot_and_expires_with_it() {
    let spent = [opened(), granted(1, 1_000, 50), held(1, 1, 50), captured(1, 50)];
    given::<Account>(spent.clone())
        .when(refunds(1, hold(1), 20, 1))
        .then([refunded(1, hold(1), 20, 1)])
        .when(holds(2, 1, 900, 20))
        .then([held(2, 1, 20)])
        .when(Command::Release { hold: hold(2) })
        .then([released(2)])
        .when(expires(1_000))
        .then([lapsed(1, 20)]);
    let late = Event::RefundLapsed {
        refund: refund(1),
        hold: hold(1),
        amount: cny(20),
        from: RefundFrom::Prepaid,
        lot: lot(1),
    };
    given::<Account>(spent)
        .when(expires(1_000))
        .then([lapsed(1, 0)])
        .when(refunds(1, hold(1), 20, 1))
        .then([late])
        .when(refunds(1, hold(1), 20, 1))
        .then([])
        .when(refunds(1, hold(1), 21, 1))
        .refused(Error::OtherContent);
}

#[test]
fn expiry_makes_no_debt() {
    let by =
        |minor| Event::Adjusted { adjustment: id(9), by: cny(minor), reason: crate::account::AdjustReason::Correction };
    given::<Account>([opened(), granted(1, 1_000, 50), by(-30)]).when(expires(1_000)).then([lapsed(1, 20)]);
    given::<Account>([opened(), granted(1, 1_000, 50), by(-80)]).when(expires(1_000)).then([lapsed(1, 0)]);
}

#[test]
fn company_money_goes_out_in_batches_and_the_rest_comes_back() {
    let run = GrantRunId(id(70));
    let takes = |batch, minor| Command::Allocate { run, batch, amount: cny(minor) };
    let took = |batch, minor| Event::Allocated { run, batch, amount: cny(minor) };
    let back = Event::TakenBack { run, amount: cny(15) };
    given::<Account>([
        opened(),
        Event::Deposited { deposit: id(1), amount: cny(100), source: crate::top_up::Source::Bank },
    ])
    .when(takes(1, 60))
    .then([took(1, 60)])
    .when(takes(1, 60))
    .then([])
    .when(takes(1, 61))
    .refused(Error::OtherContent)
    .when(takes(2, 41))
    .refused(Error::Insufficient { short: cny(1) })
    .when(Command::SetFloor { floor: cny(-1) })
    .then([Event::FloorSet { floor: cny(-1) }])
    .when(takes(2, 41))
    .then([took(2, 41)])
    .when(Command::TakeBack { run, amount: cny(15) })
    .then([back])
    .when(Command::TakeBack { run, amount: cny(15) })
    .then([])
    .when(Command::TakeBack { run, amount: cny(16) })
    .refused(Error::OtherContent)
    .when(Command::Freeze)
    .then([Event::Frozen])
    .when(takes(3, 1))
    .refused(Error::Frozen);
}

#[derive(Clone, Debug)]
enum Op {
    Grant(u8, i64, i64),
    Hold(u8, u8, i64),
    Capture(u8),
    Release(u8),
    Refund(u8, u8, i64),
    Clear(u8),
    /// Lets time go by, and perhaps the timer fire, late.
    Wait(i64, bool),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (1..=5_u8, 150..600_i64, 1..50_i64).prop_map(|(lot, expires, minor)| Op::Grant(lot, expires, minor)),
        8 => (1..=20_u8, 1..=5_u8, 1..30_i64).prop_map(|(hold, lot, minor)| Op::Hold(hold, lot, minor)),
        5 => (1..=20_u8).prop_map(Op::Capture),
        4 => (1..=20_u8).prop_map(Op::Release),
        4 => (1..=20_u8, 1..=20_u8, 1..20_i64).prop_map(|(refund, hold, minor)| Op::Refund(refund, hold, minor)),
        1 => (1..=5_u8).prop_map(Op::Clear),
        4 => (0..60_i64, any::<bool>()).prop_map(|(seconds, fires)| Op::Wait(seconds, fires)),
    ];
    prop::collection::vec(op, 1..80)
}

/// Where every fen of every lot is: one entry a fen, moved one at a time. Slow, and plain.
#[derive(Default)]
struct Fens(Vec<(u8, Place)>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Free,
    Held(u8),
    Spent(u8),
    Gone,
}

impl Fens {
    fn count(&self, which: impl Fn(u8, Place) -> bool) -> i64 {
        self.0.iter().filter(|(lot, place)| which(*lot, *place)).count() as i64
    }

    fn shift(&mut self, mut many: i64, from: impl Fn(u8, Place) -> bool, to: Place) {
        for (lot, place) in &mut self.0 {
            if many > 0 && from(*lot, *place) {
                *place = to;
                many -= 1;
            }
        }
    }
}

/// One account, its model, and what both have been asked.
#[derive(Default)]
struct Run {
    account: Account,
    fens: Fens,
    expiry: BTreeMap<u8, i64>,
    ended: Vec<u8>,
    cleared: Vec<u8>,
    holds: BTreeMap<u8, (u8, i64)>,
    refunds: BTreeMap<u8, i64>,
    now: i64,
    history: Vec<Event>,
}

impl Run {
    fn give(&mut self, command: Command) -> String {
        let (outcome, events) = step_at(at(self.now), &mut self.account, command);
        self.history.extend(events);
        outcome
    }

    fn op(&mut self, op: Op) {
        match op {
            Op::Grant(number, expires, minor) => {
                let command =
                    Command::Grant { lot: lot(number), terms: terms(expires), amount: cny(minor), at: at(self.now) };
                let new = !self.expiry.contains_key(&number);
                // One that has expired is not named again; one that was cleared stays granted until then.
                if !new && self.ended.contains(&number) && self.expiry[&number] <= self.now {
                    return;
                }
                let outcome = self.give(command);
                if new && self.now < expires {
                    assert_eq!(outcome, "done");
                    self.expiry.insert(number, expires);
                    self.fens.0.extend(vec![(number, Place::Free); minor as usize]);
                } else {
                    assert_eq!(outcome, if new { "LotOver" } else { "repeat" });
                }
            }
            Op::Hold(number, of, minor) => self.hold(number, of, minor),
            Op::Capture(number) => {
                let mine = self.fens.count(|_, place| place == Place::Held(number));
                if mine > 0 {
                    assert_eq!(self.give(Command::Capture { hold: hold(number) }), "done");
                    self.fens.shift(i64::MAX, |_, place| place == Place::Held(number), Place::Spent(number));
                }
            }
            Op::Release(number) => {
                let mine = self.fens.count(|_, place| place == Place::Held(number));
                if mine > 0 {
                    assert_eq!(self.give(Command::Release { hold: hold(number) }), "done");
                    let gone = self.ended.contains(&self.holds[&number].0);
                    let to = if gone { Place::Gone } else { Place::Free };
                    self.fens.shift(i64::MAX, |_, place| place == Place::Held(number), to);
                }
            }
            Op::Refund(number, of, minor) => self.refund(number, of, minor),
            Op::Clear(number) => {
                if self.account == Account::default() {
                    return;
                }
                let open = self.expiry.contains_key(&number) && !self.ended.contains(&number);
                assert_eq!(self.give(Command::Clear { lots: vec![lot(number)] }), if open { "done" } else { "repeat" });
                if open {
                    self.fens.shift(i64::MAX, |lot, place| place == Place::Free && lot == number, Place::Gone);
                    self.cleared.push(number);
                    self.ended.push(number);
                }
            }
            Op::Wait(seconds, fires) => {
                self.now += seconds;
                if fires && self.account != Account::default() {
                    self.give(Command::Expire { at: at(self.now) });
                    let due: Vec<u8> =
                        self.expiry.iter().filter(|(_, at)| **at <= self.now).map(|(lot, _)| *lot).collect();
                    self.fens.shift(i64::MAX, |lot, place| place == Place::Free && due.contains(&lot), Place::Gone);
                    self.ended = due.into_iter().chain(self.cleared.iter().copied()).collect();
                }
            }
        }
    }

    fn hold(&mut self, number: u8, of: u8, minor: i64) {
        if self.holds.contains_key(&number) || self.account == Account::default() {
            return;
        }
        let over = self.cleared.contains(&of) || self.expiry.get(&of).is_none_or(|at| *at <= self.now);
        let free = if over { 0 } else { self.fens.count(|lot, place| lot == of && place == Place::Free) };
        let outcome = self.give(holds(number, of, self.now, minor));
        if minor <= free {
            assert_eq!(outcome, "done");
            self.fens.shift(minor, |lot, place| lot == of && place == Place::Free, Place::Held(number));
            self.holds.insert(number, (of, minor));
        } else {
            assert_eq!(outcome, "Insufficient");
        }
    }

    /// As a payment asks it: never more than was captured.
    fn refund(&mut self, number: u8, of: u8, minor: i64) {
        let spent = self.fens.count(|_, place| place == Place::Spent(of));
        // A refund is of one payment.
        if minor > spent || self.refunds.contains_key(&number) {
            return;
        }
        let (from, _) = self.holds[&of];
        assert_eq!(self.give(refunds(number, hold(of), minor, from)), "done");
        let to = if self.ended.contains(&from) { Place::Gone } else { Place::Free };
        self.fens.shift(minor, |_, place| place == Place::Spent(of), to);
        self.refunds.insert(number, minor);
    }

    /// The account, the books and the fens say the same.
    fn check(&self) {
        let Ok(book) = self.account.book() else { return };
        let posted = self.fens.count(|_, place| matches!(place, Place::Free | Place::Held(_)));
        assert_eq!(book.posted, posted);
        assert_eq!(book.held, self.fens.count(|_, place| matches!(place, Place::Held(_))));
        assert_eq!(book.lots.free(), self.fens.count(|_, place| place == Place::Free));
        assert_eq!(book.loose(), cny(0));
        for number in self.expiry.keys() {
            let left = self.fens.count(|lot, place| lot == *number && matches!(place, Place::Free | Place::Held(_)));
            let known = book.lots.get(lot(*number)).map_or(0, |lot| lot.left);
            assert_eq!(known, left, "lot {number}");
        }
        let of = AccountId::Subsidy(diner(1));
        let mut ledger: BTreeMap<String, i64> = BTreeMap::new();
        for event in &self.history {
            let booked = postings(&Fact::Account(of, event.clone()));
            assert_eq!(booked.iter().map(|posting| posting.amount.minor).sum::<i64>(), 0);
            for posting in booked {
                *ledger.entry(posting.account.to_string()).or_default() += posting.amount.minor;
            }
        }
        let on = |account: LedgerAccount| ledger.get(&account.to_string()).copied().unwrap_or(0);
        assert_eq!(on(LedgerAccount::Limited(of)), posted);
        assert_eq!(on(LedgerAccount::Breakage), self.fens.count(|_, place| place == Place::Gone));
        assert_eq!(on(LedgerAccount::Prepaid), self.fens.count(|_, place| matches!(place, Place::Spent(_))));
        assert_eq!(on(LedgerAccount::Transit(lot_terms().run)), -(self.fens.0.len() as i64));
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn every_fen_of_every_lot_is_where_a_plain_model_has_it(ops in ops()) {
        let mut run = Run { now: 100, ..Run::default() };
        for op in ops {
            run.op(op);
            run.check();
        }
    }
}

#[test]
fn ids_of_refunds_and_holds_do_not_meet() {
    // A refund of a lot and one of loose money of the same payment are two credits.
    let second = HoldId { tender: 1, ..hold(1) };
    let loose = Command::Refund {
        refund: RefundId(id(1)),
        hold: second,
        amount: Money { minor: 5, ..cny(5) },
        from: RefundFrom::Prepaid,
        lot: None,
    };
    given::<Account>([opened(), granted(1, 1_000, 50), held(1, 1, 50), captured(1, 50)])
        .when(refunds(1, hold(1), 20, 1))
        .then([refunded(1, hold(1), 20, 1)])
        .when(loose)
        .then([Event::Refunded {
            refund: refund(1),
            hold: second,
            amount: cny(5),
            from: RefundFrom::Prepaid,
            lot: None,
        }]);
}
