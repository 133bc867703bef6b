//! What is known of diners as people: sealed before it is recorded, and erased with their keys.
//!
//! An erasure is two steps: the diner's event, then their key. Whoever asks takes both; after a crash
//! between them the follower takes the second, and so does a repeat.

use std::time::Duration;

use commands::{Commands, Failure, Interrupted, Outcome, Request};
use domain::{
    AccountId, CommandId, CompanyId, DinerId, TenantId,
    account::Account,
    details::Details,
    diner::{self, Command, Diner, Employment, Standing},
    personal::{OutsideId, Person, Personal, SealError},
};
use jiff::tz::TimeZone;
use projections::{
    PageSize, ViewError, Views,
    diner_orders::{self, Unfinished},
    diners,
};
use store::{
    Position,
    keys::{Assigned, Held, KeyError, Keyring},
};

/// How long an erasure waits for the views before it looks for open orders.
const CATCH_UP: Duration = Duration::from_secs(10);
/// Room for an erasure's events.
const ROOM: u32 = 2;

/// Why nothing was recorded, or nobody erased.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PersonalError {
    #[error(transparent)]
    Diner(#[from] diner::Error),
    #[error("that employee number is another diner's")]
    NumberTaken,
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error("the views cannot be read: {0}")]
    Views(String),
}

/// A diner as a company names them: by id, by employee number, or both.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    /// None: whoever has the employee number.
    pub diner: Option<DinerId>,
    pub employee_number: Option<String>,
    pub details: Option<Details>,
}

/// Who was meant, and their details sealed. Nothing of it is recorded yet.
#[derive(Clone, Debug)]
pub struct Named {
    pub diner: DinerId,
    pub sealed: Option<Sealed>,
    number: Option<OutsideId>,
}

/// Details, and a digest of them under their person's key.
#[derive(Clone, Debug)]
pub struct Sealed {
    pub details: Personal<Details>,
    pub digest: [u8; 16],
}

/// What is known of people, where there are keys. Cheap to clone.
#[derive(Clone)]
pub struct People {
    commands: Commands,
    views: Views,
    keys: Option<Keyring>,
}

type Done = Result<Outcome<diner::Event>, Failure<PersonalError>>;

fn refused(error: impl Into<PersonalError>) -> Failure<PersonalError> {
    Failure::Refused(error.into())
}

fn failed(failure: Failure<diner::Error>) -> Failure<PersonalError> {
    failure.map(PersonalError::from)
}

fn unseen(error: impl std::fmt::Display) -> Failure<PersonalError> {
    Failure::Refused(PersonalError::Views(error.to_string()))
}

impl People {
    pub fn new(commands: Commands, views: Views, keys: Option<Keyring>) -> People {
        People { commands, views, keys }
    }

    /// The keys, for readers.
    pub fn keyring(&self) -> Option<&Keyring> {
        self.keys.as_ref()
    }

    fn keys(&self) -> Result<&Keyring, KeyError> {
        self.keys.as_ref().ok_or_else(Keyring::none)
    }

