//! Trades: what providers are asked, and what becomes of their answers.
//!
//! The payment states each intent before the call, and each call is made under a number that follows from
//! the intent. An answer, a notification and a query say the same thing in the end, so whichever comes
//! first is recorded and the others change nothing. Where nobody answers the outcome is unknown, and is
//! queried until it is not.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use commands::{Cause, Failure, Finished, Interrupted};
use domain::{
    CommandId, Fact, OrderId, TenantId, Timestamp,
    order::{self, Order},
    payment::{self, Payment, Sheet, Source},
    step_id,
    trade::{Call, PayBackNumber, TradeNumber},
};
use providers::{CallError, Handle, Notification, PaymentProvider, Return, Returning, Standing, Trade};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{Ordering, SAGA, ordering::answered};

/// How long a provider has for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long a handle is kept at hand, and most that are.
const KEPT_FOR: Duration = Duration::from_secs(60);
const MAX_HANDLES: usize = 10_000;
/// A trade that its provider does not know may still be made by a diner who scans its code, until so many
/// seconds after it expires.
const GRACE_SECONDS: i64 = 120;
/// Most rounds of asking and recording in one go: a payment that is closed too late, and paid back, has two.
const MAX_ROUNDS: usize = 4;

/// What is open with providers, of one payment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OpenCalls {
    trades: Vec<u8>,
    pay_backs: Vec<PayBackNumber>,
}

impl OpenCalls {
    pub(crate) fn evolve(&mut self, fact: &Fact) {
        use payment::Event as P;
        let Fact::Payment(_, event) = fact else { return };
        match event {
            P::Asked { tender, .. } => self.trades.push(*tender),
            P::Paid { tender, .. }
            | P::Mispaid { tender, .. }
            | P::Failed { tender, .. }
            | P::TradeClosed { tender } => {
                self.trades.retain(|open| open != tender);
            }
            P::PayBackAsked { number, .. } => self.pay_backs.push(*number),
            P::PaidBack { refund, tender, .. } | P::PayBackDiverted { refund, tender, .. } => {
                self.pay_backs.retain(|open| (open.refund, open.tender) != (*refund, *tender));
            }
            P::Started { .. }
            | P::Held
            | P::OutcomeUnknown { .. }
            | P::Captured
            | P::Released
            | P::RefundBegun { .. }
            | P::PayBackUnknown { .. }
            | P::RefundSettled { .. }
            | P::Extended { .. }
            | P::ExtensionCaptured { .. }
            | P::ExtensionGivenUp { .. } => {}
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.trades.is_empty() || !self.pay_backs.is_empty()
    }
}

/// Handles that providers gave a moment ago, so that a device that looks again and again does not have them
/// asked each time. What is forgotten here is asked for under the same number.
#[derive(Clone, Default)]
pub(crate) struct Handles(Arc<Mutex<Known>>);

/// What each order's provider gave, and when it was asked.
type Known = HashMap<(TenantId, OrderId), (Handle, Instant)>;

impl Handles {
    fn of(&self, key: (TenantId, OrderId)) -> Option<Handle> {
        let handles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        handles.get(&key).filter(|(_, since)| since.elapsed() < KEPT_FOR).map(|(handle, _)| handle.clone())
    }

