//! Corrections of the books: what was proposed, by whom, and what has become of it.

use domain::{
    ActorId, CorrectionId, Currency, Fact, Money, TenantId, Timestamp,
    account::AdjustReason,
    correction::{self, Approval, Change, Proposal},
    postings::LedgerAccount,
};
use store::{Position, Recorded};

use crate::{
    PageSize, Poison, Projection, Row, Rows, Snapshot, TableSpec, ViewError, Views, args, column::words,
    preview::Preview, row,
};

/// Where a correction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// A second person has to apply or reject it.
    Proposed,
    Rejected,
    /// Its accounts are being adjusted.
    Applied,
    Settled,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Proposed => "proposed",
            Status::Rejected => "rejected",
            Status::Applied => "applied",
            Status::Settled => "settled",
        }
    }
}

words! {
    Status { Proposed = "proposed", Rejected = "rejected", Applied = "applied", Settled = "settled" }
    AdjustReason { Correction = "correction", Reconciliation = "reconciliation", Goodwill = "goodwill" }
}

row! {
    /// A correction.
    pub struct Correction in "corrections" {
        key { tenant: TenantId, correction: CorrectionId }
        status: Status,
        proposed_by: ActorId,
        proposed_at: Timestamp,
        /// Of the event that proposed it.
        proposed: Position,
        /// The business time of its postings, if it is said.
        dated: Option<Timestamp>,
        /// The digest of the file that it was read from.
        file: Option<String>,
        entries: u32,
        /// Entries whose accounts refused them.
        refused: u32,
        /// Who applied or rejected it; nobody, where the tenant's limit let it be applied.
        decided_by: Option<ActorId>,
        decided_at: Option<Timestamp>,
        /// The event that moved it last.
        moved: Position,
    }
    index "proposed" on "(tenant, proposed)";
    index "open" on "(moved) WHERE status = 'applied'";
}

row! {
    /// An entry of a correction; they are counted from zero.
    pub struct CorrectionEntry in "correction_entries" {
        key { tenant: TenantId, correction: CorrectionId, entry: u32 }
        /// The account that is adjusted, or that money is moved from.
        account: LedgerAccount,
        /// Where it is moved to; none for an adjustment.
        to_account: Option<LedgerAccount>,
        currency: Currency,
        /// Of an adjustment with its sign, of a move more than zero.
        amount_minor: i64,
        reason: AdjustReason,
        reference: Option<String>,
        /// Whether its account refused it.
        refused: bool,
    }
}

impl CorrectionEntry {
    pub fn amount(&self) -> Money {
        Money::new(self.amount_minor, self.currency)
    }
}

/// The projection.
pub struct Corrections;

impl Projection for Corrections {
    fn name(&self) -> &'static str {
        "corrections"
    }

    fn version(&self) -> u32 {
        1
    }

    fn tables(&self) -> &'static [TableSpec] {
        &[Correction::TABLE, CorrectionEntry::TABLE]
    }

    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison> {
        use correction::Event;
        let (id, event) = match &it.fact {
            Fact::Correction(id, event) => (*id, event),
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
            | Fact::TopUp(..)
            | Fact::Payout(..) => return Ok(()),
        };
        if let Event::Proposed { by, proposal, file } = event {
            propose(it, id, (*by, proposal, file.clone()), rows);
            return Ok(());
        }
        let row = rows.get_mut::<Correction>(&(it.tenant, id));
        let row = row.ok_or_else(|| Poison(format!("correction {id} moves before it was proposed")))?;
        row.moved = it.position;
        match event {
            // What it moves shows in the journal.
            Event::Proposed { .. } | Event::Moved { .. } => {}
            Event::Applied { approval } => {
                row.status = Status::Applied;
                // Its business time is that of its postings.
                row.decided_at = Some(it.recorded_at);
                row.decided_by = match approval {
                    Approval::SecondPerson(by) => Some(*by),
                    Approval::WithinLimit(_) => None,
                };
            }
            Event::Rejected { by } => {
                row.status = Status::Rejected;
                (row.decided_by, row.decided_at) = (Some(*by), Some(it.recorded_at));
            }
            Event::Settled { refused } => {
                row.status = Status::Settled;
                row.refused = u32::try_from(refused.len()).unwrap_or(u32::MAX);
                for entry in refused {
                    if let Some(entry) = rows.get_mut::<CorrectionEntry>(&(it.tenant, id, *entry)) {
                        entry.refused = true;
                    }
                }
            }
        }
        Ok(())
    }
}