    /// Finds out who is meant, in the order asked, and seals their details. A number that names
    /// nobody yet is given the diner that follows from it. Keys are durable before this answers.
    pub async fn name(
        &self,
        tenant: TenantId,
        company: CompanyId,
        namings: &[Naming],
    ) -> Result<Vec<Result<Named, PersonalError>>, KeyError> {
        let keys = self.keys()?;
        let lookup = keys.lookup_key(tenant).await?;
        let hash = |naming: &Naming| naming.employee_number.as_ref().map(|number| lookup.employee(company, number));
        let numbers: Vec<Option<OutsideId>> = namings.iter().map(hash).collect();
        let asked: Vec<OutsideId> = numbers.iter().flatten().copied().collect();
        let mut whom = keys.whom(tenant, &asked).await?.into_iter();
        let mut found = Vec::with_capacity(namings.len());
        for (naming, number) in namings.iter().zip(numbers) {
            let known = number.and_then(|_| whom.next().flatten());
            let follows = || number.map(|number| number.diner(tenant, company));
            found.push(match (naming.diner, known) {
                (Some(diner), Some(other)) if diner != other => Err(PersonalError::NumberTaken),
                (diner, known) => match diner.or(known).or_else(follows) {
                    Some(diner) => Ok((diner, number)),
                    None => Err(diner::Error::NotKnown.into()),
                },
            });
        }
        let people = found.iter().flatten().map(|(diner, _)| Person { tenant, diner: *diner }).collect::<Vec<_>>();
        let mut made = keys.make(&people).await?.into_iter();
        let named = found.into_iter().zip(namings).map(|(found, naming)| {
            let (diner, number) = found?;
            let key = made.next().flatten().ok_or(diner::Error::Erased)?;
            let seal = |details| {
                let sealed = Personal::seal(details, Person { tenant, diner }, &key)?;
                Ok::<_, SealError>(Sealed { details: sealed, digest: key.digest(&(diner, details)) })
            };
            Ok(Named { diner, sealed: naming.details.as_ref().map(seal).transpose()?, number })
        });
        Ok(named.collect())
    }

    /// Lets the employee numbers of these name them, once their events are recorded: in their order
    /// whether it was so done. Details without a number take the one away that was there.
    pub async fn number(
        &self,
        tenant: TenantId,
        company: CompanyId,
        named: &[Named],
    ) -> Result<Vec<Assigned>, KeyError> {
        let speaks = |named: &&Named| named.number.is_some() || named.sealed.is_some();
        let ids: Vec<_> = named.iter().filter(speaks).map(|named| (named.diner, named.number)).collect();
        let mut assigned = match ids.is_empty() {
            true => vec![],
            false => self.keys()?.assign(tenant, company, &ids).await?,
        }
        .into_iter();
        let each = named.iter().map(|named| if speaks(&named) { assigned.next() } else { None });
        Ok(each.map(|assigned| assigned.unwrap_or(Assigned::Done)).collect())
    }

    /// Records who a diner is. The request's digest is replaced by one under the diner's key.
    pub async fn set_details(&self, request: Request, diner: DinerId, details: Details) -> Done {
        self.keys().map_err(refused)?;
        let tenant = request.tenant;
        let company = self.commands.look(tenant, diner, |diner: &Diner| match diner {
            Diner::Here { employment, .. } => match employment {
                Employment::Running { company, .. } | Employment::Ended { company, .. } => Ok(*company),
                Employment::None => Err(diner::Error::NotKnown),
            },
            Diner::Erased => Err(diner::Error::Erased),
        });
        let company = company.await?.map_err(refused)?;
        let naming =
            Naming { diner: Some(diner), employee_number: details.employee_number.clone(), details: Some(details) };
        let named = self.name(tenant, company, &[naming]).await.map_err(refused)?.pop();
        let named = named.unwrap_or(Err(diner::Error::NotKnown.into())).map_err(Failure::Refused)?;
        let Some(Sealed { details, digest }) = named.sealed.clone() else {
            return Err(refused(diner::Error::NotKnown));
        };
        let request = Request { digest, ..request };
        let recorded = self.commands.recorded::<Diner>(tenant, diner, CommandId(request.id)).await?;
        // A late repeat of details that were replaced since does not bring their number back.
        let stands = |diner: &Diner| matches!(diner, Diner::Here { details: Some(now), .. } if *now == details);
        if recorded.is_empty() || self.commands.look(tenant, diner, stands).await? {
            // Before the event: a number that is another's refuses it, and nothing is recorded.
            let assigned = self.number(tenant, company, &[named]).await.map_err(refused)?;
            if let Some(Assigned::Taken(_)) = assigned.first() {
                return Err(refused(PersonalError::NumberTaken));
            }
        }
        let command = Command::SetDetails { details: details.clone() };
        self.commands.on_diner(request, diner, command).await.map_err(failed)
    }

