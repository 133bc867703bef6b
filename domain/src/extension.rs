//! What a change of an order adds to its payment: tenders after those that paid for it before, of accounts
//! only, Extended → Captured or given up.

use serde::{Deserialize, Serialize};

use crate::{
    ChangeId, Money,
    order::MAX_CHANGES,
    payment::{Error, Event, MAX_TENDERS, Sheet, Source, Stage, Tender, TenderState, check_plan},
};

/// Most tenders of one payment with all its extensions.
pub const MAX_TENDERS_EXTENDED: usize = MAX_TENDERS * (1 + MAX_CHANGES);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExtensionStage {
    Open,
    Captured,
    GivenUp,
}

/// Some tenders that were added together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Extension {
    pub amount: Money,
    /// The index of its first tender, and how many it has.
    pub first: u8,
    pub count: u8,
    pub stage: ExtensionStage,
}

impl Extension {
    /// The indices of its tenders.
    pub fn tenders(&self) -> std::ops::Range<u8> {
        self.first..self.first.saturating_add(self.count)
    }
}

impl Sheet {
    fn extension_with(&self, tender: u8) -> Option<&Extension> {
        self.extensions.values().find(|extension| extension.tenders().contains(&tender))
    }

    /// How far a tender is that a change added.
    pub(crate) fn extended_state(&self, tender: u8) -> Option<TenderState> {
        Some(match self.extension_with(tender)?.stage {
            ExtensionStage::Open => TenderState::Planned,
            ExtensionStage::Captured => TenderState::Captured,
            ExtensionStage::GivenUp => TenderState::Released,
        })
    }

    /// Whether a tender of a captured payment has its money.
    pub(crate) fn is_captured(&self, tender: u8) -> bool {
        self.extension_with(tender).is_none_or(|extension| extension.stage == ExtensionStage::Captured)
    }

    pub(crate) fn extend(&self, extension: ChangeId, amount: Money, tenders: Vec<Tender>) -> Result<Vec<Event>, Error> {
        // The plan that counts is the recorded one, whatever the balances say now.
        if let Some(known) = self.extensions.get(&extension) {
            return match known.stage {
                ExtensionStage::GivenUp => Err(Error::OutOfTurn { is: Stage::Released.name() }),
                _ if known.amount == amount => Ok(vec![]),
                _ => Err(Error::AlreadyStarted),
            };
        }
        if self.stage != Stage::Captured {
            return Err(Error::OutOfTurn { is: self.stage.name() });
        }
        check_plan(amount, &tenders)?;
        let others = tenders.iter().any(|tender| matches!(tender.source, Source::External(_)));
        let all = self.tenders.len() + tenders.len();
        if others || !amount.is_positive() || amount.currency != self.total.currency || all > MAX_TENDERS_EXTENDED {
            return Err(Error::BadPlan { total: amount });
        }
        // Within MAX_TENDERS_EXTENDED.
        let first = self.tenders.len() as u8;
        Ok(vec![Event::Extended { extension, amount, first, tenders }])
    }

    /// Its tenders are captured, or given up.
    pub(crate) fn end_extension(&self, extension: ChangeId, to: ExtensionStage) -> Result<Vec<Event>, Error> {
        let Some(known) = self.extensions.get(&extension) else {
            return match to {
                // It refuses the extension that comes late.
                ExtensionStage::GivenUp => Ok(vec![Event::ExtensionGivenUp { extension }]),
                _ => Err(Error::UnknownExtension),
            };
        };
        match (known.stage, to) {
            (ExtensionStage::Open, ExtensionStage::Captured) => {
                Ok(vec![Event::ExtensionCaptured { extension, amount: known.amount }])
            }
            (ExtensionStage::Open, _) => Ok(vec![Event::ExtensionGivenUp { extension }]),
            (is, to) if is == to => Ok(vec![]),
            _ => Err(Error::OutOfTurn { is: self.stage.name() }),
        }
    }

    pub(crate) fn hear_of_extension(&mut self, event: &Event) {
        match event {
            Event::Extended { extension, amount, first, tenders } => {
                let (amount, first, count) = (*amount, *first, tenders.len() as u8);
                self.tenders.extend(tenders.iter().copied());
                let stage = ExtensionStage::Open;
                self.extensions.insert(*extension, Extension { amount, first, count, stage });
            }
            Event::ExtensionCaptured { extension, amount } => {
                self.total.minor += amount.minor;
                self.set_stage(*extension, ExtensionStage::Captured);
            }
            Event::ExtensionGivenUp { extension } => {
                let (amount, first) = (Money::zero(self.total.currency), self.tenders.len() as u8);
                let nothing = Extension { amount, first, count: 0, stage: ExtensionStage::GivenUp };
                self.extensions.entry(*extension).or_insert(nothing).stage = ExtensionStage::GivenUp;
            }
            _ => {}
        }
    }

    fn set_stage(&mut self, extension: ChangeId, stage: ExtensionStage) {
        if let Some(known) = self.extensions.get_mut(&extension) {
            known.stage = stage;
        }
    }
}

#[cfg(test)]
#[path = "extension_tests.rs"]
mod tests;
