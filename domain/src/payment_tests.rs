use proptest::prelude::*;

use super::*;
use crate::{
    AccountId, CompanyId, Fact, LotId, PolicyId, given,
    postings::{LedgerAccount, postings},
    testing::{canteen, cases, cny, diner, id, order, refund, step, usd},
};

fn wallet() -> AccountId {
    AccountId::Wallet(diner(1))
}

fn subsidy() -> AccountId {
    AccountId::Subsidy(diner(1))
}

fn from(source: Source, minor: i64) -> Tender {
    Tender { source, amount: cny(minor), why: Why::Rest }
}

fn start(total: i64, tenders: &[Tender]) -> Command {
    Command::Start { order: order(1), diner: diner(1), total: cny(total), tenders: tenders.to_vec() }
}

fn started(total: i64, tenders: &[Tender]) -> Event {
    Event::Started { order: order(1), diner: diner(1), total: cny(total), tenders: tenders.to_vec() }
}

/// 60 from the subsidy, then 40 from the wallet.
/// A plan without policies.
fn plain(total: Money, available: &[(AccountId, Money)]) -> Result<Vec<Tender>, Money> {
    let purse =
        |(account, has): &(AccountId, Money)| Purse { source: Source::Account(*account), has: *has, policy: None };
    plan(total, &available.iter().map(purse).collect::<Vec<_>>(), &BTreeMap::new())
}

fn balances() -> Vec<Tender> {
    vec![from(Source::Account(subsidy()), 60), from(Source::Account(wallet()), 40)]
}

fn planned() -> Event {
    started(100, &balances())
}

/// 60 from the subsidy, then 40 in money at the till.
fn with_the_till() -> Event {
    started(100, &[from(Source::Account(subsidy()), 60), from(Source::External(Provider::Counter), 40)])
}

fn paid(tender: u8, minor: i64) -> Event {
    Event::Paid { tender, provider: Provider::Counter, amount: cny(minor), transaction: None }
}

fn begin(number: u8, minor: i64) -> Command {
    Command::BeginRefund { refund: refund(number), amount: cny(minor), from: RefundFrom::Prepaid, first: vec![] }
}

fn begun(number: u8, minor: i64, parts: &[(u8, i64)]) -> Event {
    let parts = parts.iter().map(|(tender, minor)| Part { tender: *tender, amount: cny(*minor) }).collect();
    Event::RefundBegun { refund: refund(number), amount: cny(minor), from: RefundFrom::Prepaid, parts }
}

fn settle(number: u8) -> Command {
    Command::SettleRefund { refund: refund(number) }
}

fn paid_back(number: u8, tender: u8, minor: i64) -> Event {
    let (provider, amount, from) = (Provider::Counter, cny(minor), RefundFrom::Prepaid);
    Event::PaidBack { refund: refund(number), tender, provider, amount, from }
}

fn too_much(asked: i64, left: i64) -> Error {
    Error::TooMuch { asked: cny(asked), left: cny(left) }
}

#[test]
fn money_is_deducted_from_each_source_as_far_as_it_goes() {
    let company = AccountId::Company(CompanyId(id(9)));
    let tender = |account, minor, why| Tender { source: Source::Account(account), amount: cny(minor), why };
    let both = vec![tender(subsidy(), 60, Why::Available), tender(wallet(), 40, Why::Rest)];
    assert_eq!(plain(cny(100), &[(subsidy(), cny(60)), (wallet(), cny(50))]), Ok(both));
    let rest = |minor| Ok(vec![tender(wallet(), minor, Why::Rest)]);
    // What is empty, in debt or in another currency pays nothing.
    let others = [(subsidy(), cny(0)), (company, cny(-5)), (company, usd(500)), (wallet(), cny(100))];
    assert_eq!(plain(cny(100), &others), rest(100));
    assert_eq!(plain(cny(100), &[(wallet(), cny(100)), (subsidy(), cny(60))]), rest(100));
    assert_eq!(plain(cny(0), &[(wallet(), cny(100))]), Ok(vec![]));
    assert_eq!(plain(cny(100), &[(subsidy(), cny(60)), (wallet(), cny(15))]), Err(cny(25)));
    assert_eq!(plain(cny(100), &[]), Err(cny(100)));
    assert_eq!(plain(cny(-100), &[(wallet(), cny(15))]), Err(cny(-100)));
}

