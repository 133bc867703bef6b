//! Corrections of the books: what one person of finance proposes, and another applies.

use async_graphql::{
    ComplexObject, Context, Enum, ID, InputObject, Object, Result, SimpleObject, connection::Connection,
};
use commands::{Failure, Finished};
use domain::{
    CorrectionId,
    correction::{self as own, Approval, Change, Entry, MAX_ENTRIES, Proposal, Reference},
    postings::LedgerAccount,
};
use projections::{
    corrections::{self as views, Status},
    preview::AccountChange,
};
use sagas::{FinanceError, NewAdjustment, NewCorrection};
use store::Position;

use crate::{
    account::account_id,
    caller::{Caller, caller},
    errors::{Code, Failed, coded, not_found, of_finance},
    limits::MAX_PAGE,
    loaders::{First, Loaders},
    node::NodeId,
    paging,
    scalars::{Date, DateTime, Money, MoneyInput, Uuid},
};

/// What a correction is for.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::account::AdjustReason")]
pub(crate) enum CorrectionReason {
    /// A mistake in an earlier booking.
    Correction,
    /// Found when the books were reconciled.
    Reconciliation,
    /// A kindness of the operator.
    Goodwill,
}

/// Where a correction stands.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "projections::corrections::Status")]
pub(crate) enum CorrectionStatus {
    /// A second person has to apply or reject it.
    Proposed,
    /// It was rejected, for good.
    Rejected,
    /// Its accounts are being adjusted.
    Applied,
    /// All of it is booked.
    Settled,
}

/// A proposed change: of an account with a limit, against suspense; or, if it says where to, a move between two
/// accounts of the books without one.
#[derive(InputObject)]
pub(crate) struct CorrectionEntryInput {
    /// The account's name: wallet:…, subsidy:…, company:…; or one to move from: suspense, bank, breakage,
    /// canteen:…, clearing:…, tax:….
    account: String,
    /// The name of the account to move to.
    to: Option<String>,
    /// Of an adjustment with its sign, a credit positive; of a move more than zero.
    amount: MoneyInput,
    /// What for.
    reason: CorrectionReason,
    /// A ticket or voucher, such as FIN-1042: at most 64 letters, digits and -._/#.
    reference: Option<String>,
}

fn reference(text: Option<String>) -> Result<Option<Reference>, Failed> {
    text.map(|text| text.parse().map_err(|error| coded(Code::BadInput, error).at("reference"))).transpose()
}

impl CorrectionEntryInput {
    fn read(self) -> Result<Entry, Failed> {
        let named = |text: String, field| -> Result<LedgerAccount, Failed> {
            text.parse().map_err(|error| coded(Code::BadInput, error).at(field))
        };
        let amount = self.amount.read("amount")?;
        let change = match (named(self.account, "account")?, self.to.map(|to| named(to, "to")).transpose()?) {
            (LedgerAccount::Limited(account), None) => Change::Adjust { account, by: amount },
            (from, Some(to)) => Change::Move { from, to, amount },
            (_, None) => {
                return Err(coded(Code::BadInput, "money of that account is moved, so say where to").at("to"));
            }
        };
        Ok(Entry { change, reason: self.reason.into(), reference: reference(self.reference)? })
    }
}

/// A correction of the books.
#[derive(SimpleObject)]
pub(crate) struct Correction {
    /// Its UUID.
    correction: Uuid,
    /// Where it stands.
    status: CorrectionStatus,
    /// Who proposed it, and so cannot apply it.
    proposed_by: Uuid,
    /// How many entries it has.
    entry_count: u32,
    /// How many of them their accounts refused.
    refused_count: u32,
    /// The business time of its postings; null: when it is applied.
    dated: Option<DateTime>,
    /// Who applied or rejected it; null before, and where the limit let it be applied.
    decided_by: Option<Uuid>,
}

/// A correction in a list.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct CorrectionRecord {
    /// The correction.
    correction: Correction,
    /// When it was proposed.
    proposed_at: DateTime,
    /// When it was applied or rejected.
    decided_at: Option<DateTime>,
    #[graphql(skip)]
    id: CorrectionId,
}

/// An entry of a correction.
#[derive(SimpleObject)]
pub(crate) struct CorrectionEntry {
    /// Its number, from 1.
    number: u32,
    /// The account that is adjusted, or that money is moved from.
    account: String,
    /// Where it is moved to; null for an adjustment.
    to: Option<String>,
    /// Of an adjustment with its sign.
    amount: Money,
    /// What for.
    reason: CorrectionReason,
    /// A ticket or voucher.
    reference: Option<String>,
    /// Whether its account refused it.
    refused: bool,
}

