//! Top-ups, payouts and corrections: what they come to, and that every prefix of them comes to the same.

use commands::Failure;
use domain::{
    ActorId, Aggregate, CanteenId, CorrectionId, PayoutId, TopUpId,
    account::{self, AdjustReason},
    books,
    correction::{self, Approval, Change, Correction, Entry, Proposal},
    payout::{self, Payout},
    postings::LedgerAccount,
    top_up::{Reason, Source, TopUp},
};
use projections::{Snapshot, preview::Preview};

use super::{crash::crashed_after, *};
use crate::{FinanceError, NewAdjustment, NewCorrection, NewPayout, NewTopUp, finance::Doing};

pub(super) const OTHER: ActorId = ActorId(Uuid::from_u128(3));

pub(super) fn wallet(number: u128) -> AccountId {
    AccountId::Wallet(diner(number))
}

pub(super) fn by(who: ActorId, mutation: &str, key: u128, input: &impl serde::Serialize) -> Request {
    Request::new((TENANT, who), mutation, Uuid::from_u128(key), input, MORNING)
}

impl House {
    pub(super) async fn finance(&mut self) -> Finance {
        Finance::new(self.ordering.commands().clone(), self.views().await)
    }

    async fn head(&self) -> usize {
        self.log.head().await.unwrap() as usize
    }

    async fn top_up(&mut self, number: u128, minor: i64, source: Source) -> TopUp {
        let new = NewTopUp { account: wallet(number), amount: fen(minor), source };
        self.finance().await.top_up(staff("topUp", number, &new), new).await.unwrap().value
    }

    async fn on_account(&self, number: u128, key: u128, command: account::Command) {
        self.ordering.commands().on_account(staff("account", key, &()), wallet(number), command).await.unwrap();
    }

    /// The log's own sum of every account, and that it is zero altogether.
    pub(super) async fn trial(&self) -> i64 {
        let events = self.events().await;
        events.iter().flat_map(|it| postings(&it.fact)).map(|side| side.amount.minor).sum()
    }
}

pub(super) fn adjusts(number: u128, minor: i64) -> Entry {
    let change = Change::Adjust { account: wallet(number), by: fen(minor) };
    Entry { change, reason: AdjustReason::Correction, reference: "FIN-7".parse().ok() }
}

pub(super) fn moves(from: LedgerAccount, to: LedgerAccount, minor: i64) -> Entry {
    Entry {
        change: Change::Move { from, to, amount: fen(minor) },
        reason: AdjustReason::Reconciliation,
        reference: None,
    }
}

pub(super) fn canteens() -> LedgerAccount {
    LedgerAccount::Canteen(CanteenId(Uuid::from_u128(77)))
}

fn three() -> Vec<Entry> {
    vec![adjusts(1, -300), moves(LedgerAccount::Suspense, canteens(), 200), adjusts(2, 100)]
}

const ID: CorrectionId = CorrectionId(Uuid::from_u128(500));

pub(super) fn correction(entries: Vec<Entry>) -> NewCorrection {
    NewCorrection { proposal: Proposal { entries, dated: None }, file: None }
}

async fn propose(house: &mut House, entries: Vec<Entry>) -> Result<Correction, Failure<FinanceError>> {
    let finance = house.finance().await;
    let request = staff("propose", 1, &());
    finance.propose(request, ID, correction(entries)).await.map(|done| done.value)
}

async fn apply(house: &mut House, who: ActorId) -> Result<Correction, Failure<FinanceError>> {
    house.finance().await.apply_correction(by(who, "apply", 2, &()), ID).await.map(|done| done.value)
}

async fn state<A: commands::Hosted>(house: &House, id: A::Id) -> A {
    house.ordering.commands().look(TENANT, id, A::clone).await.unwrap()
}

#[tokio::test]
async fn a_top_up_comes_from_the_bank_or_a_till_and_once() {
    let mut house = House::open(1, 1).await;
    assert_eq!(house.top_up(1, 2_000, Source::Bank).await.status(), "CREDITED");
    assert_eq!(house.top_up(2, 500, Source::Counter).await.status(), "CREDITED");
    let head = house.head().await;
    assert_eq!(house.top_up(1, 2_000, Source::Bank).await.status(), "CREDITED");
    assert_eq!(house.head().await, head, "a repeat appends nothing");
    assert_eq!((house.money(1).await, house.money(2).await), ((2_000, 0), (500, 0)));
    assert_eq!((house.ledger("bank").await, house.ledger("clearing:counter").await), (-2_000, -500));
    assert_eq!(house.settle().await, 0);
}

