use super::*;
use crate::{
    GrantRunId, given,
    testing::{actor, at, canteen, cny, diner, id, usd},
};

fn adjusts(minor: i64) -> Entry {
    let change = Change::Adjust { account: AccountId::Wallet(diner(1)), by: cny(minor) };
    Entry { change, reason: AdjustReason::Correction, reference: None }
}

fn moves(from: LedgerAccount, to: LedgerAccount, minor: i64) -> Entry {
    let change = Change::Move { from, to, amount: cny(minor) };
    Entry { change, reason: AdjustReason::Reconciliation, reference: "FIN-7".parse().ok() }
}

fn of(entries: Vec<Entry>) -> Proposal {
    Proposal { entries, dated: None }
}

fn two() -> Proposal {
    of(vec![adjusts(-5), moves(LedgerAccount::Suspense, LedgerAccount::Canteen(canteen()), 3)])
}

fn propose(proposal: Proposal) -> Command {
    Command::Propose { by: actor(1), proposal, file: None, limit: None }
}

fn proposed(proposal: Proposal) -> Event {
    Event::Proposed { by: actor(1), proposal, file: None }
}

fn applied(by: u8) -> Event {
    Event::Applied { approval: Approval::SecondPerson(actor(by)) }
}

fn moved() -> Event {
    let (from, to) = (LedgerAccount::Suspense, LedgerAccount::Canteen(canteen()));
    Event::Moved { entry: 1, from, to, amount: cny(3) }
}

#[test]
fn a_second_person_applies_what_was_proposed_and_it_settles() {
    let apply = Command::Apply { by: actor(2) };
    given::<Correction>([])
        .when(propose(two()))
        .then([proposed(two())])
        .when(apply.clone())
        .then([applied(2), moved()])
        .when(apply.clone())
        .then([])
        .when(Command::Apply { by: actor(3) })
        .refused(Error::OutOfTurn { is: "APPLIED" })
        .when(Command::Settle { refused: vec![0] })
        .then([Event::Settled { refused: vec![0] }])
        .when(Command::Settle { refused: vec![] })
        .then([])
        .when(apply)
        .then([])
        .when(Command::Reject { by: actor(2) })
        .refused(Error::OutOfTurn { is: "SETTLED" });
}

#[test]
fn the_same_again_is_proposed_once_whoever_sends_it() {
    let again = Command::Propose { by: actor(2), proposal: two(), file: Some("ab".into()), limit: Some(cny(5)) };
    let other = Proposal { dated: Some(at(5)), ..two() };
    given::<Correction>([proposed(two())])
        .when(again)
        .then([])
        .when(propose(of(vec![adjusts(-6)])))
        .refused(Error::OtherContent)
        .when(propose(other))
        .refused(Error::OtherContent);
}

#[test]
fn the_proposer_never_applies() {
    let apply = Command::Apply { by: actor(1) };
    given::<Correction>([proposed(two())]).when(apply.clone()).refused(Error::SecondPerson);
    given::<Correction>([proposed(two()), applied(2)]).when(apply.clone()).refused(Error::SecondPerson);
    given::<Correction>([]).when(apply).refused(Error::Unknown);
}

#[test]
fn what_is_rejected_is_never_applied() {
    let rejected = Event::Rejected { by: actor(1) };
    given::<Correction>([proposed(two())])
        .when(Command::Reject { by: actor(1) })
        .then([rejected])
        .when(Command::Reject { by: actor(2) })
        .then([])
        .when(Command::Apply { by: actor(2) })
        .refused(Error::OutOfTurn { is: "REJECTED" })
        .when(propose(two()))
        .then([]);
    given::<Correction>([]).when(Command::Reject { by: actor(2) }).refused(Error::Unknown);
    given::<Correction>([proposed(two())])
        .when(Command::Settle { refused: vec![] })
        .refused(Error::OutOfTurn { is: "PROPOSED" });
}

