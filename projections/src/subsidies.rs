//! What diners have of their subsidies, lot by lot, and what became of all that was granted.

use domain::{
    AccountId, CompanyId, Currency, DinerId, Fact, GrantRunId, HoldId, LotId, Money, PaymentId, PolicyId, TenantId,
    Timestamp, account,
    lot::{self, Serves},
    serving::Meal,
};
use jiff::civil::Date;
use store::Recorded;

use crate::{PageSize, Poison, Projection, Row, Rows, TableSpec, ViewError, Views, args, many, row};

row! {
    /// A lot of a diner's subsidy. It stays when it is over: a late refund still belongs to it.
    pub struct SubsidyLot in "lots" {
        key { tenant: TenantId, diner: DinerId, lot: LotId }
        policy: PolicyId,
        version: u32,
        run: GrantRunId,
        starts_at: Timestamp,
        expires_at: Timestamp,
        /// The first date that it may pay for.
        first: Date,
        /// The last date that it may pay for.
        last: Date,
        meal: Option<Meal>,
        currency: Currency,
        granted_minor: i64,
        /// What was not spent, held included.
        left_minor: i64,
        held_minor: i64,
        /// What expired of it, or came back too late.
        lapsed_minor: i64,
        expired: bool,
    }
    index "due" on "(expires_at, tenant, diner, lot) WHERE NOT expired";
}

impl SubsidyLot {
    pub fn granted(&self) -> Money {
        Money::new(self.granted_minor, self.currency)
    }

    pub fn left(&self) -> Money {
        Money::new(self.left_minor, self.currency)
    }

    pub fn serves(&self) -> Serves {
        Serves { first: self.first, last: self.last, meal: self.meal }
    }
}

row! {
    /// What is held of a lot for a payment's tender.
    pub struct LotHold in "lot_holds" {
        key { tenant: TenantId, diner: DinerId, payment: PaymentId, tender: u8 }
        lot: LotId,
        amount_minor: i64,
    }
}

row! {
    /// What became of the money of one policy.
    pub struct PolicyUse in "policy_use" {
        key { tenant: TenantId, policy: PolicyId, currency: Currency }
        granted_minor: i64,
        /// Taken for orders, refunds included.
        spent_minor: i64,
        /// Given back, to lots that had expired too.
        refunded_minor: i64,
        /// Expired, or given back too late.
        lapsed_minor: i64,
    }
}

row! {
    /// A subsidy account that is closed: its lots need no end of their own. Those closed of old have some without.
    pub struct ClosedSubsidy in "closed_subsidies" {
        key { tenant: TenantId, diner: DinerId }
    }
}

/// The projection.
pub struct Subsidies;

impl Projection for Subsidies {
    fn name(&self) -> &'static str {
        "subsidies"
    }

    fn version(&self) -> u32 {
        2
    }

    fn tables(&self) -> &'static [TableSpec] {
        &[SubsidyLot::TABLE, LotHold::TABLE, PolicyUse::TABLE, ClosedSubsidy::TABLE]
    }

    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison> {
        let (diner, event) = match &it.fact {
            Fact::Account(AccountId::Subsidy(diner), event) => (*diner, event),
            Fact::Account(..)
            | Fact::Menu(..)
            | Fact::Serving(..)
            | Fact::Order(..)
            | Fact::Payment(..)
            | Fact::Policy(..)
            | Fact::Grant(..)
            | Fact::Diner(..)
            | Fact::Books(..)
            | Fact::Invoice(..)
            | Fact::Correction(..)
            | Fact::TopUp(..)
            | Fact::Payout(..) => return Ok(()),
        };
        Book { tenant: it.tenant, diner }.apply(event, rows)
    }
}

/// Whose lots an event changes.
#[derive(Clone, Copy)]
struct Book {
    tenant: TenantId,
    diner: DinerId,
}

