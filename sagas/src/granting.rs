//! Granting: a company's money to its diners' lots, a batch at a time. Everything that a run does can be
//! done again: it goes on from wherever it stopped, and lots that are there already are left alone.

mod batch;
mod lacking;

use std::{sync::Arc, time::Duration};

use commands::{Cause, Commands, Failure, Interrupted, Request};
use domain::{
    AccountId, Currency, DinerId, GrantRunId, Money, MoneyError, PolicyId, TenantId, Timestamp,
    account::{self, Account},
    grant_run::{self, GrantRun, MAX_BATCH, Plan, Sheet},
    policy::{self, Lot, Policy},
    step_id,
};
use jiff::civil::Date;
use projections::{
    PageSize, ViewError, Views,
    grant_runs::{self, Run as Row},
};
use serde::Serialize;

use crate::{SAGA, SettleError, driven::Driven, standing::Rests};

/// Most lots of one batch, which is one chain.
const BATCH_LOTS: usize = 1_000;
/// Room for its events: each lot may open an account, and the run and the company have theirs.
const BATCH_ROOM: u32 = 2 * BATCH_LOTS as u32 + 8;
/// How long a run waits for the views before it begins.
const CATCH_UP: Duration = Duration::from_secs(10);
const NAME: &str = "grant";

/// What is to be granted. This is what a repeat is compared by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NewGrants {
    pub policy: PolicyId,
    /// For the dates from `first` to `last`, both included.
    pub first: Date,
    pub last: Date,
}

/// Why nothing was granted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GrantError {
    #[error(transparent)]
    Policy(#[from] policy::Error),
    #[error(transparent)]
    Run(#[from] grant_run::Error),
    #[error("{needed} are to be granted to {diners} diners, and the company lacks {short}")]
    Insufficient { needed: Money, diners: u64, short: Money },
    #[error("the company's funds cannot be used: {0}")]
    Company(account::Error),
    #[error(transparent)]
    Money(#[from] MoneyError),
    #[error("the views cannot be read: {0}")]
    Views(String),
}

impl From<ViewError> for GrantError {
    fn from(error: ViewError) -> Self {
        GrantError::Views(error.to_string())
    }
}

/// How far a run is, or what it came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Granted {
    pub run: GrantRunId,
    pub diners: u64,
    pub granted: Money,
    /// Diners of whose lots at least one could not be granted.
    pub skipped: u64,
    /// What the company lacked for the batch that ended the run.
    pub short: Option<Money>,
    pub finished: bool,
}

/// Grants, and what becomes of lots. Cheap to clone.
#[derive(Clone)]
pub struct Subsidies {
    pub(crate) commands: Commands,
    pub(crate) views: Views,
    pub(crate) driven: Driven,
    pub(crate) rests: Rests,
}

/// Diners with the lots that they are to get.
type Grants = Vec<(DinerId, Vec<Lot>)>;

type Answer<T> = Result<T, Failure<GrantError>>;

fn refused(error: impl Into<GrantError>) -> Failure<GrantError> {
    Failure::Refused(error.into())
}

/// A run's own refusal means that somebody else has taken the step; the state will tell.
fn of_run(failure: Failure<grant_run::Error>) -> Failure<GrantError> {
    failure.map(GrantError::from)
}

impl Subsidies {
    pub fn new(commands: Commands, views: Views) -> Self {
        Subsidies { commands, views, driven: Driven::default(), rests: Rests::default() }
    }

    /// Grants what the company's diners lack, batch by batch; `progress` is told of each. Its id is the
    /// request's. When the company cannot pay for all of it, nothing is begun; when nobody lacks
    /// anything, nothing is appended. A caller who goes away does not end it.
    pub async fn grant(
        &self,
        request: Request,
        new: NewGrants,
        progress: impl Fn(Granted) + Send + Sync + 'static,
    ) -> Answer<Granted> {
        let subsidies = self.clone();
        let id = GrantRunId(request.id);
        let task = self.commands.spawn(async move {
            let _driving = subsidies.driven.enter(id.0).await;
            let run = Run { subsidies: &subsidies, tenant: request.tenant, id };
            match run.begin(&request, new).await? {
                Some(nothing) => Ok(nothing),
                None => run.drive(&progress).await,
            }
        });
        task.await.unwrap_or_else(|error| {
            tracing::error!(%error, run = %id, "a run of grants broke off");
            let why = "the run broke off; ask again under the same key".to_owned();
            Err(Interrupted::Unavailable(why).into())
        })
    }

    /// Takes every open run to its end, follows standing orders, and ends every lot that is due or whose diner has
    /// left; answers how many there were.
    pub(crate) async fn settle(&self) -> Result<usize, SettleError> {
        let runs = grant_runs::open(&self.views, PageSize::MAX).await?;
        for Row { tenant, run, .. } in &runs {
            let _driving = self.driven.enter(run.0).await;
            Run { subsidies: self, tenant: *tenant, id: *run }.drive(&|_| {}).await?;
        }
        let stood = self.stand_all().await?;
        let now = self.commands.now();
        let ended = self.expire_all(now).await? + self.clear_all(now).await?;
        Ok(runs.len() + stood + usize::try_from(ended).unwrap_or(usize::MAX))
    }

    /// Goes on with a run that nobody here drives; for the follower.
    pub(crate) fn go_on(&self, tenant: TenantId, id: GrantRunId) {
        if self.driven.contains(id.0) {
            return;
        }
        let subsidies = self.clone();
        drop(self.commands.spawn(async move {
            let _driving = subsidies.driven.enter(id.0).await;
            let run = Run { subsidies: &subsidies, tenant, id };
            if let Err(error) = run.drive(&|_| {}).await {
                tracing::warn!(%error, run = %id, "a run of grants has to wait");
            }
        }));
    }
}

/// One run of one tenant.
struct Run<'a> {
    subsidies: &'a Subsidies,
    tenant: TenantId,
    id: GrantRunId,
}

