//! What each money-moving event does to the ledger, in one place.
//!
//! Postings of one event sum to zero and touch at most one account that has a limit.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    AccountId, CanteenId, Fact, GrantRunId, Money, account, books, diner, grant_run, ids::as_text, menu, order,
    order::RefundFrom, payment, payment::Provider, policy, serving,
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
            LedgerAccount::Transit(run) => write!(f, "transit:{run}"),
            LedgerAccount::Breakage => f.write_str("breakage"),
            LedgerAccount::Suspense => f.write_str("suspense"),
        }
    }
}

/// A text that does not name a ledger account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a ledger account; examples: bank, prepaid, wallet:ID, canteen:ID, clearing:counter")]
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
            Some(("clearing", "counter")) => Ok(LedgerAccount::Clearing(Provider::Counter)),
            Some(("clearing", "elsewhere")) => Ok(LedgerAccount::Clearing(Provider::Elsewhere)),
            Some(("transit", id)) => id.parse().map(LedgerAccount::Transit).map_err(|_| unknown()),
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

/// What `fact` does to the books; nothing, for most.
pub fn postings(fact: &Fact) -> Vec<Posting> {
    match fact {
        Fact::Account(id, event) => of_account(LedgerAccount::Limited(*id), event),
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
            | serving::Event::PortionsSet { .. }
            | serving::Event::PriceSet { .. }
            | serving::Event::DishWithdrawn { .. }
            | serving::Event::Withdrawn { .. }
            | serving::Event::WithdrawalSettled { .. },
        ) => vec![],
        // Who is granted what; the money moves in the accounts.
        Fact::Policy(
            _,
            policy::Event::Opened { .. } | policy::Event::TermsSet { .. } | policy::Event::Ended { .. },
        ) => vec![],
        Fact::Grant(
            _,
            grant_run::Event::Begun(_)
            | grant_run::Event::BatchBegun { .. }
            | grant_run::Event::BatchRefused { .. }
            | grant_run::Event::BatchSettled { .. }
            | grant_run::Event::Finished { .. },
        ) => vec![],
        Fact::Diner(_, diner::Event::Joined { .. } | diner::Event::Moved { .. } | diner::Event::Left { .. }) => vec![],
        Fact::Books(
            _,
            books::Event::Opened { .. } | books::Event::PeriodClosed { .. } | books::Event::PeriodReopened { .. },
        ) => vec![],
    }
}

fn of_account(account: LedgerAccount, event: &account::Event) -> Vec<Posting> {
    use account::Event;
    match event {
        Event::Deposited { amount, .. } => moved(LedgerAccount::Bank, account, *amount),
        Event::Granted { terms, amount, .. } => moved(LedgerAccount::Transit(terms.run), account, *amount),
        Event::Allocated { run, amount, .. } => moved(account, LedgerAccount::Transit(*run), *amount),
        Event::TakenBack { run, amount } => moved(LedgerAccount::Transit(*run), account, *amount),
        Event::Lapsed { amount, .. } => moved(account, LedgerAccount::Breakage, *amount),
        Event::RefundLapsed { amount, from, .. } => moved((*from).into(), LedgerAccount::Breakage, *amount),
        Event::Captured { amount, .. } => moved(account, LedgerAccount::Prepaid, *amount),
        Event::Refunded { amount, from, .. } => moved((*from).into(), account, *amount),
        Event::RefundDiverted { amount, from, .. } => moved((*from).into(), LedgerAccount::Suspense, *amount),
        Event::Adjusted { by, .. } => moved(LedgerAccount::Suspense, account, *by),
        Event::Opened { .. }
        | Event::Held { .. }
        | Event::Released { .. }
        | Event::FloorSet { .. }
        | Event::Frozen
        | Event::Unfrozen
        | Event::Closed => vec![],
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
        Event::Started { .. }
        | Event::Held
        | Event::Captured
        | Event::Released
        | Event::RefundBegun { .. }
        | Event::RefundSettled { .. } => vec![],
    }
}

