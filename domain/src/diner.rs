//! Who employs a diner, from when to when. Whom a policy grants to follows from it.

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Aggregate, CompanyId, DinerId, GroupId, StreamKind, Timestamp};

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Begins an employment, also after an earlier one has ended.
    Join { company: CompanyId, group: Option<GroupId>, from: Date },
    /// To another company or group, without a gap.
    Move { company: CompanyId, group: Option<GroupId>, from: Date },
    /// `on` is the first day that is not worked any more.
    Leave { on: Date },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Event {
    Joined {
        company: CompanyId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<GroupId>,
        #[schemars(with = "String")]
        from: Date,
    },
    Moved {
        company: CompanyId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<GroupId>,
        #[schemars(with = "String")]
        from: Date,
    },
    Left {
        #[schemars(with = "String")]
        on: Date,
    },
}

impl crate::Event for Event {
    const SCHEMAS: &'static [(&'static str, u16)] = &[("Joined", 1), ("Moved", 1), ("Left", 1)];

    fn name(&self) -> &'static str {
        match self {
            Event::Joined { .. } => "Joined",
            Event::Moved { .. } => "Moved",
            Event::Left { .. } => "Left",
        }
    }
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("the diner has no employment")]
    NotEmployed,
    #[error("the diner is employed since {since}: move or end that first")]
    Employed { since: Date },
    #[error("the employment begins on {since}: a change comes on or after that day")]
    TooEarly { since: Date },
}

/// The last employment. One that has ended may be followed by another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Diner {
    #[default]
    Unknown,
    Employed {
        company: CompanyId,
        group: Option<GroupId>,
        from: Date,
    },
    Left {
        company: CompanyId,
        on: Date,
    },
}

impl Aggregate for Diner {
    const NAME: &'static str = "diner";
    const STATE_VERSION: u32 = 1;
    type Id = DinerId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn stream_key(id: DinerId) -> (StreamKind, uuid::Uuid) {
        (StreamKind::Diner, id.0)
    }

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (*self, command) {
            (Diner::Employed { company, group, from }, Command::Join { company: to, group: of, from: when }) => {
                let same = (company, group, from) == (to, of, when);
                if same { Ok(vec![]) } else { Err(Error::Employed { since: from }) }
            }
            (Diner::Left { on, .. }, Command::Join { from, .. }) if from < on => Err(Error::TooEarly { since: on }),
            (Diner::Unknown | Diner::Left { .. }, Command::Join { company, group, from }) => {
                Ok(vec![Event::Joined { company, group, from }])
            }
            (Diner::Employed { company, group, .. }, Command::Move { company: to, group: of, .. })
                if (company, group) == (to, of) =>
            {
                Ok(vec![])
            }
            (Diner::Employed { from: since, .. }, Command::Move { from, .. }) if from < since => {
                Err(Error::TooEarly { since })
            }
            (Diner::Employed { .. }, Command::Move { company, group, from }) => {
                Ok(vec![Event::Moved { company, group, from }])
            }
            (Diner::Employed { from, .. }, Command::Leave { on }) if on < from => Err(Error::TooEarly { since: from }),
            (Diner::Employed { .. }, Command::Leave { on }) => Ok(vec![Event::Left { on }]),
            (Diner::Left { on, .. }, Command::Leave { on: again }) if on == again => Ok(vec![]),
            (Diner::Unknown | Diner::Left { .. }, Command::Move { .. } | Command::Leave { .. }) => {
                Err(Error::NotEmployed)
            }
        }
    }

    fn evolve(&mut self, event: &Event, _at: Timestamp) {
        *self = match (*self, event) {
            (_, Event::Joined { company, group, from } | Event::Moved { company, group, from }) => {
                Diner::Employed { company: *company, group: *group, from: *from }
            }
            (Diner::Employed { company, .. } | Diner::Left { company, .. }, Event::Left { on }) => {
                Diner::Left { company, on: *on }
            }
            (Diner::Unknown, Event::Left { .. }) => Diner::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::{given, testing::id};

    const MAY: Date = date(2026, 5, 1);
    const JUNE: Date = date(2026, 6, 1);

    fn company(number: u8) -> CompanyId {
        CompanyId(id(number))
    }

    fn join(number: u8, from: Date) -> Command {
        Command::Join { company: company(number), group: None, from }
    }

    fn joined(number: u8, from: Date) -> Event {
        Event::Joined { company: company(number), group: None, from }
    }

    #[test]
    fn a_diner_joins_moves_and_leaves() {
        let group = Some(GroupId(id(7)));
        given::<Diner>([])
            .when(join(1, MAY))
            .then([joined(1, MAY)])
            .when(join(1, MAY))
            .then([])
            .when(Command::Move { company: company(1), group, from: JUNE })
            .then([Event::Moved { company: company(1), group, from: JUNE }])
            .when(Command::Move { company: company(1), group, from: JUNE })
            .then([])
            .when(Command::Leave { on: date(2026, 7, 1) })
            .then([Event::Left { on: date(2026, 7, 1) }])
            .when(Command::Leave { on: date(2026, 7, 1) })
            .then([])
            .when(join(2, date(2026, 7, 1)))
            .then([joined(2, date(2026, 7, 1))]);
    }

    #[test]
    fn an_employment_has_one_company_and_keeps_its_order() {
        given::<Diner>([joined(1, JUNE)])
            .when(join(2, JUNE))
            .refused(Error::Employed { since: JUNE })
            .when(Command::Move { company: company(2), group: None, from: MAY })
            .refused(Error::TooEarly { since: JUNE })
            .when(Command::Leave { on: MAY })
            .refused(Error::TooEarly { since: JUNE });
        given::<Diner>([joined(1, MAY), Event::Left { on: JUNE }])
            .when(join(2, MAY))
            .refused(Error::TooEarly { since: JUNE })
            .when(Command::Leave { on: MAY })
            .refused(Error::NotEmployed);
        given::<Diner>([]).when(Command::Leave { on: MAY }).refused(Error::NotEmployed);
        given::<Diner>([])
            .when(Command::Move { company: company(2), group: None, from: MAY })
            .refused(Error::NotEmployed);
    }
}
