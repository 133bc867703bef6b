//! Top-ups: money that comes into accounts.

use async_graphql::{Context, Enum, ID, Object, Result, SimpleObject, connection::Connection};
use commands::{Finished, Request};
use domain::top_up as own;
use projections::top_ups as views;
use sagas::NewTopUp;
use store::Position;

use crate::{
    account::{AccountInput, AccountPayload, payload},
    caller::{Caller, caller},
    errors::{self, Code, Failed, coded, of_finance},
    node::NodeId,
    paging,
    scalars::{DateTime, Money, MoneyInput, Uuid},
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
#[graphql(remote = "views::Status")]
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

/// Why an account did not take a top-up.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "own::Reason")]
pub(crate) enum TopUpFailure {
    /// It had been closed.
    Closed,
    /// It does not take that amount, or that currency.
    Amount,
}

/// A top-up in a list.
#[derive(SimpleObject)]
pub(crate) struct TopUpRecord {
    /// The top-up.
    top_up: TopUp,
    /// Why it failed; null for one that did not.
    failure: Option<TopUpFailure>,
    /// Who asked for it.
    requested_by: Uuid,
    /// When it was asked for.
    requested_at: DateTime,
}

impl From<views::TopUp> for TopUpRecord {
    fn from(row: views::TopUp) -> Self {
        TopUpRecord {
            failure: row.reason.map(TopUpFailure::from),
            requested_by: row.requested_by.0.into(),
            requested_at: row.requested_at.into(),
            top_up: TopUp {
                top_up: row.top_up.0.into(),
                account: NodeId::Account(row.account).encode(),
                amount: row.amount().into(),
                source: row.source.into(),
                status: row.status.into(),
            },
        }
    }
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
pub(crate) struct TopUpQuery;

#[Object]
impl TopUpQuery {
    /// Top-ups, the latest first; of one status, or all. The money of those that failed has to go back. For finance
    /// and auditors.
    async fn top_ups(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only of this status.")] status: Option<TopUpStatus>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, TopUpRecord>> {
        let caller = caller(ctx)?;
        let (tenant, masks) = (caller.tenant(), &caller.service.masks);
        // Positions would tell how much others do.
        let before: Option<Position> = paging::cursor(after.as_deref(), |text| masks.position(tenant, text))?;
        let status = status.map(views::Status::from);
        let fetch = async |before, size| {
            caller.views().read(move |snapshot| views::list(snapshot, tenant, status, before, size)).await
        };
        let page = paging::page(first, before, fetch).await?;
        Ok(paging::connection(page, |row| masks.token(tenant, row.requested), TopUpRecord::from))
    }
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
