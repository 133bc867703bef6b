//! Each projection over whole histories, without a database.

use domain::{
    AccountId, Fact, Timestamp, account,
    order::{self, LineCount, RefundFrom, RefundReason},
    postings::LedgerAccount,
    serving,
};

use crate::{
    Projection, all,
    balances::{Balance, Balances, Hold, LimitedAccount},
    dashboard::{Counts, Dashboard, DishSales, Minute, OpenOrder, Refused, Withdrawal},
    diner_orders::{DinerOrders, Order, Status},
    journal::{Entry, Journal},
    kitchen_board::{KitchenBoard, Stage, Ticket},
    menu::{Canteen, Dish, Menus, Offer, Serving},
    testing::*,
};

fn facts(parts: &[Vec<Fact>]) -> Vec<Fact> {
    parts.concat()
}

fn complaint(number: usize) -> Fact {
    let refund = domain::RefundId(id(77));
    let lines = vec![LineCount { line: 1, quantity: 1 }];
    let (from, reason) = (RefundFrom::Prepaid, RefundReason::Complaint);
    let unearned = Some(order::Unearned { canteen: canteen(), tax: vec![] });
    ordered(
        number,
        order::Event::RefundBegun {
            refund,
            lines,
            amounts: vec![],
            first: vec![],
            amount: cny(600),
            from,
            unearned,
            reason,
        },
    )
}

#[test]
fn the_menu_shows_what_is_left() {
    let mut rows = fold(&Menus, &facts(&[opening(), confirmed(0), confirmed(1), cancelled(1)]));
    assert_eq!(rows.all::<Canteen>()[0].name, "East");
    assert_eq!(rows.all::<Dish>().len(), 2);
    let offers = rows.all::<Offer>();
    let left: Vec<_> = offers.iter().map(|offer| (offer.dish, offer.reserved, offer.left())).collect();
    assert_eq!(left, [(rice(), 1, 99_999), (soup(), 2, 99_998)]);
}

#[test]
fn a_withdrawn_dish_has_nothing_left_or_reserved() {
    let withdrawn = serving::Event::DishWithdrawn { dish: rice(), orders: vec![order_id(0)] };
    let mut rows = fold(&Menus, &facts(&[opening(), confirmed(0), vec![Fact::Serving(serving_id(), withdrawn)]]));
    let offers = rows.all::<Offer>();
    assert_eq!((offers[0].reserved, offers[0].left(), offers[0].withdrawn), (0, 0, true));
    assert_eq!((offers[1].reserved, offers[1].withdrawn), (2, false));
    let all = serving::Event::Withdrawn { orders: vec![order_id(0)] };
    let mut rows = fold(&Menus, &facts(&[opening(), confirmed(0), vec![Fact::Serving(serving_id(), all)]]));
    assert!(rows.all::<Serving>()[0].withdrawn);
    assert_eq!(rows.all::<Offer>().iter().map(|offer| offer.reserved).sum::<u32>(), 0);
}

