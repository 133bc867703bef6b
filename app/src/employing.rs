//! Whom a company employs, and who they are, from a CSV file.
//!
//! A row names its diner by id or by employee number. What it says of a person is sealed before
//! anything is recorded, and no error, answer or log line repeats it.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use anyhow::Context;
use commands::{Failure, Interrupted, Request};
use domain::{
    CompanyId, DinerId, GroupId, TenantId, derived_id,
    details::{self, Details},
    diner::{self, Command, Diner, Employment},
};
use jiff::civil::Date;
use sagas::{Named, Naming, PersonalError};
use serde::{Deserialize, Serialize};
use store::keys::Assigned;

use crate::{
    bookkeeping::COMMAND_LINE,
    config::usage,
    import::table::{Fault, Row, Table, parsed},
    people::without_keys,
    progress::{OnProgress, Progress},
    subsidies::SubsidyAnswer,
    wiring::House,
};

/// Diners of one chain.
const AT_ONCE: usize = 500;
/// Events that a row may lead to: it joins or moves, has details, leaves.
const EVENTS: usize = 3;
/// Most bad rows that are listed.
const LISTED: usize = 1_000;
/// Most bad rows that a refusal of the whole file names.
const NAMED: usize = 20;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BadRow {
    pub line: u64,
    /// BAD_FIELD, FIELD_COUNT, TWICE or REFUSED.
    pub code: String,
    /// The column that is wrong; none when it is the row as a whole.
    pub column: Option<String>,
    /// Never with what a person's column says.
    pub reason: String,
}

impl BadRow {
    fn of(line: u64, fault: &Fault) -> BadRow {
        let column = fault.field.map(str::to_owned);
        BadRow { line, code: fault.code().to_owned(), column, reason: fault.to_string() }
    }

    fn refused(line: u64, column: Option<&str>, reason: impl std::fmt::Display) -> BadRow {
        let reason = column.map_or_else(|| reason.to_string(), |column| format!("{column}: {reason}"));
        BadRow { line, code: "REFUSED".to_owned(), column: column.map(str::to_owned), reason }
    }
}

/// One row of a file of diners.
#[derive(Clone, Debug)]
struct Entry {
    line: u64,
    group: Option<GroupId>,
    from: Date,
    /// The first day that is not worked any more.
    to: Option<Date>,
    naming: Naming,
}

/// An employment. It says nothing of the person.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Asked {
    diner: DinerId,
    company: CompanyId,
    group: Option<GroupId>,
    from: Date,
    to: Option<Date>,
}

/// One row, ready to be carried out.
#[derive(Clone, Debug)]
struct Job {
    line: u64,
    asked: Asked,
    employ: Request,
    /// With the request of its own that details have.
    named: Option<(Named, Request)>,
}

/// Employs for one company.
pub struct Employing<'a> {
    pub house: &'a House,
    pub tenant: TenantId,
    pub company: CompanyId,
}