/// What a correction makes of an account, from its balances now.
#[derive(SimpleObject)]
pub(crate) struct BalanceChange {
    /// The account's global id.
    #[graphql(owned)]
    account: ID,
    /// All that is booked now.
    posted: Money,
    /// All that would be booked.
    posted_after: Money,
    /// What can be spent now.
    available: Money,
    /// What could be spent.
    available_after: Money,
    /// Whether it would have a debt beyond its floor.
    below_floor: bool,
    /// Whether it would refuse, and all of the correction with it.
    refused: bool,
}

impl From<&AccountChange> for BalanceChange {
    fn from(change: &AccountChange) -> Self {
        let money = |minor| domain::Money::new(minor, change.currency).into();
        BalanceChange {
            account: NodeId::Account(change.account).encode(),
            posted: money(change.posted_minor),
            posted_after: money(change.posted_after()),
            available: money(change.available()),
            available_after: money(change.available_after()),
            below_floor: change.is_below_floor(),
            refused: change.refusal.is_some(),
        }
    }
}

impl From<views::CorrectionEntry> for CorrectionEntry {
    fn from(row: views::CorrectionEntry) -> Self {
        CorrectionEntry {
            number: row.entry + 1,
            account: row.account.to_string(),
            to: row.to_account.map(|to| to.to_string()),
            amount: row.amount().into(),
            reason: row.reason.into(),
            reference: row.reference,
            refused: row.refused,
        }
    }
}

impl From<views::Correction> for CorrectionRecord {
    fn from(row: views::Correction) -> Self {
        CorrectionRecord {
            proposed_at: row.proposed_at.into(),
            decided_at: row.decided_at.map(DateTime::from),
            id: row.correction,
            correction: Correction {
                correction: row.correction.0.into(),
                status: row.status.into(),
                proposed_by: row.proposed_by.0.into(),
                entry_count: row.entries,
                refused_count: row.refused,
                dated: row.dated.map(DateTime::from),
                decided_by: row.decided_by.map(|by| by.0.into()),
            },
        }
    }
}

#[ComplexObject]
impl CorrectionRecord {
    /// Its entries, in their order.
    async fn entries(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, CorrectionEntry>> {
        let caller = caller(ctx)?;
        let (tenant, id) = (caller.tenant(), self.id);
        let Some(after) = paging::cursor(after.as_deref(), |text| text.parse::<u32>().ok())? else {
            // Together with those of the other corrections of the answer.
            let size = paging::size(first)?;
            let entries = ctx.data::<Loaders>()?.load_one(First { of: id, size }).await?;
            let page = paging::first_page(entries.unwrap_or_default(), size);
            return Ok(paging::connection(page, |row| row.entry.to_string(), CorrectionEntry::from));
        };
        let fetch = async |after: Option<u32>, size| {
            caller.views().read(move |snapshot| views::entries_after(snapshot, (tenant, id), after, size)).await
        };
        let page = paging::page(first, Some(after), fetch).await?;
        Ok(paging::connection(page, |row| row.entry.to_string(), CorrectionEntry::from))
    }

    /// What it would make of the accounts with a limit as they are now, while it is proposed: those that would
    /// refuse it first, then those that would be below their floor; at most a hundred.
    async fn balance_changes(&self, ctx: &Context<'_>) -> Result<Vec<BalanceChange>> {
        let preview = ctx.data::<Loaders>()?.load_one(self.id).await?;
        let mut accounts = preview.map(|preview| preview.accounts.clone()).unwrap_or_default();
        accounts.sort_by_key(|change| (change.refusal.is_none(), !change.is_below_floor(), change.account));
        Ok(accounts.iter().take(MAX_PAGE as usize).map(BalanceChange::from).collect())
    }
}

/// A correction after a change.
#[derive(SimpleObject)]
pub(crate) struct CorrectionPayload {
    /// As it is now.
    correction: Correction,
    /// Brings a query up to this change.
    consistency_token: String,
}

async fn payload(
    caller: &Caller<'_>,
    id: CorrectionId,
    done: std::result::Result<Finished<own::Correction>, Failure<FinanceError>>,
) -> Result<CorrectionPayload, Failed> {
    let done = done.map_err(of_finance)?;
    let sheet = done.value.sheet().map_err(|_| not_found("correction").at("correction"))?;
    let second = |approval: Approval| match approval {
        Approval::SecondPerson(by) => Some(by),
        Approval::WithinLimit(_) => None,
    };
    let (status, decided_by, refused) = match &done.value {
        own::Correction::New | own::Correction::Proposed(_) => (Status::Proposed, None, 0),
        own::Correction::Rejected(_, by) => (Status::Rejected, Some(*by), 0),
        own::Correction::Applied(_, applied) => (Status::Applied, second(applied.approval), 0),
        own::Correction::Settled(_, applied, refused) => (Status::Settled, second(applied.approval), refused.len()),
    };
    let count = |entries: usize| u32::try_from(entries).unwrap_or(u32::MAX);
    let correction = Correction {
        correction: id.0.into(),
        status: status.into(),
        proposed_by: sheet.by.0.into(),
        entry_count: count(sheet.proposal.entries.len()),
        refused_count: count(refused),
        dated: sheet.proposal.dated.map(DateTime::from),
        decided_by: decided_by.map(|by| by.0.into()),
    };
    Ok(CorrectionPayload { correction, consistency_token: caller.written(done.position).await?.token })
}

#[derive(Default)]
pub(crate) struct CorrectionQuery;

#[Object]
impl CorrectionQuery {
    /// Corrections, the latest first; of one status, or all. For finance and auditors.
    async fn corrections(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only of this status.")] status: Option<CorrectionStatus>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, CorrectionRecord>> {
        let caller = caller(ctx)?;
        let (tenant, masks, status) = (caller.tenant(), &caller.service.masks, status.map(Status::from));
        let after: Option<Position> = paging::cursor(after.as_deref(), |text| masks.position(tenant, text))?;
        let fetch = async |before, size| {
            caller.views().read(move |snapshot| views::list(snapshot, tenant, status, before, size)).await
        };
        let page = paging::page(first, after, fetch).await?;
        Ok(paging::connection(page, |row| masks.token(tenant, row.proposed), CorrectionRecord::from))
    }
}

#[derive(Default)]
pub(crate) struct CorrectionMutation;

#[Object]
impl CorrectionMutation {
    /// Corrects the balance of an account: at once within your tenant's limit; above it, the correction waits for
    /// a second person. For finance.
    async fn adjust_account(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The account's global id.")] account: ID,
        #[graphql(desc = "By how much; a credit is positive, a debit negative.")] amount: MoneyInput,
        #[graphql(desc = "What for.")] reason: CorrectionReason,
        #[graphql(desc = "A ticket or voucher, such as FIN-1042: at most 64 letters, digits and -._/#.")]
        reference: Option<String>,
        #[graphql(desc = "A UUID of your own making; the same again is the same adjustment.")] idempotency_key: Uuid,
    ) -> Result<CorrectionPayload> {
        let caller = caller(ctx)?;
        let (account, by) = (account_id(&account)?, amount.read("amount")?);
        let new = NewAdjustment { account, by, reason: reason.into(), reference: self::reference(reference)? };
        let request = caller.request("adjustAccount", idempotency_key, &new)?;
        let done = caller.service.finance.adjust(request, new).await;
        Ok(payload(&caller, CorrectionId(request.id), done).await?)
    }

