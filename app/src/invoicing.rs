//! Work on invoices to companies: issuing, payments, taking them back, and companies' credit. Done by the
//! server that holds the folder, or here.

use anyhow::Context;
use commands::{Failure, Request};
use domain::{
    AccountId, CompanyId, InvoiceId, Money, TenantId,
    account::{self, Disclosure},
    invoice::{Invoice, VoidReason},
};
use jiff::civil::Date;
use sagas::{NewInvoice, Standing};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    bookkeeping::{self, CATCH_UP, COMMAND_LINE},
    subsidies::explained,
    wiring::House,
};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvoiceWork {
    Issue {
        company: CompanyId,
        days: u16,
        key: Uuid,
    },
    Pay {
        invoice: InvoiceId,
        amount: Money,
        key: Uuid,
    },
    Void {
        invoice: InvoiceId,
        reason: VoidReason,
    },
    /// The most that a company may owe.
    Limit {
        company: CompanyId,
        limit: Money,
    },
    /// What a company sees of its diners' meals.
    Disclose {
        company: CompanyId,
        disclosure: Disclosure,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InvoiceRequest {
    /// None: the only tenant that there is.
    pub tenant: Option<TenantId>,
    pub work: InvoiceWork,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum InvoiceAnswer {
    Invoice {
        invoice: InvoiceId,
        company: CompanyId,
        number: u32,
        /// `open`, `settled` or `voided`.
        state: String,
        amount: Money,
        paid: Money,
        through: Date,
        due_on: Date,
        /// Whether it was not so before.
        changed: bool,
    },
    Company {
        company: CompanyId,
        /// Whether it was not so before.
        changed: bool,
    },
}

/// Carries it out on a house that this process holds.
pub async fn carry_out(house: &House, request: InvoiceRequest) -> anyhow::Result<Value> {
    let tenant = bookkeeping::tenant_of(house, request.tenant).await?;
    let invoices = house.finance.invoices();
    let work = request.work;
    let request =
        |mutation: &str, key| Request::new((tenant, COMMAND_LINE), mutation, key, &work, house.commands.now());
    let fresh = || house.commands.new_id();
    let answer = match work.clone() {
        InvoiceWork::Issue { company, days, key } => {
            standing(invoices.issue(request("issueInvoice", key), NewInvoice { company, days }).await)?
        }
        InvoiceWork::Pay { invoice, amount, key } => {
            standing(invoices.pay(request("payInvoice", key), invoice, amount).await)?
        }
        // An invoice itself knows a repeat of this.
        InvoiceWork::Void { invoice, reason } => {
            standing(invoices.void(request("voidInvoice", fresh()), invoice, reason).await)?
        }
        InvoiceWork::Limit { company, limit } => {
            let command = account::Command::SetFloor { floor: limit.negated() };
            on_company(house, request("setCreditLimit", fresh()), company, command).await?
        }
        InvoiceWork::Disclose { company, disclosure } => {
            let command = account::Command::SetDisclosure { disclosure };
            on_company(house, request("setCompanyDisclosure", fresh()), company, command).await?
        }
    };
    house.catch_up(CATCH_UP).await.context("it is done, but does not show in the views yet")?;
    Ok(serde_json::to_value(answer)?)
}

async fn on_company(
    house: &House,
    request: Request,
    company: CompanyId,
    command: account::Command,
) -> anyhow::Result<InvoiceAnswer> {
    let done = house.commands.on_account(request, AccountId::Company(company), command).await.map_err(explained)?;
    Ok(InvoiceAnswer::Company { company, changed: !done.events.is_empty() })
}

fn standing<E: std::error::Error + Send + Sync + 'static>(
    done: Result<Standing, Failure<E>>,
) -> anyhow::Result<InvoiceAnswer> {
    let Standing { invoice, state, repeated, .. } = done.map_err(explained)?;
    let sheet = state.sheet()?;
    let bill = sheet.bill;
    let state = match &state {
        Invoice::New | Invoice::Open(_) => "open",
        Invoice::Settled(_) => "settled",
        Invoice::Voided(..) => "voided",
    };
    Ok(InvoiceAnswer::Invoice {
        invoice,
        company: bill.company,
        number: bill.number,
        state: state.to_owned(),
        amount: bill.amount,
        paid: sheet.paid(),
        through: bill.through,
        due_on: bill.due_on,
        changed: !repeated,
    })
}
