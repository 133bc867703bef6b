//! Accounts with a limit: what they have, and whether they may be spent from.

use async_graphql::{Context, Enum, ID, InputObject, Object, Result, SimpleObject};
use domain::{
    AccountId, CompanyId, DinerId,
    account::{self as domain_account, Book},
};
use projections::balances as views;
use store::Position;

use crate::{
    caller::{Caller, caller},
    errors::{Code, Failed, coded, not_found, refused_at},
    identity::Role,
    node::NodeId,
    scalars::{Money, Uuid},
};

/// A kind of account.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccountKind {
    /// A diner's own money.
    Wallet,
    /// What a company gives a diner to eat for.
    Subsidy,
    /// A company's funds.
    Company,
}

/// An account by its owner; it need not exist yet.
#[derive(InputObject)]
pub(crate) struct AccountInput {
    /// Which kind.
    kind: AccountKind,
    /// The diner's or the company's UUID.
    owner: Uuid,
}

impl AccountInput {
    pub(crate) fn read(&self) -> Result<AccountId, Failed> {
        let owner = self.owner.0;
        if owner.is_nil() {
            return Err(coded(Code::BadInput, "an owner is not the nil UUID").at("owner"));
        }
        Ok(match self.kind {
            AccountKind::Wallet => AccountId::Wallet(DinerId(owner)),
            AccountKind::Subsidy => AccountId::Subsidy(DinerId(owner)),
            AccountKind::Company => AccountId::Company(CompanyId(owner)),
        })
    }
}

/// Money that is guarded with a limit.
#[derive(SimpleObject)]
pub(crate) struct Account {
    /// Its global id.
    #[graphql(owned)]
    pub(crate) id: ID,
    /// Which kind.
    kind: AccountKind,
    /// The diner's or the company's UUID.
    owner: Uuid,
    /// All that was booked.
    posted: Money,
    /// What of it is promised to orders under way.
    held: Money,
    /// What can be spent.
    available: Money,
    /// Whether nothing may be spent for now.
    frozen: bool,
    /// Whether it has ended.
    closed: bool,
}

fn kind_and_owner(id: AccountId) -> (AccountKind, Uuid) {
    match id {
        AccountId::Wallet(diner) => (AccountKind::Wallet, diner.0.into()),
        AccountId::Subsidy(diner) => (AccountKind::Subsidy, diner.0.into()),
        AccountId::Company(company) => (AccountKind::Company, company.0.into()),
    }
}

impl From<views::LimitedAccount> for Account {
    fn from(row: views::LimitedAccount) -> Self {
        let (kind, owner) = kind_and_owner(row.account);
        Account {
            id: NodeId::Account(row.account).encode(),
            kind,
            owner,
            posted: row.posted().into(),
            held: row.held().into(),
            available: row.available().into(),
            frozen: row.frozen,
            closed: row.closed,
        }
    }
}

impl Account {
    fn of_book(id: AccountId, book: &Book) -> Self {
        let (kind, owner) = kind_and_owner(id);
        Account {
            id: NodeId::Account(id).encode(),
            kind,
            owner,
            posted: book.posted().into(),
            held: book.held().into(),
            available: book.available().into(),
            frozen: book.frozen,
            closed: false,
        }
    }
}

/// An account after a change.
#[derive(SimpleObject)]
pub(crate) struct AccountPayload {
    /// As it is now.
    account: Account,
    /// Brings a query up to this change.
    consistency_token: String,
}

/// An account that was closed.
#[derive(SimpleObject)]
pub(crate) struct CloseAccountPayload {
    /// Its global id.
    #[graphql(owned)]
    account: ID,
    /// Brings a query up to this change.
    consistency_token: String,
}

/// Whether this caller may see the account: its diner, its company, finance and auditors.
pub(crate) fn visible(caller: &Caller<'_>, account: AccountId) -> bool {
    let identity = caller.identity;
    identity.reads_books()
        || match account {
            AccountId::Wallet(diner) | AccountId::Subsidy(diner) => identity.diner() == Some(diner),
            AccountId::Company(company) => identity.has(Role::Company) && identity.companies.contains(&company),
        }
}

