//! A correction: what finance proposes to put right in the books, and a second person applies.
//! Proposed → Applied → Settled once every account has followed; or Rejected. Never an edit of the log.
//!
//! A correction of an account with a limit is booked by that account, against `suspense`; a move between two
//! accounts without one is booked by the correction itself.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AccountId, ActorId, Aggregate, CorrectionId, Money, MoneyError, StreamKind, Timestamp, account::AdjustReason,
    postings::LedgerAccount,
};

/// Most entries of one correction.
pub const MAX_ENTRIES: usize = 1_000;
/// Longest reference, in characters.
pub const MAX_REFERENCE: usize = 64;

/// The number of a ticket, a voucher, a bank entry: what explains a correction outside. No free text, so that
/// nothing about a person gets into the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Reference(String);

impl Reference {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a reference has 1 to {MAX_REFERENCE} of the characters A-Z, a-z, 0-9 and -._/#, such as FIN-1042")]
pub struct NotAReference;

impl FromStr for Reference {
    type Err = NotAReference;

    fn from_str(text: &str) -> Result<Self, NotAReference> {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._/#".contains(&byte));
        if text.is_empty() || text.len() > MAX_REFERENCE || !plain {
            return Err(NotAReference);
        }
        Ok(Reference(text.to_owned()))
    }
}

/// What an entry changes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Change {
    /// Of an account with a limit, against `suspense`; a positive amount is a credit.
    Adjust { account: AccountId, by: Money },
    /// Between two accounts of the books without a limit.
    Move { from: LedgerAccount, to: LedgerAccount, amount: Money },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    pub change: Change,
    pub reason: AdjustReason,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
}

/// What is proposed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Proposal {
    pub entries: Vec<Entry>,
    /// The business time of its postings; that of its application, if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dated: Option<Timestamp>,
}

/// Who let a correction be applied.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Approval {
    /// Somebody other than the proposer.
    SecondPerson(ActorId),
    /// Nobody had to: a single adjustment within the tenant's limit.
    WithinLimit(Money),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Propose {
        by: ActorId,
        proposal: Proposal,
        /// The BLAKE3 digest of the file that it was read from, in hexadecimal. A repeat may come from another.
        file: Option<String>,
        /// A single adjustment of at most so much, either way, is applied at once. None: nothing is.
        limit: Option<Money>,
    },
    /// By a second person.
    Apply { by: ActorId },
    /// Also by the proposer, who thinks better of it.
    Reject { by: ActorId },
    /// Every account was adjusted, but for the entries that accounts refused.
    Settle { refused: Vec<u32> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Event {
    Proposed {
        by: ActorId,
        proposal: Proposal,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
    },
    Applied {
        approval: Approval,
    },
    /// The move of an entry, which is counted from zero.
    Moved {
        entry: u32,
        from: LedgerAccount,
        to: LedgerAccount,
        amount: Money,
    },
    Rejected {
        by: ActorId,
    },
    Settled {
        /// Entries whose accounts refused them: closed since, for example.
        refused: Vec<u32>,
    },
}

impl crate::Event for Event {
    const SCHEMAS: &'static [(&'static str, u16)] =
        &[("Proposed", 1), ("Applied", 1), ("Moved", 1), ("Rejected", 1), ("Settled", 1)];

    fn name(&self) -> &'static str {
        match self {
            Event::Proposed { .. } => "Proposed",
            Event::Applied { .. } => "Applied",
            Event::Moved { .. } => "Moved",
            Event::Rejected { .. } => "Rejected",
            Event::Settled { .. } => "Settled",
        }
    }
}

