//! A small log of two tenants, made by hand.

use domain::{
    ActorId, CommandId, Currency, DinerId, HoldId, Money, OrderId, StreamId, StreamKind, TenantId, Timestamp, account,
};
use uuid::Uuid;

use crate::{Append, EventStore, MemoryLog, Metadata, NewEvent, Position};

/// Noon of a day; times in tests are seconds after it.
pub(super) const NOON: Timestamp = Timestamp::from_seconds(1_795_435_200);

pub(super) fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

pub(super) fn tenant(number: u128) -> TenantId {
    TenantId(id(number))
}

pub(super) fn stream(of: u128, kind: StreamKind, key: u128) -> StreamId {
    StreamId { tenant: tenant(of), kind, key: id(key) }
}

pub(super) fn yuan(minor: i64) -> Money {
    Money::new(minor, "CNY".parse::<Currency>().unwrap())
}

pub(super) fn hold(order: u128) -> HoldId {
    HoldId { payment: OrderId(id(order)).payment(), tender: 0 }
}

pub(super) fn after_noon(seconds: i64) -> Timestamp {
    NOON.plus_seconds(seconds)
}

/// A log and how its events come to be.
pub(super) struct Made {
    pub(super) log: MemoryLog,
}

/// One command's events, as they are to be recorded.
pub(super) struct Entry {
    pub(super) stream: StreamId,
    pub(super) command: u128,
    pub(super) causation: Option<u128>,
    pub(super) correlation: u128,
    /// Seconds after noon.
    pub(super) occurred: i64,
    pub(super) recorded: i64,
}

impl Entry {
    pub(super) fn new(stream: StreamId, command: u128, correlation: u128, at: i64) -> Entry {
        Entry { stream, command, causation: None, correlation, occurred: at, recorded: at }
    }

    pub(super) fn caused_by(self, command: u128) -> Entry {
        Entry { causation: Some(command), ..self }
    }
}

impl Made {
    pub(super) fn new() -> Made {
        Made { log: MemoryLog::new() }
    }

    /// Records events of an aggregate; the position of the first.
    pub(super) async fn record<E: domain::Event>(&self, entry: Entry, events: &[E]) -> Position {
        let expected = self.log.versions(&[entry.stream]).await.unwrap()[0];
        let new =
            |event: &E| NewEvent { name: event.name(), schema_version: 1, payload: serde_json::to_vec(event).unwrap() };
        let metadata = Metadata {
            command: CommandId(id(entry.command)),
            digest: None,
            actor: ActorId(id(entry.command % 3)),
            correlation: id(entry.correlation),
            causation: entry.causation.map(|cause| CommandId(id(cause))),
            trace: None,
        };
        let append = Append {
            stream: entry.stream,
            expected,
            events: events.iter().map(new).collect(),
            metadata,
            occurred_at: after_noon(entry.occurred),
            snapshot: None,
        };
        self.log.append(vec![append], after_noon(entry.recorded)).await.unwrap().first
    }

    /// A wallet's deposit of one yuan: the plainest event there is.
    pub(super) async fn deposit(&self, of: u128, wallet: u128, number: u128, at: i64) -> Position {
        let wallet = stream(of, StreamKind::Wallet, wallet);
        let event =
            account::Event::Deposited { deposit: id(number), amount: yuan(100), source: domain::top_up::Source::Bank };
        self.record(Entry::new(wallet, number, number, at), &[event]).await
    }

    /// The wallet `7` of tenant 1 from its opening to a capture: versions 1 to 5 at positions 1, 2,
    /// 4, 5 and 6, between which stands one event of tenant 2.
    pub(super) async fn with_a_wallet() -> Made {
        use account::Event;
        let made = Made::new();
        let wallet = stream(1, StreamKind::Wallet, 7);
        let opened = [
            Event::Opened { currency: yuan(0).currency },
            Event::Deposited { deposit: id(70), amount: yuan(5_000), source: domain::top_up::Source::Bank },
        ];
        made.record(Entry::new(wallet, 70, 70, 0), &opened).await;
        made.deposit(2, 8, 80, 10).await;
        let held = Event::Held { hold: hold(90), amount: yuan(1_250), lot: None };
        made.record(Entry::new(wallet, 91, 90, 20), &[held]).await;
        let captured = Event::Captured { hold: hold(90), amount: yuan(1_250) };
        made.record(Entry::new(wallet, 92, 90, 30).caused_by(91), &[captured]).await;
        made.record(Entry { occurred: 25, ..Entry::new(wallet, 93, 93, 40) }, &[Event::Frozen]).await;
        made
    }
}

pub(super) fn wallet() -> StreamId {
    stream(1, StreamKind::Wallet, 7)
}

pub(super) fn diner() -> DinerId {
    DinerId(id(7))
}
