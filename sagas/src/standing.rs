//! Standing orders: a policy's grants begin by themselves at midnight in its zone, so many days ahead. The
//! timer may be late, and there may be two of it: a period's run has one id.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use commands::{Cause, Failure, Interrupted, Request};
use domain::{
    CommandId, GrantRunId, PolicyId, TenantId, Timestamp, bundled_zone,
    grant_run::GrantRun,
    policy::{self, Policy},
    standing::{Delay, Period},
    step_id,
};
use jiff::civil::Date;
use projections::{
    PageSize,
    policies::{self, PolicyRow},
};
use store::Position;
use uuid::Uuid;

use crate::{GrantError, NewGrants, SAGA, SettleError, Subsidies};

/// One process does it once at a time.
const TURN: Uuid = Uuid::from_u128(0x7374_616e_6469_6e67);
const NAME: &str = "standing";
/// Between two attempts at what the company could not pay for, in seconds.
const RETRY_SECONDS: i64 = 3_600;
/// Most runs of one period that the company's funds cut short. What is left after them is for somebody
/// to look at.
const MAX_ATTEMPTS: u32 = 100;

/// Until when nothing is to be done for a policy. It holds no truth: what is forgotten in a restart is
/// found done when it is tried again.
#[derive(Clone, Default)]
pub(crate) struct Rests(Arc<Mutex<HashMap<(TenantId, PolicyId), Rest>>>);

#[derive(Clone, Copy)]
struct Rest {
    /// The policy as it was then, and the date in its zone.
    changed: Position,
    today: Date,
    /// When what waits is tried again; none when everything was done.
    again: Option<Timestamp>,
}

impl Rests {
    fn is_due(&self, row: &PolicyRow, today: Date, now: Timestamp) -> bool {
        let rests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rests.get(&(row.tenant, row.policy)).is_none_or(|rest| {
            (rest.changed, rest.today) != (row.changed, today) || rest.again.is_some_and(|again| again <= now)
        })
    }

    fn rest(&self, row: &PolicyRow, today: Date, again: Option<Timestamp>) {
        let rest = Rest { changed: row.changed, today, again };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((row.tenant, row.policy), rest);
    }
}

/// What came of one period.
enum Came {
    /// Everybody has what the period is for; whether a run was needed for it.
    Done(bool),
    Waits(Delay),
    /// Nothing that waiting would help.
    Refused(GrantError),
}

impl Subsidies {
    /// Begins what is due, unless that is under way already; for the follower.
    pub(crate) fn stand(&self) {
        if self.driven.contains(TURN) {
            return;
        }
        let subsidies = self.clone();
        drop(self.commands.spawn(async move {
            if let Err(error) = subsidies.stand_all().await {
                tracing::warn!(%error, "standing orders could not be followed; trying on");
            }
        }));
    }

    /// Grants what standing orders have come to by now, as far as the views show them; answers how many
    /// runs that were. Ends when each is finished.
    pub(crate) async fn stand_all(&self) -> Result<usize, SettleError> {
        let _driving = self.driven.enter(TURN).await;
        let (mut after, mut runs) = (None, 0);
        loop {
            let page = policies::standing(&self.views, after, PageSize::MAX).await?;
            let Some(last) = page.last() else { return Ok(runs) };
            after = Some((last.tenant, last.policy));
            for row in &page {
                runs += self.stand_for(row).await?;
            }
        }
    }

    async fn stand_for(&self, row: &PolicyRow) -> Result<usize, SettleError> {
        let now = self.commands.now();
        // A policy is not opened in a zone that is not known.
        let Some(zone) = bundled_zone(&row.zone) else { return Ok(0) };
        let today = now.date_in(&zone);
        if !self.rests.is_due(row, today, now) {
            return Ok(0);
        }
        let periods = |policy: &Policy| policy.book().map(|book| book.periods(today)).unwrap_or_default();
        let periods = self.commands.look(row.tenant, row.policy, periods).await?;
        let (mut runs, mut again) = (0, None);
        for period in periods {
            match self.grant_period(row, period, today).await? {
                Came::Done(ran) => runs += usize::from(ran),
                // Those after it wait too: what there is goes to the days that come first.
                Came::Waits(why) => {
                    self.delay(row, period, why).await?;
                    again = Some(now.plus_seconds(RETRY_SECONDS));
                    break;
                }
                Came::Refused(error) => {
                    tracing::warn!(%error, policy = %row.policy, first = %period.first, "grants have to wait");
                    again = Some(now.plus_seconds(RETRY_SECONDS));
                    break;
                }
            }
        }
        self.rests.rest(row, today, again);
        Ok(runs)
    }

    /// Makes the run of one period, unless it was made. From today on: whoever has joined since the nights
    /// before gets their days too.
    async fn grant_period(&self, row: &PolicyRow, period: Period, today: Date) -> Result<Came, Interrupted> {
        let new = NewGrants { policy: row.policy, first: today, last: period.last };
        for attempt in 0..MAX_ATTEMPTS {
            let of = (row.policy, period.first.to_string(), attempt);
            let key = period.key(row.policy, attempt);
            let request = Request::new((row.tenant, SAGA), "standingGrant", key, &of, self.commands.now());
            let ended = |run: &GrantRun| run.sheet().ok().filter(|sheet| sheet.finished).map(|sheet| sheet.short);
            match self.commands.look(row.tenant, GrantRunId(request.id), ended).await? {
                Some(None) => return Ok(Came::Done(false)),
                Some(Some(_)) => continue,
                None => {}
            }
            match self.grant(request, new, |_| {}).await {
                // The next attempt says what is lacking.
                Ok(granted) if granted.short.is_some() => {}
                Ok(granted) => return Ok(Came::Done(granted.diners > 0)),
                Err(Failure::Interrupted(interrupted)) => return Err(interrupted),
                Err(Failure::KeyReused) => return Ok(Came::Done(false)),
                Err(Failure::Refused(GrantError::Insufficient { needed, short, .. })) => {
                    return Ok(Came::Waits(Delay::Funds { needed, short }));
                }
                Err(Failure::Refused(GrantError::Company(_))) => return Ok(Came::Waits(Delay::Company)),
                Err(Failure::Refused(GrantError::Views(why))) => return Err(Interrupted::Unavailable(why)),
                Err(Failure::Refused(error)) => return Ok(Came::Refused(error)),
            }
        }
        tracing::warn!(policy = %row.policy, first = %period.first, "the company's funds cut so many runs short that \
            somebody has to look at this period");
        Ok(Came::Done(false))
    }

    /// Records why a period waits; the same reason again records nothing.
    async fn delay(&self, row: &PolicyRow, period: Period, why: Delay) -> Result<(), Interrupted> {
        let (first, now) = (period.first, self.commands.now());
        let id: CommandId = step_id(NAME, row.policy.0, &format!("{first}/{now}"));
        let (command, cause) =
            (policy::Command::DelayStanding { first, why }, Cause::step(id, SAGA, row.policy.0, id, now));
        match self.commands.execute::<Policy>(row.tenant, row.policy, command, cause).await {
            Err(Failure::Interrupted(interrupted)) => Err(interrupted),
            // A policy that is not there has no standing order.
            Ok(_) | Err(Failure::Refused(_) | Failure::KeyReused) => Ok(()),
        }
    }
}