#[test]
fn a_single_adjustment_within_the_limit_needs_nobody() {
    let within = |entries: Vec<Entry>, limit| Command::Propose {
        by: actor(1),
        proposal: of(entries),
        file: None,
        limit: Some(limit),
    };
    for minor in [100, -100] {
        let (entries, limit) = (vec![adjusts(minor)], cny(100));
        let at_once = Event::Applied { approval: Approval::WithinLimit(limit) };
        given::<Correction>([])
            .when(within(entries.clone(), limit))
            .then([proposed(of(entries.clone())), at_once])
            .when(within(entries, cny(7)))
            .then([])
            .when(Command::Apply { by: actor(1) })
            .refused(Error::SecondPerson)
            .when(Command::Apply { by: actor(2) })
            .refused(Error::OutOfTurn { is: "APPLIED" });
    }
    let waits = |entries: Vec<Entry>, limit: Money| {
        given::<Correction>([]).when(within(entries.clone(), limit)).then([proposed(of(entries))]);
    };
    waits(vec![adjusts(101)], cny(100));
    waits(vec![adjusts(-101)], cny(100));
    waits(vec![adjusts(-Money::MAX_MINOR)], cny(100));
    waits(vec![adjusts(1)], cny(0));
    waits(vec![adjusts(1)], cny(-5));
    waits(vec![adjusts(1)], usd(100));
    waits(vec![adjusts(1), adjusts(1)], cny(100));
    waits(vec![moves(LedgerAccount::Suspense, LedgerAccount::Bank, 1)], cny(100));
}

#[test]
fn the_postings_have_the_time_that_the_proposal_is_dated() {
    let proposal = Proposal { dated: Some(at(70)), ..two() };
    let mut state = given::<Correction>([proposed(proposal)]).state();
    state.evolve(&applied(2), at(900));
    assert!(matches!(state, Correction::Applied(_, Applied { at: time, .. }) if time == at(70)));
    let mut state = given::<Correction>([proposed(two())]).state();
    state.evolve(&applied(2), at(900));
    assert!(matches!(state, Correction::Applied(_, Applied { at: time, .. }) if time == at(900)));
}

#[test]
fn what_cannot_be_right_is_refused_and_named() {
    let refused = |entries: Vec<Entry>, error: Error| {
        given::<Correction>([]).when(propose(of(entries))).refused(error);
    };
    refused(vec![], Error::BadCount { entries: 0 });
    refused(vec![adjusts(1); MAX_ENTRIES + 1], Error::BadCount { entries: MAX_ENTRIES + 1 });
    given::<Correction>([])
        .when(propose(of(vec![adjusts(1); MAX_ENTRIES])))
        .then([proposed(of(vec![adjusts(1); MAX_ENTRIES]))]);
    let second = |entry: Entry, why: EntryError| refused(vec![adjusts(1), entry], Error::BadEntry { entry: 1, why });
    let (suspense, wallet) = (LedgerAccount::Suspense, LedgerAccount::Limited(AccountId::Wallet(diner(1))));
    let transit = LedgerAccount::Transit(GrantRunId(id(70)));
    second(adjusts(0), EntryError::Nothing);
    second(adjusts(Money::MAX_MINOR + 1), EntryError::Money(MoneyError::TooLarge));
    second(moves(suspense, LedgerAccount::Bank, 0), EntryError::NotPositive);
    second(moves(suspense, LedgerAccount::Bank, -1), EntryError::NotPositive);
    second(moves(suspense, suspense, 1), EntryError::SameAccount);
    second(moves(suspense, wallet, 1), EntryError::Limited(wallet));
    second(moves(transit, suspense, 1), EntryError::Derived(transit));
    second(moves(LedgerAccount::Prepaid, suspense, 1), EntryError::Derived(LedgerAccount::Prepaid));
    let error = Error::BadEntry { entry: 1, why: EntryError::Nothing };
    assert_eq!(error.to_string(), "entry 2: the amount must not be zero");
}

#[test]
fn a_reference_is_a_number_of_something_and_no_text() {
    for good in ["FIN-1042", "a", "2026/11#7.b_c", &"x".repeat(MAX_REFERENCE)] {
        assert_eq!(good.parse::<Reference>().unwrap().as_str(), good);
    }
    for bad in ["", "two words", "Zhang\u{4f1f}", "a,b", "a\n", &"x".repeat(MAX_REFERENCE + 1)] {
        assert_eq!(bad.parse::<Reference>(), Err(NotAReference), "{bad:?}");
    }
}

#[test]
fn entries_have_ids_of_their_own() {
    let (one, other) = (CorrectionId(id(1)), CorrectionId(id(2)));
    assert_eq!(one.adjustment(0), one.adjustment(0));
    assert_ne!(one.adjustment(0), one.adjustment(1));
    assert_ne!(one.adjustment(0), other.adjustment(0));
}
