//! The use cases of a tenant's books: opening them, closing and reopening periods.

use domain::{
    Money, TenantId,
    books::{Books, Command, DeductionOrder, Error, Event, ReopenReason},
};
use jiff::civil::Date;

use crate::{Commands, Failure, Interrupted, Outcome, Request};

type Done = Result<Outcome<Event>, Failure<Error>>;

impl Commands {
    /// Opens the tenant's books, with the time zone that tells their dates.
    pub async fn open_books(&self, request: Request, zone: String) -> Done {
        self.on_books(request, Command::Open { zone }).await
    }

    /// Closes every day that is still open, through that one.
    pub async fn close_period(&self, request: Request, through: Date) -> Done {
        self.on_books(request, Command::ClosePeriod { through, at: request.at }).await
    }

    /// Opens the closed period in which `from` lies again, and those closed after it.
    pub async fn reopen_period(&self, request: Request, from: Date, reason: ReopenReason) -> Done {
        self.on_books(request, Command::Reopen { from, reason }).await
    }

    /// Sets up to what amount, either way, an adjustment needs no second person.
    pub async fn set_approval_limit(&self, request: Request, limit: Money) -> Done {
        self.on_books(request, Command::SetApprovalLimit { limit }).await
    }

    /// Sets which of a diner's balances pays first.
    pub async fn set_deduction_order(&self, request: Request, order: DeductionOrder) -> Done {
        self.on_books(request, Command::SetDeductionOrder { order }).await
    }

    /// A tenant's books as they stand: what is dated into a closed period asks them first.
    pub async fn books(&self, tenant: TenantId) -> Result<Books, Interrupted> {
        self.look(tenant, tenant, Books::clone).await
    }

    async fn on_books(&self, request: Request, command: Command) -> Done {
        self.execute::<Books>(request.tenant, request.tenant, command, request.cause(request.tenant.0)).await
    }
}
