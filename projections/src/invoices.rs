//! What companies were asked for, what of it is paid, and what is still open.

use domain::{AccountId, CompanyId, Currency, Fact, InvoiceId, Money, TenantId, Timestamp, account, invoice};
use jiff::civil::Date;
use store::{Position, Recorded};

use crate::{PageSize, Poison, Projection, Row, Rows, TableSpec, ViewError, Views, args, column::words, many, row};

/// How far an invoice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    Settled,
    Voided,
}

words! {
    State { Open = "open", Settled = "settled", Voided = "voided" }
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Settled => "settled",
            State::Voided => "voided",
        }
    }
}

row! {
    /// An invoice to a company.
    pub struct Invoice in "invoices" {
        key { tenant: TenantId, invoice: InvoiceId }
        company: CompanyId,
        /// Counts the company's invoices from 1.
        number: u32,
        currency: Currency,
        amount_minor: i64,
        paid_minor: i64,
        /// The last day whose meals it is for.
        through: Date,
        due_on: Date,
        state: State,
        issued_at: Timestamp,
        /// Of the event with which the company's account issued it: the order of lists.
        issued: Position,
        /// Whether its own stream or the account has still to take what the other decided.
        pending: bool,
        /// The event that moved it last.
        moved: Position,
    }
    index "issued" on "(tenant, issued)";
    index "company" on "(tenant, company, issued)";
    index "pending" on "(moved) WHERE pending";
}

impl Invoice {
    pub fn amount(&self) -> Money {
        Money::new(self.amount_minor, self.currency)
    }

    pub fn paid(&self) -> Money {
        Money::new(self.paid_minor, self.currency)
    }

    /// What is still to be paid: nothing of a void one.
    pub fn open(&self) -> Money {
        let minor = match self.state {
            State::Open | State::Settled => self.amount_minor - self.paid_minor,
            State::Voided => 0,
        };
        Money::new(minor, self.currency)
    }

    /// How many days after its last day in time it stands open on `today`; 0 when it does not.
    pub fn days_overdue(&self, today: Date) -> u32 {
        if self.open().is_positive() { days_late(self.due_on, today) } else { 0 }
    }
}

/// Days from the last one in time to `today`; 0 before it.
pub fn days_late(due_on: Date, today: Date) -> u32 {
    u32::try_from((today - due_on).get_days()).unwrap_or(0)
}

/// The projection.
pub struct Invoices;

impl Projection for Invoices {
    fn name(&self) -> &'static str {
        "invoices"
    }

    fn version(&self) -> u32 {
        1
    }

    fn tables(&self) -> &'static [TableSpec] {
        &[Invoice::TABLE]
    }

    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison> {
        match &it.fact {
            Fact::Account(AccountId::Company(company), event) => {
                begin(it, *company, event, rows);
                Ok(())
            }
            Fact::Invoice(invoice, event) => go_on(it, *invoice, event, rows),
            Fact::Account(AccountId::Wallet(_) | AccountId::Subsidy(_), _)
            | Fact::Menu(..)
            | Fact::Serving(..)
            | Fact::Order(..)
            | Fact::Payment(..)
            | Fact::Policy(..)
            | Fact::Grant(..)
            | Fact::Diner(..)
            | Fact::Books(..)
            | Fact::Correction(..)
            | Fact::TopUp(..)
            | Fact::Payout(..) => Ok(()),
        }
    }
}

fn begin(it: &Recorded, company: CompanyId, event: &account::Event, rows: &mut Rows) {
    use account::Event;
    match event {
        Event::Invoiced { invoice, number, amount, through, due_on } => rows.put(Invoice {
            tenant: it.tenant,
            invoice: *invoice,
            company,
            number: *number,
            currency: amount.currency,
            amount_minor: amount.minor,
            paid_minor: 0,
            through: *through,
            due_on: *due_on,
            state: State::Open,
            issued_at: it.occurred_at,
            issued: it.position,
            pending: true,
            moved: it.position,
        }),
        // That the account has taken a payment or a void one, the invoice says itself.
        Event::InvoicePaid { .. }
        | Event::InvoiceVoided { .. }
        | Event::Opened { .. }
        | Event::Deposited { .. }
        | Event::Granted { .. }
        | Event::Held { .. }
        | Event::Captured { .. }
        | Event::Released { .. }
        | Event::Refunded { .. }
        | Event::RefundLapsed { .. }
        | Event::RefundDiverted { .. }
        | Event::Lapsed { .. }
        | Event::Allocated { .. }
        | Event::TakenBack { .. }
        | Event::Adjusted { .. }
        | Event::FloorSet { .. }
        | Event::DisclosureSet { .. }
        | Event::Frozen
        | Event::Unfrozen
        | Event::PayoutHeld { .. }
        | Event::PaidOut { .. }
        | Event::PayoutReleased { .. }
        | Event::Closed => {}
    }
}

fn go_on(it: &Recorded, invoice: InvoiceId, event: &invoice::Event, rows: &mut Rows) -> Result<(), Poison> {
    use invoice::Event;
    let row = rows.get_mut::<Invoice>(&(it.tenant, invoice));
    let row = row.ok_or_else(|| Poison(format!("invoice {invoice} moves before the account issued it")))?;
    row.moved = it.position;
    match event {
        Event::Issued(_) | Event::Booked => row.pending = false,
        Event::Paid { amount, .. } => {
            row.paid_minor += amount.minor;
            row.pending = true;
        }
        Event::Settled => row.state = State::Settled,
        Event::Voided { .. } => (row.state, row.pending) = (State::Voided, true),
    }
    Ok(())
}

