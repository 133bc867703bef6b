//! Correcting: what a second person applies is booked by every account that it adjusts, and then it is settled.

use std::{collections::HashSet, sync::Arc};

use commands::{Failure, Finished, Interrupted, Request};
use domain::{
    AccountId, CorrectionId, Money, TenantId, Timestamp,
    account::{self, AdjustReason},
    books::{self, Books},
    correction::{Applied, Change, Command, Correction, Entry, Proposal, Reference, Sheet},
    first_instant, step_id,
};
use jiff::{civil::Date, tz::TimeZone};
use serde::Serialize;

use crate::{
    booked::booked_long_ago,
    finance::{Chained, Doing, Finance, FinanceError, refused},
};

const NAME: &str = "correction";

/// A single adjustment of an account. This is what a repeat is compared by.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NewAdjustment {
    pub account: AccountId,
    pub by: Money,
    pub reason: AdjustReason,
    pub reference: Option<Reference>,
}

/// What is to be proposed.
#[derive(Clone, Debug, PartialEq)]
pub struct NewCorrection {
    pub proposal: Proposal,
    /// The digest of the file that it was read from.
    pub file: Option<String>,
}

impl Finance {
    /// The business time of corrections that are dated a day: its first instant where the books are kept.
    /// Whether the day may be dated is decided when the correction is proposed and applied.
    pub async fn dated(&self, tenant: TenantId, date: Date) -> Result<Timestamp, Failure<FinanceError>> {
        let books = self.commands.books(tenant).await?;
        let zone = zone_of(&books).map_err(|error| Failure::Refused(error.into()))?;
        // A day that no instant can be told of lies at the end of time, and has not come.
        Ok(first_instant(date.at(0, 0, 0, 0), &zone).unwrap_or(Timestamp::from_micros(i64::MAX)))
    }

    /// Proposes a correction, which a second person has to apply.
    pub async fn propose(
        &self,
        request: Request,
        id: CorrectionId,
        new: NewCorrection,
    ) -> Result<Finished<Correction>, Failure<FinanceError>> {
        self.begin(request, id, new, None).await
    }

    /// Adjusts an account: at once within the tenant's limit; above it, as a correction that waits for a
    /// second person. The correction's id is the request's.
    pub async fn adjust(
        &self,
        request: Request,
        new: NewAdjustment,
    ) -> Result<Finished<Correction>, Failure<FinanceError>> {
        let NewAdjustment { account, by, reason, reference } = new;
        let limit = self.commands.books(request.tenant).await?.approval_limit(by.currency);
        let entry = Entry { change: Change::Adjust { account, by }, reason, reference };
        let new = NewCorrection { proposal: Proposal { entries: vec![entry], dated: None }, file: None };
        self.begin(request, CorrectionId(request.id), new, Some(limit)).await
    }

    /// Applies a correction as its accounts stand now: its amounts are relative.
    ///
    /// # Errors
    /// [`correction::Error::SecondPerson`](domain::correction::Error::SecondPerson) to whoever proposed it.
    pub async fn apply_correction(
        &self,
        request: Request,
        id: CorrectionId,
    ) -> Result<Finished<Correction>, Failure<FinanceError>> {
        let state = self.commands.look(request.tenant, id, Correction::clone).await?;
        self.chained(id.0, room(&state), move |finance| async move { finance.apply(&request, id).await }).await
    }

    /// Rejects a correction. Its proposer may, too.
    pub async fn reject_correction(
        &self,
        request: Request,
        id: CorrectionId,
    ) -> Result<Finished<Correction>, Failure<FinanceError>> {
        self.chained(id.0, 1, move |finance| async move {
            let command = Command::Reject { by: request.actor };
            finance.on_correction(&request, id, command, request.at).await
        })
        .await
    }

    async fn begin(
        &self,
        request: Request,
        id: CorrectionId,
        new: NewCorrection,
        limit: Option<Money>,
    ) -> Result<Finished<Correction>, Failure<FinanceError>> {
        let new = Arc::new(new);
        // Proposed, applied, adjusted, settled.
        self.chained(id.0, 4, move |finance| {
            let new = Arc::clone(&new);
            async move {
                if finance.commands.look(request.tenant, id, |known: &Correction| *known == Correction::New).await?
                    && let Some(error) = finance.would_refuse_any(&request, id, &new.proposal).await?
                {
                    return Ok(refused(error));
                }
                let NewCorrection { proposal, file } = (*new).clone();
                let command = Command::Propose { by: request.actor, proposal, file, limit };
                let begun = finance.on_correction(&request, id, command, request.at).await?;
                if let Ok(Correction::Applied(sheet, applied)) = &begun {
                    finance.book(request.tenant, id, (sheet, applied)).await?;
                    return Ok(Ok(finance.commands.look(request.tenant, id, Correction::clone).await?));
                }
                Ok(begun)
            }
        })
        .await
    }

    async fn apply(&self, request: &Request, id: CorrectionId) -> Chained<Correction> {
        let tenant = request.tenant;
        let command = Command::Apply { by: request.actor };
        let state = self.commands.look(tenant, id, Correction::clone).await?;
        if let Err(error) = domain::Aggregate::decide(&state, command.clone()) {
            return Ok(refused(error));
        }
        let mut at = request.at;
        if let Correction::Proposed(sheet) = &state {
            if let Some(error) = self.would_refuse_any(request, id, &sheet.proposal).await? {
                return Ok(refused(error));
            }
            at = sheet.proposal.dated.unwrap_or(at);
        }
        // Its moves have the time that it is dated.
        let applied = match self.on_correction(request, id, command, at).await? {
            Ok(Correction::Applied(sheet, applied)) => (sheet, applied),
            other => return Ok(other),
        };
        self.book(tenant, id, (&applied.0, &applied.1)).await?;
        Ok(Ok(self.commands.look(tenant, id, Correction::clone).await?))
    }