/// An account that this caller may see.
pub(crate) async fn read_account(caller: &Caller<'_>, id: AccountId) -> Result<Option<Account>, Failed> {
    if !visible(caller, id) {
        return Ok(None);
    }
    let row = views::limited_account(caller.views(), caller.tenant(), id).await?;
    Ok(row.map(Account::from))
}

async fn change(
    caller: &Caller<'_>,
    request: commands::Request,
    id: AccountId,
    command: domain_account::Command,
) -> Result<AccountPayload, Failed> {
    let outcome = caller.commands().on_account(request, id, command).await?;
    payload(caller, id, outcome.position).await
}

/// The account after what was written at `position`.
pub(crate) async fn payload(caller: &Caller<'_>, id: AccountId, position: Position) -> Result<AccountPayload, Failed> {
    let at = caller.written(position).await?;
    let look = |account: &domain_account::Account| account.book().ok().map(|book| Account::of_book(id, book));
    let account = caller.commands().look(caller.tenant(), id, look).await?;
    let account = account.ok_or_else(|| coded(Code::OutOfTurn, "the account has been closed since"))?;
    Ok(AccountPayload { account, consistency_token: at.token })
}

pub(crate) fn account_id(id: &ID) -> Result<AccountId, Failed> {
    match NodeId::decode(id) {
        Some(NodeId::Account(account)) => Ok(account),
        _ => Err(not_found("account").at("account")),
    }
}

#[derive(Default)]
pub(crate) struct AccountQuery;

#[Object]
impl AccountQuery {
    /// Your own accounts, in the order in which orders are paid from them.
    async fn my_balances(&self, ctx: &Context<'_>) -> Result<Vec<Account>> {
        let caller = caller(ctx)?;
        let diner = caller.identity.diner().ok_or_else(|| not_found("diner"))?;
        let mut accounts = Vec::new();
        for id in [AccountId::Subsidy(diner), AccountId::Wallet(diner)] {
            accounts.extend(read_account(&caller, id).await?);
        }
        Ok(accounts)
    }

    /// An account; null when there is none with that id that you may see.
    async fn account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account's global id.")] id: ID,
    ) -> Result<Option<Account>> {
        let Some(NodeId::Account(id)) = NodeId::decode(&id) else { return Ok(None) };
        Ok(read_account(&caller(ctx)?, id).await?)
    }
}

#[derive(Default)]
pub(crate) struct AccountMutation;

#[Object]
impl AccountMutation {
    /// Stops an account from being spent from. What is promised is still taken, and refunds still
    /// come in. For finance.
    async fn freeze_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account's global id.")] account: ID,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<AccountPayload> {
        let caller = caller(ctx)?;
        let id = account_id(&account)?;
        let request = caller.request("freezeAccount", idempotency_key, &id)?;
        Ok(change(&caller, request, id, domain_account::Command::Freeze).await?)
    }

    /// Lets an account be spent from again. For finance.
    async fn unfreeze_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account's global id.")] account: ID,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<AccountPayload> {
        let caller = caller(ctx)?;
        let id = account_id(&account)?;
        let request = caller.request("unfreezeAccount", idempotency_key, &id)?;
        Ok(change(&caller, request, id, domain_account::Command::Unfreeze).await?)
    }

    /// Ends an account that has nothing any more; what it has is to be paid out first. For finance.
    async fn close_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account's global id.")] account: ID,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<CloseAccountPayload> {
        let caller = caller(ctx)?;
        let id = account_id(&account)?;
        let request = caller.request("closeAccount", idempotency_key, &id)?;
        let done = caller.commands().on_account(request, id, domain_account::Command::Close).await;
        let outcome = done.map_err(|failure| refused_at(failure, "account"))?;
        let consistency_token = caller.outcome(&outcome).await?.token;
        Ok(CloseAccountPayload { account: NodeId::Account(id).encode(), consistency_token })
    }
}
