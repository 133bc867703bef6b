//! The write path under refusals, panics, clients that go away, and writes that fail.

mod books;
mod clocks;
mod closure;
mod flaky;
mod laws;
mod nodes;
mod postgres;
mod recovery;
mod selling;
mod stale;

use std::{sync::Arc, time::Duration};

use domain::{AccountId, ActorId, Currency, DinerId, HoldId, Money, PaymentId, TenantId, Timestamp, account, step_id};
use store::EventRow;
use uuid::Uuid;

use crate::{Cause, Commands, Limits, ManualClock, Request, SeededIds};
use flaky::FlakyLog;

const TENANT: TenantId = TenantId(Uuid::from_u128(1));
const ACTOR: ActorId = ActorId(Uuid::from_u128(2));
const NOON: Timestamp = Timestamp::from_seconds(1_795_000_000);

fn commands_over(log: &Arc<FlakyLog>) -> Commands {
    commands_with(log, Limits::default())
}

fn commands_with(log: &Arc<FlakyLog>, limits: Limits) -> Commands {
    let clock = Arc::new(ManualClock::at(NOON));
    Commands::start(Arc::clone(log) as _, clock, Arc::new(SeededIds::new(7)), limits)
}

fn wallet(number: u128) -> AccountId {
    AccountId::Wallet(DinerId(Uuid::from_u128(number)))
}

fn fen(minor: i64) -> Money {
    Money::new(minor, Currency::CNY)
}

/// A request to deposit under a key; the amount is what the caller sent.
fn request(key: u128, amount: Money) -> Request {
    Request::new((TENANT, ACTOR), "deposit", Uuid::from_u128(key), &amount, NOON)
}

fn hold(number: u128) -> HoldId {
    HoldId { payment: PaymentId(Uuid::from_u128(number)), tender: 0 }
}

fn step(subject: u128, name: &str) -> Cause {
    let subject = Uuid::from_u128(subject);
    let command = step_id("test", subject, name);
    Cause::step(command, ACTOR, subject, command, NOON)
}

async fn rows(log: &FlakyLog) -> Vec<EventRow> {
    log.everything().await
}

/// Posted, held and available by the log alone.
async fn folded(log: &FlakyLog, id: AccountId) -> account::Account {
    use domain::Aggregate;
    let mut state = account::Account::default();
    let stream = account::Account::stream(TENANT, id);
    for row in rows(log).await.iter().filter(|row| row.stream == stream) {
        let domain::Fact::Account(_, event) = store::decode(row).unwrap() else { panic!("not an account's event") };
        state.evolve(&event, row.occurred_at);
    }
    state
}

async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(30)).await;
}
