//! Where the money of a payment comes from, and how much of it from where.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AccountId, DinerId, LotId, Money, PolicyId};

/// Most tenders of one payment.
pub const MAX_TENDERS: usize = 16;

/// Who takes money that Tiffin does not guard itself. Its ledger account is `clearing:{provider}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// The canteen's own till.
    Counter,
    /// Another till, before its history was imported.
    Elsewhere,
    WechatPay,
    Alipay,
}

impl Provider {
    pub fn name(self) -> &'static str {
        match self {
            Provider::Counter => "counter",
            Provider::Elsewhere => "elsewhere",
            Provider::WechatPay => "wechat_pay",
            Provider::Alipay => "alipay",
        }
    }

    pub fn named(name: &str) -> Option<Provider> {
        [Provider::Counter, Provider::Elsewhere, Provider::WechatPay, Provider::Alipay]
            .into_iter()
            .find(|provider| provider.name() == name)
    }

    /// Whether it is asked over a network, where answers get lost. A till's word is in the command.
    pub fn is_remote(self) -> bool {
        match self {
            Provider::Counter | Provider::Elsewhere => false,
            Provider::WechatPay | Provider::Alipay => true,
        }
    }
}

/// Where a tender's money comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// What is in no lot of it.
    Account(AccountId),
    /// One lot of a diner's subsidy. The payment remembers it for as long as money may go back.
    Lot(DinerId, LotId),
    External(Provider),
}

impl Source {
    /// The account that Tiffin guards, unless somebody else has the money.
    pub fn account(self) -> Option<AccountId> {
        match self {
            Source::Account(account) => Some(account),
            Source::Lot(diner, _) => Some(AccountId::Subsidy(diner)),
            Source::External(_) => None,
        }
    }

    pub fn provider(self) -> Option<Provider> {
        match self {
            Source::External(provider) => Some(provider),
            Source::Account(_) | Source::Lot(..) => None,
        }
    }

    pub fn lot(self) -> Option<LotId> {
        match self {
            Source::Lot(_, lot) => Some(lot),
            Source::Account(_) | Source::External(_) => None,
        }
    }
}

/// How far a tender is. What is refunded of it is counted beside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TenderState {
    #[default]
    Planned,
    /// Its provider is asked; the diner has the next step.
    Asked,
    /// Its provider was asked, and nobody knows yet what came of it.
    Unknown,
    /// Its provider refused, or has another amount than it was asked for.
    Failed,
    /// Given up with its provider.
    Closed,
    Held,
    Captured,
    /// The order is dead: what was held is free again, and what came goes back.
    Released,
}

/// Why a tender has the amount that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Everything that was still to be paid.
    Rest,
    /// All that this source had; the next source pays the rest.
    Available,
    /// The most that its policy gives towards one order.
    OrderLimit,
    /// The share of an order that its policy bears.
    Share,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tender {
    pub source: Source,
    pub amount: Money,
    pub why: Why,
}

/// What is given back of one tender. Tenders are named by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    pub tender: u8,
    pub amount: Money,
}

/// A source that may pay, as it stands when a payment is planned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Purse {
    pub source: Source,
    pub has: Money,
    /// Whose limit it shares with the other purses of the same policy.
    pub policy: Option<PolicyId>,
}

/// The most that purses of one policy pay together for an order, and which rule says so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    pub minor: i64,
    pub why: Why,
}

/// Deducts `total` from the purses in their order, each as far as it and the limit of its policy go.
/// `Err` has what is short. At most [`MAX_TENDERS`] pay.
pub fn plan(total: Money, purses: &[Purse], limits: &BTreeMap<PolicyId, Limit>) -> Result<Vec<Tender>, Money> {
    let mut limits = limits.clone();
    let mut tenders = Vec::new();
    let mut rest = total.minor;
    for purse in purses {
        let limit = purse.policy.and_then(|policy| limits.get_mut(&policy));
        let most = limit.as_ref().map_or(i64::MAX, |limit| limit.minor);
        let minor = rest.min(purse.has.minor).min(most);
        if minor <= 0 || purse.has.currency != total.currency || tenders.len() == MAX_TENDERS {
            continue;
        }
        let why = match &limit {
            _ if minor == rest => Why::Rest,
            Some(limit) if minor == limit.minor => limit.why,
            _ => Why::Available,
        };
        if let Some(limit) = limit {
            limit.minor -= minor;
        }
        tenders.push(Tender { source: purse.source, amount: Money { minor, ..total }, why });
        rest -= minor;
    }
    if rest == 0 { Ok(tenders) } else { Err(Money { minor: rest, ..total }) }
}
