//! Invoices: issued, paid, voided, and carried on with after a crash anywhere.

use commands::{Failure, Request};
use domain::{
    AccountId, CompanyId, GrantRunId, InvoiceId, Money,
    account::{self, Account},
    invoice::{self, Invoice, VoidReason},
};
use projections::{PageSize, invoices::State};
use store::EventStore;
use uuid::Uuid;

use super::{House, TENANT, crash::crashed_after, fen, staff};
use crate::{InvoiceError, Invoices, NewInvoice, Standing};

const COMPANY: CompanyId = CompanyId(Uuid::from_u128(500));
const THIRTY: NewInvoice = NewInvoice { company: COMPANY, days: 30 };

impl House {
    async fn invoices(&mut self) -> Invoices {
        Invoices::new(self.ordering.commands().clone())
    }

    async fn on_company(&self, key: u128, command: account::Command) {
        let account = AccountId::Company(COMPANY);
        self.ordering.commands().on_account(staff("company", key, &()), account, command).await.unwrap();
    }

    /// A company that may owe 1,000 and owes 600.
    async fn postpaid(&self) {
        self.on_company(1, account::Command::SetFloor { floor: fen(-1_000) }).await;
        self.spend(1, 600).await;
    }

    async fn spend(&self, batch: u32, minor: i64) {
        let run = GrantRunId(Uuid::from_u128(600));
        self.on_company(100 + u128::from(batch), account::Command::Allocate { run, batch, amount: fen(minor) }).await;
    }

    async fn credit(&self) -> (i64, i64) {
        let look = |account: &Account| {
            let book = account.book().unwrap();
            (book.available().minor, book.receivable().minor)
        };
        self.ordering.commands().look(TENANT, AccountId::Company(COMPANY), look).await.unwrap()
    }

    async fn receivable(&self) -> i64 {
        self.ledger(&format!("receivable:{COMPANY}")).await
    }

    async fn issue(&mut self, key: u128) -> Result<Standing, Failure<InvoiceError>> {
        self.invoices().await.issue(staff("issueInvoice", key, &THIRTY), THIRTY).await
    }

    async fn pay(&mut self, key: u128, invoice: InvoiceId, minor: i64) -> Result<Standing, Failure<InvoiceError>> {
        self.invoices().await.pay(staff("payInvoice", key, &(invoice, minor)), invoice, fen(minor)).await
    }

    async fn void(&mut self, key: u128, invoice: InvoiceId) -> Result<Standing, Failure<InvoiceError>> {
        let request: Request = staff("voidInvoice", key, &invoice);
        self.invoices().await.void(request, invoice, VoidReason::Mistake).await
    }
}

fn open(standing: &Standing) -> Money {
    standing.state.sheet().unwrap().open()
}

#[tokio::test]
async fn a_company_is_asked_for_what_it_owes_and_pays_in_parts() {
    let mut house = House::open(1, 1).await;
    house.postpaid().await;
    assert_eq!(house.credit().await, (400, 0));
    let issued = house.issue(1).await.unwrap();
    let sheet = issued.state.sheet().unwrap();
    assert_eq!((sheet.bill.amount, sheet.bill.number, issued.repeated), (fen(600), 1, false));
    assert_eq!((sheet.bill.due_on - sheet.bill.through).get_days(), 30);
    assert_eq!(house.credit().await, (400, 600), "an invoice gives no credit");
    assert_eq!((house.receivable().await, house.ledger(&format!("company:{COMPANY}")).await), (-600, 0));
    let head = house.log.head().await.unwrap();
    let again = house.issue(1).await.unwrap();
    assert!(again.repeated);
    assert_eq!((again.state, house.log.head().await.unwrap()), (issued.state.clone(), head));
    let later = NewInvoice { days: 31, ..THIRTY };
    let reused = house.invoices().await.issue(staff("issueInvoice", 1, &later), later).await.unwrap_err();
    assert_eq!((reused, house.log.head().await.unwrap()), (Failure::KeyReused, head));

    let id = issued.invoice;
    assert_eq!(open(&house.pay(2, id, 250).await.unwrap()), fen(350));
    assert_eq!((house.credit().await, house.receivable().await), ((650, 350), -350));
    assert_eq!(house.ledger("bank").await, -250);
    let head = house.log.head().await.unwrap();
    assert!(house.pay(2, id, 250).await.unwrap().repeated);
    let too_much = house.pay(3, id, 351).await.unwrap_err();
    let error = invoice::Error::TooMuch { asked: fen(351), open: fen(350) };
    assert_eq!(too_much, Failure::Refused(InvoiceError::Invoice(error)));
    let void = house.void(4, id).await.unwrap_err();
    assert_eq!(void, Failure::Refused(InvoiceError::Invoice(invoice::Error::PaidAlready)));
    assert_eq!(house.log.head().await.unwrap(), head, "nothing was appended");
    assert!(matches!(house.pay(5, id, 350).await.unwrap().state, Invoice::Settled(_)));
    assert_eq!((house.credit().await, house.receivable().await), ((1_000, 0), 0));
    house.spend(2, 30).await;
    let second = house.issue(6).await.unwrap();
    assert_eq!(second.state.sheet().unwrap().bill.number, 2);
    assert_eq!(house.settle().await, 0);
    let views = house.views().await;
    let rows = projections::invoices::list(&views, TENANT, Default::default(), None, PageSize::MAX).await.unwrap();
    let rows: Vec<_> = rows.iter().map(|row| (row.number, row.state, row.open().minor, row.pending)).collect();
    assert_eq!(rows, [(2, State::Open, 30, false), (1, State::Settled, 0, false)]);
}

