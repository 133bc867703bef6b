//! A run of grants: company funds to diners' lots, a batch at a time, so that it can stop anywhere
//! and go on from there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Aggregate, CompanyId, Currency, DinerId, GrantRunId, Money, MoneyError, PolicyId, StreamKind, Timestamp,
    policy::Range,
};

/// Most diners of one batch.
pub const MAX_BATCH: usize = 500;

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Begin {
        plan: Plan,
    },
    /// Fixes whom the next batch is for, and what it takes together.
    BeginBatch {
        diners: Vec<DinerId>,
        amount: Money,
    },
    /// The company cannot pay for the batch: the run ends with what was granted before.
    RefuseBatch {
        short: Money,
    },
    /// All of the batch was tried. `granted` is less than its amount where an account was closed, or full: `skipped`
    /// diners did not get all of their lots.
    SettleBatch {
        batch: u32,
        granted: Money,
        skipped: u64,
    },
    /// What was not granted has gone back.
    Finish,
}

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    pub policy: PolicyId,
    pub company: CompanyId,
    pub currency: Currency,
    /// The dates that it grants for.
    pub range: Range,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Event {
    Begun(Plan),
    BatchBegun {
        batch: u32,
        diners: Vec<DinerId>,
        amount: Money,
    },
    BatchRefused {
        batch: u32,
        short: Money,
    },
    BatchSettled {
        batch: u32,
        granted: Money,
        /// Diners of whose lots at least one could not be granted.
        #[serde(default, skip_serializing_if = "is_zero")]
        skipped: u64,
    },
    Finished {
        granted: Money,
        /// What went back to the company.
        returned: Money,
    },
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl crate::Event for Event {
    const SCHEMAS: &'static [(&'static str, u16)] =
        &[("Begun", 1), ("BatchBegun", 1), ("BatchRefused", 1), ("BatchSettled", 2), ("Finished", 1)];

    fn name(&self) -> &'static str {
        match self {
            Event::Begun(_) => "Begun",
            Event::BatchBegun { .. } => "BatchBegun",
            Event::BatchRefused { .. } => "BatchRefused",
            Event::BatchSettled { .. } => "BatchSettled",
            Event::Finished { .. } => "Finished",
        }
    }
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("there is no such run of grants")]
    NotBegun,
    #[error("this run was begun already, for something else")]
    OtherContent,
    #[error(
        "a batch is for 1 to {MAX_BATCH} diners, each once, in ascending order after those before, for more than zero"
    )]
    BadBatch,
    #[error("the run is {is}; that cannot be done now")]
    OutOfTurn { is: &'static str },
    #[error("{granted} cannot be granted of a batch of {amount}")]
    TooMuch { granted: Money, amount: Money },
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// A batch under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    pub number: u32,
    pub diners: Vec<DinerId>,
    pub amount: Money,
}

/// A run that was begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sheet {
    pub plan: Plan,
    pub begun_at: Timestamp,
    pub batches: u32,
    /// Whom it has come to; the next batch begins after.
    pub after: Option<DinerId>,
    pub diners: u64,
    pub allocated: Money,
    pub granted: Money,
    /// Diners of whose lots at least one could not be granted.
    pub skipped: u64,
    pub batch: Option<Batch>,
    /// What the company lacked for the batch that ended the run.
    pub short: Option<Money>,
    pub finished: bool,
}

impl Sheet {
    /// What was set aside and not granted.
    pub fn returned(&self) -> Money {
        Money { minor: self.allocated.minor - self.granted.minor, ..self.allocated }
    }

