//! Topping up: a top-up is requested, its account takes the money, and it is credited; or it has failed, where
//! the account cannot take it.

use commands::{Failure, Finished, Interrupted, Request};
use domain::{
    AccountId, Money, TenantId, TopUpId, account,
    top_up::{Command, Reason, Slip, Source, TopUp},
};
use serde::Serialize;

use crate::finance::{Chained, Doing, Finance, FinanceError, refused};

/// Room that a chain asks for: requested, opened, deposited, credited.
const ROOM: u32 = 4;
const NAME: &str = "top_up";

/// What is to be topped up. This is what a repeat is compared by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NewTopUp {
    pub account: AccountId,
    pub amount: Money,
    pub source: Source,
}

impl Finance {
    /// Brings money into an account, which opens with the first. The top-up's id is the request's.
    ///
    /// Answers with the top-up as it stands then: credited, or failed (and recorded as such) where the
    /// account was closed between the request and its turn.
    pub async fn top_up(&self, request: Request, new: NewTopUp) -> Result<Finished<TopUp>, Failure<FinanceError>> {
        let id = TopUpId(request.id);
        self.chained(id.0, ROOM, move |finance| async move { finance.request_top_up(&request, id, new).await }).await
    }

    async fn request_top_up(&self, request: &Request, id: TopUpId, new: NewTopUp) -> Chained<TopUp> {
        let NewTopUp { account, amount, source } = new;
        let tenant = request.tenant;
        if self.commands.look(tenant, id, |top_up: &TopUp| *top_up == TopUp::New).await? {
            let deposit = account::Command::Deposit { deposit: id.0, amount, source };
            if let Some(error) = self.would_refuse(tenant, account, deposit).await? {
                return Ok(refused(error));
            }
        }
        let command = Command::Request(Slip { account, amount, source, by: request.actor });
        if let Err(refused) = self.ask::<TopUp>(request, id, command, id.0).await? {
            return Ok(Err(refused));
        }
        self.drive_top_up(&Doing { tenant, id: id.0, process: NAME, at: request.at }).await?;
        Ok(Ok(self.commands.look(tenant, id, TopUp::clone).await?))
    }

    async fn drive_top_up(&self, doing: &Doing) -> Result<(), Interrupted> {
        let id = TopUpId(doing.id);
        let TopUp::Requested(slip) = self.commands.look(doing.tenant, id, TopUp::clone).await? else {
            return Ok(());
        };
        let Slip { account, amount, source, .. } = slip;
        let deposit = account::Command::Deposit { deposit: id.0, amount, source };
        let command = match self.on_account(doing, "deposit", account, deposit).await? {
            Ok(()) => Command::RecordCredited,
            Err(error) => {
                tracing::warn!(%error, %account, top_up = %id, "a top-up could not be credited");
                Command::RecordFailed(Reason::of(&error))
            }
        };
        self.record::<TopUp>(doing, "record", id, command).await
    }

    pub(crate) async fn resume_top_up(
        &self,
        tenant: TenantId,
        id: TopUpId,
    ) -> Result<Finished<()>, Failure<FinanceError>> {
        let doing = Doing { tenant, id: id.0, process: NAME, at: self.commands.now() };
        self.chained(id.0, ROOM, move |finance| async move { finance.drive_top_up(&doing).await.map(Ok) }).await
    }
}
