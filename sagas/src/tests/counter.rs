//! What staff do: refunds by amount, no-shows, and what is sold and handed over at once.

use domain::{
    order::{Channel, LineCount, RefundReason, Terms},
    payment::Payment,
};

use super::{crash::crashed_after, *};

impl House {
    async fn sell_at_once(&self, key: u128, terms: Terms) -> (OrderId, Order) {
        let new = NewOrder { channel: Channel::WalkUp, terms, ..self.order(1, &[(RICE, 1), (SOUP, 2)]) };
        let request = self.request(1, key, &new);
        let sold = self.ordering.place_order(request, new).await.unwrap();
        (OrderId(request.id), sold.value)
    }

    /// What went back of each tender.
    async fn refunded(&self, order: OrderId) -> Vec<i64> {
        let refunded = |payment: &Payment| {
            let sheet = payment.sheet().unwrap();
            (0..sheet.tenders.len() as u8).map(|tender| sheet.refunded(tender)).collect()
        };
        self.ordering.commands().look(TENANT, order.payment(), refunded).await.unwrap()
    }
}

#[tokio::test]
async fn an_amount_goes_to_the_tender_that_was_asked_for_first() {
    let mut house = House::open(10, 10).await;
    house.fund(1, 2_000, 5_000).await;
    let (id, _) = house.place(1, 1, &[(RICE, 1), (SOUP, 2)]).await;
    let of = |key, minor, first: &[u8]| {
        let first = first.to_vec();
        let (house, request) = (&house, staff("refundAmount", key, &minor));
        async move { house.ordering.refund_amount(request, id, fen(minor), first, RefundReason::Complaint).await }
    };
    // 20.00 of the subsidy and 10.00 of the wallet paid: the wallet is the last deducted.
    of(1, 300, &[]).await.unwrap();
    assert_eq!(house.refunded(id).await, [0, 300]);
    of(2, 1_000, &[0]).await.unwrap();
    assert_eq!(house.refunded(id).await, [1_000, 300]);
    of(2, 1_000, &[0]).await.unwrap();
    assert_eq!(house.refunded(id).await, [1_000, 300], "a repeat gives nothing back again");
    let before = house.names().await;
    assert!(of(3, 1_701, &[]).await.is_err(), "17.00 are left");
    assert_eq!(house.names().await, before);
    // Two at once for all that is left: one of them has it.
    let (one, other) = tokio::join!(of(4, 1_700, &[]), of(5, 1_700, &[]));
    assert!(one.is_ok() != other.is_ok());
    assert_eq!((house.refunded(id).await, house.money(1).await), (vec![2_000, 1_000], (7_000, 0)));
    assert_eq!((house.settle().await, house.ledger("prepaid").await), (0, 0));
}

#[tokio::test]
async fn a_no_show_pays_what_the_serving_says_whatever_crashes() {
    let mut house = House::open(10, 10).await;
    house.fund(1, 2_000, 5_000).await;
    let (id, _) = house.place(1, 1, &[(RICE, 1), (SOUP, 2)]).await;
    let before = house.log.head().await.unwrap() as usize;
    let mark = staff("markNoShow", 1, &());
    let marked = house.ordering.mark_no_show(mark, id).await.unwrap();
    assert_eq!(marked.value.status(), "NO_SHOW");
    assert_eq!(house.settle().await, 0);
    // Half of 30.00 goes back, first to the wallet.
    assert_eq!((house.refunded(id).await, house.money(1).await), (vec![500, 1_000], (5_500, 0)));
    assert_eq!(house.ledger(&format!("canteen:{}", house.canteen)).await, 1_500);
    assert_eq!(house.ledger("prepaid").await, 0);
    let whole = house.log.head().await.unwrap() as usize;
    // The no-show and its refund are one decision.
    for events in before + 2..=whole {
        let mut crashed = crashed_after(&house, events).await;
        assert_eq!(crashed.settle().await, 0, "after {} events", events - before);
        assert_eq!((crashed.money(1).await, crashed.names().await), ((5_500, 0), house.names().await));
    }
    house.ordering.mark_no_show(mark, id).await.unwrap();
    assert_eq!(house.log.head().await.unwrap() as usize, whole, "a repeat appends nothing");
}

#[tokio::test]
async fn what_is_sold_at_once_is_handed_over_whatever_crashes() {
    for terms in [Terms::AtCounter, Terms::Balances] {
        let mut house = House::open(10, 10).await;
        house.fund(1, 2_000, 5_000).await;
        // Also when the kitchen has locked.
        house.clock.set(MORNING.plus_seconds(2 * 3_600));
        let before = house.log.head().await.unwrap() as usize;
        let (id, order) = house.sell_at_once(1, terms).await;
        assert_eq!((order.status(), house.settle().await, house.left(SOUP).await), ("PICKED_UP", 0, 8));
        assert_eq!(house.ledger(&format!("canteen:{}", house.canteen)).await, RICE_PRICE + 2 * SOUP_PRICE);
        let whole = house.log.head().await.unwrap() as usize;
        for events in before + 1..=whole {
            let mut crashed = crashed_after(&house, events).await;
            assert_eq!(crashed.settle().await, 0, "{terms:?} after {} events", events - before);
            assert_eq!(crashed.state(id).await, house.state(id).await, "{terms:?} after {} events", events - before);
            assert_eq!(crashed.names().await, house.names().await, "each step was taken once");
        }
        // It may still be refunded, and then the canteen gives it up.
        let one = vec![LineCount { line: 1, quantity: 1 }];
        house.ordering.refund_lines(staff("refund", 1, &()), id, one, RefundReason::Complaint).await.unwrap();
        let canteen = house.ledger(&format!("canteen:{}", house.canteen)).await;
        assert_eq!(canteen, RICE_PRICE + SOUP_PRICE);
    }
}

#[tokio::test]
async fn a_walk_up_that_cannot_be_paid_gets_nothing() {
    let mut house = House::open(10, 10).await;
    house.fund(1, 100, 0).await;
    let (_, order) = house.sell_at_once(1, Terms::Balances).await;
    assert_eq!((order.status(), house.settle().await), ("REFUSED", 0));
    assert_eq!((house.money(1).await, house.left(RICE).await, house.ledger("prepaid").await), ((100, 0), 10, 0));
}
