//! Where each process stands, as a view: what is open after a crash, and what is due.
//! A process at rest has no row.

use std::sync::Arc;

use domain::{Fact, OrderId, ServingId, TenantId, Timestamp, account, serving};
use projections::{Json, Poison, Projection, Row, Rows, TableSpec, ViewError, Views, args, row};
use store::{Position, Recorded};

use crate::{Checkout, OpenCalls, Refunds, Saga, withdrawal::Withdrawals};

row! {
    /// A checkout that is under way.
    pub struct OpenCheckout in "checkouts" {
        key { tenant: TenantId, order_id: OrderId }
        state: Json<Checkout>,
        /// When it moves by itself; none when its next step can be taken at once.
        due_at: Option<Timestamp>,
        /// The event that moved it last.
        moved: Position,
    }
    index "due" on "(due_at)";
}

row! {
    /// An order with refunds under way.
    pub struct OpenRefunds in "refunds" {
        key { tenant: TenantId, order_id: OrderId }
        state: Json<Refunds>,
        /// Whether only a provider has a next step.
        waits: bool,
        moved: Position,
    }
}

row! {
    /// An order whose providers have something left to say.
    pub struct OpenTrades in "trades" {
        key { tenant: TenantId, order_id: OrderId }
        state: Json<OpenCalls>,
        moved: Position,
    }
}

row! {
    /// A serving with withdrawals under way.
    pub struct OpenWithdrawals in "withdrawals" {
        key { tenant: TenantId, serving: ServingId }
        state: Json<Withdrawals>,
        moved: Position,
    }
}

/// The order that a fact is about, for the processes of orders.
fn order_of(fact: &Fact) -> Option<OrderId> {
    match fact {
        Fact::Order(order, _) => Some(*order),
        Fact::Payment(payment, _) => Some(payment.order()),
        Fact::Serving(
            _,
            serving::Event::Reserved { order, .. }
            | serving::Event::Released { order, .. }
            | serving::Event::Widened { order, .. }
            | serving::Event::Narrowed { order, .. },
        ) => Some(*order),
        Fact::Account(
            _,
            account::Event::Held { hold, .. }
            | account::Event::Captured { hold, .. }
            | account::Event::Released { hold }
            | account::Event::Refunded { hold, .. }
            | account::Event::RefundLapsed { hold, .. }
            | account::Event::RefundDiverted { hold, .. },
        ) => Some(hold.payment.order()),
        // No other event is about one order.
        Fact::Serving(..) | Fact::Account(..) | Fact::Menu(..) => None,
        Fact::Policy(..) | Fact::Grant(..) | Fact::Diner(..) | Fact::Books(..) | Fact::Invoice(..) => None,
        Fact::Correction(..) | Fact::TopUp(..) | Fact::Payout(..) => None,
    }
}

#[derive(Debug)]
struct Checkouts;

