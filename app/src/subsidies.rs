//! What companies grant: policies, runs, and whom they employ, changed by an operator's commands.

use std::{collections::HashMap, path::PathBuf};

use anyhow::{Context, anyhow};
use commands::{Failure, Interrupted, Request};
use domain::{
    AccountId, CompanyId, Currency, DinerId, GrantRunId, GroupId, PolicyId, TenantId, derived_id, diner,
    policy::{self, Terms},
};
use jiff::civil::Date;
use sagas::{GrantError, Granted, NewGrants};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    bookkeeping::{self, COMMAND_LINE},
    config::usage,
    import::table::Table,
    progress::{OnProgress, Progress},
    wiring::House,
};

/// Diners of one chain.
const AT_ONCE: usize = 500;
/// Most bad rows that are listed.
const LISTED: usize = 1_000;

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
    /// A company's funds from the bank, once a key.
    Fund {
        company: CompanyId,
        amount: domain::Money,
        key: Uuid,
    },
    /// From a CSV file of diner,from[,to][,group].
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
        changed: u64,
        bad_rows: u64,
        /// The first of them.
        bad: Vec<BadRow>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BadRow {
    pub line: u64,
    pub reason: String,
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
    let tenant = match request.tenant {
        Some(tenant) => tenant,
        None => bookkeeping::only_tenant(house).await?,
    };
    let operator = Operator { house, tenant };
    let answer = match request.work {
        SubsidyWork::Open(new) => operator.open(new).await,
        SubsidyWork::SetTerms { policy, from, terms } => {
            operator.on_policy(policy, policy::Command::SetTerms { from, terms }).await
        }
        SubsidyWork::End { policy, from } => operator.on_policy(policy, policy::Command::End { from }).await,
        SubsidyWork::Grant { policy, first, last } => operator.grant(NewGrants { policy, first, last }, progress).await,
        SubsidyWork::Fund { company, amount, key } => {
            let request = operator.request("fund", key, &(company, amount));
            let account = AccountId::Company(company);
            house.commands.deposit(request, account, amount).await.map_err(explained)?;
            Ok(SubsidyAnswer::Funded { account, deposit: request.id })
        }
        SubsidyWork::Employ { company, file } => operator.employ(company, file, progress).await,
    };
    Ok(serde_json::to_value(answer?)?)
}

/// Gives an operator's commands for one tenant.
struct Operator<'a> {
    house: &'a House,
    tenant: TenantId,
}

/// A refusal is what the operator got wrong; anything else is the machine's.
fn explained<E: std::error::Error + Send + Sync + 'static>(failure: Failure<E>) -> anyhow::Error {
    match failure {
        Failure::Refused(error) => usage(error.to_string()),
        other => anyhow!(other),
    }
}

impl Operator<'_> {
    fn request(&self, mutation: &str, key: Uuid, input: &impl Serialize) -> Request {
        Request::new((self.tenant, COMMAND_LINE), mutation, key, input, self.house.commands.now())
    }

    /// A key that follows from what is asked: the same again is a repeat.
    fn key_of(input: &impl Serialize) -> anyhow::Result<Uuid> {
        Ok(derived_id(Uuid::nil(), &[&serde_json::to_vec(input)?]))
    }

    async fn open(&self, new: NewPolicy) -> anyhow::Result<SubsidyAnswer> {
        let request = self.request("openPolicy", Self::key_of(&new)?, &new);
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
        let Granted { run, diners, granted, short, .. } = granted.map_err(|failure| match failure {
            Failure::Refused(GrantError::Views(why)) => anyhow!(why),
            failure => explained(failure),
        })?;
        Ok(SubsidyAnswer::Granted {
            run,
            diners,
            granted_minor: granted.minor,
            currency: granted.currency,
            short_minor: short.map(|short| short.minor),
        })
    }

    async fn employ(
        &self,
        company: CompanyId,
        file: PathBuf,
        progress: OnProgress<'_>,
    ) -> anyhow::Result<SubsidyAnswer> {
        let name = file.clone();
        let read = tokio::task::spawn_blocking(move || read(company, &file));
        let (rows, employments, mut bad) = read.await.context("reading the file broke off")??;
        let (mut changed, mut done) = (0_u64, 0_u64);
        for some in employments.chunks(AT_ONCE) {
            for (line, outcome) in self.employ_some(some).await? {
                match outcome {
                    Ok(events) => changed += u64::from(events > 0),
                    Err(why) => bad.push((line, why)),
                }
            }
            done += some.len() as u64;
            progress(Progress::new("employing", done, Some(employments.len() as u64)));
        }
        bad.sort_unstable_by_key(|(line, _)| *line);
        let bad_rows = bad.len() as u64;
        bad.truncate(LISTED);
        let bad = bad.into_iter().map(|(line, reason)| BadRow { line, reason }).collect();
        Ok(SubsidyAnswer::Employed { file: name, rows, changed, bad_rows, bad })
    }

    /// One chain; per row how many events it led to, or why it was refused.
    async fn employ_some(&self, some: &[Employment]) -> anyhow::Result<Vec<(u64, Result<usize, String>)>> {
        let requests: Vec<(Employment, Request)> = some
            .iter()
            .map(|one| Ok((one.clone(), self.request("employ", Self::key_of(one)?, one))))
            .collect::<anyhow::Result<_>>()?;
        let requests = std::sync::Arc::new(requests);
        let commands = self.house.commands.clone();
        let room = u32::try_from(some.len() * 2)?;
        let finished = self.house.commands.pipelined(room, move || {
            let (commands, requests) = (commands.clone(), std::sync::Arc::clone(&requests));
            async move {
                let mut outcomes = Vec::with_capacity(requests.len());
                for (one, request) in requests.iter() {
                    outcomes.push((one.line, one.carry_out(&commands, *request).await?));
                }
                Ok(outcomes)
            }
        });
        Ok(finished.await?.value)
    }
}