#[tokio::test]
async fn what_cannot_be_invoiced_changes_nothing() {
    let mut house = House::open(1, 1).await;
    let head = house.log.head().await.unwrap();
    let nobody = house.issue(1).await.unwrap_err();
    assert_eq!(nobody, Failure::Refused(InvoiceError::Account(account::Error::NotOpen)));
    let late = NewInvoice { days: crate::MAX_DAYS + 1, ..THIRTY };
    let refused = house.invoices().await.issue(staff("issueInvoice", 1, &late), late).await.unwrap_err();
    assert_eq!(refused, Failure::Refused(InvoiceError::TooManyDays));
    let unknown = house.pay(2, InvoiceId(Uuid::from_u128(9)), 1).await.unwrap_err();
    assert_eq!(unknown, Failure::Refused(InvoiceError::Invoice(invoice::Error::NotIssued)));
    assert_eq!(house.log.head().await.unwrap(), head);
    house.on_company(1, account::Command::SetFloor { floor: fen(-1_000) }).await;
    let nothing = house.issue(3).await.unwrap_err();
    assert_eq!(nothing, Failure::Refused(InvoiceError::Account(account::Error::NothingOwed)));
}

#[tokio::test]
async fn a_void_invoice_is_owed_again() {
    let mut house = House::open(1, 1).await;
    house.postpaid().await;
    let id = house.issue(1).await.unwrap().invoice;
    assert!(matches!(house.void(2, id).await.unwrap().state, Invoice::Voided(_, VoidReason::Mistake)));
    assert_eq!((house.credit().await, house.receivable().await), ((400, 0), 0));
    assert!(house.void(2, id).await.unwrap().repeated);
    let paid = house.pay(3, id, 1).await.unwrap_err();
    assert_eq!(paid, Failure::Refused(InvoiceError::Invoice(invoice::Error::Void)));
    let again = house.issue(4).await.unwrap();
    assert_eq!((open(&again), again.state.sheet().unwrap().bill.number), (fen(600), 2));
}

#[tokio::test]
async fn every_prefix_of_an_invoice_comes_to_the_same_end() {
    let mut house = House::open(1, 1).await;
    house.postpaid().await;
    let before = house.log.head().await.unwrap() as usize;
    let id = house.issue(1).await.unwrap().invoice;
    let issued = house.log.head().await.unwrap() as usize;
    let mut voided = crashed_after(&house, issued).await;
    house.pay(2, id, 250).await.unwrap();
    let paid = house.log.head().await.unwrap() as usize;
    voided.void(2, id).await.unwrap();
    for events in before + 1..=paid {
        let mut crashed = crashed_after(&house, events).await;
        assert_eq!(crashed.settle().await, 0, "after {} events", events - before);
        let expected = if events <= issued { ((400, 600), -600) } else { ((650, 350), -350) };
        assert_eq!((crashed.credit().await, crashed.receivable().await), expected, "{events}");
        // Asked again under the same keys, it is what it would have been.
        crashed.issue(1).await.unwrap();
        crashed.pay(2, id, 250).await.unwrap();
        assert_eq!(crashed.names().await, house.names().await, "each step was taken once");
    }
    for events in issued + 1..=voided.log.head().await.unwrap() as usize {
        let mut crashed = crashed_after(&voided, events).await;
        assert_eq!(crashed.settle().await, 0);
        assert_eq!((crashed.credit().await, crashed.receivable().await), ((400, 0), 0));
        assert_eq!(crashed.names().await, voided.names().await, "each step was taken once");
    }
}
