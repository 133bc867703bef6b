//! Which of a diner's balances pays first, and how many lots pay for one order.

use domain::books::DeductionOrder;

use super::*;

const A_MONTH_AGO: Date = date(2026, 11, 1);

impl House {
    /// A policy whose lots roll over, of a company that employs a diner for three weeks already.
    async fn saving(&mut self, key: u128, months: u8, terms: Terms) -> PolicyId {
        let commands = self.ordering.commands();
        let (request, zone) = (staff("policy", key, &()), "Asia/Shanghai".to_owned());
        commands.open_policy(request, (COMPANY, None), terms.amount.currency, zone).await.unwrap();
        let terms = Terms { clearing: Clearing::Rollover { months }, ..terms };
        let command = policy::Command::SetTerms { from: A_MONTH_AGO, terms: Box::new(terms) };
        commands.on_policy(staff("terms", key, &()), PolicyId(request.id), command).await.unwrap();
        PolicyId(request.id)
    }

    async fn employed(&self, number: u128) {
        let commands = self.ordering.commands();
        commands.deposit(staff("fund", 1, &()), AccountId::Company(COMPANY), fen(1_000_000)).await.unwrap();
        let join = diner::Command::Join { company: COMPANY, group: None, from: A_MONTH_AGO };
        commands.on_diner(staff("join", number, &()), diner(number), join).await.unwrap();
    }

    async fn granted_since(&mut self, key: u128, policy: PolicyId, first: Date) {
        let new = NewGrants { policy, first, last: MONDAY };
        let request = commands::Request { at: self.ordering.commands().now(), ..staff("grant", key, &new) };
        self.subsidies().await.grant(request, new, |_| {}).await.unwrap();
    }

    async fn deducts(&self, key: u128, order: DeductionOrder) {
        self.ordering.commands().set_deduction_order(staff("deduct", key, &order), order).await.unwrap();
    }
}

#[tokio::test]
async fn the_tenant_says_which_balance_pays_first() {
    let mut house = House::open(20, 20).await;
    let policy = house.company(100_000, 3, terms(2_000)).await;
    house.grant(1, policy, MONDAY).await.unwrap();
    house.fund(1, 0, 1_000).await;
    let commands = house.ordering.commands();
    commands.open_books(staff("books", 1, &()), "Asia/Shanghai".to_owned()).await.unwrap();
    house.deducts(1, DeductionOrder::WalletFirst).await;
    let (first, _) = house.place(1, 1, &MEAL).await;
    assert_eq!(house.tenders(first).await, [(false, 1_000, Why::Available), (true, 2_000, Why::Rest)]);
    // What is refunded goes back to where it came from.
    let cancel = staff("cancel", 1, &());
    house.ordering.cancel_order(cancel, first, RefundReason::CancelledByDiner).await.unwrap();
    assert_eq!(house.lots(1).await[0].left, 2_000);
    house.deducts(2, DeductionOrder::SubsidyFirst).await;
    let (second, _) = house.place(1, 2, &MEAL).await;
    assert_eq!(house.tenders(second).await, [(true, 2_000, Why::Available), (false, 1_000, Why::Rest)]);
    assert_eq!(house.settle().await, 0);
}

#[tokio::test]
async fn what_was_saved_over_two_weeks_pays_for_one_meal() {
    let mut house = House::open(20, 20).await;
    house.employed(1).await;
    let policy = house.saving(1, 1, terms(300)).await;
    // Eleven working days: 33.00 for a meal of 30.00.
    house.granted_since(1, policy, date(2026, 11, 9)).await;
    let (id, order) = house.place(1, 1, &MEAL).await;
    assert_eq!(order.status(), "CONFIRMED");
    assert_eq!(house.tenders(id).await.iter().filter(|(of_lot, minor, _)| *of_lot && *minor == 300).count(), 10);
    assert_eq!(house.settle().await, 0);
}

#[tokio::test]
async fn a_policy_that_has_paid_its_limit_leaves_room_for_the_next() {
    let mut house = House::open(20, 20).await;
    house.employed(1).await;
    let limited = house.saving(1, 1, Terms { order_limit: Some(fen(500)), ..terms(300) }).await;
    let other = house.saving(2, 2, terms(2_500)).await;
    // Sixteen lots, of which two are all that the limit lets through.
    house.granted_since(1, limited, date(2026, 11, 2)).await;
    house.granted_since(2, other, MONDAY).await;
    let (id, order) = house.place(1, 1, &MEAL).await;
    assert_eq!(order.status(), "CONFIRMED");
    let why = [(true, 300, Why::Available), (true, 200, Why::OrderLimit), (true, 2_500, Why::Rest)];
    assert_eq!(house.tenders(id).await, why);
}