fn of_order(event: &order::Event) -> Vec<Posting> {
    use order::Event;
    match event {
        Event::PickedUp { canteen, recognised } | Event::NoShow { canteen, recognised } => {
            moved(LedgerAccount::Prepaid, LedgerAccount::Canteen(*canteen), *recognised)
        }
        Event::Placed(_)
        | Event::Confirmed
        | Event::Refused(_)
        | Event::Expired
        | Event::Preparing
        | Event::Readied { .. }
        | Event::Cancelled { .. }
        | Event::RefundBegun { .. }
        | Event::RefundSettled { .. } => vec![],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        CompanyId, Currency, LotId,
        testing::{canteen, cases, cny, diner, every_fact, hold, id, lot_terms, order, refund},
    };

    fn booked(fact: &Fact) -> Vec<(String, i64)> {
        postings(fact).iter().map(|posting| (posting.account.to_string(), posting.amount.minor)).collect()
    }

    #[test]
    fn money_moves_where_the_words_say() {
        let wallet = format!("wallet:{}", id(1));
        let canteen = format!("canteen:{}", id(200));
        let transit = format!("transit:{}", id(70));
        let mut moving = BTreeMap::new();
        for fact in every_fact() {
            let booked = booked(&fact);
            if !booked.is_empty() {
                let [(from, minus), (to, plus)] = <[_; 2]>::try_from(booked).unwrap();
                assert_eq!(minus, -plus);
                let kind = match fact {
                    Fact::Account(..) => "account",
                    Fact::Payment(..) => "payment",
                    _ => "order",
                };
                moving.insert((kind, fact.name()), (from, to, plus));
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
            (("payment", "Paid"), ("clearing:counter", "prepaid", 40)),
            (("payment", "PaidBack"), (&canteen, "clearing:counter", 40)),
            (("order", "PickedUp"), ("prepaid", &canteen, 1800)),
            (("order", "NoShow"), ("prepaid", &canteen, 1800)),
        ];
        let expected =
            expected.map(|(name, (from, to, minor))| (name, (from.to_owned(), to.to_owned(), minor))).into_iter();
        assert_eq!(moving, expected.collect());
    }

    #[test]
    fn nothing_moved_is_nothing_booked() {
        let nothing = order::Event::PickedUp { canteen: canteen(), recognised: cny(0) };
        assert_eq!(postings(&Fact::Order(order(1), nothing)), []);
    }

    #[test]
    fn ledger_accounts_come_back_from_their_text() {
        let limited = [AccountId::Wallet(diner(1)), AccountId::Subsidy(diner(1)), AccountId::Company(CompanyId(id(1)))];
        let unlimited = [
            LedgerAccount::Bank,
            LedgerAccount::Clearing(Provider::Counter),
            LedgerAccount::Clearing(Provider::Elsewhere),
            LedgerAccount::Prepaid,
            LedgerAccount::Canteen(canteen()),
            LedgerAccount::Transit(GrantRunId(id(70))),
            LedgerAccount::Breakage,
            LedgerAccount::Suspense,
        ];
        for account in limited.map(LedgerAccount::Limited).into_iter().chain(unlimited) {
            assert_eq!(account.to_string().parse(), Ok(account));
        }
        for text in ["", "Bank", "clearing:", "clearing:bitcoin", "canteen:1", "canteen", "prepaid:", "wallet:x"] {
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
        (0..14_u8, money(), from, provider, account).prop_map(|(which, amount, from, provider, account)| {
            let (refund, hold, reason) = (refund(1), hold(1), account::AdjustReason::Correction);
            let of_account = |event| Fact::Account(account, event);
            let of_payment = |event| Fact::Payment(order(1).payment(), event);
            match which {
                0 => of_account(account::Event::Deposited { deposit: id(1), amount }),
                1 => of_account(account::Event::Captured { hold, amount }),
                2 => of_account(account::Event::Refunded { refund, hold, amount, from, lot: None }),
                8 => of_account(account::Event::Lapsed { lot: LotId(id(71)), amount }),
                9 => of_account(account::Event::RefundLapsed { refund, hold, amount, from, lot: LotId(id(71)) }),
                10 => of_account(account::Event::Allocated { run: GrantRunId(id(70)), batch: 1, amount }),
                11 => of_account(account::Event::TakenBack { run: GrantRunId(id(70)), amount }),
                12 => of_account(account::Event::Granted { lot: LotId(id(71)), terms: lot_terms(), amount }),
                3 => of_account(account::Event::RefundDiverted { refund, hold, amount, from }),
                4 => of_account(account::Event::Adjusted { adjustment: id(1), by: amount, reason }),
                5 => of_payment(payment::Event::Paid { tender: 0, provider, amount }),
                6 => of_payment(payment::Event::PaidBack { refund, tender: 0, provider, amount, from }),
                7 => Fact::Order(order(1), order::Event::PickedUp { canteen: canteen(), recognised: amount }),
                _ => Fact::Order(order(1), order::Event::NoShow { canteen: canteen(), recognised: amount }),
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
