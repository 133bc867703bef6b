//! Books are closed by command like anything else: durable, once, under a key.

use std::sync::Arc;

use domain::{
    Timestamp,
    books::{Error, Event, ReopenReason},
};
use jiff::civil::{Date, date};
use serde::Serialize;
use uuid::Uuid;

use super::{ACTOR, NOON, TENANT, commands_over, flaky::FlakyLog, rows};
use crate::{Failure, Request};

fn asked(mutation: &str, key: u128, input: &impl Serialize) -> Request {
    Request::new((TENANT, ACTOR), mutation, Uuid::from_u128(key), input, NOON)
}

/// The day that it is at noon, in Shanghai.
const TODAY: Date = date(2026, 11, 18);

#[tokio::test]
async fn periods_close_and_open_under_their_keys() {
    let log = Arc::new(FlakyLog::new());
    let commands = commands_over(&log);
    let close = |key, through: Date| commands.close_period(asked("closePeriod", key, &through), through);
    assert_eq!(close(1, TODAY).await.unwrap_err(), Failure::Refused(Error::NotOpen));
    commands.open_books(asked("openBooks", 1, &"Asia/Shanghai"), "Asia/Shanghai".into()).await.unwrap();

    let october = date(2026, 10, 31);
    let closed = close(2, october).await.unwrap();
    assert_eq!(*closed.events[0], Event::PeriodClosed { from: None, through: october });
    let again = close(2, october).await.unwrap();
    assert!(again.repeated && again.events == closed.events, "{again:?}");
    assert_eq!(close(2, TODAY).await.unwrap_err(), Failure::KeyReused);
    assert_eq!(close(3, october).await.unwrap().events, [], "under another key it is closed already");
    let tomorrow = TODAY.tomorrow().unwrap();
    let refused = close(4, tomorrow).await.unwrap_err();
    assert_eq!(refused, Failure::Refused(Error::NotYet { through: tomorrow, today: TODAY }));

    let books = commands.books(TENANT).await.unwrap();
    let late: Timestamp = "2026-10-31T15:00:00Z".parse().unwrap();
    assert!(matches!(books.takes(late), Err(Error::Closed { .. })));
    let reopen = commands.reopen_period(asked("reopenPeriod", 1, &october), october, ReopenReason::LateInvoice);
    assert_eq!(reopen.await.unwrap().events.len(), 1);
    assert_eq!(commands.books(TENANT).await.unwrap().takes(late), Ok(()));
    assert_eq!(rows(&log).await.len(), 3);
}

#[tokio::test]
async fn one_tenants_close_is_nothing_to_another() {
    let log = Arc::new(FlakyLog::new());
    let commands = commands_over(&log);
    let other = domain::TenantId(Uuid::from_u128(77));
    commands.open_books(asked("openBooks", 1, &"UTC"), "UTC".into()).await.unwrap();
    commands.close_period(asked("closePeriod", 2, &TODAY), TODAY).await.unwrap();
    assert_eq!(commands.books(other).await.unwrap().takes(NOON), Ok(()));
    assert!(commands.books(TENANT).await.unwrap().takes(NOON).is_err());
}
