//! What is known of an order once it is placed, and what its refunds take of each line.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ChangeId, DishId, Money, RefundId, Timestamp,
    change::{Change, Changing, Made},
    order::{Error, Event, Line, LineCount, MAX_LINES, Placement, RefundFrom, RefundReason, Unearned},
    tax::{self, TaxPart},
};

/// What a refund takes of the order's line with this index.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LineAmount {
    pub line: u16,
    pub amount: Money,
}

/// A refund of this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refund {
    pub lines: Vec<LineCount>,
    /// Of each line, where it is not the price of `lines`.
    pub amounts: Vec<LineAmount>,
    /// Tenders that it goes to before the last deducted, by index.
    pub first: Vec<u8>,
    pub amount: Money,
    pub from: RefundFrom,
    pub reason: RefundReason,
    pub begun_at: Timestamp,
    pub settled: bool,
    /// Whether it is of lines that the order is not for any more, since it was changed.
    pub before_change: bool,
}

/// What a refund is to take: portions, money of each line, and where it is to go first.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    pub lines: Vec<LineCount>,
    pub amounts: Vec<LineAmount>,
    pub first: Vec<u8>,
}

/// Minor units that a refund takes of each line: what it says, or else the price of its portions.
pub fn taken<'a>(
    ordered: &'a [Line],
    lines: &'a [LineCount],
    amounts: &'a [LineAmount],
) -> impl Iterator<Item = (u16, i64)> + 'a {
    let priced = |count: &LineCount| {
        let price = ordered.get(usize::from(count.line)).map_or(0, |line| line.unit_price.minor);
        // It is part of the order's total, which is within the bound of money.
        (count.line, price * i64::from(count.quantity))
    };
    let by_price = lines.iter().filter(|_| amounts.is_empty()).map(priced);
    by_price.chain(amounts.iter().map(|one| (one.line, one.amount.minor)))
}

/// The tax by rate within `lines` less what refunds took of them, in minor units a line: an order's receipt.
pub fn tax_of(lines: &[Line], refunded: impl IntoIterator<Item = (u16, i64)>) -> Vec<TaxPart> {
    let Some(currency) = lines.first().map(|line| line.unit_price.currency) else { return vec![] };
    let mut gross = tax::Gross::new();
    for line in lines {
        *gross.entry(line.tax).or_default() += line.unit_price.minor * i64::from(line.quantity);
    }
    for (line, minor) in refunded {
        if let Some(line) = lines.get(usize::from(line)) {
            *gross.entry(line.tax).or_default() -= minor;
        }
    }
    tax::parts(&gross, currency)
}

/// What is known of an order once it is placed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ticket {
    pub placed: Box<Placement>,
    pub placed_at: Timestamp,
    pub refunds: BTreeMap<RefundId, Refund>,
    /// The change that is under way.
    pub changing: Option<Changing>,
    /// What came of those that are over.
    pub changes: BTreeMap<ChangeId, Made>,
}

impl Ticket {
    pub(crate) fn new(placed: Box<Placement>, placed_at: Timestamp) -> Self {
        let (refunds, changes) = (BTreeMap::new(), BTreeMap::new());
        Ticket { placed, placed_at, refunds, changing: None, changes }
    }

    /// Refunds of the lines that it is for now.
    fn current(&self) -> impl Iterator<Item = &Refund> {
        self.refunds.values().filter(|refund| !refund.before_change)
    }

    /// Whether what is left of it is worth its price: no refund took an amount of a line.
    pub(crate) fn is_at_price(&self) -> bool {
        self.current().all(|refund| refund.amounts.is_empty() && !refund.lines.is_empty())
    }

