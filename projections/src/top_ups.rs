//! Top-ups: money that came, or should have come, into accounts.

use domain::{
    AccountId, ActorId, Currency, Fact, Money, TenantId, Timestamp, TopUpId,
    top_up::{self, Reason, Slip, Source},
};
use store::{Position, Recorded};

use crate::{PageSize, Poison, Projection, Row, Rows, Snapshot, TableSpec, ViewError, Views, args, column::words, row};

/// Where a top-up stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Requested,
    Credited,
    /// The account could not take it: the money has to go back.
    Failed,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Requested => "requested",
            Status::Credited => "credited",
            Status::Failed => "failed",
        }
    }
}

words! {
    Status { Requested = "requested", Credited = "credited", Failed = "failed" }
    Source { Bank = "bank", Counter = "counter" }
    Reason { Closed = "closed", Amount = "amount" }
}

row! {
    /// A top-up.
    pub struct TopUp in "top_ups" {
        key { tenant: TenantId, top_up: TopUpId }
        account: AccountId,
        currency: Currency,
        amount_minor: i64,
        source: Source,
        status: Status,
        /// Why it has failed.
        reason: Option<Reason>,
        requested_by: ActorId,
        requested_at: Timestamp,
        /// Of the event that requested it.
        requested: Position,
        /// The event that moved it last.
        moved: Position,
    }
    index "open" on "(moved) WHERE status = 'requested'";
    index "requested" on "(tenant, requested)";
    index "failed" on "(tenant, requested) WHERE status = 'failed'";
}

impl TopUp {
    pub fn amount(&self) -> Money {
        Money::new(self.amount_minor, self.currency)
    }
}

/// The projection.
pub struct TopUps;

impl Projection for TopUps {
    fn name(&self) -> &'static str {
        "top_ups"
    }

    fn version(&self) -> u32 {
        2
    }

    fn tables(&self) -> &'static [TableSpec] {
        &[TopUp::TABLE]
    }

    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison> {
        use top_up::Event;
        let (id, event) = match &it.fact {
            Fact::TopUp(id, event) => (*id, event),
            Fact::Menu(..)
            | Fact::Serving(..)
            | Fact::Order(..)
            | Fact::Payment(..)
            | Fact::Account(..)
            | Fact::Policy(..)
            | Fact::Grant(..)
            | Fact::Diner(..)
            | Fact::Books(..)
            | Fact::Invoice(..)
            | Fact::Correction(..)
            | Fact::Payout(..) => return Ok(()),
        };
        if let Event::Requested(Slip { account, amount, source, by }) = event {
            rows.create(TopUp {
                tenant: it.tenant,
                top_up: id,
                account: *account,
                currency: amount.currency,
                amount_minor: amount.minor,
                source: *source,
                status: Status::Requested,
                reason: None,
                requested_by: *by,
                requested_at: it.occurred_at,
                requested: it.position,
                moved: it.position,
            });
            return Ok(());
        }
        let row = rows.get_mut::<TopUp>(&(it.tenant, id));
        let row = row.ok_or_else(|| Poison(format!("top-up {id} moves before it was requested")))?;
        row.moved = it.position;
        match event {
            Event::Requested(_) => {}
            Event::Credited => row.status = Status::Credited,
            Event::Failed { reason } => (row.status, row.reason) = (Status::Failed, Some(*reason)),
        }
        Ok(())
    }
}

/// Top-ups that have not come to their end, of all tenants, the longest unmoved first.
pub async fn open(views: &Views, page: PageSize) -> Result<Vec<TopUp>, ViewError> {
    views.read(move |snapshot| snapshot.fetch("WHERE status = 'requested' ORDER BY moved LIMIT ?1", args![page])).await
}

/// A tenant's top-ups, the latest first, from before `before`; of one status, or of all.
pub fn list(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    status: Option<Status>,
    before: Option<Position>,
    page: PageSize,
) -> Result<Vec<TopUp>, ViewError> {
    let before = before.unwrap_or(i64::MAX as u64);
    // They are few among many, and have an index of their own.
    if status == Some(Status::Failed) {
        let query = "WHERE tenant = ?1 AND requested < ?2 AND status = 'failed' ORDER BY requested DESC LIMIT ?3";
        return snapshot.fetch(query, args![tenant, before, page]);
    }
    let query = "WHERE tenant = ?1 AND requested < ?2 AND (?4 IS NULL OR status = ?4) ORDER BY requested DESC LIMIT ?3";
    snapshot.fetch(query, args![tenant, before, page, status])
}
