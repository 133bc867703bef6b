use proptest::prelude::*;

use super::*;
use crate::{
    AccountId, Aggregate, Fact, given,
    payment::{Command, MAX_TENDERS, Part, Payment, Provider, Source, Tender, Why},
    postings::{LedgerAccount, postings},
    testing::{at, cases, cny, diner, id, order, refund, step, usd},
};

/// 60 from the wallet, then 40 by WeChat Pay.
fn tenders() -> Vec<Tender> {
    let of = |source, minor| Tender { source, amount: cny(minor), why: Why::Rest };
    vec![of(Source::Account(AccountId::Wallet(diner(1))), 60), of(Source::External(Provider::WechatPay), 40)]
}

fn started() -> Event {
    Event::Started { order: order(1), diner: diner(1), total: cny(100), tenders: tenders() }
}

fn asked() -> Event {
    let number = TradeNumber { payment: order(1).payment(), tender: 1 };
    Event::Asked { tender: 1, provider: Provider::WechatPay, amount: cny(40), number, expires_at: at(250) }
}

fn ask() -> Command {
    Command::Ask { tender: 1, expires_at: at(250) }
}

fn received() -> Command {
    Command::RecordReceived { tender: 1, amount: cny(40), transaction: "4200".into() }
}

fn paid() -> Event {
    Event::Paid { tender: 1, provider: Provider::WechatPay, amount: cny(40), transaction: Some("4200".into()) }
}

fn back(number: u8, minor: i64) -> Event {
    let (refund, tender, provider) = (refund(number), 1, Provider::WechatPay);
    let (amount, from, number) = (cny(minor), RefundFrom::Prepaid, PayBackNumber { refund, tender });
    Event::PayBackAsked { refund, tender, provider, amount, from, number }
}

fn given_back(number: u8, minor: i64) -> Event {
    let (provider, amount, from) = (Provider::WechatPay, cny(minor), RefundFrom::Prepaid);
    Event::PaidBack { refund: refund(number), tender: 1, provider, amount, from }
}

fn begun() -> Event {
    let parts = vec![Part { tender: 1, amount: cny(40) }, Part { tender: 0, amount: cny(10) }];
    Event::RefundBegun { refund: refund(7), amount: cny(50), from: RefundFrom::Prepaid, parts }
}

fn state(events: &[Event]) -> Payment {
    let mut payment = Payment::default();
    events.iter().for_each(|event| payment.evolve(event, Timestamp::EPOCH));
    payment
}

fn calls(events: &[Event]) -> Vec<Call> {
    state(events).sheet().unwrap().calls()
}

#[test]
fn a_provider_is_asked_once_and_the_intent_comes_first() {
    given::<Payment>([started()])
        .when(received())
        .refused(Error::NotAsked { tender: 1 })
        .when(Command::Ask { tender: 0, expires_at: at(250) })
        .refused(Error::NotExternal { tender: 0 })
        .when(ask())
        .then([asked()])
        .when(Command::Ask { tender: 1, expires_at: at(999) })
        .then([])
        // A till's word is no provider's.
        .when(Command::RecordPaid { tender: 1 })
        .refused(Error::Unpaid { tender: 1 })
        .when(Command::RecordHeld)
        .refused(Error::Unpaid { tender: 1 })
        .when(received())
        .then([paid()])
        .when(received())
        .then([])
        .when(Command::RecordHeld)
        .then([Event::Held]);
    assert_eq!(calls(&[started(), asked()]), [Call::Collect { tender: 1 }]);
    assert_eq!(calls(&[started(), asked(), paid()]), []);
}

#[test]
fn an_unknown_outcome_stays_open_under_its_number() {
    let unknown = Event::OutcomeUnknown { tender: 1 };
    given::<Payment>([started(), asked()])
        .when(Command::RecordUnknown { tender: 1 })
        .then([unknown.clone()])
        .when(Command::RecordUnknown { tender: 1 })
        .then([])
        .when(ask())
        .then([])
        .when(received())
        .then([paid()])
        .when(Command::RecordUnknown { tender: 1 })
        .then([]);
    assert_eq!(calls(&[started(), asked(), unknown]), [Call::Collect { tender: 1 }]);
}

#[test]
fn what_a_provider_refused_or_gave_up_is_over() {
    let fail = Command::RecordFailed { tender: 1, code: "NO_AUTH".into() };
    let failed = Event::Failed { tender: 1, code: "NO_AUTH".into() };
    given::<Payment>([started(), asked()]).when(fail.clone()).then([failed.clone()]).when(fail.clone()).then([]);
    given::<Payment>([started(), asked(), paid()])
        .when(fail)
        .then([])
        .when(Command::RecordClosed { tender: 1 })
        .then([]);
    let closed = Event::TradeClosed { tender: 1 };
    given::<Payment>([started(), asked()]).when(Command::RecordClosed { tender: 1 }).then([closed.clone()]);
    assert_eq!((calls(&[started(), asked(), failed]), calls(&[started(), asked(), closed])), (vec![], vec![]));
}

