//! Payouts: money that owners take out of their accounts.

use async_graphql::{Context, Enum, ID, Object, Result, SimpleObject, connection::Connection};
use commands::{Failure, Finished};
use domain::{AccountId, PayoutId, TenantId, payout as own};
use projections::payouts as views;
use sagas::{FinanceError, NewPayout};
use store::Position;

use crate::{
    account::AccountInput,
    caller::{Caller, caller},
    errors::{Code, Failed, coded, not_found, of_finance},
    identity::Role,
    node::NodeId,
    paging,
    scalars::{DateTime, Money, MoneyInput, Uuid},
};

/// Where a payout stands.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "projections::payouts::Status")]
pub(crate) enum PayoutStatus {
    /// The account has not answered yet.
    Requested,
    /// The account has set the money aside; the bank has to pay it.
    Held,
    /// The account did not have it.
    Refused,
    /// The bank has paid it.
    PaidOut,
    /// It was given up, and the money is available again.
    Cancelled,
}

/// Money that an account's owner takes out.
#[derive(SimpleObject)]
pub(crate) struct Payout {
    /// Its UUID.
    payout: Uuid,
    /// The account's global id.
    #[graphql(owned)]
    account: ID,
    /// How much.
    amount: Money,
    /// Where it stands.
    status: PayoutStatus,
    /// Who asked for it.
    requested_by: Uuid,
}

/// A payout in a list.
#[derive(SimpleObject)]
pub(crate) struct PayoutRecord {
    /// The payout.
    payout: Payout,
    /// When it was asked for.
    requested_at: DateTime,
    /// Who said that the bank has paid it, or gave it up; null until then.
    ended_by: Option<Uuid>,
    /// When that was.
    ended_at: Option<DateTime>,
}

impl From<views::Payout> for PayoutRecord {
    fn from(row: views::Payout) -> Self {
        PayoutRecord {
            requested_at: row.requested_at.into(),
            ended_by: row.ended_by.map(|by| by.0.into()),
            ended_at: row.ended_at.map(DateTime::from),
            payout: Payout {
                payout: row.payout.0.into(),
                account: NodeId::Account(row.account).encode(),
                amount: row.amount().into(),
                status: row.status.into(),
                requested_by: row.requested_by.0.into(),
            },
        }
    }
}

/// A payout after a change.
#[derive(SimpleObject)]
pub(crate) struct PayoutPayload {
    /// As it is now.
    payout: Payout,
    /// Brings a query up to this change.
    consistency_token: String,
}

async fn payload(
    caller: &Caller<'_>,
    id: PayoutId,
    done: std::result::Result<Finished<own::Payout>, Failure<FinanceError>>,
) -> Result<PayoutPayload, Failed> {
    use own::Outcome;
    use views::Status;
    let done = done.map_err(of_finance)?;
    let slip = done.value.slip().map_err(|_| not_found("payout").at("payout"))?;
    let status = match &done.value {
        own::Payout::New | own::Payout::Requested(_) => Status::Requested,
        own::Payout::Held(_) => Status::Held,
        own::Payout::Refusing(..) | own::Payout::Refused(..) => Status::Refused,
        own::Payout::Ending(_, Outcome::PaidOut) | own::Payout::Ended(_, Outcome::PaidOut) => Status::PaidOut,
        own::Payout::Ending(_, Outcome::Cancelled) | own::Payout::Ended(_, Outcome::Cancelled) => Status::Cancelled,
    };
    let payout = Payout {
        payout: id.0.into(),
        account: NodeId::Account(slip.account).encode(),
        amount: slip.amount.into(),
        status: status.into(),
        requested_by: slip.by.0.into(),
    };
    Ok(PayoutPayload { payout, consistency_token: caller.written(done.position).await?.token })
}

/// Whether it is the caller's to ask for: finance for everybody, a diner for their own wallet.
fn own_or_finance(caller: &Caller<'_>, account: AccountId) -> bool {
    let own = matches!(account, AccountId::Wallet(of) if caller.identity.diner() == Some(of));
    own || caller.identity.has(Role::Finance)
}

/// A payout cursor is its masked position, since positions would tell how much others do.
async fn page(
    caller: &Caller<'_>,
    of: (Option<AccountId>, Option<views::Status>),
    (first, after): (Option<i32>, Option<String>),
) -> Result<Connection<String, PayoutRecord>, Failed> {
    let (tenant, masks): (TenantId, _) = (caller.tenant(), &caller.service.masks);
    let after: Option<Position> = paging::cursor(after.as_deref(), |text| masks.position(tenant, text))?;
    let fetch =
        async |before, size| caller.views().read(move |snapshot| views::list(snapshot, tenant, of, before, size)).await;
    let page = paging::page(first, after, fetch).await?;
    Ok(paging::connection(page, |row| masks.token(tenant, row.requested), PayoutRecord::from))
}

#[derive(Default)]
pub(crate) struct PayoutQuery;

#[Object]
impl PayoutQuery {
    /// Payouts, the latest first; of one status, or all. For finance and auditors.
    async fn payouts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only of this status.")] status: Option<PayoutStatus>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, PayoutRecord>> {
        Ok(page(&caller(ctx)?, (None, status.map(Into::into)), (first, after)).await?)
    }

    /// Payouts of your own wallet, the latest first.
    async fn my_payouts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, PayoutRecord>> {
        let caller = caller(ctx)?;
        let diner = caller.identity.diner().ok_or_else(|| not_found("diner"))?;
        Ok(page(&caller, (Some(AccountId::Wallet(diner)), None), (first, after)).await?)
    }
}

#[derive(Default)]
pub(crate) struct PayoutMutation;

#[Object]
impl PayoutMutation {
    /// Sets money aside that the bank is to pay to the account's owner. For finance, and for diners out of their
    /// own wallets.
    async fn request_payout(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose account: a wallet, or a company's funds.")] account: AccountInput,
        #[graphql(desc = "How much, more than zero.")] amount: MoneyInput,
        #[graphql(desc = "A UUID of your own making; the same again is the same payout.")] idempotency_key: Uuid,
    ) -> Result<PayoutPayload> {
        let caller = caller(ctx)?;
        let new = NewPayout { account: account.read()?, amount: amount.read("amount")? };
        if !own_or_finance(&caller, new.account) {
            return Err(coded(Code::Forbidden, "that is not your wallet").at("account").into());
        }
        let request = caller.request("requestPayout", idempotency_key, &new)?;
        let done = caller.service.finance.pay_out(request, new).await;
        Ok(payload(&caller, PayoutId(request.id), done).await?)
    }

    /// Says that the bank has paid a payout: the money has left the account. For finance.
    async fn confirm_payout(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The payout's UUID.")] payout: Uuid,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<PayoutPayload> {
        let (caller, id) = (caller(ctx)?, PayoutId(payout.0));
        let request = caller.request("confirmPayout", idempotency_key, &id)?;
        let done = caller.service.finance.confirm_payout(request, id).await;
        Ok(payload(&caller, id, done).await?)
    }

    /// Gives a payout up: its money is available again. Only finance knows whether the bank has it already. For
    /// finance.
    async fn cancel_payout(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The payout's UUID.")] payout: Uuid,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<PayoutPayload> {
        let (caller, id) = (caller(ctx)?, PayoutId(payout.0));
        let request = caller.request("cancelPayout", idempotency_key, &id)?;
        let done = caller.service.finance.cancel_payout(request, id).await;
        Ok(payload(&caller, id, done).await?)
    }
}
