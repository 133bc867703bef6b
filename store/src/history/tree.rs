//! What led to what: the commands of one matter, each under the command that caused it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::{ActorId, CommandId, StreamId, StreamKind, TenantId};
use uuid::Uuid;

use super::{HistoryError, filter::Filter, scan, scan::Scan};
use crate::{EventRow, EventStore, Position};

/// How many events are looked at before and behind one that is known to belong to the matter but
/// stands far from its beginning.
const NEAR: u64 = 500;

/// How much is looked at and told of a matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Events that are looked at from the matter's beginning on.
    pub window: u64,
    /// Events of the tree, at most.
    pub events: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { window: 100_000, events: 10_000 }
    }
}

/// A command and the events that it decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    pub id: CommandId,
    pub actor: ActorId,
    /// The command that caused this one, if the log says that one did.
    pub causation: Option<CommandId>,
    /// What caused it is not among the commands that were found.
    pub is_orphan: bool,
    /// How many commands of the tree stand above it.
    pub depth: usize,
    /// In the log's order; at least one.
    pub events: Vec<EventRow>,
}

/// All commands of one matter.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    pub tenant: TenantId,
    pub correlation: Uuid,
    /// Each before those that it caused, and these in the log's order.
    pub commands: Vec<Command>,
    /// How many events were looked at to find them.
    pub looked_at: u64,
    /// Everything from the matter's beginning to the head was looked at, so nothing is missing.
    /// Otherwise what happened far from all that was found may be.
    pub is_whole: bool,
}

/// The tree of a correlation: of an order, say, whose correlation is its own id.
///
/// The matter begins with the first event of the streams that bear its id as their key; without such
/// a stream, near the event `known`. From there [`Bounds::window`] events are looked at, and a few around each
/// later event of those streams.
pub async fn tree(
    store: &dyn EventStore,
    tenant: TenantId,
    correlation: Uuid,
    known: Option<Position>,
    bounds: Bounds,
) -> Result<Tree, HistoryError> {
    let Bounds { window, events } = bounds;
    let head = store.head().await?;
    let own = own_events(store, tenant, correlation, events).await?;
    let begin = match (own.keys().next(), known) {
        (Some(first), _) => *first,
        (None, Some(known)) => known.saturating_sub(window / 2).max(1),
        (None, None) => return Err(HistoryError::NothingAbout { tenant, about: correlation }),
    };
    let begins_there = !own.is_empty() || begin == 1;
    let windows = windows(begin, window, own.keys().copied().chain(known), head);
    let mut found = own;
    found.retain(|_, row| row.metadata.correlation == correlation);
    let mut looked_at = 0;
    let mut is_whole = begins_there && windows.first().is_some_and(|(_, end)| *end >= head);
    for (from, to) in windows {
        let mut filter = Filter { tenant: Some(tenant), correlation: Some(correlation), ..Filter::default() };
        (filter.positions.from, filter.positions.to) = (Some(from), Some(to));
        let mut scan = Scan::open(store, filter, scan::Direction::OldestFirst, None).await?;
        while let Some(rows) = scan.next(scan::BATCH).await? {
            found.extend(rows.into_iter().map(|row| (row.position, row)));
            if found.len() > events {
                break;
            }
        }
        looked_at += scan.looked_at();
    }
    if found.is_empty() {
        return Err(HistoryError::NothingAbout { tenant, about: correlation });
    }
    is_whole &= found.len() <= events;
    let commands = arranged(found.into_values().take(events));
    Ok(Tree { tenant, correlation, commands, looked_at, is_whole })
}

/// Tenant, correlation and first event of a command, found by looking through the log; none when no
/// event is its.
pub async fn of_command(store: &dyn EventStore, command: CommandId) -> Result<Option<EventRow>, HistoryError> {
    let filter = Filter { command: Some(command), ..Filter::default() };
    let mut scan = Scan::open(store, filter, scan::Direction::OldestFirst, None).await?;
    while let Some(rows) = scan.next(scan::BATCH).await? {
        if let Some(row) = rows.into_iter().next() {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

/// The events of the streams that bear the matter's id: an order's and its payment's, say.
async fn own_events(
    store: &dyn EventStore,
    tenant: TenantId,
    key: Uuid,
    limit: usize,
) -> Result<BTreeMap<Position, EventRow>, HistoryError> {
    let mut events = BTreeMap::new();
    for kind in StreamKind::ALL {
        let rows = store.read_stream(StreamId { tenant, kind, key }, 1, limit).await?;
        events.extend(rows.into_iter().map(|row| (row.position, row)));
    }
    Ok(events)
}

/// Spans of positions to look at: `window` events from `begin` on, and [`NEAR`] ones around each
/// known one. They do not overlap, and lie within the log.
fn windows(
    begin: Position,
    window: u64,
    known: impl Iterator<Item = Position>,
    head: Position,
) -> Vec<(Position, Position)> {
    let end = begin.saturating_add(window.max(1) - 1).min(head);
    let mut windows = vec![(begin, end)];
    let known: BTreeSet<Position> = known.collect();
    for position in known {
        let last = windows.last_mut();
        match last {
            Some((_, end)) if position <= *end => {}
            Some((_, end)) if position.saturating_sub(NEAR) <= *end + 1 => *end = (position + NEAR).min(head),
            _ => windows.push((position.saturating_sub(NEAR).max(1), (position + NEAR).min(head))),
        }
    }
    windows
}

/// Groups events by command and puts each command under its cause.
fn arranged(events: impl Iterator<Item = EventRow>) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    let mut index: HashMap<CommandId, usize> = HashMap::new();
    for event in events {
        let metadata = event.metadata;
        let at = *index.entry(metadata.command).or_insert_with(|| {
            commands.push(Command {
                id: metadata.command,
                actor: metadata.actor,
                causation: metadata.causation,
                is_orphan: false,
                depth: 0,
                events: vec![],
            });
            commands.len() - 1
        });
        commands[at].events.push(event);
    }
    let mut children: Vec<Vec<usize>> = vec![vec![]; commands.len()];
    let mut roots = Vec::new();
    for (at, command) in commands.iter_mut().enumerate() {
        match command.causation.map(|cause| index.get(&cause).copied()) {
            Some(Some(cause)) if cause != at => children[cause].push(at),
            Some(_) => {
                command.is_orphan = true;
                roots.push(at);
            }
            None => roots.push(at),
        }
    }
    let mut order = Vec::with_capacity(commands.len());
    let mut seen = vec![false; commands.len()];
    // Commands that caused each other in a circle, as only damage could make them, stand under no
    // root: the first of each circle is then shown as an orphan.
    for root in roots.into_iter().chain(0..commands.len()) {
        if !seen[root] && commands[root].causation.is_some() {
            commands[root].is_orphan = true;
        }
        let mut waiting = vec![(root, 0)];
        while let Some((at, depth)) = waiting.pop() {
            if std::mem::replace(&mut seen[at], true) {
                continue;
            }
            commands[at].depth = depth;
            order.push(at);
            waiting.extend(children[at].iter().rev().map(|child| (*child, depth + 1)));
        }
    }
    let mut commands: Vec<Option<Command>> = commands.into_iter().map(Some).collect();
    order.into_iter().filter_map(|at| commands[at].take()).collect()
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
