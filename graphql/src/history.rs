//! What auditors read of the log: events by filter, what led to what, anything as it ever was.

use async_graphql::{
    ComplexObject, Context, ID, InputObject, Object, Result, SimpleObject,
    connection::{Connection, Edge},
};
use domain::{ActorId, CommandId, StreamId, TenantId};
use store::{
    EventRow, Position, Version,
    history::{self, At, BadFilter, Bounds, Direction, EventType, Filter, HistoryError, Span, Steps},
};

use crate::{
    caller::{Caller, caller},
    consistency::Masks,
    errors::{Code, Failed, coded},
    log_event::{self, LogEvent, StreamKind, number},
    node, paging,
    scalars::{BigInt, DateTime, Uuid},
};

/// Events of the log that one page may look at.
const LOOKED_AT: u64 = 20_000;
/// Types that one filter may name.
const MAX_TYPES: usize = 50;
/// What one tree looks at and tells.
const TREE: Bounds = Bounds { window: 20_000, events: 1_000 };
/// Longest stream that is folded for an answer.
const MAX_FOLDED: Version = 100_000;

/// One stream.
#[derive(InputObject)]
struct StreamInput {
    /// What it is of.
    kind: StreamKind,
    /// Its UUID.
    key: Uuid,
}

/// Which events are meant: those to which everything that is given applies.
#[derive(InputObject, Default)]
struct EventFilter {
    /// Only of this stream. Nothing else is looked at then.
    stream: Option<StreamInput>,
    /// Only of streams of this kind.
    kind: Option<StreamKind>,
    /// Only of one of these types, such as order.Placed, or of an aggregate, such as order.
    types: Option<Vec<String>>,
    /// Only what this actor did.
    actor: Option<Uuid>,
    /// Only what this order, or other thing, led to.
    correlation: Option<Uuid>,
    /// Only what this command decided.
    command: Option<Uuid>,
    /// Only what occurred at this business time or later.
    occurred_from: Option<DateTime>,
    /// Only what occurred before this business time.
    occurred_to: Option<DateTime>,
    /// Only what the log took at this time or later. What lies before is not looked at.
    recorded_from: Option<DateTime>,
    /// Only what the log took before this time.
    recorded_to: Option<DateTime>,
    /// Only from this event on: a global id.
    from_event: Option<ID>,
    /// Only up to and with this event: a global id.
    to_event: Option<ID>,
}

impl EventFilter {
    fn read(self, masks: &Masks, tenant: TenantId) -> Result<Filter, Failed> {
        let types = self.types.unwrap_or_default();
        if types.len() > MAX_TYPES {
            return Err(coded(Code::BadInput, format!("a filter names at most {MAX_TYPES} types"))
                .in_chinese(format!("一个筛选最多列出 {MAX_TYPES} 种类型"))
                .at("types"));
        }
        let types = types.iter().map(|name| EventType::parse(name)).collect::<Result<_, _>>().map_err(bad)?;
        let position = |id: Option<ID>, field| id.map(|id| event_position(masks, tenant, &id, field)).transpose();
        let filter = Filter {
            tenant: Some(tenant),
            stream: self.stream.map(|stream| (stream.kind.into(), stream.key.0)),
            kind: self.kind.map(Into::into),
            types,
            actor: self.actor.map(|actor| ActorId(actor.0)),
            correlation: self.correlation.map(|id| id.0),
            command: self.command.map(|command| CommandId(command.0)),
            occurred: Span { from: self.occurred_from.map(|at| at.0), to: self.occurred_to.map(|at| at.0) },
            recorded: Span { from: self.recorded_from.map(|at| at.0), to: self.recorded_to.map(|at| at.0) },
            positions: Span { from: position(self.from_event, "fromEvent")?, to: position(self.to_event, "toEvent")? },
        };
        match (filter.positions.from, filter.positions.to) {
            // Without the numbers, which are not for tenants.
            (Some(from), Some(to)) if from > to => {
                Err(coded(Code::BadInput, "the first event lies behind the last; turn them round").at("fromEvent"))
            }
            _ => filter.check().map(|()| filter).map_err(bad),
        }
    }
}

