//! What companies grant: policies, runs, and whom they employ, changed by an operator's commands.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use commands::{Failure, Request};
use domain::{
    AccountId, CompanyId, Currency, GrantRunId, GroupId, PolicyId, TenantId, derived_id,
    policy::{self, Terms},
    top_up::{Source, TopUp},
};
use jiff::civil::Date;
use sagas::{GrantError, Granted, NewGrants, NewTopUp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    bookkeeping::{self, CATCH_UP, COMMAND_LINE},
    config::usage,
    employing::{BadRow, Employing},
    progress::{OnProgress, Progress},
    wiring::House,
};

/// What is to be changed. It may be sent to the server that holds the folder, so paths are absolute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubsidyRequest {
    /// None: the only tenant that there is.
    pub tenant: Option<TenantId>,
    pub work: SubsidyWork,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubsidyWork {
    Open(NewPolicy),
    SetTerms {
        policy: PolicyId,
        from: Date,
        terms: Box<Terms>,
    },
    End {
        policy: PolicyId,
        from: Date,
    },
    Grant {
        policy: PolicyId,
        first: Date,
        last: Date,
    },
    /// Its grants are to make themselves so many days ahead; none: no more.
    Standing {
        policy: PolicyId,
        ahead_days: Option<u16>,
    },
    /// A company's funds from the bank, once a key.
    Fund {
        company: CompanyId,
        amount: domain::Money,
        key: Uuid,
    },
    /// From a CSV file of diner,from[,to][,group][,name][,employee_number][,phone].
    Employ {
        company: CompanyId,
        file: PathBuf,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum SubsidyAnswer {
    Policy {
        policy: PolicyId,
        /// Whether it was not so before.
        changed: bool,
    },
    Granted {
        run: GrantRunId,
        diners: u64,
        granted_minor: i64,
        currency: Currency,
        /// Diners of whose lots at least one could not be granted.
        skipped: u64,
        /// What the company lacked for the batch that ended the run.
        short_minor: Option<i64>,
    },
    Funded {
        account: AccountId,
        deposit: Uuid,
    },
    Employed {
        file: PathBuf,
        rows: u64,
        /// Employments and details.
        changed: u64,
        bad_rows: u64,
        /// The first of them.
        bad: Vec<BadRow>,
    },
}

/// A policy that is to be opened. The same again is the same policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewPolicy {
    pub company: CompanyId,
    pub group: Option<GroupId>,
    pub currency: Currency,
    pub zone: String,
    /// Tells policies of one company apart.
    pub number: u32,
}

/// Carries it out on a house that this process holds.
pub async fn carry_out(house: &House, request: SubsidyRequest, progress: OnProgress<'_>) -> anyhow::Result<Value> {
    let tenant = bookkeeping::tenant_of(house, request.tenant).await?;
    let operator = Operator { house, tenant };
    let answer = match request.work {
        SubsidyWork::Open(new) => operator.open(new).await,
        SubsidyWork::SetTerms { policy, from, terms } => {
            operator.on_policy(policy, policy::Command::SetTerms { from, terms }).await
        }
        SubsidyWork::End { policy, from } => operator.on_policy(policy, policy::Command::End { from }).await,
        SubsidyWork::Grant { policy, first, last } => operator.grant(NewGrants { policy, first, last }, progress).await,
        SubsidyWork::Standing { policy, ahead_days } => {
            let set = |ahead_days| policy::Command::SetStanding { ahead_days };
            operator.on_policy(policy, ahead_days.map_or(policy::Command::EndStanding, set)).await
        }
        SubsidyWork::Fund { company, amount, key } => {
            let request = operator.request("fund", key, &(company, amount));
            let account = AccountId::Company(company);
            let new = NewTopUp { account, amount, source: Source::Bank };
            let done = house.finance.top_up(request, new).await.map_err(explained)?;
            if let TopUp::Failed(_, reason) = done.value {
                return Err(usage(format!("{account} did not take the money: {}", reason.name())));
            }
            Ok(SubsidyAnswer::Funded { account, deposit: request.id })
        }
        SubsidyWork::Employ { company, file } => Employing { house, tenant, company }.employ(file, progress).await,
    };
    let answer = answer?;
    house.catch_up(CATCH_UP).await.context("it is done, but does not show in the views yet")?;
    Ok(serde_json::to_value(answer)?)
}

/// Gives an operator's commands for one tenant.
struct Operator<'a> {
    house: &'a House,
    tenant: TenantId,
}

/// A key that follows from what is asked: the same again is a repeat. Not for personal data.
pub fn key_of(input: &impl Serialize) -> anyhow::Result<Uuid> {
    Ok(derived_id(Uuid::nil(), &[&serde_json::to_vec(input)?]))
}

/// A refusal is what the operator got wrong; anything else is the machine's.
pub fn explained<E: std::error::Error + Send + Sync + 'static>(failure: Failure<E>) -> anyhow::Error {
    match failure {
        Failure::Refused(error) => usage(error.to_string()),
        other => anyhow!(other),
    }
}

impl Operator<'_> {
    fn request(&self, mutation: &str, key: Uuid, input: &impl Serialize) -> Request {
        Request::new((self.tenant, COMMAND_LINE), mutation, key, input, self.house.commands.now())
    }

    async fn open(&self, new: NewPolicy) -> anyhow::Result<SubsidyAnswer> {
        let request = self.request("openPolicy", key_of(&new)?, &new);
        let (of, currency) = ((new.company, new.group), new.currency);
        let opened = self.house.commands.open_policy(request, of, currency, new.zone).await.map_err(explained)?;
        Ok(SubsidyAnswer::Policy { policy: PolicyId(request.id), changed: !opened.repeated })
    }

    /// Versions follow one another, so the policy itself knows a repeat.
    async fn on_policy(&self, policy: PolicyId, command: policy::Command) -> anyhow::Result<SubsidyAnswer> {
        let request = self.request("changePolicy", self.house.commands.new_id(), &policy);
        let done = self.house.commands.on_policy(request, policy, command).await.map_err(explained)?;
        Ok(SubsidyAnswer::Policy { policy, changed: !done.events.is_empty() })
    }

    /// Lots know a repeat, so every request is one of its own: it grants what is lacking now.
    async fn grant(&self, new: NewGrants, progress: OnProgress<'_>) -> anyhow::Result<SubsidyAnswer> {
        let request = self.request("grantSubsidies", self.house.commands.new_id(), &new);
        let (sender, mut told) = tokio::sync::watch::channel(0);
        let run = self.house.subsidies.grant(request, new, move |granted| {
            sender.send_replace(granted.diners);
        });
        tokio::pin!(run);
        let granted = loop {
            tokio::select! {
                granted = &mut run => break granted,
                Ok(()) = told.changed() => progress(Progress::new("granting", *told.borrow_and_update(), None)),
            }
        };
        let Granted { run, diners, granted, skipped, short, .. } = granted.map_err(|failure| match failure {
            Failure::Refused(GrantError::Views(why)) => anyhow!(why),
            failure => explained(failure),
        })?;
        Ok(SubsidyAnswer::Granted {
            run,
            diners,
            granted_minor: granted.minor,
            currency: granted.currency,
            skipped,
            short_minor: short.map(|short| short.minor),
        })
    }
}
