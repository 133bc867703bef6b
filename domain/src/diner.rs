//! A diner: who employs them from when to when, what is known of them as a person, and that they
//! were erased. Whom a policy grants to follows from the employment.

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AccountId, Aggregate, CompanyId, DinerId, GroupId, Money, StreamKind, Timestamp, details::Details,
    personal::Personal,
};

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Begins an employment, also after an earlier one has ended.
    Join { company: CompanyId, group: Option<GroupId>, from: Date },
    /// To another company or group, without a gap; until `from` everything stays as it is.
    Move { company: CompanyId, group: Option<GroupId>, from: Date },
    /// `on` is the first day that is not worked any more. What was to begin later does not.
    Leave { on: Date },
    /// Who they are, sealed with their key.
    SetDetails { details: Personal<Details> },
    /// Ends the diner for good; then their key is deleted. `standing` was looked up before.
    Erase { standing: Standing },
}

/// What an erasure waits for, as it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// The day on which it is asked.
    pub today: Date,
    /// Accounts of the diner that have something, with what is posted and what is held.
    pub balances: Vec<(AccountId, Money, Money)>,
    /// Orders that have not come to their end.
    pub orders: u64,
    /// Refunds that have not reached every source.
    pub refunds: u64,
}

/// Why a diner cannot be erased yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum InTheWay {
    Employed {
        since: Date,
    },
    /// The employment ends only on this day.
    EmployedUntil {
        on: Date,
    },
    Balance {
        account: AccountId,
        posted: Money,
        held: Money,
    },
    Orders {
        open: u64,
    },
    Refunds {
        open: u64,
    },
}

impl std::fmt::Display for InTheWay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            InTheWay::Employed { since } => write!(f, "employed since {since}"),
            InTheWay::EmployedUntil { on } => write!(f, "employed until {on}"),
            InTheWay::Balance { account, posted, held } => write!(f, "{account} has {posted} posted and {held} held"),
            InTheWay::Orders { open: 1 } => f.write_str("1 order is open"),
            InTheWay::Orders { open } => write!(f, "{open} orders are open"),
            InTheWay::Refunds { open: 1 } => f.write_str("1 refund is open"),
            InTheWay::Refunds { open } => write!(f, "{open} refunds are open"),
        }
    }
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
    DetailsSet {
        details: Personal<Details>,
    },
    Erased,
}

impl crate::Event for Event {
    const SCHEMAS: &'static [(&'static str, u16)] =
        &[("Joined", 1), ("Moved", 1), ("Left", 1), ("DetailsSet", 1), ("Erased", 1)];

    fn name(&self) -> &'static str {
        match self {
            Event::Joined { .. } => "Joined",
            Event::Moved { .. } => "Moved",
            Event::Left { .. } => "Left",
            Event::DetailsSet { .. } => "DetailsSet",
            Event::Erased => "Erased",
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
    #[error("there is no such diner")]
    NotKnown,
    #[error("the diner was erased")]
    Erased,
    #[error("the diner cannot be erased yet: {}", .0.iter().map(InTheWay::to_string).collect::<Vec<_>>().join("; "))]
    NotYet(Vec<InTheWay>),
}

/// Most times that an employment remembers; of more, the first and the latest.
const MAX_TIMES: usize = 64;

/// A time with a company, until the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Time {
    pub company: CompanyId,
    pub group: Option<GroupId>,
    pub from: Date,
}

