//! Where an order's money comes from.

use async_graphql::{Enum, ID, SimpleObject};
use domain::{
    AccountId, Currency,
    order::Terms,
    payment::{Provider, Source, Why},
};
use projections::diner_orders as views;

use crate::{node::NodeId, scalars::Money};

/// How an order is to be paid.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PaymentTerms {
    /// From the diner's subsidy, then the wallet.
    Balances,
    /// In money at the counter, within 15 minutes.
    AtCounter,
    /// It was paid before this service knew of it.
    Elsewhere,
    /// From the diner's subsidy and wallet, and what they lack by WeChat Pay within 15 minutes.
    WechatPay,
    /// From the diner's subsidy and wallet, and what they lack by Alipay within 15 minutes.
    Alipay,
}

impl From<Terms> for PaymentTerms {
    fn from(terms: Terms) -> Self {
        match terms {
            Terms::Balances => PaymentTerms::Balances,
            Terms::AtCounter | Terms::BalancesThen(Provider::Counter) => PaymentTerms::AtCounter,
            Terms::Elsewhere | Terms::BalancesThen(Provider::Elsewhere) => PaymentTerms::Elsewhere,
            Terms::BalancesThen(Provider::WechatPay) => PaymentTerms::WechatPay,
            Terms::BalancesThen(Provider::Alipay) => PaymentTerms::Alipay,
        }
    }
}

/// One source of an order's money.
#[derive(SimpleObject)]
pub(crate) struct Tender {
    /// Where the money comes from.
    source: TenderSource,
    /// The account, unless the money does not come from one.
    account: Option<ID>,
    /// How much.
    amount: Money,
    /// How far it is.
    state: TenderState,
    /// How much of it is refunded or about to be.
    refunded: Money,
    /// Why it is that much.
    why: TenderReason,
}

impl Tender {
    pub(crate) fn of(from: &views::PaidFrom, currency: Currency) -> Tender {
        let money = |minor| Money::from(domain::Money::new(minor, currency));
        Tender {
            source: TenderSource::of(from.source),
            account: from.source.account().map(|account| NodeId::Account(account).encode()),
            amount: money(from.amount),
            state: from.state.into(),
            refunded: money(from.refunded),
            why: from.why.into(),
        }
    }
}

/// A kind of source of money.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TenderSource {
    /// The diner's subsidy.
    Subsidy,
    /// The diner's wallet.
    Wallet,
    /// A company's funds.
    Company,
    /// Money at the counter.
    Counter,
    /// Another till, before its history was imported.
    Elsewhere,
    /// WeChat Pay.
    WechatPay,
    /// Alipay.
    Alipay,
}

impl TenderSource {
    pub(crate) fn of(source: Source) -> Self {
        match source {
            Source::Account(AccountId::Subsidy(_)) | Source::Lot(..) => TenderSource::Subsidy,
            Source::Account(AccountId::Wallet(_)) => TenderSource::Wallet,
            Source::Account(AccountId::Company(_)) => TenderSource::Company,
            Source::External(Provider::Counter) => TenderSource::Counter,
            Source::External(Provider::Elsewhere) => TenderSource::Elsewhere,
            Source::External(Provider::WechatPay) => TenderSource::WechatPay,
            Source::External(Provider::Alipay) => TenderSource::Alipay,
        }
    }
}

/// How far a tender is.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::payment::TenderState")]
pub(crate) enum TenderState {
    /// Its amount is fixed; nothing is held yet.
    Planned,
    /// The provider is asked, and the diner has still to pay.
    Asked,
    /// The provider was asked and did not answer; it is being asked how it stands.
    Unknown,
    /// The provider refused.
    Failed,
    /// Nobody paid the provider, and nobody can any more.
    Closed,
    /// The money is held, or has come.
    Held,
    /// The money is taken.
    Captured,
    /// The order ended: what was held is free again, and what came goes back.
    Released,
}

/// Why a tender has the amount that it has.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "Why")]
pub(crate) enum TenderReason {
    /// It is all that was still to be paid.
    Rest,
    /// It is all that this source had.
    Available,
    /// It is the most that its policy gives towards one order.
    OrderLimit,
    /// It is the share of an order that its policy bears.
    Share,
}
