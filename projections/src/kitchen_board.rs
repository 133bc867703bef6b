//! What a serving's kitchen still has to cook or hand over, oldest first.

use std::collections::BTreeMap;

use domain::{
    CanteenId, DinerId, DishId, Fact, OrderId, ServingId, TenantId, Timestamp,
    order::{self, Line, LineCount, Placement, Selection},
};
use serde::{Deserialize, Serialize};
use store::{Position, Recorded};

use crate::{
    Json, PageSize, Poison, Projection, Row, Rows, Snapshot, TableSpec, ViewError, Views, args, column::words, row,
};

/// How far the kitchen is with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Not paid yet: the kitchen does not see it.
    Waiting,
    Confirmed,
    Preparing,
    Ready,
}

words! { Stage { Waiting = "waiting", Confirmed = "confirmed", Preparing = "preparing", Ready = "ready" } }

/// So many portions of a dish, as they are to be cooked. None are left of a line that was refunded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TicketLine {
    pub dish: DishId,
    pub name: String,
    pub quantity: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Selection>,
}

row! {
    /// An order on the board. It leaves it when it is picked up or ends otherwise.
    pub struct Ticket in "kitchen_board" {
        key { tenant: TenantId, order_id: OrderId }
        canteen: CanteenId,
        serving: ServingId,
        diner: DinerId,
        /// Of the event with which it was placed: the board's order.
        placed: Position,
        placed_at: Timestamp,
        stage: Stage,
        lines: Json<Vec<TicketLine>>,
        /// What the diner shows to get it, once it is ready.
        code: Option<String>,
        ready_at: Option<Timestamp>,
    }
    index "serving" on "(tenant, serving, placed) WHERE stage <> 'waiting'";
}

/// The projection.
pub struct KitchenBoard;

impl Projection for KitchenBoard {
    fn name(&self) -> &'static str {
        "kitchen_board"
    }

    fn version(&self) -> u32 {
        1
    }

    fn tables(&self) -> &'static [TableSpec] {
        &[Ticket::TABLE]
    }

    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison> {
        use order::Event;
        let (order_id, event) = match &it.fact {
            Fact::Order(order_id, event) => (*order_id, event),
            Fact::Menu(..)
            | Fact::Serving(..)
            | Fact::Payment(..)
            | Fact::Account(..)
            | Fact::Policy(..)
            | Fact::Grant(..)
            | Fact::Diner(..)
            | Fact::Books(..)
            | Fact::Invoice(..)
            | Fact::Correction(..)
            | Fact::TopUp(..)
            | Fact::Payout(..) => return Ok(()),
        };
        let key = (it.tenant, order_id);
        match event {
            Event::Placed(placement) => rows.create(ticket(it, order_id, placement)),
            Event::Confirmed => stage(&key, Stage::Confirmed, rows)?,
            Event::Preparing => stage(&key, Stage::Preparing, rows)?,
            Event::Readied { code } => {
                stage(&key, Stage::Ready, rows)?;
                let ticket = ticket_of(&key, rows)?;
                ticket.code = Some(code.clone());
                ticket.ready_at = Some(it.occurred_at);
            }
            // Also comes after the meal, when the order has left the board.
            Event::RefundBegun { lines, .. } => {
                if let Some(ticket) = rows.get_mut::<Ticket>(&key) {
                    take_off(ticket, lines);
                }
            }
            Event::Refused(_)
            | Event::Expired
            | Event::PickedUp { .. }
            | Event::NoShow { .. }
            | Event::Cancelled { .. } => {
                rows.delete::<Ticket>(&key);
            }
            Event::Changed(change) => ticket_of(&key, rows)?.lines = Json(ticket_lines(&change.lines)),
            Event::RefundSettled { .. }
            | Event::ChangeBegun { .. }
            | Event::ChangeRefused { .. }
            | Event::ChangeSettled { .. } => {}
        }
        Ok(())
    }
}

fn ticket(it: &Recorded, order_id: OrderId, placement: &Placement) -> Ticket {
    Ticket {
        tenant: it.tenant,
        order_id,
        canteen: placement.canteen,
        serving: placement.serving,
        diner: placement.diner,
        placed: it.position,
        placed_at: it.occurred_at,
        stage: Stage::Waiting,
        lines: Json(ticket_lines(&placement.lines)),
        code: None,
        ready_at: None,
    }
}

fn ticket_lines(lines: &[Line]) -> Vec<TicketLine> {
    let line = |line: &Line| TicketLine {
        dish: line.dish,
        name: line.name.clone(),
        quantity: line.quantity,
        options: line.options.clone(),
    };
    lines.iter().map(line).collect()
}

fn ticket_of<'a>(key: &(TenantId, OrderId), rows: &'a mut Rows) -> Result<&'a mut Ticket, Poison> {
    rows.get_mut::<Ticket>(key).ok_or_else(|| Poison(format!("order {} is not on the board", key.1)))
}

fn stage(key: &(TenantId, OrderId), stage: Stage, rows: &mut Rows) -> Result<(), Poison> {
    ticket_of(key, rows)?.stage = stage;
    Ok(())
}

fn take_off(ticket: &mut Ticket, refunded: &[LineCount]) {
    for count in refunded {
        if let Some(line) = ticket.lines.get_mut(usize::from(count.line)) {
            line.quantity = line.quantity.saturating_sub(count.quantity);
        }
    }
}