impl Employing<'_> {
    pub async fn employ(&self, file: PathBuf, progress: OnProgress<'_>) -> anyhow::Result<SubsidyAnswer> {
        let path = file.clone();
        let read = tokio::task::spawn_blocking(move || File::read(&path));
        let File { rows, entries, mut bad, personal } = read.await.context("reading the file broke off")??;
        if personal {
            whole(&file, &bad)?;
        }
        let mut chains = Vec::new();
        for some in entries.chunks(AT_ONCE) {
            chains.push(self.jobs(some, &mut bad).await?);
        }
        // Who is meant is known of all before anything is recorded of one.
        if personal {
            whole(&file, &bad)?;
        }
        let (mut changed, mut done) = (0_u64, 0_u64);
        for jobs in chains {
            done += jobs.len() as u64;
            for (line, outcome) in self.carry_out(jobs).await? {
                match outcome {
                    Ok(events) => changed += u64::from(events > 0),
                    Err(why) => bad.push(BadRow::refused(line, None, why)),
                }
            }
            progress(Progress::new("employing", done, Some(entries.len() as u64)));
        }
        bad.sort_unstable_by_key(|row| row.line);
        let bad_rows = bad.len() as u64;
        bad.truncate(LISTED);
        Ok(SubsidyAnswer::Employed { file, rows, changed, bad_rows, bad })
    }

    /// Finds out who is meant and seals what is said of them.
    async fn jobs(&self, some: &[Entry], bad: &mut Vec<BadRow>) -> anyhow::Result<Vec<Job>> {
        let people = |entry: &&Entry| entry.naming.employee_number.is_some() || entry.naming.details.is_some();
        let namings: Vec<Naming> = some.iter().filter(people).map(|entry| entry.naming.clone()).collect();
        let named = match namings.is_empty() {
            true => vec![],
            false => self.house.people.name(self.tenant, self.company, &namings).await.map_err(without_keys)?,
        };
        let mut named = named.into_iter();
        let mut jobs = Vec::with_capacity(some.len());
        for entry in some {
            let named = if people(&entry) { named.next().transpose() } else { Ok(None) };
            let (named, diner) = match (named, entry.naming.diner) {
                (Ok(Some(named)), _) => (Some(named.clone()), named.diner),
                (Ok(None), Some(diner)) => (None, diner),
                (Ok(None), None) => continue,
                (Err(why), _) => {
                    let column = (why == PersonalError::NumberTaken).then_some("employee_number");
                    bad.push(BadRow::refused(entry.line, column, why));
                    continue;
                }
            };
            let Entry { line, group, from, to, .. } = *entry;
            let asked = Asked { diner, company: self.company, group, from, to };
            let (commands, who) = (&self.house.commands, (self.tenant, COMMAND_LINE));
            // The diner itself knows a repeat. A key made of the row would take one for it whatever another file
            // has changed since.
            let employ = Request::new(who, "employ", commands.new_id(), &asked, commands.now());
            let details = Request::new(who, "setDinerDetails", commands.new_id(), &(), commands.now());
            jobs.push(Job { line, asked, employ, named: named.map(|named| (named, details)) });
        }
        Ok(jobs)
    }

    /// One chain; per row how many events it led to, or why it was refused. Then employee numbers
    /// name those who were taken.
    async fn carry_out(&self, jobs: Vec<Job>) -> anyhow::Result<Vec<(u64, Result<usize, String>)>> {
        let jobs = Arc::new(jobs);
        let (commands, of_chain) = (self.house.commands.clone(), Arc::clone(&jobs));
        let room = u32::try_from(jobs.len() * EVENTS)?;
        let finished = self.house.commands.pipelined(room.max(1), move || {
            let (commands, jobs) = (commands.clone(), Arc::clone(&of_chain));
            async move {
                let mut outcomes = Vec::with_capacity(jobs.len());
                for job in jobs.iter() {
                    outcomes.push((job.line, job.carry_out(&commands).await?));
                }
                Ok(outcomes)
            }
        });
        let mut outcomes = finished.await?.value;
        let taken = jobs.iter().zip(&mut outcomes).filter(|(_, (_, outcome))| outcome.is_ok());
        let (named, mut outcomes_of): (Vec<Named>, Vec<_>) =
            taken.filter_map(|(job, outcome)| Some((job.named.as_ref()?.0.clone(), outcome))).unzip();
        if !named.is_empty() {
            let assigned = self.house.people.number(self.tenant, self.company, &named).await.map_err(without_keys)?;
            for ((_, outcome), assigned) in outcomes_of.iter_mut().zip(assigned) {
                if let Assigned::Taken(_) = assigned {
                    *outcome = Err(PersonalError::NumberTaken.to_string());
                }
            }
        }
        Ok(outcomes)
    }
}

impl Job {
    /// Joins the diner, or moves who is employed already, sets details, and ends what is to end.
    async fn carry_out(&self, commands: &commands::Commands) -> Result<Result<usize, String>, Interrupted> {
        let Asked { diner, company, group, from, to } = self.asked;
        let known = commands.look(self.employ.tenant, diner, |diner: &Diner| match diner {
            Diner::Here { employment, .. } => Some(employment.clone()),
            Diner::Erased => None,
        });
        let begin = match known.await? {
            None => return Ok(Err(diner::Error::Erased.to_string())),
            Some(Employment::Running { .. }) => Some(Command::Move { company, group, from }),
            Some(Employment::Ended { company: of, on, .. }) if of == company && to == Some(on) => None,
            Some(Employment::None | Employment::Ended { .. }) => Some(Command::Join { company, group, from }),
        };
        let end = begin.as_ref().and(to).map(|on| Command::Leave { on });
        let step = |number: u8| Request { id: derived_id(self.employ.id, &[&[number]]), ..self.employ };
        let sealed = self.named.as_ref().and_then(|(named, request)| Some((named.sealed.as_ref()?, *request)));
        let details = sealed.map(|(sealed, request)| {
            let request = Request { digest: sealed.digest, ..request };
            (request, Command::SetDetails { details: sealed.details.clone() })
        });
        let begin = begin.map(|command| (step(0), command));
        let end = end.map(|command| (step(1), command));
        let mut events = 0;
        for (request, command) in [begin, details, end].into_iter().flatten() {
            match commands.on_diner(request, diner, command).await {
                Ok(done) => events += if done.repeated { 0 } else { done.events.len() },
                Err(Failure::Interrupted(interrupted)) => return Err(interrupted),
                Err(refused) => return Ok(Err(refused.to_string())),
            }
        }
        Ok(Ok(events))
    }
}

