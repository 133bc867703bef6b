//! What finance does with accounts: top-ups, payouts, corrections. Each is a thing with a stream of its own,
//! decided there first; the accounts follow, in the same chain or, after a crash, by the follower.

use commands::{Cause, Commands, Failure, Finished, Hosted, Interrupted, Request};
use domain::{
    AccountId, CommandId, TenantId, Timestamp,
    account::{self, Account},
    books, correction, payout, step_id, top_up,
};
use projections::{PageSize, Views, corrections, invoices, payouts, top_ups};
use uuid::Uuid;

use crate::{Invoices, SAGA, SettleError, driven::Driven, ordering::answered};

/// Why finance's request was refused. Nothing was appended.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FinanceError {
    #[error(transparent)]
    Account(#[from] account::Error),
    #[error(transparent)]
    TopUp(#[from] top_up::Error),
    #[error(transparent)]
    Payout(#[from] payout::Error),
    #[error(transparent)]
    Correction(#[from] correction::Error),
    #[error(transparent)]
    Books(#[from] books::Error),
    /// An account would refuse an entry of a correction. Entries are counted from zero here, and from one
    /// for people.
    #[error("entry {}: {account}: {error}", entry + 1)]
    Entry { entry: u32, account: AccountId, error: account::Error },
}

/// Top-ups, payouts and corrections. Cheap to clone.
#[derive(Clone)]
pub struct Finance {
    pub(crate) commands: Commands,
    views: Views,
    driven: Driven,
    invoices: Invoices,
}

/// The answer of a chain.
pub(crate) type Chained<T> = Result<Result<T, Failure<FinanceError>>, Interrupted>;

/// What is to be done about one thing, by whoever does it.
#[derive(Clone, Copy)]
pub(crate) struct Doing {
    pub(crate) tenant: TenantId,
    /// Of the thing.
    pub(crate) id: Uuid,
    /// The name of its process.
    pub(crate) process: &'static str,
    /// The business time of what is done.
    pub(crate) at: Timestamp,
}

impl Doing {
    /// The cause of a step, whose id follows from the thing.
    pub(crate) fn cause(&self, step: &str) -> Cause {
        let id = step_id(self.process, self.id, step);
        Cause::step(id, SAGA, self.id, CommandId(self.id), self.at)
    }
}

pub(crate) fn refused<T>(error: impl Into<FinanceError>) -> Result<T, Failure<FinanceError>> {
    Err(Failure::Refused(error.into()))
}

impl Finance {
    pub fn new(commands: Commands, views: Views) -> Self {
        let invoices = Invoices::new(commands.clone());
        Finance { commands, views, driven: Driven::default(), invoices }
    }

    pub fn commands(&self) -> &Commands {
        &self.commands
    }

    pub fn invoices(&self) -> &Invoices {
        &self.invoices
    }

    /// Runs `chain` with `thing` to itself. A caller who goes away does not end it.
    pub(crate) async fn chained<T, F, Fut>(
        &self,
        thing: Uuid,
        room: u32,
        chain: F,
    ) -> Result<Finished<T>, Failure<FinanceError>>
    where
        T: Send + 'static,
        F: Fn(Finance) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Chained<T>> + Send + 'static,
    {
        let finance = self.clone();
        self.driven.chained(&self.commands, thing, room, move || chain(finance.clone())).await
    }

    /// Asks the account whether it would refuse a command: the door.
    pub(crate) async fn would_refuse(
        &self,
        tenant: TenantId,
        account: AccountId,
        command: account::Command,
    ) -> Result<Option<account::Error>, Interrupted> {
        let look = |account: &Account| domain::Aggregate::decide(account, command).err();
        self.commands.look(tenant, account, look).await
    }

    /// Takes a step with an account; its refusal is an answer.
    pub(crate) async fn on_account(
        &self,
        doing: &Doing,
        step: &str,
        account: AccountId,
        command: account::Command,
    ) -> Result<Result<(), account::Error>, Interrupted> {
        match self.commands.execute::<Account>(doing.tenant, account, command, doing.cause(step)).await {
            Ok(_) => Ok(Ok(())),
            Err(Failure::Refused(error)) => Ok(Err(error)),
            Err(Failure::Interrupted(interrupted)) => Err(interrupted),
            // A step has no content of a caller's.
            Err(Failure::KeyReused) => Ok(Err(account::Error::OtherContent)),
        }
    }

    /// Gives a thing the command that was asked for; its refusal is the answer.
    pub(crate) async fn ask<A: Hosted>(
        &self,
        request: &Request,
        id: A::Id,
        command: A::Command,
        thing: Uuid,
    ) -> Result<Result<(), Failure<FinanceError>>, Interrupted>
    where
        FinanceError: From<A::Error>,
    {
        let done = self.commands.execute::<A>(request.tenant, id, command, request.cause(thing)).await;
        Ok(answered(done)?.map(drop).map_err(|failure| failure.map(FinanceError::from)))
    }

    /// Records what came of a step. A refusal means that another driver took it; the state tells how.
    pub(crate) async fn record<A: Hosted>(
        &self,
        doing: &Doing,
        step: &str,
        id: A::Id,
        command: A::Command,
    ) -> Result<(), Interrupted> {
        let recorded = self.commands.execute::<A>(doing.tenant, id, command, doing.cause(step)).await;
        if let Err(failure) = answered(recorded)? {
            tracing::debug!(%failure, process = doing.process, step, "somebody else took a step of it too");
        }
        Ok(())
    }

    /// Goes on with whatever nobody here drives and has its turn; for the follower.
    pub(crate) async fn go_on(&self, mut is_due: impl FnMut(Uuid) -> bool) -> Result<(), SettleError> {
        for open in self.open().await? {
            let driven = self.driven.contains(open.id()) || self.invoices.driven.contains(open.id());
            if driven || !is_due(open.id()) {
                continue;
            }
            let finance = self.clone();
            drop(self.commands.spawn(async move {
                if let Err(error) = finance.resume(&open).await {
                    tracing::warn!(%error, thing = %open.id(), "a process of finance's has to wait");
                }
            }));
        }
        Ok(())
    }

    /// Takes everything that is open to its end; answers how much there was.
    pub(crate) async fn settle(&self) -> Result<usize, SettleError> {
        let open = self.open().await?;
        for one in &open {
            self.resume(one).await?;
        }
        Ok(open.len())
    }

    async fn resume(&self, open: &Open) -> Result<(), Interrupted> {
        let resumed = match open {
            Open::TopUp(tenant, id) => self.resume_top_up(*tenant, *id).await,
            Open::Payout(tenant, id) => self.resume_payout(*tenant, *id).await,
            Open::Correction(tenant, id) => self.resume_correction(*tenant, *id).await,
            Open::Invoice(row) => return self.invoices.go_on(row).await,
        };
        match resumed {
            Err(Failure::Interrupted(interrupted)) => Err(interrupted),
            _ => Ok(()),
        }
    }

    async fn open(&self) -> Result<Vec<Open>, SettleError> {
        let top_ups = top_ups::open(&self.views, PageSize::MAX).await?;
        let payouts = payouts::open(&self.views, PageSize::MAX).await?;
        let corrections = corrections::open(&self.views, PageSize::MAX).await?;
        let mut open: Vec<Open> = top_ups.iter().map(|row| Open::TopUp(row.tenant, row.top_up)).collect();
        open.extend(payouts.iter().map(|row| Open::Payout(row.tenant, row.payout)));
        open.extend(corrections.iter().map(|row| Open::Correction(row.tenant, row.correction)));
        let invoices = invoices::pending(&self.views, PageSize::MAX).await?;
        open.extend(invoices.into_iter().map(|row| Open::Invoice(Box::new(row))));
        Ok(open)
    }
}

/// Something that a step is left of.
#[derive(Clone, Debug)]
enum Open {
    TopUp(TenantId, domain::TopUpId),
    Payout(TenantId, domain::PayoutId),
    Correction(TenantId, domain::CorrectionId),
    Invoice(Box<invoices::Invoice>),
}

impl Open {
    fn id(&self) -> Uuid {
        match self {
            Open::TopUp(_, id) => id.0,
            Open::Payout(_, id) => id.0,
            Open::Correction(_, id) => id.0,
            Open::Invoice(row) => row.invoice.0,
        }
    }
}
