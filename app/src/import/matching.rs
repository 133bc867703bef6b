//! Which sales the cancellations of a file take back. Pure: the same file, and the same refunds
//! that an earlier import made, give the same matches.
//!
//! A cancelled line takes back portions of the same dish at the same price to the same diner, sold no
//! later than it, from the most recent sale that has any left; then from the one before. So a longer
//! file of the same till, with months before or after, matches what this one matched just so.

use std::collections::{HashMap, HashSet};

use domain::{Timestamp, order::LineCount};

use super::{
    orders::{Cancellation, CancelledLine, History, PastLine},
    rows::Who,
    tally::Reason,
};

/// A cancelled line: the cancellation's index and the line's.
pub type Cancelled = (usize, usize);

/// What a cancelled line takes back from one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    pub of: Cancelled,
    /// Of [`History::orders`].
    pub order: usize,
    pub lines: Vec<LineCount>,
    /// An earlier import began this refund.
    pub known: bool,
}

impl Match {
    pub fn quantity(&self) -> u32 {
        self.lines.iter().map(|count| count.quantity).sum()
    }
}

/// Portions of a cancelled line that no sale is left for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    pub of: Cancelled,
    pub quantity: u32,
    pub reason: Reason,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Matches {
    /// In the order of the cancellations.
    pub matched: Vec<Match>,
    pub rests: Vec<Rest>,
}

/// One dish at one price to one diner.
type Key<'a> = (&'a Who, usize, i64);

struct Sold {
    order: usize,
    line: u16,
    left: u32,
}

/// The file's sales, and what is still left of them.
pub struct Sales<'a> {
    history: &'a History,
    /// By time.
    sold: HashMap<Key<'a>, Vec<Sold>>,
    /// When a dish was first sold to a diner, at whatever price.
    first: HashMap<(&'a Who, usize), Timestamp>,
}

impl<'a> Sales<'a> {
    pub fn of(history: &'a History) -> Self {
        let wanted: HashSet<Key<'_>> = lines(history).map(|(_, cancellation, line)| key(cancellation, line)).collect();
        let dishes: HashSet<(&Who, usize)> = wanted.iter().map(|(who, dish, _)| (*who, *dish)).collect();
        let (mut sold, mut first) = (HashMap::<Key<'_>, Vec<Sold>>::new(), HashMap::new());
        // The orders stand by their time.
        for (order, past) in history.orders.iter().enumerate() {
            // Two visitors are never known to be one.
            if past.who == Who::Visitor {
                continue;
            }
            for (line, PastLine { dish, unit_price, quantity }) in (0_u16..).zip(past.lines.iter().copied()) {
                if dishes.contains(&(&past.who, dish)) {
                    first.entry((&past.who, dish)).or_insert(past.at);
                }
                let key = (&past.who, dish, unit_price);
                if wanted.contains(&key) {
                    sold.entry(key).or_default().push(Sold { order, line, left: quantity });
                }
            }
        }
        Sales { history, sold, first }
    }

    /// Every order that a cancelled line could take something back from.
    pub fn candidates(&self) -> HashSet<usize> {
        self.sold.values().flatten().map(|sold| sold.order).collect()
    }

    /// `known` answers with what an earlier import has refunded of an order for a cancelled line.
    pub fn matched(mut self, known: impl Fn(Cancelled, usize) -> Option<Vec<LineCount>>) -> Matches {
        let mut open: HashMap<Cancelled, Vec<Match>> = HashMap::new();
        // What was refunded stays so, also where a corrected file would now match another sale; all
        // of it goes first, so that no new refund takes the same portions.
        for (of, cancellation, line) in lines(self.history) {
            let Some(sold) = self.sold.get_mut(&key(cancellation, line)) else { continue };
            let end = until(self.history, sold, cancellation.at);
            let orders: Vec<usize> = sold[..end].iter().map(|sold| sold.order).collect();
            let mut last = None;
            for order in orders {
                if last.replace(order) == Some(order) {
                    continue;
                }
                if let Some(lines) = known(of, order) {
                    for count in &lines {
                        let taken = sold.iter_mut().find(|sold| (sold.order, sold.line) == (order, count.line));
                        if let Some(sold) = taken {
                            sold.left = sold.left.saturating_sub(count.quantity);
                        }
                    }
                    open.entry(of).or_default().push(Match { of, order, lines, known: true });
                }
            }
        }
        let mut matches = Matches::default();
        for (of, cancellation, line) in lines(self.history) {
            let mut matched = open.remove(&of).unwrap_or_default();
            let taken: u32 = matched.iter().map(Match::quantity).sum();
            let rest = self.take(of, cancellation, line, line.quantity.saturating_sub(taken), &mut matched);
            if rest > 0 {
                let reason = self.why_not(cancellation, line);
                matches.rests.push(Rest { of, quantity: rest, reason });
            }
            matches.matched.extend(matched);
        }
        matches
    }

    /// Takes `wanted` portions from the most recent sales, and answers with what it does not find.
    fn take(
        &mut self,
        of: Cancelled,
        cancellation: &'a Cancellation,
        line: &'a CancelledLine,
        mut wanted: u32,
        matched: &mut Vec<Match>,
    ) -> u32 {
        let known: Vec<usize> = matched.iter().map(|known| known.order).collect();
        let Some(sold) = self.sold.get_mut(&key(cancellation, line)) else { return wanted };
        let end = until(self.history, sold, cancellation.at);
        for sold in sold[..end].iter_mut().rev() {
            if wanted == 0 {
                break;
            }
            // A refund is begun once, with all of its lines.
            if sold.left == 0 || known.contains(&sold.order) {
                continue;
            }
            let count = LineCount { line: sold.line, quantity: wanted.min(sold.left) };
            sold.left -= count.quantity;
            wanted -= count.quantity;
            match matched.last_mut() {
                Some(last) if last.order == sold.order => last.lines.push(count),
                _ => matched.push(Match { of, order: sold.order, lines: vec![count], known: false }),
            }
        }
        wanted
    }

    fn why_not(&self, cancellation: &'a Cancellation, line: &'a CancelledLine) -> Reason {
        if cancellation.who == Who::Visitor {
            return Reason::NoDiner;
        }
        let at = |sold: &Sold| self.history.orders[sold.order].at;
        let same = self.sold.get(&key(cancellation, line));
        if same.is_some_and(|sold| sold.iter().any(|sold| at(sold) <= cancellation.at)) {
            return Reason::MoreThanSold;
        }
        match self.first.get(&(&cancellation.who, line.dish)) {
            Some(first) if *first <= cancellation.at => Reason::OtherPrice,
            _ if same.is_some() => Reason::SoldLater,
            _ => Reason::NoSale,
        }
    }
}

fn lines(history: &History) -> impl Iterator<Item = (Cancelled, &Cancellation, &CancelledLine)> {
    let cancellations = history.cancellations.iter().enumerate();
    cancellations.flat_map(|(index, cancellation)| {
        cancellation.lines.iter().enumerate().map(move |(line, cancelled)| ((index, line), cancellation, cancelled))
    })
}

fn key<'a>(cancellation: &'a Cancellation, line: &CancelledLine) -> Key<'a> {
    (&cancellation.who, line.dish, line.unit_price)
}

/// How many were sold by then.
fn until(history: &History, sold: &[Sold], at: Timestamp) -> usize {
    sold.partition_point(|sold| history.orders[sold.order].at <= at)
}

#[cfg(test)]
#[path = "matching_tests.rs"]
mod tests;
