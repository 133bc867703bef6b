//! Books what a till took back: each cancelled line as refunds of the sales that it takes back.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use anyhow::Context;
use commands::{Failure, Request};
use domain::{
    RefundId, derived_id,
    order::{LineCount, Order, RefundReason},
};
use tokio::task::JoinSet;

use super::{
    booking::{Book, IN_FLIGHT, Standing, answered, patiently},
    matching::{Cancelled, Match, Matches, Sales},
    orders::{Cancellation, CancelledLine, History, PastOrder},
    report::ImportReport,
    tally::{LeftOut, Reason, Tally},
};
use crate::progress::{OnProgress, Progress};

/// Portions of a cancelled line, and why they were not refunded if they were not.
type Piece = (u32, Option<(Reason, String)>);
/// Of each cancelled line, in the order in which they were matched.
type Pieces = BTreeMap<Cancelled, Vec<Piece>>;

/// What an earlier import has refunded of an order.
type Known = HashMap<usize, BTreeMap<RefundId, Vec<LineCount>>>;

fn cancelled(history: &History, (cancellation, line): Cancelled) -> (&Cancellation, &CancelledLine) {
    let cancellation = &history.cancellations[cancellation];
    (cancellation, &cancellation.lines[line])
}

impl Book {
    /// A refund follows from what it takes back from which order, whatever the file: an import that
    /// runs again, or goes on after a break, means the same refunds.
    fn refund(&self, of: Cancelled, order: &PastOrder, lines: &[LineCount]) -> Request {
        let (cancellation, line) = cancelled(&self.history, of);
        let (dish, price) = (&self.history.dishes[line.dish].name, line.unit_price.to_le_bytes());
        let (from, part) = (order.number.as_bytes(), order.part.to_le_bytes());
        let number = cancellation.number.as_bytes();
        let parts: [&[u8]; 7] = [b"import", b"refund", number, dish.as_bytes(), &price, from, &part];
        let key = derived_id(self.canteen.0, &parts);
        self.request("importRefund", key, &(self.order_id(order), lines), cancellation.at)
    }

    async fn known(&self, orders: impl Iterator<Item = usize>) -> anyhow::Result<Known> {
        let mut known = Known::new();
        for order in orders {
            let refunds = |order: &Order| {
                let refunds = order.ticket().map(|ticket| ticket.refunds.iter());
                refunds.into_iter().flatten().map(|(id, refund)| (*id, refund.lines.clone())).collect()
            };
            let id = self.order_id(self.order(order));
            let refunds: BTreeMap<_, _> = self.ordering.commands().look(self.tenant, id, refunds).await?;
            if !refunds.is_empty() {
                known.insert(order, refunds);
            }
        }
        Ok(known)
    }

    /// Nothing, or why it was not booked.
    async fn book_refund(&self, matched: &Match) -> anyhow::Result<Option<String>> {
        let order = self.order(matched.order);
        let (request, id) = (self.refund(matched.of, order, &matched.lines), self.order_id(order));
        let refund = || {
            let (ordering, lines) = (&self.ordering, matched.lines.clone());
            async move { answered(ordering.refund_lines(request, id, lines, RefundReason::CancelledByCanteen).await) }
        };
        match patiently(refund).await? {
            Ok(_) => Ok(None),
            Err(Failure::KeyReused) => Ok(Some("an earlier import booked it with other content".to_owned())),
            Err(Failure::Refused(why)) => Ok(Some(why.to_string())),
            Err(Failure::Interrupted(why)) => Err(why.into()),
        }
    }
}

/// Books the refunds of all cancellations, once every sale is booked: money then comes back from the
/// canteen, which has earned it, in whatever order things happen.
pub async fn book_refunds(
    book: &Arc<Book>,
    standing: &[Standing],
    tally: &mut Tally,
    report: &mut ImportReport,
    progress: OnProgress<'_>,
) -> anyhow::Result<()> {
    let history = &book.history;
    let sales = Sales::of(history);
    let candidates = sales.candidates().into_iter().filter(|order| standing[*order] == Standing::Before);
    let known = book.known(candidates).await?;
    let Matches { matched, rests } = sales.matched(|of, order| {
        let refunds = known.get(&order)?;
        let order = book.order(order);
        let request = book.refund(of, order, &[]).about(book.order_id(order).0);
        refunds.get(&RefundId(request.id)).cloned()
    });
    let mut pieces = Pieces::new();
    let mut waiting = Vec::new();
    for one in matched {
        if standing[one.order] == Standing::No {
            let sale = format!("the sale that it takes back, {}, was not booked", book.order(one.order).name());
            pieces.entry(one.of).or_default().push((one.quantity(), Some((Reason::SaleNotBooked, sale))));
        } else {
            waiting.push(one);
        }
    }
    book_all(book, waiting, &mut pieces, report, progress).await?;
    for rest in rests {
        pieces.entry(rest.of).or_default().push((rest.quantity, Some((rest.reason, String::new()))));
    }
    account(history, pieces, tally);
    Ok(())
}

