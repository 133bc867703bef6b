//! What finance does, by an operator's commands: corrections, top-ups, payouts, and accounts themselves. Done
//! by the server that holds the folder, or here.

mod changes;
pub mod file;

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use commands::{Failure, Request};
use domain::{
    AccountId, ActorId, CorrectionId, Currency, Money, PayoutId, TenantId, TopUpId,
    account::{self, Account, AdjustReason},
    books::{self, DeductionOrder},
    correction::{Correction, Entry, Proposal, Reference},
    derived_id,
    payout::Payout,
    top_up::{Source, TopUp},
};
use jiff::civil::Date;
use projections::preview::Preview;
use sagas::{FinanceError, NewAdjustment, NewCorrection, NewPayout, NewTopUp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    bookkeeping::{self, CATCH_UP},
    config::usage,
    wiring::House,
};

pub use changes::Changes;

/// What is to be done. It may be sent to the server that holds the folder, so paths are absolute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinanceRequest {
    /// None: the only tenant that there is.
    pub tenant: Option<TenantId>,
    /// Who asks for it; events name them.
    pub by: ActorId,
    pub work: FinanceWork,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinanceWork {
    /// From a CSV file.
    Propose {
        file: PathBuf,
        /// What its postings are dated; the day of their application, if it is not said.
        on: Option<Date>,
    },
    Apply(CorrectionId),
    Reject(CorrectionId),
    /// Up to what amount an adjustment needs no second person.
    Limit(Money),
    TopUp {
        new: NewMoney,
        source: Source,
    },
    PayOut(NewMoney),
    Confirm(PayoutId),
    Cancel(PayoutId),
    Adjust {
        new: NewMoney,
        reason: AdjustReason,
        reference: Option<Reference>,
    },
    /// Which of a diner's balances pays first.
    DeductionOrder(DeductionOrder),
    Freeze(AccountId),
    Unfreeze(AccountId),
    Close(AccountId),
}

/// Money of an account, once a key.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewMoney {
    pub account: AccountId,
    pub amount: Money,
    pub key: Uuid,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum FinanceAnswer {
    Correction {
        correction: CorrectionId,
        status: String,
        proposed_by: ActorId,
        entries: usize,
        /// The numbers, from one, of entries whose accounts refused them.
        refused: Vec<u32>,
        /// What it makes of the balances, or has made of them, if it was applied now.
        changes: Option<Changes>,
    },
    TopUp {
        top_up: TopUpId,
        account: AccountId,
        amount_minor: i64,
        currency: Currency,
        status: String,
    },
    Payout {
        payout: PayoutId,
        account: AccountId,
        amount_minor: i64,
        currency: Currency,
        status: String,
    },
    Account {
        account: AccountId,
        status: String,
    },
    Limit {
        limit_minor: i64,
        currency: Currency,
        /// Whether it was not so before.
        changed: bool,
    },
    DeductionOrder {
        order: DeductionOrder,
        /// Whether it was not so before.
        changed: bool,
    },
    /// Nothing was done.
    Refused {
        code: String,
        message: String,
    },
}

impl FinanceAnswer {
    fn refused(code: &str, error: &impl ToString) -> FinanceAnswer {
        FinanceAnswer::Refused { code: code.to_owned(), message: error.to_string() }
    }
}

/// Carries it out on a house that this process holds, and answers with a [`FinanceAnswer`].
pub async fn in_house(house: &House, request: FinanceRequest) -> anyhow::Result<Value> {
    let tenant = bookkeeping::tenant_of(house, request.tenant).await?;
    let answer = Desk { house, tenant, by: request.by }.carry_out(request.work).await;
    let answer = match answer {
        Err(Failed::Refused(error)) => FinanceAnswer::refused(code(&error), &error),
        Err(Failed::Otherwise(error)) => return Err(error),
        Ok(answer) => {
            house.catch_up(CATCH_UP).await.context("it is done, but does not show in the views yet")?;
            answer
        }
    };
    Ok(serde_json::to_value(answer)?)
}

enum Failed {
    Refused(FinanceError),
    Otherwise(anyhow::Error),
}

impl<E: std::error::Error + Into<FinanceError>> From<Failure<E>> for Failed {
    fn from(failure: Failure<E>) -> Self {
        match failure {
            Failure::Refused(error) => Failed::Refused(error.into()),
            Failure::KeyReused => Failed::Otherwise(usage(failure_of_key())),
            Failure::Interrupted(interrupted) => Failed::Otherwise(anyhow!(interrupted)),
        }
    }
}