    /// Whether the books or an account would refuse a proposal as they stand.
    async fn would_refuse_any(
        &self,
        &Request { tenant, at: now, .. }: &Request,
        id: CorrectionId,
        proposal: &Proposal,
    ) -> Result<Option<FinanceError>, Interrupted> {
        if let Err(error) = proposal.check() {
            return Ok(Some(error.into()));
        }
        if let Some(at) = proposal.dated
            && let Err(error) = may_be_dated(&self.commands.books(tenant).await?, at, now)
        {
            return Ok(Some(error.into()));
        }
        for (entry, of) in proposal.numbered() {
            let Some((account, command)) = adjustment(id, entry, of) else { continue };
            if let Some(error) = self.would_refuse(tenant, account, command).await? {
                return Ok(Some(FinanceError::Entry { entry, account, error }));
            }
        }
        Ok(None)
    }

    async fn on_correction(
        &self,
        request: &Request,
        id: CorrectionId,
        command: Command,
        at: Timestamp,
    ) -> Chained<Correction> {
        match self.ask::<Correction>(&Request { at, ..*request }, id, command, id.0).await? {
            Ok(()) => Ok(Ok(self.commands.look(request.tenant, id, Correction::clone).await?)),
            Err(refused) => Ok(Err(refused)),
        }
    }

    /// Adjusts every account, but for the entries that are known to be booked, and settles it. What is known
    /// is looked up in every run of the chain: the run before may have booked some, and accounts forget.
    async fn book(
        &self,
        tenant: TenantId,
        id: CorrectionId,
        (sheet, applied): (&Sheet, &Applied),
    ) -> Result<(), Interrupted> {
        let booked = self.booked(tenant, id, (sheet, applied)).await?;
        let doing = Doing { tenant, id: id.0, process: NAME, at: applied.at };
        let mut refused = Vec::new();
        for (entry, of) in sheet.proposal.numbered().filter(|(entry, _)| !booked.contains(entry)) {
            let Some((account, command)) = adjustment(id, entry, of) else { continue };
            if let Err(error) = self.on_account(&doing, &step_of(entry), account, command).await? {
                tracing::warn!(%error, %account, correction = %id, entry, "an entry of a correction could not be booked");
                refused.push(entry);
            }
        }
        self.record::<Correction>(&doing, "settle", id, Command::Settle { refused }).await
    }

    /// The entries of an applied correction that their accounts have booked and may have forgotten.
    async fn booked(
        &self,
        tenant: TenantId,
        id: CorrectionId,
        (sheet, applied): (&Sheet, &Applied),
    ) -> Result<HashSet<u32>, Interrupted> {
        let mut booked = HashSet::new();
        for (entry, of) in sheet.proposal.numbered() {
            let Some((account, _)) = adjustment(id, entry, of) else { continue };
            let step = (step_id(NAME, id.0, &step_of(entry)), applied.at);
            if !booked_long_ago(&self.commands, tenant, account, step).await?.is_empty() {
                booked.insert(entry);
            }
        }
        Ok(booked)
    }

    pub(crate) async fn resume_correction(
        &self,
        tenant: TenantId,
        id: CorrectionId,
    ) -> Result<Finished<()>, Failure<FinanceError>> {
        let state = self.commands.look(tenant, id, Correction::clone).await?;
        self.chained(id.0, room(&state), move |finance| async move {
            let state = finance.commands.look(tenant, id, Correction::clone).await?;
            if let Correction::Applied(sheet, applied) = &state {
                finance.book(tenant, id, (sheet, applied)).await?;
            }
            Ok(Ok(()))
        })
        .await
    }
}

/// The zone that tells the books' dates; UTC, before they are opened.
fn zone_of(books: &Books) -> Result<TimeZone, books::Error> {
    books.book().map_or(Ok(TimeZone::UTC), |book| book.zone())
}

/// Refuses a date in a closed period, and one that has not come.
fn may_be_dated(books: &Books, at: Timestamp, now: Timestamp) -> Result<(), books::Error> {
    if at > now {
        let zone = zone_of(books)?;
        return Err(books::Error::NotYet { through: at.date_in(&zone), today: now.date_in(&zone) });
    }
    books.takes(at)
}

fn step_of(entry: u32) -> String {
    format!("adjust/{entry}")
}

/// The account that an entry adjusts, and how; none for a move, which the correction books itself.
fn adjustment(id: CorrectionId, entry: u32, of: &Entry) -> Option<(AccountId, account::Command)> {
    match of.change {
        Change::Adjust { account, by } => {
            Some((account, account::Command::Adjust { adjustment: id.adjustment(entry), by, reason: of.reason }))
        }
        Change::Move { .. } => None,
    }
}

/// Room for all of its events: applied, one an entry, settled.
fn room(state: &Correction) -> u32 {
    let entries = state.sheet().map_or(0, |sheet| sheet.proposal.entries.len());
    u32::try_from(entries).unwrap_or(u32::MAX).saturating_add(2)
}