/// The orders that a serving's kitchen has to cook or hand over, oldest first, from after the one
/// placed at `after`. Lines that were refunded are left out.
pub async fn of_serving(
    views: &Views,
    tenant: TenantId,
    serving: ServingId,
    after: Option<Position>,
    page: PageSize,
) -> Result<Vec<Ticket>, ViewError> {
    let after = after.unwrap_or(0);
    views.read(move |snapshot| on_board(snapshot, tenant, serving, after, page.get())).await
}

pub(crate) fn on_board(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    serving: ServingId,
    after: Position,
    most: usize,
) -> Result<Vec<Ticket>, ViewError> {
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    let mut tickets: Vec<Ticket> = snapshot.fetch(
        "WHERE tenant = ?1 AND serving = ?2 AND stage <> 'waiting' AND placed > ?3 ORDER BY placed LIMIT ?4",
        args![tenant, serving, after, most],
    )?;
    for ticket in &mut tickets {
        ticket.lines.retain(|line| line.quantity > 0);
    }
    Ok(tickets)
}

/// The orders of a serving that are handed over to whoever shows `code`: usually one, but two may have the same. A
/// page of them, as [`of_serving`].
pub async fn of_code(
    views: &Views,
    tenant: TenantId,
    (serving, code): (ServingId, String),
    after: Option<Position>,
    page: PageSize,
) -> Result<Vec<Ticket>, ViewError> {
    let query = "WHERE tenant = ?1 AND serving = ?2 AND stage <> 'waiting' AND code = ?3 AND placed > ?4
                 ORDER BY placed LIMIT ?5";
    let after = after.unwrap_or(0);
    let mut tickets: Vec<Ticket> =
        views.read(move |snapshot| snapshot.fetch(query, args![tenant, serving, code, after, page])).await?;
    tickets.iter_mut().for_each(|ticket| ticket.lines.retain(|line| line.quantity > 0));
    Ok(tickets)
}

/// How many portions of each dish the kitchen has still to cook.
#[derive(Clone, Debug, PartialEq)]
pub struct ToCook {
    pub dish: DishId,
    pub name: String,
    pub portions: u64,
}

/// What is confirmed or in preparation, by dish, in the order of the dishes' names.
pub async fn to_cook(views: &Views, tenant: TenantId, serving: ServingId) -> Result<Vec<ToCook>, ViewError> {
    views
        .read(move |snapshot| {
            let sql = "SELECT lines FROM {kitchen_board} WHERE tenant = ?1 AND serving = ?2
                       AND stage IN ('confirmed', 'preparing')";
            let mut to_cook: BTreeMap<DishId, ToCook> = BTreeMap::new();
            for lines in snapshot.query(sql, args![tenant, serving], |row| row.get::<Json<Vec<TicketLine>>>(0))? {
                for TicketLine { dish, name, quantity, .. } in lines.0.into_iter().filter(|line| line.quantity > 0) {
                    let of_dish = to_cook.entry(dish).or_insert(ToCook { dish, name, portions: 0 });
                    of_dish.portions += u64::from(quantity);
                }
            }
            let mut to_cook: Vec<ToCook> = to_cook.into_values().collect();
            to_cook.sort_by(|one, other| one.name.cmp(&other.name));
            Ok(to_cook)
        })
        .await
}

/// A dish that the kitchen has still to prepare.
#[derive(Clone, Debug, PartialEq)]
pub struct Prep {
    pub dish: DishId,
    pub name: String,
    pub portions: u64,
    /// Most portions first; at most [`MAX_VARIANTS`].
    pub variants: Vec<Variant>,
}

/// Portions of a dish for which the same was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    pub options: Vec<Selection>,
    pub portions: u64,
}

/// Most variants of one dish that are told apart.
pub const MAX_VARIANTS: usize = 100;

/// What is confirmed or in preparation, by dish and by what was chosen, in the order of the dishes' names.
pub async fn prep_sheet(views: &Views, tenant: TenantId, serving: ServingId) -> Result<Vec<Prep>, ViewError> {
    views
        .read(move |snapshot| {
            let sql = "SELECT lines FROM {kitchen_board} WHERE tenant = ?1 AND serving = ?2
                       AND stage IN ('confirmed', 'preparing') ORDER BY placed";
            let lines = snapshot.query(sql, args![tenant, serving], |row| row.get::<Json<Vec<TicketLine>>>(0))?;
            Ok(prepared(lines.into_iter().flat_map(|lines| lines.0)))
        })
        .await
}

fn prepared(lines: impl Iterator<Item = TicketLine>) -> Vec<Prep> {
    let mut dishes: BTreeMap<DishId, Prep> = BTreeMap::new();
    for TicketLine { dish, name, quantity, mut options } in lines.filter(|line| line.quantity > 0) {
        // The same choices are the same dish, in whatever order they were made.
        options.sort_by(|one, other| (&one.group, &one.choice).cmp(&(&other.group, &other.choice)));
        let of = dishes.entry(dish).or_insert_with(|| Prep { dish, name, portions: 0, variants: vec![] });
        of.portions += u64::from(quantity);
        match of.variants.iter_mut().find(|variant| variant.options == options) {
            Some(variant) => variant.portions += u64::from(quantity),
            None => of.variants.push(Variant { options, portions: u64::from(quantity) }),
        }
    }
    let mut dishes: Vec<Prep> = dishes.into_values().collect();
    dishes.sort_by(|one, other| one.name.cmp(&other.name));
    for dish in &mut dishes {
        // Of as many portions the one that was ordered first.
        dish.variants.sort_by_key(|variant| std::cmp::Reverse(variant.portions));
        dish.variants.truncate(MAX_VARIANTS);
    }
    dishes
}
