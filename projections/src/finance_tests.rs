//! The views of what finance does: corrections, top-ups, payouts.

use std::sync::Arc;

use domain::{
    AccountId, ActorId, CorrectionId, Fact, PayoutId, TopUpId,
    account::{self, AdjustReason},
    correction::{self, Approval, Change, Entry, Proposal},
    payout,
    postings::LedgerAccount,
    top_up::{self, Reason, Source},
};
use store::EventStore;
use testing::Postgres;

use crate::{
    PageSize, Projection, Rows, Runner, Views,
    balances::{Balances, LimitedAccount},
    corrections::{self, Correction, CorrectionEntry, Corrections, Status},
    payouts::{self, Payout, Payouts},
    preview::{Preview, Refusal},
    testing::*,
    top_ups::{self, TopUp, TopUps},
};

const FIX: CorrectionId = CorrectionId(uuid::Uuid::from_u128(900));

fn actor(number: u128) -> ActorId {
    ActorId(id(number))
}

fn wallet(number: usize) -> AccountId {
    AccountId::Wallet(diner(number))
}

fn on(number: usize, event: account::Event) -> Fact {
    Fact::Account(wallet(number), event)
}

fn top_up(number: u128, event: top_up::Event) -> Fact {
    Fact::TopUp(TopUpId(id(910 + number)), event)
}

fn payout(number: u128, event: payout::Event) -> Fact {
    Fact::Payout(PayoutId(id(920 + number)), event)
}

fn fix(event: correction::Event) -> Fact {
    Fact::Correction(FIX, event)
}

fn asked(account: AccountId, minor: i64) -> payout::Event {
    payout::Event::Requested(payout::Slip { account, amount: cny(minor), by: actor(1) })
}

/// Of a wallet with 10.00, 4.00 are held for one payout, and 3.00 were paid by another.
fn paid() -> Vec<Fact> {
    let slip =
        |number| top_up::Slip { account: wallet(number), amount: cny(1_000), source: Source::Bank, by: actor(1) };
    let deposit = account::Event::Deposited { deposit: id(911), amount: cny(1_000), source: Source::Bank };
    let on_account = |number: u128, minor, out: bool| {
        let (payout, amount) = (PayoutId(id(920 + number)), cny(minor));
        on(
            1,
            if out {
                account::Event::PaidOut { payout, amount }
            } else {
                account::Event::PayoutHeld { payout, amount }
            },
        )
    };
    vec![
        top_up(1, top_up::Event::Requested(slip(1))),
        on(1, account::Event::Opened { currency: domain::Currency::CNY }),
        on(1, deposit),
        top_up(1, top_up::Event::Credited),
        top_up(2, top_up::Event::Requested(slip(2))),
        top_up(2, top_up::Event::Failed { reason: Reason::Closed }),
        top_up(3, top_up::Event::Requested(slip(3))),
        payout(1, asked(wallet(1), 400)),
        on_account(1, 400, false),
        payout(1, payout::Event::Held),
        payout(2, asked(wallet(1), 300)),
        on_account(2, 300, false),
        payout(2, payout::Event::Held),
        payout(2, payout::Event::PaidOut { by: actor(2) }),
        on_account(2, 300, true),
        payout(3, asked(wallet(1), 9_000)),
        payout(3, payout::Event::Refused { reason: payout::Reason::Insufficient }),
    ]
}

fn entries() -> Vec<Entry> {
    let adjust = |number, minor| Change::Adjust { account: wallet(number), by: cny(minor) };
    let moved = Change::Move { from: LedgerAccount::Suspense, to: LedgerAccount::Canteen(canteen()), amount: cny(50) };
    let entry = |change| Entry { change, reason: AdjustReason::Correction, reference: "FIN-1".parse().ok() };
    vec![entry(adjust(1, -500)), entry(moved), entry(adjust(2, 5))]
}

fn proposed() -> Vec<Fact> {
    let proposal = Proposal { entries: entries(), dated: Some(at(5)) };
    vec![fix(correction::Event::Proposed { by: actor(1), proposal, file: Some("ab".into()) })]
}

fn applied() -> Vec<Fact> {
    let approval = Approval::SecondPerson(actor(2));
    let (from, to) = (LedgerAccount::Suspense, LedgerAccount::Canteen(canteen()));
    let adjusted =
        account::Event::Adjusted { adjustment: FIX.adjustment(0), by: cny(-500), reason: AdjustReason::Correction };
    vec![
        fix(correction::Event::Applied { approval }),
        fix(correction::Event::Moved { entry: 1, from, to, amount: cny(50) }),
        on(1, adjusted),
        fix(correction::Event::Settled { refused: vec![2] }),
    ]
}