#[test]
fn portions_and_prices_change() {
    let more = serving::Event::PortionsSet { dish: rice(), portions: 7 };
    let price = serving::Event::PriceSet { dish: rice(), price: cny(1_500) };
    let retired = domain::menu::Event::DishRetired { dish: soup() };
    let changes =
        vec![Fact::Serving(serving_id(), more), Fact::Serving(serving_id(), price), Fact::Menu(canteen(), retired)];
    let mut rows = fold(&Menus, &facts(&[opening(), changes]));
    let offer = &rows.all::<Offer>()[0];
    assert_eq!((offer.portions, offer.price()), (7, cny(1_500)));
    assert_eq!(rows.all::<Dish>().iter().map(|dish| dish.retired).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn the_board_shows_an_order_from_confirmation_to_pickup() {
    let on_board = |facts: &[Fact]| fold(&KitchenBoard, facts).all::<Ticket>();
    assert_eq!(on_board(&[placed(0)])[0].stage, Stage::Waiting);
    let board = on_board(&confirmed(0));
    assert_eq!((board[0].stage, board[0].lines.len(), board[0].placed), (Stage::Confirmed, 2, 1));
    let ready = facts(&[confirmed(0), served(0)[..2].to_vec()]);
    let board = on_board(&ready);
    assert_eq!((board[0].stage, board[0].code.as_deref()), (Stage::Ready, Some("0000")));
    for end in [served(0), cancelled(0)] {
        assert_eq!(on_board(&facts(&[confirmed(0), end])), []);
    }
    assert_eq!(on_board(&refused(0)), []);
    assert_eq!(on_board(&[placed(0), ordered(0, order::Event::Expired)]), []);
}

#[test]
fn the_board_leaves_out_what_was_refunded() {
    let refund = Fact::Order(
        order_id(0),
        order::Event::RefundBegun {
            amounts: vec![],
            first: vec![],
            refund: domain::RefundId(id(77)),
            lines: vec![LineCount { line: 1, quantity: 1 }],
            amount: cny(600),
            from: RefundFrom::Prepaid,
            unearned: None,
            reason: RefundReason::Withdrawn,
        },
    );
    let mut rows = fold(&KitchenBoard, &facts(&[confirmed(0), vec![refund]]));
    let quantities: Vec<_> = rows.all::<Ticket>()[0].lines.iter().map(|line| line.quantity).collect();
    assert_eq!(quantities, [1, 1]);
}

#[test]
fn an_order_says_how_it_was_paid_and_how_it_ended() {
    let mut rows = fold(&DinerOrders, &facts(&[confirmed(0), cancelled(0), refused(1), confirmed(2), served(2)]));
    let orders = rows.all::<Order>();
    let status: Vec<_> = orders.iter().map(|order| order.status).collect();
    assert_eq!(status, [Status::Cancelled, Status::Refused, Status::PickedUp]);
    let cancelled = &orders[0];
    assert_eq!((cancelled.total(), cancelled.refunded()), (cny(2_400), cny(2_400)));
    let tenders: Vec<_> = cancelled.tenders.iter().map(|tender| (tender.amount, tender.refunded)).collect();
    assert_eq!(tenders, [(1_000, 1_000), (1_400, 1_400)]);
    assert!(cancelled.refunds[0].settled_at.is_some());
    assert_eq!(orders[1].refusal.as_ref().unwrap().code(), "SOLD_OUT");
    assert_eq!(orders[2].code.as_deref(), Some("0002"));
}

#[test]
fn the_dashboard_counts_each_order_once() {
    let mut rows = fold(&Dashboard, &lunch(35));
    // Of 35: five are refused (6, 13, 20, 27, 34), of the rest 4, 9, 14, 19, 24, 29 are cancelled.
    let counts = rows.all::<Counts>()[0].clone();
    assert_eq!((counts.placed, counts.confirmed, counts.refused), (35, 30, 5));
    assert_eq!((counts.cancelled, counts.picked_up, counts.expired, counts.no_show), (6, 24, 0, 0));
    let refusals: Vec<_> = rows.all::<Refused>().into_iter().map(|row| (row.reason, row.orders)).collect();
    assert_eq!(refusals, [("SOLD_OUT".to_owned(), 5)]);
    let minutes = rows.all::<Minute>();
    assert!(minutes.len() > 1 && minutes.iter().all(|minute| minute.minute.micros % 60_000_000 == 0));
    assert_eq!(minutes.iter().map(|minute| minute.placed).sum::<u64>(), 35);
    assert_eq!(minutes.iter().map(|minute| minute.confirmed).sum::<u64>(), 30);
    let dishes: Vec<_> = rows.all::<DishSales>();
    let sold: Vec<_> = dishes.iter().map(|dish| (dish.portions, dish.refunded_portions, dish.takings())).collect();
    assert_eq!(sold, [(30, 6, cny(24 * 1_200)), (60, 12, cny(24 * 1_200))]);
    // Only those that can still be refunded are kept.
    assert_eq!(rows.all::<OpenOrder>().len(), 24);
}

#[test]
fn a_refund_by_line_reduces_its_dish_alone() {
    let mut rows = fold(&Dashboard, &facts(&[confirmed(0), served(0), vec![complaint(0)]]));
    let takings: Vec<_> = rows.all::<DishSales>().iter().map(DishSales::takings).collect();
    assert_eq!(takings, [cny(1_200), cny(600)]);
    let twice = vec![complaint(0), complaint(0), complaint(0)];
    let history = recorded(&facts(&[confirmed(0), served(0), twice]));
    let mut rows = crate::Rows::empty();
    let outcomes: Vec<_> = history.iter().map(|it| Dashboard.apply(it, &mut rows)).collect();
    assert!(outcomes.last().unwrap().as_ref().unwrap_err().0.contains("too few portions"));
}

/// The rice is given up, and one soup more is wanted: 24.00 become 18.00.
fn changed(number: usize) -> Vec<Fact> {
    let change = domain::ChangeId(id(78));
    let order::Event::Placed(placement) = (match placed(number) {
        Fact::Order(_, event) => event,
        other => panic!("{other:?}"),
    }) else {
        panic!("not placed")
    };
    let soup_line = domain::order::Line { quantity: 3, ..placement.lines[1].clone() };
    let to = domain::order::Change { change, lines: vec![soup_line], total: cny(1_800) };
    let portions = |dish| vec![serving::Portions { dish, quantity: 1 }];
    let back = order::Event::RefundBegun {
        refund: domain::RefundId(change.0),
        lines: vec![],
        amounts: vec![],
        first: vec![],
        amount: cny(600),
        from: RefundFrom::Prepaid,
        unearned: None,
        reason: RefundReason::Changed,
    };
    let order = order_id(number);
    vec![
        ordered(number, order::Event::ChangeBegun { serving: serving_id(), change: to.clone() }),
        Fact::Serving(serving_id(), serving::Event::Widened { order, change, portions: portions(soup()) }),
        ordered(number, back),
        ordered(number, order::Event::Changed(to)),
        Fact::Serving(serving_id(), serving::Event::Narrowed { order, change, portions: portions(rice()) }),
        ordered(number, order::Event::ChangeSettled { change }),
    ]
}

#[test]
fn a_changed_order_is_for_its_new_lines_everywhere() {
    let history = facts(&[opening(), confirmed(0), changed(0)]);
    let left: Vec<_> = fold(&Menus, &history).all::<Offer>().iter().map(|offer| offer.reserved).collect();
    assert_eq!(left, [0, 3]);
    let ticket = fold(&KitchenBoard, &history).all::<Ticket>()[0].clone();
    assert_eq!(ticket.lines.iter().map(|line| (line.dish, line.quantity)).collect::<Vec<_>>(), [(soup(), 3)]);
    let sales = fold(&Dashboard, &history).all::<DishSales>();
    let sold: Vec<_> = sales.iter().map(|dish| (dish.portions, dish.refunded_portions, dish.takings())).collect();
    assert_eq!(sold, [(0, 0, cny(0)), (3, 0, cny(1_800))]);
    let order = fold(&DinerOrders, &history).all::<Order>()[0].clone();
    assert_eq!((order.total(), order.refunded(), order.lines.len()), (cny(1_800), cny(0), 1));
    assert!(order.refunds[0].before_change);
}

#[test]
fn an_order_that_was_refunded_whole_before_its_meal_goes_on() {
    let all = Fact::Order(
        order_id(0),
        order::Event::RefundBegun {
            refund: domain::RefundId(id(77)),
            lines: vec![LineCount { line: 0, quantity: 1 }, LineCount { line: 1, quantity: 2 }],
            amounts: vec![],
            first: vec![],
            amount: cny(2_400),
            from: RefundFrom::Prepaid,
            unearned: None,
            reason: RefundReason::Complaint,
        },
    );
    let mut rows = fold(&Dashboard, &facts(&[confirmed(0), vec![all], served(0)]));
    assert_eq!(rows.all::<Counts>()[0].picked_up, 1);
    let sales = rows.all::<DishSales>();
    assert!(sales.iter().all(|dish| dish.takings() == cny(0)), "{sales:?}");
}

#[test]
fn an_entry_says_what_a_correction_is_for_and_no_other_says_anything() {
    use domain::account::AdjustReason::Goodwill;
    let wallet = AccountId::Wallet(diner(0));
    let adjusted = account::Event::Adjusted { adjustment: id(1), by: cny(5), reason: Goodwill };
    let mut rows = fold(&Journal, &[funded(0), vec![Fact::Account(wallet, adjusted)]].concat());
    let entries = rows.all::<Entry>();
    let (corrected, others): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry.event == "account.Adjusted");
    assert!(corrected.iter().all(|entry| entry.reason == Some(Goodwill)) && corrected.len() == 2);
    assert!(others.iter().all(|entry| entry.reason.is_none()) && !others.is_empty());
}

#[test]
fn the_journal_has_two_balanced_entries_a_movement() {
    let mut rows = fold(&Journal, &lunch(10));
    let entries = rows.all::<Entry>();
    assert_eq!(entries.iter().map(|entry| entry.amount_minor).sum::<i64>(), 0);
    // Twenty deposits, nine orders' two captures each (one is refused), of which two are given
    // back to two accounts and seven are served.
    assert_eq!(entries.len(), 2 * (20 + 9 * 2 + 2 * 2 + 7));
    let captured = entries.iter().find(|entry| entry.event == "account.Captured").unwrap();
    assert_eq!(
        (captured.account, captured.amount()),
        (LedgerAccount::Limited(AccountId::Subsidy(diner(0))), cny(-1_000))
    );
    assert_eq!(captured.occurred_at, at(captured.position));
}

#[test]
fn balances_follow_the_postings_and_the_holds() {
    let mut rows = fold(&Balances, &facts(&[funded(0), confirmed(0)[..5].to_vec()]));
    let wallet = rows.get::<LimitedAccount>(&(tenant(), AccountId::Wallet(diner(0)))).unwrap();
    assert_eq!((wallet.posted(), wallet.held(), wallet.available()), (cny(5_000), cny(1_400), cny(3_600)));
    assert_eq!(rows.all::<Hold>().len(), 2);

    let mut rows = fold(&Balances, &lunch(10));
    assert_eq!(rows.all::<Hold>(), []);
    let balances = rows.all::<Balance>();
    assert_eq!(balances.iter().map(|balance| balance.balance_minor).sum::<i64>(), 0);
    let of = |account| balances.iter().find(|balance| balance.account == account).unwrap();
    assert_eq!(of(LedgerAccount::Canteen(canteen())).balance(), cny(7 * 2_400));
    let prepaid = of(LedgerAccount::Prepaid);
    assert_eq!((prepaid.balance_minor, prepaid.credits_minor, prepaid.debits_minor), (0, 9 * 2_400, 9 * 2_400));
    for account in rows.all::<LimitedAccount>() {
        assert_eq!(of(LedgerAccount::Limited(account.account)).balance(), account.posted());
    }
}

#[test]
fn a_release_gives_the_hold_back_and_one_that_comes_first_changes_nothing() {
    let wallet = AccountId::Wallet(diner(0));
    let held = account::Event::Held { hold: hold(0, 1), amount: cny(1_400), lot: None };
    let released = |number| Fact::Account(wallet, account::Event::Released { hold: hold(number, 1) });
    let history = facts(&[funded(0), vec![released(5), Fact::Account(wallet, held), released(0)]]);
    let mut rows = fold(&Balances, &history);
    let row = rows.get::<LimitedAccount>(&(tenant(), wallet)).unwrap();
    assert_eq!((row.posted(), row.held()), (cny(5_000), cny(0)));
}

#[test]
fn what_was_never_placed_is_poison_to_the_views_that_need_it() {
    let it = &recorded(&[ordered(0, order::Event::Confirmed)])[0];
    let refusing: Vec<_> = all()
        .iter()
        .filter(|projection| projection.apply(it, &mut crate::Rows::empty()).is_err())
        .map(|projection| projection.name())
        .collect();
    assert_eq!(refusing, ["kitchen_board", "diner_orders", "dashboard"]);
}

#[test]
fn minutes_before_1970_are_floored_too() {
    let mut it = recorded(&[placed(0)]).remove(0);
    it.occurred_at = Timestamp::from_micros(-1);
    let mut rows = crate::Rows::empty();
    Dashboard.apply(&it, &mut rows).unwrap();
    assert_eq!(rows.all::<Minute>()[0].minute.micros, -60_000_000);
}

#[test]
fn a_withdrawal_says_how_many_of_its_orders_have_been_told() {
    let of_order = |number| domain::RefundId::of_withdrawal(order_id(number), serving_id(), Some(rice()));
    let back = |number: usize| {
        ordered(
            number,
            order::Event::RefundBegun {
                refund: of_order(number),
                lines: vec![LineCount { line: 0, quantity: 1 }],
                amounts: vec![],
                first: vec![],
                amount: cny(1_200),
                from: RefundFrom::Prepaid,
                unearned: None,
                reason: RefundReason::Withdrawn,
            },
        )
    };
    let orders = vec![order_id(0), order_id(1), order_id(2)];
    let withdrawn = Fact::Serving(serving_id(), serving::Event::DishWithdrawn { dish: rice(), orders });
    let refused = ordered(2, order::Event::Refused(domain::order::Refusal::Withdrawn));
    let settled = Fact::Serving(serving_id(), serving::Event::WithdrawalSettled { dish: Some(rice()) });
    let before = facts(&[confirmed(0), confirmed(1), vec![placed(2), withdrawn, back(0)]]);
    let told = |history: &[Fact]| {
        let row = fold(&Dashboard, history).all::<Withdrawal>()[0].clone();
        (row.orders, row.told, row.settled)
    };
    assert_eq!(told(&before), (3, 1, false));
    // Somebody who came too late was no order of it.
    let outsider = ordered(3, order::Event::Refused(domain::order::Refusal::Withdrawn));
    let late = facts(&[before.clone(), vec![placed(3), outsider]]);
    assert_eq!(told(&late), (3, 1, false));
    let refused = facts(&[before, vec![refused]]);
    assert_eq!(told(&refused), (3, 2, false));
    assert_eq!(told(&facts(&[refused, vec![settled]])), (3, 3, true));
}
