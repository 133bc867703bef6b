//! What a serving's kitchen still has to cook or hand over, oldest first.

use std::collections::BTreeMap;

use domain::{
    CanteenId, DinerId, DishId, Fact, OrderId, ServingId, TenantId, Timestamp,
    order::{self, LineCount, Placement, Selection},
};
use serde::{Deserialize, Serialize};
use store::{Position, Recorded};

use crate::{Json, PageSize, Poison, Projection, Row, Rows, TableSpec, ViewError, Views, args, column::words, row};

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
            | Fact::Books(..) => return Ok(()),
        };
        let key = (it.tenant, order_id);
        match event {
            Event::Placed(placement) => rows.create(ticket(it, order_id, placement)),
            Event::Confirmed => stage(&key, Stage::Confirmed, rows)?,
            Event::Preparing => stage(&key, Stage::Preparing, rows)?,
            Event::Readied { code } => {
                stage(&key, Stage::Ready, rows)?;
                let ticket = on_board(&key, rows)?;
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
            Event::RefundSettled { .. } => {}
        }
        Ok(())
    }
}

fn ticket(it: &Recorded, order_id: OrderId, placement: &Placement) -> Ticket {
    let lines = placement.lines.iter().map(|line| TicketLine {
        dish: line.dish,
        name: line.name.clone(),
        quantity: line.quantity,
        options: line.options.clone(),
    });
    Ticket {
        tenant: it.tenant,
        order_id,
        canteen: placement.canteen,
        serving: placement.serving,
        diner: placement.diner,
        placed: it.position,
        placed_at: it.occurred_at,
        stage: Stage::Waiting,
        lines: Json(lines.collect()),
        code: None,
        ready_at: None,
    }
}

fn on_board<'a>(key: &(TenantId, OrderId), rows: &'a mut Rows) -> Result<&'a mut Ticket, Poison> {
    rows.get_mut::<Ticket>(key).ok_or_else(|| Poison(format!("order {} is not on the board", key.1)))
}

fn stage(key: &(TenantId, OrderId), stage: Stage, rows: &mut Rows) -> Result<(), Poison> {
    on_board(key, rows)?.stage = stage;
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
    views
        .read(move |snapshot| {
            let mut tickets: Vec<Ticket> = snapshot.fetch(
                "WHERE tenant = ?1 AND serving = ?2 AND stage <> 'waiting' AND placed > ?3 ORDER BY placed LIMIT ?4",
                args![tenant, serving, after, page],
            )?;
            for ticket in &mut tickets {
                ticket.lines.retain(|line| line.quantity > 0);
            }
            Ok(tickets)
        })
        .await
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
