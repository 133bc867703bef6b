//! What must hold of any log, checked while it is refolded.

use domain::{
    AccountId, Aggregate, Currency, Fact, StreamId, TenantId, Timestamp,
    account::Account,
    postings::{LedgerAccount, postings},
};
use rustc_hash::FxHashMap;
use store::{EventRow, Position, Recorded, Version};

use crate::{
    Difference, Report, ViewError,
    balances::{Balances, LimitedAccount},
    batch::Decoded,
    verify::Held,
};

/// Most differences of one kind that are worth naming.
const NAMED: usize = 20;

/// What has been seen of the log so far.
#[derive(Default)]
pub(crate) struct Audit {
    position: Position,
    recorded_at: Timestamp,
    versions: FxHashMap<StreamId, Version>,
    /// Credits less debits.
    ledger: FxHashMap<(TenantId, LedgerAccount, Currency), i128>,
    accounts: FxHashMap<(TenantId, AccountId), Account>,
    differences: Vec<Difference>,
    report: Report,
}

impl Audit {
    /// Positions, versions and times of a batch, which follows the one before.
    pub(crate) fn rows(&mut self, batch: &[EventRow]) {
        for row in batch {
            let EventRow { position, stream, version, recorded_at, .. } = row;
            if *position != self.position + 1 {
                self.differ("the log", format!("event {position}"), format!("event {}", self.position + 1));
            }
            let last = self.versions.entry(*stream).or_insert(0);
            let due = *last + 1;
            *last = *version;
            if *version != due {
                let subject = format!("stream {stream}, event {position}");
                self.differ(&subject, format!("version {version}"), format!("version {due}"));
            }
            if *recorded_at < self.recorded_at {
                let expected = format!("not before {}", self.recorded_at);
                self.differ(&format!("event {position}"), format!("recorded at {recorded_at}"), expected);
            }
            (self.position, self.recorded_at) = (*position, (*recorded_at).max(self.recorded_at));
        }
        self.report.events += batch.len() as u64;
    }

    /// The postings of a batch, and the limited accounts' own fold.
    pub(crate) fn events(&mut self, batch: &Decoded) {
        let unread = batch.newer.iter().chain(batch.events.iter().filter_map(|event| event.as_ref().err()));
        for error in unread {
            self.differ("the log", error.clone(), "an event that this program can read".into());
        }
        for it in batch.events.iter().flatten() {
            self.book(it);
            if let Fact::Account(account, event) = &it.fact {
                self.accounts.entry((it.tenant, *account)).or_default().evolve(event, it.occurred_at);
            }
        }
    }

    fn book(&mut self, it: &Recorded) {
        let booked = postings(&it.fact);
        let sum: i128 = booked.iter().map(|posting| i128::from(posting.amount.minor)).sum();
        if sum != 0 {
            let subject = format!("event {}", it.position);
            self.differ(&subject, format!("postings that sum to {sum}"), "postings that sum to 0".into());
        }
        for posting in booked {
            let account = (it.tenant, posting.account, posting.amount.currency);
            *self.ledger.entry(account).or_default() += i128::from(posting.amount.minor);
        }
    }

    /// The log ends before the event that it said was its last.
    pub(crate) fn missing(&mut self, from: Position, head: Position) {
        self.differ("the log", format!("no event {from}"), format!("events up to {head}"));
    }

    /// Each limited account's own fold against its ledger account and against its view's row.
    pub(crate) fn compare_accounts(&mut self, refold: &Held) -> Result<(), ViewError> {
        let mut seen = FxHashMap::default();
        refold.each(&Balances, |row: LimitedAccount| {
            seen.insert((row.tenant, row.account), row);
        })?;
        let mut differences = Vec::new();
        for (key, account) in &self.accounts {
            let Ok(book) = account.book() else { continue };
            let (tenant, id) = *key;
            let ledger = self.ledger.get(&(tenant, LedgerAccount::Limited(id), book.currency)).copied().unwrap_or(0);
            let subject = format!("account {id} of tenant {tenant}");
            if ledger != i128::from(book.posted) {
                let found = format!("its ledger account stands at {ledger}");
                differences.push(Difference { subject: subject.clone(), found, expected: format!("{}", book.posted) });
            }
            let row = seen.get(key);
            let row =
                row.map(|row| (row.posted_minor, row.held_minor, row.floor_minor, row.receivable_minor, row.frozen));
            let own = (book.posted, book.held, book.floor, book.receivable, book.frozen);
            if row != Some(own) {
                let expected = format!("(posted, held, floor, receivable, frozen) = {own:?}");
                differences.push(Difference { subject, found: format!("its view's row has {row:?}"), expected });
            }
        }
        differences.sort_by(|one, other| one.subject.cmp(&other.subject));
        differences.truncate(NAMED);
        self.differences.extend(differences);
        Ok(())
    }

    /// What was seen, with the trial balance.
    pub(crate) fn report(mut self) -> Report {
        let mut trial: FxHashMap<(TenantId, Currency), i128> = FxHashMap::default();
        for ((tenant, _, currency), balance) in &self.ledger {
            *trial.entry((*tenant, *currency)).or_default() += balance;
        }
        for ((tenant, currency), sum) in trial {
            if sum != 0 {
                let subject = format!("trial balance of tenant {tenant} in {currency}");
                self.differ(&subject, sum.to_string(), "0".into());
            }
        }
        self.report.position = self.position;
        self.report.streams = self.versions.len() as u64;
        self.report.accounts = self.accounts.len() as u64;
        self.report.differences = self.differences;
        self.report
    }

    fn differ(&mut self, subject: &str, found: String, expected: String) {
        if self.differences.len() < NAMED {
            self.differences.push(Difference { subject: subject.to_owned(), found, expected });
        }
    }
}
