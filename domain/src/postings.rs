//! What each money-moving event does to the ledger, in one place.
//!
//! Postings of one event sum to zero and touch at most one account that has a limit.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    AccountId, CanteenId, CompanyId, Fact, GrantRunId, Money, account, books, correction, diner, grant_run,
    ids::as_text,
    invoice, menu, order,
    order::{RefundFrom, Unearned},
    payment,
    payment::Provider,
    payout, policy, serving,
    tax::{self, TaxPart, TaxRate},
    top_up,
    top_up::Source,
};

/// An account of the double-entry books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LedgerAccount {
    /// The operator's money in the bank.
    Bank,
    /// What a provider owes the operator.
    Clearing(Provider),
    /// An account with a limit: `wallet:…`, `subsidy:…`, `company:…`.
    Limited(AccountId),
    /// Paid, not yet served.
    Prepaid,
    /// What the operator owes a canteen.
    Canteen(CanteenId),
    /// Tax at one rate that is owed to the state: what is sold includes it.
    Tax(TaxRate),
    /// What a company was asked for and has not paid.
    Receivable(CompanyId),
    /// Company money on its way to diners; nothing, when its run of grants is over.
    Transit(GrantRunId),
    /// Subsidies that expired.
    Breakage,
    /// Money whose owner has to be found, and the other side of corrections.
    Suspense,
}

impl fmt::Display for LedgerAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LedgerAccount::Bank => f.write_str("bank"),
            LedgerAccount::Clearing(provider) => write!(f, "clearing:{}", provider.name()),
            LedgerAccount::Limited(account) => account.fmt(f),
            LedgerAccount::Prepaid => f.write_str("prepaid"),
            LedgerAccount::Canteen(canteen) => write!(f, "canteen:{canteen}"),
            LedgerAccount::Tax(rate) => write!(f, "tax:{rate}"),
            LedgerAccount::Receivable(company) => write!(f, "receivable:{company}"),
            LedgerAccount::Transit(run) => write!(f, "transit:{run}"),
            LedgerAccount::Breakage => f.write_str("breakage"),
            LedgerAccount::Suspense => f.write_str("suspense"),
        }
    }
}

/// A text that does not name a ledger account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a ledger account; examples: bank, prepaid, wallet:ID, canteen:ID, tax:6, clearing:counter")]
pub struct NotALedgerAccount(pub String);

impl FromStr for LedgerAccount {
    type Err = NotALedgerAccount;

    fn from_str(text: &str) -> Result<Self, NotALedgerAccount> {
        let unknown = || NotALedgerAccount(text.chars().take(80).collect());
        match text.split_once(':') {
            None => match text {
                "bank" => Ok(LedgerAccount::Bank),
                "prepaid" => Ok(LedgerAccount::Prepaid),
                "breakage" => Ok(LedgerAccount::Breakage),
                "suspense" => Ok(LedgerAccount::Suspense),
                _ => Err(unknown()),
            },
            Some(("clearing", name)) => Provider::named(name).map(LedgerAccount::Clearing).ok_or_else(unknown),
            Some(("transit", id)) => id.parse().map(LedgerAccount::Transit).map_err(|_| unknown()),
            Some(("receivable", id)) => id.parse().map(LedgerAccount::Receivable).map_err(|_| unknown()),
            Some(("tax", rate)) => rate.parse().map(LedgerAccount::Tax).map_err(|_| unknown()),
            Some(("canteen", id)) => id.parse().map(LedgerAccount::Canteen).map_err(|_| unknown()),
            Some(_) => text.parse().map(LedgerAccount::Limited).map_err(|_| unknown()),
        }
    }
}

as_text! { LedgerAccount }

/// One side of a booking: a positive amount is a credit, a negative one a debit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Posting {
    pub account: LedgerAccount,
    pub amount: Money,
}

/// The two sides of a movement of `amount`.
fn moved(from: LedgerAccount, to: LedgerAccount, amount: Money) -> Vec<Posting> {
    if amount.is_zero() {
        return vec![];
    }
    vec![Posting { account: from, amount: amount.negated() }, Posting { account: to, amount }]
}

impl From<RefundFrom> for LedgerAccount {
    fn from(from: RefundFrom) -> Self {
        match from {
            RefundFrom::Prepaid => LedgerAccount::Prepaid,
            RefundFrom::Canteen(canteen) => LedgerAccount::Canteen(canteen),
        }
    }
}

