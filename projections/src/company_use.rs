//! What each company's subsidies paid for, by order: whose it was, for which day, and how much. Nothing of
//! what diners paid themselves.

use domain::{
    AccountId, CompanyId, Currency, DinerId, Fact, LotId, OrderId, PolicyId, ServingId, TenantId,
    account::{self, Disclosure},
    order,
    payment::{self, Tender},
    policy, serving,
};
use jiff::civil::Date;
use rustc_hash::FxHashMap;
use store::Recorded;

use crate::{
    Json, Poison, Projection, Row, Rows, Snapshot, TableSpec, ViewError, args, column::words, diner_orders::Order, row,
};

words! {
    Disclosure { Amounts = "amounts", Dishes = "dishes" }
}

row! {
    /// What a company has chosen to see; without a row it sees amounts.
    pub struct CompanyDisclosure in "company_disclosures" {
        key { tenant: TenantId, company: CompanyId }
        disclosure: Disclosure,
    }
}

row! {
    /// Whose policy it is.
    pub struct PolicyCompany in "policy_companies" {
        key { tenant: TenantId, policy: PolicyId }
        company: CompanyId,
    }
}

row! {
    /// Whose money a lot is.
    pub struct LotCompany in "lot_companies" {
        key { tenant: TenantId, diner: DinerId, lot: LotId }
        company: CompanyId,
    }
}

row! {
    /// The day that a serving is on.
    pub struct ServingDay in "serving_days" {
        key { tenant: TenantId, serving: ServingId }
        day: Date,
    }
}

row! {
    /// An order whose money has not been taken yet.
    pub struct OrderInHand in "orders_in_hand" {
        key { tenant: TenantId, order_id: OrderId }
        serving: ServingId,
        /// The lots among its tenders, by the tender's index.
        lots: Json<Vec<(u8, LotId)>>,
    }
}

row! {
    /// An order that a company's subsidy paid for, at least in part.
    pub struct CompanyOrder in "company_orders" {
        key { tenant: TenantId, order_id: OrderId, company: CompanyId }
        diner: DinerId,
        /// Of its serving.
        day: Date,
        currency: Currency,
        spent_minor: i64,
        /// Given back of that; to lots that had expired and accounts that were closed too.
        refunded_minor: i64,
    }
    index "day" on "(tenant, company, day, diner)";
}

/// The projection.
pub struct CompanyUse;

impl Projection for CompanyUse {
    fn name(&self) -> &'static str {
        "company_use"
    }

    fn version(&self) -> u32 {
        2
    }

    fn tables(&self) -> &'static [TableSpec] {
        &[
            CompanyDisclosure::TABLE,
            PolicyCompany::TABLE,
            LotCompany::TABLE,
            ServingDay::TABLE,
            OrderInHand::TABLE,
            CompanyOrder::TABLE,
        ]
    }

    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison> {
        let tenant = it.tenant;
        match &it.fact {
            Fact::Policy(policy, policy::Event::Opened { company, .. }) => {
                rows.put(PolicyCompany { tenant, policy: *policy, company: *company });
            }
            Fact::Serving(serving, serving::Event::Published(plan)) => {
                rows.put(ServingDay { tenant, serving: *serving, day: plan.date });
            }
            Fact::Order(order_id, event) => of_order(tenant, *order_id, event, rows),
            Fact::Payment(payment, event) => of_payment(tenant, payment.order(), event, rows),
            Fact::Account(AccountId::Subsidy(diner), event) => return of_subsidy(tenant, *diner, event, rows),
            Fact::Account(AccountId::Company(company), account::Event::DisclosureSet { disclosure }) => {
                rows.put(CompanyDisclosure { tenant, company: *company, disclosure: *disclosure });
            }
            // What companies own and diners pay themselves is no use of a subsidy.
            Fact::Account(AccountId::Company(_) | AccountId::Wallet(_), _) => {}
            Fact::Policy(
                _,
                policy::Event::TermsSet { .. }
                | policy::Event::Ended { .. }
                | policy::Event::StandingSet { .. }
                | policy::Event::StandingEnded
                | policy::Event::StandingDelayed { .. },
            ) => {}
            Fact::Serving(
                _,
                serving::Event::Reserved { .. }
                | serving::Event::Released { .. }
                | serving::Event::Widened { .. }
                | serving::Event::Narrowed { .. }
                | serving::Event::PortionsSet { .. }
                | serving::Event::PriceSet { .. }
                | serving::Event::DishWithdrawn { .. }
                | serving::Event::Withdrawn { .. }
                | serving::Event::WithdrawalSettled { .. },
            ) => {}
            Fact::Menu(..) | Fact::Grant(..) | Fact::Diner(..) | Fact::Books(..) | Fact::Invoice(..) => {}
            Fact::Correction(..) | Fact::TopUp(..) | Fact::Payout(..) => {}
        }
        Ok(())
    }
}