impl Book {
    fn apply(self, event: &account::Event, rows: &mut Rows) -> Result<(), Poison> {
        use account::Event;
        match event {
            Event::Granted { lot, terms, amount } => self.grant(*lot, terms, *amount, rows),
            Event::Held { hold, amount, lot: Some(lot) } => {
                self.lot(*lot, rows)?.held_minor += amount.minor;
                let (HoldId { payment, tender }, Book { tenant, diner }) = (*hold, self);
                rows.create(LotHold { tenant, diner, payment, tender, lot: *lot, amount_minor: amount.minor });
            }
            Event::Captured { hold, .. } => {
                if let Some(LotHold { lot, amount_minor, .. }) = self.unhold(*hold, rows) {
                    let row = self.lot(lot, rows)?;
                    (row.held_minor, row.left_minor) = (row.held_minor - amount_minor, row.left_minor - amount_minor);
                    self.used(lot, rows)?.spent_minor += amount_minor;
                }
            }
            Event::Released { hold } => {
                if let Some(LotHold { lot, amount_minor, .. }) = self.unhold(*hold, rows) {
                    self.lot(lot, rows)?.held_minor -= amount_minor;
                }
            }
            Event::Refunded { amount, lot: Some(lot), .. } => {
                self.lot(*lot, rows)?.left_minor += amount.minor;
                self.used(*lot, rows)?.refunded_minor += amount.minor;
            }
            Event::RefundLapsed { amount, lot, .. } => {
                self.lot(*lot, rows)?.lapsed_minor += amount.minor;
                let used = self.used(*lot, rows)?;
                (used.refunded_minor, used.lapsed_minor) =
                    (used.refunded_minor + amount.minor, used.lapsed_minor + amount.minor);
            }
            Event::Lapsed { lot, amount } => {
                let row = self.lot(*lot, rows)?;
                (row.expired, row.left_minor) = (true, row.held_minor);
                row.lapsed_minor += amount.minor;
                self.used(*lot, rows)?.lapsed_minor += amount.minor;
            }
            Event::Closed => rows.put(ClosedSubsidy { tenant: self.tenant, diner: self.diner }),
            // Money in no lot, and what moves none.
            Event::Opened { .. }
            | Event::Deposited { .. }
            | Event::Held { lot: None, .. }
            | Event::Refunded { lot: None, .. }
            | Event::RefundDiverted { .. }
            | Event::Allocated { .. }
            | Event::TakenBack { .. }
            | Event::PayoutHeld { .. }
            | Event::PaidOut { .. }
            | Event::PayoutReleased { .. }
            | Event::Adjusted { .. }
            | Event::FloorSet { .. }
            | Event::Invoiced { .. }
            | Event::InvoicePaid { .. }
            | Event::InvoiceVoided { .. }
            | Event::DisclosureSet { .. }
            | Event::Frozen
            | Event::Unfrozen => {}
        }
        Ok(())
    }

    fn grant(self, id: LotId, terms: &lot::Terms, amount: Money, rows: &mut Rows) {
        let Book { tenant, diner } = self;
        let lot::Terms { policy, version, run, starts_at, expires_at, serves } = *terms;
        rows.create(SubsidyLot {
            tenant,
            diner,
            lot: id,
            policy,
            version,
            run,
            starts_at,
            expires_at,
            first: serves.first,
            last: serves.last,
            meal: serves.meal,
            currency: amount.currency,
            granted_minor: amount.minor,
            left_minor: amount.minor,
            held_minor: 0,
            lapsed_minor: 0,
            expired: false,
        });
        let new = || PolicyUse {
            tenant,
            policy,
            currency: amount.currency,
            granted_minor: 0,
            spent_minor: 0,
            refunded_minor: 0,
            lapsed_minor: 0,
        };
        rows.get_or_insert_with::<PolicyUse>(&(tenant, policy, amount.currency), new).granted_minor += amount.minor;
    }

    fn lot(self, lot: LotId, rows: &mut Rows) -> Result<&mut SubsidyLot, Poison> {
        let row = rows.get_mut::<SubsidyLot>(&(self.tenant, self.diner, lot));
        row.ok_or_else(|| Poison(format!("lot {lot} moves before it was granted")))
    }
}

impl Book {
    fn unhold(self, hold: HoldId, rows: &mut Rows) -> Option<LotHold> {
        rows.delete::<LotHold>(&(self.tenant, self.diner, hold.payment, hold.tender))
    }

    /// The sums of the lot's policy.
    fn used(self, lot: LotId, rows: &mut Rows) -> Result<&mut PolicyUse, Poison> {
        let SubsidyLot { policy, currency, .. } = self.lot(lot, rows)?;
        let key = (self.tenant, *policy, *currency);
        rows.get_mut::<PolicyUse>(&key).ok_or_else(|| Poison(format!("policy {} has granted nothing yet", key.1)))
    }
}

/// A diner's lots that can still pay for something, the earliest expiry first, from after `after`.
pub async fn of_diner(
    views: &Views,
    tenant: TenantId,
    diner: DinerId,
    after: Option<(Timestamp, LotId)>,
    page: PageSize,
) -> Result<Vec<SubsidyLot>, ViewError> {
    let (expires_at, lot) = after.unzip();
    views
        .read(move |snapshot| {
            snapshot.fetch(
                "WHERE tenant = ?1 AND diner = ?2 AND NOT expired AND (?3 IS NULL OR (expires_at, lot) > (?3, ?4))
                 ORDER BY expires_at, lot LIMIT ?5",
                args![tenant, diner, expires_at, lot, page],
            )
        })
        .await
}

/// A lot whose time has come and that has not been ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Due {
    pub expires_at: Timestamp,
    pub tenant: TenantId,
    pub diner: DinerId,
    pub lot: LotId,
}