fn failure_of_key() -> String {
    Failure::<books::Error>::KeyReused.to_string()
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Failed::Otherwise(error)
    }
}

/// The refusal's name for programs.
pub fn code(error: &FinanceError) -> &'static str {
    match error {
        FinanceError::Correction(error) => error.code(),
        FinanceError::Books(error) => error.code(),
        FinanceError::Entry { .. } => "ENTRY_REFUSED",
        FinanceError::TopUp(_) => "TOP_UP_REFUSED",
        FinanceError::Payout(_) => "PAYOUT_REFUSED",
        FinanceError::Account(error) => match error {
            account::Error::NotOpen => "UNKNOWN_ACCOUNT",
            account::Error::Frozen => "ACCOUNT_FROZEN",
            account::Error::Closed => "ACCOUNT_CLOSED",
            account::Error::Insufficient { .. } => "INSUFFICIENT_FUNDS",
            account::Error::NotEmpty { .. } => "ACCOUNT_NOT_EMPTY",
            _ => "ACCOUNT_REFUSED",
        },
    }
}

/// The correction that some entries and their date are: the same again is the same.
pub fn correction_of(tenant: TenantId, proposal: &Proposal) -> anyhow::Result<CorrectionId> {
    let content = serde_json::to_vec(proposal)?;
    Ok(CorrectionId(derived_id(Uuid::nil(), &[b"correction", tenant.0.as_bytes(), &content])))
}

/// Gives one person's commands for one tenant.
struct Desk<'a> {
    house: &'a House,
    tenant: TenantId,
    by: ActorId,
}

