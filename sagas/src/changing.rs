//! Changing what an order is for: reserve what it needs more, hold what it costs more, and change it. Then
//! give back what it does not need any more. What it costs less goes back as a refund.
//!
//! Every step can be repeated, and whoever goes on reads off the aggregates where it stands.

use commands::{Cause, Failure, Finished, Hosted, Interrupted, Request};
use domain::{
    AccountId, ChangeId, CommandId, HoldId, Money, OrderId, Timestamp,
    account::{self, Account},
    order::{self, Change, Line, Made, Order, Refusal, Ticket},
    payment::{self, ExtensionStage, Payment, Sheet, Source, Stage, Tender},
    serving::{self, PriceChange, Serving},
    step_id,
};

use crate::{
    NewLine, Ordering, PlaceError, SAGA,
    inline::Driver,
    ordering::{answered, refused},
};

const NAME: &str = "change";

/// A change that was taken down, with what its order was before.
struct Changer<'a> {
    driver: &'a Driver<'a>,
    ticket: Ticket,
    change: Change,
    /// When it was asked for: that is what the cut-off is held against, whoever goes on.
    at: Timestamp,
}

impl Ordering {
    /// Changes what a confirmed order is for, until the kitchen locks. What stays keeps its price. The diner's
    /// balances pay what it costs more; what it costs less goes back.
    ///
    /// [`Order::made_of`] the id of the request about the order says what came of it. [`PlaceError`] means that nothing was appended.
    pub async fn change_order(
        &self,
        request: Request,
        order: OrderId,
        wanted: Vec<NewLine>,
    ) -> Result<Finished<Order>, Failure<PlaceError>> {
        let request = request.about(order.0);
        self.chained(order, move |ordering| {
            let wanted = wanted.clone();
            async move { ordering.change(&request, order, &wanted).await }
        })
        .await
    }

    async fn change(
        &self,
        request: &Request,
        id: OrderId,
        wanted: &[NewLine],
    ) -> Result<Result<Order, Failure<PlaceError>>, Interrupted> {
        let driver = self.driver(request, id);
        // The checkout takes its money first; a change that is under way, perhaps this one, comes to its end.
        self.resume(&driver).await?;
        let captured = |payment: &Payment| payment.sheet().is_ok_and(|sheet| sheet.stage == Stage::Captured);
        let captured = driver.look(id.payment(), captured).await?;
        let order = driver.look(id, Order::clone).await?;
        let Some(ticket) = order.ticket() else {
            return Ok(Err(Failure::Refused(order::Error::Unknown.into())));
        };
        let change = ChangeId(request.id);
        let to = if ticket.changes.contains_key(&change) {
            Change { change, lines: vec![], total: ticket.placed.total }
        } else {
            let changed = |serving: &Serving| changed((id, ticket), serving, wanted, request);
            match self.commands().look(request.tenant, ticket.placed.serving, changed).await? {
                Ok(change) => change,
                Err(error) => return Ok(Err(Failure::Refused(error))),
            }
        };
        if matches!(order, Order::Confirmed(_)) && !captured {
            let why = "the order's money is being taken; ask again in a moment".to_owned();
            return Err(Interrupted::Unavailable(why));
        }
        if let Err(refusal) = self.would_be_paid(&driver, ticket, &to).await? {
            return Ok(Err(Failure::Refused(PlaceError::Refused(refusal))));
        }
        let command = order::Command::Change { change: to, at: request.at };
        let begun = self.commands().execute::<Order>(request.tenant, id, command, request.cause(id.0)).await;
        match answered(begun)? {
            Ok(_) => {}
            Err(Failure::KeyReused) => return Ok(Err(Failure::KeyReused)),
            Err(Failure::Refused(error)) => return Ok(Err(Failure::Refused(error.into()))),
            Err(Failure::Interrupted(interrupted)) => return Err(interrupted),
        }
        self.resume(&driver).await?;
        Ok(Ok(driver.look(id, Order::clone).await?))
    }