    fn stage(&self) -> &'static str {
        match self {
            Sheet { finished: true, .. } => "FINISHED",
            Sheet { short: Some(_), .. } => "SHORT_OF_FUNDS",
            Sheet { batch: Some(_), .. } => "IN_A_BATCH",
            Sheet { batch: None, .. } => "BETWEEN_BATCHES",
        }
    }

    fn begin_batch(&self, diners: Vec<DinerId>, amount: Money) -> Result<Vec<Event>, Error> {
        let ascending = diners.is_sorted_by(|one, next| one < next);
        let after = diners.first().is_some_and(|first| self.after.is_none_or(|after| after < *first));
        if !after || !ascending || diners.len() > MAX_BATCH || !amount.is_positive() {
            return Err(Error::BadBatch);
        }
        self.allocated.plus(amount)?;
        Ok(vec![Event::BatchBegun { batch: self.batches + 1, diners, amount }])
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum GrantRun {
    #[default]
    New,
    Begun(Box<Sheet>),
}

impl GrantRun {
    pub fn sheet(&self) -> Result<&Sheet, Error> {
        match self {
            GrantRun::New => Err(Error::NotBegun),
            GrantRun::Begun(sheet) => Ok(sheet),
        }
    }
}

impl Aggregate for GrantRun {
    const NAME: &'static str = "grant";
    const STATE_VERSION: u32 = 2;
    type Id = GrantRunId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn stream_key(id: GrantRunId) -> (StreamKind, uuid::Uuid) {
        (StreamKind::Grant, id.0)
    }

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        let (sheet, command) = match (self, command) {
            (GrantRun::New, Command::Begin { plan }) => return Ok(vec![Event::Begun(plan)]),
            (GrantRun::Begun(sheet), Command::Begin { plan }) => {
                return if sheet.plan == plan { Ok(vec![]) } else { Err(Error::OtherContent) };
            }
            (run, command) => (run.sheet()?, command),
        };
        let out_of_turn = Err(Error::OutOfTurn { is: sheet.stage() });
        match (command, &sheet.batch) {
            (Command::BeginBatch { diners, .. }, Some(batch)) if batch.diners == diners => Ok(vec![]),
            (Command::BeginBatch { .. }, _) if sheet.short.is_some() || sheet.finished => out_of_turn,
            (Command::BeginBatch { diners, amount }, None) => sheet.begin_batch(diners, amount),
            (Command::RefuseBatch { short }, Some(batch)) => {
                Ok(vec![Event::BatchRefused { batch: batch.number, short }])
            }
            (Command::RefuseBatch { .. }, None) if sheet.short.is_some() => Ok(vec![]),
            (Command::SettleBatch { batch, .. }, _) if batch <= sheet.batches && sheet.batch.is_none() => Ok(vec![]),
            (Command::SettleBatch { batch, granted, skipped }, Some(open)) if batch == open.number => {
                let left = open.amount.minus(granted)?;
                if granted.minor < 0 || left.minor < 0 {
                    return Err(Error::TooMuch { granted, amount: open.amount });
                }
                Ok(vec![Event::BatchSettled { batch, granted, skipped }])
            }
            (Command::Finish, None) if sheet.finished => Ok(vec![]),
            (Command::Finish, None) => Ok(vec![Event::Finished { granted: sheet.granted, returned: sheet.returned() }]),
            _ => out_of_turn,
        }
    }

    fn evolve(&mut self, event: &Event, at: Timestamp) {
        let sheet = match (self, event) {
            (run, Event::Begun(plan)) => {
                let zero = Money::zero(plan.currency);
                *run = GrantRun::Begun(Box::new(Sheet {
                    plan: *plan,
                    begun_at: at,
                    batches: 0,
                    after: None,
                    diners: 0,
                    allocated: zero,
                    granted: zero,
                    skipped: 0,
                    batch: None,
                    short: None,
                    finished: false,
                }));
                return;
            }
            (GrantRun::New, _) => return,
            (GrantRun::Begun(sheet), _) => sheet,
        };
        match event {
            Event::Begun(_) => {}
            Event::BatchBegun { batch, diners, amount } => {
                sheet.batches = *batch;
                sheet.batch = Some(Batch { number: *batch, diners: diners.clone(), amount: *amount });
            }
            Event::BatchRefused { short, .. } => {
                sheet.batch = None;
                sheet.short = Some(*short);
            }
            Event::BatchSettled { granted, skipped, .. } => {
                sheet.skipped += skipped;
                if let Some(batch) = sheet.batch.take() {
                    sheet.allocated.minor += batch.amount.minor;
                    sheet.granted.minor += granted.minor;
                    sheet.diners += batch.diners.len() as u64;
                    sheet.after = batch.diners.last().copied();
                }
            }
            Event::Finished { .. } => sheet.finished = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        given,
        testing::{cny, diner, id, usd},
    };

    fn plan() -> Plan {
        let date = jiff::civil::date(2026, 11, 23);
        let (policy, company) = (PolicyId(id(1)), CompanyId(id(2)));
        Plan { policy, company, currency: Currency::CNY, range: Range { first: date, last: date, versions: 1 } }
    }

    fn begins(diners: &[u8], minor: i64) -> Command {
        Command::BeginBatch { diners: diners.iter().map(|number| diner(*number)).collect(), amount: cny(minor) }
    }

    fn begun(batch: u32, diners: &[u8], minor: i64) -> Event {
        let diners = diners.iter().map(|number| diner(*number)).collect();
        Event::BatchBegun { batch, diners, amount: cny(minor) }
    }

    fn settles(batch: u32, minor: i64) -> Command {
        Command::SettleBatch { batch, granted: cny(minor), skipped: 0 }
    }

    fn settled(batch: u32, minor: i64) -> Event {
        Event::BatchSettled { batch, granted: cny(minor), skipped: 0 }
    }

    #[test]
    fn a_run_goes_from_batch_to_batch_and_returns_the_rest() {
        let state = given::<GrantRun>([])
            .when(Command::Begin { plan: plan() })
            .then([Event::Begun(plan())])
            .when(Command::Begin { plan: plan() })
            .then([])
            .when(begins(&[1, 2], 200))
            .then([begun(1, &[1, 2], 200)])
            .when(begins(&[1, 2], 200))
            .then([])
            .when(settles(1, 150))
            .then([settled(1, 150)])
            .when(settles(1, 150))
            .then([])
            .when(begins(&[3], 100))
            .then([begun(2, &[3], 100)])
            .when(settles(2, 100))
            .then([settled(2, 100)])
            .when(Command::Finish)
            .then([Event::Finished { granted: cny(250), returned: cny(50) }])
            .when(Command::Finish)
            .then([])
            .state();
        let sheet = state.sheet().unwrap();
        assert_eq!((sheet.diners, sheet.after, sheet.returned()), (3, Some(diner(3)), cny(50)));
    }

    #[test]
    fn a_batch_that_the_company_cannot_pay_ends_the_run() {
        let refused = Event::BatchRefused { batch: 2, short: cny(30) };
        given::<GrantRun>([Event::Begun(plan()), begun(1, &[1], 100), settled(1, 100), begun(2, &[2], 100)])
            .when(Command::RefuseBatch { short: cny(30) })
            .then([refused])
            .when(Command::RefuseBatch { short: cny(30) })
            .then([])
            .when(begins(&[2], 100))
            .refused(Error::OutOfTurn { is: "SHORT_OF_FUNDS" })
            .when(Command::Finish)
            .then([Event::Finished { granted: cny(100), returned: cny(0) }]);
    }

    #[test]
    fn a_run_counts_whom_it_had_to_skip() {
        let skips = Command::SettleBatch { batch: 1, granted: cny(50), skipped: 1 };
        let state = given::<GrantRun>([Event::Begun(plan()), begun(1, &[1, 2], 100)])
            .when(skips)
            .then([Event::BatchSettled { batch: 1, granted: cny(50), skipped: 1 }])
            .state();
        let sheet = state.sheet().unwrap();
        assert_eq!((sheet.diners, sheet.skipped, sheet.returned()), (2, 1, cny(50)));
    }

    #[test]
    fn bad_batches_change_nothing() {
        let given = || given::<GrantRun>([Event::Begun(plan()), begun(1, &[5], 100), settled(1, 100)]);
        for (diners, minor) in
            [(&[][..], 10), (&[5], 10), (&[4, 6], 10), (&[7, 6], 10), (&[6, 6], 10), (&[6], 0), (&[6], -1)]
        {
            given().when(begins(diners, minor)).refused(Error::BadBatch);
        }
        let many = (0..=MAX_BATCH as u128).map(|number| DinerId(uuid::Uuid::from_u128(100 + number))).collect();
        given().when(Command::BeginBatch { diners: many, amount: cny(1) }).refused(Error::BadBatch);
        let mixed = MoneyError::Mixed { left: Currency::CNY, right: Currency::USD };
        given()
            .when(Command::BeginBatch { diners: vec![diner(6)], amount: usd(1) })
            .refused(Error::Money(mixed.clone()));
        let open = || given().when(begins(&[6], 100)).then([begun(2, &[6], 100)]);
        open().when(settles(2, 101)).refused(Error::TooMuch { granted: cny(101), amount: cny(100) });
        open().when(settles(2, -1)).refused(Error::TooMuch { granted: cny(-1), amount: cny(100) });
        open().when(settles(3, 1)).refused(Error::OutOfTurn { is: "IN_A_BATCH" });
        open().when(Command::SettleBatch { batch: 2, granted: usd(1), skipped: 0 }).refused(Error::Money(mixed));
        open().when(Command::Finish).refused(Error::OutOfTurn { is: "IN_A_BATCH" });
        open().when(begins(&[7], 100)).refused(Error::OutOfTurn { is: "IN_A_BATCH" });
        given().when(Command::Begin { plan: Plan { policy: PolicyId(id(9)), ..plan() } }).refused(Error::OtherContent);
        crate::given::<GrantRun>([]).when(Command::Finish).refused(Error::NotBegun);
    }
}