impl From<Source> for LedgerAccount {
    fn from(source: Source) -> Self {
        match source {
            Source::Bank => LedgerAccount::Bank,
            Source::Counter => LedgerAccount::Clearing(Provider::Counter),
        }
    }
}

/// What `fact` does to the books; nothing, for most.
pub fn postings(fact: &Fact) -> Vec<Posting> {
    match fact {
        Fact::Account(id, event) => of_account(*id, event),
        Fact::Payment(_, event) => of_payment(event),
        Fact::Order(_, event) => of_order(event),
        Fact::Menu(_, menu::Event::Opened { .. } | menu::Event::DishPut { .. } | menu::Event::DishRetired { .. }) => {
            vec![]
        }
        Fact::Serving(
            _,
            serving::Event::Published(_)
            | serving::Event::Reserved { .. }
            | serving::Event::Released { .. }
            | serving::Event::Widened { .. }
            | serving::Event::Narrowed { .. }
            | serving::Event::PortionsSet { .. }
            | serving::Event::PriceSet { .. }
            | serving::Event::DishWithdrawn { .. }
            | serving::Event::Withdrawn { .. }
            | serving::Event::WithdrawalSettled { .. },
        ) => vec![],
        // Who is granted what; the money moves in the accounts.
        Fact::Policy(
            _,
            policy::Event::Opened { .. }
            | policy::Event::TermsSet { .. }
            | policy::Event::Ended { .. }
            | policy::Event::StandingSet { .. }
            | policy::Event::StandingEnded
            | policy::Event::StandingDelayed { .. },
        ) => vec![],
        Fact::Grant(
            _,
            grant_run::Event::Begun(_)
            | grant_run::Event::BatchBegun { .. }
            | grant_run::Event::BatchRefused { .. }
            | grant_run::Event::BatchSettled { .. }
            | grant_run::Event::Finished { .. },
        ) => vec![],
        Fact::Diner(
            _,
            diner::Event::Joined { .. }
            | diner::Event::Moved { .. }
            | diner::Event::Left { .. }
            | diner::Event::DetailsSet { .. }
            | diner::Event::Erased,
        ) => vec![],
        Fact::Books(
            _,
            books::Event::Opened { .. }
            | books::Event::PeriodClosed { .. }
            | books::Event::PeriodReopened { .. }
            | books::Event::ApprovalLimitSet { .. }
            | books::Event::DeductionOrderSet { .. },
        ) => vec![],
        Fact::Correction(_, event) => of_correction(event),
        // The money moves in the accounts.
        Fact::TopUp(_, top_up::Event::Requested(_) | top_up::Event::Credited | top_up::Event::Failed { .. }) => vec![],
        Fact::Payout(
            _,
            payout::Event::Requested(_)
            | payout::Event::Held
            | payout::Event::Refused { .. }
            | payout::Event::PaidOut { .. }
            | payout::Event::Cancelled { .. }
            | payout::Event::Settled,
        ) => vec![],
        Fact::Invoice(_, invoice::Event::Paid { company, amount, .. }) => {
            moved(LedgerAccount::Bank, LedgerAccount::Receivable(*company), *amount)
        }
        // The company's account books what is issued and voided.
        Fact::Invoice(
            _,
            invoice::Event::Issued(_)
            | invoice::Event::Settled
            | invoice::Event::Voided { .. }
            | invoice::Event::Booked,
        ) => vec![],
    }
}