#[test]
fn money_for_a_dead_order_goes_back_by_itself() {
    // By the payment's own id, in whatever state the trade was thought to be.
    for heard in [vec![], vec![Event::OutcomeUnknown { tender: 1 }], vec![Event::TradeClosed { tender: 1 }]] {
        let before = [vec![started(), asked()], heard, vec![Event::Released]].concat();
        given::<Payment>(before.clone()).when(received()).then([paid(), back(1, 40)]).when(received()).then([]);
        let after = [before, vec![paid(), back(1, 40)]].concat();
        assert_eq!(calls(&after), [Call::PayBack { number: PayBackNumber { refund: refund(1), tender: 1 } }]);
        given::<Payment>(after)
            .when(Command::RecordPaidBack { refund: refund(1), tender: 1 })
            .then([given_back(1, 40)])
            .when(Command::RecordPaidBack { refund: refund(1), tender: 1 })
            .then([]);
    }
    // It was paid when the order died.
    given::<Payment>([started(), asked(), paid()]).when(Command::Release).then([Event::Released, back(1, 40)]);
    assert_eq!(calls(&[started(), asked(), Event::Released]), [Call::GiveUp { tender: 1 }]);
}

#[test]
fn a_refund_waits_for_what_its_provider_gives_back() {
    let (refund, tender) = (refund(7), 1);
    let captured = [started(), asked(), paid(), Event::Held, Event::Captured, begun()];
    given::<Payment>(captured.clone())
        .when(Command::RecordPaidBack { refund, tender })
        .refused(Error::UnknownRefund)
        .when(Command::RecordPayBackUnknown { refund, tender })
        .refused(Error::UnknownRefund)
        .when(Command::AskPayBack { refund, tender: 0 })
        .refused(Error::NotExternal { tender: 0 })
        .when(Command::AskPayBack { refund, tender })
        .then([back(7, 40)])
        .when(Command::AskPayBack { refund, tender })
        .then([])
        .when(Command::SettleRefund { refund })
        .refused(Error::NotPaidBack { tender })
        .when(Command::RecordPayBackUnknown { refund, tender })
        .then([Event::PayBackUnknown { refund, tender }])
        .when(Command::RecordPayBackUnknown { refund, tender })
        .then([])
        .when(Command::RecordPaidBack { refund, tender })
        .then([given_back(7, 40)])
        .when(Command::DivertPayBack { refund, tender })
        .then([])
        .when(Command::SettleRefund { refund })
        .then([Event::RefundSettled { refund }]);
    let (provider, amount, from) = (Provider::WechatPay, cny(40), RefundFrom::Prepaid);
    let diverted = Event::PayBackDiverted { refund, tender, provider, amount, from };
    given::<Payment>(captured.into_iter().chain([back(7, 40)]))
        .when(Command::DivertPayBack { refund, tender })
        .then([diverted])
        .when(Command::RecordPaidBack { refund, tender })
        .then([])
        .when(Command::SettleRefund { refund })
        .then([Event::RefundSettled { refund }]);
}

#[test]
fn what_no_provider_would_say_is_refused() {
    let received =
        |amount, transaction: &str| Command::RecordReceived { tender: 1, amount, transaction: transaction.into() };
    let none = |paid| Error::NoMoney { paid };
    given::<Payment>([started(), asked()])
        .when(received(cny(0), "1"))
        .refused(none(cny(0)))
        .when(received(usd(-40), "1"))
        .refused(none(usd(-40)))
        .when(received(cny(40), ""))
        .refused(Error::BadProviderText)
        .when(received(cny(40), &"1".repeat(MAX_PROVIDER_TEXT + 1)))
        .refused(Error::BadProviderText)
        .when(Command::RecordFailed { tender: 1, code: "no\\nline".replace("\\n", "\n") })
        .refused(Error::BadProviderText)
        .when(Command::RecordClosed { tender: 0 })
        .refused(Error::NotExternal { tender: 0 })
        .when(Command::RecordClosed { tender: 9 })
        .refused(Error::NotExternal { tender: 9 });
}

#[test]
fn another_amount_than_was_asked_waits_for_finance() {
    for amount in [cny(39), cny(41), usd(40)] {
        let other = Command::RecordReceived { tender: 1, amount, transaction: "4200".into() };
        let provider = Provider::WechatPay;
        let mispaid = Event::Mispaid { tender: 1, provider, amount, transaction: "4200".into() };
        for dead in [vec![], vec![Event::Released]] {
            let before = [vec![started(), asked()], dead].concat();
            given::<Payment>(before.clone())
                .when(other.clone())
                .then([mispaid.clone()])
                .when(other.clone())
                .then([])
                .when(received())
                .then([]);
            assert_eq!(calls(&[before, vec![mispaid.clone()]].concat()), [], "there is nothing to ask any more");
        }
    }
}