/// What is due by `now`, of all tenants' open accounts, from after `after`; at most `limit` lots.
pub async fn due(views: &Views, now: Timestamp, after: Option<Due>, limit: u32) -> Result<Vec<Due>, ViewError> {
    let Due { expires_at, tenant, diner, lot } = after.unwrap_or(Due {
        expires_at: Timestamp::EPOCH,
        tenant: TenantId(uuid::Uuid::nil()),
        diner: DinerId(uuid::Uuid::nil()),
        lot: LotId(uuid::Uuid::nil()),
    });
    views
        .read(move |snapshot| {
            let sql = "SELECT expires_at, tenant, diner, lot FROM {lots} AS l
                 WHERE NOT expired AND expires_at <= ?1 AND (expires_at, tenant, diner, lot) > (?2, ?3, ?4, ?5)
                   AND NOT EXISTS (SELECT 1 FROM {closed_subsidies} AS c WHERE c.tenant = l.tenant AND c.diner = l.diner)
                 ORDER BY expires_at, tenant, diner, lot LIMIT ?6";
            snapshot.query(sql, args![now, expires_at, tenant, diner, lot, limit], |row| {
                Ok(Due { expires_at: row.get(0)?, tenant: row.get(1)?, diner: row.get(2)?, lot: row.get(3)? })
            })
        })
        .await
}

/// A lot of a diner whom its policy's company does not employ any more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeftLot {
    pub diner: DinerId,
    pub lot: LotId,
    /// Of the policy.
    pub version: u32,
}

/// The open lots of a policy that diners have who have left its company by `today`, and are not to come back, from after
/// `after`; at most `limit`.
pub async fn left(
    views: &Views,
    (tenant, company, policy): (TenantId, CompanyId, PolicyId),
    today: Date,
    after: Option<LeftLot>,
    limit: u32,
) -> Result<Vec<LeftLot>, ViewError> {
    let nobody = (DinerId(uuid::Uuid::nil()), LotId(uuid::Uuid::nil()));
    let (diner, lot) = after.map_or(nobody, |after| (after.diner, after.lot));
    views
        .read(move |snapshot| {
            let sql = "SELECT DISTINCT l.diner, l.lot, l.version FROM {employees} AS e, {lots} AS l
                 WHERE e.tenant = ?1 AND e.company = ?2 AND e.to_date <= ?4
                   AND l.tenant = e.tenant AND l.diner = e.diner AND l.policy = ?3 AND NOT l.expired
                   AND (l.diner, l.lot) > (?5, ?6)
                   AND NOT EXISTS (SELECT 1 FROM {employees} AS n
                                   WHERE n.tenant = e.tenant AND n.company = e.company AND n.diner = e.diner
                                     AND (n.to_date IS NULL OR n.to_date > ?4))
                   AND NOT EXISTS (SELECT 1 FROM {closed_subsidies} AS c WHERE c.tenant = l.tenant AND c.diner = l.diner)
                 ORDER BY l.diner, l.lot LIMIT ?7";
            snapshot.query(sql, args![tenant, company, policy, today, diner, lot, limit], |row| {
                Ok(LeftLot { diner: row.get(0)?, lot: row.get(1)?, version: row.get(2)? })
            })
        })
        .await
}

/// What became of the money of a tenant's policies, or only of some companies' ones, from after `after`.
pub async fn policy_use(
    views: &Views,
    tenant: TenantId,
    companies: Option<Vec<CompanyId>>,
    after: Option<(PolicyId, Currency)>,
    page: PageSize,
) -> Result<Vec<PolicyUse>, ViewError> {
    let (policy, currency) = after.unzip();
    views
        .read(move |snapshot| {
            let Some(companies) = companies else {
                let query = "WHERE tenant = ?1 AND (?2 IS NULL OR (policy, currency) > (?2, ?3))
                             ORDER BY policy, currency LIMIT ?4";
                return snapshot.fetch(query, args![tenant, policy, currency, page]);
            };
            let from = policy.unwrap_or(PolicyId(uuid::Uuid::nil()));
            let key = |row: &PolicyUse| (row.policy, row.currency);
            many::page_of(&companies, page, key, |company| {
                let args = args![tenant, company, from, policy, currency, page];
                snapshot.query(USE_OF_COMPANY, args, PolicyUse::read)
            })
        })
        .await
}

/// Whose a policy is, its own view says.
const USE_OF_COMPANY: &str = "SELECT u.tenant, u.policy, u.currency, u.granted_minor, u.spent_minor, u.refunded_minor,
      u.lapsed_minor
    FROM {policies} AS p JOIN {policy_use} AS u ON u.tenant = p.tenant AND u.policy = p.policy
    WHERE p.tenant = ?1 AND p.company = ?2 AND p.policy >= ?3
      AND (?4 IS NULL OR (u.policy, u.currency) > (?4, ?5))
    ORDER BY p.policy, u.currency LIMIT ?6";
