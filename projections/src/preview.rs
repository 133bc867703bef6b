//! What a correction makes of the balances, before and after: a calculation on one snapshot of the views,
//! which is done anew each time that it is asked for, since a correction's amounts are relative.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    AccountId, Currency, Money, TenantId,
    correction::{Change, Entry},
    postings::LedgerAccount,
};

use crate::{
    Snapshot, ViewError,
    balances::{Balance, LimitedAccount},
    corrections::CorrectionEntry,
};

/// An account with a limit, before and after. Amounts are minor units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountChange {
    pub account: AccountId,
    pub currency: Currency,
    pub by_minor: i64,
    pub posted_minor: i64,
    pub held_minor: i64,
    /// What is invoiced and not paid.
    pub receivable_minor: i64,
    /// The lowest available balance.
    pub floor_minor: i64,
    /// Why it would refuse to be adjusted.
    pub refusal: Option<Refusal>,
}

/// Why an account would refuse to be adjusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Unknown,
    Closed,
    OtherCurrency(Currency),
    TooMuch,
}

impl Refusal {
    pub fn name(self) -> &'static str {
        match self {
            Refusal::Unknown => "unknown",
            Refusal::Closed => "closed",
            Refusal::OtherCurrency(_) => "other_currency",
            Refusal::TooMuch => "too_much",
        }
    }
}

impl AccountChange {
    pub fn posted_after(&self) -> i64 {
        if self.refusal.is_some() { self.posted_minor } else { self.posted_minor.saturating_add(self.by_minor) }
    }

    /// What can be spent: posted less held and less what is invoiced, above the floor.
    pub fn available(&self) -> i64 {
        self.above_floor(self.posted_minor)
    }

    pub fn available_after(&self) -> i64 {
        self.above_floor(self.posted_after())
    }

    fn above_floor(&self, posted: i64) -> i64 {
        let used = self.held_minor.saturating_add(self.receivable_minor);
        posted.saturating_sub(used).saturating_sub(self.floor_minor)
    }

    /// Whether it would have a debt beyond its floor.
    pub fn is_below_floor(&self) -> bool {
        self.available_after() < 0
    }
}

/// An account of the books without a limit, before and after. Amounts are minor units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerChange {
    pub account: LedgerAccount,
    pub currency: Currency,
    pub balance_minor: i64,
    pub by_minor: i64,
}

impl LedgerChange {
    pub fn balance_after(&self) -> i64 {
        self.balance_minor.saturating_add(self.by_minor)
    }
}

/// What a correction makes of the balances, in the order of the accounts' names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    pub accounts: Vec<AccountChange>,
    pub ledger: Vec<LedgerChange>,
}

impl Preview {
    pub fn below_floor(&self) -> impl Iterator<Item = &AccountChange> {
        self.accounts.iter().filter(|change| change.is_below_floor())
    }

    pub fn refused(&self) -> impl Iterator<Item = &AccountChange> {
        self.accounts.iter().filter(|change| change.refusal.is_some())
    }
}

impl From<&CorrectionEntry> for Change {
    fn from(row: &CorrectionEntry) -> Self {
        let amount = row.amount();
        match (row.account, row.to_account) {
            (LedgerAccount::Limited(account), _) => Change::Adjust { account, by: amount },
            (from, to) => Change::Move { from, to: to.unwrap_or(LedgerAccount::Suspense), amount },
        }
    }
}

impl Preview {
    pub fn of_entries(snapshot: &Snapshot<'_>, tenant: TenantId, entries: &[Entry]) -> Result<Preview, ViewError> {
        Self::of(snapshot, tenant, entries.iter().map(|entry| entry.change))
    }

    /// What changes would make of the balances that the snapshot shows.
    pub fn of(
        snapshot: &Snapshot<'_>,
        tenant: TenantId,
        changes: impl IntoIterator<Item = Change>,
    ) -> Result<Preview, ViewError> {
        Ok(Self::of_each(snapshot, tenant, [changes.into_iter().collect()])?.pop().unwrap_or_default())
    }