    fn keep(&self, key: (TenantId, OrderId), handle: Handle) {
        let mut handles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if handles.len() >= MAX_HANDLES {
            handles.retain(|_, (_, since)| since.elapsed() < KEPT_FOR);
        }
        if handles.len() < MAX_HANDLES {
            handles.insert(key, (handle, Instant::now()));
        }
    }
}

/// What came of a call, to be recorded. None: there is nothing to say yet.
type Answer = Option<payment::Command>;

impl Ordering {
    /// Asks the providers of an order for what its payment waits for, and records their answers, until they
    /// have nothing new to say. Answers what a diner's device needs to pay, if `shown` is to be asked for.
    /// Nothing is done twice by being asked twice.
    pub(crate) async fn ask_providers(
        &self,
        tenant: TenantId,
        order: OrderId,
        shown: bool,
    ) -> Result<Option<Handle>, Interrupted> {
        let (mut asked, mut handle) = (Vec::new(), None);
        for _ in 0..MAX_ROUNDS {
            let open = |payment: &Payment| payment.sheet().is_ok_and(|sheet| !sheet.calls().is_empty());
            if !self.commands().look(tenant, order.payment(), open).await? {
                break;
            }
            let Some(sheet) = self.written_sheet(tenant, order).await?.value else { break };
            let calls: Vec<Call> = sheet.calls().into_iter().filter(|call| !asked.contains(call)).collect();
            if calls.is_empty() {
                break;
            }
            for call in calls {
                asked.push(call);
                let answer = match call {
                    Call::Collect { tender } => {
                        let (answer, code) = self.collect(tenant, &sheet, tender, shown).await;
                        handle = code.or(handle);
                        answer
                    }
                    Call::GiveUp { tender } => self.give_up(tenant, &sheet, tender).await,
                    Call::PayBack { number } => self.pay_back(tenant, &sheet, number).await,
                };
                if let Some(command) = answer {
                    self.record_answer(tenant, order, command).await?;
                }
            }
        }
        if let Some(handle) = &handle {
            self.handles.keep((tenant, order), handle.clone());
        }
        Ok(handle)
    }

    /// A payment with all that it rests on durable: a provider is asked only for what the log has.
    async fn written_sheet(&self, tenant: TenantId, order: OrderId) -> Result<Finished<Option<Sheet>>, Interrupted> {
        let sheet = |payment: &Payment| payment.sheet().ok().cloned();
        self.commands().pipelined_here(1, || self.commands().look(tenant, order.payment(), sheet)).await
    }

    /// What the diner's device needs to pay an order that waits for it; none if it does not wait for a
    /// provider. A repeat gives the same.
    pub async fn handle(&self, tenant: TenantId, order: OrderId) -> Result<Option<Handle>, Interrupted> {
        let waits = self.commands().look(tenant, order, |order: &Order| matches!(order, Order::Placed(_))).await?;
        if !waits {
            return Ok(None);
        }
        match self.handles.of((tenant, order)) {
            Some(handle) => Ok(Some(handle)),
            None => self.ask_providers(tenant, order, true).await,
        }
    }

    /// What a provider said by itself, once it is verified. A repeat changes nothing. An order that is not
    /// there is not an error: it is the provider's to stop telling.
    pub async fn provider_notified(&self, notification: Notification) -> Result<(), Interrupted> {
        let (tenant, order, answer) = match notification {
            Notification::Trade { tenant, number, standing } => {
                (tenant, number.payment.order(), of_standing(number.tender, standing))
            }
            Notification::Return { tenant, payment, number, returning } => {
                (tenant, payment.order(), of_returning(number, returning))
            }
        };
        let Some(command) = answer else { return Ok(()) };
        self.record_answer(tenant, order, command).await?;
        // It may have come too late, and has to go back.
        self.ask_providers(tenant, order, false).await.map(drop)
    }

    fn trade(&self, tenant: TenantId, sheet: &Sheet, tender: u8) -> Option<(&dyn PaymentProvider, Trade)> {
        let paid_from = sheet.tenders.get(usize::from(tender))?;
        let Source::External(provider) = paid_from.source else { return None };
        let Some(port) = self.providers.get(provider) else {
            tracing::error!(provider = provider.name(), order = %sheet.order, "a provider's payment is open, and there is no way to ask it");
            return None;
        };
        let number = TradeNumber { payment: sheet.order.payment(), tender };
        let expires_at = sheet.asked_until.unwrap_or(Timestamp::EPOCH);
        Some((port.as_ref(), Trade { tenant, number, amount: paid_from.amount, expires_at }))
    }

    /// Asks for money, or how it stands. Only what its provider does not know is refused for good: a refusal
    /// of a repeat says nothing about the first time.
    async fn collect(&self, tenant: TenantId, sheet: &Sheet, tender: u8, shown: bool) -> (Answer, Option<Handle>) {
        let Some((port, trade)) = self.trade(tenant, sheet, tender) else { return (None, None) };
        let known = if shown { Ok(Standing::NoTrade) } else { within(port.query(&trade)).await };
        let heard = match known {
            Ok(Standing::NoTrade) => within(port.collect(&trade)).await,
            known => known,
        };
        let heard = match heard {
            Err(CallError::Refused { code }) => match within(port.query(&trade)).await {
                Ok(Standing::NoTrade) => return (Some(payment::Command::RecordFailed { tender, code }), None),
                known => known,
            },
            heard => heard,
        };
        match heard {
            Ok(Standing::Waiting(handle)) => (None, handle),
            Ok(standing) => (of_standing(tender, standing), None),
            Err(error) => {
                tracing::warn!(%error, number = %trade.number, "a provider did not say how a payment stands; asking on");
                (Some(payment::Command::RecordUnknown { tender }), None)
            }
        }
    }

