//! What the tests of the aggregates share: small ids, amounts, and one step of a state machine.

use std::fmt::Debug;

use proptest::test_runner::Config;
use uuid::Uuid;

use crate::{
    AccountId, ActorId, Aggregate, CanteenId, ChangeId, CompanyId, CorrectionId, Currency, DinerId, DishId, Event,
    Fact, GrantRunId, GroupId, HoldId, InvoiceId, LotId, Money, OrderId, PaymentId, PayoutId, PolicyId, RefundId,
    ServingId, TenantId, Timestamp, TopUpId, account, books, correction,
    details::Details,
    diner, grant_run, invoice, lot, menu,
    order::{self, Channel, Line, Placement, Selection, Terms},
    payment, payout,
    personal::{Person, PersonKey, Personal},
    policy,
    postings::LedgerAccount,
    serving,
    tax::{TaxPart, TaxRate},
    top_up,
    trade::{PayBackNumber, TradeNumber},
};

pub(crate) fn id(number: u8) -> Uuid {
    Uuid::from_u128(number.into())
}

pub(crate) fn dish(number: u8) -> DishId {
    DishId(id(number))
}

pub(crate) fn diner(number: u8) -> DinerId {
    DinerId(id(number))
}

pub(crate) const fn actor(number: u8) -> ActorId {
    ActorId(Uuid::from_u128(number as u128))
}

pub(crate) fn order(number: u8) -> OrderId {
    OrderId(id(number))
}

pub(crate) fn refund(number: u8) -> RefundId {
    RefundId(id(number))
}

pub(crate) fn hold(number: u8) -> HoldId {
    HoldId { payment: PaymentId(id(number)), tender: 0 }
}

pub(crate) fn canteen() -> CanteenId {
    CanteenId(id(200))
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

pub(crate) fn cny(minor: i64) -> Money {
    Money::new(minor, Currency::CNY)
}

pub(crate) fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD)
}

pub(crate) fn line(number: u8, quantity: u32, unit_price: i64) -> Line {
    Line {
        dish: dish(number),
        name: format!("Dish {number}"),
        quantity,
        unit_price: cny(unit_price),
        options: vec![],
        tax: TaxRate::ZERO,
    }
}

/// Catering in China.
pub(crate) fn six_percent() -> TaxRate {
    TaxRate::from_percent(6.into()).unwrap()
}

pub(crate) fn chosen(group: &str, choice: &str) -> Selection {
    Selection { group: group.into(), choice: choice.into() }
}

/// An order that locks at second 300 and is to be paid by second 250.
pub(crate) fn placement(lines: Vec<Line>) -> Box<Placement> {
    let total = Money::sum(Currency::CNY, lines.iter().map(|line| line.total().unwrap())).unwrap();
    Box::new(Placement {
        diner: diner(1),
        canteen: canteen(),
        serving: ServingId(id(201)),
        lines,
        total,
        channel: Channel::Online,
        terms: Terms::Balances,
        lock_at: at(300),
        pay_by: at(250),
        no_show_percent: 100,
    })
}

/// For lunch on 23 November 2026, from second 100 to second 1,000.
pub(crate) fn lot_terms() -> lot::Terms {
    let date = jiff::civil::date(2026, 11, 23);
    let (starts_at, expires_at) = (at(100), at(1_000));
    let serves = lot::Serves { first: date, last: date, meal: Some(serving::Meal::Lunch) };
    let (policy, run) = (PolicyId(id(72)), GrantRunId(id(70)));
    lot::Terms { policy, version: 1, run, starts_at, expires_at, serves }
}

