//! Balances and the trial balance as they were.
//!
//! The journal's projection sums its entries by account, booking date and day of recording. Each sum
//! knows the first and the last position and business time of what it holds, so that a moment is after
//! all of it, before all of it, or cuts through it; only then its entries are looked at, and those are
//! an account's entries of one day. A date cuts through no sum.

use std::collections::BTreeMap;

use domain::{
    Currency, Money, TenantId, Timestamp,
    postings::{LedgerAccount, Posting},
};
use jiff::civil::Date;
use store::{Position, Recorded};

use super::{AsOfError, Moment};
use crate::{
    Poison, Rows, Snapshot, SqlError, SqlRow, ViewError, args,
    balances::{Balance, TrialBalance},
    journal::Journal,
    periods::day,
    row,
};

row! {
    /// What was booked on an account on one day, as far as it was recorded on one day.
    pub struct LedgerDay in "ledger_days" {
        key {
            tenant: TenantId,
            account: LedgerAccount,
            currency: Currency,
            /// The booking date of its entries.
            booked_on: Date,
            /// In UTC.
            recorded_on: Date,
        }
        /// The sum of all debits, positive.
        debits_minor: i64,
        credits_minor: i64,
        first_position: Position,
        last_position: Position,
        /// The earliest business time.
        first_at: Timestamp,
        /// The latest business time.
        last_at: Timestamp,
    }
}

row! {
    /// What was booked on all accounts on one day, as far as it was recorded on one day.
    pub struct LedgerTotal in "ledger_totals" {
        key {
            tenant: TenantId,
            currency: Currency,
            /// The booking date of its entries.
            booked_on: Date,
            /// In UTC.
            recorded_on: Date,
        }
        /// The sum of all debits, positive.
        debits_minor: i64,
        credits_minor: i64,
        first_position: Position,
        last_position: Position,
        /// The earliest business time.
        first_at: Timestamp,
        /// The latest business time.
        last_at: Timestamp,
    }
}

row! {
    /// An account of the books in one currency, and since when there is something on it.
    pub struct UsedAccount in "ledger_accounts" {
        key { tenant: TenantId, account: LedgerAccount, currency: Currency }
        /// Of its first entry in the order of the log.
        first_position: Position,
        /// The earliest business time of its entries.
        first_at: Timestamp,
        /// The earliest booking date of its entries.
        first_on: Date,
    }
}

/// Adds the postings of one event, which is booked on that day, to the sums.
pub(crate) fn book(it: &Recorded, postings: &[Posting], booked_on: Date, rows: &mut Rows) -> Result<(), Poison> {
    let (tenant, position, at) = (it.tenant, it.position, it.occurred_at);
    let recorded_on = day(it.recorded_at);
    for Posting { account, amount } in postings.iter().copied() {
        let (debit, credit) = (amount.minor.min(0), amount.minor.max(0));
        let debit = debit.checked_neg().ok_or_else(out_of_range)?;
        let currency = amount.currency;

        let total = rows.get_or_insert_with(&(tenant, currency, booked_on, recorded_on), || LedgerTotal {
            tenant,
            currency,
            booked_on,
            recorded_on,
            debits_minor: 0,
            credits_minor: 0,
            first_position: position,
            last_position: position,
            first_at: at,
            last_at: at,
        });
        add(&mut total.debits_minor, debit)?;
        add(&mut total.credits_minor, credit)?;
        total.last_position = position;
        total.first_at = total.first_at.min(at);
        total.last_at = total.last_at.max(at);

        let mut earlier = false;
        let day = rows.get_or_insert_with(&(tenant, account, currency, booked_on, recorded_on), || {
            earlier = true;
            LedgerDay {
                tenant,
                account,
                currency,
                booked_on,
                recorded_on,
                debits_minor: 0,
                credits_minor: 0,
                first_position: position,
                last_position: position,
                first_at: at,
                last_at: at,
            }
        });
        earlier |= at < day.first_at;
        add(&mut day.debits_minor, debit)?;
        add(&mut day.credits_minor, credit)?;
        day.last_position = position;
        day.first_at = day.first_at.min(at);
        day.last_at = day.last_at.max(at);

        // On every other day of its life nothing is to be looked up.
        if earlier {
            let (first_position, first_at, first_on) = (position, at, booked_on);
            use_account(UsedAccount { tenant, account, currency, first_position, first_at, first_on }, rows);
        }
    }
    Ok(())
}