    /// The door: whether the balances reach for what it costs more. The holds decide.
    async fn would_be_paid(
        &self,
        driver: &Driver<'_>,
        ticket: &Ticket,
        to: &Change,
    ) -> Result<Result<(), Refusal>, Interrupted> {
        let more = to.total.minus(ticket.net()).ok().filter(|more| more.is_positive() && !to.lines.is_empty());
        let sheet = driver.look(driver.order.payment(), |payment: &Payment| payment.sheet().ok().cloned()).await?;
        let (Some(more), Some(sheet)) = (more, sheet) else { return Ok(Ok(())) };
        let planned = plan(driver, ticket, &sheet, (to.total, more)).await?;
        Ok(planned.map(|_| ()).map_err(|short| Refusal::InsufficientFunds { short }))
    }

    /// Brings a change that was taken down to its end.
    pub(crate) async fn go_on_changing(&self, driver: &Driver<'_>) -> Result<(), Interrupted> {
        let open = |order: &Order| order.ticket().filter(|ticket| ticket.changing.is_some()).cloned();
        let Some(ticket) = driver.look(driver.order, open).await? else { return Ok(()) };
        let Some(changing) = ticket.changing.clone() else { return Ok(()) };
        let changer = Changer { driver, ticket, change: changing.change, at: changing.at };
        let made = match changing.made {
            Some(made) => made,
            None => changer.decide().await?,
        };
        changer.settle(&made).await
    }
}

/// The lines that are wanted, at the prices of those that the order has and today's of the others.
fn changed(
    (id, ticket): (OrderId, &Ticket),
    serving: &Serving,
    wanted: &[NewLine],
    request: &Request,
) -> Result<Change, PlaceError> {
    let book = serving.book().map_err(|_| PlaceError::UnknownServing)?;
    let mut left: Vec<u32> = (0..ticket.placed.lines.len()).map(|index| ticket.left(index as u16)).collect();
    let unchanged = left.clone();
    let mut lines: Vec<Line> = Vec::with_capacity(wanted.len());
    for NewLine { dish, quantity, options, unit_price } in wanted {
        if *quantity == 0 || *quantity > order::MAX_QUANTITY {
            return Err(order::Error::BadQuantity { quantity: *quantity }.into());
        }
        let mut rest = *quantity;
        for (line, left) in ticket.placed.lines.iter().zip(&mut left) {
            let kept = if (line.dish, &line.options) == (*dish, options) { rest.min(*left) } else { 0 };
            if kept > 0 {
                add(&mut lines, Line { quantity: kept, ..line.clone() });
                (*left, rest) = (*left - kept, rest - kept);
            }
        }
        if rest > 0 {
            let line = book.line(*dish, rest, options.clone()).map_err(refused)?;
            if let Some(was) = unit_price.filter(|price| *price != line.unit_price) {
                let change = PriceChange { dish: *dish, was, now: line.unit_price };
                return Err(PlaceError::Refused(Refusal::PriceChanged(vec![change])));
            }
            add(&mut lines, line);
        }
    }
    if lines.is_empty() || lines.len() > order::MAX_LINES {
        return Err(order::Error::BadLineCount.into());
    }
    let whole = ticket.placed.lines.iter().zip(&unchanged).all(|(line, left)| line.quantity == *left);
    if whole && lines == ticket.placed.lines {
        return Err(order::Error::NothingToChange.into());
    }
    book.widening(id, &lines, request.at, ticket.placed.channel).map_err(refused)?;
    let totals = lines.iter().map(Line::total).collect::<Result<Vec<_>, _>>().map_err(order::Error::from)?;
    let total = Money::sum(ticket.placed.total.currency, totals).map_err(order::Error::from)?;
    Ok(Change { change: ChangeId(request.id), lines, total })
}

/// More of the same, at the same price, is one line.
fn add(lines: &mut Vec<Line>, line: Line) {
    match lines.iter_mut().find(|known| Line { quantity: line.quantity, ..(**known).clone() } == line) {
        Some(known) => known.quantity = known.quantity.saturating_add(line.quantity),
        None => lines.push(line),
    }
}