#[tokio::test]
async fn a_top_up_that_cannot_be_is_refused_at_the_door() {
    let mut house = House::open(1, 1).await;
    house.top_up(1, 10, Source::Bank).await;
    let head = house.head().await;
    let finance = house.finance().await;
    let refused = async |key, new: NewTopUp| finance.top_up(staff("other", key, &new), new).await.unwrap_err();
    let of = |minor| NewTopUp { account: wallet(1), amount: fen(minor), source: Source::Bank };
    assert_eq!(refused(1, of(0)).await, Failure::Refused(account::Error::NotPositive.into()));
    let dollars = Money::new(1, Currency::USD);
    let mixed = refused(2, NewTopUp { amount: dollars, ..of(1) }).await;
    assert!(matches!(mixed, Failure::Refused(FinanceError::Account(account::Error::Money(_)))), "{mixed:?}");
    assert_eq!(house.head().await, head);
    // The same key with other content.
    let new = NewTopUp { account: wallet(1), amount: fen(11), source: Source::Bank };
    let reused = finance.top_up(staff("topUp", 1, &new), new).await.unwrap_err();
    assert_eq!((reused, house.head().await), (Failure::KeyReused, head));
}

#[tokio::test]
async fn a_top_up_whose_account_closed_meanwhile_has_failed() {
    let mut house = House::open(1, 1).await;
    house.top_up(1, 10, Source::Bank).await;
    let before = house.head().await;
    let new = NewTopUp { account: wallet(1), amount: fen(5), source: Source::Bank };
    house.finance().await.top_up(staff("late", 9, &new), new).await.unwrap();
    // The crash comes after the request; the account is emptied and closed before anybody goes on.
    let mut crashed = crashed_after(&house, before + 1).await;
    let adjustment =
        account::Command::Adjust { adjustment: Uuid::from_u128(1), by: fen(-10), reason: AdjustReason::Correction };
    crashed.on_account(1, 1, adjustment).await;
    crashed.on_account(1, 2, account::Command::Close).await;
    assert_eq!(crashed.settle().await, 0);
    let id = TopUpId(staff("late", 9, &new).id);
    assert!(matches!(state::<TopUp>(&crashed, id).await, TopUp::Failed(_, Reason::Closed)));
}

#[tokio::test]
async fn every_prefix_of_a_top_up_comes_to_the_same_end() {
    let mut house = House::open(1, 1).await;
    let before = house.head().await;
    house.top_up(1, 2_000, Source::Bank).await;
    for events in before + 1..=house.head().await {
        let mut crashed = crashed_after(&house, events).await;
        assert_eq!(crashed.settle().await, 0);
        assert_eq!(crashed.names().await, house.names().await, "after {} events", events - before);
        assert_eq!(crashed.money(1).await, (2_000, 0));
        // Who asks again gets the first outcome.
        assert_eq!(crashed.top_up(1, 2_000, Source::Bank).await.status(), "CREDITED");
        assert_eq!(crashed.names().await, house.names().await);
    }
}

fn pays_out(minor: i64) -> NewPayout {
    NewPayout { account: wallet(1), amount: fen(minor) }
}

async fn pay_out(house: &mut House, minor: i64) -> Result<Payout, Failure<FinanceError>> {
    let new = pays_out(minor);
    house.finance().await.pay_out(staff("payOut", 1, &new), new).await.map(|done| done.value)
}

fn payout_id(minor: i64) -> PayoutId {
    PayoutId(staff("payOut", 1, &pays_out(minor)).id)
}