fn of_account(id: AccountId, event: &account::Event) -> Vec<Posting> {
    use account::Event;
    let account = LedgerAccount::Limited(id);
    match event {
        Event::Deposited { amount, source, .. } => moved((*source).into(), account, *amount),
        Event::PaidOut { amount, .. } => moved(account, LedgerAccount::Bank, *amount),
        Event::Granted { terms, amount, .. } => moved(LedgerAccount::Transit(terms.run), account, *amount),
        Event::Allocated { run, amount, .. } => moved(account, LedgerAccount::Transit(*run), *amount),
        Event::TakenBack { run, amount } => moved(LedgerAccount::Transit(*run), account, *amount),
        Event::Lapsed { amount, .. } => moved(account, LedgerAccount::Breakage, *amount),
        Event::RefundLapsed { amount, from, .. } => moved((*from).into(), LedgerAccount::Breakage, *amount),
        Event::Captured { amount, .. } => moved(account, LedgerAccount::Prepaid, *amount),
        Event::Refunded { amount, from, .. } => moved((*from).into(), account, *amount),
        Event::RefundDiverted { amount, from, .. } => moved((*from).into(), LedgerAccount::Suspense, *amount),
        Event::Adjusted { by, .. } => moved(LedgerAccount::Suspense, account, *by),
        Event::Invoiced { amount, .. } => moved(receivable(id), account, *amount),
        Event::InvoiceVoided { amount, .. } => moved(account, receivable(id), *amount),
        Event::Opened { .. }
        | Event::Held { .. }
        | Event::Released { .. }
        | Event::PayoutHeld { .. }
        | Event::PayoutReleased { .. }
        | Event::FloorSet { .. }
        | Event::InvoicePaid { .. }
        | Event::DisclosureSet { .. }
        | Event::Frozen
        | Event::Unfrozen
        | Event::Closed => vec![],
    }
}

/// What is asked of the account's owner. Only companies are: of anybody else it waits to be explained.
fn receivable(id: AccountId) -> LedgerAccount {
    match id {
        AccountId::Company(company) => LedgerAccount::Receivable(company),
        AccountId::Wallet(_) | AccountId::Subsidy(_) => LedgerAccount::Suspense,
    }
}

/// What it adjusts is booked by the accounts themselves.
fn of_correction(event: &correction::Event) -> Vec<Posting> {
    use correction::Event;
    match event {
        Event::Moved { from, to, amount, .. } => moved(*from, *to, *amount),
        Event::Proposed { .. } | Event::Applied { .. } | Event::Rejected { .. } | Event::Settled { .. } => vec![],
    }
}

fn of_payment(event: &payment::Event) -> Vec<Posting> {
    use payment::Event;
    match event {
        Event::Paid { provider, amount, .. } => {
            moved(LedgerAccount::Clearing(*provider), LedgerAccount::Prepaid, *amount)
        }
        Event::PaidBack { provider, amount, from, .. } => {
            moved((*from).into(), LedgerAccount::Clearing(*provider), *amount)
        }
        Event::Mispaid { provider, amount, .. } => {
            moved(LedgerAccount::Clearing(*provider), LedgerAccount::Suspense, *amount)
        }
        Event::PayBackDiverted { amount, from, .. } => moved((*from).into(), LedgerAccount::Suspense, *amount),
        Event::Asked { .. }
        | Event::OutcomeUnknown { .. }
        | Event::Failed { .. }
        | Event::TradeClosed { .. }
        | Event::PayBackAsked { .. }
        | Event::PayBackUnknown { .. }
        | Event::Started { .. }
        | Event::Held
        | Event::Captured
        | Event::Released
        | Event::RefundBegun { .. }
        | Event::RefundSettled { .. }
        | Event::Extended { .. }
        | Event::ExtensionCaptured { .. }
        | Event::ExtensionGivenUp { .. } => vec![],
    }
}

fn of_order(event: &order::Event) -> Vec<Posting> {
    use order::Event;
    match event {
        Event::PickedUp { canteen, recognised, tax } | Event::NoShow { canteen, recognised, tax } => {
            earned(*canteen, *recognised, tax)
        }
        Event::RefundBegun { amount, unearned: Some(Unearned { canteen, tax }), .. } => {
            let undone = earned(*canteen, *amount, tax).into_iter();
            undone.map(|posting| Posting { amount: posting.amount.negated(), ..posting }).collect()
        }
        Event::Placed(_)
        | Event::Confirmed
        | Event::Refused(_)
        | Event::Expired
        | Event::Preparing
        | Event::Readied { .. }
        | Event::Cancelled { .. }
        | Event::RefundBegun { unearned: None, .. }
        | Event::RefundSettled { .. }
        | Event::ChangeBegun { .. }
        | Event::Changed(_)
        | Event::ChangeRefused { .. }
        | Event::ChangeSettled { .. } => vec![],
    }
}

