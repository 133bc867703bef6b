//! An invoice: what a company owed at one moment, asked of it. Issued → paid in parts or whole → Settled;
//! or Voided before any payment.
//!
//! The company's account decides how much and under which number; this stream holds what becomes of it.
//! What is paid or voided here the account is told next, and that it has taken it comes back as `Booked`:
//! until then nothing else is decided, so that a crash between the two is seen and mended.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Aggregate, CompanyId, InvoiceId, Money, MoneyError, StreamKind, Timestamp};

/// Most payments of one invoice.
pub const MAX_PAYMENTS: usize = 1_000;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bill {
    pub company: CompanyId,
    /// 1 for the company's first, and one more each time.
    pub number: u32,
    /// All that the company owed.
    pub amount: Money,
    /// The last day whose meals it is for.
    #[schemars(with = "String")]
    pub through: jiff::civil::Date,
    /// The last day to pay it in time.
    #[schemars(with = "String")]
    pub due_on: jiff::civil::Date,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VoidReason {
    /// It should not have been issued.
    Mistake,
    /// The company does not accept it.
    Disputed,
    /// Another one takes its place.
    Replaced,
}

impl VoidReason {
    pub fn name(self) -> &'static str {
        match self {
            VoidReason::Mistake => "mistake",
            VoidReason::Disputed => "disputed",
            VoidReason::Replaced => "replaced",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Issue(Bill),
    /// Money of the company in the bank.
    RecordPayment {
        payment: Uuid,
        amount: Money,
    },
    /// Takes it back: the company owes the amount as it did before.
    Void {
        reason: VoidReason,
    },
    /// The company's account has taken this.
    RecordBooked(Unbooked),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Event {
    Issued(Bill),
    Paid {
        payment: Uuid,
        company: CompanyId,
        amount: Money,
    },
    /// Nothing of it is open any more.
    Settled,
    Voided {
        reason: VoidReason,
    },
    Booked,
}

impl crate::Event for Event {
    const SCHEMAS: &'static [(&'static str, u16)] =
        &[("Issued", 1), ("Paid", 1), ("Settled", 1), ("Voided", 1), ("Booked", 1)];

    fn name(&self) -> &'static str {
        match self {
            Event::Issued(_) => "Issued",
            Event::Paid { .. } => "Paid",
            Event::Settled => "Settled",
            Event::Voided { .. } => "Voided",
            Event::Booked => "Booked",
        }
    }
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("there is no such invoice")]
    NotIssued,
    #[error("that id was used already, with other content")]
    OtherContent,
    #[error("an invoice is for more than zero, and is due on its last day or later")]
    BadBill,
    #[error("a payment is more than zero")]
    NotPositive,
    #[error("{asked} cannot be paid: {open} is open")]
    TooMuch { asked: Money, open: Money },
    #[error("an invoice has at most {MAX_PAYMENTS} payments")]
    TooManyPayments,
    #[error("it is void")]
    Void,
    #[error("it is paid, at least in part")]
    PaidAlready,
    #[error("the company's account has still to take what was decided before")]
    Unbooked,
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// What the company's account has still to take.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Unbooked {
    Payment { payment: Uuid, amount: Money },
    Void,
}

/// An invoice that was issued.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sheet {
    pub bill: Bill,
    /// Minor units by payment.
    pub payments: BTreeMap<Uuid, i64>,
    pub unbooked: Option<Unbooked>,
}

impl Sheet {
    pub fn paid(&self) -> Money {
        Money { minor: self.payments.values().sum(), ..self.bill.amount }
    }

    /// What is still to be paid, unless it is void.
    pub fn open(&self) -> Money {
        Money { minor: self.bill.amount.minor - self.paid().minor, ..self.bill.amount }
    }