fn of_order(tenant: TenantId, order_id: OrderId, event: &order::Event, rows: &mut Rows) {
    use order::Event;
    match event {
        Event::Placed(placement) => {
            rows.put(OrderInHand { tenant, order_id, serving: placement.serving, lots: Json::default() });
        }
        // It was never charged.
        Event::Refused(_) | Event::Expired | Event::ChangeSettled { .. } => {
            rows.delete::<OrderInHand>(&(tenant, order_id));
        }
        Event::ChangeBegun { serving, .. } => {
            rows.put(OrderInHand { tenant, order_id, serving: *serving, lots: Json::default() });
        }
        Event::Confirmed
        | Event::Preparing
        | Event::Readied { .. }
        | Event::PickedUp { .. }
        | Event::NoShow { .. }
        | Event::Cancelled { .. }
        | Event::RefundBegun { .. }
        | Event::RefundSettled { .. }
        | Event::Changed(_)
        | Event::ChangeRefused { .. } => {}
    }
}

fn of_payment(tenant: TenantId, order_id: OrderId, event: &payment::Event, rows: &mut Rows) {
    use payment::Event;
    match event {
        Event::Started { tenders, .. } => from_lots(tenant, order_id, (0, tenders), rows),
        Event::Extended { first, tenders, .. } => from_lots(tenant, order_id, (*first, tenders), rows),
        Event::Captured | Event::Released => drop(rows.delete::<OrderInHand>(&(tenant, order_id))),
        Event::Held
        | Event::Asked { .. }
        | Event::OutcomeUnknown { .. }
        | Event::Failed { .. }
        | Event::TradeClosed { .. }
        | Event::PayBackAsked { .. }
        | Event::PayBackUnknown { .. }
        | Event::PayBackDiverted { .. }
        | Event::Paid { .. }
        | Event::Mispaid { .. }
        | Event::RefundBegun { .. }
        | Event::PaidBack { .. }
        | Event::RefundSettled { .. }
        | Event::ExtensionCaptured { .. }
        | Event::ExtensionGivenUp { .. } => {}
    }
}

/// Which of some tenders, counted from the first one's index, are paid by lots.
fn from_lots(tenant: TenantId, order_id: OrderId, (first, tenders): (u8, &[Tender]), rows: &mut Rows) {
    let lots = (first..).zip(tenders).filter_map(|(index, tender)| Some((index, tender.source.lot()?)));
    if let Some(row) = rows.get_mut::<OrderInHand>(&(tenant, order_id)) {
        row.lots = Json(lots.collect());
    }
}