/// What is wrong with an entry, whatever the state of its accounts.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EntryError {
    #[error("the amount must not be zero")]
    Nothing,
    #[error("the amount of a move must be more than zero; the other way round, swap its accounts")]
    NotPositive,
    #[error("a move is between two different accounts")]
    SameAccount,
    #[error("{0} has a limit: it is adjusted, against suspense, and not moved from or to")]
    Limited(LedgerAccount),
    #[error("{0} follows from orders and runs of grants, and is put right through them")]
    Derived(LedgerAccount),
    #[error(transparent)]
    Money(#[from] MoneyError),
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("there is no such correction")]
    Unknown,
    #[error("this correction was proposed already, with other entries")]
    OtherContent,
    #[error("a correction has 1 to {MAX_ENTRIES} entries, not {entries}")]
    BadCount { entries: usize },
    /// Entries are counted from zero here, and from one for people.
    #[error("entry {}: {why}", entry + 1)]
    BadEntry { entry: usize, why: EntryError },
    #[error("whoever proposed a correction cannot apply it; a second person has to")]
    SecondPerson,
    #[error("the correction is {is}; that cannot be done now")]
    OutOfTurn { is: &'static str },
}

impl Error {
    /// The refusal's name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Unknown => "UNKNOWN_CORRECTION",
            Error::OtherContent => "OTHER_CONTENT",
            Error::BadCount { .. } => "BAD_COUNT",
            Error::BadEntry { .. } => "BAD_ENTRY",
            Error::SecondPerson => "SECOND_PERSON",
            Error::OutOfTurn { .. } => "OUT_OF_TURN",
        }
    }
}

impl Entry {
    /// # Errors
    /// When it cannot be right, whatever its accounts have.
    pub fn check(&self) -> Result<(), EntryError> {
        match self.change {
            Change::Adjust { by, .. } => {
                by.checked()?;
                if by.is_zero() { Err(EntryError::Nothing) } else { Ok(()) }
            }
            Change::Move { from, to, amount } => {
                amount.checked()?;
                movable(from)?;
                movable(to)?;
                if from == to {
                    return Err(EntryError::SameAccount);
                }
                if amount.is_positive() { Ok(()) } else { Err(EntryError::NotPositive) }
            }
        }
    }
}

/// Whether money can be moved from and to an account of the books.
fn movable(account: LedgerAccount) -> Result<(), EntryError> {
    match account {
        LedgerAccount::Bank
        | LedgerAccount::Clearing(_)
        | LedgerAccount::Canteen(_)
        | LedgerAccount::Tax(_)
        | LedgerAccount::Breakage
        | LedgerAccount::Suspense => Ok(()),
        LedgerAccount::Limited(_) => Err(EntryError::Limited(account)),
        LedgerAccount::Prepaid | LedgerAccount::Transit(_) | LedgerAccount::Receivable(_) => {
            Err(EntryError::Derived(account))
        }
    }
}

impl Proposal {
    /// # Errors
    /// [`Error::BadCount`] or the first [`Error::BadEntry`].
    pub fn check(&self) -> Result<(), Error> {
        let entries = self.entries.len();
        if !(1..=MAX_ENTRIES).contains(&entries) {
            return Err(Error::BadCount { entries });
        }
        let check = |(entry, it): (usize, &Entry)| it.check().map_err(|why| Error::BadEntry { entry, why });
        self.entries.iter().enumerate().try_for_each(check)
    }

    /// The entries with their numbers, from zero.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, &Entry)> {
        (0..).zip(&self.entries)
    }

    fn moves(&self) -> impl Iterator<Item = Event> {
        self.numbered().filter_map(|(entry, it)| match it.change {
            Change::Move { from, to, amount } => Some(Event::Moved { entry, from, to, amount }),
            Change::Adjust { .. } => None,
        })
    }
}

/// A correction that was proposed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sheet {
    pub by: ActorId,
    pub proposal: Proposal,
    pub file: Option<String>,
}

/// How it was applied.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    pub approval: Approval,
    /// The business time of its postings.
    pub at: Timestamp,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Correction {
    #[default]
    New,
    Proposed(Box<Sheet>),
    Rejected(Box<Sheet>, ActorId),
    Applied(Box<Sheet>, Applied),
    /// The entries that accounts refused are the last.
    Settled(Box<Sheet>, Applied, Vec<u32>),
}

impl Correction {
    pub fn sheet(&self) -> Result<&Sheet, Error> {
        match self {
            Correction::New => Err(Error::Unknown),
            Correction::Proposed(sheet)
            | Correction::Rejected(sheet, _)
            | Correction::Applied(sheet, _)
            | Correction::Settled(sheet, _, _) => Ok(sheet),
        }
    }