#[test]
fn a_plan_is_fixed_once() {
    given::<Payment>([])
        .when(start(100, &balances()))
        .then([planned()])
        .when(start(100, &balances()))
        .then([])
        // Made up again from other balances, it is still the recorded plan that counts.
        .when(start(100, &[from(Source::Account(wallet()), 100)]))
        .then([])
        .when(start(99, &balances()))
        .refused(Error::AlreadyStarted);
}

#[test]
fn a_plan_adds_up_in_one_currency() {
    let dollars = Tender { amount: usd(40), ..balances()[1] };
    let too_many = vec![from(Source::Account(wallet()), 1); MAX_TENDERS + 1];
    for (total, tenders) in [
        (101, balances()),
        (99, balances()),
        (MAX_TENDERS as i64 + 1, too_many),
        (60, vec![balances()[0], from(Source::Account(wallet()), 0)]),
        (50, vec![balances()[0], from(Source::Account(wallet()), -10)]),
        (100, vec![balances()[0], dollars]),
        (100, vec![]),
        (-1, vec![]),
        (i64::MIN, vec![from(Source::Account(wallet()), i64::MIN)]),
        (i64::MAX, vec![from(Source::Account(wallet()), i64::MAX)]),
    ] {
        given::<Payment>([]).when(start(total, &tenders)).refused(Error::BadPlan { total: cny(total) });
    }
    let most = vec![from(Source::Account(wallet()), 1); MAX_TENDERS];
    given::<Payment>([]).when(start(MAX_TENDERS as i64, &most)).then([started(MAX_TENDERS as i64, &most)]);
}

#[test]
fn a_meal_for_nothing_has_no_tenders() {
    given::<Payment>([])
        .when(start(0, &[]))
        .then([started(0, &[])])
        .when(Command::RecordHeld)
        .then([Event::Held])
        .when(Command::RecordCaptured)
        .then([Event::Captured])
        .when(begin(1, 0))
        .then([begun(1, 0, &[])])
        .when(settle(1))
        .then([Event::RefundSettled { refund: refund(1) }]);
}

#[test]
fn it_is_held_then_captured() {
    given::<Payment>([planned()])
        .when(Command::RecordCaptured)
        .refused(Error::OutOfTurn { is: "PLANNED" })
        .when(Command::RecordHeld)
        .then([Event::Held])
        .when(Command::RecordHeld)
        .then([])
        .when(begin(1, 1))
        .refused(Error::OutOfTurn { is: "HELD" })
        .when(Command::RecordCaptured)
        .then([Event::Captured])
        .when(Command::RecordCaptured)
        .then([])
        .when(Command::RecordHeld)
        .then([])
        .when(Command::Release)
        .refused(Error::OutOfTurn { is: "CAPTURED" });
}

#[test]
fn before_its_start_it_can_only_be_given_up() {
    for command in [
        Command::RecordHeld,
        Command::RecordPaid { tender: 0 },
        Command::RecordCaptured,
        begin(1, 1),
        Command::RecordPaidBack { refund: refund(1), tender: 0 },
        settle(1),
    ] {
        given::<Payment>([]).when(command).refused(Error::NotStarted);
    }
}

#[test]
fn a_release_that_comes_first_refuses_the_late_start() {
    let released = || Error::OutOfTurn { is: "RELEASED" };
    given::<Payment>([])
        .when(Command::Release)
        .then([Event::Released])
        .when(Command::Release)
        .then([])
        .when(start(100, &balances()))
        .refused(released())
        .when(Command::RecordHeld)
        .refused(released());
}

#[test]
fn what_the_till_takes_is_recorded_once_and_before_the_hold() {
    given::<Payment>([with_the_till()])
        .when(Command::RecordHeld)
        .refused(Error::Unpaid { tender: 1 })
        .when(Command::RecordPaid { tender: 0 })
        .refused(Error::NotExternal { tender: 0 })
        .when(Command::RecordPaid { tender: 2 })
        .refused(Error::NotExternal { tender: 2 })
        .when(Command::RecordPaid { tender: 1 })
        .then([paid(1, 40)])
        .when(Command::RecordPaid { tender: 1 })
        .then([])
        .when(Command::RecordHeld)
        .then([Event::Held])
        .when(Command::RecordPaid { tender: 1 })
        .then([])
        .when(Command::RecordPaid { tender: 0 })
        .refused(Error::OutOfTurn { is: "HELD" });
}