    /// As [`Preview::of`], of several corrections, each as if it were the only one.
    pub fn of_each(
        snapshot: &Snapshot<'_>,
        tenant: TenantId,
        corrections: impl IntoIterator<Item = Vec<Change>>,
    ) -> Result<Vec<Preview>, ViewError> {
        let sums: Vec<Sums> = corrections.into_iter().map(Sums::of).collect();
        let limited: BTreeSet<AccountId> = sums.iter().flat_map(|sums| sums.limited.keys().map(|key| key.0)).collect();
        let limited: Vec<AccountId> = limited.into_iter().collect();
        let rows: Vec<LimitedAccount> = snapshot.fetch_among(tenant, ("account", &limited), "")?;
        let rows: BTreeMap<AccountId, LimitedAccount> = rows.into_iter().map(|row| (row.account, row)).collect();
        let mut previews: Vec<_> = sums.into_iter().map(|sums| sums.adjusted(&rows)).collect();
        let moved: BTreeSet<LedgerAccount> =
            previews.iter().flat_map(|(_, moved)| moved.keys().map(|key| key.0)).collect();
        let moved: Vec<LedgerAccount> = moved.into_iter().collect();
        let balances: Vec<Balance> = snapshot.fetch_among(tenant, ("account", &moved), "")?;
        let balance = |row: Balance| ((row.account, row.currency), row.balance_minor);
        let balances: BTreeMap<_, _> = balances.into_iter().map(balance).collect();
        for (preview, moved) in &mut previews {
            let change = |(key, by_minor): (&(LedgerAccount, Currency), &i64)| LedgerChange {
                account: key.0,
                currency: key.1,
                balance_minor: balances.get(key).copied().unwrap_or(0),
                by_minor: *by_minor,
            };
            preview.ledger = moved.iter().map(change).collect();
        }
        Ok(previews.into_iter().map(|(preview, _)| preview).collect())
    }
}

type Moved = BTreeMap<(LedgerAccount, Currency), i64>;

/// What one correction does to each account, in minor units.
#[derive(Default)]
struct Sums {
    limited: BTreeMap<(AccountId, Currency), i64>,
    moved: Moved,
}

impl Sums {
    fn of(changes: Vec<Change>) -> Sums {
        let mut sums = Sums::default();
        for change in changes {
            match change {
                Change::Adjust { account, by } => add(&mut sums.limited, (account, by.currency), by.minor),
                Change::Move { from, to, amount } => {
                    add(&mut sums.moved, (from, amount.currency), -amount.minor);
                    add(&mut sums.moved, (to, amount.currency), amount.minor);
                }
            }
        }
        sums
    }

    /// What becomes of the accounts with a limit, and what that moves in the books.
    fn adjusted(self, rows: &BTreeMap<AccountId, LimitedAccount>) -> (Preview, Moved) {
        let Sums { limited, mut moved } = self;
        let mut accounts = Vec::with_capacity(limited.len());
        for ((account, currency), by_minor) in limited {
            let change = account_change(rows.get(&account), account, Money::new(by_minor, currency));
            if change.refusal.is_none() {
                add(&mut moved, (LedgerAccount::Suspense, currency), by_minor.saturating_neg());
            }
            accounts.push(change);
        }
        (Preview { accounts, ledger: vec![] }, moved)
    }
}

fn add<K: Ord>(sums: &mut BTreeMap<K, i64>, key: K, minor: i64) {
    let sum = sums.entry(key).or_default();
    // Beyond its range the account refuses it.
    *sum = sum.saturating_add(minor);
}

fn account_change(row: Option<&LimitedAccount>, account: AccountId, by: Money) -> AccountChange {
    let refusal = match row {
        None => Some(Refusal::Unknown),
        Some(row) if row.closed => Some(Refusal::Closed),
        Some(row) if row.currency != by.currency => Some(Refusal::OtherCurrency(row.currency)),
        Some(row) => row.posted().plus(by).is_err().then_some(Refusal::TooMuch),
    };
    let of_row = |minor: fn(&LimitedAccount) -> i64| row.map_or(0, minor);
    AccountChange {
        account,
        currency: by.currency,
        by_minor: by.minor,
        posted_minor: of_row(|row| row.posted_minor),
        held_minor: of_row(|row| row.held_minor),
        receivable_minor: of_row(|row| row.receivable_minor),
        floor_minor: of_row(|row| row.floor_minor),
        refusal,
    }
}
