//! Withdrawal: a serving stops selling a dish, or everything, and each order that had it is refunded.

use commands::{Cause, Failure, Interrupted};
use domain::{
    CommandId, DishId, Fact, OrderId, RefundId, ServingId, TenantId, order,
    serving::{self, Serving},
    step_id,
};
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use store::Metadata;

use crate::{Ordering, SAGA};

pub(crate) const NAME: &str = "withdrawal";
/// Orders that are refunded at once.
const AT_ONCE: usize = 32;

/// The withdrawals of one serving whose orders are being dealt with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Withdrawals {
    open: Vec<Withdrawal>,
}

/// Of a dish, or of everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Withdrawal {
    dish: Option<DishId>,
    orders: Vec<OrderId>,
}

impl Withdrawals {
    pub(crate) fn evolve(&mut self, fact: &Fact) {
        use serving::Event as S;
        let Fact::Serving(_, event) = fact else { return };
        match event {
            S::DishWithdrawn { dish, orders } => {
                self.open.push(Withdrawal { dish: Some(*dish), orders: orders.clone() });
            }
            S::Withdrawn { orders } => self.open.push(Withdrawal { dish: None, orders: orders.clone() }),
            S::WithdrawalSettled { dish } => self.open.retain(|open| open.dish != *dish),
            S::Published(_)
            | S::Reserved { .. }
            | S::Released { .. }
            | S::Widened { .. }
            | S::Narrowed { .. }
            | S::PortionsSet { .. }
            | S::PriceSet { .. } => {}
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    pub(crate) async fn carry_out(
        &self,
        ordering: &Ordering,
        tenant: TenantId,
        serving: ServingId,
    ) -> Result<(), Interrupted> {
        for withdrawal in &self.open {
            withdrawal.carry_out(ordering, tenant, serving).await?;
        }
        Ok(())
    }
}

impl Withdrawal {
    /// Tells every order; then the serving, that all have been told. Each part is repeatable.
    async fn carry_out(&self, ordering: &Ordering, tenant: TenantId, serving: ServingId) -> Result<(), Interrupted> {
        let what = self.dish.map_or_else(|| "all".to_owned(), |dish| dish.to_string());
        let told = stream::iter(self.orders.iter().copied())
            .map(|order| {
                let refund = RefundId::of_withdrawal(order, serving, self.dish);
                let command = order::Command::Withdraw { refund, dish: self.dish };
                // What creates a refund bears its id.
                let metadata = metadata(CommandId(refund.0), order.0);
                ordering.withdraw(tenant, order, command, metadata)
            })
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        told.into_iter().collect::<Result<(), _>>()?;
        let id = step_id(NAME, serving.0, &format!("settle/{what}"));
        let cause = Cause { metadata: metadata(id, serving.0), at: ordering.commands().now() };
        let command = serving::Command::SettleWithdrawal { dish: self.dish };
        match ordering.commands().execute::<Serving>(tenant, serving, command, cause).await {
            Err(Failure::Interrupted(interrupted)) => Err(interrupted),
            _ => Ok(()),
        }
    }
}

fn metadata(command: CommandId, correlation: uuid::Uuid) -> Metadata {
    Metadata { command, digest: None, actor: SAGA, correlation, causation: None, trace: None }
}
