use domain::{StreamKind, Timestamp};

use crate::{
    MemoryLog,
    history::{Span, testing::*},
};

use super::*;

/// 5,000 deposits: the number n is recorded at second n / 2, for the wallet n % 10 of the tenant n % 3 + 1.
async fn many() -> Made {
    let made = Made::new();
    for number in 1..=5_000 {
        made.deposit(number % 3 + 1, number % 10, number, (number / 2) as i64).await;
    }
    made
}

async fn all(log: &MemoryLog, filter: &Filter, direction: Direction, after: Option<Position>) -> (Vec<Position>, u64) {
    let mut scan = Scan::open(log, filter.clone(), direction, after).await.unwrap();
    let mut positions = Vec::new();
    while let Some(rows) = scan.next(usize::MAX).await.unwrap() {
        positions.extend(rows.iter().map(|row| row.position));
    }
    assert_eq!(scan.left(), 0);
    (positions, scan.looked_at())
}

#[tokio::test]
async fn everything_is_seen_once_from_either_end() {
    let made = many().await;
    let everything: Vec<Position> = (1..=5_000).collect();
    let forwards = all(&made.log, &Filter::default(), Direction::OldestFirst, None).await;
    assert_eq!(forwards, (everything.clone(), 5_000));
    let backwards = all(&made.log, &Filter::default(), Direction::NewestFirst, None).await;
    assert_eq!(backwards, (everything.into_iter().rev().collect(), 5_000));
    let after = all(&made.log, &Filter::default(), Direction::OldestFirst, Some(4_998)).await;
    assert_eq!(after, (vec![4_999, 5_000], 2));
    let before = all(&made.log, &Filter::default(), Direction::NewestFirst, Some(3)).await;
    assert_eq!(before, (vec![2, 1], 2));
    for (direction, end) in [(Direction::OldestFirst, 5_000), (Direction::NewestFirst, 1)] {
        assert_eq!(all(&made.log, &Filter::default(), direction, Some(end)).await, (vec![], 0));
    }
    assert_eq!(all(&MemoryLog::new(), &Filter::default(), Direction::NewestFirst, None).await, (vec![], 0));
}

#[tokio::test]
async fn a_stream_of_a_tenant_is_read_alone() {
    let made = many().await;
    let of = stream(2, StreamKind::Wallet, 1);
    let filter = Filter { tenant: Some(of.tenant), stream: Some((of.kind, of.key)), ..Filter::default() };
    let expected: Vec<Position> = (1..=5_000).filter(|number| number % 3 == 1 && number % 10 == 1).collect();
    let count = expected.len() as u64;
    assert_eq!(all(&made.log, &filter, Direction::OldestFirst, None).await, (expected.clone(), count));
    // Without the tenant everything is looked at.
    let anyone = Filter { tenant: None, ..filter.clone() };
    assert_eq!(all(&made.log, &anyone, Direction::OldestFirst, None).await.1, 5_000);
    let (from, to) = (expected[10], expected[20]);
    let between = Filter { positions: Span { from: Some(from), to: Some(to) }, ..filter.clone() };
    let backwards: Vec<Position> = expected[10..=20].iter().rev().copied().collect();
    assert_eq!(all(&made.log, &between, Direction::NewestFirst, None).await, (backwards, 11));
    let rest = all(&made.log, &between, Direction::OldestFirst, Some(expected[18])).await;
    assert_eq!(rest, (expected[19..=20].to_vec(), 2));
    let nobodys = Filter { tenant: Some(tenant(9)), ..filter };
    assert_eq!(all(&made.log, &nobodys, Direction::NewestFirst, None).await, (vec![], 0));
}

#[tokio::test]
async fn a_recorded_time_is_sought_and_not_walked_to() {
    let made = many().await;
    let recorded = |from: i64, to: i64| Span { from: Some(after_noon(from)), to: Some(after_noon(to)) };
    let found = |filter: Filter| {
        let log = &made.log;
        async move { all(log, &filter, Direction::OldestFirst, None).await }
    };
    let some = Filter { recorded: recorded(100, 103), ..Filter::default() };
    assert_eq!(found(some).await, (vec![200, 201, 202, 203, 204, 205], 6));
    let first = Filter { recorded: recorded(-9, 1), ..Filter::default() };
    assert_eq!(found(first).await, (vec![1], 1));
    for nothing in [recorded(-9, -1), recorded(9_000, 9_001)] {
        assert_eq!(found(Filter { recorded: nothing, ..Filter::default() }).await, (vec![], 0));
    }
    let end = Filter { recorded: Span { from: Some(after_noon(2_500)), to: None }, ..Filter::default() };
    assert_eq!(found(end).await, (vec![5_000], 1));
    let ever = Span { from: Some(Timestamp::from_micros(i64::MIN)), to: Some(Timestamp::from_micros(i64::MAX)) };
    assert_eq!(found(Filter { recorded: ever, ..Filter::default() }).await.1, 5_000);
}

#[tokio::test]
async fn pages_join_without_gap_or_repeat_and_look_at_no_more_than_they_may() {
    let made = many().await;
    // A third of the events, and a tenth.
    let third = Filter { tenant: Some(tenant(2)), ..Filter::default() };
    let tenth = Filter { stream: Some((StreamKind::Wallet, id(1))), ..Filter::default() };
    for filter in [third, tenth] {
        for direction in [Direction::OldestFirst, Direction::NewestFirst] {
            let (expected, _) = all(&made.log, &filter, direction, None).await;
            for limits in [(7, 10_000), (1_000, 13), (50, 50), (10_000, 10_000)] {
                assert_eq!(joined(&made.log, &filter, direction, limits).await, expected, "{direction:?} {limits:?}");
            }
        }
    }
}

/// The positions of all pages.
async fn joined(log: &MemoryLog, filter: &Filter, direction: Direction, limits: (usize, u64)) -> Vec<Position> {
    let (mut joined, mut after) = (Vec::new(), None);
    loop {
        let page = page(log, filter, direction, after, limits).await.unwrap();
        assert!(page.events.len() <= limits.0 && page.looked_at <= limits.1, "{limits:?}");
        joined.extend(page.events.iter().map(|row| row.position));
        after = page.next;
        if after.is_none() {
            return joined;
        }
    }
}

#[tokio::test]
async fn a_page_without_a_match_says_where_to_go_on() {
    let made = many().await;
    let filter = Filter { correlation: Some(id(4_000)), ..Filter::default() };
    let first = page(&made.log, &filter, Direction::OldestFirst, None, (10, 1_000)).await.unwrap();
    assert_eq!((first.events.len(), first.looked_at, first.next), (0, 1_000, Some(1_000)));
    let later = page(&made.log, &filter, Direction::OldestFirst, Some(3_500), (10, 1_000)).await.unwrap();
    assert_eq!(later.events.iter().map(|row| row.position).collect::<Vec<_>>(), [4_000]);
}