#[test]
fn a_release_gives_back_what_the_till_took() {
    given::<Payment>([with_the_till()])
        .when(Command::Release)
        .then([Event::Released])
        .when(Command::Release)
        .then([])
        .when(Command::RecordPaid { tender: 1 })
        .refused(Error::OutOfTurn { is: "RELEASED" })
        .when(Command::RecordHeld)
        .refused(Error::OutOfTurn { is: "RELEASED" })
        .when(begin(1, 1))
        .refused(Error::OutOfTurn { is: "RELEASED" });
    for held in [vec![], vec![Event::Held]] {
        let events: Vec<_> = [with_the_till(), paid(1, 40)].into_iter().chain(held).collect();
        given::<Payment>(events)
            .when(Command::Release)
            .then([Event::Released, paid_back(1, 1, 40)])
            .when(Command::Release)
            .then([])
            .when(Command::RecordPaid { tender: 1 })
            .then([]);
    }
}

#[test]
fn a_refund_takes_the_last_deducted_first() {
    given::<Payment>([planned(), Event::Held, Event::Captured])
        .when(begin(1, 30))
        .then([begun(1, 30, &[(1, 30)])])
        .when(begin(1, 30))
        .then([])
        .when(begin(1, 31))
        .refused(Error::OtherRefund)
        .when(begin(2, 30))
        .then([begun(2, 30, &[(1, 10), (0, 20)])])
        .when(begin(3, 41))
        .refused(too_much(41, 40))
        .when(begin(3, 40))
        .then([begun(3, 40, &[(0, 40)])])
        .when(begin(4, 1))
        .refused(too_much(1, 0));
}

#[test]
fn impossible_refunds_change_nothing() {
    let given = || given::<Payment>([planned(), Event::Held, Event::Captured]);
    for minor in [-1, i64::MIN, 101, i64::MAX] {
        given().when(begin(1, minor)).refused(too_much(minor, 100));
    }
    let dollars = |minor| Command::BeginRefund {
        refund: refund(1),
        amount: usd(minor),
        from: RefundFrom::Prepaid,
        first: vec![],
    };
    for minor in [0, 5] {
        given().when(dollars(minor)).refused(Error::TooMuch { asked: usd(minor), left: cny(100) });
    }
}

#[test]
fn a_refund_settles_once_its_provider_has_paid_back() {
    let back = |number, tender| Command::RecordPaidBack { refund: refund(number), tender };
    given::<Payment>([with_the_till(), paid(1, 40), Event::Held, Event::Captured, begun(1, 50, &[(1, 40), (0, 10)])])
        .when(settle(1))
        .refused(Error::NotPaidBack { tender: 1 })
        .when(settle(2))
        .refused(Error::UnknownRefund)
        .when(back(2, 1))
        .refused(Error::UnknownRefund)
        .when(back(1, 2))
        .refused(Error::UnknownRefund)
        .when(back(1, 0))
        .refused(Error::NotExternal { tender: 0 })
        .when(back(1, 1))
        .then([paid_back(1, 1, 40)])
        .when(back(1, 1))
        .then([])
        .when(settle(1))
        .then([Event::RefundSettled { refund: refund(1) }])
        .when(settle(1))
        .then([])
        .when(begin(1, 50))
        .then([]);
}

#[test]
fn a_refund_after_the_meal_is_the_canteens() {
    let from = RefundFrom::Canteen(canteen());
    let begin = Command::BeginRefund { refund: refund(1), amount: cny(40), from, first: vec![] };
    let parts = vec![Part { tender: 1, amount: cny(40) }];
    let back = Event::PaidBack { refund: refund(1), tender: 1, provider: Provider::Counter, amount: cny(40), from };
    let booked: Vec<_> = postings(&Fact::Payment(order(1).payment(), back.clone()))
        .iter()
        .map(|posting| (posting.account, posting.amount.minor))
        .collect();
    given::<Payment>([with_the_till(), paid(1, 40), Event::Held, Event::Captured])
        .when(begin)
        .then([Event::RefundBegun { refund: refund(1), amount: cny(40), from, parts }])
        .when(Command::RecordPaidBack { refund: refund(1), tender: 1 })
        .then([back]);
    assert_eq!(booked, [(LedgerAccount::Canteen(canteen()), -40), (LedgerAccount::Clearing(Provider::Counter), 40)]);
}

