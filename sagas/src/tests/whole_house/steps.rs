//! The steps that chance takes with a history.

use std::time::{Duration, Instant};

use ::providers::Weather;
use commands::{Failure, Request};
use domain::{
    AccountId, ActorId, CorrectionId, DinerId, DishId, HoldId, OrderId, PaymentId, PayoutId, Timestamp,
    account::{self, AdjustReason},
    books::ReopenReason,
    correction::Proposal,
    invoice::VoidReason,
    lot,
    order::{self, Channel, LineCount, Order, RefundReason, Terms},
    payment::Provider,
    postings::LedgerAccount,
    serving::{self, Meal},
};
use jiff::{ToSpan, tz::TimeZone};
use store::EventStore;
use uuid::Uuid;

use super::{
    super::{
        RICE, SOUP, STAFF, fen,
        finance::{OTHER, moves},
    },
    history::{Dice, History, ZONE, at, beside, told},
};
use crate::{NewAdjustment, NewCorrection, NewGrants, NewInvoice, NewLine, NewOrder, NewPayout};

impl History<'_> {
    /// Takes a step and writes down what it was.
    pub(super) async fn step(&mut self) {
        let which = self.dice.roll(38);
        let (name, came) = match which {
            0..=4 => ("place", self.place(Terms::Balances).await),
            5..=7 => ("place with WeChat Pay", self.place(Terms::BalancesThen(Provider::WechatPay)).await),
            8 => ("pay at the counter", self.at_counter().await),
            9 => ("race", self.race().await),
            10 => ("place twice", self.twice().await),
            34 => ("hold", self.hold().await),
            35..=37 => ("change", self.change().await),
            11 | 12 => ("cancel", self.cancel().await),
            13 | 14 => ("refund", self.refund(1).await),
            15 => ("refund twice at once", self.refund(2).await),
            16 | 17 => ("pick up", self.pick_up().await),
            18 => ("no-show", self.no_show().await),
            19 | 20 => ("pay by phone", self.phone()),
            21 | 22 => ("notify", self.notify().await),
            23..=25 => ("time", self.time()),
            26 | 27 => ("grant", self.grant().await),
            28 => ("top up", self.more().await),
            29 => ("payout", self.payout().await),
            30 => ("adjust", self.adjust().await),
            31 => ("correct", self.correct().await),
            32 => ("invoice", self.invoice().await),
            _ => self.rare().await,
        };
        self.trail.steps.push(format!("{name}: {came}"));
    }

    async fn rare(&mut self) -> (&'static str, String) {
        match self.dice.roll(6) {
            4 => ("end an account", self.end_account().await),
            0 => ("close", self.close().await),
            1 => ("weather", self.weather()),
            2 => ("portions", self.portions().await),
            3 => ("withdraw", self.withdraw().await),
            _ => ("settle", format!("{} left open", self.settle().await)),
        }
    }

    fn new_order(&mut self, diner: DinerId, terms: Terms) -> NewOrder {
        let line = |dish: DishId, quantity| NewLine { dish, quantity, options: vec![], unit_price: None };
        let mut lines = vec![line(SOUP, 1 + self.dice.roll(2) as u32)];
        if self.dice.roll(3) > 0 {
            lines.push(line(RICE, 1));
        }
        let day = self.dice.roll(5).saturating_sub(2) as usize;
        let channel = if self.dice.roll(8) == 0 { Channel::Counter } else { Channel::Online };
        NewOrder { diner, serving: self.servings[day], lines, channel, terms }
    }

    async fn place(&mut self, terms: Terms) -> String {
        let diner = self.any_diner();
        let new = self.new_order(diner, terms);
        let request = self.by(ActorId(diner.0), "placeOrder", &new);
        self.placed(request, self.house.ordering.place_order(request, new).await)
    }

    fn placed(
        &mut self,
        request: Request,
        answer: Result<commands::Finished<Order>, Failure<crate::PlaceError>>,
    ) -> String {
        match told(answer) {
            (Some(placed), _) => {
                self.orders.push(OrderId(request.id));
                format!("{} {}", request.id, placed.value.status())
            }
            (None, why) => why,
        }
    }

    async fn at_counter(&mut self) -> String {
        let said = self.place(Terms::AtCounter).await;
        let Some(order) = self.orders.last().copied() else { return said };
        if self.dice.roll(3) == 0 {
            return said;
        }
        let request = self.staff("recordPayment");
        format!("{said}; {}", told(self.house.ordering.record_payment(request, order).await).1)
    }

    /// Two diners at once, for what may be the last portions.
    async fn race(&mut self) -> String {
        let (one, other) = (self.diner(0), self.diner(1));
        let mut new = self.new_order(one, Terms::Balances);
        new.lines[0].quantity = 2;
        let rival = NewOrder { diner: other, ..new.clone() };
        let (first, second) = (self.by(ActorId(one.0), "race", &new), self.by(ActorId(other.0), "race", &rival));
        let ordering = self.house.ordering.clone();
        let (won, lost) = tokio::join!(ordering.place_order(first, new), ordering.place_order(second, rival));
        format!("{}; {}", self.placed(first, won), self.placed(second, lost))
    }

    /// Somebody asks an account for a hold without having looked at what it has; or gives one up.
    async fn hold(&mut self) -> String {
        if let Some(one) = self.dice.one_of(&self.strange).filter(|_| self.dice.roll(2) == 0) {
            return self.give_up(one).await;
        }
        let account = [AccountId::Wallet(self.any_diner()), AccountId::Subsidy(self.any_diner())];
        let account = account[self.dice.roll(2) as usize];
        let (amount, now) = (fen(self.dice.within(1..3_000)), self.now());
        let of = |terms: &lot::Terms| lot::Use { at: now, date: terms.serves.first, meal: Meal::Lunch };
        let lots = self.books.purses.get(&account).map(|purse| &purse.lots);
        let lots: Vec<_> = lots.into_iter().flatten().map(|(id, one)| (*id, of(&one.terms))).collect();
        let from = self.dice.one_of(&lots).filter(|_| self.dice.roll(4) > 0);
        let request = self.staff("hold");
        let hold = HoldId { payment: PaymentId(request.id), tender: 0 };
        let command = account::Command::Hold { hold, amount, from };
        let held = told(self.house.ordering.commands().on_account(request, account, command).await);
        if held.0.is_some() {
            self.strange.push((account, hold));
        }
        format!("{account} {amount} {}", held.1)
    }

    async fn give_up(&mut self, (account, hold): (AccountId, HoldId)) -> String {
        let request = self.staff("release");
        let release = account::Command::Release { hold };
        told(self.house.ordering.commands().on_account(request, account, release).await).1
    }

    /// The same request twice at once, and a third time: it is one order, and nothing more is appended.
    async fn twice(&mut self) -> String {
        let diner = self.any_diner();
        let new = self.new_order(diner, Terms::Balances);
        let request = self.by(ActorId(diner.0), "placeOrder", &new);
        let ordering = self.house.ordering.clone();
        let (first, second) =
            tokio::join!(ordering.place_order(request, new.clone()), ordering.place_order(request, new.clone()));
        match (&first, &second) {
            (Ok(first), Ok(second)) => assert_eq!(first.value, second.value),
            (Err(_), Err(_)) => return self.placed(request, first),
            mixed => panic!("one request had two answers: {mixed:?}"),
        }
        let head = self.house.log.head().await.unwrap();
        assert_eq!(ordering.place_order(request, new).await.unwrap().value, first.as_ref().unwrap().value);
        assert_eq!(self.house.log.head().await.unwrap(), head, "a repeat appends nothing");
        self.placed(request, first)
    }

    /// Mostly one that is paid, since of the others little can become.
    fn some_order(&mut self) -> Option<OrderId> {
        let paid = |order: &&OrderId| {
            let status = self.books.orders.get(order).map(|bill| bill.status);
            matches!(status, Some("CONFIRMED" | "READY" | "PICKED_UP" | "NO_SHOW"))
        };
        let paid: Vec<_> = self.orders.iter().filter(paid).copied().collect();
        let of = if paid.is_empty() || self.dice.roll(5) == 0 { &self.orders } else { &paid };
        self.dice.one_of(of)
    }

    async fn cancel(&mut self) -> String {
        let Some(order) = self.some_order() else { return "nothing".into() };
        let by = [RefundReason::CancelledByDiner, RefundReason::CancelledByCanteen][self.dice.roll(2) as usize];
        let request = self.staff("cancel");
        format!("{order} {}", told(self.house.ordering.cancel_order(request, order, by).await).1)
    }

    /// Its diner wants something else; sometimes twice at once.
    async fn change(&mut self) -> String {
        let confirmed = |order: &&OrderId| self.books.orders.get(order).is_some_and(|bill| bill.status == "CONFIRMED");
        let confirmed: Vec<_> = self.orders.iter().filter(confirmed).copied().collect();
        let of = if confirmed.is_empty() || self.dice.roll(6) == 0 { self.orders.clone() } else { confirmed };
        let Some(order) = self.dice.one_of(&of) else { return "nothing".into() };
        let line = |dish: DishId, quantity| NewLine { dish, quantity, options: vec![], unit_price: None };
        let mut lines = vec![line(SOUP, 1 + self.dice.roll(3) as u32)];
        if self.dice.roll(2) == 0 {
            lines.push(line(RICE, 1 + self.dice.roll(2) as u32));
        }
        let request = self.staff("changeOrder");
        let ordering = self.house.ordering.clone();
        let made = |answer| match told(answer) {
            (Some(changed), _) => {
                let changed: commands::Finished<Order> = changed;
                format!("{:?}", changed.value.made_of(domain::ChangeId(request.id)))
            }
            (None, why) => why,
        };
        if self.dice.roll(4) > 0 {
            return format!("{order} {}", made(ordering.change_order(request, order, lines).await));
        }
        let (one, other) = tokio::join!(
            ordering.change_order(request, order, lines.clone()),
            ordering.change_order(request, order, lines)
        );
        let (one, other) = (made(one), made(other));
        assert_eq!(one, other, "one request has one answer");
        format!("{order} twice {one}")
    }

    async fn refund(&mut self, at_once: usize) -> String {
        let Some(order) = self.some_order() else { return "nothing".into() };
        let lines =
            |dice: &mut Dice| vec![LineCount { line: dice.roll(2) as u16, quantity: 1 + dice.roll(6) as u32 / 5 }];
        let (one, other) = (lines(&mut self.dice), lines(&mut self.dice));
        let (first, second) = (self.staff("refund"), self.staff("refund"));
        let (ordering, why) = (self.house.ordering.clone(), RefundReason::Complaint);
        if at_once == 1 {
            return format!("{order} {}", told(ordering.refund_lines(first, order, one, why).await).1);
        }
        if self.dice.roll(2) == 0 {
            let amount = fen(1 + self.dice.roll(2_000) as i64);
            let to = vec![self.dice.roll(3) as u8];
            let both = tokio::join!(
                ordering.refund_lines(first, order, one, why),
                ordering.refund_amount(second, order, amount, to, why)
            );
            return format!("{order} {}, {amount} {}", told(both.0).1, told(both.1).1);
        }
        let both = tokio::join!(
            ordering.refund_lines(first, order, one, why),
            ordering.refund_lines(second, order, other, why)
        );
        format!("{order} {}, {}", told(both.0).1, told(both.1).1)
    }

    pub(super) async fn state(&self, order: OrderId) -> Order {
        self.house.ordering.commands().look(self.tenant, order, Order::clone).await.unwrap()
    }

    async fn pick_up(&mut self) -> String {
        let Some(order) = self.some_order() else { return "nothing".into() };
        let commands = self.house.ordering.commands().clone();
        let ready = told(commands.mark_ready(self.staff("ready"), order).await).1;
        let Order::Ready(_, code) = self.state(order).await else { return ready };
        let collect = order::Command::Collect { code };
        format!("{order} {}", told(commands.on_order(self.staff("collect"), order, collect).await).1)
    }

    async fn no_show(&mut self) -> String {
        let Some(order) = self.some_order() else { return "nothing".into() };
        let request = self.staff("noShow");
        let ordering = self.house.ordering.clone();
        format!("{order} {}", told(ordering.mark_no_show(request, order).await).1)
    }

    fn phone(&mut self) -> String {
        let waiting: Vec<_> = self.house.wechat.waiting().into_iter().filter(|one| one.0 == self.tenant).collect();
        let Some((tenant, number)) = self.dice.one_of(&waiting) else { return "nothing".into() };
        self.unsaid.extend(self.house.wechat.pay(tenant, number));
        number.to_string()
    }

    /// In any order, perhaps again, perhaps never.
    async fn notify(&mut self) -> String {
        if self.unsaid.is_empty() {
            return "nothing".into();
        }
        let which = self.dice.roll(self.unsaid.len() as u64) as usize;
        self.house.ordering.provider_notified(self.unsaid[which].clone()).await.unwrap();
        if self.dice.roll(3) > 0 {
            self.unsaid.remove(which);
        }
        "said".into()
    }

    fn now(&self) -> Timestamp {
        self.house.ordering.commands().now()
    }

    fn time(&mut self) -> String {
        let now = self.now();
        let date = now.date_in(&TimeZone::get(ZONE).unwrap());
        let next = match self.dice.roll(6) {
            0 => at(date.tomorrow().unwrap(), 0, 0),
            1 => at(date.tomorrow().unwrap(), 11, 0),
            2 => now.plus_seconds(3_600),
            minutes => now.plus_seconds(60 * minutes as i64 * 3),
        };
        self.house.clock.set(next);
        next.to_string()
    }

    async fn grant(&mut self) -> String {
        let policy = self.dice.one_of(&self.policies).unwrap();
        let first = self.now().date_in(&TimeZone::get(ZONE).unwrap());
        let last = first.checked_add(self.dice.within(0..3).days()).unwrap();
        let new = NewGrants { policy, first, last };
        let request = self.by(STAFF, "grant", &new);
        let subsidies = self.subsidies.clone();
        let granting = subsidies.grant(request, new, |_| {});
        let (granted, said) = told(beside(self.runner, &self.house.log, granting).await);
        granted.map_or(said, |granted| format!("{granted:?}"))
    }

    async fn more(&mut self) -> String {
        let minor = self.dice.within(1..4_000);
        let account = match self.dice.roll(3) {
            0 => AccountId::Company(self.company),
            1 => AccountId::Subsidy(self.any_diner()),
            _ => AccountId::Wallet(self.any_diner()),
        };
        format!("{account} {minor} {}", self.top_up(account, minor).await)
    }

    async fn payout(&mut self) -> String {
        if let Some(payout) = self.dice.one_of(&self.payouts).filter(|_| self.dice.roll(2) == 0) {
            return self.end_payout(payout).await;
        }
        let account = [AccountId::Wallet(self.any_diner()), AccountId::Subsidy(self.any_diner())];
        let account = account[self.dice.roll(2) as usize];
        let new = NewPayout { account, amount: fen(self.dice.within(1..1_500)) };
        let request = self.by(STAFF, "payOut", &new);
        let (asked, said) = told(self.finance.pay_out(request, new).await);
        if asked.is_some() {
            self.payouts.push(PayoutId(request.id));
        }
        said
    }

    async fn end_payout(&mut self, payout: PayoutId) -> String {
        let request = self.staff("endPayout");
        if self.dice.roll(2) == 0 {
            told(self.finance.confirm_payout(request, payout).await).1
        } else {
            told(self.finance.cancel_payout(request, payout).await).1
        }
    }

    async fn adjust(&mut self) -> String {
        let account = [AccountId::Wallet(self.any_diner()), AccountId::Subsidy(self.any_diner())];
        let (account, by) = (account[self.dice.roll(2) as usize], fen(self.dice.within(-700..600)));
        let new = NewAdjustment { account, by, reason: AdjustReason::Goodwill, reference: None };
        let request = self.by(STAFF, "adjust", &new);
        let (begun, said) = told(self.finance.adjust(request, new).await);
        if begun.is_some() {
            self.corrections.push(CorrectionId(request.id));
        }
        format!("{account} {by} {said}")
    }

    /// Proposes one that moves money between accounts without a limit, or has a second person apply one.
    async fn correct(&mut self) -> String {
        if let Some(correction) = self.dice.one_of(&self.corrections).filter(|_| self.dice.roll(3) > 0) {
            let (own, others) = (self.staff("apply"), self.by(OTHER, "apply", &()));
            let own = told(self.finance.apply_correction(own, correction).await).1;
            return format!("{own}; {}", told(self.finance.apply_correction(others, correction).await).1);
        }
        let entry = moves(LedgerAccount::Suspense, LedgerAccount::Bank, self.dice.within(1..300));
        let proposal = Proposal { entries: vec![entry], dated: None };
        let request = self.staff("propose");
        let id = CorrectionId(request.id);
        self.corrections.push(id);
        told(self.finance.propose(request, id, NewCorrection { proposal, file: None }).await).1
    }

    async fn invoice(&mut self) -> String {
        let Some(invoice) = self.dice.one_of(&self.invoices).filter(|_| self.dice.roll(3) > 0) else {
            let new = NewInvoice { company: self.company, days: 30 };
            let request = self.by(STAFF, "issue", &new);
            let (issued, said) = told(self.invoicing.issue(request, new).await);
            self.invoices.extend(issued.map(|issued| issued.invoice));
            return said;
        };
        let minor = self.dice.within(1..5_000);
        if self.dice.roll(3) == 0 {
            let request = self.staff("void");
            return told(self.invoicing.void(request, invoice, VoidReason::Mistake).await).1;
        }
        let request = self.by(STAFF, "pay", &minor);
        told(self.invoicing.pay(request, invoice, fen(minor)).await).1
    }

    /// Takes everything out of an account, and closes it unless something is held there.
    async fn end_account(&mut self) -> String {
        let account = [AccountId::Wallet(self.any_diner()), AccountId::Subsidy(self.any_diner())];
        let account = account[self.dice.roll(2) as usize];
        let commands = self.house.ordering.commands().clone();
        let has = |account: &account::Account| account.book().map(|book| (book.posted, book.held)).unwrap_or_default();
        let (posted, held) = commands.look(self.tenant, account, has).await.unwrap();
        if held == 0 && posted != 0 {
            let (adjustment, by) = (Uuid::from_u128(self.key), fen(-posted));
            let empty = account::Command::Adjust { adjustment, by, reason: AdjustReason::Correction };
            commands.on_account(self.staff("empty"), account, empty).await.unwrap();
        }
        let closed = commands.on_account(self.staff("endAccount"), account, account::Command::Close).await;
        format!("{account} {}", told(closed).1)
    }

    async fn close(&mut self) -> String {
        let commands = self.house.ordering.commands().clone();
        let yesterday = self.now().date_in(&TimeZone::get(ZONE).unwrap()).yesterday().unwrap();
        if self.dice.roll(3) == 0 {
            return told(commands.reopen_period(self.staff("reopen"), yesterday, ReopenReason::Audit).await).1;
        }
        let (closed, said) = told(commands.close_period(self.staff("close"), yesterday).await);
        if closed.is_some() && self.dice.roll(3) == 0 {
            let reopened = commands.reopen_period(self.staff("reopen"), yesterday, ReopenReason::Audit).await;
            return format!("{said}, and reopened: {}", told(reopened).1);
        }
        said
    }

    fn weather(&mut self) -> String {
        let foul =
            Weather { lost_calls: 200, lost_answers: 200, refusals: 60, slow_returns: 300, ..Weather::default() };
        let weather = match self.dice.roll(3) {
            0 => Weather::default(),
            1 => Weather { impossible_returns: 200, ..foul },
            _ => foul,
        };
        self.house.wechat.set_weather(weather);
        format!("{weather:?}")
    }

    async fn portions(&mut self) -> String {
        let (serving, dish) = (self.dice.one_of(&self.servings).unwrap(), self.dice.one_of(&[RICE, SOUP]).unwrap());
        let set = serving::Command::SetPortions { dish, portions: self.dice.roll(6) as u32 };
        let request = self.staff("portions");
        told(self.house.ordering.commands().on_serving(request, serving, set).await).1
    }

    async fn withdraw(&mut self) -> String {
        let (serving, dish) = (self.dice.one_of(&self.servings).unwrap(), self.dice.one_of(&[RICE, SOUP]).unwrap());
        let request = self.staff("withdraw");
        let withdraw = serving::Command::WithdrawDish { dish };
        told(self.house.ordering.commands().on_serving(request, serving, withdraw).await).1
    }

    /// The follower does what there is to do; answers how many processes stay open.
    pub(super) async fn settle(&mut self) -> u64 {
        let settling = self.follower.settle(Duration::from_secs(60));
        beside(self.runner, &self.house.log, settling).await.unwrap()
    }

    /// Ends whatever waits for people: time runs out, what is cooked is not fetched, payouts are made or not.
    pub(super) async fn end(&mut self) {
        self.house.clock.set(self.now().plus_seconds(4 * 86_400));
        self.house.wechat.set_weather(Weather::default());
        for payout in self.payouts.clone() {
            self.end_payout(payout).await;
        }
        for one in self.strange.clone() {
            self.give_up(one).await;
        }
        // A provider that was slow has an answer the second time.
        self.settle().await;
        for order in self.orders.clone() {
            if matches!(self.state(order).await.status(), "CONFIRMED" | "PREPARING" | "READY") {
                let request = self.staff("noShow");
                self.house.ordering.mark_no_show(request, order).await.unwrap();
            }
        }
        // Some complain when their lots have long expired.
        for order in self.orders.clone() {
            let line = vec![LineCount { line: 0, quantity: 1 }];
            let request = self.staff("late");
            if self.dice.roll(4) == 0 {
                let refunded = self.house.ordering.refund_lines(request, order, line, RefundReason::Complaint);
                self.trail.steps.push(format!("late refund: {order} {}", told(refunded.await).1));
            }
        }
        let mut open = self.settle().await;
        // An order that a task in the background is asking a provider for is not the follower's.
        let deadline = Instant::now() + Duration::from_secs(60);
        while open > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
            open = self.settle().await;
        }
        assert_eq!(open, 0, "nothing stays open");
    }
}