#[tokio::test]
async fn every_prefix_of_a_payout_comes_to_the_same_end() {
    for paid in [true, false] {
        let mut house = House::open(1, 1).await;
        house.fund(1, 0, 2_000).await;
        let before = house.head().await;
        assert_eq!(pay_out(&mut house, 700).await.unwrap().status(), "HELD");
        assert_eq!(house.money(1).await, (2_000, 700));
        let held = house.head().await;
        let (finance, end) = (house.finance().await, by(OTHER, "end", 1, &paid));
        let ended = if paid {
            finance.confirm_payout(end, payout_id(700)).await
        } else {
            finance.cancel_payout(end, payout_id(700)).await
        };
        assert!(matches!(ended.unwrap().value, Payout::Ended(..)));
        let left = if paid { 1_300 } else { 2_000 };
        for events in before + 1..=house.head().await {
            let mut crashed = crashed_after(&house, events).await;
            assert_eq!(crashed.settle().await, 0);
            let until = if events <= held { held } else { house.head().await };
            assert_eq!(crashed.names().await, house.names().await[..until], "after {} events", events - before);
            let money = if events <= held { (2_000, 700) } else { (left, 0) };
            assert_eq!(crashed.money(1).await, money);
        }
        assert_eq!(house.ledger("bank").await, -left);
        assert_eq!(house.trial().await, 0);
    }
}

#[tokio::test]
async fn a_payout_takes_nothing_that_is_held_frozen_or_not_there() {
    let mut house = House::open(10, 10).await;
    house.fund(1, 0, 2_000).await;
    let head = house.head().await;
    let short = account::Error::Insufficient { short: fen(1) };
    assert_eq!(pay_out(&mut house, 2_001).await, Err(Failure::Refused(short.into())));
    let bad = payout::Error::BadAmount;
    assert_eq!(pay_out(&mut house, 0).await, Err(Failure::Refused(bad.into())));
    let subsidy = NewPayout { account: AccountId::Subsidy(diner(1)), amount: fen(1) };
    let finance = house.finance().await;
    let never = finance.pay_out(staff("payOut", 5, &subsidy), subsidy).await.unwrap_err();
    assert_eq!(never, Failure::Refused(payout::Error::Subsidy.into()));
    let unknown = finance.confirm_payout(staff("end", 1, &()), payout_id(1)).await.unwrap_err();
    assert_eq!(unknown, Failure::Refused(payout::Error::Unknown.into()));
    assert_eq!(house.head().await, head);
    house.on_account(1, 1, account::Command::Freeze).await;
    let head = house.head().await;
    assert_eq!(pay_out(&mut house, 5).await, Err(Failure::Refused(account::Error::Frozen.into())));
    assert_eq!(house.head().await, head);
    house.on_account(1, 2, account::Command::Unfreeze).await;
    // What was promised to a payout is not there for a meal.
    assert_eq!(pay_out(&mut house, 1_900).await.unwrap().status(), "HELD");
    let (_, order) = house.place(1, 1, &[(RICE, 1)]).await;
    assert_eq!(order.status(), "REFUSED");
    let close = house.ordering.commands().on_account(staff("close", 3, &()), wallet(1), account::Command::Close).await;
    let told = close.unwrap_err().to_string();
    assert!(told.contains("20.00 CNY posted and 19.00 CNY held") && told.contains("paid out first"), "{told}");
}

#[tokio::test]
async fn a_second_person_applies_and_every_prefix_comes_to_the_same_end() {
    let mut house = House::open(1, 1).await;
    house.fund(1, 0, 1_000).await;
    house.fund(2, 0, 1_000).await;
    assert_eq!(propose(&mut house, three()).await.unwrap().status(), "PROPOSED");
    let before = house.head().await;
    assert_eq!(propose(&mut house, three()).await.unwrap().status(), "PROPOSED");
    let own = apply(&mut house, STAFF).await;
    assert_eq!(own, Err(Failure::Refused(correction::Error::SecondPerson.into())));
    assert_eq!(house.head().await, before, "the same again, and the proposer, append nothing");
    assert_eq!(apply(&mut house, OTHER).await.unwrap().status(), "SETTLED");
    let whole = house.head().await;
    assert_eq!(apply(&mut house, OTHER).await.unwrap().status(), "SETTLED");
    assert_eq!((house.head().await, whole - before), (whole, 5));
    assert_eq!((house.money(1).await, house.money(2).await), ((700, 0), (1_100, 0)));
    // 300 came, 100 and 200 went.
    assert_eq!((house.ledger("suspense").await, house.ledger(&canteens().to_string()).await), (0, 200));
    // The application and its moves are one decision, so they stand or fall together.
    for events in before + 2..=whole {
        let mut crashed = crashed_after(&house, events).await;
        // Either the follower or whoever asks again goes on.
        if events % 2 == 0 {
            assert_eq!(apply(&mut crashed, OTHER).await.unwrap().status(), "SETTLED");
        }
        assert_eq!(crashed.settle().await, 0);
        assert_eq!(crashed.names().await, house.names().await, "after {} events", events - before);
        assert_eq!((crashed.money(1).await, crashed.money(2).await), ((700, 0), (1_100, 0)));
        assert_eq!(crashed.trial().await, 0);
    }
}