fn bad(error: BadFilter) -> Failed {
    let field = match error.what {
        "type" => "types",
        "kind" => "kind",
        "occurred" => "occurredFrom",
        "recorded" => "recordedFrom",
        _ => "filter",
    };
    coded(Code::BadInput, error.why).at(field)
}

fn event_position(masks: &Masks, tenant: TenantId, id: &ID, field: &'static str) -> Result<Position, Failed> {
    let position = log_event::position(masks, tenant, id);
    position.ok_or_else(|| coded(Code::BadInput, "that is not the id of an event").at(field))
}

/// A failure without the numbers of the log, which would tell of other tenants.
fn failed(error: HistoryError) -> Failed {
    let at = |why: String| coded(Code::BadInput, why).at("at");
    match error {
        HistoryError::NotYet { occurred_at, recorded_at, .. } => {
            at(format!("it was not there yet: its first event occurred {occurred_at} and was recorded {recorded_at}"))
        }
        HistoryError::NoPosition { .. } => at("there is no such event".to_owned()),
        HistoryError::NoVersion { .. } | HistoryError::Zero | HistoryError::Future(_) => at(error.to_string()),
        HistoryError::NoStream(_) | HistoryError::NothingAbout { .. } => {
            coded(Code::NotFound, "there is no such thing")
        }
        HistoryError::Schema(_) | HistoryError::Unshowable { .. } => {
            tracing::error!(%error, "history cannot be told");
            coded(Code::Internal, "an event that this rests on cannot be read by this service")
        }
        HistoryError::Store(error) => {
            tracing::warn!(%error, "the log cannot be read");
            coded(Code::Unavailable, "the log does not answer; try again")
        }
    }
}

/// None for what does not exist, or is not the caller's.
fn known<T>(told: Result<T, HistoryError>) -> Result<Option<T>, Failed> {
    match told {
        Ok(told) => Ok(Some(told)),
        Err(HistoryError::NoStream(_) | HistoryError::NothingAbout { .. }) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// How far a page has looked.
#[derive(SimpleObject)]
pub(crate) struct Scanned {
    /// Where to go on, as `after`: everything before it was looked at, and a page may end there
    /// although it is not full, or empty. Null when everything was looked at.
    scanned_to: Option<String>,
}

/// A command and what it decided.
#[derive(SimpleObject)]
pub(crate) struct CausedCommand {
    /// The command's id.
    command: Uuid,
    /// Who gave it; the nil UUID for a process of the house.
    actor: Uuid,
    /// The command that led to it, if one is recorded.
    causation: Option<Uuid>,
    /// Whether what led to it was not found.
    is_orphan: bool,
    /// How many commands of the tree stand above it.
    depth: i32,
    /// The events that it decided, in their order.
    decided: Vec<LogEvent>,
}

/// All that belongs to one matter, each command behind the one that led to it.
#[derive(SimpleObject)]
pub(crate) struct CausationTree {
    /// What it is about.
    correlation: Uuid,
    /// In the order of a tree: each before those that it led to.
    commands: Vec<CausedCommand>,
    /// Whether everything since the matter began was looked at. Otherwise what happened long after
    /// may be missing.
    is_whole: bool,
}

/// A moment in the life of a thing: one of these.
#[derive(InputObject)]
struct MomentInput {
    /// After its event of this version.
    version: Option<BigInt>,
    /// When the log stood at this event: a global id.
    event: Option<ID>,
    /// When this was the business time: before the first of its events that occurred later.
    occurred: Option<DateTime>,
    /// When this was the log's time: what was known then.
    recorded: Option<DateTime>,
}

impl MomentInput {
    fn read(self, masks: &Masks, tenant: TenantId) -> Result<At, Failed> {
        match self {
            MomentInput { version: Some(BigInt(version)), event: None, occurred: None, recorded: None } => {
                let version = Version::try_from(version);
                version.map(At::Version).map_err(|_| coded(Code::BadInput, "versions begin at 1").at("at"))
            }
            MomentInput { version: None, event: Some(id), occurred: None, recorded: None } => {
                event_position(masks, tenant, &id, "at").map(At::Position)
            }
            MomentInput { version: None, event: None, occurred: Some(at), recorded: None } => Ok(At::Occurred(at.0)),
            MomentInput { version: None, event: None, occurred: None, recorded: Some(at) } => Ok(At::Recorded(at.0)),
            _ => Err(coded(Code::BadInput, "give exactly one of version, event, occurred and recorded").at("at")),
        }
    }
}

/// A thing as it was at a moment, folded from its events.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct AggregateState {
    /// What it is.
    kind: StreamKind,
    /// Its UUID.
    key: Uuid,
    /// How many events it had had.
    version: BigInt,
    /// JSON: `state` names what it was, `content` and `with` what it consisted of.
    state: String,
    /// The last of the events that made it so.
    last: LogEvent,
    #[graphql(skip)]
    stream: StreamId,
}

/// What one event changed.
#[derive(SimpleObject)]
pub(crate) struct StateChange {
    /// The event.
    event: LogEvent,
    /// Every place that it changed, in the order of their paths.
    places: Vec<ChangedPlace>,
}

/// One place of a state that was changed.
#[derive(SimpleObject)]
pub(crate) struct ChangedPlace {
    /// A JSON pointer into the state; in a list, where an item was put in or taken out.
    path: String,
    /// JSON; null where nothing was.
    old: Option<String>,
    /// JSON; null where nothing is any more.
    new: Option<String>,
}

impl From<history::Change> for ChangedPlace {
    fn from(change: history::Change) -> Self {
        let text = |value: serde_json::Value| value.to_string();
        ChangedPlace { path: change.path, old: change.old.map(text), new: change.new.map(text) }
    }
}

#[ComplexObject]
impl AggregateState {
    /// What each event changed, up to this state, the oldest first.
    async fn changes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins: an event's version.")] after: Option<String>,
    ) -> Result<Connection<String, StateChange>> {
        let caller = caller(ctx)?;
        let after = paging::cursor(after.as_deref(), |text| text.parse::<Version>().ok())?;
        let size = paging::size(first)?.get();
        let until = At::Version(self.last_version());
        let store = &**caller.commands().store();
        let mut steps = Steps::open(store, self.stream, until, caller.commands().now()).await.map_err(failed)?;
        steps.skip_to(after.unwrap_or(0)).await.map_err(failed)?;
        let mut connection = Connection::new(after.is_some_and(|after| after > 0), false);
        while connection.edges.len() < size {
            let Some(step) = steps.next().await.map_err(failed)? else { break };
            let (cursor, places) = (step.event.version.to_string(), step.changes.into_iter().map(Into::into).collect());
            let event = LogEvent::new(&caller.service.masks, step.event);
            connection.edges.push(Edge::new(cursor, StateChange { event, places }));
        }
        connection.has_next_page = !steps.is_done();
        Ok(connection)
    }
}