/// One row of a file of diners.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Employment {
    /// Where it stands is no part of what it says.
    #[serde(skip)]
    line: u64,
    diner: DinerId,
    company: CompanyId,
    group: Option<GroupId>,
    from: Date,
    /// The first day that is not worked any more.
    to: Option<Date>,
}

impl Employment {
    /// Joins the diner, or moves who is employed already, and ends what is to end.
    async fn carry_out(
        &self,
        commands: &commands::Commands,
        request: Request,
    ) -> Result<Result<usize, String>, Interrupted> {
        let Employment { diner, company, group, from, .. } = *self;
        let known = commands.look(request.tenant, diner, |diner: &diner::Diner| *diner).await?;
        let begin = match known {
            diner::Diner::Employed { .. } => diner::Command::Move { company, group, from },
            diner::Diner::Left { company: of, on } if of == company && self.to == Some(on) => return Ok(Ok(0)),
            diner::Diner::Unknown | diner::Diner::Left { .. } => diner::Command::Join { company, group, from },
        };
        let end = self.to.map(|on| diner::Command::Leave { on });
        let mut events = 0;
        for (step, command) in [Some(begin), end].into_iter().flatten().enumerate() {
            let id = derived_id(request.id, &[&[u8::try_from(step).unwrap_or(u8::MAX)]]);
            match commands.on_diner(Request { id, ..request }, diner, command).await {
                Ok(done) => events += if done.repeated { 0 } else { done.events.len() },
                Err(Failure::Interrupted(interrupted)) => return Err(interrupted),
                Err(refused) => return Ok(Err(refused.to_string())),
            }
        }
        Ok(Ok(events))
    }
}

type Read = (u64, Vec<Employment>, Vec<(u64, String)>);

fn read(company: CompanyId, file: &std::path::Path) -> anyhow::Result<Read> {
    let broken = |why: String| usage(format!("{}: {why}", file.display()));
    let mut table = Table::open(file, ',')?;
    let [diner, from] = ["diner", "from"].map(|column| table.column(column).map_err(broken));
    let (diner, from) = (diner?, from?);
    let (to, group) = (table.column("to").ok(), table.column("group").ok());
    let (mut rows, mut employments, mut bad) = (0, Vec::new(), Vec::new());
    let mut lines: HashMap<DinerId, u64> = HashMap::new();
    while let Some(row) = table.next().map_err(broken)? {
        rows += 1;
        let one = || -> Result<Employment, String> {
            row.check().map_err(|why| why.to_string())?;
            let text = |name, column| row.text(name, column).map_err(|why| why.to_string());
            fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(name: &str, text: &str) -> Result<T, String> {
                text.parse().map_err(|error| format!("{name}: {error}"))
            }
            let optional = |name, column: Option<usize>| match column {
                Some(column) => row.maybe(name, column).map_err(|why| why.to_string()),
                None => Ok(None),
            };
            let (to, group) = (optional("to", to)?, optional("group", group)?);
            Ok(Employment {
                line: row.line,
                diner: parsed("diner", text("diner", diner)?)?,
                company,
                group: group.map(|text| parsed("group", text)).transpose()?,
                from: parsed("from", text("from", from)?)?,
                to: to.map(|text| parsed("to", text)).transpose()?,
            })
        };
        match one().and_then(|one| match lines.insert(one.diner, row.line) {
            None => Ok(one),
            Some(line) => Err(format!("diner: {} is on line {line} already", one.diner)),
        }) {
            Ok(one) => employments.push(one),
            Err(why) => bad.push((row.line, why)),
        }
    }
    Ok((rows, employments, bad))
}