/// Invoices that have still to be carried on with, of all tenants, the longest unmoved first.
pub async fn pending(views: &Views, page: PageSize) -> Result<Vec<Invoice>, ViewError> {
    views.read(move |snapshot| snapshot.fetch("WHERE pending ORDER BY moved LIMIT ?1", args![page])).await
}

/// Which invoices are listed.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Only of these companies; of all, if it is not said.
    pub companies: Option<Vec<CompanyId>>,
    /// Only those of which something is open.
    pub open: bool,
}

/// A tenant's invoices, the latest first, from before `before`.
pub async fn list(
    views: &Views,
    tenant: TenantId,
    asked: Asked,
    before: Option<Position>,
    page: PageSize,
) -> Result<Vec<Invoice>, ViewError> {
    let before = before.unwrap_or(i64::MAX as u64);
    views
        .read(move |snapshot| {
            let Some(companies) = asked.companies else {
                let query = "WHERE tenant = ?1 AND issued < ?2 AND (NOT ?3 OR state = 'open')
                             ORDER BY issued DESC LIMIT ?4";
                return snapshot.fetch(query, args![tenant, before, asked.open, page]);
            };
            let query = "WHERE tenant = ?1 AND company = ?5 AND issued < ?2 AND (NOT ?3 OR state = 'open')
                         ORDER BY issued DESC LIMIT ?4";
            let latest = |row: &Invoice| std::cmp::Reverse(row.issued);
            many::page_of(&companies, page, latest, |company| {
                snapshot.fetch(query, args![tenant, before, asked.open, page, company])
            })
        })
        .await
}

/// What one company has open in one currency, by how late it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ageing {
    pub company: CompanyId,
    pub currency: Currency,
    /// Minor units not due yet, up to 30, 60 and 90 days late, and later.
    pub open_minor: [i64; 5],
}

impl Ageing {
    /// All that is open, in minor units.
    pub fn total(&self) -> i64 {
        self.open_minor.iter().sum()
    }
}

/// The days up to which a bucket of [`Ageing`] goes; the last has no end.
const LATE: [u32; 4] = [0, 30, 60, 90];

/// What companies have open on `today`, by company. Of all, or of some.
pub async fn ageing(
    views: &Views,
    tenant: TenantId,
    companies: Option<Vec<CompanyId>>,
    today: Date,
) -> Result<Vec<Ageing>, ViewError> {
    views
        .read(move |snapshot| {
            // As many rows as a company has days on which something is due.
            let open = |company: Option<CompanyId>| {
                let query =
                    "SELECT company, currency, due_on, CAST(sum(amount_minor - paid_minor) AS BIGINT) FROM {invoices}
                             WHERE tenant = ?1 AND state = 'open' AND (?2 IS NULL OR company = ?2)
                             GROUP BY company, currency, due_on ORDER BY company, currency, due_on";
                snapshot.query(query, args![tenant, company], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })
            };
            let Some(companies) = companies else { return Ok(by_age(open(None)?, today)) };
            let mut ages = Vec::new();
            for company in companies {
                ages.extend(by_age(open(Some(company))?, today));
            }
            Ok(ages)
        })
        .await
}

/// A page of what companies have open on `today`, from after `after`; of all, or of some.
pub async fn ageing_after(
    views: &Views,
    tenant: TenantId,
    companies: Option<Vec<CompanyId>>,
    today: Date,
    (after, page): (Option<(CompanyId, Currency)>, PageSize),
) -> Result<Vec<Ageing>, ViewError> {
    if companies.is_some() {
        // Those that a token names.
        let mut ages = ageing(views, tenant, companies, today).await?;
        ages.sort_by_key(|row| (row.company, row.currency));
        let later = ages.into_iter().filter(|row| after.is_none_or(|after| (row.company, row.currency) > after));
        return Ok(later.take(page.get()).collect());
    }
    let (company, currency) = after.unzip();
    views
        .read(move |snapshot| {
            // As many rows as each company of the page has days on which something is due.
            let query = "SELECT i.company, i.currency, i.due_on, CAST(sum(i.amount_minor - i.paid_minor) AS BIGINT)
                 FROM (SELECT DISTINCT company, currency FROM {invoices} WHERE tenant = ?1 AND state = 'open'
                         AND (?2 IS NULL OR (company, currency) > (?2, ?3)) ORDER BY company, currency LIMIT ?4) AS p
                 JOIN {invoices} AS i ON i.tenant = ?1 AND i.company = p.company AND i.currency = p.currency
                 WHERE i.state = 'open' GROUP BY i.company, i.currency, i.due_on
                 ORDER BY i.company, i.currency, i.due_on";
            let open = snapshot.query(query, args![tenant, company, currency, page], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?;
            Ok(by_age(open, today))
        })
        .await
}

/// Of what is open by company, currency and day, in that order.
fn by_age(open: Vec<(CompanyId, Currency, Date, i64)>, today: Date) -> Vec<Ageing> {
    let mut ages: Vec<Ageing> = Vec::new();
    for (company, currency, due_on, minor) in open {
        let late = days_late(due_on, today);
        let bucket = LATE.iter().position(|days| late <= *days).unwrap_or(LATE.len());
        if ages.last().is_none_or(|last| (last.company, last.currency) != (company, currency)) {
            ages.push(Ageing { company, currency, open_minor: [0; 5] });
        }
        if let Some(last) = ages.last_mut() {
            last.open_minor[bucket] += minor;
        }
    }
    ages
}