fn of_subsidy(tenant: TenantId, diner: DinerId, event: &account::Event, rows: &mut Rows) -> Result<(), Poison> {
    use account::Event;
    match event {
        Event::Granted { lot, terms, .. } => {
            let policy = rows.get::<PolicyCompany>(&(tenant, terms.policy));
            let policy = policy.ok_or_else(|| Poison(format!("lot {lot} is of a policy that was not opened")))?;
            let company = policy.company;
            rows.put(LotCompany { tenant, diner, lot: *lot, company });
        }
        Event::Captured { hold, amount } => {
            let order_id = hold.payment.order();
            let Some(row) = rows.get::<OrderInHand>(&(tenant, order_id)) else { return Ok(()) };
            let lot = row.lots.iter().find(|(tender, _)| *tender == hold.tender).map(|(_, lot)| *lot);
            let (serving, Some(lot)) = (row.serving, lot) else { return Ok(()) };
            let company = company_of(tenant, diner, lot, rows)?;
            let day = rows.get::<ServingDay>(&(tenant, serving)).map(|row| row.day);
            let day = day.ok_or_else(|| Poison(format!("order {order_id} is of a serving that was not published")))?;
            let currency = amount.currency;
            let (spent_minor, refunded_minor) = (0, 0);
            let new = || CompanyOrder { tenant, order_id, company, diner, day, currency, spent_minor, refunded_minor };
            rows.get_or_insert_with(&(tenant, order_id, company), new).spent_minor += amount.minor;
        }
        Event::Refunded { hold, amount, lot: Some(lot), .. }
        | Event::RefundLapsed { hold, amount, lot, .. }
        | Event::RefundDiverted { hold, amount, lot: Some(lot), .. } => {
            let company = company_of(tenant, diner, *lot, rows)?;
            let row = rows.get_mut::<CompanyOrder>(&(tenant, hold.payment.order(), company));
            if let Some(row) = row {
                row.refunded_minor += amount.minor;
            }
        }
        // Money that was in no lot is no company's; the others move none of an order's.
        Event::Refunded { lot: None, .. }
        | Event::RefundDiverted { lot: None, .. }
        | Event::Opened { .. }
        | Event::Deposited { .. }
        | Event::Held { .. }
        | Event::Released { .. }
        | Event::Lapsed { .. }
        | Event::Allocated { .. }
        | Event::TakenBack { .. }
        | Event::Adjusted { .. }
        | Event::FloorSet { .. }
        | Event::Invoiced { .. }
        | Event::InvoicePaid { .. }
        | Event::InvoiceVoided { .. }
        | Event::DisclosureSet { .. }
        | Event::Frozen
        | Event::Unfrozen
        | Event::PayoutHeld { .. }
        | Event::PaidOut { .. }
        | Event::PayoutReleased { .. }
        | Event::Closed => {}
    }
    Ok(())
}

fn company_of(tenant: TenantId, diner: DinerId, lot: LotId, rows: &mut Rows) -> Result<CompanyId, Poison> {
    let row = rows.get::<LotCompany>(&(tenant, diner, lot));
    row.map(|row| row.company).ok_or_else(|| Poison(format!("lot {lot} was never granted")))
}

/// A diner's day at a company's expense.
#[derive(Clone, Debug, PartialEq)]
pub struct DayOfDiner {
    pub day: Date,
    pub diner: DinerId,
    pub currency: Currency,
    /// Orders that the company paid for in the end, at least in part.
    pub orders: u64,
    /// What its subsidies spent on them, less what came back.
    pub spent_minor: i64,
    /// What was eaten, where the company has chosen to see it.
    pub dishes: Option<Vec<String>>,
}

/// Which days of a company's use are asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub tenant: TenantId,
    pub company: CompanyId,
    /// Both included.
    pub from: Date,
    pub to: Date,
    /// Where the page before ended.
    pub after: Option<(Date, DinerId, Currency)>,
}

const DAYS: &str = "SELECT day, diner, currency,
      sum(CASE WHEN spent_minor > refunded_minor THEN 1 ELSE 0 END), sum(spent_minor - refunded_minor)
    FROM {company_orders}
    WHERE tenant = ?1 AND company = ?2 AND day >= ?3 AND day <= ?4
      AND (?5 IS NULL OR (day, diner, currency) > (?5, ?6, ?7))
    GROUP BY day, diner, currency ORDER BY day, diner, currency LIMIT ?8";

/// A company's use by day and diner, at most `limit`. With dishes only where it has chosen to see them.
pub fn days(snapshot: &Snapshot<'_>, asked: &Asked, limit: usize) -> Result<Vec<DayOfDiner>, ViewError> {
    let Asked { tenant, company, from, to, after } = *asked;
    let (day, diner, currency) = match after {
        Some((day, diner, currency)) => (Some(day), Some(diner), Some(currency)),
        None => (None, None, None),
    };
    let params = args![tenant, company, from, to, day, diner, currency, limit];
    let mut days = snapshot.query(DAYS, params, |row| {
        Ok(DayOfDiner {
            day: row.get(0)?,
            diner: row.get(1)?,
            currency: row.get(2)?,
            orders: row.get(3)?,
            spent_minor: row.get(4)?,
            dishes: None,
        })
    })?;
    if disclosure(snapshot, tenant, company)? == Disclosure::Dishes {
        name_dishes(snapshot, asked, &mut days)?;
    }
    Ok(days)
}

