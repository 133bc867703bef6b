//! Balances of the books' accounts, the trial balance, and what the limited accounts hold.

use domain::{
    AccountId, Currency, Fact, HoldId, Money, PaymentId, TenantId, account,
    postings::{LedgerAccount, Posting, postings},
};
use store::Recorded;

use crate::{PageSize, Poison, Projection, Row, Rows, TableSpec, ViewError, Views, args, row};

row! {
    /// An account of the books in one currency.
    pub struct Balance in "balances" {
        key { tenant: TenantId, account: LedgerAccount, currency: Currency }
        /// Credits less debits.
        balance_minor: i64,
        /// The sum of all debits, positive.
        debits_minor: i64,
        credits_minor: i64,
    }
}

impl Balance {
    pub fn balance(&self) -> Money {
        Money::new(self.balance_minor, self.currency)
    }
}

row! {
    /// An account with a limit.
    pub struct LimitedAccount in "accounts" {
        key { tenant: TenantId, account: AccountId }
        currency: Currency,
        posted_minor: i64,
        held_minor: i64,
        floor_minor: i64,
        /// Invoiced and not paid: it uses up credit.
        receivable_minor: i64,
        frozen: bool,
        closed: bool,
    }
}

impl LimitedAccount {
    pub fn posted(&self) -> Money {
        Money::new(self.posted_minor, self.currency)
    }

    pub fn held(&self) -> Money {
        Money::new(self.held_minor, self.currency)
    }

    /// What can be spent: posted less held and less what is invoiced, above the floor. Negative after a debt.
    pub fn available(&self) -> Money {
        let used = self.held_minor + self.receivable_minor;
        Money::new(self.posted_minor - used - self.floor_minor, self.currency)
    }
}

row! {
    /// Money of an account that is held for a payment's tender.
    pub struct Hold in "holds" {
        key { tenant: TenantId, account: AccountId, payment: PaymentId, tender: u8 }
        amount_minor: i64,
    }
}

/// The projection.
pub struct Balances;

impl Projection for Balances {
    fn name(&self) -> &'static str {
        "balances"
    }

    fn version(&self) -> u32 {
        2
    }

    fn tables(&self) -> &'static [TableSpec] {
        &[Balance::TABLE, LimitedAccount::TABLE, Hold::TABLE]
    }

    /// Which events move money, and how, the one postings file says; it names every event.
    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison> {
        for posting in postings(&it.fact) {
            post(it.tenant, posting, rows)?;
        }
        match &it.fact {
            Fact::Account(account, event) => of_account(it.tenant, *account, event, rows),
            Fact::Menu(..)
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
            | Fact::Payout(..) => Ok(()),
        }
    }
}

fn post(tenant: TenantId, posting: Posting, rows: &mut Rows) -> Result<(), Poison> {
    let Posting { account, amount } = posting;
    let currency = amount.currency;
    let new = || Balance { tenant, account, currency, balance_minor: 0, debits_minor: 0, credits_minor: 0 };
    let balance = rows.get_or_insert_with::<Balance>(&(tenant, account, currency), new);
    balance.balance_minor = add(balance.balance_minor, amount.minor)?;
    if amount.minor < 0 {
        balance.debits_minor = add(balance.debits_minor, -amount.minor)?;
    } else {
        balance.credits_minor = add(balance.credits_minor, amount.minor)?;
    }
    Ok(())
}

fn add(sum: i64, amount: i64) -> Result<i64, Poison> {
    sum.checked_add(amount).ok_or_else(|| Poison("a balance has left the range of amounts".into()))
}