#[test]
fn numbers_fit_what_providers_take() {
    let number = TradeNumber { payment: PaymentId(Uuid::from_u128(u128::MAX)), tender: 7 };
    // Providers know trades by these: they stay as they are.
    assert_eq!(number.to_string(), "f5lxx1zz5pnorynqglhzmsp337");
    assert_eq!(TradeNumber { payment: PaymentId(id(1)), tender: 0 }.to_string(), format!("{}10", "0".repeat(24)));
}

#[test]
fn other_texts_are_refused() {
    let ours = TradeNumber { payment: PaymentId(id(1)), tender: 0 }.to_string();
    let strange = ["".into(), ours[1..].to_owned(), format!("{ours}0"), ours.replace('1', "A"), ours.replace('1', "+")];
    // The last is more than a UUID holds.
    for text in strange.into_iter().chain(["z".repeat(26)]) {
        assert_eq!(text.parse::<TradeNumber>(), Err(NotOurNumber(text.clone())), "{text}");
        assert!(text.parse::<PayBackNumber>().is_err());
    }
}

/// What may reach a payment, in any order and any number of times.
fn commands() -> impl Strategy<Value = Command> {
    let refund = (1..4_u8).prop_map(refund);
    let (begin, settle) = (refund.clone(), refund.clone());
    let (asks, known, unknown, divert) = (refund.clone(), refund.clone(), refund.clone(), refund);
    prop_oneof![
        Just(ask()),
        Just(received()),
        Just(Command::RecordUnknown { tender: 1 }),
        Just(Command::RecordFailed { tender: 1, code: "NO_AUTH".into() }),
        Just(Command::RecordClosed { tender: 1 }),
        Just(Command::RecordHeld),
        Just(Command::RecordCaptured),
        Just(Command::Release),
        (begin, 1..80_i64).prop_map(|(refund, minor)| Command::BeginRefund {
            refund,
            amount: cny(minor),
            from: RefundFrom::Prepaid,
            first: vec![]
        }),
        asks.prop_map(|refund| Command::AskPayBack { refund, tender: 1 }),
        known.prop_map(|refund| Command::RecordPaidBack { refund, tender: 1 }),
        unknown.prop_map(|refund| Command::RecordPayBackUnknown { refund, tender: 1 }),
        divert.prop_map(|refund| Command::DivertPayBack { refund, tender: 1 }),
        settle.prop_map(|refund| Command::SettleRefund { refund }),
    ]
}

proptest! {
    #![proptest_config(cases(2_000))]

    /// Whatever arrives in whatever order: the provider's money comes once, never more goes back than came,
    /// a dead order keeps none of it, and the books agree.
    #[test]
    fn reordered_and_repeated_answers_do_no_harm(commands in prop::collection::vec(commands(), 1..40)) {
        let mut payment = state(&[started()]);
        let (mut came, mut went, mut clearing) = (0, 0, 0);
        for command in commands {
            let (_, events) = step(&mut payment, command);
            for event in &events {
                match event {
                    Event::Paid { amount, .. } => came += amount.minor,
                    Event::PaidBack { amount, .. } | Event::PayBackDiverted { amount, .. } => went += amount.minor,
                    _ => {}
                }
                let fact = Fact::Payment(order(1).payment(), event.clone());
                for side in postings(&fact).iter().filter(|side| side.account == LedgerAccount::Clearing(Provider::WechatPay)) {
                    clearing -= side.amount.minor;
                }
            }
            prop_assert!(came == 0 || came == 40, "it came {came}");
            prop_assert!(went <= came, "{went} of {came} went back");
            let sheet = payment.sheet().unwrap();
            let diverted: i64 = sheet.pay_backs.iter().filter(|back| back.state == PayBackState::Diverted).map(|back| back.amount.minor).sum();
            prop_assert_eq!(clearing, came - went + diverted);
            let asked: i64 = sheet.pay_backs.iter().map(|back| back.amount.minor).sum();
            prop_assert!(asked <= came);
            if sheet.stage == Stage::Released {
                prop_assert_eq!(asked, came, "what came for a dead order goes back");
            }
        }
    }

    #[test]
    fn a_number_names_what_it_is_for(id: u128, tender in 0..MAX_TENDERS as u8) {
        let trade = TradeNumber { payment: PaymentId(Uuid::from_u128(id)), tender };
        prop_assert_eq!(trade.to_string().parse(), Ok(trade));
        let back = PayBackNumber { refund: RefundId(Uuid::from_u128(id)), tender };
        prop_assert_eq!(back.to_string().parse(), Ok(back));
    }
}