#[tokio::test]
async fn what_an_account_would_refuse_is_not_proposed_nor_applied() {
    let mut house = House::open(1, 1).await;
    house.fund(1, 0, 1_000).await;
    let head = house.head().await;
    let refused = propose(&mut house, vec![adjusts(1, 5), adjusts(9, 5)]).await.unwrap_err();
    let error = account::Error::NotOpen;
    assert_eq!(refused, Failure::Refused(FinanceError::Entry { entry: 1, account: wallet(9), error }));
    let zero = propose(&mut house, vec![adjusts(1, 0)]).await.unwrap_err();
    let why = correction::EntryError::Nothing;
    assert_eq!(zero, Failure::Refused(correction::Error::BadEntry { entry: 0, why }.into()));
    let unknown = apply(&mut house, OTHER).await.unwrap_err();
    assert_eq!(unknown, Failure::Refused(correction::Error::Unknown.into()));
    assert_eq!(house.head().await, head);
    propose(&mut house, vec![adjusts(1, 5)]).await.unwrap();
    house
        .on_account(
            1,
            1,
            account::Command::Adjust {
                adjustment: Uuid::from_u128(1),
                by: fen(-1_000),
                reason: AdjustReason::Correction,
            },
        )
        .await;
    house.on_account(1, 2, account::Command::Close).await;
    let head = house.head().await;
    let closed = FinanceError::Entry { entry: 0, account: wallet(1), error: account::Error::Closed };
    assert_eq!(apply(&mut house, OTHER).await, Err(Failure::Refused(closed)));
    assert_eq!(house.head().await, head);
    let rejected = house.finance().await.reject_correction(by(STAFF, "reject", 1, &()), ID).await.unwrap();
    assert_eq!(rejected.value.status(), "REJECTED");
}

#[tokio::test]
async fn an_account_that_closes_in_the_middle_leaves_its_entry_out() {
    let mut house = House::open(1, 1).await;
    house.fund(1, 0, 1_000).await;
    house.fund(2, 0, 1_000).await;
    propose(&mut house, three()).await.unwrap();
    let before = house.head().await;
    apply(&mut house, OTHER).await.unwrap();
    let mut crashed = crashed_after(&house, before + 3).await;
    crashed
        .on_account(
            2,
            1,
            account::Command::Adjust {
                adjustment: Uuid::from_u128(1),
                by: fen(-1_000),
                reason: AdjustReason::Correction,
            },
        )
        .await;
    crashed.on_account(2, 2, account::Command::Close).await;
    assert_eq!(crashed.settle().await, 0);
    let Correction::Settled(_, _, refused) = state::<Correction>(&crashed, ID).await else { panic!() };
    assert_eq!(refused, [2]);
    assert_eq!(crashed.trial().await, 0);
}