    /// Proposes a correction, which a second person of finance has to apply. For finance.
    async fn propose_correction(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is to be corrected: 1 to 1,000 entries.")] entries: Vec<CorrectionEntryInput>,
        #[graphql(
            desc = "The day that its postings are dated, which no closed period may have; the day of its application, if it is not said."
        )]
        dated: Option<Date>,
        #[graphql(desc = "A UUID of your own making; the same again is the same correction.")] idempotency_key: Uuid,
    ) -> Result<CorrectionPayload> {
        let caller = caller(ctx)?;
        if entries.len() > MAX_ENTRIES {
            let why = format!("a correction has at most {MAX_ENTRIES} entries");
            let chinese = format!("一份更正最多有 {MAX_ENTRIES} 条分录");
            return Err(coded(Code::BadInput, why).in_chinese(chinese).at("entries").into());
        }
        let read = |(number, entry): (usize, CorrectionEntryInput)| {
            // From one, as people count.
            entry.read().map_err(|wrong| wrong.within(number + 1))
        };
        let entries = entries.into_iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        let finance = &caller.service.finance;
        let request = caller.request("proposeCorrection", idempotency_key, &(&entries, dated.map(|day| day.0)))?;
        let id = CorrectionId(request.id);
        let dated = match dated {
            Some(day) => Some(finance.dated(caller.tenant(), day.0).await.map_err(of_finance)?),
            None => None,
        };
        let new = NewCorrection { proposal: Proposal { entries, dated }, file: None };
        let done = finance.propose(request, id, new).await;
        Ok(payload(&caller, id, done).await?)
    }

    /// Applies a correction that somebody else proposed, to the balances as they are now. Whoever proposed it
    /// gets SECOND_PERSON. For finance.
    async fn apply_correction(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The correction's UUID.")] correction: Uuid,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<CorrectionPayload> {
        let (caller, id) = (caller(ctx)?, CorrectionId(correction.0));
        let request = caller.request("applyCorrection", idempotency_key, &id)?;
        let done = caller.service.finance.apply_correction(request, id).await;
        Ok(payload(&caller, id, done).await?)
    }

    /// Rejects a correction, for good. Its proposer may, too. For finance.
    async fn reject_correction(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The correction's UUID.")] correction: Uuid,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<CorrectionPayload> {
        let (caller, id) = (caller(ctx)?, CorrectionId(correction.0));
        let request = caller.request("rejectCorrection", idempotency_key, &id)?;
        let done = caller.service.finance.reject_correction(request, id).await;
        Ok(payload(&caller, id, done).await?)
    }
}
