//! What is unfinished of a diner's, and where the parts of an order's refunds are.

use domain::{AccountId, LotId, order::RefundFrom, payment::Provider};
use store::EventStore;

use super::*;
use crate::{
    Runner,
    testing::{self, *},
};

const FROM: RefundFrom = RefundFrom::Prepaid;

fn refund(number: u128) -> RefundId {
    RefundId(id(900 + number))
}

/// The order begins to give back.
fn begun(number: u128, minor: i64) -> Fact {
    let (refund, amount, reason) = (refund(number), cny(minor), RefundReason::Complaint);
    let (lines, amounts, first, unearned, from) = (vec![], vec![], vec![], None, FROM);
    ordered(0, order::Event::RefundBegun { refund, lines, amounts, first, amount, from, unearned, reason })
}

/// The payment says from which tenders.
fn split(number: u128, parts: &[(u8, i64)]) -> Fact {
    let amount = cny(parts.iter().map(|(_, minor)| minor).sum());
    let parts = parts.iter().map(|(tender, minor)| Part { tender: *tender, amount: cny(*minor) }).collect();
    on_payment(payment::Event::RefundBegun { refund: refund(number), amount, from: FROM, parts })
}

fn on_payment(event: payment::Event) -> Fact {
    Fact::Payment(order_id(0).payment(), event)
}

fn on_subsidy(event: account::Event) -> Fact {
    Fact::Account(AccountId::Subsidy(diner(0)), event)
}

fn settled(number: u128) -> [Fact; 2] {
    let refund = refund(number);
    [on_payment(payment::Event::RefundSettled { refund }), ordered(0, order::Event::RefundSettled { refund })]
}

/// Tender, amount, where it is, and the event with which it came there.
type Seen = (u8, i64, Whereabouts, Option<Position>);

/// Each part of each refund.
fn parts(facts: &[Fact]) -> Vec<Vec<Seen>> {
    let order = fold(&DinerOrders, facts).all::<Order>()[0].clone();
    let part = |part: &RefundPart| (part.tender, part.amount, part.is, part.came.map(|(_, position)| position));
    order.refunds.iter().map(|refund| refund.parts.iter().map(part).collect()).collect()
}

#[test]
fn a_refund_says_where_each_part_of_it_is_also_amid_others() {
    use Whereabouts::{Diverted, Lapsed, Returned, UnderWay};
    let lot = LotId(id(800));
    let (wallet, subsidy) = (hold(0, 1), hold(0, 0));
    let back = |number, minor| account::Event::Refunded {
        refund: refund(number),
        hold: wallet,
        amount: cny(minor),
        from: FROM,
        lot: None,
    };
    let on_wallet = |event| Fact::Account(AccountId::Wallet(diner(0)), event);
    let mut facts = [
        confirmed(0),
        vec![
            // Three refunds race: what is said of one is said between what is said of the others.
            begun(1, 1_500),
            begun(2, 300),
            begun(3, 200),
            split(2, &[(0, 300)]),
            split(1, &[(1, 1_400), (0, 100)]),
            split(3, &[(0, 200)]),
        ],
    ]
    .concat();
    let way = |tender, minor| (tender, minor, UnderWay, None);
    assert_eq!(parts(&facts), [vec![way(1, 1_400), way(0, 100)], vec![way(0, 300)], vec![way(0, 200)]]);
    let first = facts.len() as Position + 1;
    let lapsed = account::Event::RefundLapsed { refund: refund(2), hold: subsidy, amount: cny(300), from: FROM, lot };
    let diverted = account::Event::RefundDiverted {
        refund: refund(3),
        hold: subsidy,
        amount: cny(200),
        from: FROM,
        lot: Some(lot),
    };
    facts.extend([on_subsidy(lapsed), on_wallet(back(1, 1_400)), on_subsidy(diverted)]);
    let expected = [
        vec![(1, 1_400, Returned, Some(first + 1)), way(0, 100)],
        vec![(0, 300, Lapsed, Some(first))],
        vec![(0, 200, Diverted, Some(first + 2))],
    ];
    assert_eq!(parts(&facts), expected);
    // What is no refund of the order moves none of them.
    facts.push(on_wallet(back(9, 1)));
    assert_eq!(parts(&facts), expected);
}