    /// Whom a company means by an employee number, if anybody.
    pub async fn find(
        keys: &Keyring,
        tenant: TenantId,
        company: CompanyId,
        number: &str,
    ) -> Result<Option<DinerId>, KeyError> {
        let Some(lookup) = keys.known_lookup_key(tenant).await? else { return Ok(None) };
        Ok(keys.whom(tenant, &[lookup.employee(company, number)]).await?.pop().flatten())
    }

    /// Erases a diner for good: the event, then the key. To be asked again after a crash; it does
    /// what is left to do.
    pub async fn erase(&self, request: Request, diner: DinerId) -> Done {
        let keys = self.keys().map_err(refused)?;
        let head = self.commands.store().head().await.map_err(|error| Interrupted::Unavailable(error.to_string()))?;
        self.views.wait_for(head, CATCH_UP).await.map_err(unseen)?;
        let unfinished = diner_orders::unfinished(&self.views, request.tenant, diner).await.map_err(unseen)?;
        let done = self.record_erasure(request, diner, unfinished).await?;
        keys.erase(&[Person { tenant: request.tenant, diner }]).await.map_err(refused)?;
        Ok(done)
    }

    /// One chain: what the diner's accounts have, and the event, or why not.
    pub(crate) async fn record_erasure(&self, request: Request, diner: DinerId, unfinished: Unfinished) -> Done {
        let (commands, tenant) = (self.commands.clone(), request.tenant);
        let Unfinished { orders, refunds } = unfinished;
        let today = request.at.date_in(&TimeZone::UTC);
        let chain = self.commands.pipelined(ROOM, move || {
            let commands = commands.clone();
            async move {
                let mut balances = Vec::new();
                for id in [AccountId::Wallet(diner), AccountId::Subsidy(diner)] {
                    let has = |account: &Account| account.book().ok().map(|book| (id, book.posted(), book.held()));
                    balances.extend(commands.look(tenant, id, has).await?);
                }
                let standing = Standing { today, balances, orders, refunds };
                match commands.on_diner(request, diner, Command::Erase { standing }).await {
                    Err(Failure::Interrupted(interrupted)) => Err(interrupted),
                    decided => Ok(decided),
                }
            }
        });
        let finished = chain.await?;
        let outcome = finished.value.map_err(failed)?;
        Ok(Outcome { position: finished.position, ..outcome })
    }

    /// Deletes the keys of those whom events after `after` erased, where they are still there, and
    /// answers how far it came. After a restart it begins at 0: keys that a backup brought back go too.
    pub async fn finish_erasures(&self, after: Position) -> Result<Position, FinishError> {
        let Some(keys) = &self.keys else { return Ok(after) };
        let mut done = after;
        loop {
            let rows = diners::erased(&self.views, done, PageSize::MAX).await?;
            let people: Vec<Person> = rows.iter().map(|row| Person { tenant: row.tenant, diner: row.diner }).collect();
            let held = match keys.find(&people).await {
                // There are no keys at all. Should they come back, they are looked through.
                Err(KeyError::Missing(_)) => return Ok(after),
                held => held?,
            };
            let left: Vec<Person> =
                people.into_iter().zip(held).filter(|(_, held)| *held != Held::Erased).map(|(left, _)| left).collect();
            if !left.is_empty() {
                keys.erase(&left).await?;
                tracing::info!(people = left.len(), "keys of erased people were deleted");
            }
            done = rows.last().and_then(|row| row.erased).unwrap_or(done);
            if rows.len() < PageSize::MAX.get() {
                return Ok(done);
            }
        }
    }
}

/// Why erasures could not be finished. They are tried again.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    #[error(transparent)]
    Views(#[from] ViewError),
    #[error(transparent)]
    Keys(#[from] KeyError),
}