    fn pay(&self, payment: Uuid, amount: Money) -> Result<Vec<Event>, Error> {
        let left = self.open().minus(amount)?;
        if !amount.is_positive() {
            return Err(Error::NotPositive);
        }
        if left.minor < 0 {
            return Err(Error::TooMuch { asked: amount, open: self.open() });
        }
        if self.payments.len() >= MAX_PAYMENTS {
            return Err(Error::TooManyPayments);
        }
        let settled = left.is_zero().then_some(Event::Settled);
        Ok([Event::Paid { payment, company: self.bill.company, amount }].into_iter().chain(settled).collect())
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Invoice {
    #[default]
    New,
    Open(Sheet),
    Settled(Sheet),
    Voided(Sheet, VoidReason),
}

impl Invoice {
    pub fn sheet(&self) -> Result<&Sheet, Error> {
        match self {
            Invoice::New => Err(Error::NotIssued),
            Invoice::Open(sheet) | Invoice::Settled(sheet) | Invoice::Voided(sheet, _) => Ok(sheet),
        }
    }

    fn sheet_mut(&mut self) -> Option<&mut Sheet> {
        match self {
            Invoice::New => None,
            Invoice::Open(sheet) | Invoice::Settled(sheet) | Invoice::Voided(sheet, _) => Some(sheet),
        }
    }
}

impl Aggregate for Invoice {
    const NAME: &'static str = "invoice";
    const STATE_VERSION: u32 = 1;
    type Id = InvoiceId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn stream_key(id: InvoiceId) -> (StreamKind, Uuid) {
        (StreamKind::Invoice, id.0)
    }

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (Invoice::New, Command::Issue(bill)) => {
                if !bill.amount.is_positive() || bill.due_on < bill.through {
                    return Err(Error::BadBill);
                }
                Ok(vec![Event::Issued(bill)])
            }
            (invoice, Command::Issue(bill)) => {
                if invoice.sheet()?.bill == bill {
                    Ok(vec![])
                } else {
                    Err(Error::OtherContent)
                }
            }
            // Something else may have been decided since, which the account has not taken.
            (invoice, Command::RecordBooked(booked)) => match invoice.sheet()?.unbooked {
                Some(unbooked) if unbooked == booked => Ok(vec![Event::Booked]),
                Some(_) | None => Ok(vec![]),
            },
            (invoice, Command::RecordPayment { payment, amount }) => {
                let sheet = invoice.sheet()?;
                match (sheet.payments.get(&payment), invoice) {
                    (Some(known), _) if *known == amount.minor && sheet.bill.amount.currency == amount.currency => {
                        Ok(vec![])
                    }
                    (Some(_), _) => Err(Error::OtherContent),
                    (None, Invoice::Voided(..)) => Err(Error::Void),
                    (None, _) if sheet.unbooked.is_some() => Err(Error::Unbooked),
                    (None, _) => sheet.pay(payment, amount),
                }
            }
            (Invoice::Voided(_, known), Command::Void { reason }) if *known == reason => Ok(vec![]),
            (Invoice::Voided(..), Command::Void { .. }) => Err(Error::OtherContent),
            (invoice, Command::Void { reason }) => {
                if invoice.sheet()?.payments.is_empty() {
                    Ok(vec![Event::Voided { reason }])
                } else {
                    Err(Error::PaidAlready)
                }
            }
        }
    }