    /// The order is dead.
    async fn give_up(&self, tenant: TenantId, sheet: &Sheet, tender: u8) -> Answer {
        let (port, trade) = self.trade(tenant, sheet, tender)?;
        match within(port.close(&trade)).await {
            Ok(Standing::NoTrade) => {
                let over = self.commands().now() >= trade.expires_at.plus_seconds(GRACE_SECONDS);
                over.then_some(payment::Command::RecordClosed { tender })
            }
            Ok(standing) => of_standing(tender, standing),
            Err(error) => {
                tracing::warn!(%error, number = %trade.number, "a payment could not be closed; trying on");
                None
            }
        }
    }

    async fn pay_back(&self, tenant: TenantId, sheet: &Sheet, number: PayBackNumber) -> Answer {
        let amount = sheet.pay_back(number)?.amount;
        let (port, trade) = self.trade(tenant, sheet, number.tender)?;
        let back = Return { tenant, trade: trade.number, number, amount, of: trade.amount };
        let heard = match within(port.query_pay_back(&back)).await {
            Ok(Returning::NoReturn) => within(port.pay_back(&back)).await,
            known => known,
        };
        match heard {
            Ok(returning) => of_returning(number, returning),
            Err(error) => {
                tracing::warn!(%error, %number, "a provider did not say whether it gave money back; asking on");
                let (refund, tender) = (number.refund, number.tender);
                Some(payment::Command::RecordPayBackUnknown { refund, tender })
            }
        }
    }

    /// Records an answer and goes on with the order.
    async fn record_answer(
        &self,
        tenant: TenantId,
        order: OrderId,
        command: payment::Command,
    ) -> Result<(), Interrupted> {
        let now = self.commands().now();
        let recorded = self.chained::<(), order::Error, _, _>(order, move |ordering| {
            let command = command.clone();
            async move {
                // The same answer is the same command, however often and from wherever it comes.
                let id = step_id("trade", order.0, &format!("{command:?}"));
                let cause = Cause::step(id, SAGA, order.0, CommandId(order.0), now);
                let recorded = ordering.commands().execute::<Payment>(tenant, order.payment(), command, cause).await;
                match answered(recorded)? {
                    Ok(_) => ordering.resume(&ordering.driver_at(tenant, order, now)).await?,
                    Err(error) => {
                        tracing::error!(%error, %order, "what a provider says does not fit what it was asked")
                    }
                }
                Ok(Ok(()))
            }
        });
        match recorded.await {
            Err(Failure::Interrupted(interrupted)) => Err(interrupted),
            _ => Ok(()),
        }
    }
}

async fn within<T>(call: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
    let late = || CallError::Unknown { why: format!("no answer within {} seconds", ANSWER_WITHIN.as_secs()) };
    tokio::time::timeout(ANSWER_WITHIN, call).await.unwrap_or_else(|_| Err(late()))
}

fn of_standing(tender: u8, standing: Standing) -> Answer {
    match standing {
        Standing::Paid { amount, transaction } => {
            Some(payment::Command::RecordReceived { tender, amount, transaction })
        }
        Standing::Closed => Some(payment::Command::RecordClosed { tender }),
        Standing::Waiting(_) | Standing::NoTrade => None,
    }
}

fn of_returning(number: PayBackNumber, returning: Returning) -> Answer {
    let PayBackNumber { refund, tender } = number;
    match returning {
        Returning::Done => Some(payment::Command::RecordPaidBack { refund, tender }),
        Returning::Impossible => Some(payment::Command::DivertPayBack { refund, tender }),
        Returning::Processing | Returning::NoReturn => None,
    }
}