/// A command of the state machine, in small numbers.
#[derive(Clone, Debug)]
enum Op {
    Start,
    StartOther,
    Held,
    Paid(u8),
    Captured,
    Release,
    Begin(u8, i64),
    PaidBack(u8, u8),
    Settle(u8),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        2 => Just(Op::Start),
        1 => Just(Op::StartOther),
        6 => Just(Op::Held),
        8 => (0..4_u8).prop_map(Op::Paid),
        6 => Just(Op::Captured),
        1 => Just(Op::Release),
        12 => (1..=6_u8, -1..=25_i64).prop_map(|(number, minor)| Op::Begin(number, minor)),
        8 => (1..=6_u8, 0..4_u8).prop_map(|(number, tender)| Op::PaidBack(number, tender)),
        4 => (1..=6_u8).prop_map(Op::Settle),
    ];
    prop::collection::vec(op, 1..60)
}

fn tenders() -> impl Strategy<Value = Vec<Tender>> {
    let sources = [
        Source::Account(subsidy()),
        Source::Account(wallet()),
        Source::External(Provider::Counter),
        Source::External(Provider::Elsewhere),
    ];
    let tender = (prop::sample::select(sources.to_vec()), 1..=20_i64);
    prop::collection::vec(tender.prop_map(|(source, minor)| from(source, minor)), 0..=3)
}

#[derive(Clone, Copy, PartialEq)]
enum At {
    New,
    Planned,
    Held,
    Captured,
    GivenUp,
}

struct Returned {
    amount: i64,
    /// The tender of each minor unit.
    units: Vec<u8>,
    settled: bool,
    paid_back: Vec<u8>,
}

/// Every minor unit lies on a stack in the order of deduction; a refund takes from its top.
struct Model {
    at: At,
    external: Vec<bool>,
    stack: Vec<u8>,
    paid: Vec<u8>,
    refunds: BTreeMap<u8, Returned>,
}

impl Model {
    fn new(tenders: &[Tender]) -> Self {
        let external = tenders.iter().map(|tender| matches!(tender.source, Source::External(_))).collect();
        let units = tenders.iter().enumerate().flat_map(|(index, tender)| {
            std::iter::repeat_n(index as u8, usize::try_from(tender.amount.minor).unwrap())
        });
        Model { at: At::New, external, stack: units.collect(), paid: vec![], refunds: BTreeMap::new() }
    }

    fn is_external(&self, tender: u8) -> bool {
        self.external.get(usize::from(tender)).copied().unwrap_or(false)
    }