#[test]
fn what_a_provider_gives_back_or_cannot_is_said_of_its_part() {
    use Whereabouts::{Diverted, Returned, UnderWay};
    let (provider, amount) = (Provider::WechatPay, cny(700));
    let of = |number| (refund(number), 1);
    let asked = |number| {
        let (refund, tender) = of(number);
        let number = domain::trade::PayBackNumber { refund, tender };
        on_payment(payment::Event::PayBackAsked { refund, tender, provider, amount, from: FROM, number })
    };
    let begin = [begun(1, 700), begun(2, 700), split(1, &[(1, 700)]), split(2, &[(1, 700)]), asked(1), asked(2)];
    let facts = [confirmed(0), begin.to_vec()].concat();
    let is = |facts: &[Fact]| parts(facts).iter().map(|parts| parts[0].2).collect::<Vec<_>>();
    assert_eq!(is(&facts), [UnderWay, UnderWay]);
    let ((one, tender), (other, _)) = (of(1), of(2));
    let unknown = on_payment(payment::Event::PayBackUnknown { refund: other, tender });
    let given = on_payment(payment::Event::PaidBack { refund: one, tender, provider, amount, from: FROM });
    let kept = on_payment(payment::Event::PayBackDiverted { refund: other, tender, provider, amount, from: FROM });
    let facts = [facts, vec![unknown, given]].concat();
    assert_eq!(is(&facts), [Returned, UnderWay]);
    assert_eq!(is(&[facts, vec![kept]].concat()), [Returned, Diverted]);
}

#[test]
fn refunds_of_before_a_change_are_open_until_they_are_settled() {
    let open = |facts: &[Fact]| fold(&DinerOrders, facts).all::<Order>()[0].refunds_open;
    let Fact::Order(_, order::Event::Placed(placement)) = testing::placed(0) else { panic!("not placed") };
    let change = domain::ChangeId(id(78));
    let to = order::Change { change, lines: placement.lines.clone(), total: placement.total };
    let before = [confirmed(0), vec![begun(1, 100), begun(2, 100), ordered(0, order::Event::Changed(to))]].concat();
    let order = fold(&DinerOrders, &before).all::<Order>()[0].clone();
    assert_eq!((order.refunded_minor, order.refunds_open), (0, 2));
    let one = [before, settled(1).to_vec()].concat();
    assert_eq!(open(&one), 1);
    // Said twice it counts once.
    let again = [one, settled(1).to_vec()].concat();
    assert_eq!(open(&again), 1);
    assert_eq!(open(&[again, settled(2).to_vec()].concat()), 0);
}

#[tokio::test]
async fn open_orders_and_refunds_under_way_are_unfinished() {
    let mut world = World::with(&[opening(), funded(1), confirmed(1), funded(2), confirmed(2)].concat()).await;
    let views = Views::in_memory(world.store.identity(), crate::all()).unwrap();
    let mut runner = Runner::open(world.store.clone(), views.clone()).await.unwrap();
    let mut after = async |world: &mut World, who: usize, facts: &[Fact]| {
        world.happen(facts).await;
        runner.catch_up().await.unwrap();
        let found = unfinished(&views, tenant(), diner(who)).await.unwrap();
        (found.orders, found.refunds)
    };
    assert_eq!(after(&mut world, 1, &[]).await, (1, 0));
    let going_back = cancelled(1);
    let (begun, rest) = going_back.split_at(2);
    assert_eq!(after(&mut world, 1, begun).await, (0, 1));
    assert_eq!(after(&mut world, 1, rest).await, (0, 0));
    // A change makes what the order is for anew, and none of its refunds over.
    let back = |settled| {
        let refund = RefundId(domain::derived_id(order_id(2).0, &[b"a refund"]));
        if settled {
            return order::Event::RefundSettled { refund };
        }
        let (lines, amounts, first, unearned) = (vec![], vec![], vec![], None);
        let (amount, from, reason) =
            (Money::new(100, Currency::CNY), order::RefundFrom::Prepaid, RefundReason::Complaint);
        order::Event::RefundBegun { refund, lines, amounts, first, amount, from, unearned, reason }
    };
    let Fact::Order(_, order::Event::Placed(placement)) = testing::placed(2) else { panic!("not placed") };
    let change = domain::ChangeId(id(78));
    let to = order::Change { change, lines: placement.lines, total: placement.total };
    let changed = [ordered(2, back(false)), ordered(2, order::Event::Changed(to))];
    let served = served(2);
    assert_eq!(after(&mut world, 2, &[&changed[..], &served].concat()).await, (0, 1));
    assert_eq!(after(&mut world, 2, &[ordered(2, back(true))]).await, (0, 0));
}
