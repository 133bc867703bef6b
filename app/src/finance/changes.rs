//! What a correction makes of the balances, as it is shown and as a server tells it.

use domain::{AccountId, Currency, Money, postings::LedgerAccount};
use projections::preview::{AccountChange, LedgerChange, Preview};
use serde::{Deserialize, Serialize};

use crate::output;

/// Balances before and after. Amounts are minor units.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    pub accounts: Vec<AccountLine>,
    /// Accounts without a limit, `suspense` among them.
    pub ledger: Vec<LedgerLine>,
    /// How many accounts would have a debt beyond their floor.
    pub below_floor: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccountLine {
    pub account: AccountId,
    pub currency: Currency,
    pub by_minor: i64,
    pub posted_before_minor: i64,
    pub posted_after_minor: i64,
    pub held_minor: i64,
    pub available_before_minor: i64,
    pub available_after_minor: i64,
    pub below_floor: bool,
    /// Why the account would refuse it, and all of the correction with it.
    pub refusal: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerLine {
    pub account: LedgerAccount,
    pub currency: Currency,
    pub by_minor: i64,
    pub before_minor: i64,
    pub after_minor: i64,
}

impl From<&AccountChange> for AccountLine {
    fn from(change: &AccountChange) -> Self {
        AccountLine {
            account: change.account,
            currency: change.currency,
            by_minor: change.by_minor,
            posted_before_minor: change.posted_minor,
            posted_after_minor: change.posted_after(),
            held_minor: change.held_minor,
            available_before_minor: change.available(),
            available_after_minor: change.available_after(),
            below_floor: change.is_below_floor(),
            refusal: change.refusal.map(|refusal| refusal.name().to_owned()),
        }
    }
}

impl From<&LedgerChange> for LedgerLine {
    fn from(change: &LedgerChange) -> Self {
        LedgerLine {
            account: change.account,
            currency: change.currency,
            by_minor: change.by_minor,
            before_minor: change.balance_minor,
            after_minor: change.balance_after(),
        }
    }
}

impl From<&Preview> for Changes {
    fn from(preview: &Preview) -> Self {
        Changes {
            accounts: preview.accounts.iter().map(AccountLine::from).collect(),
            ledger: preview.ledger.iter().map(LedgerLine::from).collect(),
            below_floor: preview.below_floor().count(),
        }
    }
}

impl Changes {
    /// Tables for people.
    pub fn show(&self) -> anyhow::Result<()> {
        let amount = |minor, currency| Money::new(minor, currency).to_decimal().to_string();
        let mut table = output::table(["account", "by", "posted", "held", "available", "currency", ""]);
        for line in &self.accounts {
            let change =
                |before, after| format!("{} → {}", amount(before, line.currency), amount(after, line.currency));
            let note = match &line.refusal {
                Some(refusal) => format!("refused: {refusal}"),
                None if line.below_floor => "below its floor".to_owned(),
                None => String::new(),
            };
            table.add_row([
                line.account.to_string(),
                amount(line.by_minor, line.currency),
                change(line.posted_before_minor, line.posted_after_minor),
                amount(line.held_minor, line.currency),
                change(line.available_before_minor, line.available_after_minor),
                line.currency.to_string(),
                note,
            ]);
        }
        output::right(&mut table, &[1, 2, 3, 4]);
        if !self.accounts.is_empty() {
            output::line(table)?;
        }
        let mut table = output::table(["on the books", "by", "before", "after", "currency"]);
        for line in &self.ledger {
            let amounts =
                [line.by_minor, line.before_minor, line.after_minor].map(|minor| amount(minor, line.currency));
            let [by, before, after] = amounts;
            table.add_row([line.account.to_string(), by, before, after, line.currency.to_string()]);
        }
        output::right(&mut table, &[1, 2, 3]);
        if !self.ledger.is_empty() {
            output::line(table)?;
        }
        output::line("The trial balance stays zero: every posting has its other side.")?;
        if self.below_floor > 0 {
            output::line(format_args!("{} accounts would be below their floor.", self.below_floor))?;
        }
        Ok(())
    }
}