/// Those of the new lines, and as many of each, that the order does not have at that price.
fn fresh(ticket: &Ticket, lines: &[Line]) -> Vec<Line> {
    let mut left: Vec<u32> = (0..ticket.placed.lines.len()).map(|index| ticket.left(index as u16)).collect();
    let mut fresh = Vec::new();
    for line in lines {
        let mut rest = line.quantity;
        for (known, left) in ticket.placed.lines.iter().zip(&mut left) {
            if (known.dish, &known.options, known.unit_price) == (line.dish, &line.options, line.unit_price) {
                let kept = rest.min(*left);
                (*left, rest) = (*left - kept, rest - kept);
            }
        }
        if rest > 0 {
            fresh.push(Line { quantity: rest, ..line.clone() });
        }
    }
    fresh
}

/// Which balances pay `more` of an order that is to cost `whole`, within what its policies pay of that.
async fn plan(
    driver: &Driver<'_>,
    ticket: &Ticket,
    sheet: &Sheet,
    (whole, more): (Money, Money),
) -> Result<Result<Vec<Tender>, Money>, Interrupted> {
    let placed = &ticket.placed;
    let mut by_lots = Vec::new();
    for (tender, Tender { source, amount, .. }) in (0_u8..).zip(&sheet.tenders) {
        let of_it = sheet.state_of(tender) == payment::TenderState::Captured;
        by_lots.extend(source.lot().filter(|_| of_it).map(|lot| (lot, amount.minor - sheet.refunded(tender))));
    }
    driver.more_tenders(placed.diner, placed.serving, more, (whole, by_lots)).await
}

