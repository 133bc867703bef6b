use crate::{EventStore, history::testing::*};

use super::*;

async fn rows() -> Vec<EventRow> {
    Made::with_a_wallet().await.log.read_all(1, 100).await.unwrap()
}

/// Positions of what a filter takes.
async fn taken(filter: Filter) -> Vec<Position> {
    rows().await.iter().filter(|row| filter.matches(row)).map(|row| row.position).collect()
}

#[tokio::test]
async fn each_part_takes_what_it_names_and_nothing_else() {
    let all = Filter::default();
    assert_eq!(taken(all.clone()).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(taken(Filter { tenant: Some(tenant(2)), ..all.clone() }).await, [3]);
    assert_eq!(taken(Filter { stream: Some((StreamKind::Wallet, id(8))), ..all.clone() }).await, [3]);
    assert_eq!(taken(Filter { stream: Some((StreamKind::Subsidy, id(8))), ..all.clone() }).await, [0; 0]);
    assert_eq!(taken(Filter { kind: Some(StreamKind::Wallet), ..all.clone() }).await.len(), 6);
    assert_eq!(taken(Filter { kind: Some(StreamKind::Order), ..all.clone() }).await, [0; 0]);
    assert_eq!(taken(Filter { correlation: Some(id(90)), ..all.clone() }).await, [4, 5]);
    assert_eq!(taken(Filter { command: Some(CommandId(id(92))), ..all.clone() }).await, [5]);
    assert_eq!(taken(Filter { actor: Some(ActorId(id(2))), ..all.clone() }).await, [3, 5]);
    let types = |texts: &[&str]| texts.iter().map(|text| EventType::parse(text).unwrap()).collect::<Vec<_>>();
    assert_eq!(taken(Filter { types: types(&["account.Deposited"]), ..all.clone() }).await, [2, 3]);
    assert_eq!(taken(Filter { types: types(&["account.Held", "account.Frozen"]), ..all.clone() }).await, [4, 6]);
    assert_eq!(taken(Filter { types: types(&["account"]), ..all.clone() }).await.len(), 6);
    assert_eq!(taken(Filter { types: types(&["order"]), ..all.clone() }).await, [0; 0]);
    // A name that begins with another is another.
    let paid = EventType::parse("payment.Paid").unwrap();
    assert!(paid.takes("payment.Paid") && !paid.takes("payment.PaidBack"));
    let two = Filter { tenant: Some(tenant(1)), types: types(&["account.Deposited"]), ..all };
    assert_eq!(taken(two).await, [2], "every part applies");
}

#[tokio::test]
async fn times_begin_with_the_first_and_end_before_the_last() {
    let times = |from, to| Span { from: Some(after_noon(from)), to: Some(after_noon(to)) };
    assert_eq!(taken(Filter { recorded: times(10, 30), ..Filter::default() }).await, [3, 4]);
    // Event 6 occurred before what was recorded before it.
    assert_eq!(taken(Filter { occurred: times(20, 26), ..Filter::default() }).await, [4, 6]);
    let positions = Span { from: Some(2), to: Some(3) };
    assert_eq!(taken(Filter { positions, ..Filter::default() }).await, [2, 3]);
}

#[test]
fn a_slip_is_refused_and_named() {
    let turned = Span { from: Some(after_noon(2)), to: Some(after_noon(1)) };
    let filters = [
        ("occurred", Filter { occurred: turned, ..Filter::default() }),
        ("recorded", Filter { recorded: turned, ..Filter::default() }),
        ("recorded", Filter { recorded: Span { to: turned.from, ..turned }, ..Filter::default() }),
        ("positions", Filter { positions: Span { from: Some(5), to: Some(4) }, ..Filter::default() }),
        (
            "kind",
            Filter { stream: Some((StreamKind::Order, id(1))), kind: Some(StreamKind::Menu), ..Filter::default() },
        ),
    ];
    for (what, filter) in filters {
        assert_eq!(filter.check().unwrap_err().what, what);
    }
    let fine = Filter { positions: Span { from: Some(5), to: Some(5) }, ..Filter::default() };
    assert_eq!(fine.check(), Ok(()));
}

#[test]
fn an_unknown_word_names_the_known_ones() {
    let said = |error: BadFilter| error.to_string();
    let unknown = said(EventType::parse("order.Melted").unwrap_err());
    assert!(unknown.starts_with("type: ") && unknown.contains("order.Melted"), "{unknown}");
    assert!(unknown.contains("order.Placed, ") && !unknown.contains("menu.Opened"), "{unknown}");
    for text in ["", "ord", "orders.Placed", ".Placed", "wallet.Held"] {
        let unknown = said(EventType::parse(text).unwrap_err());
        assert!(unknown.contains("menu, serving, order, payment, account"), "{unknown}");
    }
    for text in ["order.", "order.placed", "order.Placed.Again"] {
        assert!(said(EventType::parse(text).unwrap_err()).contains("order.Placed"), "{text}");
    }
    assert!(said(parse_kind("Wallet").unwrap_err()).contains("menu, serving, order, payment, wallet, subsidy"));
    assert_eq!(parse_kind("wallet"), Ok(StreamKind::Wallet));
    for text in ["order", "order:7", "orders:00000000-0000-0000-0000-000000000001", ""] {
        assert_eq!(parse_stream(text).unwrap_err().what, "stream", "{text}");
    }
    assert_eq!(parse_stream(&wallet().to_string()), Ok((StreamKind::Wallet, diner().0)));
    let long = said(parse_uuid("actor", &"x".repeat(900)).unwrap_err());
    assert!(long.starts_with("actor: ") && long.len() < 200, "{long}");
}

#[test]
fn a_time_is_an_instant_or_a_day() {
    assert_eq!(parse_time("at", "2026-11-23"), parse_time("at", "2026-11-23T00:00:00Z"));
    assert_eq!(parse_time("at", "2026-11-23T12:00:00+08:00"), parse_time("at", "2026-11-23T04:00:00Z"));
    for text in ["", "noon", "2026-13-01", "2026-11-23 04:00", "2026-11-2é", "1795435200"] {
        let error = parse_time("recorded", text).unwrap_err();
        assert!(error.what == "recorded" && error.why.contains("2026-11-23T04:00:00Z"), "{error}");
    }
}
