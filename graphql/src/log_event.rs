//! An event of the log as auditors see it, and how one names it.
//!
//! A position would tell one tenant how much the others order, so an event's id and every cursor
//! holds it masked for its tenant.

use async_graphql::{Enum, ID, SimpleObject};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{TenantId, postings::postings};
use store::{EventRow, Position, Recorded};

use crate::{
    consistency::Masks,
    scalars::{BigInt, DateTime, Money, Uuid},
};

/// A kind of stream: what its events are about.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::StreamKind")]
pub(crate) enum StreamKind {
    /// A canteen's dishes; the key is the canteen's.
    Menu,
    /// One meal of one day at one canteen.
    Serving,
    /// What a diner asked of a serving.
    Order,
    /// How an order is paid; the key is the order's.
    Payment,
    /// A diner's own money; the key is the diner's.
    Wallet,
    /// What a company gives a diner to eat for; the key is the diner's.
    Subsidy,
    /// A company's funds.
    Company,
    /// What a company grants its diners, and on what terms.
    Policy,
    /// A run of grants.
    Grant,
    /// Who employs a diner; the key is the diner's.
    Diner,
    /// The periods of the books; the key is the tenant's.
    Books,
    /// What a company was asked for.
    Invoice,
    /// What finance proposes to put right in the books.
    Correction,
    /// Money that comes into an account.
    TopUp,
    /// Money that an account's owner takes out.
    Payout,
}

/// The events of one thing, in their order.
#[derive(SimpleObject)]
pub(crate) struct Stream {
    /// What it is.
    kind: StreamKind,
    /// Its UUID.
    key: Uuid,
}

/// What an event did to one account of the books.
#[derive(SimpleObject)]
pub(crate) struct EventPosting {
    /// The account of the books, such as prepaid or wallet:….
    account: String,
    /// A credit is positive, a debit negative.
    amount: Money,
}

/// Something that happened, as it was recorded for ever.
#[derive(SimpleObject)]
pub(crate) struct LogEvent {
    /// Its global id.
    #[graphql(owned)]
    id: ID,
    /// Such as order.Placed.
    #[graphql(name = "type")]
    event_type: String,
    /// The version of the type's schema in which it was recorded.
    schema_version: i32,
    /// What it happened to.
    stream: Stream,
    /// Its number among the events of its stream, from 1.
    version: BigInt,
    /// JSON, byte for byte as it was recorded.
    payload: String,
    /// Whether this service can read it; otherwise it is of a newer one, or damaged.
    readable: bool,
    /// What it did to the books; nothing, for most.
    books: Vec<EventPosting>,
    /// The business time, by which the books are kept.
    occurred_at: DateTime,
    /// When the log took it.
    recorded_at: DateTime,
    /// The command that decided it.
    command: Uuid,
    /// A hash of what the caller sent, in hexadecimal; null for a process's own command.
    digest: Option<String>,
    /// Who gave the command; the nil UUID for a process of the house.
    actor: Uuid,
    /// What the whole chain is about: an order's UUID, for example.
    correlation: Uuid,
    /// The command that led to this one, if one is recorded.
    causation: Option<Uuid>,
    /// The W3C trace id of the request, in hexadecimal.
    trace: Option<String>,
}

impl LogEvent {
    pub(crate) fn new(masks: &Masks, row: EventRow) -> Self {
        let recorded = Recorded::decode(&row);
        let books = recorded.as_ref().map(|recorded| postings(&recorded.fact)).unwrap_or_default();
        let book = |posting: domain::postings::Posting| EventPosting {
            account: posting.account.to_string(),
            amount: posting.amount.into(),
        };
        let (tenant, metadata) = (row.stream.tenant, row.metadata);
        LogEvent {
            id: event_id(masks, tenant, row.position),
            event_type: row.event_type.to_string(),
            schema_version: i32::from(row.schema_version),
            stream: Stream { kind: row.stream.kind.into(), key: row.stream.key.into() },
            version: number(row.version),
            payload: String::from_utf8_lossy(&row.payload).into_owned(),
            readable: recorded.is_ok(),
            books: books.into_iter().map(book).collect(),
            occurred_at: row.occurred_at.into(),
            recorded_at: row.recorded_at.into(),
            command: metadata.command.0.into(),
            digest: metadata.digest.map(|digest| hex(&digest)),
            actor: metadata.actor.0.into(),
            correlation: metadata.correlation.into(),
            causation: metadata.causation.map(|command| command.0.into()),
            trace: metadata.trace.map(|trace| hex(&trace)),
        }
    }
}

/// A count as GraphQL has it.
pub(crate) fn number(count: u64) -> BigInt {
    BigInt(i64::try_from(count).unwrap_or(i64::MAX))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The global id of the tenant's event at `position`: the base64url of `Event:` and the mask.
fn event_id(masks: &Masks, tenant: TenantId, position: Position) -> ID {
    ID(URL_SAFE_NO_PAD.encode(format!("Event:{}", masks.token(tenant, position))))
}

/// The position of an event by its global id; none for a text that is no id of this tenant's.
pub(crate) fn position(masks: &Masks, tenant: TenantId, id: &ID) -> Option<Position> {
    if id.len() > 100 {
        return None;
    }
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(id.as_str()).ok()?).ok()?;
    masks.position(tenant, text.strip_prefix("Event:")?)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_id_is_worth_something_only_to_its_tenant() {
        let masks = Masks::new([7; 32]);
        let (ours, theirs) = (TenantId(Uuid::from_u128(1)), TenantId(Uuid::from_u128(2)));
        let id = event_id(&masks, ours, 41);
        assert_eq!(position(&masks, ours, &id), Some(41));
        assert_eq!(position(&masks, theirs, &id), None);
        let token = masks.token(ours, 41);
        for rubbish in ["", "41", &token, &URL_SAFE_NO_PAD.encode("Event:41"), &"x".repeat(500)] {
            assert_eq!(position(&masks, ours, &ID(rubbish.to_owned())), None, "{rubbish}");
        }
    }
}