    fn evolve(&mut self, event: &Event, _at: Timestamp) {
        if let Event::Issued(bill) = event {
            *self = Invoice::Open(Sheet { bill: *bill, payments: BTreeMap::new(), unbooked: None });
            return;
        }
        let Some(sheet) = self.sheet_mut() else { return };
        match event {
            Event::Issued(_) => {}
            Event::Paid { payment, amount, .. } => {
                sheet.payments.insert(*payment, amount.minor);
                sheet.unbooked = Some(Unbooked::Payment { payment: *payment, amount: *amount });
            }
            Event::Settled => *self = Invoice::Settled(sheet.clone()),
            Event::Voided { reason } => {
                sheet.unbooked = Some(Unbooked::Void);
                *self = Invoice::Voided(sheet.clone(), *reason);
            }
            Event::Booked => sheet.unbooked = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        given,
        testing::{bill, cases, cny, id, step, usd},
    };

    fn issued() -> Event {
        Event::Issued(bill())
    }

    fn pay(number: u8, minor: i64) -> Command {
        Command::RecordPayment { payment: id(number), amount: cny(minor) }
    }

    fn paid(number: u8, minor: i64) -> Event {
        Event::Paid { payment: id(number), company: bill().company, amount: cny(minor) }
    }

    fn void(reason: VoidReason) -> Command {
        Command::Void { reason }
    }

    #[test]
    fn it_is_issued_once() {
        let other = Bill { number: 2, ..bill() };
        given::<Invoice>([])
            .when(Command::Issue(bill()))
            .then([issued()])
            .when(Command::Issue(bill()))
            .then([])
            .when(Command::Issue(other))
            .refused(Error::OtherContent);
        for bad in [
            Bill { amount: cny(0), ..bill() },
            Bill { amount: cny(-1), ..bill() },
            Bill { due_on: bill().through.yesterday().unwrap(), ..bill() },
        ] {
            given::<Invoice>([]).when(Command::Issue(bad)).refused(Error::BadBill);
        }
    }

    fn booked(number: u8, minor: i64) -> Command {
        Command::RecordBooked(Unbooked::Payment { payment: id(number), amount: cny(minor) })
    }

    #[test]
    fn nothing_becomes_of_one_that_was_not_issued() {
        for command in [pay(1, 1), void(VoidReason::Mistake), booked(1, 1)] {
            given::<Invoice>([]).when(command).refused(Error::NotIssued);
        }
    }

    #[test]
    fn it_is_paid_in_parts_each_booked_before_the_next() {
        given::<Invoice>([issued()])
            .when(pay(1, 30))
            .then([paid(1, 30)])
            .when(pay(1, 30))
            .then([])
            .when(pay(1, 31))
            .refused(Error::OtherContent)
            .when(pay(2, 10))
            .refused(Error::Unbooked)
            .when(booked(1, 30))
            .then([Event::Booked])
            .when(booked(1, 30))
            .then([])
            .when(pay(2, 11))
            .refused(Error::TooMuch { asked: cny(11), open: cny(10) })
            .when(pay(2, 10))
            .then([paid(2, 10), Event::Settled])
            .when(pay(1, 30))
            .then([])
            // What was booked before says nothing of what was decided since.
            .when(booked(1, 30))
            .then([])
            .when(booked(2, 10))
            .then([Event::Booked])
            .when(pay(3, 1))
            .refused(Error::TooMuch { asked: cny(1), open: cny(0) });
    }

    #[test]
    fn only_money_pays_it() {
        let when = |minor| given::<Invoice>([issued()]).when(pay(1, minor));
        when(0).refused(Error::NotPositive);
        when(-1).refused(Error::NotPositive);
        let dollars = Command::RecordPayment { payment: id(1), amount: usd(1) };
        let mixed = MoneyError::Mixed { left: cny(1).currency, right: usd(1).currency };
        given::<Invoice>([issued()]).when(dollars).refused(Error::Money(mixed));
    }

    #[test]
    fn it_is_voided_only_before_any_payment() {
        given::<Invoice>([issued()])
            .when(void(VoidReason::Mistake))
            .then([Event::Voided { reason: VoidReason::Mistake }])
            .when(void(VoidReason::Mistake))
            .then([])
            .when(void(VoidReason::Disputed))
            .refused(Error::OtherContent)
            .when(pay(1, 1))
            .refused(Error::Void);
        given::<Invoice>([issued(), paid(1, 1)]).when(void(VoidReason::Mistake)).refused(Error::PaidAlready);
    }

    #[test]
    fn payments_have_an_end() {
        let amount = cny(MAX_PAYMENTS as i64 + 1);
        let number = |n: usize| Uuid::from_u128(n as u128 + 1);
        let full = (0..MAX_PAYMENTS)
            .flat_map(|n| [Event::Paid { payment: number(n), company: bill().company, amount: cny(1) }, Event::Booked]);
        let full = [Event::Issued(Bill { amount, ..bill() })].into_iter().chain(full);
        given::<Invoice>(full).when(pay(0, 1)).refused(Error::TooManyPayments);
    }

    proptest! {
        #![proptest_config(cases(128))]

        #[test]
        fn what_is_paid_is_never_more_than_what_was_asked(
            commands in prop::collection::vec((0..4_u8, 1..6_u8, -1..25_i64), 1..40),
        ) {
            let (mut invoice, mut sum, mut voided) = (Invoice::default(), 0, false);
            step(&mut invoice, Command::Issue(bill()));
            for (which, number, minor) in commands {
                let command = match which {
                    0 => match invoice.sheet().unwrap().unbooked {
                        Some(unbooked) => Command::RecordBooked(unbooked),
                        None => booked(number, minor),
                    },
                    1 => void(VoidReason::Replaced),
                    _ => pay(number, minor),
                };
                for event in step(&mut invoice, command).1 {
                    match event {
                        Event::Paid { amount, .. } => sum += amount.minor,
                        Event::Voided { .. } => voided = true,
                        Event::Settled => prop_assert_eq!(sum, bill().amount.minor),
                        Event::Issued(_) | Event::Booked => {}
                    }
                }
                let sheet = invoice.sheet().unwrap();
                prop_assert_eq!(sheet.open().minor + sum, bill().amount.minor);
                prop_assert!(sheet.open().minor >= 0 && !(voided && sum > 0));
                prop_assert_eq!(matches!(invoice, Invoice::Settled(_)), sum == bill().amount.minor);
            }
        }
    }
}