/// What a company has chosen to see.
pub fn disclosure(snapshot: &Snapshot<'_>, tenant: TenantId, company: CompanyId) -> Result<Disclosure, ViewError> {
    let query = "WHERE tenant = ?1 AND company = ?2";
    let row = snapshot.fetch_one::<CompanyDisclosure>(query, args![tenant, company])?;
    Ok(row.map_or(Disclosure::Amounts, |row| row.disclosure))
}

/// Whether anything is known of a company: a policy of its own, somebody whom it employed, or a choice that it made.
pub fn is_known(snapshot: &Snapshot<'_>, tenant: TenantId, company: CompanyId) -> Result<bool, ViewError> {
    let sql = "SELECT 1 FROM (SELECT 1 FROM {policies} WHERE tenant = ?1 AND company = ?2
                 UNION ALL SELECT 1 FROM {employees} WHERE tenant = ?1 AND company = ?2
                 UNION ALL SELECT 1 FROM {company_disclosures} WHERE tenant = ?1 AND company = ?2) AS known LIMIT 1";
    Ok(!snapshot.query(sql, args![tenant, company], |_| Ok(()))?.is_empty())
}

/// Most orders of one diner on one day whose dishes are named.
const NAMED: u32 = 20;

const NAMED_ORDERS: &str = "SELECT day, diner, currency, order_id
    FROM (SELECT day, diner, currency, order_id,
            row_number() OVER (PARTITION BY day, diner, currency ORDER BY order_id) AS place
          FROM {company_orders}
          WHERE tenant = ?1 AND company = ?2 AND spent_minor > refunded_minor
            AND (day, diner, currency) >= (?3, ?4, ?5) AND (day, diner, currency) <= (?6, ?7, ?8)) AS orders
    WHERE place <= ?9 ORDER BY day, diner, currency, order_id";

/// Gives each of a page's days the names of what the company paid for, without those refunded whole.
fn name_dishes(snapshot: &Snapshot<'_>, asked: &Asked, days: &mut [DayOfDiner]) -> Result<(), ViewError> {
    let (Some(first), Some(last)) = (days.first(), days.last()) else { return Ok(()) };
    let params = args![
        asked.tenant,
        asked.company,
        first.day,
        first.diner,
        first.currency,
        last.day,
        last.diner,
        last.currency,
        NAMED
    ];
    let named = snapshot.query(NAMED_ORDERS, params, |row| {
        let of: (Date, DinerId, Currency) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok((of, row.get::<OrderId>(3)?))
    })?;
    let ids: Vec<OrderId> = named.iter().map(|(_, order)| *order).collect();
    let orders: Vec<Order> = snapshot.fetch_among(asked.tenant, ("order_id", &ids), "")?;
    let orders: FxHashMap<OrderId, Order> = orders.into_iter().map(|order| (order.order_id, order)).collect();
    let mut named = named.into_iter().peekable();
    for day in days {
        let of = (day.day, day.diner, day.currency);
        let its = std::iter::from_fn(|| named.next_if(|(next, _)| *next == of));
        let its = its.filter_map(|(_, order)| orders.get(&order));
        day.dishes = Some(its.flat_map(eaten).collect());
    }
    Ok(())
}

/// The names of an order's lines, without those refunded whole.
fn eaten(order: &Order) -> impl Iterator<Item = String> {
    let lines = order.lines.iter().enumerate();
    lines.filter_map(|(index, line)| {
        let back = order.refunds.iter().flat_map(|refund| &refund.lines);
        let back = back.filter(|count| usize::from(count.line) == index).map(|count| count.quantity);
        (back.sum::<u32>() < line.quantity).then(|| line.name.clone())
    })
}