fn use_account(used: UsedAccount, rows: &mut Rows) {
    let key = (used.tenant, used.account, used.currency);
    // A row that stays as it is should not be written.
    let earlier = |known: &UsedAccount| known.first_at <= used.first_at && known.first_on <= used.first_on;
    if rows.get::<UsedAccount>(&key).is_some_and(earlier) {
        return;
    }
    let (at, on) = (used.first_at, used.first_on);
    let known = rows.get_or_insert_with(&key, || used);
    (known.first_at, known.first_on) = (known.first_at.min(at), known.first_on.min(on));
}

fn add(sum: &mut i64, amount: i64) -> Result<(), Poison> {
    *sum = sum.checked_add(amount).ok_or_else(out_of_range)?;
    Ok(())
}

fn out_of_range() -> Poison {
    Poison("a day's sum has left the range of amounts".into())
}

/// Sums that lie wholly before the moment (`?2` its position, `?3` its time, `?4` its date).
const WHOLE: &str = "d.last_position <= ?2 AND d.last_at <= ?3 AND d.booked_on <= ?4";

/// Sums that the moment cuts through, with entries of their currency.
const CUT: &str = "d.first_position <= ?2 AND d.first_at <= ?3 AND d.booked_on <= ?4
    AND (d.last_position > ?2 OR d.last_at > ?3) AND e.tenant = d.tenant AND e.currency = d.currency";

/// Of such a sum, the position of its last entry before the moment.
const LAST: &str = "CASE WHEN d.last_position < ?2 THEN d.last_position ELSE ?2 END";

/// Debits and credits of a sum's entries, among those at its positions. Their time is looked at here, and
/// not where entries are chosen, so that no planner takes the index by time.
fn entries() -> String {
    let side = |sign: &str, amount: &str| {
        format!(
            "sum(CASE WHEN e.booking_date = d.booked_on AND e.occurred_at <= ?3 AND e.amount_minor {sign} 0
                      THEN {amount} ELSE 0 END)"
        )
    };
    format!("{}, {}", side("<", "-e.amount_minor"), side(">", "e.amount_minor"))
}

/// By account, those from `?5` to `?6`: of whole sums, and of those that the moment cuts through.
pub(super) fn by_account() -> [String; 2] {
    let accounts = "d.tenant = ?1 AND d.account >= ?5 AND d.account <= ?6";
    // Account and position are compared together because SQLite would else go through the positions
    // of all accounts; the 0 lets it, since it compares no two columns of a number by an index.
    [
        format!(
            "SELECT d.account, d.currency, sum(d.debits_minor), sum(d.credits_minor) FROM {{ledger_days}} d
             WHERE {accounts} AND {WHOLE} GROUP BY d.account, d.currency"
        ),
        format!(
            "SELECT d.account, d.currency, {} FROM {{ledger_days}} d CROSS JOIN {{journal}} e
             WHERE {accounts} AND {CUT} AND (e.account, e.position) >= (d.account, d.first_position + 0)
               AND (e.account, e.position) <= (d.account, {LAST}) GROUP BY d.account, d.currency",
            entries()
        ),
    ]
}

/// By currency, as [`by_account`].
pub(super) fn by_currency() -> [String; 2] {
    [
        format!(
            "SELECT d.currency, sum(d.debits_minor), sum(d.credits_minor) FROM {{ledger_totals}} d
             WHERE d.tenant = ?1 AND {WHOLE} GROUP BY d.currency"
        ),
        format!(
            "SELECT d.currency, {} FROM {{ledger_totals}} d CROSS JOIN {{journal}} e
             WHERE d.tenant = ?1 AND {CUT} AND e.position >= d.first_position AND e.position <= {LAST}
             GROUP BY d.currency",
            entries()
        ),
    ]
}

/// Debits and credits, in minor units.
type Sides = (i64, i64);

fn plus<K: Ord>(sums: &mut BTreeMap<K, Sides>, key: K, (debits, credits): Sides) -> Result<(), ViewError> {
    let sum = sums.entry(key).or_default();
    let added = sum.0.checked_add(debits).zip(sum.1.checked_add(credits));
    *sum = added.ok_or_else(|| crate::Misfit("a sum has left the range of amounts".into())).map_err(SqlError::from)?;
    Ok(())
}