/// A file with people in it is refused whole where a row cannot be read or names nobody: put right later,
/// it would be a person whom nobody finds until then.
fn whole(file: &std::path::Path, bad: &[BadRow]) -> anyhow::Result<()> {
    if bad.is_empty() {
        return Ok(());
    }
    let mut text = format!("{}: {} bad rows, and nothing was recorded:", file.display(), bad.len());
    for row in bad.iter().take(NAMED) {
        text.push_str(&format!("\n  line {}: {}: {}", row.line, row.code, row.reason));
    }
    Err(usage(text))
}

/// A file of diners as it was read.
struct File {
    rows: u64,
    entries: Vec<Entry>,
    bad: Vec<BadRow>,
    /// Whether it has a column about people.
    personal: bool,
}

/// Where the columns are.
struct Columns {
    diner: Option<usize>,
    from: usize,
    to: Option<usize>,
    group: Option<usize>,
    name: Option<usize>,
    number: Option<usize>,
    phone: Option<usize>,
}

impl File {
    fn read(file: &std::path::Path) -> anyhow::Result<File> {
        let broken = |why: String| usage(format!("{}: {why}", file.display()));
        let mut table = Table::open(file, ',')?;
        let maybe = |column| table.optional_column(column).map_err(broken);
        let (to, group) = (maybe("to")?, maybe("group")?);
        let (name, number, phone) = (maybe("name")?, maybe("employee_number")?, maybe("phone")?);
        // Without employee numbers every row names its diner.
        let diner = match number {
            Some(_) => maybe("diner")?,
            None => Some(table.column("diner").map_err(broken)?),
        };
        let from = table.column("from").map_err(broken)?;
        let columns = Columns { diner, from, to, group, name, number, phone };
        let personal = columns.name.or(columns.number).or(columns.phone).is_some();
        let mut read = File { rows: 0, entries: Vec::new(), bad: Vec::new(), personal };
        let (mut diners, mut numbers) = (HashMap::new(), HashMap::new());
        while let Some(row) = table.next().map_err(broken)? {
            read.rows += 1;
            let entry = match columns.entry(&row) {
                Ok(entry) => entry,
                Err(fault) => {
                    read.bad.push(BadRow::of(row.line, &fault));
                    continue;
                }
            };
            let Naming { diner, employee_number, .. } = &entry.naming;
            let twice = diner.and_then(|diner| Some(("diner", diners.insert(diner, row.line)?)));
            let same = |number: &String| numbers.insert(number.clone(), row.line);
            let twice = twice.or(employee_number.as_ref().and_then(same).map(|line| ("employee_number", line)));
            match twice {
                None => read.entries.push(entry),
                Some((column, line)) => read.bad.push(BadRow {
                    line: row.line,
                    code: "TWICE".to_owned(),
                    column: Some(column.to_owned()),
                    reason: format!("{column}: the same is on line {line} already"),
                }),
            }
        }
        Ok(read)
    }
}

impl Columns {
    fn entry(&self, row: &Row<'_>) -> Result<Entry, Fault> {
        row.check()?;
        let optional = |name, column| row.optional(name, column);
        let number = optional("employee_number", self.number)?;
        let number = number.map(details::employee_number).transpose();
        let employee_number = number.map_err(|error| Fault::new(error.field(), error.to_string()))?;
        let diner = optional("diner", self.diner)?.map(|text| parsed("diner", text)).transpose()?;
        if diner.is_none() && employee_number.is_none() {
            return Err(Fault::new("diner", "the field is empty"));
        }
        let (name, phone) = (optional("name", self.name)?, optional("phone", self.phone)?);
        let details = match (name, phone) {
            (None, Some(_)) => return Err(Fault::new("name", "the field is empty, and there is a phone")),
            (None, None) => None,
            (Some(name), phone) => Some(
                Details::new(name, employee_number.as_deref(), phone)
                    .map_err(|error| Fault::new(error.field(), error.to_string()))?,
            ),
        };
        let from: Date = parsed("from", row.text("from", self.from)?)?;
        let to: Option<Date> = optional("to", self.to)?.map(|text| parsed("to", text)).transpose()?;
        if let Some(to) = to.filter(|to| *to < from) {
            return Err(Fault::new("to", format!("{to} is before {from}, when it begins")));
        }
        Ok(Entry {
            line: row.line,
            group: optional("group", self.group)?.map(|text| parsed("group", text)).transpose()?,
            from,
            to,
            naming: Naming { diner, employee_number, details },
        })
    }
}