#[tokio::test]
async fn an_old_date_is_not_booked_twice_although_accounts_forget() {
    let mut house = House::open(1, 1).await;
    house.fund(1, 0, 1_000).await;
    let long_ago = MORNING.plus_seconds(-40 * 86_400);
    let proposal = Proposal { entries: vec![adjusts(1, -300), adjusts(1, -1)], dated: Some(long_ago) };
    let finance = house.finance().await;
    let new = NewCorrection { proposal, file: None };
    finance.propose(staff("propose", 1, &()), ID, new).await.unwrap();
    let before = house.head().await;
    apply(&mut house, OTHER).await.unwrap();
    assert!(house.events().await[before..].iter().all(|it| it.occurred_at == long_ago));
    let mut crashed = crashed_after(&house, before + 2).await;
    // So many ids make the account look for what it may forget.
    for key in 0..70 {
        crashed
            .on_account(
                1,
                100 + key,
                account::Command::Adjust {
                    adjustment: Uuid::from_u128(900 + key),
                    by: fen(if key % 2 == 0 { 1 } else { -1 }),
                    reason: AdjustReason::Goodwill,
                },
            )
            .await;
    }
    assert_eq!(crashed.settle().await, 0);
    assert_eq!(crashed.money(1).await, (699, 0));
}

#[tokio::test]
async fn what_is_dated_into_a_closed_period_is_refused() {
    let mut house = House::open(1, 1).await;
    house.fund(1, 0, 1_000).await;
    let commands = house.ordering.commands().clone();
    let day = |text: &str| text.parse::<jiff::civil::Date>().unwrap();
    commands.open_books(staff("books", 1, &()), "Asia/Shanghai".into()).await.unwrap();
    let finance = house.finance().await;
    let open = finance.dated(TENANT, day("2026-10-31")).await.unwrap();
    assert_eq!(open.to_string(), "2026-10-30T16:00:00Z");
    let new =
        |dated| NewCorrection { proposal: Proposal { entries: vec![adjusts(1, -5)], dated: Some(dated) }, file: None };
    finance.propose(staff("propose", 1, &()), ID, new(open)).await.unwrap();
    commands.close_period(staff("close", 1, &()), day("2026-10-31")).await.unwrap();
    let head = house.head().await;
    let closed = |failure: Failure<FinanceError>| {
        matches!(failure, Failure::Refused(FinanceError::Books(books::Error::Closed { .. })))
    };
    assert!(closed(apply(&mut house, OTHER).await.unwrap_err()));
    let other = CorrectionId(Uuid::from_u128(501));
    assert!(closed(finance.propose(staff("propose", 2, &()), other, new(open)).await.unwrap_err()));
    let tomorrow = finance.dated(TENANT, day("2026-11-24")).await.unwrap();
    let future = finance.propose(staff("propose", 3, &()), other, new(tomorrow)).await.unwrap_err();
    assert!(matches!(future, Failure::Refused(FinanceError::Books(books::Error::NotYet { .. }))), "{future:?}");
    // A repeat is not an error, whatever was closed since.
    let again = finance.propose(staff("propose", 1, &()), ID, new(open)).await.unwrap();
    assert_eq!((again.value.status(), house.head().await), ("PROPOSED", head));
}

#[tokio::test]
async fn the_largest_correction_is_applied_at_once() {
    let mut house = House::open(1, 1).await;
    for number in 1..=10 {
        house.fund(number, 0, 100_000).await;
    }
    let entries = (0..correction::MAX_ENTRIES as u128).map(|entry| adjusts(1 + entry % 10, -1)).collect();
    propose(&mut house, entries).await.unwrap();
    assert_eq!(apply(&mut house, OTHER).await.unwrap().status(), "SETTLED");
    assert_eq!((house.money(1).await, house.money(10).await), ((99_900, 0), (99_900, 0)));
    let moved = (0..correction::MAX_ENTRIES).map(|_| moves(LedgerAccount::Suspense, canteens(), 1)).collect();
    let (finance, id) = (house.finance().await, CorrectionId(Uuid::from_u128(502)));
    finance.propose(staff("propose", 2, &()), id, correction(moved)).await.unwrap();
    finance.apply_correction(by(OTHER, "apply", 3, &()), id).await.unwrap();
    assert_eq!((house.ledger(&canteens().to_string()).await, house.trial().await), (1_000, 0));
}