impl AggregateState {
    fn last_version(&self) -> Version {
        self.version.0.unsigned_abs()
    }
}

#[derive(Default)]
pub(crate) struct HistoryQuery;

#[Object]
impl HistoryQuery {
    /// Events of your tenant, in the order of the log. A page looks at a bounded part of the log:
    /// `scannedTo` says where to go on. For auditors.
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which are meant; all, if it is not said.")] filter: Option<EventFilter>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor, or scannedTo, after which the page begins.")] after: Option<String>,
        #[graphql(desc = "The newest first instead of the oldest.", default)] newest_first: bool,
    ) -> Result<Connection<String, LogEvent, Scanned>> {
        let caller = caller(ctx)?;
        let (tenant, masks) = (caller.tenant(), &caller.service.masks);
        let filter = filter.unwrap_or_default().read(masks, tenant)?;
        let size = paging::size(first)?.get();
        let after = paging::cursor(after.as_deref(), |text| masks.position(tenant, text))?;
        let direction = if newest_first { Direction::NewestFirst } else { Direction::OldestFirst };
        let store = &**caller.commands().store();
        let page = history::page(store, &filter, direction, after, (size, LOOKED_AT)).await;
        let page = page.map_err(|error| failed(error.into()))?;
        let scanned_to = page.next.map(|position| masks.token(tenant, position));
        let mut connection =
            Connection::with_additional_fields(after.is_some(), page.next.is_some(), Scanned { scanned_to });
        connection.edges.extend(page.events.into_iter().map(|row| {
            let cursor = masks.token(tenant, row.position);
            Edge::new(cursor, LogEvent::new(masks, row))
        }));
        Ok(connection)
    }

    /// One event; null when your tenant has none with that id. For auditors.
    async fn event(&self, ctx: &Context<'_>, #[graphql(desc = "Its global id.")] id: ID) -> Result<Option<LogEvent>> {
        let caller = caller(ctx)?;
        Ok(own_event(&caller, &id).await?.map(|row| LogEvent::new(&caller.service.masks, row)))
    }

    /// All that belongs to an order, to another matter, or to the same matter as an event: give one
    /// of the three. Null when there is nothing. For auditors.
    async fn causation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The global id of an order.")] order: Option<ID>,
        #[graphql(desc = "The correlation that its events bear.")] correlation: Option<Uuid>,
        #[graphql(desc = "The global id of an event that belongs to it.")] event: Option<ID>,
    ) -> Result<Option<CausationTree>> {
        let caller = caller(ctx)?;
        let (tenant, masks) = (caller.tenant(), &caller.service.masks);
        let (correlation, position) = match (order, correlation, event) {
            (Some(order), None, None) => match node::order(&order) {
                Some(order) => (order.0, None),
                None => return Ok(None),
            },
            (None, Some(correlation), None) => (correlation.0, None),
            (None, None, Some(event)) => match own_event(&caller, &event).await? {
                Some(row) => (row.metadata.correlation, Some(row.position)),
                None => return Ok(None),
            },
            _ => return Err(coded(Code::BadInput, "give exactly one of order, correlation and event").into()),
        };
        let told = history::tree(&**caller.commands().store(), tenant, correlation, position, TREE).await;
        Ok(known(told)?.map(|tree| CausationTree {
            correlation: tree.correlation.into(),
            is_whole: tree.is_whole,
            commands: tree.commands.into_iter().map(|command| caused(masks, command)).collect(),
        }))
    }

    /// A thing as it was at a moment, folded from its events; null when it has none. For auditors.
    async fn aggregate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What it is.")] kind: StreamKind,
        #[graphql(desc = "Its UUID: a menu's is its canteen's, a payment's its order's, a wallet's its diner's.")]
        key: Uuid,
        #[graphql(desc = "When; now, if it is not said.")] at: Option<MomentInput>,
    ) -> Result<Option<AggregateState>> {
        let caller = caller(ctx)?;
        let (tenant, masks) = (caller.tenant(), &caller.service.masks);
        let at = at.map_or(Ok(At::Latest), |at| at.read(masks, tenant))?;
        let store = &**caller.commands().store();
        let stream = StreamId { tenant, kind: kind.into(), key: key.0 };
        let versions = store.versions(&[stream]).await.map_err(|error| failed(error.into()))?;
        if versions.iter().any(|version| *version > MAX_FOLDED) {
            let most = format!("it has more than {MAX_FOLDED} events, too many to fold for an answer");
            let chinese = format!("它有超过 {MAX_FOLDED} 个事件，太多了，无法还原");
            return Err(coded(Code::TooComplex, most).in_chinese(chinese).into());
        }
        let folded = known(history::state_at(store, stream, at, caller.commands().now()).await)?;
        Ok(folded.map(|folded| AggregateState {
            kind,
            key,
            version: number(folded.last.version),
            state: folded.state.to_string(),
            last: LogEvent::new(masks, folded.last),
            stream,
        }))
    }
}

/// The caller's event with that id; none for a foreign one, an unknown one, or no id at all.
async fn own_event(caller: &Caller<'_>, id: &ID) -> Result<Option<EventRow>, Failed> {
    let Some(position) = log_event::position(&caller.service.masks, caller.tenant(), id) else { return Ok(None) };
    match history::event(&**caller.commands().store(), position).await {
        // A cursor of this tenant may stand at another's event.
        Ok(row) => Ok(Some(row).filter(|row| row.stream.tenant == caller.tenant())),
        Err(HistoryError::NoPosition { .. } | HistoryError::Zero) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

fn caused(masks: &Masks, command: history::Command) -> CausedCommand {
    CausedCommand {
        command: command.id.0.into(),
        actor: command.actor.0.into(),
        causation: command.causation.map(|cause| cause.0.into()),
        is_orphan: command.is_orphan,
        depth: i32::try_from(command.depth).unwrap_or(i32::MAX),
        decided: command.events.into_iter().map(|row| LogEvent::new(masks, row)).collect(),
    }
}