/// What leaves `prepaid` for a meal: tax by rate, and the canteen's rest.
fn earned(canteen: CanteenId, amount: Money, tax: &[TaxPart]) -> Vec<Posting> {
    let rest = Money { minor: amount.minor - tax::total(tax), ..amount };
    let taxes = tax.iter().map(|part| Posting { account: LedgerAccount::Tax(part.rate), amount: part.amount });
    let sides = [
        Posting { account: LedgerAccount::Prepaid, amount: amount.negated() },
        Posting { account: LedgerAccount::Canteen(canteen), amount: rest },
    ];
    sides.into_iter().chain(taxes).filter(|posting| !posting.amount.is_zero()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        CompanyId, CorrectionId, Currency, InvoiceId, LotId, PayoutId,
        testing::{bill, canteen, cases, cny, diner, every_fact, hold, id, lot_terms, order, refund, six_percent},
    };

    fn booked(fact: &Fact) -> Vec<(String, i64)> {
        postings(fact).iter().map(|posting| (posting.account.to_string(), posting.amount.minor)).collect()
    }

    #[test]
    fn money_moves_where_the_words_say() {
        let wallet = format!("wallet:{}", id(1));
        let canteen = format!("canteen:{}", id(200));
        let transit = format!("transit:{}", id(70));
        let receivable = format!("receivable:{}", id(73));
        let mut moving = BTreeMap::new();
        for fact in every_fact() {
            let booked = booked(&fact);
            if !booked.is_empty() {
                let kind = match fact {
                    Fact::Account(..) => "account",
                    Fact::Payment(..) => "payment",
                    Fact::Invoice(..) => "invoice",
                    Fact::Correction(..) => "correction",
                    _ => "order",
                };
                assert_eq!(booked.iter().map(|(_, minor)| minor).sum::<i64>(), 0, "{fact:?}");
                moving.insert((kind, fact.name()), booked);
            }
        }
        let expected = [
            (("account", "Deposited"), ("bank", wallet.as_str(), 40)),
            (("account", "Granted"), (&transit, wallet.as_str(), 40)),
            (("account", "Allocated"), (&wallet, transit.as_str(), 40)),
            (("account", "TakenBack"), (&transit, wallet.as_str(), 40)),
            (("account", "Lapsed"), (&wallet, "breakage", 40)),
            (("account", "RefundLapsed"), ("prepaid", "breakage", 40)),
            (("account", "Captured"), (&wallet, "prepaid", 40)),
            (("account", "Refunded"), ("prepaid", &wallet, 40)),
            (("account", "RefundDiverted"), ("prepaid", "suspense", 40)),
            (("account", "Adjusted"), ("suspense", &wallet, -5)),
            (("account", "Invoiced"), ("suspense", &wallet, 40)),
            (("account", "InvoiceVoided"), (&wallet, "suspense", 40)),
            (("invoice", "Paid"), ("bank", &receivable, 40)),
            (("account", "PaidOut"), (&wallet, "bank", 40)),
            (("correction", "Moved"), ("suspense", &canteen, 40)),
            (("payment", "Paid"), ("clearing:counter", "prepaid", 40)),
            (("payment", "PaidBack"), (&canteen, "clearing:counter", 40)),
            (("payment", "PayBackDiverted"), ("prepaid", "suspense", 40)),
            (("payment", "Mispaid"), ("clearing:counter", "suspense", 40)),
            (("order", "PickedUp"), ("prepaid", &canteen, 1800)),
            (("order", "NoShow"), ("prepaid", &canteen, 1800)),
        ];
        let pair = |(from, to, minor): (&str, &str, i64)| vec![(from.to_owned(), -minor), (to.to_owned(), minor)];
        let mut expected: BTreeMap<_, _> = expected.map(|(name, sides)| (name, pair(sides))).into();
        // 102 of 1800 is tax at 6 %.
        let earned = [("prepaid", -1800), (canteen.as_str(), 1698), ("tax:6", 102)];
        let sides = |sign: i64| earned.map(|(account, minor)| (account.to_owned(), sign * minor)).to_vec();
        expected.insert(("order", "PickedUp"), sides(1));
        expected.insert(("order", "NoShow"), sides(1));
        expected.insert(("order", "RefundBegun"), sides(-1));
        assert_eq!(moving, expected);
    }

    #[test]
    fn a_refund_that_began_before_tax_was_known_books_nothing_itself() {
        let from = RefundFrom::Canteen(canteen());
        let (lines, reason) = (vec![], order::RefundReason::Complaint);
        let begun = order::Event::RefundBegun {
            refund: refund(1),
            lines,
            amounts: vec![],
            first: vec![],
            amount: cny(40),
            from,
            unearned: None,
            reason,
        };
        assert_eq!(booked(&Fact::Order(order(1), begun)), []);
        // Its tenders take the money from the canteen.
        let back = account::Event::Refunded { refund: refund(1), hold: hold(1), amount: cny(40), from, lot: None };
        let wallet = Fact::Account(AccountId::Wallet(diner(1)), back);
        assert_eq!(booked(&wallet), [(format!("canteen:{}", id(200)), -40), (format!("wallet:{}", id(1)), 40)]);
    }

    #[test]
    fn what_a_company_is_asked_for_is_a_receivable() {
        let of = Fact::Account(
            AccountId::Company(CompanyId(id(73))),
            account::Event::Invoiced {
                invoice: InvoiceId(id(75)),
                number: 1,
                amount: cny(40),
                through: bill().through,
                due_on: bill().due_on,
            },
        );
        assert_eq!(booked(&of), [(format!("receivable:{}", id(73)), -40), (format!("company:{}", id(73)), 40)]);
        let void = account::Event::InvoiceVoided { invoice: InvoiceId(id(75)), amount: cny(40) };
        let void = Fact::Account(AccountId::Company(CompanyId(id(73))), void);
        assert_eq!(booked(&void), [(format!("company:{}", id(73)), -40), (format!("receivable:{}", id(73)), 40)]);
    }

    #[test]
    fn a_deposit_comes_from_where_its_top_up_says() {
        let from = |source| {
            let event = account::Event::Deposited { deposit: id(1), amount: cny(40), source };
            booked(&Fact::Account(AccountId::Wallet(diner(1)), event))[0].clone()
        };
        assert_eq!(from(Source::Bank), ("bank".to_owned(), -40));
        assert_eq!(from(Source::Counter), ("clearing:counter".to_owned(), -40));
    }

    #[test]
    fn nothing_moved_is_nothing_booked() {
        let nothing = order::Event::PickedUp { canteen: canteen(), recognised: cny(0), tax: vec![] };
        assert_eq!(postings(&Fact::Order(order(1), nothing)), []);
    }

    #[test]
    fn ledger_accounts_come_back_from_their_text() {
        let limited = [AccountId::Wallet(diner(1)), AccountId::Subsidy(diner(1)), AccountId::Company(CompanyId(id(1)))];
        let unlimited = [
            LedgerAccount::Bank,
            LedgerAccount::Clearing(Provider::Counter),
            LedgerAccount::Clearing(Provider::Elsewhere),
            LedgerAccount::Clearing(Provider::WechatPay),
            LedgerAccount::Clearing(Provider::Alipay),
            LedgerAccount::Prepaid,
            LedgerAccount::Canteen(canteen()),
            LedgerAccount::Tax(six_percent()),
            LedgerAccount::Receivable(CompanyId(id(1))),
            LedgerAccount::Transit(GrantRunId(id(70))),
            LedgerAccount::Breakage,
            LedgerAccount::Suspense,
        ];
        for account in limited.map(LedgerAccount::Limited).into_iter().chain(unlimited) {
            assert_eq!(account.to_string().parse(), Ok(account));
        }
        for text in [
            "",
            "Bank",
            "clearing:",
            "clearing:bitcoin",
            "canteen:1",
            "canteen",
            "prepaid:",
            "wallet:x",
            "tax:",
            "tax",
            "tax:-1",
            "tax:101",
        ] {
            assert_eq!(text.parse::<LedgerAccount>(), Err(NotALedgerAccount(text.into())));
        }
    }

    fn money() -> impl Strategy<Value = Money> {
        let minor = prop_oneof![-Money::MAX_MINOR..=Money::MAX_MINOR, -100..100_i64, Just(0)];
        (minor, any::<bool>())
            .prop_map(|(minor, yuan)| Money::new(minor, if yuan { Currency::CNY } else { Currency::JPY }))
    }

    fn moving_facts() -> impl Strategy<Value = Fact> {
        let from = prop_oneof![Just(RefundFrom::Prepaid), Just(RefundFrom::Canteen(canteen()))];
        let provider = prop_oneof![Just(Provider::Counter), Just(Provider::Elsewhere)];
        let account = prop::sample::select(vec![
            AccountId::Wallet(diner(1)),
            AccountId::Subsidy(diner(1)),
            AccountId::Company(CompanyId(id(1))),
        ]);
        let taxed = (money(), money()).prop_map(|(one, other)| {
            let part = |amount: Money| TaxPart { rate: six_percent(), amount };
            vec![part(one), part(other)]
        });
        (0..22_u8, money(), from, provider, account, taxed).prop_map(|(which, amount, from, provider, account, tax)| {
            let tax: Vec<_> = tax
                .into_iter()
                .map(|part| TaxPart { amount: Money { minor: part.amount.minor, ..amount }, ..part })
                .collect();
            let (refund, hold, reason) = (refund(1), hold(1), account::AdjustReason::Correction);
            let of_account = |event| Fact::Account(account, event);
            let of_payment = |event| Fact::Payment(order(1).payment(), event);
            match which {
                0 => of_account(account::Event::Deposited { deposit: id(1), amount, source: Source::Bank }),
                13 => of_account(account::Event::Deposited { deposit: id(1), amount, source: Source::Counter }),
                14 => of_account(account::Event::PaidOut { payout: PayoutId(id(1)), amount }),
                15 => {
                    let (from, to) = (LedgerAccount::Suspense, from.into());
                    Fact::Correction(CorrectionId(id(1)), correction::Event::Moved { entry: 0, from, to, amount })
                }
                1 => of_account(account::Event::Captured { hold, amount }),
                2 => of_account(account::Event::Refunded { refund, hold, amount, from, lot: None }),
                8 => of_account(account::Event::Lapsed { lot: LotId(id(71)), amount }),
                9 => of_account(account::Event::RefundLapsed { refund, hold, amount, from, lot: LotId(id(71)) }),
                10 => of_account(account::Event::Allocated { run: GrantRunId(id(70)), batch: 1, amount }),
                11 => of_account(account::Event::TakenBack { run: GrantRunId(id(70)), amount }),
                12 => of_account(account::Event::Granted { lot: LotId(id(71)), terms: lot_terms(), amount }),
                3 => of_account(account::Event::RefundDiverted { refund, hold, amount, from, lot: None }),
                4 => of_account(account::Event::Adjusted { adjustment: id(1), by: amount, reason }),
                5 => of_payment(payment::Event::Paid { tender: 0, provider, amount, transaction: None }),
                6 => of_payment(payment::Event::PaidBack { refund, tender: 0, provider, amount, from }),
                7 => Fact::Order(order(1), order::Event::PickedUp { canteen: canteen(), recognised: amount, tax }),
                17 => of_account(account::Event::Invoiced {
                    invoice: InvoiceId(id(75)),
                    number: 1,
                    amount,
                    through: bill().through,
                    due_on: bill().due_on,
                }),
                18 => of_account(account::Event::InvoiceVoided { invoice: InvoiceId(id(75)), amount }),
                16 => {
                    let paid = invoice::Event::Paid { payment: id(1), company: CompanyId(id(73)), amount };
                    Fact::Invoice(InvoiceId(id(75)), paid)
                }
                19 => {
                    let unearned = Some(Unearned { canteen: canteen(), tax });
                    let (lines, reason) = (vec![], order::RefundReason::Complaint);
                    let begun = order::Event::RefundBegun {
                        refund,
                        lines,
                        amounts: vec![],
                        first: vec![],
                        amount,
                        from,
                        unearned,
                        reason,
                    };
                    Fact::Order(order(1), begun)
                }
                _ => Fact::Order(order(1), order::Event::NoShow { canteen: canteen(), recognised: amount, tax }),
            }
        })
    }

    proptest! {
        #![proptest_config(cases(256))]

        #[test]
        fn postings_balance_and_touch_at_most_one_limit(facts in prop::collection::vec(moving_facts(), 1..20)) {
            let mut trial: BTreeMap<Currency, i128> = BTreeMap::new();
            for fact in &facts {
                let booked = postings(fact);
                for posting in &booked {
                    prop_assert!(!posting.amount.is_zero());
                    *trial.entry(posting.amount.currency).or_default() += i128::from(posting.amount.minor);
                }
                let limited = booked.iter().filter(|posting| matches!(posting.account, LedgerAccount::Limited(_)));
                prop_assert!(limited.count() <= 1, "{:?}", fact);
                prop_assert!(trial.values().all(|sum| *sum == 0), "{:?}", fact);
            }
        }
    }
}
