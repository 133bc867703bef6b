use super::*;
use crate::{
    AccountId, given,
    order::RefundFrom,
    payment::{Command, Part, Payment, Provider, Why},
    testing::{cny, diner, id, order, refund, usd},
};

const fn change(number: u128) -> ChangeId {
    ChangeId(uuid::Uuid::from_u128(number))
}

fn wallet(minor: i64) -> Tender {
    Tender { source: Source::Account(AccountId::Wallet(diner(1))), amount: cny(minor), why: Why::Rest }
}

fn subsidy(minor: i64) -> Tender {
    Tender { source: Source::Account(AccountId::Subsidy(diner(1))), amount: cny(minor), why: Why::Available }
}

/// 100 of the wallet.
fn captured() -> Vec<Event> {
    let started = Event::Started { order: order(1), diner: diner(1), total: cny(100), tenders: vec![wallet(100)] };
    vec![started, Event::Held, Event::Captured]
}

fn extend(number: u128, minor: i64, tenders: &[Tender]) -> Command {
    Command::Extend { extension: change(number), amount: cny(minor), tenders: tenders.to_vec() }
}

fn extended(number: u128, first: u8, tenders: &[Tender]) -> Event {
    let minor = tenders.iter().map(|tender| tender.amount.minor).sum();
    Event::Extended { extension: change(number), amount: cny(minor), first, tenders: tenders.to_vec() }
}

fn and(first: Vec<Event>, then: impl IntoIterator<Item = Event>) -> Vec<Event> {
    first.into_iter().chain(then).collect()
}

fn begin(minor: i64) -> Command {
    Command::BeginRefund { refund: refund(1), amount: cny(minor), from: RefundFrom::Prepaid, first: vec![] }
}

fn begun(minor: i64, parts: &[(u8, i64)]) -> Event {
    let parts = parts.iter().map(|(tender, minor)| Part { tender: *tender, amount: cny(*minor) }).collect();
    Event::RefundBegun { refund: refund(1), amount: cny(minor), from: RefundFrom::Prepaid, parts }
}

#[test]
fn what_was_added_is_given_back_first() {
    let more = [subsidy(20), wallet(10)];
    let taken = Event::ExtensionCaptured { extension: change(7), amount: cny(30) };
    let state = given::<Payment>(captured())
        .when(extend(7, 30, &more))
        .then([extended(7, 1, &more)])
        .when(extend(7, 30, &[wallet(30)]))
        .then([])
        .when(extend(7, 31, &[wallet(31)]))
        .refused(Error::AlreadyStarted)
        .when(begin(101))
        .refused(Error::TooMuch { asked: cny(101), left: cny(100) })
        .when(Command::RecordExtensionCaptured { extension: change(7) })
        .then([taken])
        .when(Command::RecordExtensionCaptured { extension: change(7) })
        .then([])
        .when(Command::GiveUpExtension { extension: change(7) })
        .refused(Error::OutOfTurn { is: "CAPTURED" })
        .when(begin(131))
        .refused(Error::TooMuch { asked: cny(131), left: cny(130) })
        .when(begin(45))
        .then([begun(45, &[(2, 10), (1, 20), (0, 15)])])
        .state();
    let sheet = state.sheet().unwrap();
    assert_eq!(sheet.total, cny(130));
    assert_eq!([0, 1, 2].map(|tender| sheet.state_of(tender)), [TenderState::Captured; 3]);
}

#[test]
fn what_was_given_up_is_never_given_back() {
    let state = given::<Payment>(and(captured(), [extended(7, 1, &[wallet(30)])]))
        .when(Command::GiveUpExtension { extension: change(7) })
        .then([Event::ExtensionGivenUp { extension: change(7) }])
        .when(Command::GiveUpExtension { extension: change(7) })
        .then([])
        .when(Command::RecordExtensionCaptured { extension: change(7) })
        .refused(Error::OutOfTurn { is: "CAPTURED" })
        .when(begin(100))
        .then([begun(100, &[(0, 100)])])
        .when(extend(8, 5, &[wallet(5)]))
        .then([extended(8, 2, &[wallet(5)])])
        .state();
    let states = [0, 1, 2].map(|tender| state.sheet().unwrap().state_of(tender));
    assert_eq!(states, [TenderState::Captured, TenderState::Released, TenderState::Planned]);
}

#[test]
fn what_cannot_be_added_is_refused() {
    let till = Tender { source: Source::External(Provider::Counter), ..wallet(30) };
    for (minor, tenders) in [(30, vec![till]), (31, vec![wallet(30)]), (0, vec![]), (-1, vec![wallet(-1)])] {
        given::<Payment>(captured()).when(extend(7, minor, &tenders)).refused(Error::BadPlan { total: cny(minor) });
    }
    let dollars = Tender { amount: usd(30), ..wallet(30) };
    let foreign = Command::Extend { extension: change(7), amount: usd(30), tenders: vec![dollars] };
    given::<Payment>(captured()).when(foreign).refused(Error::BadPlan { total: usd(30) });
    given::<Payment>(captured()[..2].to_vec())
        .when(extend(7, 30, &[wallet(30)]))
        .refused(Error::OutOfTurn { is: "HELD" });
    given::<Payment>(captured())
        .when(Command::RecordExtensionCaptured { extension: ChangeId(id(9)) })
        .refused(Error::UnknownExtension);
    let most = [wallet(1); MAX_TENDERS];
    let full = (0..MAX_CHANGES).map(|number| extended(number as u128, (1 + number * MAX_TENDERS) as u8, &most));
    given::<Payment>(and(captured(), full))
        .when(extend(99, MAX_TENDERS as i64, &most))
        .refused(Error::BadPlan { total: cny(MAX_TENDERS as i64) });
}

#[test]
fn what_was_given_up_before_it_began_refuses_the_late_beginning() {
    given::<Payment>(captured())
        .when(Command::GiveUpExtension { extension: change(7) })
        .then([Event::ExtensionGivenUp { extension: change(7) }])
        .when(Command::GiveUpExtension { extension: change(7) })
        .then([])
        .when(extend(7, 30, &[wallet(30)]))
        .refused(Error::OutOfTurn { is: "RELEASED" })
        .when(begin(100))
        .then([begun(100, &[(0, 100)])]);
}