fn of_account(tenant: TenantId, id: AccountId, event: &account::Event, rows: &mut Rows) -> Result<(), Poison> {
    use account::Event;
    if let Event::Opened { currency } = event {
        rows.put(LimitedAccount {
            tenant,
            account: id,
            currency: *currency,
            posted_minor: 0,
            held_minor: 0,
            floor_minor: 0,
            receivable_minor: 0,
            frozen: false,
            closed: false,
        });
        return Ok(());
    }
    match event {
        Event::Opened { .. } => {}
        Event::Deposited { amount, .. }
        | Event::Granted { amount, .. }
        | Event::Refunded { amount, .. }
        | Event::TakenBack { amount, .. }
        | Event::Adjusted { by: amount, .. } => {
            let account = limited(tenant, id, rows)?;
            account.posted_minor = add(account.posted_minor, amount.minor)?;
        }
        Event::Lapsed { amount, .. } | Event::Allocated { amount, .. } => {
            let account = limited(tenant, id, rows)?;
            account.posted_minor = add(account.posted_minor, -amount.minor)?;
        }
        Event::PayoutHeld { amount, .. } => {
            let account = limited(tenant, id, rows)?;
            account.held_minor = add(account.held_minor, amount.minor)?;
        }
        Event::PaidOut { amount, .. } => {
            let account = limited(tenant, id, rows)?;
            account.held_minor = add(account.held_minor, -amount.minor)?;
            account.posted_minor = add(account.posted_minor, -amount.minor)?;
        }
        Event::PayoutReleased { amount, .. } => {
            let account = limited(tenant, id, rows)?;
            account.held_minor = add(account.held_minor, -amount.minor)?;
        }
        Event::Held { hold, amount, .. } => {
            let account = limited(tenant, id, rows)?;
            account.held_minor = add(account.held_minor, amount.minor)?;
            let HoldId { payment, tender } = *hold;
            rows.create(Hold { tenant, account: id, payment, tender, amount_minor: amount.minor });
        }
        Event::Captured { hold, amount } => {
            let held = give_up(tenant, id, *hold, rows);
            let account = limited(tenant, id, rows)?;
            account.held_minor -= held;
            account.posted_minor = add(account.posted_minor, -amount.minor)?;
        }
        // It may come before its hold, and then nothing is held.
        Event::Released { hold } => {
            let held = give_up(tenant, id, *hold, rows);
            if held != 0 {
                limited(tenant, id, rows)?.held_minor -= held;
            }
        }
        Event::FloorSet { floor } => limited(tenant, id, rows)?.floor_minor = floor.minor,
        Event::Invoiced { amount, .. } => {
            let account = limited(tenant, id, rows)?;
            account.posted_minor = add(account.posted_minor, amount.minor)?;
            account.receivable_minor = add(account.receivable_minor, amount.minor)?;
        }
        Event::InvoicePaid { amount, .. } => {
            let account = limited(tenant, id, rows)?;
            account.receivable_minor = add(account.receivable_minor, -amount.minor)?;
        }
        Event::InvoiceVoided { amount, .. } => {
            let account = limited(tenant, id, rows)?;
            account.posted_minor = add(account.posted_minor, -amount.minor)?;
            account.receivable_minor = add(account.receivable_minor, -amount.minor)?;
        }
        // What a company sees is no money.
        Event::DisclosureSet { .. } => {}
        Event::Frozen => limited(tenant, id, rows)?.frozen = true,
        Event::Unfrozen => limited(tenant, id, rows)?.frozen = false,
        Event::Closed => limited(tenant, id, rows)?.closed = true,
        // The money waits in `suspense`, or has gone to `breakage`.
        Event::RefundDiverted { .. } | Event::RefundLapsed { .. } => {}
    }
    Ok(())
}

fn limited(tenant: TenantId, id: AccountId, rows: &mut Rows) -> Result<&mut LimitedAccount, Poison> {
    let account = rows.get_mut::<LimitedAccount>(&(tenant, id));
    account.ok_or_else(|| Poison(format!("account {id} moves before it was opened")))
}

fn give_up(tenant: TenantId, account: AccountId, hold: HoldId, rows: &mut Rows) -> i64 {
    let held = rows.delete::<Hold>(&(tenant, account, hold.payment, hold.tender));
    held.map_or(0, |hold| hold.amount_minor)
}

/// One account of the books, in every currency that it has.
pub async fn balance(views: &Views, tenant: TenantId, account: LedgerAccount) -> Result<Vec<Balance>, ViewError> {
    let query = "WHERE tenant = ?1 AND account = ?2 ORDER BY currency";
    views.read(move |snapshot| snapshot.fetch(query, args![tenant, account])).await
}

/// All accounts of the books, in the order of their names, from after `after`.
pub async fn list(
    views: &Views,
    tenant: TenantId,
    after: Option<(LedgerAccount, Currency)>,
    page: PageSize,
) -> Result<Vec<Balance>, ViewError> {
    let (account, currency) = after.unzip();
    views
        .read(move |snapshot| {
            snapshot.fetch(
                "WHERE tenant = ?1 AND (?2 IS NULL OR (account, currency) > (?2, ?3))
                 ORDER BY account, currency LIMIT ?4",
                args![tenant, account, currency, page],
            )
        })
        .await
}

/// A limited account: what it has, holds and can spend.
pub async fn limited_account(
    views: &Views,
    tenant: TenantId,
    account: AccountId,
) -> Result<Option<LimitedAccount>, ViewError> {
    views.read(move |snapshot| snapshot.fetch_one("WHERE tenant = ?1 AND account = ?2", args![tenant, account])).await
}

/// The books of one tenant in one currency. They balance when `balance` is zero.
#[derive(Clone, Debug, PartialEq)]
pub struct TrialBalance {
    pub tenant: TenantId,
    pub currency: Currency,
    pub accounts: u64,
    pub debits: Money,
    pub credits: Money,
    /// Credits less debits.
    pub balance: Money,
}

/// The trial balance of a tenant, by currency.
pub async fn trial_balance(views: &Views, tenant: TenantId) -> Result<Vec<TrialBalance>, ViewError> {
    views
        .read(move |snapshot| {
            let sql = "SELECT tenant, currency, count(*), sum(debits_minor), sum(credits_minor), sum(balance_minor)
                 FROM {balances} WHERE tenant = ?1 GROUP BY tenant, currency ORDER BY currency";
            snapshot.query(sql, args![tenant], |row| {
                let currency = row.get(1)?;
                Ok(TrialBalance {
                    tenant: row.get(0)?,
                    currency,
                    accounts: row.get(2)?,
                    debits: Money::new(row.get(3)?, currency),
                    credits: Money::new(row.get(4)?, currency),
                    balance: Money::new(row.get(5)?, currency),
                })
            })
        })
        .await
}

/// Every tenant that has a balance: for the platform's own tools.
pub async fn tenants(views: &Views) -> Result<Vec<TenantId>, ViewError> {
    views
        .read(|snapshot| {
            snapshot.query("SELECT DISTINCT tenant FROM {balances} ORDER BY tenant", args![], |row| row.get(0))
        })
        .await
}