    /// Does the op and names its outcome.
    fn run(&mut self, op: &Op) -> &'static str {
        match (self.at, op) {
            (At::New, Op::Start) => self.go(At::Planned),
            (At::New, Op::StartOther) => "BadPlan",
            (At::New, Op::Release) => self.go(At::GivenUp),
            (At::GivenUp, Op::Release) => "repeat",
            (At::New, _) => "NotStarted",
            (At::GivenUp, Op::Paid(tender)) if self.paid.contains(tender) => "repeat",
            // Once started, what was started is known also after a release.
            (At::GivenUp, Op::Start) => "repeat",
            (At::GivenUp, Op::StartOther) => "AlreadyStarted",
            (At::GivenUp, Op::PaidBack(..) | Op::Settle(_)) => "UnknownRefund",
            (At::GivenUp, _) => "OutOfTurn",
            (_, Op::Start) => "repeat",
            (_, Op::StartOther) => "AlreadyStarted",
            (At::Planned, Op::Held) => {
                let unpaid =
                    (0..self.external.len() as u8).any(|one| self.is_external(one) && !self.paid.contains(&one));
                if unpaid { "Unpaid" } else { self.go(At::Held) }
            }
            (_, Op::Held) => "repeat",
            (_, Op::Paid(tender)) if self.paid.contains(tender) => "repeat",
            (At::Planned, Op::Paid(tender)) if self.is_external(*tender) => {
                self.paid.push(*tender);
                "done"
            }
            (At::Planned, Op::Paid(_)) => "NotExternal",
            (At::Held, Op::Captured) => self.go(At::Captured),
            (At::Captured, Op::Captured) => "repeat",
            (At::Planned | At::Held, Op::Release) => self.go(At::GivenUp),
            (At::Captured, Op::Begin(number, minor)) => self.begin(*number, *minor),
            (_, Op::PaidBack(number, tender)) => self.paid_back(*number, *tender),
            (_, Op::Settle(number)) => self.settle(*number),
            (_, Op::Paid(_) | Op::Captured | Op::Release | Op::Begin(..)) => "OutOfTurn",
        }
    }

    fn go(&mut self, to: At) -> &'static str {
        self.at = to;
        "done"
    }

    fn begin(&mut self, number: u8, minor: i64) -> &'static str {
        if let Some(known) = self.refunds.get(&number) {
            return if known.amount == minor { "repeat" } else { "OtherRefund" };
        }
        let Some(kept) = usize::try_from(minor).ok().and_then(|minor| self.stack.len().checked_sub(minor)) else {
            return "TooMuch";
        };
        let units = self.stack.split_off(kept);
        self.refunds.insert(number, Returned { amount: minor, units, settled: false, paid_back: vec![] });
        "done"
    }

    fn paid_back(&mut self, number: u8, tender: u8) -> &'static str {
        let external = self.is_external(tender);
        match self.refunds.get_mut(&number) {
            Some(refund) if !refund.units.contains(&tender) => "UnknownRefund",
            Some(_) if !external => "NotExternal",
            Some(refund) if refund.paid_back.contains(&tender) => "repeat",
            Some(refund) => {
                refund.paid_back.push(tender);
                "done"
            }
            None => "UnknownRefund",
        }
    }

    fn settle(&mut self, number: u8) -> &'static str {
        let external = self.external.clone();
        match self.refunds.get_mut(&number) {
            Some(refund) if refund.settled => "repeat",
            Some(refund) => {
                let waits = |unit: &u8| external[usize::from(*unit)] && !refund.paid_back.contains(unit);
                if refund.units.iter().any(waits) {
                    return "NotPaidBack";
                }
                refund.settled = true;
                "done"
            }
            None => "UnknownRefund",
        }
    }
}

fn command(op: &Op, tenders: &[Tender]) -> Command {
    let total = tenders.iter().map(|tender| tender.amount.minor).sum();
    match *op {
        Op::Start => start(total, tenders),
        Op::StartOther => start(total + 1, tenders),
        Op::Held => Command::RecordHeld,
        Op::Paid(tender) => Command::RecordPaid { tender },
        Op::Captured => Command::RecordCaptured,
        Op::Release => Command::Release,
        Op::Begin(number, minor) => begin(number, minor),
        Op::PaidBack(number, tender) => Command::RecordPaidBack { refund: refund(number), tender },
        Op::Settle(number) => settle(number),
    }
}

fn check_parts(events: &[Event], model: &Model) {
    for event in events {
        let Event::RefundBegun { refund: id, amount, parts, .. } = event else { continue };
        assert_eq!(parts.iter().map(|part| part.amount.minor).sum::<i64>(), amount.minor);
        assert!(parts.windows(2).all(|two| two[0].tender > two[1].tender), "the last deducted first: {parts:?}");
        let units = &model.refunds.iter().find(|(number, _)| refund(**number) == *id).unwrap().1.units;
        for part in parts {
            assert_eq!(units.iter().filter(|unit| **unit == part.tender).count() as i64, part.amount.minor);
        }
    }
}