/// Accounts for the cancellations of a file that has no sales.
pub fn leave_out(history: &History, tally: &mut Tally) {
    let rests = Sales::of(history).matched(|_, _| None).rests;
    let pieces = rests.into_iter().map(|rest| (rest.of, vec![(rest.quantity, Some((rest.reason, String::new())))]));
    account(history, pieces.collect(), tally);
}

async fn book_all(
    book: &Arc<Book>,
    matched: Vec<Match>,
    pieces: &mut Pieces,
    report: &mut ImportReport,
    progress: OnProgress<'_>,
) -> anyhow::Result<()> {
    let total = matched.len() as u64;
    let mut under_way: JoinSet<(Match, anyhow::Result<Option<String>>)> = JoinSet::new();
    let mut waiting = matched.into_iter();
    let (mut done, mut stopped) = (0, None);
    loop {
        while under_way.len() < IN_FLIGHT && stopped.is_none() {
            let Some(one) = waiting.next() else { break };
            let book = Arc::clone(book);
            under_way.spawn(async move {
                let booked = book.book_refund(&one).await;
                (one, booked)
            });
        }
        let Some(ended) = under_way.join_next().await else { break };
        let (one, outcome) = ended.context("booking a refund broke off")?;
        let (cancellation, line) = cancelled(&book.history, one.of);
        match outcome {
            Ok(not) => {
                if not.is_none() {
                    report.refunded(one.known, one.quantity(), line.unit_price);
                }
                let piece = (one.quantity(), not.map(|why| (Reason::RefundNotBooked, why)));
                pieces.entry(one.of).or_default().push(piece);
            }
            Err(why) => stopped = stopped.or(Some(why.context(format!("cancellation {}", cancellation.number)))),
        }
        done += 1;
        progress(Progress::new("importing refunds", done, Some(total)));
    }
    match stopped {
        None => Ok(()),
        Some(why) => Err(why.context(format!(
            "the import stopped after {} of {total} refunds; run it again, and it goes on from there",
            report.refunds_imported + report.refunds_unchanged
        ))),
    }
}

/// Tells the tally of each cancelled row, refunded portions first.
fn account(history: &History, pieces: Pieces, tally: &mut Tally) {
    for (of, mut pieces) in pieces {
        let (cancellation, line) = cancelled(history, of);
        // Refunds end in any order, and the list must not depend on it.
        pieces.sort();
        let refunded: u32 = pieces.iter().filter(|(_, not)| not.is_none()).map(|(quantity, _)| quantity).sum();
        if refunded > line.quantity {
            let why = format!("an earlier import refunded {refunded} portions of it, not {}", line.quantity);
            pieces = vec![(line.quantity, Some((Reason::RefundNotBooked, why)))];
        }
        pieces.sort_by_key(|(_, not)| not.is_some());
        let mut pieces = pieces.into_iter().peekable();
        for (row, portions) in line.rows.iter().copied() {
            let mut open = portions;
            while open > 0 {
                let Some((left, not)) = pieces.peek_mut() else { break };
                let here = open.min(*left);
                let minor = line.unit_price * i64::from(here);
                match not {
                    None => tally.refunded(row, minor),
                    Some((reason, why)) => tally.leave_out(LeftOut {
                        line: row,
                        order: Some(cancellation.number.clone()),
                        amount_minor: Some(-minor),
                        reason: *reason,
                        detail: detail(*reason, why, here, portions),
                    }),
                }
                (open, *left) = (open - here, *left - here);
                if *left == 0 {
                    pieces.next();
                }
            }
        }
    }
}

fn detail(reason: Reason, why: &str, left: u32, portions: u32) -> String {
    let said = if why.is_empty() { reason.text() } else { why };
    if left == portions { why.to_owned() } else { format!("{left} of {portions} portions: {said}") }
}
