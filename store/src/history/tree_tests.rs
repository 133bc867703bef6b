use domain::account;

use crate::{MemoryLog, history::testing::*};

use super::*;

/// An event of `command`, about the order 500, for the stream of that kind and key.
async fn told(made: &Made, kind: StreamKind, key: u128, command: u128, causation: Option<u128>) {
    let entry = Entry { causation, ..Entry::new(stream(1, kind, key), command, 500, 0) };
    made.record(entry, &[account::Event::Frozen]).await;
}

async fn others(made: &Made, count: u128) {
    for number in 0..count {
        made.deposit(1, 7, 10_000 + number, 0).await;
    }
}

fn shown(tree: &Tree) -> Vec<String> {
    let line = |command: &Command| {
        let positions: Vec<String> = command.events.iter().map(|row| row.position.to_string()).collect();
        let orphan = if command.is_orphan { " orphan" } else { "" };
        format!("{}{} [{}]{orphan}", "> ".repeat(command.depth), command.id.0.as_u128(), positions.join(" "))
    };
    tree.commands.iter().map(line).collect()
}

async fn tree_of(log: &MemoryLog, window: u64) -> Tree {
    tree(log, tenant(1), id(500), None, Bounds { window, ..Bounds::default() }).await.unwrap()
}

#[tokio::test]
async fn commands_stand_under_what_caused_them() {
    let made = Made::new();
    others(&made, 3).await;
    told(&made, StreamKind::Order, 500, 1, None).await;
    told(&made, StreamKind::Serving, 60, 2, Some(1)).await;
    told(&made, StreamKind::Payment, 500, 3, Some(1)).await;
    told(&made, StreamKind::Wallet, 7, 4, Some(2)).await;
    told(&made, StreamKind::Order, 500, 1, None).await;
    others(&made, 3).await;
    told(&made, StreamKind::Wallet, 7, 5, Some(99)).await;
    told(&made, StreamKind::Wallet, 7, 6, None).await;
    let tree = tree_of(&made.log, 1_000).await;
    assert_eq!(shown(&tree), ["1 [4 8]", "> 2 [5]", "> > 4 [7]", "> 3 [6]", "5 [12] orphan", "6 [13]"]);
    assert!(tree.is_whole && tree.looked_at == 10, "{}", tree.looked_at);
}

#[tokio::test]
async fn another_tenants_events_are_not_in_it() {
    let made = Made::new();
    told(&made, StreamKind::Order, 500, 1, None).await;
    let theirs = Entry::new(stream(2, StreamKind::Order, 500), 1, 500, 0);
    made.record(theirs, &[account::Event::Frozen]).await;
    assert_eq!(shown(&tree_of(&made.log, 100).await), ["1 [1]"]);
    let nothing = tree(&made.log, tenant(3), id(500), None, Bounds::default()).await.unwrap_err();
    assert!(matches!(nothing, HistoryError::NothingAbout { .. }), "{nothing}");
}

#[tokio::test]
async fn a_bound_that_is_hit_is_said_and_what_is_known_is_found_behind_it() {
    let made = Made::new();
    told(&made, StreamKind::Order, 500, 1, None).await;
    others(&made, 3_000).await;
    told(&made, StreamKind::Wallet, 7, 2, Some(1)).await;
    others(&made, 3_000).await;
    told(&made, StreamKind::Wallet, 7, 3, Some(1)).await;
    told(&made, StreamKind::Order, 500, 4, Some(1)).await;
    others(&made, 2_000).await;
    // What stands beside the order's own last event is found; what stands alone far off is not.
    let near = tree_of(&made.log, 100).await;
    assert_eq!(shown(&near), ["1 [1]", "> 3 [6003]", "> 4 [6004]"]);
    assert!(!near.is_whole && near.looked_at < 1_200, "{}", near.looked_at);
    let whole = tree_of(&made.log, 1_000_000).await;
    assert_eq!(shown(&whole), ["1 [1]", "> 2 [3002]", "> 3 [6003]", "> 4 [6004]"]);
    assert!(whole.is_whole);
}

#[tokio::test]
async fn a_tree_with_too_many_events_is_cut_and_says_so() {
    let made = Made::new();
    for command in 1..=6 {
        told(&made, StreamKind::Order, 500, command, None).await;
    }
    let cut = |events| tree(&made.log, tenant(1), id(500), None, Bounds { window: 100, events });
    let five = cut(5).await.unwrap();
    assert_eq!((five.commands.len(), five.is_whole), (5, false));
    let six = cut(6).await.unwrap();
    assert_eq!((six.commands.len(), six.is_whole), (6, true));
}

#[tokio::test]
async fn a_matter_without_a_stream_of_its_own_is_found_around_an_event() {
    let made = Made::new();
    others(&made, 100).await;
    told(&made, StreamKind::Wallet, 7, 1, None).await;
    told(&made, StreamKind::Wallet, 7, 2, Some(1)).await;
    others(&made, 100).await;
    let event = of_command(&made.log, CommandId(id(2))).await.unwrap().unwrap();
    assert_eq!((event.position, event.metadata.correlation), (102, id(500)));
    let tree =
        tree(&made.log, tenant(1), id(500), Some(event.position), Bounds { window: 50, events: 10 }).await.unwrap();
    assert_eq!(shown(&tree), ["1 [101]", "> 2 [102]"]);
    assert!(!tree.is_whole, "it may have begun before");
    let to_the_head = Bounds { window: 190, events: 10 };
    others(&made, 1).await;
    let tree = super::tree(&made.log, tenant(1), id(500), Some(150), to_the_head).await.unwrap();
    assert!(!tree.is_whole && tree.commands.len() == 2, "to the head, but not from its beginning: {tree:?}");
    assert_eq!(of_command(&made.log, CommandId(id(3))).await.unwrap(), None);
}

#[tokio::test]
async fn commands_that_caused_each_other_are_all_shown() {
    let made = Made::new();
    told(&made, StreamKind::Order, 500, 1, Some(2)).await;
    told(&made, StreamKind::Order, 500, 2, Some(1)).await;
    told(&made, StreamKind::Order, 500, 3, Some(3)).await;
    assert_eq!(shown(&tree_of(&made.log, 100).await), ["3 [3] orphan", "1 [1] orphan", "> 2 [2]"]);
}