/// The last employment. One that has ended may be followed by another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Employment {
    #[default]
    None,
    /// Where and in which group they are, or will be from `from` on. `before` is what led there without a gap.
    Running { company: CompanyId, group: Option<GroupId>, from: Date, before: Vec<Time> },
    /// `times` are those that led there without a gap, the last one with `company`.
    Ended { company: CompanyId, on: Date, times: Vec<Time> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Diner {
    Here {
        employment: Employment,
        details: Option<Personal<Details>>,
    },
    /// For good: the id is never anybody's again.
    Erased,
}

impl Default for Diner {
    fn default() -> Self {
        Diner::Here { employment: Employment::None, details: None }
    }
}

impl Employment {
    fn join(&self, company: CompanyId, group: Option<GroupId>, from: Date) -> Result<Vec<Event>, Error> {
        match self {
            Employment::Running { company: of, group: within, from: since, .. } => {
                let same = (*of, *within, *since) == (company, group, from);
                if same { Ok(vec![]) } else { Err(Error::Employed { since: *since }) }
            }
            Employment::Ended { on, .. } if from < *on => Err(Error::TooEarly { since: *on }),
            Employment::None | Employment::Ended { .. } => Ok(vec![Event::Joined { company, group, from }]),
        }
    }

    fn change(&self, company: CompanyId, group: Option<GroupId>, from: Date) -> Result<Vec<Event>, Error> {
        match self {
            Employment::Running { company: of, group: within, .. } if (*of, *within) == (company, group) => Ok(vec![]),
            Employment::Running { from: since, .. } if from < *since => Err(Error::TooEarly { since: *since }),
            Employment::Running { .. } => Ok(vec![Event::Moved { company, group, from }]),
            Employment::None | Employment::Ended { .. } => Err(Error::NotEmployed),
        }
    }

    fn leave(&self, on: Date) -> Result<Vec<Event>, Error> {
        match self {
            Employment::Running { from, before, .. } => {
                let since = before.first().map_or(*from, |first| first.from);
                if on < since { Err(Error::TooEarly { since }) } else { Ok(vec![Event::Left { on }]) }
            }
            Employment::Ended { on: before, .. } if *before == on => Ok(vec![]),
            Employment::None | Employment::Ended { .. } => Err(Error::NotEmployed),
        }
    }

    /// From `from` on with that company and group. Goes on from what ends on that day.
    fn begin(&mut self, company: CompanyId, group: Option<GroupId>, from: Date) {
        let mut before = match std::mem::take(self) {
            Employment::Running { company, group, from, mut before } => {
                before.push(Time { company, group, from });
                before
            }
            Employment::Ended { on, times, .. } if on == from => times,
            Employment::None | Employment::Ended { .. } => vec![],
        };
        before.retain(|time| time.from < from);
        if before.len() >= MAX_TIMES {
            before.remove(1);
        }
        *self = Employment::Running { company, group, from, before };
    }

    fn end(&mut self, on: Date) {
        match std::mem::take(self) {
            Employment::Running { company, group, from, before: mut times } => {
                times.push(Time { company, group, from });
                while times.len() > 1 && times.last().is_some_and(|time| time.from > on) {
                    times.pop();
                }
                let company = times.last().map_or(company, |time| time.company);
                *self = Employment::Ended { company, on, times };
            }
            Employment::Ended { company, times, .. } => *self = Employment::Ended { company, on, times },
            Employment::None => {}
        }
    }

    /// What stands in the way of an erasure.
    fn in_the_way(&self, standing: &Standing) -> Vec<InTheWay> {
        let employed = match self {
            Employment::Running { from, before, .. } => {
                Some(InTheWay::Employed { since: before.first().map_or(*from, |first| first.from) })
            }
            Employment::Ended { on, .. } if *on > standing.today => Some(InTheWay::EmployedUntil { on: *on }),
            Employment::None | Employment::Ended { .. } => None,
        };
        let having = standing.balances.iter().filter(|(_, posted, held)| (posted.minor, held.minor) != (0, 0));
        let balances =
            having.map(|(account, posted, held)| InTheWay::Balance { account: *account, posted: *posted, held: *held });
        let orders = (standing.orders > 0).then_some(InTheWay::Orders { open: standing.orders });
        let refunds = (standing.refunds > 0).then_some(InTheWay::Refunds { open: standing.refunds });
        employed.into_iter().chain(balances).chain(orders).chain(refunds).collect()
    }
}

impl Aggregate for Diner {
    const NAME: &'static str = "diner";
    const STATE_VERSION: u32 = 3;
    type Id = DinerId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn stream_key(id: DinerId) -> (StreamKind, uuid::Uuid) {
        (StreamKind::Diner, id.0)
    }

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        let (employment, known) = match (self, &command) {
            (Diner::Here { employment, details }, _) => (employment, details),
            (Diner::Erased, Command::Erase { .. }) => return Ok(vec![]),
            (Diner::Erased, _) => return Err(Error::Erased),
        };
        match command {
            Command::Join { company, group, from } => employment.join(company, group, from),
            Command::Move { company, group, from } => employment.change(company, group, from),
            Command::Leave { on } => employment.leave(on),
            Command::SetDetails { .. } | Command::Erase { .. } if *employment == Employment::None => {
                Err(Error::NotKnown)
            }
            Command::SetDetails { details } if known.as_ref() == Some(&details) => Ok(vec![]),
            Command::SetDetails { details } => Ok(vec![Event::DetailsSet { details }]),
            Command::Erase { standing } => match employment.in_the_way(&standing) {
                nothing if nothing.is_empty() => Ok(vec![Event::Erased]),
                in_the_way => Err(Error::NotYet(in_the_way)),
            },
        }
    }

    fn evolve(&mut self, event: &Event, _at: Timestamp) {
        let Diner::Here { employment, details } = self else { return };
        match event {
            Event::Joined { company, group, from } | Event::Moved { company, group, from } => {
                employment.begin(*company, *group, *from);
            }
            Event::Left { on } => employment.end(*on),
            Event::DetailsSet { details: set } => *details = Some(set.clone()),
            Event::Erased => *self = Diner::Erased,
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::{
        Currency, TenantId, given,
        personal::{Person, PersonKey},
        testing::{cny, diner, id},
    };

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

    #[test]
    fn who_leaves_before_a_move_that_was_recorded_ahead_does_not_make_it() {
        let group = Some(GroupId(id(7)));
        let moved = Event::Moved { company: company(2), group, from: JUNE };
        let left = given::<Diner>([joined(1, MAY), moved])
            .when(Command::Leave { on: date(2026, 4, 30) })
            .refused(Error::TooEarly { since: MAY })
            .when(Command::Leave { on: date(2026, 5, 9) })
            .then([Event::Left { on: date(2026, 5, 9) }])
            .state();
        let times = vec![Time { company: company(1), group: None, from: MAY }];
        let employment = Employment::Ended { company: company(1), on: date(2026, 5, 9), times };
        assert_eq!(left, Diner::Here { employment, details: None });
    }

    #[test]
    fn who_leaves_within_a_term_that_was_prolonged_ends_both() {
        let terms = [joined(1, MAY), Event::Left { on: JUNE }, joined(1, JUNE)];
        given::<Diner>(terms.clone())
            .when(Command::Leave { on: date(2026, 5, 9) })
            .then([Event::Left { on: date(2026, 5, 9) }]);
        given::<Diner>(terms).when(erase(nothing())).refused(Error::NotYet(vec![InTheWay::Employed { since: MAY }]));
        // After a gap it is another employment.
        given::<Diner>([joined(1, MAY), Event::Left { on: date(2026, 5, 31) }, joined(1, JUNE)])
            .when(Command::Leave { on: date(2026, 5, 9) })
            .refused(Error::TooEarly { since: JUNE });
    }

    #[test]
    fn an_employment_of_many_moves_remembers_when_it_began() {
        let day = |number: i64| MAY.checked_add(jiff::ToSpan::days(number)).unwrap();
        let moves =
            (1..200).map(|number| Event::Moved { company: company(number as u8), group: None, from: day(number) });
        let state = given::<Diner>([joined(1, MAY)].into_iter().chain(moves)).state();
        let Diner::Here { employment: Employment::Running { before, .. }, .. } = &state else { panic!("{state:?}") };
        assert_eq!((before.len(), before[0].from, before[62].from), (MAX_TIMES - 1, MAY, day(198)));
    }

    fn sealed(name: &str) -> Personal<Details> {
        let details = Details::new(name, Some("0042"), None).unwrap();
        let person = Person { tenant: TenantId(id(9)), diner: diner(1) };
        Personal::seal(&details, person, &PersonKey::new(&[7; 32])).unwrap()
    }

    fn set(name: &str) -> Command {
        Command::SetDetails { details: sealed(name) }
    }

    fn details(name: &str) -> Event {
        Event::DetailsSet { details: sealed(name) }
    }

    fn nothing() -> Standing {
        Standing { today: JUNE, balances: vec![], orders: 0, refunds: 0 }
    }

    fn erase(standing: Standing) -> Command {
        Command::Erase { standing }
    }

    #[test]
    fn who_is_known_has_details_and_the_same_again_changes_nothing() {
        given::<Diner>([joined(1, MAY)])
            .when(set("Ada"))
            .then([details("Ada")])
            .when(set("Ada"))
            .then([])
            .when(set("Eve"))
            .then([details("Eve")])
            .when(Command::Leave { on: JUNE })
            .then([Event::Left { on: JUNE }])
            .when(set("Ada"))
            .then([details("Ada")]);
        given::<Diner>([]).when(set("Ada")).refused(Error::NotKnown);
        given::<Diner>([]).when(erase(nothing())).refused(Error::NotKnown);
    }

    #[test]
    fn an_erased_diner_stays_so() {
        given::<Diner>([joined(1, MAY), details("Ada"), Event::Left { on: JUNE }])
            .when(erase(nothing()))
            .then([Event::Erased])
            .when(erase(Standing { orders: 1, ..nothing() }))
            .then([])
            .when(set("Ada"))
            .refused(Error::Erased)
            .when(join(1, JUNE))
            .refused(Error::Erased)
            .when(Command::Leave { on: JUNE })
            .refused(Error::Erased)
            .when(Command::Move { company: company(1), group: None, from: JUNE })
            .refused(Error::Erased);
    }

    #[test]
    fn an_erasure_waits_for_everything_that_is_open_and_names_it() {
        let (wallet, subsidy) = (AccountId::Wallet(diner(1)), AccountId::Subsidy(diner(1)));
        let balance = |account, posted, held| InTheWay::Balance { account, posted: cny(posted), held: cny(held) };
        given::<Diner>([joined(1, MAY)])
            .when(erase(nothing()))
            .refused(Error::NotYet(vec![InTheWay::Employed { since: MAY }]));
        given::<Diner>([joined(1, MAY), Event::Left { on: date(2026, 6, 2) }])
            .when(erase(nothing()))
            .refused(Error::NotYet(vec![InTheWay::EmployedUntil { on: date(2026, 6, 2) }]));
        let balances = vec![(wallet, cny(-500), cny(0)), (subsidy, cny(0), cny(100))];
        let refused = Error::NotYet(vec![
            balance(wallet, -500, 0),
            balance(subsidy, 0, 100),
            InTheWay::Orders { open: 1 },
            InTheWay::Refunds { open: 2 },
        ]);
        let said = refused.to_string();
        assert!(said.contains("-5.00 CNY posted") && said.contains("1 order is open; 2 refunds are open"), "{said}");
        let empty = (wallet, Money::zero(Currency::CNY), Money::zero(Currency::CNY));
        given::<Diner>([joined(1, MAY), Event::Left { on: JUNE }])
            .when(erase(Standing { balances, orders: 1, refunds: 2, ..nothing() }))
            .refused(refused)
            .when(erase(Standing { balances: vec![empty], ..nothing() }))
            .then([Event::Erased]);
    }
}
