//! Payouts: what owners of accounts want out of them, and what has become of it.

use domain::{
    AccountId, ActorId, Currency, Fact, Money, PayoutId, TenantId, Timestamp,
    payout::{self, Reason, Slip},
};
use store::{Position, Recorded};

use crate::{PageSize, Poison, Projection, Row, Rows, Snapshot, TableSpec, ViewError, Views, args, column::words, row};

/// Where a payout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Requested,
    /// The account has set the money aside; the bank has to pay it.
    Held,
    /// The account did not have it.
    Refused,
    PaidOut,
    Cancelled,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Requested => "requested",
            Status::Held => "held",
            Status::Refused => "refused",
            Status::PaidOut => "paid_out",
            Status::Cancelled => "cancelled",
        }
    }
}

words! {
    Status {
        Requested = "requested", Held = "held", Refused = "refused", PaidOut = "paid_out", Cancelled = "cancelled",
    }
    Reason { Insufficient = "insufficient", Frozen = "frozen", Closed = "closed", Amount = "amount", TooMany = "too_many" }
}

row! {
    /// A payout.
    pub struct Payout in "payouts" {
        key { tenant: TenantId, payout: PayoutId }
        account: AccountId,
        currency: Currency,
        amount_minor: i64,
        status: Status,
        /// Whether a step is left that waits for nobody.
        under_way: bool,
        /// Why the account refused it.
        reason: Option<Reason>,
        requested_by: ActorId,
        requested_at: Timestamp,
        /// Of the event that requested it.
        requested: Position,
        /// Who has paid or cancelled it.
        ended_by: Option<ActorId>,
        ended_at: Option<Timestamp>,
        /// The event that moved it last.
        moved: Position,
    }
    index "requested" on "(tenant, requested)";
    index "open" on "(moved) WHERE under_way";
}

impl Payout {
    pub fn amount(&self) -> Money {
        Money::new(self.amount_minor, self.currency)
    }
}

/// The projection.
pub struct Payouts;

impl Projection for Payouts {
    fn name(&self) -> &'static str {
        "payouts"
    }

    fn version(&self) -> u32 {
        2
    }

    fn tables(&self) -> &'static [TableSpec] {
        &[Payout::TABLE]
    }

    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison> {
        use payout::Event;
        let (id, event) = match &it.fact {
            Fact::Payout(id, event) => (*id, event),
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
            | Fact::TopUp(..) => return Ok(()),
        };
        if let Event::Requested(slip) = event {
            rows.create(new(it, id, slip));
            return Ok(());
        }
        let row = rows.get_mut::<Payout>(&(it.tenant, id));
        let row = row.ok_or_else(|| Poison(format!("payout {id} moves before it was requested")))?;
        row.moved = it.position;
        let (status, by) = match event {
            Event::Requested(_) | Event::Settled => (row.status, None),
            Event::Held => (Status::Held, None),
            Event::Refused { reason } => {
                row.reason = Some(*reason);
                (Status::Refused, None)
            }
            Event::PaidOut { by } => (Status::PaidOut, Some(*by)),
            Event::Cancelled { by } => (Status::Cancelled, Some(*by)),
        };
        row.status = status;
        // Whoever ended or refused it has the account's step still before them.
        row.under_way = by.is_some() || matches!(event, Event::Refused { .. });
        if by.is_some() {
            (row.ended_by, row.ended_at) = (by, Some(it.occurred_at));
        }
        Ok(())
    }
}

fn new(it: &Recorded, payout: PayoutId, slip: &Slip) -> Payout {
    let Slip { account, amount, by } = *slip;
    Payout {
        tenant: it.tenant,
        payout,
        account,
        currency: amount.currency,
        amount_minor: amount.minor,
        status: Status::Requested,
        under_way: true,
        reason: None,
        requested_by: by,
        requested_at: it.occurred_at,
        requested: it.position,
        ended_by: None,
        ended_at: None,
        moved: it.position,
    }
}

/// Payouts that can go on, of all tenants, the longest unmoved first.
pub async fn open(views: &Views, page: PageSize) -> Result<Vec<Payout>, ViewError> {
    views.read(move |snapshot| snapshot.fetch("WHERE under_way ORDER BY moved LIMIT ?1", args![page])).await
}

/// A tenant's payouts, the latest first, from before `before`; of one status, or of all; of one account, or of all.
pub fn list(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    (account, status): (Option<AccountId>, Option<Status>),
    before: Option<Position>,
    page: PageSize,
) -> Result<Vec<Payout>, ViewError> {
    let before = before.unwrap_or(i64::MAX as u64);
    let query = "WHERE tenant = ?1 AND requested < ?2 AND (?3 IS NULL OR account = ?3) AND (?4 IS NULL OR status = ?4)
                 ORDER BY requested DESC LIMIT ?5";
    snapshot.fetch(query, args![tenant, before, account, status, page])
}

pub fn find(snapshot: &Snapshot<'_>, tenant: TenantId, payout: PayoutId) -> Result<Option<Payout>, ViewError> {
    snapshot.fetch_one("WHERE tenant = ?1 AND payout = ?2", args![tenant, payout])
}