    pub(crate) fn change(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::ChangeBegun { change, .. } => {
                self.changing = Some(Changing { change: change.clone(), at, made: None });
            }
            Event::Changed(Change { lines, total, .. }) => {
                (self.placed.lines, self.placed.total) = (lines.clone(), *total);
                self.refunds.values_mut().for_each(|refund| refund.before_change = true);
                self.decide_change(Made::Changed);
            }
            Event::ChangeRefused { refusal, .. } => self.decide_change(Made::Refused(refusal.clone())),
            Event::ChangeSettled { change } => {
                let made = self.changing.take().and_then(|changing| changing.made);
                self.changes.extend(made.map(|made| (*change, made)));
            }
            Event::Placed(_)
            | Event::Confirmed
            | Event::Refused(_)
            | Event::Expired
            | Event::Preparing
            | Event::Readied { .. }
            | Event::PickedUp { .. }
            | Event::NoShow { .. }
            | Event::Cancelled { .. }
            | Event::RefundBegun { .. }
            | Event::RefundSettled { .. } => {}
        }
    }

    fn decide_change(&mut self, made: Made) {
        if let Some(changing) = &mut self.changing {
            changing.made = Some(made);
        }
    }

    /// Portions of a line that no refund has begun for.
    pub fn left(&self, line: u16) -> u32 {
        let ordered = self.placed.lines.get(usize::from(line)).map_or(0, |line| line.quantity);
        let refunded = self.current().flat_map(|refund| &refund.lines).filter(|one| one.line == line);
        refunded.fold(ordered, |left, one| left.saturating_sub(one.quantity))
    }

    /// Minor units of each line that no refund has begun for.
    fn values(&self) -> Vec<i64> {
        let lines = &self.placed.lines;
        let mut left: Vec<i64> = lines.iter().map(|line| line.unit_price.minor * i64::from(line.quantity)).collect();
        for refund in self.current() {
            for (line, minor) in taken(lines, &refund.lines, &refund.amounts) {
                if let Some(left) = left.get_mut(usize::from(line)) {
                    *left -= minor;
                }
            }
        }
        left
    }

    /// Every portion that is left, with all that is left of its line.
    pub(crate) fn all(&self, of: Option<DishId>) -> Result<Taken, Error> {
        let lines = self.placed.lines.iter().enumerate();
        let lines = lines
            .filter(|(_, line)| of.is_none_or(|dish| line.dish == dish))
            // An order has at most MAX_LINES lines.
            .map(|(index, _)| LineCount { line: index as u16, quantity: self.left(index as u16) })
            .filter(|count| count.quantity > 0)
            .collect::<Vec<_>>();
        if lines.is_empty() { Ok(Taken { lines, amounts: vec![], first: vec![] }) } else { self.portions(&lines) }
    }

    /// The total less every refund begun.
    pub fn net(&self) -> Money {
        let refunded: i64 = self.current().map(|refund| refund.amount.minor).sum();
        Money { minor: self.placed.total.minor - refunded, ..self.placed.total }
    }

    /// Some portions with their share of what is left of their lines. Of a line whose money was partly
    /// refunded they are worth less than their price, and the last of them bears what rounding left.
    pub(crate) fn portions(&self, lines: &[LineCount]) -> Result<Taken, Error> {
        if lines.is_empty() || lines.len() > MAX_LINES {
            return Err(Error::BadLineCount);
        }
        let mut asked: BTreeMap<u16, u32> = BTreeMap::new();
        for count in lines {
            let sum = asked.entry(count.line).or_default();
            *sum = sum.saturating_add(count.quantity);
        }
        let values = self.values();
        let (mut amounts, mut at_price) = (Vec::new(), true);
        for (line, asked) in asked {
            let left = self.left(line);
            if lines.iter().any(|count| count.line == line && count.quantity == 0) || asked > left {
                return Err(Error::NothingToRefund { line, left, asked });
            }
            // `left` is zero, and so refused above, for a line that does not exist.
            let (value, of) = (values[usize::from(line)], &self.placed.lines[usize::from(line)]);
            // Within the bound of money, by at most a thousand portions.
            let share = i128::from(value) * i128::from(asked) / i128::from(left);
            let minor = i64::try_from(share).unwrap_or(value);
            at_price &= minor == of.unit_price.minor * i64::from(asked);
            amounts.push(LineAmount { line, amount: Money { minor, ..self.placed.total } });
        }
        let amounts = if at_price { vec![] } else { amounts };
        Ok(Taken { lines: lines.to_vec(), amounts, first: vec![] })
    }

    /// An amount spread over what is left of the lines, by largest remainder.
    pub(crate) fn spread(&self, amount: Money, first: Vec<u8>) -> Result<Taken, Error> {
        let left = self.net();
        if !amount.is_positive() || amount.currency != left.currency || amount.minor > left.minor {
            return Err(Error::TooMuch { asked: amount, left });
        }
        let weights: Vec<u64> = self.values().into_iter().map(|minor| minor.max(0).unsigned_abs()).collect();
        let parts = (0_u16..).zip(amount.allocate(&weights)).filter(|(_, part)| !part.is_zero());
        let amounts = parts.map(|(line, amount)| LineAmount { line, amount }).collect();
        Ok(Taken { lines: vec![], amounts, first })
    }

    fn amount_of(&self, of: &Taken) -> Money {
        let minor = taken(&self.placed.lines, &of.lines, &of.amounts).map(|(_, minor)| minor).sum();
        Money { minor, ..self.placed.total }
    }

    /// The tax by rate within what no refund has begun for: the receipt's.
    pub fn tax(&self) -> Vec<TaxPart> {
        let lines = &self.placed.lines;
        tax_of(lines, self.current().flat_map(|refund| taken(lines, &refund.lines, &refund.amounts)))
    }

    /// Of money that is not earned yet.
    pub(crate) fn begin(&self, refund: RefundId, of: Taken, reason: RefundReason) -> Event {
        let amount = self.amount_of(&of);
        self.begin_of(refund, of, amount, reason)
    }

    pub(crate) fn begin_of(&self, refund: RefundId, of: Taken, amount: Money, reason: RefundReason) -> Event {
        let from = RefundFrom::Prepaid;
        let Taken { lines, amounts, first } = of;
        Event::RefundBegun { refund, lines, amounts, first, amount, from, unearned: None, reason }
    }

    /// Of money that was earned: the canteen and the tax give it up.
    pub(crate) fn begin_after_meal(&self, refund: RefundId, of: Taken, reason: RefundReason) -> Event {
        let by_rate = |minor: &mut dyn Iterator<Item = (u16, i64)>| {
            let mut gross = tax::Gross::new();
            for (line, minor) in minor {
                *gross.entry(self.placed.lines[usize::from(line)].tax).or_default() += minor;
            }
            gross
        };
        let whole = by_rate(&mut (0_u16..).zip(self.values()));
        let gone = by_rate(&mut taken(&self.placed.lines, &of.lines, &of.amounts));
        let tax = tax::parts_gone(&whole, &gone, self.placed.total.currency);
        let unearned = Some(Unearned { canteen: self.placed.canteen, tax });
        let (amount, from) = (self.amount_of(&of), RefundFrom::Prepaid);
        let Taken { lines, amounts, first } = of;
        Event::RefundBegun { refund, lines, amounts, first, amount, from, unearned, reason }
    }

    pub(crate) fn picked_up(&self) -> Event {
        Event::PickedUp { canteen: self.placed.canteen, recognised: self.net(), tax: self.tax() }
    }

    /// Charges what the serving's rule says, rounded down, and gives the rest back.
    pub(crate) fn no_show(&self, refund: RefundId) -> Result<Vec<Event>, Error> {
        let net = self.net();
        let charged = i128::from(net.minor) * i128::from(self.placed.no_show_percent) / 100;
        let back = net.minor - i64::try_from(charged).unwrap_or(net.minor);
        let mut after = self.clone();
        let mut events = Vec::new();
        if back > 0 {
            let of = self.spread(Money { minor: back, ..net }, vec![])?;
            let (lines, amounts, first) = (vec![], of.amounts.clone(), vec![]);
            let (amount, from, reason) = (self.amount_of(&of), RefundFrom::Prepaid, RefundReason::NoShow);
            let (begun_at, settled, before_change) = (self.placed_at, false, false);
            let begun = Refund { lines, amounts, first, amount, from, reason, begun_at, settled, before_change };
            after.refunds.insert(refund, begun);
            events.push(self.begin(refund, of, reason));
        }
        events.push(Event::NoShow { canteen: self.placed.canteen, recognised: after.net(), tax: after.tax() });
        Ok(events)
    }
}