#[test]
fn top_ups_and_payouts_show_where_they_stand() {
    let mut rows = fold(&TopUps, &paid());
    let shown: Vec<_> = rows.all::<TopUp>().iter().map(|row| (row.status, row.reason)).collect();
    use top_ups::Status as S;
    assert_eq!(shown, [(S::Credited, None), (S::Failed, Some(Reason::Closed)), (S::Requested, None)]);
    let mut rows = fold(&Payouts, &paid());
    let shown: Vec<_> = rows.all::<Payout>().iter().map(|row| (row.status, row.under_way, row.ended_by)).collect();
    use payouts::Status as P;
    let expected = [(P::Held, false, None), (P::PaidOut, true, Some(actor(2))), (P::Refused, true, None)];
    assert_eq!(shown, expected);
    let settled = [2, 3].map(|number| payout(number, payout::Event::Settled));
    let mut rows = fold(&Payouts, &[paid(), settled.to_vec()].concat());
    let shown: Vec<_> = rows.all::<Payout>().iter().map(|row| (row.status, row.under_way, row.ended_by)).collect();
    assert_eq!(shown[1..], [(P::PaidOut, false, Some(actor(2))), (P::Refused, false, None)]);
}

#[test]
fn what_is_held_for_a_payout_is_held_and_then_gone() {
    let account = |facts: &[Fact]| {
        let row = fold(&Balances, facts).all::<LimitedAccount>()[0].clone();
        (row.posted_minor, row.held_minor)
    };
    assert_eq!(account(&paid()), (700, 400));
    let released = account::Event::PayoutReleased { payout: PayoutId(id(921)), amount: cny(400) };
    assert_eq!(account(&[paid(), vec![on(1, released)]].concat()), (700, 0));
}

#[test]
fn a_correction_shows_who_decided_and_which_entry_was_refused() {
    let mut rows = fold(&Corrections, &[proposed(), applied()].concat());
    let row = rows.all::<Correction>()[0].clone();
    assert_eq!((row.status, row.entries, row.refused), (Status::Settled, 3, 1));
    assert_eq!((row.proposed_by, row.decided_by, row.dated), (actor(1), Some(actor(2)), Some(at(5))));
    let refused: Vec<_> = rows.all::<CorrectionEntry>().iter().map(|row| row.refused).collect();
    assert_eq!(refused, [false, false, true]);
    let changes: Vec<Change> = rows.all::<CorrectionEntry>().iter().map(Change::from).collect();
    assert_eq!(changes, entries().iter().map(|entry| entry.change).collect::<Vec<_>>());
    let rejected = [proposed(), vec![fix(correction::Event::Rejected { by: actor(1) })]].concat();
    let row = fold(&Corrections, &rejected).all::<Correction>()[0].clone();
    assert_eq!((row.status, row.decided_by), (Status::Rejected, Some(actor(1))));
    let within = vec![fix(correction::Event::Applied { approval: Approval::WithinLimit(cny(500)) })];
    let row = fold(&Corrections, &[proposed(), within].concat()).all::<Correction>()[0].clone();
    assert_eq!((row.status, row.decided_by), (Status::Applied, None));
}

#[test]
fn what_moves_before_it_began_is_poison() {
    let none = |projection: &dyn Projection, fact: Fact| {
        let it = recorded(&[fact]).remove(0);
        assert!(projection.apply(&it, &mut Rows::empty()).is_err());
    };
    none(&TopUps, top_up(1, top_up::Event::Credited));
    none(&Payouts, payout(1, payout::Event::Held));
    none(&Corrections, fix(correction::Event::Settled { refused: vec![] }));
}

async fn views(world: &World, views: Views) -> Views {
    Runner::open(world.store.clone(), views.clone()).await.unwrap().catch_up().await.unwrap();
    views
}

