//! Paying out: the account sets aside what its owner wants, finance has the bank pay it or cancels it, and the
//! account follows.

use commands::{Failure, Finished, Interrupted, Request};
use domain::{
    AccountId, Money, PayoutId, TenantId, account,
    payout::{Command, Outcome, Payout, Reason, Slip},
};
use serde::Serialize;

use crate::finance::{Chained, Doing, Finance, FinanceError, refused};

/// Room that a chain asks for: requested, held, held; or requested, refused, released, settled.
const ROOM: u32 = 4;
const NAME: &str = "payout";

/// What is to be paid out. This is what a repeat is compared by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NewPayout {
    pub account: AccountId,
    pub amount: Money,
}

impl Finance {
    /// Sets money of an account aside, to be paid by the bank. The payout's id is the request's.
    ///
    /// Answers with the payout as it stands then: held, or refused (and recorded as such) where the account
    /// spent the money between the request and its turn.
    pub async fn pay_out(&self, request: Request, new: NewPayout) -> Result<Finished<Payout>, Failure<FinanceError>> {
        let id = PayoutId(request.id);
        self.chained(id.0, ROOM, move |finance| async move { finance.request_payout(&request, id, new).await }).await
    }

    /// The bank has paid it.
    pub async fn confirm_payout(
        &self,
        request: Request,
        id: PayoutId,
    ) -> Result<Finished<Payout>, Failure<FinanceError>> {
        self.end_payout(request, id, Command::RecordPaid { by: request.actor }).await
    }

    /// It is not wanted any more, or the bank could not pay it: the money is available again.
    pub async fn cancel_payout(
        &self,
        request: Request,
        id: PayoutId,
    ) -> Result<Finished<Payout>, Failure<FinanceError>> {
        self.end_payout(request, id, Command::Cancel { by: request.actor }).await
    }

    async fn request_payout(&self, request: &Request, id: PayoutId, new: NewPayout) -> Chained<Payout> {
        let NewPayout { account, amount } = new;
        let (tenant, slip) = (request.tenant, Slip { account, amount, by: request.actor });
        if self.commands.look(tenant, id, |payout: &Payout| *payout == Payout::New).await? {
            // What no payout can be is said before what the account lacks.
            let never = domain::Aggregate::decide(&Payout::New, Command::Request(slip)).err();
            if let Some(error) = never {
                return Ok(refused(error));
            }
            let hold = account::Command::HoldPayout { payout: id, amount };
            if let Some(error) = self.would_refuse(tenant, account, hold).await? {
                return Ok(refused(error));
            }
        }
        self.payout_chain(request, id, Command::Request(slip)).await
    }

    async fn end_payout(
        &self,
        request: Request,
        id: PayoutId,
        command: Command,
    ) -> Result<Finished<Payout>, Failure<FinanceError>> {
        self.chained(id.0, ROOM, move |finance| {
            let command = command.clone();
            async move { finance.payout_chain(&request, id, command).await }
        })
        .await
    }

    async fn payout_chain(&self, request: &Request, id: PayoutId, command: Command) -> Chained<Payout> {
        let tenant = request.tenant;
        if let Err(refused) = self.ask::<Payout>(request, id, command, id.0).await? {
            return Ok(Err(refused));
        }
        self.drive_payout(&Doing { tenant, id: id.0, process: NAME, at: request.at }).await?;
        Ok(Ok(self.commands.look(tenant, id, Payout::clone).await?))
    }

    /// At most two steps stand before a payout that somebody has to decide about, or its end.
    async fn drive_payout(&self, doing: &Doing) -> Result<(), Interrupted> {
        self.step_payout(doing).await?;
        self.step_payout(doing).await
    }

    async fn step_payout(&self, doing: &Doing) -> Result<(), Interrupted> {
        let id = PayoutId(doing.id);
        match self.commands.look(doing.tenant, id, Payout::clone).await? {
            Payout::Requested(Slip { account, amount, .. }) => {
                let hold = account::Command::HoldPayout { payout: id, amount };
                let command = match self.on_account(doing, "hold", account, hold).await? {
                    Ok(()) => Command::RecordHeld,
                    Err(error) => Command::RecordRefused(Reason::of(&error)),
                };
                self.record::<Payout>(doing, "record", id, command).await
            }
            // Another driver may have found the account otherwise, and hold it after this.
            Payout::Refusing(Slip { account, .. }, _) => {
                let release = account::Command::ReleasePayout { payout: id };
                match self.on_account(doing, "end", account, release).await? {
                    // An account that is not there holds nothing.
                    Ok(()) | Err(account::Error::NotOpen) => {
                        self.record::<Payout>(doing, "settle", id, Command::Settle).await
                    }
                    Err(error) => {
                        tracing::error!(%error, %account, payout = %id, "a refused payout cannot be ended");
                        Ok(())
                    }
                }
            }
            Payout::Ending(slip, outcome) => {
                let command = match outcome {
                    Outcome::PaidOut => account::Command::PayOut { payout: id },
                    Outcome::Cancelled => account::Command::ReleasePayout { payout: id },
                };
                match self.on_account(doing, "end", slip.account, command).await? {
                    Ok(()) => self.record::<Payout>(doing, "settle", id, Command::Settle).await,
                    Err(error) => {
                        // What is held cannot be refused: somebody has to look at it.
                        tracing::error!(%error, account = %slip.account, payout = %id, "a payout cannot be ended");
                        Ok(())
                    }
                }
            }
            Payout::New | Payout::Held(_) | Payout::Refused(..) | Payout::Ended(..) => Ok(()),
        }
    }

    pub(crate) async fn resume_payout(
        &self,
        tenant: TenantId,
        id: PayoutId,
    ) -> Result<Finished<()>, Failure<FinanceError>> {
        let doing = Doing { tenant, id: id.0, process: NAME, at: self.commands.now() };
        self.chained(id.0, ROOM, move |finance| async move { finance.drive_payout(&doing).await.map(Ok) }).await
    }
}