fn propose(
    it: &Recorded,
    correction: CorrectionId,
    (proposed_by, proposal, file): (ActorId, &Proposal, Option<String>),
    rows: &mut Rows,
) {
    let tenant = it.tenant;
    rows.create(Correction {
        tenant,
        correction,
        status: Status::Proposed,
        proposed_by,
        proposed_at: it.occurred_at,
        proposed: it.position,
        dated: proposal.dated,
        file,
        entries: u32::try_from(proposal.entries.len()).unwrap_or(u32::MAX),
        refused: 0,
        decided_by: None,
        decided_at: None,
        moved: it.position,
    });
    for (entry, of) in proposal.numbered() {
        let (account, to_account, amount) = match of.change {
            Change::Adjust { account, by } => (LedgerAccount::Limited(account), None, by),
            Change::Move { from, to, amount } => (from, Some(to), amount),
        };
        rows.create(CorrectionEntry {
            tenant,
            correction,
            entry,
            account,
            to_account,
            currency: amount.currency,
            amount_minor: amount.minor,
            reason: of.reason,
            reference: of.reference.as_ref().map(ToString::to_string),
            refused: false,
        });
    }
}

/// Corrections whose accounts are still to be adjusted, of all tenants, the longest unmoved first.
pub async fn open(views: &Views, page: PageSize) -> Result<Vec<Correction>, ViewError> {
    views.read(move |snapshot| snapshot.fetch("WHERE status = 'applied' ORDER BY moved LIMIT ?1", args![page])).await
}

/// A tenant's corrections, the latest first, from before `before`; of one status, or of all.
pub fn list(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    status: Option<Status>,
    before: Option<Position>,
    page: PageSize,
) -> Result<Vec<Correction>, ViewError> {
    let before = before.unwrap_or(i64::MAX as u64);
    let query = "WHERE tenant = ?1 AND proposed < ?2 AND (?3 IS NULL OR status = ?3) ORDER BY proposed DESC LIMIT ?4";
    snapshot.fetch(query, args![tenant, before, status, page])
}

pub fn find(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    correction: CorrectionId,
) -> Result<Option<Correction>, ViewError> {
    snapshot.fetch_one("WHERE tenant = ?1 AND correction = ?2", args![tenant, correction])
}

/// The entries of a correction in their order; it has at most a thousand.
pub fn entries(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    correction: CorrectionId,
) -> Result<Vec<CorrectionEntry>, ViewError> {
    snapshot.fetch("WHERE tenant = ?1 AND correction = ?2 ORDER BY entry", args![tenant, correction])
}

/// Of each of these corrections the first `limit` entries, in their order.
pub async fn first_entries(
    views: &Views,
    tenant: TenantId,
    corrections: Vec<CorrectionId>,
    limit: u32,
) -> Result<Vec<CorrectionEntry>, ViewError> {
    let among = move |snapshot: &Snapshot<'_>| {
        snapshot.fetch_first(tenant, ("correction", &corrections), "ORDER BY entry", limit)
    };
    views.read(among).await
}

/// What these corrections would make of the balances, each as if it were the only one; nothing for those that
/// are not proposed any more.
pub fn previews(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    corrections: &[CorrectionId],
) -> Result<Vec<(CorrectionId, Preview)>, ViewError> {
    let found: Vec<Correction> = snapshot.fetch_among(tenant, ("correction", corrections), "")?;
    let proposed = found.iter().filter(|row| row.status == Status::Proposed).map(|row| row.correction);
    let proposed: Vec<CorrectionId> = proposed.collect();
    let entries: Vec<CorrectionEntry> =
        snapshot.fetch_among(tenant, ("correction", &proposed), "ORDER BY correction, entry")?;
    let changes = |of: &CorrectionId| entries.iter().filter(|row| row.correction == *of).map(Change::from).collect();
    let previews = Preview::of_each(snapshot, tenant, proposed.iter().map(changes))?;
    Ok(proposed.iter().copied().zip(previews).collect())
}

/// A page of a correction's entries, from after the number `after`, which is counted from zero.
pub fn entries_after(
    snapshot: &Snapshot<'_>,
    (tenant, correction): (TenantId, CorrectionId),
    after: Option<u32>,
    page: PageSize,
) -> Result<Vec<CorrectionEntry>, ViewError> {
    let query = "WHERE tenant = ?1 AND correction = ?2 AND (?3 IS NULL OR entry > ?3) ORDER BY entry LIMIT ?4";
    snapshot.fetch(query, args![tenant, correction, after, page])
}
