//! A file of corrections: CSV of account,amount,currency,reason[,to][,reference], an entry a row.

use std::{fs, path::Path};

use domain::{
    Currency, Money,
    account::AdjustReason,
    correction::{Change, Entry, MAX_ENTRIES, Reference},
    postings::LedgerAccount,
};

use crate::{
    config::usage,
    import::table::{Fault, Row, Table, parsed},
};

/// Longest file, in bytes: a row has some two hundred.
const MAX_BYTES: u64 = 1024 * 1024;
/// Most faults that are listed.
const LISTED: usize = 20;

/// What a file says.
#[derive(Debug)]
pub struct CorrectionFile {
    pub entries: Vec<Entry>,
    /// The line of each.
    pub lines: Vec<u64>,
    /// Its BLAKE3 digest, in hexadecimal.
    pub digest: String,
}

/// Where the columns are.
struct Columns {
    account: usize,
    amount: usize,
    currency: usize,
    reason: usize,
    to: Option<usize>,
    reference: Option<usize>,
}

/// Reads a file as a whole: one bad row, and nothing of it counts. Blocks.
///
/// # Errors
/// Usage errors that name line and column of each fault, up to twenty.
pub fn read(file: &Path) -> anyhow::Result<CorrectionFile> {
    let name = file.display();
    let broken = |why: String| usage(format!("{name}: {why}"));
    let length = fs::metadata(file).map_err(|error| usage(format!("{name} cannot be opened: {error}")))?.len();
    if length > MAX_BYTES {
        return Err(broken(format!("it has {length} bytes; a file of corrections has at most {MAX_BYTES}")));
    }
    let bytes = fs::read(file).map_err(|error| usage(format!("{name} cannot be read: {error}")))?;
    let digest = blake3::hash(&bytes).to_hex().to_string();
    let mut table = Table::of(bytes, ',').map_err(broken)?;
    let columns = columns(&table).map_err(broken)?;
    let (mut entries, mut lines, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(row) = table.next().map_err(broken)? {
        if lines.len() == MAX_ENTRIES {
            return Err(broken(format!("it has more than {MAX_ENTRIES} rows; split it")));
        }
        lines.push(row.line);
        match entry(&row, &columns) {
            Ok(entry) => entries.push(entry),
            Err(fault) if faults.len() < LISTED => faults.push(format!("line {}: {fault}", row.line)),
            Err(_) => {}
        }
    }
    if !faults.is_empty() {
        return Err(broken(format!("nothing was proposed\n  {}", faults.join("\n  "))));
    }
    if entries.is_empty() {
        return Err(broken("it has no rows under its header".into()));
    }
    Ok(CorrectionFile { entries, lines, digest })
}

fn columns(table: &Table) -> Result<Columns, String> {
    Ok(Columns {
        account: table.column("account")?,
        amount: table.column("amount")?,
        currency: table.column("currency")?,
        reason: table.column("reason")?,
        to: table.optional_column("to")?,
        reference: table.optional_column("reference")?,
    })
}

fn entry(row: &Row<'_>, columns: &Columns) -> Result<Entry, Fault> {
    row.check()?;
    let account: LedgerAccount = parsed("account", row.text("account", columns.account)?)?;
    let currency: Currency = parsed("currency", row.text("currency", columns.currency)?)?;
    let text = row.text("amount", columns.amount)?;
    let decimal = text.parse().map_err(|_| Fault::new("amount", format!("{text:?} is not a number such as -12.50")))?;
    let amount = Money::from_decimal(decimal, currency).map_err(|error| Fault::new("amount", error.to_string()))?;
    let to = row.optional("to", columns.to)?.map(|text| parsed::<LedgerAccount>("to", text)).transpose()?;
    let reference = row.optional("reference", columns.reference)?;
    let change = match (account, to) {
        (LedgerAccount::Limited(account), None) => Change::Adjust { account, by: amount },
        (LedgerAccount::Limited(_), Some(_)) => {
            return Err(Fault::new("to", "an account with a limit is adjusted against suspense, and moves nowhere"));
        }
        (from, Some(to)) => Change::Move { from, to, amount },
        (from, None) => {
            return Err(Fault::new("to", format!("money of {from} is moved, so this must say where to")));
        }
    };
    let entry = Entry {
        change,
        reason: reason(row.text("reason", columns.reason)?)?,
        reference: reference.map(|text| parsed::<Reference>("reference", text)).transpose()?,
    };
    entry.check().map_err(|why| Fault::new("amount", why.to_string()))?;
    Ok(entry)
}

fn reason(text: &str) -> Result<AdjustReason, Fault> {
    AdjustReason::ALL.into_iter().find(|reason| reason.name() == text).ok_or_else(|| {
        let known = AdjustReason::ALL.map(AdjustReason::name).join(", ");
        Fault::new("reason", format!("{text:?} is not one of {known}"))
    })
}

#[cfg(test)]
mod tests {
    use domain::{AccountId, CanteenId, DinerId};
    use uuid::Uuid;

    use super::*;

    const ID: Uuid = Uuid::from_u128(7);

    fn parse(text: &str) -> Result<CorrectionFile, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("fix.csv");
        fs::write(&file, text).unwrap();
        read(&file).map_err(|error| error.to_string())
    }

    #[test]
    fn rows_are_adjustments_and_moves() {
        let text = format!(
            "account,amount,currency,reason,to,reference\nwallet:{ID},-12.50,CNY,correction,,FIN-7\n\
             suspense,3,CNY,reconciliation,canteen:{ID},\n"
        );
        let file = parse(&text).unwrap();
        let by = Money::new(-1_250, Currency::CNY);
        let adjust = Change::Adjust { account: AccountId::Wallet(DinerId(ID)), by };
        let (from, to) = (LedgerAccount::Suspense, LedgerAccount::Canteen(CanteenId(ID)));
        let moved = Change::Move { from, to, amount: Money::new(300, Currency::CNY) };
        assert_eq!(file.entries.iter().map(|entry| entry.change).collect::<Vec<_>>(), [adjust, moved]);
        assert_eq!((file.lines.as_slice(), file.digest.len()), (&[2, 3][..], 64));
        assert_eq!(file.entries[0].reference.as_ref().map(Reference::as_str), Some("FIN-7"));
    }

    #[test]
    fn every_fault_is_named_with_its_line_and_column() {
        let header = "account,amount,currency,reason,to,reference";
        let told = |row: &str, says: &str| {
            let said = parse(&format!("{header}\nwallet:{ID},1,CNY,goodwill,,\n{row}\n")).unwrap_err();
            assert!(said.contains(&format!("line 3: {says}")), "{row}: {said}");
        };
        told("purse:1,1,CNY,goodwill,,", "account: \"purse:1\" is not a ledger account");
        told(",1,CNY,goodwill,,", "account: the field is empty");
        told(&format!("wallet:{ID},1,XXX,goodwill,,"), "currency: \"XXX\" is not a currency");
        told(&format!("wallet:{ID},one,CNY,goodwill,,"), "amount: \"one\" is not a number");
        told(&format!("wallet:{ID},0.001,CNY,goodwill,,"), "amount: CNY has 2 decimal places");
        told(&format!("wallet:{ID},0,CNY,goodwill,,"), "amount: the amount must not be zero");
        told(&format!("wallet:{ID},99999999999999999999,CNY,goodwill,,"), "amount: an amount is at most");
        told(&format!("wallet:{ID},1,CNY,kindness,,"), "reason: \"kindness\" is not one of correction,");
        told(&format!("wallet:{ID},1,CNY,goodwill,,two words"), "reference: a reference has 1 to 64");
        told(&format!("wallet:{ID},1,CNY,goodwill,bank,"), "to: an account with a limit is adjusted");
        told("suspense,1,CNY,goodwill,,", "to: money of suspense is moved");
        told("suspense,-1,CNY,goodwill,bank,", "amount: the amount of a move must be more than zero");
        told("prepaid,1,CNY,goodwill,bank,", "amount: prepaid follows from orders");
        told("suspense,1,CNY,goodwill,suspense,", "amount: a move is between two different accounts");
        told("suspense,1,CNY,goodwill", "the row has 4 fields, the header has 6");
        assert!(parse(&format!("{header}\n")).unwrap_err().contains("no rows"));
        assert!(parse("").unwrap_err().contains("empty"));
        assert!(parse("account,amount\n").unwrap_err().contains("no column \"currency\""));
        let row = format!("wallet:{ID},1,CNY,goodwill,,\n");
        let many = parse(&format!("{header}\n{}", row.repeat(MAX_ENTRIES + 1))).unwrap_err();
        assert!(many.contains("more than 1000 rows"), "{many}");
        let bad = parse(&format!("{header}\n{}", "x,1,CNY,goodwill,,\n".repeat(30))).unwrap_err();
        assert_eq!(bad.matches("line ").count(), LISTED);
    }
}
