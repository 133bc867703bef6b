//! What falls when streams were moved: everything that rests on them, and nothing else.

use domain::StreamId;
use rustc_hash::{FxHashMap, FxHashSet};

/// An append in the queue, as far as falling goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) stream: StreamId,
    /// Which chain queued it, by a number below the count of chains; none for a bare check.
    pub(crate) chain: Option<usize>,
}

/// Which of `links`, in the order of the queue, fall when the streams in `moved` were moved.
///
/// `rests` says which chain looked at the state that which link leaves. A chain falls whole: all of
/// its links that still wait, so that it runs again from states that have nothing queued by itself.
/// With a link fall those behind it on its stream, and every chain that looked at it.
pub(crate) fn falling(links: &[Link], rests: &[(usize, usize)], moved: &FxHashSet<StreamId>) -> Vec<bool> {
    let mut graph = Graph::new(links, rests);
    for (number, link) in links.iter().enumerate() {
        if moved.contains(&link.stream) {
            graph.push(number);
        }
    }
    while let Some(number) = graph.next.pop() {
        graph.spread(links, number);
    }
    graph.falls
}

struct Graph {
    falls: Vec<bool>,
    next: Vec<usize>,
    of_stream: FxHashMap<StreamId, Vec<usize>>,
    /// A chain's links; emptied once they fall.
    of_chain: FxHashMap<usize, Vec<usize>>,
    looked_at_by: FxHashMap<usize, Vec<usize>>,
}

impl Graph {
    fn new(links: &[Link], rests: &[(usize, usize)]) -> Self {
        let mut graph = Graph {
            falls: vec![false; links.len()],
            next: Vec::new(),
            of_stream: FxHashMap::default(),
            of_chain: FxHashMap::default(),
            looked_at_by: FxHashMap::default(),
        };
        for (number, link) in links.iter().enumerate() {
            graph.of_stream.entry(link.stream).or_default().push(number);
            if let Some(chain) = link.chain {
                graph.of_chain.entry(chain).or_default().push(number);
            }
        }
        for (chain, number) in rests {
            graph.looked_at_by.entry(*number).or_default().push(*chain);
        }
        graph
    }

    fn push(&mut self, number: usize) {
        if !std::mem::replace(&mut self.falls[number], true) {
            self.next.push(number);
        }
    }

    fn push_chain(&mut self, chain: usize) {
        for number in self.of_chain.remove(&chain).unwrap_or_default() {
            self.push(number);
        }
    }

    fn spread(&mut self, links: &[Link], number: usize) {
        let link = links[number];
        // What is behind it on its stream leaves the list, so that each link is moved once.
        let behind = self.of_stream.get_mut(&link.stream).map_or_else(Vec::new, |all| {
            let here = all.partition_point(|other| *other < number);
            all.split_off(here)
        });
        for other in behind {
            self.push(other);
        }
        if let Some(chain) = link.chain {
            self.push_chain(chain);
        }
        for chain in self.looked_at_by.remove(&number).unwrap_or_default() {
            self.push_chain(chain);
        }
    }
}