impl Projection for Checkouts {
    fn name(&self) -> &'static str {
        "checkouts"
    }

    fn version(&self) -> u32 {
        2
    }

    fn tables(&self) -> &'static [TableSpec] {
        &[OpenCheckout::TABLE]
    }

    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison> {
        let Some(order_id) = order_of(&it.fact) else { return Ok(()) };
        let (key, tenant, moved) = ((it.tenant, order_id), it.tenant, it.position);
        let idle = || OpenCheckout { tenant, order_id, state: Json::default(), due_at: None, moved };
        let row = rows.get_or_insert_with(&key, idle);
        row.state.evolve(&it.fact, it.occurred_at);
        (row.due_at, row.moved) = (row.state.due_at(), moved);
        if !row.state.is_open() {
            rows.delete::<OpenCheckout>(&key);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct RefundsUnderWay;

impl Projection for RefundsUnderWay {
    fn name(&self) -> &'static str {
        "refunds"
    }

    fn version(&self) -> u32 {
        2
    }

    fn tables(&self) -> &'static [TableSpec] {
        &[OpenRefunds::TABLE]
    }

    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison> {
        let Some(order_id) = order_of(&it.fact) else { return Ok(()) };
        let (key, tenant, moved) = ((it.tenant, order_id), it.tenant, it.position);
        // Most orders have none: that leaves no trace.
        let known = rows.get::<OpenRefunds>(&key).map(|row| row.state.clone());
        let was_open = known.is_some();
        let mut state = known.unwrap_or_default();
        state.evolve(&it.fact, it.occurred_at);
        if state.is_open() {
            let waits = state.waits();
            rows.put(OpenRefunds { tenant, order_id, state, waits, moved });
        } else if was_open {
            rows.delete::<OpenRefunds>(&key);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct TradesUnderWay;

impl Projection for TradesUnderWay {
    fn name(&self) -> &'static str {
        "trades"
    }

    fn version(&self) -> u32 {
        1
    }

    fn tables(&self) -> &'static [TableSpec] {
        &[OpenTrades::TABLE]
    }

    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison> {
        let Fact::Payment(payment, _) = &it.fact else { return Ok(()) };
        let (order_id, tenant, moved) = (payment.order(), it.tenant, it.position);
        let key = (tenant, order_id);
        // Most orders are paid without a provider: that leaves no trace.
        let known = rows.get::<OpenTrades>(&key).map(|row| row.state.clone());
        let was_open = known.is_some();
        let mut state = known.unwrap_or_default();
        state.evolve(&it.fact);
        if state.is_open() {
            rows.put(OpenTrades { tenant, order_id, state, moved });
        } else if was_open {
            rows.delete::<OpenTrades>(&key);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct WithdrawalsUnderWay;

impl Projection for WithdrawalsUnderWay {
    fn name(&self) -> &'static str {
        "withdrawals"
    }

    fn version(&self) -> u32 {
        1
    }

    fn tables(&self) -> &'static [TableSpec] {
        &[OpenWithdrawals::TABLE]
    }

    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison> {
        let Fact::Serving(
            serving,
            serving::Event::DishWithdrawn { .. }
            | serving::Event::Withdrawn { .. }
            | serving::Event::WithdrawalSettled { .. },
        ) = &it.fact
        else {
            return Ok(());
        };
        let known = rows.delete::<OpenWithdrawals>(&(it.tenant, *serving));
        let mut state = known.map(|row| row.state.0).unwrap_or_default();
        state.evolve(&it.fact);
        if state.is_open() {
            rows.put(OpenWithdrawals { tenant: it.tenant, serving: *serving, state: Json(state), moved: it.position });
        }
        Ok(())
    }
}

/// The processes' views, to be kept beside the others.
pub fn projections() -> Vec<Arc<dyn Projection>> {
    vec![Arc::new(Checkouts), Arc::new(RefundsUnderWay), Arc::new(TradesUnderWay), Arc::new(WithdrawalsUnderWay)]
}

/// What the follower looks at in one go.
#[derive(Debug, Default)]
pub(crate) struct Open {
    /// Orders whose processes can take a step, and the event that moved each last.
    pub(crate) orders: Vec<(TenantId, OrderId, Position)>,
    pub(crate) withdrawals: Vec<OpenWithdrawals>,
}

/// What is open and not waiting for somebody, the longest unmoved first; at most `limit` of each.
pub(crate) async fn open(views: &Views, now: Timestamp, limit: u32) -> Result<Open, ViewError> {
    views
        .read(move |snapshot| {
            let due = "WHERE due_at IS NULL OR due_at <= ?1 ORDER BY moved LIMIT ?2";
            let checkouts: Vec<OpenCheckout> = snapshot.fetch(due, args![now, limit])?;
            let can_go_on = "WHERE NOT waits ORDER BY moved LIMIT ?1";
            let refunds: Vec<OpenRefunds> = snapshot.fetch(can_go_on, args![limit])?;
            let withdrawals = snapshot.fetch("ORDER BY moved LIMIT ?1", args![limit])?;
            let checkouts = checkouts.into_iter().map(|row| (row.tenant, row.order_id, row.moved));
            let refunds = refunds.into_iter().map(|row| (row.tenant, row.order_id, row.moved));
            Ok(Open { orders: checkouts.chain(refunds).collect(), withdrawals })
        })
        .await
}

/// Orders with something open at a provider, from the first after `after` in the order of their ids; at
/// most `limit`.
pub(crate) async fn open_trades(
    views: &Views,
    after: (TenantId, OrderId),
    limit: u32,
) -> Result<Vec<(TenantId, OrderId)>, ViewError> {
    views
        .read(move |snapshot| {
            let next = "WHERE (tenant, order_id) > (?1, ?2) ORDER BY tenant, order_id LIMIT ?3";
            let rows: Vec<OpenTrades> = snapshot.fetch(next, args![after.0, after.1, limit])?;
            Ok(rows.into_iter().map(|row| (row.tenant, row.order_id)).collect())
        })
        .await
}

/// How many processes are open, those that wait for somebody included.
pub(crate) async fn count_open(views: &Views) -> Result<u64, ViewError> {
    views
        .read(|snapshot| {
            let sql = "SELECT (SELECT count(*) FROM {checkouts}) + (SELECT count(*) FROM {refunds}) \
                       + (SELECT count(*) FROM {trades}) \
                       + (SELECT count(*) FROM {withdrawals}) + (SELECT count(*) FROM {grant_runs} WHERE NOT finished) \
                       + (SELECT count(*) FROM {invoices} WHERE pending) \
                       + (SELECT count(*) FROM {top_ups} WHERE status = 'requested') \
                       + (SELECT count(*) FROM {payouts} WHERE under_way) \
                       + (SELECT count(*) FROM {corrections} WHERE status = 'applied')";
            let counts = snapshot.query(sql, &[], |row| row.get::<u64>(0))?;
            Ok(counts.into_iter().sum())
        })
        .await
}