    pub fn status(&self) -> &'static str {
        match self {
            Correction::New => "NEW",
            Correction::Proposed(_) => "PROPOSED",
            Correction::Rejected(..) => "REJECTED",
            Correction::Applied(..) => "APPLIED",
            Correction::Settled(..) => "SETTLED",
        }
    }

    fn apply(&self, by: ActorId) -> Result<Vec<Event>, Error> {
        let sheet = self.sheet()?;
        if by == sheet.by {
            return Err(Error::SecondPerson);
        }
        let approval = Approval::SecondPerson(by);
        match self {
            Correction::Proposed(_) => {
                Ok([Event::Applied { approval }].into_iter().chain(sheet.proposal.moves()).collect())
            }
            Correction::Applied(_, known) | Correction::Settled(_, known, _) if known.approval == approval => {
                Ok(vec![])
            }
            other => Err(Error::OutOfTurn { is: other.status() }),
        }
    }
}

/// Whether it is one adjustment of at most `limit`.
fn is_within(proposal: &Proposal, limit: Money) -> bool {
    match proposal.entries.as_slice() {
        [Entry { change: Change::Adjust { by, .. }, .. }] => {
            by.currency == limit.currency && by.minor.unsigned_abs() <= limit.minor.max(0).unsigned_abs()
        }
        _ => false,
    }
}

impl Aggregate for Correction {
    const NAME: &'static str = "correction";
    const STATE_VERSION: u32 = 1;
    type Id = CorrectionId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn stream_key(id: CorrectionId) -> (StreamKind, uuid::Uuid) {
        (StreamKind::Correction, id.0)
    }

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (Correction::New, Command::Propose { by, proposal, file, limit }) => {
                proposal.check()?;
                let limit = limit.filter(|limit| is_within(&proposal, *limit));
                let applied = limit.map(|limit| Event::Applied { approval: Approval::WithinLimit(limit) });
                Ok([Event::Proposed { by, proposal, file }].into_iter().chain(applied).collect())
            }
            // Whoever sends the same again, and from whatever file: it was proposed.
            (correction, Command::Propose { proposal, .. }) => {
                if correction.sheet()?.proposal == proposal {
                    Ok(vec![])
                } else {
                    Err(Error::OtherContent)
                }
            }
            (correction, Command::Apply { by }) => correction.apply(by),
            (Correction::New, Command::Reject { .. } | Command::Settle { .. }) => Err(Error::Unknown),
            (Correction::Proposed(_), Command::Reject { by }) => Ok(vec![Event::Rejected { by }]),
            (Correction::Rejected(..), Command::Reject { .. }) => Ok(vec![]),
            (Correction::Applied(..), Command::Settle { refused }) => Ok(vec![Event::Settled { refused }]),
            (Correction::Settled(..), Command::Settle { .. }) => Ok(vec![]),
            (correction, Command::Reject { .. } | Command::Settle { .. }) => {
                Err(Error::OutOfTurn { is: correction.status() })
            }
        }
    }

    fn evolve(&mut self, event: &Event, at: Timestamp) {
        *self = match (std::mem::take(self), event) {
            (_, Event::Proposed { by, proposal, file }) => {
                Correction::Proposed(Box::new(Sheet { by: *by, proposal: proposal.clone(), file: file.clone() }))
            }
            (Correction::Proposed(sheet), Event::Applied { approval }) => {
                let at = sheet.proposal.dated.unwrap_or(at);
                Correction::Applied(sheet, Applied { approval: *approval, at })
            }
            (Correction::Proposed(sheet), Event::Rejected { by }) => Correction::Rejected(sheet, *by),
            (Correction::Applied(sheet, applied), Event::Settled { refused }) => {
                Correction::Settled(sheet, applied, refused.clone())
            }
            (unmoved, Event::Applied { .. } | Event::Moved { .. } | Event::Rejected { .. } | Event::Settled { .. }) => {
                unmoved
            }
        }
    }
}

#[cfg(test)]
#[path = "correction_tests.rs"]
mod tests;