#[tokio::test]
async fn an_adjustment_within_the_limit_is_done_at_once_and_above_it_waits() {
    let mut house = House::open(1, 1).await;
    house.fund(1, 0, 1_000).await;
    let finance = house.finance().await;
    let adjust = async |key: u128, minor| {
        let (account, reason) = (wallet(1), AdjustReason::Goodwill);
        let new = NewAdjustment { account, by: fen(minor), reason, reference: None };
        finance.adjust(staff("adjust", key, &new), new).await.unwrap().value
    };
    assert_eq!(adjust(1, 1).await.status(), "PROPOSED", "no limit is set, so everything needs a second person");
    let commands = house.ordering.commands().clone();
    commands.open_books(staff("books", 1, &()), "UTC".into()).await.unwrap();
    commands.set_approval_limit(staff("limit", 1, &()), fen(100)).await.unwrap();
    let before = house.head().await;
    let done = adjust(2, -100).await;
    let within = |state: &Correction| matches!(state, Correction::Settled(_, applied, _) if applied.approval == Approval::WithinLimit(fen(100)));
    assert!(within(&done), "{done:?}");
    assert_eq!(house.money(1).await, (900, 0));
    let whole = house.head().await;
    assert!(within(&adjust(2, -100).await));
    assert_eq!(house.head().await, whole);
    assert_eq!(adjust(3, 101).await.status(), "PROPOSED");
    assert_eq!(house.money(1).await, (900, 0));
    for events in before + 2..=whole {
        let mut crashed = crashed_after(&house, events).await;
        assert_eq!(crashed.settle().await, 0);
        assert_eq!(crashed.names().await, house.names().await[..whole]);
        assert_eq!(crashed.money(1).await, (900, 0));
    }
}

/// What the views have of every account that a preview names.
fn as_now(snapshot: &Snapshot<'_>, preview: &Preview) -> Preview {
    let changes: Vec<Change> = preview
        .accounts
        .iter()
        .map(|it| Change::Adjust { account: it.account, by: Money::zero(it.currency) })
        .chain(preview.ledger.iter().map(|it| Change::Move {
            from: it.account,
            to: it.account,
            amount: Money::zero(it.currency),
        }))
        .collect();
    Preview::of(snapshot, TENANT, changes).unwrap()
}

pub(super) async fn shown<T: Send + 'static>(
    house: &mut House,
    ask: impl FnOnce(&Snapshot<'_>) -> T + Send + 'static,
) -> T {
    let head = house.log.head().await.unwrap();
    let views = house.views().await;
    views.wait_for(head, Duration::from_secs(60)).await.unwrap();
    views.read(move |snapshot| Ok(ask(snapshot))).await.unwrap()
}

#[tokio::test]
async fn a_preview_is_what_applying_does() {
    let mut house = House::open(1, 1).await;
    house.fund(1, 0, 1_000).await;
    house.fund(2, 0, 1_000).await;
    pay_out(&mut house, 900).await.unwrap();
    let entries = three();
    let preview = shown(&mut house, move |snapshot| Preview::of_entries(snapshot, TENANT, &entries).unwrap()).await;
    let below: Vec<_> = preview.below_floor().map(|it| (it.account, it.available(), it.available_after())).collect();
    assert_eq!(below, [(wallet(1), 100, -200)]);
    propose(&mut house, three()).await.unwrap();
    apply(&mut house, OTHER).await.unwrap();
    let before = preview.clone();
    let after = shown(&mut house, move |snapshot| as_now(snapshot, &before)).await;
    let expected: Vec<_> =
        preview.accounts.iter().map(|it| (it.account, it.posted_after(), it.available_after())).collect();
    let found: Vec<_> = after.accounts.iter().map(|it| (it.account, it.posted_minor, it.available())).collect();
    assert_eq!((found.len(), found), (2, expected));
    let expected: Vec<_> = preview.ledger.iter().map(|it| (it.account, it.balance_after())).collect();
    let found: Vec<_> = after.ledger.iter().map(|it| (it.account, it.balance_minor)).collect();
    assert_eq!((found.len(), found), (2, expected));
}

#[test]
fn steps_are_named_by_their_thing() {
    let doing = Doing { tenant: TENANT, id: Uuid::from_u128(1), process: "payout", at: MORNING };
    assert_eq!(doing.cause("hold").metadata.command, doing.cause("hold").metadata.command);
    assert_ne!(doing.cause("hold").metadata.command, doing.cause("end").metadata.command);
    assert_eq!(Payout::NAME, "payout");
}