impl Run<'_> {
    fn commands(&self) -> &Commands {
        &self.subsidies.commands
    }

    fn cause(&self, step: &str) -> Cause {
        let id = step_id(NAME, self.id.0, step);
        Cause::step(id, SAGA, self.id.0, domain::CommandId(self.id.0), self.commands().now())
    }

    async fn sheet(&self) -> Answer<Option<Sheet>> {
        let look = |run: &GrantRun| run.sheet().cloned().ok();
        Ok(self.commands().look(self.tenant, self.id, look).await?)
    }

    /// Begins it, unless there is nothing to grant. A repeat finds it begun.
    async fn begin(&self, request: &Request, new: NewGrants) -> Answer<Option<Granted>> {
        let plan = match self.sheet().await? {
            Some(sheet) => sheet.plan,
            None => {
                self.seen().await?;
                let plan = self.plan(new).await?;
                let (diners, needed) = self.needs(plan, request.at).await?;
                if diners == 0 {
                    let granted = Money::zero(plan.currency);
                    return Ok(Some(Granted {
                        run: self.id,
                        diners,
                        granted,
                        skipped: 0,
                        short: None,
                        finished: true,
                    }));
                }
                self.affords(plan, needed, diners).await?;
                plan
            }
        };
        let (command, cause) = (grant_run::Command::Begin { plan }, request.cause(self.id.0));
        self.commands().execute::<GrantRun>(self.tenant, self.id, command, cause).await.map_err(of_run)?;
        Ok(None)
    }

    /// Waits until the views show whoever was employed a moment ago.
    async fn seen(&self) -> Answer<()> {
        let head = self.commands().store().head().await.map_err(|error| Interrupted::Unavailable(error.to_string()))?;
        let waited = self.subsidies.views.wait_for(head, CATCH_UP).await;
        waited.map_err(|stale| refused(GrantError::Views(stale.to_string())))
    }

    async fn plan(&self, new: NewGrants) -> Answer<Plan> {
        let look = move |policy: &Policy| -> Result<Plan, policy::Error> {
            let book = policy.book()?;
            let range = book.range(new.first, new.last)?;
            Ok(Plan { policy: new.policy, company: book.company, currency: book.currency, range })
        };
        self.commands().look(self.tenant, new.policy, look).await?.map_err(refused)
    }

    /// How many diners lack lots, and what those come to.
    async fn needs(&self, plan: Plan, at: Timestamp) -> Answer<(u64, Money)> {
        let policy = self.policy(plan).await?;
        let (mut diners, mut needed, mut after) = (0, Money::zero(plan.currency), None);
        loop {
            let page = self.page(plan, &policy, after).await?;
            let Some((last, _)) = page.last() else { return Ok((diners, needed)) };
            after = Some(*last);
            for (_, lots) in self.lacking((plan, &policy, at), &page).await? {
                diners += 1;
                needed = needed.plus(sum(plan.currency, &lots)?).map_err(refused)?;
            }
        }
    }

    /// Whether the company has what it takes: better said before than in the middle.
    async fn affords(&self, plan: Plan, needed: Money, diners: u64) -> Answer<()> {
        let look = |account: &Account| match account.book() {
            Ok(book) if book.frozen => Err(account::Error::Frozen),
            Ok(book) => Ok(book.available()),
            Err(error) => Err(error),
        };
        let available = self.commands().look(self.tenant, AccountId::Company(plan.company), look).await?;
        let left = available.map_err(|error| refused(GrantError::Company(error)))?.minus(needed).map_err(refused)?;
        if left.minor < 0 {
            return Err(refused(GrantError::Insufficient { needed, diners, short: left.negated() }));
        }
        Ok(())
    }

    async fn policy(&self, plan: Plan) -> Answer<policy::Book> {
        let look = |policy: &Policy| policy.book().cloned();
        self.commands().look(self.tenant, plan.policy, look).await?.map_err(refused)
    }

    /// Takes the run to its end.
    async fn drive(&self, progress: &(impl Fn(Granted) + Sync)) -> Answer<Granted> {
        let mut seen = None;
        while let Some(sheet) = self.sheet().await?.filter(|sheet| !sheet.finished) {
            let policy = Arc::new(self.policy(sheet.plan).await?);
            let nothing = Money::zero(sheet.plan.currency);
            let (granted, grants) = match &sheet.batch {
                Some(batch) => self.of_batch(&sheet, &policy, &batch.diners).await?,
                None if sheet.short.is_some() => (nothing, vec![]),
                None => (nothing, self.next_batch(&sheet, &policy).await?),
            };
            let done = if grants.is_empty() && sheet.batch.is_none() {
                self.finish().await
            } else {
                self.grant(&sheet, &policy, (granted, grants)).await
            };
            match done {
                // Another driver has taken the step before this one; what it left is seen next.
                Err(Failure::Refused(GrantError::Run(error))) if seen.as_ref() != Some(&sheet) => {
                    tracing::debug!(%error, run = %self.id, "somebody else drives this run of grants too");
                }
                done => done?,
            }
            seen = Some(sheet);
            progress(self.granted().await?);
        }
        self.granted().await
    }

    async fn granted(&self) -> Answer<Granted> {
        let sheet = self.sheet().await?.ok_or_else(|| refused(grant_run::Error::NotBegun))?;
        let Sheet { diners, granted, skipped, short, finished, .. } = sheet;
        Ok(Granted { run: self.id, diners, granted, skipped, short, finished })
    }

    /// The next diners who lack something, as many as fit a batch; none at the end.
    async fn next_batch(&self, sheet: &Sheet, policy: &policy::Book) -> Answer<Grants> {
        let (mut batch, mut lots_in_it, mut after) = (Grants::new(), 0, sheet.after);
        loop {
            let page = self.page(sheet.plan, policy, after).await?;
            let Some((last, _)) = page.last() else { return Ok(batch) };
            after = Some(*last);
            for (diner, lots) in self.lacking((sheet.plan, policy, sheet.begun_at), &page).await? {
                lots_in_it += lots.len();
                if batch.len() == MAX_BATCH || lots_in_it > BATCH_LOTS {
                    return Ok(batch);
                }
                batch.push((diner, lots));
            }
        }
    }

    /// Grants one batch, in one chain, of which so much was `granted` before.
    async fn grant(&self, sheet: &Sheet, policy: &Arc<policy::Book>, (granted, grants): (Money, Grants)) -> Answer<()> {
        let mut amount = Money::zero(sheet.plan.currency);
        for (_, lots) in &grants {
            amount = amount.plus(sum(sheet.plan.currency, lots)?).map_err(refused)?;
        }
        let (number, diners, amount) = match &sheet.batch {
            Some(batch) => (batch.number, batch.diners.clone(), batch.amount),
            None => (sheet.batches + 1, grants.iter().map(|(diner, _)| *diner).collect(), amount),
        };
        let company = AccountId::Company(sheet.plan.company);
        let batch = Arc::new(InHand { number, diners, amount, granted, grants, company, policy: Arc::clone(policy) });
        let finished = self.commands().pipelined_here(BATCH_ROOM, || self.link(Arc::clone(&batch))).await?;
        finished.value
    }

    /// The links of one batch's chain. Every one can be taken again.
    async fn link(&self, batch: Arc<InHand>) -> Result<Answer<()>, Interrupted> {
        let InHand { number, diners, amount, company, .. } = &*batch;
        let begin = grant_run::Command::BeginBatch { diners: diners.clone(), amount: *amount };
        if let Err(failure) = self.step(&format!("batch/{number}"), begin).await {
            return settled(failure);
        }
        // What counts is what was recorded, by whichever driver came first.
        let recorded = |run: &GrantRun| run.sheet().ok()?.batch.as_ref().map(|batch| (batch.number, batch.amount));
        let (number, amount) = match self.commands().look(self.tenant, self.id, recorded).await? {
            Some((known, amount)) if known == *number => (known, amount),
            _ => return Ok(Ok(())),
        };
        let allocate = account::Command::Allocate { run: self.id, batch: number, amount };
        let cause = self.cause(&format!("allocate/{number}"));
        let command = match self.commands().execute::<Account>(self.tenant, *company, allocate, cause).await {
            Ok(_) => {
                let (granted, skipped) = self.to_diners(&batch, amount).await?;
                grant_run::Command::SettleBatch { batch: number, granted, skipped }
            }
            Err(Failure::Interrupted(interrupted)) => return Err(interrupted),
            Err(Failure::Refused(account::Error::Insufficient { short })) => grant_run::Command::RefuseBatch { short },
            // Frozen or closed meanwhile: all of it is lacking.
            Err(Failure::Refused(account::Error::Frozen | account::Error::Closed)) => {
                grant_run::Command::RefuseBatch { short: amount }
            }
            Err(Failure::Refused(error)) => return Ok(Err(refused(GrantError::Company(error)))),
            Err(Failure::KeyReused) => return Ok(Err(Failure::KeyReused)),
        };
        match self.step(&format!("settle/{number}"), command).await {
            Ok(()) => Ok(Ok(())),
            Err(failure) => settled(failure),
        }
    }

    async fn step(&self, name: &str, command: grant_run::Command) -> Answer<()> {
        let done = self.commands().execute::<GrantRun>(self.tenant, self.id, command, self.cause(name)).await;
        done.map(|_| ()).map_err(of_run)
    }

    /// Gives back what was not granted, and ends.
    async fn finish(&self) -> Answer<()> {
        let finished = self.commands().pipelined_here(4, || async {
            let look = |run: &GrantRun| run.sheet().map(|sheet| (sheet.plan.company, sheet.returned())).ok();
            let Some((company, amount)) = self.commands().look(self.tenant, self.id, look).await? else {
                return Ok(Ok(()));
            };
            if amount.is_positive() {
                let (account, command) =
                    (AccountId::Company(company), account::Command::TakeBack { run: self.id, amount });
                let back = self.commands().execute::<Account>(self.tenant, account, command, self.cause("take-back"));
                match back.await {
                    Ok(_) => {}
                    Err(Failure::Interrupted(interrupted)) => return Err(interrupted),
                    Err(Failure::Refused(error)) => return Ok(Err(refused(GrantError::Company(error)))),
                    Err(Failure::KeyReused) => return Ok(Err(Failure::KeyReused)),
                }
            }
            match self.step("finish", grant_run::Command::Finish).await {
                Ok(()) => Ok(Ok(())),
                Err(failure) => settled(failure),
            }
        });
        finished.await?.value
    }
}

/// A batch as its chain grants it.
struct InHand {
    number: u32,
    diners: Vec<DinerId>,
    amount: Money,
    /// What was granted of it before a break, which is not among `grants`.
    granted: Money,
    grants: Grants,
    company: AccountId,
    policy: Arc<policy::Book>,
}

/// An interruption ends the chain, and perhaps begins it anew; anything else is its answer.
fn settled(failure: Failure<GrantError>) -> Result<Answer<()>, Interrupted> {
    match failure {
        Failure::Interrupted(interrupted) => Err(interrupted),
        failure => Ok(Err(failure)),
    }
}

fn sum(currency: Currency, lots: &[Lot]) -> Answer<Money> {
    Money::sum(currency, lots.iter().map(|lot| lot.amount)).map_err(refused)
}
