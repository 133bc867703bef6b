//! Takes the steps of a process, one after the other, within the chain that it is called in.

use std::sync::Arc;

use commands::{Cause, Commands, Failure, Hosted, Interrupted, Outcome};
use domain::{
    AccountId, CommandId, Fact, HoldId, OrderId, RefundId, TenantId, Timestamp,
    account::{self, Account},
    order::Order,
    payment::{self, MAX_TENDERS_EXTENDED, Payment, Provider},
    serving::{self, Reserved, Serving},
    step_id,
};

use crate::{
    SAGA, Saga,
    booked::booked_long_ago,
    step::{Next, Refused, Step},
};

/// More steps than any process has: each tender takes one to be held or asked, one to be taken, and one to go back.
const MAX_STEPS: usize = 3 * MAX_TENDERS_EXTENDED + 32;

/// What came of a step.
enum Taken {
    /// These facts, now or the first time.
    Facts(Vec<Fact>),
    Refused(Refused),
}

/// Drives processes of one order of one tenant.
pub(crate) struct Driver<'a> {
    pub(crate) commands: &'a Commands,
    pub(crate) tenant: TenantId,
    pub(crate) order: OrderId,
    pub(crate) now: Timestamp,
}

impl Driver<'_> {
    /// Takes steps until the process has none to take now.
    pub(crate) async fn drive<S: Saga>(&self, saga: &mut S) -> Result<(), Interrupted> {
        for _ in 0..MAX_STEPS {
            let Some(next) = saga.next(self.now) else { return Ok(()) };
            let at = saga.step_time(self.now);
            let facts = match self.take::<S>(&next, at).await? {
                Taken::Facts(facts) => facts,
                Taken::Refused(refused) => match saga.after_refusal(&next, &refused) {
                    None => {
                        tracing::debug!(saga = S::NAME, step = next.name, ?refused, "a step has to wait");
                        return Ok(());
                    }
                    Some(answer) => match self.take::<S>(&answer, at).await? {
                        Taken::Facts(facts) => facts,
                        // The order has taken another turn meanwhile; its events say which.
                        Taken::Refused(_) => return Ok(()),
                    },
                },
            };
            let before = saga.clone();
            for fact in &facts {
                saga.evolve(fact, at);
            }
            if *saga == before {
                // Somebody else took this step under another name: the log will tell.
                return Ok(());
            }
        }
        tracing::error!(saga = S::NAME, order = %self.order, "a process does not come to an end");
        Ok(())
    }

    async fn take<S: Saga>(&self, next: &Next, at: Timestamp) -> Result<Taken, Interrupted> {
        let began = CommandId(next.refund.map_or(self.order.0, |refund| refund.0));
        let id = (step_id(S::NAME, self.order.0, &next.name), began);
        match next.step.clone() {
            Step::Order(order, command) => self.give::<Order>(order, command, id, at, Refused::Order).await,
            Step::Serving(serving, command) => self.give::<Serving>(serving, command, id, at, Refused::Serving).await,
            Step::Payment(payment, command) => self.give::<Payment>(payment, command, id, at, Refused::Payment).await,
            Step::Account(account, command) => self.give::<Account>(account, command, id, at, Refused::Account).await,
            Step::StartPayment { order, diner, serving, total, terms } => {
                let tenders = match self.tenders(diner, serving, total, terms).await? {
                    Ok(tenders) => tenders,
                    Err(short) => return Ok(Taken::Refused(Refused::Insufficient { short })),
                };
                let command = payment::Command::Start { order, diner, total, tenders };
                self.give::<Payment>(order.payment(), command, id, at, Refused::Payment).await
            }
            Step::Hold { hold, source, amount, serving } => {
                let Some(account) = source.account() else { return Ok(Taken::Facts(vec![])) };
                let from = match source.lot() {
                    Some(lot) => self.place_of(serving, at).await?.map(|place| (lot, place.of)),
                    None => None,
                };
                let command = account::Command::Hold { hold, amount, from };
                self.give::<Account>(account, command, id, at, Refused::Account).await
            }
            Step::ReleasePortions(order) => {
                let serving = self.look(order, |order: &Order| order.ticket().map(|t| t.placed.serving)).await?;
                let Some(serving) = serving else { return Ok(Taken::Facts(vec![])) };
                let command = serving::Command::Release { order };
                self.give::<Serving>(serving, command, id, at, Refused::Serving).await
            }
            Step::GiveBack { payment, refund, part, from } => {
                let source = |payment: &Payment| {
                    let sheet = payment.sheet().ok()?;
                    sheet.tenders.get(usize::from(part.tender)).map(|tender| tender.source)
                };
                let Some(source) = self.look(payment, source).await? else { return Ok(Taken::Facts(vec![])) };
                match source.account() {
                    Some(account) => {
                        let booked = self.given_back(refund, account, id.0).await?;
                        if !booked.is_empty() {
                            return Ok(Taken::Facts(booked));
                        }
                        let (hold, lot) = (HoldId { payment, tender: part.tender }, source.lot());
                        let command = account::Command::Refund { refund, hold, amount: part.amount, from, lot };
                        self.give::<Account>(account, command, id, at, Refused::Account).await
                    }
                    None => {
                        let (tender, remote) = (part.tender, source.provider().is_some_and(Provider::is_remote));
                        let command = if remote {
                            payment::Command::AskPayBack { refund, tender }
                        } else {
                            payment::Command::RecordPaidBack { refund, tender }
                        };
                        self.give::<Payment>(payment, command, id, at, Refused::Payment).await
                    }
                }
            }
        }
    }

    /// What a step of a refund credited to an account that may have forgotten it: a refund is open for as long
    /// as a provider is with its part.
    async fn given_back(
        &self,
        refund: RefundId,
        account: AccountId,
        step: CommandId,
    ) -> Result<Vec<Fact>, Interrupted> {
        let begun = |order: &Order| Some(order.ticket()?.refunds.get(&refund)?.begun_at);
        let Some(begun_at) = self.look(self.order, begun).await? else { return Ok(vec![]) };
        let booked = booked_long_ago(self.commands, self.tenant, account, (step, begun_at)).await?;
        Ok(booked.into_iter().map(|event| Account::fact(account, event)).collect())
    }

    pub(crate) async fn look<A: Hosted, T>(
        &self,
        id: A::Id,
        look: impl FnOnce(&A) -> T + Send,
    ) -> Result<T, Interrupted> {
        self.commands.look(self.tenant, id, look).await
    }

    async fn give<A: Hosted>(
        &self,
        id: A::Id,
        command: A::Command,
        (command_id, began): (CommandId, CommandId),
        at: Timestamp,
        refused: impl FnOnce(A::Error) -> Refused,
    ) -> Result<Taken, Interrupted> {
        let cause = Cause::step(command_id, SAGA, self.order.0, began, at);
        match self.commands.execute::<A>(self.tenant, id, command, cause).await {
            Ok(outcome) if outcome.events.is_empty() => {
                // It was taken before, by this name or by another.
                let events = self.commands.recorded::<A>(self.tenant, id, command_id).await?;
                Ok(Taken::Facts(events.into_iter().map(|event| A::fact(id, event)).collect()))
            }
            Ok(outcome) => Ok(Taken::Facts(facts::<A>(id, outcome))),
            Err(Failure::Refused(error)) => Ok(Taken::Refused(refused(error))),
            Err(Failure::Interrupted(interrupted)) => Err(interrupted),
            // Steps carry no digest, so no key of theirs can be used twice.
            Err(Failure::KeyReused) => Ok(Taken::Facts(vec![])),
        }
    }

    /// The order, its payment, and what it has of its serving, as they stand.
    pub(crate) async fn states(&self) -> Result<(Order, Payment, Reserved), Interrupted> {
        let order = self.look(self.order, Order::clone).await?;
        let payment = self.look(self.order.payment(), Payment::clone).await?;
        let id = self.order;
        let reserved = match order.ticket() {
            None => Reserved::Nothing,
            Some(ticket) => {
                let of = |serving: &Serving| serving.book().map_or(Reserved::Nothing, |book| book.reservation_of(id));
                self.look(ticket.placed.serving, of).await?
            }
        };
        Ok((order, payment, reserved))
    }
}

/// The events of an outcome, as facts about `id`.
pub(crate) fn facts<A: Hosted>(id: A::Id, outcome: Outcome<A::Event>) -> Vec<Fact> {
    outcome.events.into_iter().map(|event| A::fact(id, Arc::unwrap_or_clone(event))).collect()
}