impl Changer<'_> {
    /// Takes what the change needs, all of it or nothing, and tells the order.
    async fn decide(&self) -> Result<Made, Interrupted> {
        let (order, change) = (self.driver.order, self.change.change);
        let (made, name, command) = match self.take().await? {
            Ok(()) => (Made::Changed, "make", order::Command::MakeChange { change }),
            Err(refusal) => {
                let command = order::Command::RefuseChange { change, refusal: refusal.clone() };
                (Made::Refused(refusal), "refuse", command)
            }
        };
        match self.step::<Order>(name, order, command).await? {
            Ok(()) => Ok(made),
            // Somebody else was faster: what they decided holds.
            Err(_) => {
                let known = self.driver.look(order, |order: &Order| order.made_of(change).cloned()).await?;
                Ok(known.unwrap_or(made))
            }
        }
    }

    async fn take(&self) -> Result<Result<(), Refusal>, Interrupted> {
        let (order, placed, Change { change, lines, total }) = (self.driver.order, &self.ticket.placed, &self.change);
        if self.driver.now >= placed.lock_at {
            return Ok(Err(Refusal::TooLate));
        }
        let (change, lines, at, channel) = (*change, lines.clone(), self.at, placed.channel);
        let fresh = fresh(&self.ticket, &lines);
        let widen = serving::Command::Widen { order, change, lines, fresh, at, channel };
        if let Err(error) = self.step::<Serving>("widen", placed.serving, widen).await? {
            return Ok(Err(Refusal::from_serving(&error).unwrap_or(Refusal::NotOffered)));
        }
        match total.minus(self.ticket.net()) {
            Ok(more) if more.is_positive() => self.hold(more).await,
            _ => Ok(Ok(())),
        }
    }

    /// Extends the payment, and holds what that takes of the diner's balances.
    async fn hold(&self, more: Money) -> Result<Result<(), Refusal>, Interrupted> {
        let payment = self.driver.order.payment();
        let sheet = self.driver.look(payment, |payment: &Payment| payment.sheet().ok().cloned()).await?;
        let Some(sheet) = sheet else { return Ok(Err(Refusal::PaymentFailed)) };
        if !sheet.extensions.contains_key(&self.change.change) {
            let tenders = match plan(self.driver, &self.ticket, &sheet, (self.change.total, more)).await? {
                Ok(tenders) => tenders,
                Err(short) => return Ok(Err(Refusal::InsufficientFunds { short })),
            };
            let extend = payment::Command::Extend { extension: self.change.change, amount: more, tenders };
            if self.step::<Payment>("extend", payment, extend).await?.is_err() {
                return Ok(Err(Refusal::PaymentFailed));
            }
        }
        for (tender, Tender { source, amount, .. }) in self.extension().await? {
            let Some(account) = source.account() else { continue };
            let from = match source.lot() {
                Some(lot) => {
                    let place = self.driver.place_of(self.ticket.placed.serving, self.driver.now).await?;
                    place.map(|place| (lot, place.of))
                }
                None => None,
            };
            let hold = account::Command::Hold { hold: HoldId { payment, tender }, amount, from };
            match self.step::<Account>(&format!("hold/{tender}"), account, hold).await? {
                Ok(()) => {}
                Err(account::Error::Insufficient { short }) => return Ok(Err(Refusal::InsufficientFunds { short })),
                Err(account::Error::Frozen | account::Error::Closed) => return Ok(Err(Refusal::AccountFrozen)),
                Err(_) => return Ok(Err(Refusal::PaymentFailed)),
            }
        }
        Ok(Ok(()))
    }

    /// The tenders of its extension that wait for their end, by index.
    async fn extension(&self) -> Result<Vec<(u8, Tender)>, Interrupted> {
        let of_it = |payment: &Payment| {
            let sheet = payment.sheet().ok()?;
            let open = sheet.extensions.get(&self.change.change).filter(|one| one.stage == ExtensionStage::Open)?;
            let tender = |index: u8| Some((index, *sheet.tenders.get(usize::from(index))?));
            Some(open.tenders().filter_map(tender).collect())
        };
        let tenders: Option<Vec<_>> = self.driver.look(self.driver.order.payment(), of_it).await?;
        Ok(tenders.unwrap_or_default())
    }

    /// Gives back what is not needed, and takes the money that is.
    async fn settle(&self, made: &Made) -> Result<(), Interrupted> {
        let (order, change) = (self.driver.order, self.change.change);
        let (lines, payment) = match made {
            Made::Changed => {
                (self.change.lines.clone(), payment::Command::RecordExtensionCaptured { extension: change })
            }
            Made::Refused(_) => {
                (self.ticket.placed.lines.clone(), payment::Command::GiveUpExtension { extension: change })
            }
        };
        let narrow = serving::Command::Narrow { order, change, lines };
        // These never refuse what was taken down before.
        let _ = self.step::<Serving>("narrow", self.ticket.placed.serving, narrow).await?;
        let tenders = self.extension().await?;
        for (tender, Tender { source, .. }) in &tenders {
            self.end_hold(made, *tender, *source).await?;
        }
        // What was given up before it was begun refuses the late beginning.
        if !tenders.is_empty() || matches!(made, Made::Refused(_)) {
            let _ = self.step::<Payment>("end", order.payment(), payment).await?;
        }
        let _ = self.step::<Order>("settle", order, order::Command::SettleChange { change }).await?;
        Ok(())
    }

    async fn end_hold(&self, made: &Made, tender: u8, source: Source) -> Result<(), Interrupted> {
        let Some(account): Option<AccountId> = source.account() else { return Ok(()) };
        let hold = HoldId { payment: self.driver.order.payment(), tender };
        let (name, command) = match made {
            Made::Changed => ("capture", account::Command::Capture { hold }),
            Made::Refused(_) => ("release", account::Command::Release { hold }),
        };
        let _ = self.step::<Account>(&format!("{name}/{tender}"), account, command).await?;
        Ok(())
    }

    async fn step<A: Hosted>(
        &self,
        name: &str,
        id: A::Id,
        command: A::Command,
    ) -> Result<Result<(), A::Error>, Interrupted> {
        let Driver { commands, tenant, order, now } = *self.driver;
        let change = self.change.change;
        let step = step_id(NAME, order.0, &format!("{name}/{change}"));
        let cause = Cause::step(step, SAGA, order.0, CommandId(change.0), now);
        match commands.execute::<A>(tenant, id, command, cause).await {
            Err(Failure::Interrupted(interrupted)) => Err(interrupted),
            Err(Failure::Refused(error)) => {
                tracing::debug!(step = name, %change, %error, "a step of a change was refused");
                Ok(Err(error))
            }
            // Steps carry no digest, so no key of theirs can be used twice.
            Ok(_) | Err(Failure::KeyReused) => Ok(Ok(())),
        }
    }
}