async fn both(world: &World) -> [Views; 2] {
    let identity = world.store.identity();
    let file = views(world, Views::in_memory(identity, crate::all()).unwrap()).await;
    let url = Postgres::shared().database();
    [file, views(world, Views::open_postgres(&url, identity, crate::all()).await.unwrap()).await]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_databases_answer_alike() {
    let mut world = World::with(&[paid(), proposed()].concat()).await;
    let page = PageSize::clamped(2);
    for views in both(&world).await {
        assert_eq!(top_ups::open(&views, page).await.unwrap().len(), 1);
        let listed = async |status, before| {
            let two = PageSize::clamped(2);
            let rows =
                views.read(move |snapshot| top_ups::list(snapshot, tenant(), status, before, two)).await.unwrap();
            rows.iter().map(|row| (row.status, row.requested)).collect::<Vec<_>>()
        };
        use top_ups::Status as S;
        let first = listed(None, None).await;
        assert_eq!(first.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [S::Requested, S::Failed]);
        let rest = listed(None, Some(first[1].1)).await;
        assert_eq!(rest.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [S::Credited]);
        assert_eq!(listed(Some(S::Failed), None).await, [first[1]], "money that has to go back");
        assert_eq!(listed(Some(S::Failed), Some(first[1].1)).await, []);
        assert_eq!(listed(Some(S::Credited), None).await, rest);
        let of_nobody = domain::TenantId(id(99));
        let stranger = views.read(move |snapshot| top_ups::list(snapshot, of_nobody, None, None, page)).await.unwrap();
        assert_eq!(stranger, []);
        let open = payouts::open(&views, page).await.unwrap();
        assert_eq!(open.iter().map(|row| row.payout).collect::<Vec<_>>(), [PayoutId(id(922)), PayoutId(id(923))]);
        let list = async |of, before| {
            let list = views.read(move |snapshot| payouts::list(snapshot, tenant(), of, before, page));
            list.await.unwrap().into_iter().map(|row| (row.requested, row.status)).collect::<Vec<_>>()
        };
        let all = list((None, None), None).await;
        assert_eq!(all.len(), 2);
        assert_eq!(list((Some(wallet(1)), None), Some(all[1].0)).await.len(), 1);
        assert_eq!(list((None, Some(payouts::Status::Held)), None).await.len(), 1);
        assert_eq!(list((Some(wallet(2)), None), None).await, []);
        let found = views.read(|snapshot| payouts::find(snapshot, tenant(), PayoutId(id(921)))).await.unwrap();
        assert_eq!(found.map(|row| row.amount()), Some(cny(400)));

        assert_eq!(corrections::open(&views, page).await.unwrap(), []);
        let ask = views.read(move |snapshot| {
            let of = |status, before| corrections::list(snapshot, tenant(), status, before, page);
            let all = of(None, None)?;
            let counts =
                [of(Some(Status::Proposed), None)?, of(Some(Status::Settled), None)?, of(None, Some(all[0].proposed))?];
            let numbers = |after| -> Result<Vec<u32>, crate::ViewError> {
                let entries = corrections::entries_after(snapshot, (tenant(), FIX), after, page)?;
                Ok(entries.iter().map(|row| row.entry).collect())
            };
            let found = corrections::find(snapshot, tenant(), FIX)?;
            let all_entries = corrections::entries(snapshot, tenant(), FIX)?.len();
            Ok((counts.map(|rows| rows.len()), [numbers(None)?, numbers(Some(1))?], found.is_some(), all_entries))
        });
        assert_eq!(ask.await.unwrap(), ([1, 0, 0], [vec![0, 1], vec![2]], true, 3));
        let preview = views.read(|snapshot| Preview::of_entries(snapshot, tenant(), &entries())).await.unwrap();
        let accounts: Vec<_> = preview
            .accounts
            .iter()
            .map(|it| (it.posted_minor, it.posted_after(), it.available(), it.available_after(), it.refusal))
            .collect();
        assert_eq!(accounts, [(700, 200, 300, -200, None), (0, 0, 0, 0, Some(Refusal::Unknown))]);
        assert_eq!((preview.below_floor().count(), preview.refused().count()), (1, 1));
        let ledger: Vec<_> = preview.ledger.iter().map(|it| (it.account.to_string(), it.balance_after())).collect();
        assert_eq!(ledger, [(format!("canteen:{}", canteen()), 50), ("suspense".to_owned(), 450)]);
        let report = crate::verify(Arc::clone(&world.store) as _, &views, |_| {}).await.unwrap();
        assert_eq!(report.differences, []);
    }
    world.happen(&applied()[..2]).await;
    for views in both(&world).await {
        assert_eq!(corrections::open(&views, page).await.unwrap().len(), 1);
    }
}