/// What the payment's events leave in an account of the ledger.
fn ledger(of: LedgerAccount, events: &[Event]) -> i64 {
    let all = events.iter().flat_map(|event| postings(&Fact::Payment(order(1).payment(), event.clone())));
    all.filter(|posting| posting.account == of).map(|posting| posting.amount.minor).sum()
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn a_payment_does_what_a_stack_of_coins_says(tenders in tenders(), ops in ops()) {
        let (mut payment, mut model, mut history) = (Payment::default(), Model::new(&tenders), vec![]);
        for op in ops {
            let given_up_unstarted = payment == Payment::GivenUp;
            let (outcome, events) = step(&mut payment, command(&op, &tenders));
            if given_up_unstarted && !matches!(op, Op::Release) {
                prop_assert_eq!(outcome.as_str(), "OutOfTurn", "{:?}", op);
                continue;
            }
            prop_assert_eq!(outcome.as_str(), model.run(&op), "{:?}", op);
            check_parts(&events, &model);
            history.extend(events);
            if let Ok(sheet) = payment.sheet() {
                let begun: i64 = sheet.refunds.values().map(|refund| refund.amount.minor).sum();
                let captured = if sheet.stage == Stage::Captured { sheet.total.minor } else { 0 };
                prop_assert!(begun <= captured);
                for (index, tender) in sheet.tenders.iter().enumerate() {
                    let left = model.stack.iter().filter(|unit| usize::from(**unit) == index).count() as i64;
                    prop_assert_eq!(tender.amount.minor - sheet.refunded(index as u8), left);
                }
            }
            if model.at == At::GivenUp {
                prop_assert_eq!(ledger(LedgerAccount::Prepaid, &history), 0, "a till's money was kept");
            }
        }
    }

    #[test]
    fn a_plan_deducts_in_order_and_adds_up(
        total in -5..200_i64,
        has in prop::collection::vec(-20..80_i64, 0..6),
    ) {
        let available: Vec<_> = has.iter().map(|minor| (wallet(), cny(*minor))).collect();
        let all: i64 = has.iter().filter(|minor| **minor > 0).sum();
        match plain(cny(total), &available) {
            Ok(tenders) => {
                prop_assert!(total >= 0 && all >= total);
                prop_assert_eq!(tenders.iter().map(|tender| tender.amount.minor).sum::<i64>(), total);
                let positive: Vec<_> = has.into_iter().filter(|minor| *minor > 0).collect();
                for (index, tender) in tenders.iter().enumerate() {
                    let last = index + 1 == tenders.len();
                    prop_assert_eq!(tender.why, if last { Why::Rest } else { Why::Available });
                    let (takes, has) = (tender.amount.minor, positive[index]);
                    prop_assert!(takes == has || last && takes < has);
                }
            }
            Err(short) => prop_assert_eq!(short.minor, if total < 0 { total } else { total - all }),
        }
    }
}

#[test]
fn purses_of_one_policy_share_its_limit() {
    let (policy, other) = (PolicyId(id(1)), PolicyId(id(2)));
    let lot = |number: u8, minor, policy| Purse {
        source: Source::Lot(diner(1), LotId(id(number))),
        has: cny(minor),
        policy: Some(policy),
    };
    let wallet = Purse { source: Source::Account(wallet()), has: cny(500), policy: None };
    let purses = [lot(1, 30, policy), lot(2, 40, other), lot(3, 30, policy), lot(4, 30, policy), wallet];
    let limits = |minor, why| BTreeMap::from([(policy, Limit { minor, why })]);
    let paid = |total, limits: &BTreeMap<_, _>| -> Vec<(Option<LotId>, i64, Why)> {
        let tenders = plan(cny(total), &purses, limits).unwrap();
        tenders.iter().map(|tender| (tender.source.lot(), tender.amount.minor, tender.why)).collect()
    };
    let number = |number: u8| Some(LotId(id(number)));
    assert_eq!(
        paid(200, &limits(50, Why::OrderLimit)),
        [
            (number(1), 30, Why::Available),
            (number(2), 40, Why::Available),
            (number(3), 20, Why::OrderLimit),
            (None, 110, Why::Rest)
        ]
    );
    assert_eq!(paid(20, &limits(50, Why::Share)), [(number(1), 20, Why::Rest)]);
    assert_eq!(paid(100, &limits(0, Why::Share)), [(number(2), 40, Why::Available), (None, 60, Why::Rest)]);
    assert_eq!(plan(cny(700), &purses, &limits(50, Why::OrderLimit)), Err(cny(110)));
}

#[test]
fn no_plan_has_more_tenders_than_a_payment() {
    let purse = |number: u8| Purse { source: Source::Lot(diner(1), LotId(id(number))), has: cny(1), policy: None };
    let many: Vec<_> = (1..=20).map(purse).collect();
    let most = MAX_TENDERS as i64;
    assert_eq!(plan(cny(most), &many, &BTreeMap::new()).unwrap().len(), MAX_TENDERS);
    assert_eq!(plan(cny(most + 1), &many, &BTreeMap::new()), Err(cny(1)));
}