/// So many cases, and no files left behind.
pub(crate) fn cases(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// The name of an enum's variant.
pub(crate) fn kind(of: &impl Debug) -> String {
    let text = format!("{of:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// Decides one command, folds what follows, and names the outcome: `done`, `repeat` or the error.
///
/// What holds for every aggregate is checked on the way: events survive the log and have a schema,
/// the state survives a snapshot, and the same command again gives no events.
#[track_caller]
pub(crate) fn step<A: Aggregate>(state: &mut A, command: A::Command) -> (String, Vec<A::Event>) {
    step_at(Timestamp::EPOCH, state, command)
}

/// As [`step`], at a time of its own.
#[track_caller]
pub(crate) fn step_at<A: Aggregate>(now: Timestamp, state: &mut A, command: A::Command) -> (String, Vec<A::Event>) {
    let events = match state.decide(command.clone()) {
        Ok(events) => events,
        Err(error) => return (kind(&error), vec![]),
    };
    for event in &events {
        assert_eq!(A::Event::SCHEMAS.iter().filter(|(name, _)| *name == event.name()).count(), 1, "{event:?}");
        let json = serde_json::to_vec(event).unwrap();
        assert_eq!(serde_json::from_slice::<A::Event>(&json).unwrap(), *event);
        state.evolve(event, now);
    }
    let snapshot = serde_json::to_vec(state).unwrap();
    assert_eq!(serde_json::from_slice::<A>(&snapshot).unwrap(), *state);
    assert_eq!(state.decide(command), Ok(vec![]), "the same again, after {events:?}");
    (if events.is_empty() { "repeat".into() } else { "done".into() }, events)
}

/// One of every event that there is.
pub(crate) fn every_fact() -> Vec<Fact> {
    let menus = menu_events().into_iter().map(|event| Fact::Menu(canteen(), event));
    let servings = serving_events().into_iter().map(|event| Fact::Serving(ServingId(id(201)), event));
    let orders = order_events().into_iter().map(|event| Fact::Order(order(1), event));
    let payments = payment_events().into_iter().map(|event| Fact::Payment(order(1).payment(), event));
    let accounts = account_events().into_iter().map(|event| Fact::Account(AccountId::Wallet(diner(1)), event));
    let policies = policy_events().into_iter().map(|event| Fact::Policy(PolicyId(id(72)), event));
    let grants = grant_events().into_iter().map(|event| Fact::Grant(GrantRunId(id(70)), event));
    let diners = diner_events().into_iter().map(|event| Fact::Diner(diner(1), event));
    let of_orders = menus.chain(servings).chain(orders).chain(payments);
    let books = books_events().into_iter().map(|event| Fact::Books(TenantId(id(202)), event));
    let invoices = invoice_events().into_iter().map(|event| Fact::Invoice(InvoiceId(id(75)), event));
    let corrections = correction_events().into_iter().map(|event| Fact::Correction(CorrectionId(id(75)), event));
    let top_ups = top_up_events().into_iter().map(|event| Fact::TopUp(TopUpId(id(76)), event));
    let payouts = payout_events().into_iter().map(|event| Fact::Payout(PayoutId(id(77)), event));
    let of_finance = invoices.chain(corrections).chain(top_ups).chain(payouts);
    of_orders.chain(accounts).chain(policies).chain(grants).chain(diners).chain(books).chain(of_finance).collect()
}

/// A dish with every kind of thing that a dish can have.
pub(crate) fn noodles() -> menu::Dish {
    let choices = vec![
        menu::Choice { name: "small".into(), price: cny(0) },
        menu::Choice { name: "large".into(), price: cny(300) },
    ];
    let options = vec![menu::OptionGroup { name: "Size".into(), min: 1, max: 1, choices }];
    menu::Dish { name: "Noodles".into(), category: "Mains".into(), price: cny(1500), options, tax: six_percent() }
}

fn menu_events() -> Vec<menu::Event> {
    use menu::Event;
    vec![
        Event::Opened { name: "Harbour".into(), zone: "Asia/Shanghai".into(), currency: Currency::CNY },
        Event::DishPut { dish: dish(1), spec: noodles() },
        Event::DishRetired { dish: dish(1) },
    ]
}

fn serving_events() -> Vec<serving::Event> {
    use serving::{Event, Meal, Offer, Plan, Portions};
    let plan = Plan {
        canteen: canteen(),
        date: jiff::civil::date(2026, 11, 23),
        meal: Meal::Lunch,
        currency: Currency::CNY,
        opens_at: at(100),
        cut_off: at(200),
        lock_at: at(300),
        diner_limit: 5,
        no_show_percent: 100,
        offers: vec![Offer { dish: dish(1), spec: noodles(), portions: 3 }],
    };
    let portions = vec![Portions { dish: dish(1), quantity: 1 }];
    vec![
        Event::Published(plan),
        Event::Reserved { order: order(1), diner: diner(1), portions: portions.clone() },
        Event::Released { order: order(1), portions: portions.clone() },
        Event::Widened { order: order(1), change: ChangeId(id(80)), portions: portions.clone() },
        Event::Narrowed { order: order(1), change: ChangeId(id(80)), portions },
        Event::PortionsSet { dish: dish(1), portions: 4 },
        Event::PriceSet { dish: dish(1), price: cny(900) },
        Event::DishWithdrawn { dish: dish(1), orders: vec![order(1)] },
        Event::Withdrawn { orders: vec![order(1)] },
        Event::WithdrawalSettled { dish: None },
    ]
}

fn order_events() -> Vec<order::Event> {
    use order::{Event, LineCount, RefundFrom, RefundReason, Refusal};
    let large = Line { options: vec![chosen("Size", "large")], tax: six_percent(), ..line(1, 2, 1800) };
    let tax = vec![TaxPart { rate: six_percent(), amount: cny(102) }];
    let (lines, from, reason) =
        (vec![LineCount { line: 0, quantity: 1 }], RefundFrom::Prepaid, RefundReason::Complaint);
    let unearned = Some(order::Unearned { canteen: canteen(), tax: tax.clone() });
    let change = order::Change { change: ChangeId(id(80)), lines: vec![large.clone()], total: cny(3_600) };
    vec![
        Event::Placed(placement(vec![large])),
        Event::Confirmed,
        Event::Refused(Refusal::InsufficientFunds { short: cny(5) }),
        Event::Expired,
        Event::Preparing,
        Event::Readied { code: "A7".into() },
        Event::PickedUp { canteen: canteen(), recognised: cny(1800), tax: tax.clone() },
        Event::NoShow { canteen: canteen(), recognised: cny(1800), tax: tax.clone() },
        Event::Cancelled { reason },
        Event::RefundBegun {
            refund: refund(1),
            lines,
            amounts: vec![order::LineAmount { line: 0, amount: cny(1800) }],
            first: vec![0],
            amount: cny(1800),
            from,
            unearned,
            reason,
        },
        Event::RefundSettled { refund: refund(1) },
        Event::ChangeBegun { serving: ServingId(id(201)), change: change.clone() },
        Event::Changed(change),
        Event::ChangeRefused { change: ChangeId(id(80)), refusal: Refusal::TooLate },
        Event::ChangeSettled { change: ChangeId(id(80)) },
    ]
}

fn payment_events() -> Vec<payment::Event> {
    use payment::{Event, Part, Provider, Source, Tender, Why};
    let (provider, amount, from) = (Provider::Counter, cny(40), order::RefundFrom::Canteen(canteen()));
    let tenders = vec![Tender { source: Source::External(provider), amount, why: Why::Rest }];
    let number = TradeNumber { payment: order(1).payment(), tender: 0 };
    let back = PayBackNumber { refund: refund(1), tender: 0 };
    vec![
        Event::Started { order: order(1), diner: diner(1), total: amount, tenders: tenders.clone() },
        Event::Held,
        Event::Asked { tender: 0, provider, amount, number, expires_at: at(250) },
        Event::OutcomeUnknown { tender: 0 },
        Event::Failed { tender: 0, code: "NO_AUTH".into() },
        Event::TradeClosed { tender: 0 },
        Event::Paid { tender: 0, provider, amount, transaction: Some("4200".into()) },
        Event::Mispaid { tender: 0, provider, amount, transaction: "4200".into() },
        Event::Captured,
        Event::Released,
        Event::RefundBegun { refund: refund(1), amount, from, parts: vec![Part { tender: 0, amount }] },
        Event::PayBackAsked { refund: refund(1), tender: 0, provider, amount, from, number: back },
        Event::PayBackUnknown { refund: refund(1), tender: 0 },
        Event::PaidBack { refund: refund(1), tender: 0, provider, amount, from },
        Event::PayBackDiverted { refund: refund(1), tender: 0, provider, amount, from: order::RefundFrom::Prepaid },
        Event::RefundSettled { refund: refund(1) },
        Event::Extended { extension: ChangeId(id(80)), amount, first: 1, tenders },
        Event::ExtensionCaptured { extension: ChangeId(id(80)), amount },
        Event::ExtensionGivenUp { extension: ChangeId(id(80)) },
    ]
}

fn account_events() -> Vec<account::Event> {
    use account::{AdjustReason, Event};
    let (refund, hold, amount, from) = (refund(1), hold(1), cny(40), order::RefundFrom::Prepaid);
    let (lot, invoice) = (LotId(id(71)), InvoiceId(id(75)));
    vec![
        Event::Opened { currency: Currency::CNY },
        Event::Deposited { deposit: id(1), amount, source: top_up::Source::Bank },
        Event::Granted { lot, terms: lot_terms(), amount },
        Event::Held { hold, amount, lot: Some(lot) },
        Event::Captured { hold, amount },
        Event::Released { hold },
        Event::Refunded { refund, hold, amount, from, lot: None },
        Event::RefundLapsed { refund, hold, amount, from, lot },
        Event::Lapsed { lot, amount },
        Event::Allocated { run: GrantRunId(id(70)), batch: 1, amount },
        Event::TakenBack { run: GrantRunId(id(70)), amount },
        Event::RefundDiverted { refund, hold, amount, from, lot: Some(lot) },
        Event::Adjusted { adjustment: id(2), by: cny(-5), reason: AdjustReason::Goodwill },
        Event::PayoutHeld { payout: PayoutId(id(77)), amount },
        Event::PaidOut { payout: PayoutId(id(77)), amount },
        Event::PayoutReleased { payout: PayoutId(id(77)), amount },
        Event::FloorSet { floor: cny(-50) },
        Event::Invoiced { invoice, number: 1, amount, through: bill().through, due_on: bill().due_on },
        Event::InvoicePaid { invoice, payment: id(76), amount },
        Event::InvoiceVoided { invoice, amount },
        Event::DisclosureSet { disclosure: account::Disclosure::Dishes },
        Event::Frozen,
        Event::Unfrozen,
        Event::Closed,
    ]
}

fn policy_events() -> Vec<policy::Event> {
    use crate::standing::Delay;
    use policy::{Calendar, Clearing, Event, Per, Terms};
    let from = jiff::civil::date(2026, 11, 23);
    let terms = Terms {
        amount: cny(2_000),
        per: Per::Day,
        clearing: Clearing::Rollover { months: 1 },
        calendar: Calendar { weekdays: (1..=5).collect(), holidays: [from].into(), extra: [].into() },
        meals: [serving::Meal::Lunch].into(),
        canteens: [canteen()].into(),
        order_limit: Some(cny(1_500)),
        share_percent: Some(80),
        cleared_on_leaving: false,
    };
    vec![
        Event::Opened {
            company: CompanyId(id(73)),
            group: Some(GroupId(id(74))),
            currency: Currency::CNY,
            zone: "Asia/Shanghai".into(),
        },
        Event::TermsSet { version: 1, from, terms: Box::new(terms) },
        Event::Ended { from },
        Event::StandingSet { ahead_days: 7 },
        Event::StandingDelayed { first: from, why: Delay::Funds { needed: cny(2_000), short: cny(1) } },
        Event::StandingDelayed { first: from, why: Delay::Company },
        Event::StandingEnded,
    ]
}

fn grant_events() -> Vec<grant_run::Event> {
    use grant_run::{Event, Plan};
    let date = jiff::civil::date(2026, 11, 23);
    let (of, company) = (PolicyId(id(72)), CompanyId(id(73)));
    vec![
        Event::Begun(Plan {
            policy: of,
            company,
            currency: Currency::CNY,
            range: policy::Range { first: date, last: date, versions: 1 },
        }),
        Event::BatchBegun { batch: 1, diners: vec![diner(1)], amount: cny(40) },
        Event::BatchRefused { batch: 1, short: cny(5) },
        Event::BatchSettled { batch: 1, granted: cny(40), skipped: 1 },
        Event::Finished { granted: cny(40), returned: cny(0) },
    ]
}

fn diner_events() -> Vec<diner::Event> {
    use diner::Event;
    let (company, from) = (CompanyId(id(73)), jiff::civil::date(2026, 11, 23));
    let (person, key) = (Person { tenant: TenantId(id(202)), diner: diner(1) }, PersonKey::new(&[7; 32]));
    let details = Personal::seal(&Details::new("Ada", None, None).unwrap(), person, &key).unwrap();
    vec![
        Event::Joined { company, group: Some(GroupId(id(74))), from },
        Event::Moved { company, group: None, from },
        Event::Left { on: from },
        Event::DetailsSet { details },
        Event::Erased,
    ]
}

/// Of 0.40, to be paid within a month.
pub(crate) fn bill() -> invoice::Bill {
    let (through, due_on) = (jiff::civil::date(2026, 11, 30), jiff::civil::date(2026, 12, 30));
    invoice::Bill { company: CompanyId(id(73)), number: 1, amount: cny(40), through, due_on }
}

fn invoice_events() -> Vec<invoice::Event> {
    use invoice::{Event, VoidReason};
    vec![
        Event::Issued(bill()),
        Event::Paid { payment: id(76), company: CompanyId(id(73)), amount: cny(40) },
        Event::Settled,
        Event::Voided { reason: VoidReason::Replaced },
        Event::Booked,
    ]
}

fn books_events() -> Vec<books::Event> {
    use books::Event;
    let (from, through) = (Some(jiff::civil::date(2026, 10, 1)), jiff::civil::date(2026, 10, 31));
    vec![
        Event::Opened { zone: "Asia/Shanghai".into() },
        Event::PeriodClosed { from, through },
        Event::PeriodReopened { closed_through: None, reason: books::ReopenReason::Audit },
        Event::ApprovalLimitSet { limit: cny(5_000) },
        Event::DeductionOrderSet { order: books::DeductionOrder::WalletFirst },
    ]
}

fn correction_events() -> Vec<correction::Event> {
    use correction::{Approval, Change, Entry, Event, Proposal};
    let (from, to, amount) = (LedgerAccount::Suspense, LedgerAccount::Canteen(canteen()), cny(40));
    let reason = account::AdjustReason::Reconciliation;
    let adjusts = Change::Adjust { account: AccountId::Wallet(diner(1)), by: cny(-40) };
    let entries = vec![
        Entry { change: adjusts, reason, reference: "FIN-1042".parse().ok() },
        Entry { change: Change::Move { from, to, amount }, reason, reference: None },
    ];
    vec![
        Event::Proposed {
            by: actor(1),
            proposal: Proposal { entries, dated: Some(at(100)) },
            file: Some("9c".repeat(32)),
        },
        Event::Applied { approval: Approval::SecondPerson(actor(2)) },
        Event::Moved { entry: 1, from, to, amount },
        Event::Rejected { by: actor(2) },
        Event::Settled { refused: vec![0] },
    ]
}

fn top_up_events() -> Vec<top_up::Event> {
    use top_up::{Event, Reason, Slip, Source};
    let account = AccountId::Wallet(diner(1));
    vec![
        Event::Requested(Slip { account, amount: cny(40), source: Source::Counter, by: actor(1) }),
        Event::Credited,
        Event::Failed { reason: Reason::Closed },
    ]
}

fn payout_events() -> Vec<payout::Event> {
    use payout::{Event, Reason, Slip};
    vec![
        Event::Requested(Slip { account: AccountId::Wallet(diner(1)), amount: cny(40), by: actor(1) }),
        Event::Held,
        Event::Refused { reason: Reason::Insufficient },
        Event::PaidOut { by: actor(2) },
        Event::Cancelled { by: actor(2) },
        Event::Settled,
    ]
}
