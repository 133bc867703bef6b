//! What falls with a moved stream, against the definition taken by its word.

use domain::{StreamId, StreamKind};
use proptest::prelude::*;
use rustc_hash::FxHashSet;
use uuid::Uuid;

use super::TENANT;
use crate::closure::{Link, falling};

fn stream(key: u128) -> StreamId {
    StreamId { tenant: TENANT, kind: StreamKind::Wallet, key: Uuid::from_u128(key) }
}

/// Adds what falls with what has fallen, over and over, until nothing is added.
fn by_definition(links: &[Link], rests: &[(usize, usize)], moved: &FxHashSet<StreamId>) -> Vec<bool> {
    let mut falls: Vec<bool> = links.iter().map(|link| moved.contains(&link.stream)).collect();
    loop {
        let falls_too = |number: usize| {
            let link = links[number];
            let behind = (0..number).any(|other| falls[other] && links[other].stream == link.stream);
            let of_chain = |chain: usize| {
                let linked = (0..links.len()).any(|other| falls[other] && links[other].chain == Some(chain));
                linked || rests.iter().any(|(who, what)| *who == chain && falls[*what])
            };
            falls[number] || behind || link.chain.is_some_and(of_chain)
        };
        let next: Vec<bool> = (0..links.len()).map(falls_too).collect();
        if next == falls {
            return falls;
        }
        falls = next;
    }
}

proptest! {
    #[test]
    fn falls_by_definition(
        links in proptest::collection::vec((0_u128..8, proptest::option::of(0_usize..8)), 0..40),
        rests in proptest::collection::vec((0_usize..8, 0_usize..40), 0..12),
        moved in proptest::collection::vec(0_u128..8, 0..3),
    ) {
        let links: Vec<Link> = links.into_iter().map(|(key, chain)| Link { stream: stream(key), chain }).collect();
        let rests: Vec<_> = rests.into_iter().filter(|(_, link)| *link < links.len()).collect();
        let moved: FxHashSet<StreamId> = moved.into_iter().map(stream).collect();
        prop_assert_eq!(falling(&links, &rests, &moved), by_definition(&links, &rests, &moved));
    }
}

#[test]
fn nothing_else_falls() {
    let link = |key, chain| Link { stream: stream(key), chain };
    // Chain 0 rests on the moved stream; chain 1 is before it on a shared stream, chain 2 behind it.
    let links =
        [link(2, Some(1)), link(1, Some(0)), link(2, Some(0)), link(2, Some(2)), link(3, Some(3)), link(1, None)];
    let falls = falling(&links, &[], &FxHashSet::from_iter([stream(1)]));
    assert_eq!(falls, [false, true, true, true, false, true]);
    // Chain 3 looked at what chain 2 left.
    let falls = falling(&links, &[(3, 3)], &FxHashSet::from_iter([stream(1)]));
    assert_eq!(falls, [false, true, true, true, true, true]);
}