impl Desk<'_> {
    fn request(&self, mutation: &str, key: Uuid, input: &impl Serialize) -> Request {
        Request::new((self.tenant, self.by), mutation, key, input, self.house.commands.now())
    }

    async fn carry_out(&self, work: FinanceWork) -> Result<FinanceAnswer, Failed> {
        let finance = &self.house.finance;
        match work {
            FinanceWork::Propose { file, on } => self.propose(file, on).await,
            FinanceWork::Apply(id) => self.apply(id).await,
            FinanceWork::Reject(id) => {
                let done = finance.reject_correction(self.request("rejectCorrection", id.0, &id), id).await?;
                shown(id, &done.value, None)
            }
            FinanceWork::Limit(limit) => {
                let request = self.request("setApprovalLimit", self.house.commands.new_id(), &limit);
                let done = self.house.commands.set_approval_limit(request, limit).await?;
                let (limit_minor, currency) = (limit.minor, limit.currency);
                Ok(FinanceAnswer::Limit { limit_minor, currency, changed: !done.events.is_empty() })
            }
            FinanceWork::DeductionOrder(order) => {
                let request = self.request("setDeductionOrder", self.house.commands.new_id(), &order);
                let done = self.house.commands.set_deduction_order(request, order).await?;
                Ok(FinanceAnswer::DeductionOrder { order, changed: !done.events.is_empty() })
            }
            FinanceWork::TopUp { new: NewMoney { account, amount, key }, source } => {
                let new = NewTopUp { account, amount, source };
                let request = self.request("topUp", key, &new);
                let done = finance.top_up(request, new).await?;
                Ok(top_up(TopUpId(request.id), new, &done.value))
            }
            FinanceWork::PayOut(NewMoney { account, amount, key }) => {
                let new = NewPayout { account, amount };
                let request = self.request("payOut", key, &new);
                let done = finance.pay_out(request, new).await?;
                payout(PayoutId(request.id), &done.value)
            }
            FinanceWork::Confirm(id) => {
                let done = finance.confirm_payout(self.request("confirmPayout", id.0, &id), id).await?;
                payout(id, &done.value)
            }
            FinanceWork::Cancel(id) => {
                let done = finance.cancel_payout(self.request("cancelPayout", id.0, &id), id).await?;
                payout(id, &done.value)
            }
            FinanceWork::Adjust { new: NewMoney { account, amount: by, key }, reason, reference } => {
                let new = NewAdjustment { account, by, reason, reference };
                let request = self.request("adjust", key, &new);
                let done = finance.adjust(request, new).await?;
                shown(CorrectionId(request.id), &done.value, None)
            }
            FinanceWork::Freeze(id) => self.on_account(id, account::Command::Freeze).await,
            FinanceWork::Unfreeze(id) => self.on_account(id, account::Command::Unfreeze).await,
            FinanceWork::Close(id) => self.on_account(id, account::Command::Close).await,
        }
    }

    async fn propose(&self, file: PathBuf, on: Option<Date>) -> Result<FinanceAnswer, Failed> {
        let read = tokio::task::spawn_blocking(move || file::read(&file));
        let read = read.await.map_err(|error| Failed::Otherwise(anyhow!("reading the file broke off: {error}")))??;
        let dated = match on {
            Some(day) => Some(self.house.finance.dated(self.tenant, day).await?),
            None => None,
        };
        let proposal = Proposal { entries: read.entries, dated };
        let id = correction_of(self.tenant, &proposal)?;
        let request = self.request("proposeCorrection", id.0, &proposal);
        let entries = proposal.entries.clone();
        let new = NewCorrection { proposal, file: Some(read.digest) };
        let proposed = self.house.finance.propose(request, id, new).await;
        let done = proposed.map_err(|failure| match failure {
            // A row is easier to find by its line.
            Failure::Refused(FinanceError::Entry { entry, account, error }) => {
                let line = read.lines.get(entry as usize).copied().unwrap_or_default();
                Failed::Otherwise(usage(format!("line {line}: account: {account}: {error}")))
            }
            failure => failure.into(),
        })?;
        // One that was decided before has made its changes already, or makes none.
        let changes = match &done.value {
            Correction::Proposed(_) => Some(self.preview(entries).await?),
            _ => None,
        };
        shown(id, &done.value, changes)
    }

    async fn apply(&self, id: CorrectionId) -> Result<FinanceAnswer, Failed> {
        let look = |correction: &Correction| match correction {
            Correction::Proposed(sheet) => Some(sheet.proposal.entries.clone()),
            _ => None,
        };
        let entries = self.house.commands.look(self.tenant, id, look).await.map_err(|error| anyhow!(error))?;
        let changes = match entries {
            Some(entries) => Some(self.preview(entries).await?),
            None => None,
        };
        let done = self.house.finance.apply_correction(self.request("applyCorrection", id.0, &id), id).await?;
        shown(id, &done.value, changes)
    }

    /// What entries make of the balances now.
    async fn preview(&self, entries: Vec<Entry>) -> anyhow::Result<Changes> {
        self.house.catch_up(CATCH_UP).await.context("the views do not show the balances yet")?;
        let tenant = self.tenant;
        let preview = self.house.views.read(move |snapshot| Preview::of_entries(snapshot, tenant, &entries)).await?;
        Ok(Changes::from(&preview))
    }

    async fn on_account(&self, id: AccountId, command: account::Command) -> Result<FinanceAnswer, Failed> {
        let request = self.request("onAccount", self.house.commands.new_id(), &id);
        self.house.commands.on_account(request, id, command).await?;
        let look = |account: &Account| match account {
            Account::Open(book) if book.frozen => "frozen",
            Account::Open(_) => "open",
            Account::Unopened => "unopened",
            Account::Closed(_) => "closed",
        };
        let status = self.house.commands.look(self.tenant, id, look).await.map_err(|error| anyhow!(error))?;
        Ok(FinanceAnswer::Account { account: id, status: status.to_owned() })
    }
}

fn shown(id: CorrectionId, correction: &Correction, changes: Option<Changes>) -> Result<FinanceAnswer, Failed> {
    let sheet = correction.sheet().map_err(|error| Failed::Refused(error.into()))?;
    let refused = match correction {
        Correction::Settled(_, _, refused) => refused.iter().map(|entry| entry + 1).collect(),
        _ => vec![],
    };
    Ok(FinanceAnswer::Correction {
        correction: id,
        status: correction.status().to_ascii_lowercase(),
        proposed_by: sheet.by,
        entries: sheet.proposal.entries.len(),
        refused,
        changes,
    })
}

fn top_up(id: TopUpId, new: NewTopUp, top_up: &TopUp) -> FinanceAnswer {
    FinanceAnswer::TopUp {
        top_up: id,
        account: new.account,
        amount_minor: new.amount.minor,
        currency: new.amount.currency,
        status: top_up.status().to_ascii_lowercase(),
    }
}

fn payout(id: PayoutId, payout: &Payout) -> Result<FinanceAnswer, Failed> {
    let slip = payout.slip().map_err(|error| Failed::Refused(error.into()))?;
    Ok(FinanceAnswer::Payout {
        payout: id,
        account: slip.account,
        amount_minor: slip.amount.minor,
        currency: slip.amount.currency,
        status: payout.status().to_ascii_lowercase(),
    })
}