/// Which accounts are asked for.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    /// Only those whose name begins so: `bank`, `canteen:`.
    pub prefix: Option<String>,
    /// Only those behind this one, in the order of names, then currencies.
    pub after: Option<(LedgerAccount, Currency)>,
}

impl Accounts {
    /// From which name on, and before which.
    pub(crate) fn names(&self) -> (String, String) {
        let prefix = self.prefix.clone().unwrap_or_default();
        // Behind every name with that prefix.
        let to = format!("{prefix}\u{10FFFF}");
        let after = self.after.map(|(account, _)| account.to_string());
        (after.filter(|name| *name > prefix).unwrap_or(prefix), to)
    }
}

/// At most `limit` accounts of a tenant's books as they were, in the order of their names, those on
/// which something had been booked.
///
/// # Errors
/// When the journal has not come so far.
pub fn balances(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    asked: &Accounts,
    limit: usize,
    moment: Moment,
) -> Result<Vec<Balance>, AsOfError> {
    moment.check(snapshot, &Journal)?;
    let (position, time, date) = (moment.position(), moment.time(), moment.date());
    let (from, to) = asked.names();
    let (after, after_currency) = asked.after.unzip();
    let used: Vec<(LedgerAccount, Currency)> = snapshot.query(
        "SELECT account, currency FROM {ledger_accounts}
         WHERE tenant = ?1 AND first_position <= ?2 AND first_at <= ?3 AND first_on <= ?4
           AND account >= ?5 AND account < ?6 AND (?7 IS NULL OR (account, currency) > (?7, ?8))
         ORDER BY account, currency LIMIT ?9",
        args![tenant, position, time, date, from, to, after, after_currency, limit],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    let (Some((first, _)), Some((last, _))) = (used.first(), used.last()) else { return Ok(vec![]) };
    let (first, last) = (*first, *last);

    let mut sums: BTreeMap<(LedgerAccount, Currency), Sides> = BTreeMap::new();
    let read = |row: &SqlRow<'_>| Ok(((row.get(0)?, row.get(1)?), (row.get(2)?, row.get(3)?)));
    for sql in by_account() {
        for (key, sides) in snapshot.query(&sql, args![tenant, position, time, date, first, last], read)? {
            plus(&mut sums, key, sides)?;
        }
    }
    let balance = |(account, currency): (LedgerAccount, Currency)| {
        let (debits_minor, credits_minor) = sums.get(&(account, currency)).copied().unwrap_or_default();
        Balance { tenant, account, currency, balance_minor: credits_minor - debits_minor, debits_minor, credits_minor }
    };
    Ok(used.into_iter().map(balance).collect())
}

/// The trial balance of a tenant as it was, by currency.
///
/// # Errors
/// When the journal has not come so far.
pub fn trial_balance(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    moment: Moment,
) -> Result<Vec<TrialBalance>, AsOfError> {
    moment.check(snapshot, &Journal)?;
    let (position, time, date) = (moment.position(), moment.time(), moment.date());
    let params = args![tenant, position, time, date];
    let mut sums: BTreeMap<String, Sides> = BTreeMap::new();
    let read = |row: &SqlRow<'_>| Ok((row.get(0)?, (row.get(1)?, row.get(2)?)));
    for sql in by_currency() {
        for (currency, sides) in snapshot.query(&sql, params, read)? {
            plus(&mut sums, currency, sides)?;
        }
    }
    let counted = snapshot.query(
        "SELECT currency, count(*) FROM {ledger_accounts}
         WHERE tenant = ?1 AND first_position <= ?2 AND first_at <= ?3 AND first_on <= ?4
         GROUP BY currency ORDER BY currency",
        params,
        |row| Ok((row.get::<Currency>(0)?, row.get(1)?)),
    )?;
    let books = counted.into_iter().map(|(currency, accounts)| {
        let (debits, credits) = sums.get(currency.code()).copied().unwrap_or_default();
        let money = |minor| Money::new(minor, currency);
        let (balance, debits, credits) = (money(credits - debits), money(debits), money(credits));
        TrialBalance { tenant, currency, accounts, debits, credits, balance }
    });
    Ok(books.collect())
}

/// The tenants that have books, in the order of their ids: for the platform's own tools.
pub fn tenants(snapshot: &Snapshot<'_>) -> Result<Vec<TenantId>, ViewError> {
    snapshot.query("SELECT DISTINCT tenant FROM {ledger_totals} ORDER BY tenant", args![], |row| row.get(0))
}
