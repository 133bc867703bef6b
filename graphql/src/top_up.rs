//! Top-ups: money that comes into accounts.

use async_graphql::{Context, Enum, ID, Object, Result, SimpleObject};
use commands::{Finished, Request};
use domain::top_up as own;
use sagas::NewTopUp;

use crate::{
    account::{AccountInput, AccountPayload, payload},
    caller::{Caller, caller},
    errors::{self, Code, Failed, coded, of_finance},
    node::NodeId,
    scalars::{Money, MoneyInput, Uuid},
};

/// Where the money of a top-up is.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::top_up::Source")]
pub(crate) enum TopUpSource {
    /// On the operator's bank account.
    Bank,
    /// In a canteen's till.
    Counter,
}

/// Where a top-up stands.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopUpStatus {
    /// The account has not answered yet.
    Requested,
    /// The account has the money.
    Credited,
    /// The account could not take it: the money has to go back.
    Failed,
}

/// Money that comes into an account.
#[derive(SimpleObject)]
pub(crate) struct TopUp {
    /// Its UUID.
    top_up: Uuid,
    /// The account's global id.
    #[graphql(owned)]
    account: ID,
    /// How much.
    amount: Money,
    /// Where it is.
    source: TopUpSource,
    /// Where it stands.
    status: TopUpStatus,
}

/// A top-up after it was asked for.
#[derive(SimpleObject)]
pub(crate) struct TopUpPayload {
    /// As it is now.
    top_up: TopUp,
    /// Brings a query up to this change.
    consistency_token: String,
}

fn shown(id: uuid::Uuid, top_up: &own::TopUp) -> Result<TopUp, Failed> {
    let slip = top_up.slip().map_err(|error| errors::of(Code::NotFound, &error))?;
    let status = match top_up {
        own::TopUp::New | own::TopUp::Requested(_) => TopUpStatus::Requested,
        own::TopUp::Credited(_) => TopUpStatus::Credited,
        own::TopUp::Failed(..) => TopUpStatus::Failed,
    };
    Ok(TopUp {
        top_up: id.into(),
        account: NodeId::Account(slip.account).encode(),
        amount: slip.amount.into(),
        source: slip.source.into(),
        status,
    })
}

async fn bring(caller: &Caller<'_>, request: Request, new: NewTopUp) -> Result<Finished<own::TopUp>, Failed> {
    caller.service.finance.top_up(request, new).await.map_err(of_finance)
}

#[derive(Default)]
pub(crate) struct TopUpMutation;

#[Object]
impl TopUpMutation {
    /// Books money from the bank into an account; the first deposit opens it. For finance.
    async fn deposit(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose account.")] account: AccountInput,
        #[graphql(desc = "How much, more than zero.")] amount: MoneyInput,
        #[graphql(desc = "A UUID of your own making; the same again is the same deposit.")] idempotency_key: Uuid,
    ) -> Result<AccountPayload> {
        let caller = caller(ctx)?;
        let (id, amount) = (account.read()?, amount.read("amount")?);
        let request = caller.request("deposit", idempotency_key, &(id, amount))?;
        let done = bring(&caller, request, NewTopUp { account: id, amount, source: own::Source::Bank }).await?;
        if let own::TopUp::Failed(..) = done.value {
            return Err(coded(Code::OutOfTurn, "the account was closed meanwhile; the money has to go back").into());
        }
        Ok(payload(&caller, id, done.position).await?)
    }

    /// Brings money into an account, from the bank or from a till; the first opens it. For finance.
    async fn top_up(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose account.")] account: AccountInput,
        #[graphql(desc = "How much, more than zero.")] amount: MoneyInput,
        #[graphql(desc = "Where the money is.")] source: TopUpSource,
        #[graphql(desc = "A UUID of your own making; the same again is the same top-up.")] idempotency_key: Uuid,
    ) -> Result<TopUpPayload> {
        let caller = caller(ctx)?;
        let new = NewTopUp { account: account.read()?, amount: amount.read("amount")?, source: source.into() };
        let request = caller.request("topUp", idempotency_key, &new)?;
        let done = bring(&caller, request, new).await?;
        let consistency_token = caller.written(done.position).await?.token;
        Ok(TopUpPayload { top_up: shown(request.id, &done.value)?, consistency_token })
    }
}
