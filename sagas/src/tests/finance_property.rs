//! Whatever finance does in whatever order, accounts equal their books and the books balance.

use domain::{CorrectionId, PayoutId, account::AdjustReason, top_up::Source};
use projections::balances::LimitedAccount;
use proptest::prelude::*;

use super::{
    finance::{OTHER, adjusts, by, canteens, correction, moves, shown, wallet},
    *,
};
use crate::{NewAdjustment, NewPayout, NewTopUp};

#[derive(Clone, Debug)]
enum Op {
    TopUp(u128, i64),
    Adjust(u128, i64),
    PayOut(u128, i64),
    /// Confirms or cancels the payout of that number.
    End(usize, bool),
    Correct(Vec<(u128, i64)>, i64),
    Limit(i64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let number = || 1..=3_u128;
    let op = prop_oneof![
        3 => (number(), 1..2_000_i64).prop_map(|(n, minor)| Op::TopUp(n, minor)),
        2 => (number(), -800..800_i64).prop_map(|(n, minor)| Op::Adjust(n, minor)),
        3 => (number(), 1..1_500_i64).prop_map(|(n, minor)| Op::PayOut(n, minor)),
        2 => (0..6_usize, any::<bool>()).prop_map(|(n, paid)| Op::End(n, paid)),
        2 => (prop::collection::vec((number(), -500..500_i64), 1..4), 1..300_i64)
            .prop_map(|(adjusts, moved)| Op::Correct(adjusts, moved)),
        1 => (0..400_i64).prop_map(Op::Limit),
    ];
    prop::collection::vec(op, 1..25)
}

async fn run(house: &mut House, key: u128, op: Op, payouts: &mut Vec<PayoutId>) {
    let finance = house.finance().await;
    match op {
        Op::TopUp(number, minor) => {
            let new = NewTopUp { account: wallet(number), amount: fen(minor), source: Source::Counter };
            finance.top_up(staff("topUp", key, &new), new).await.unwrap();
        }
        Op::Adjust(number, minor) => {
            let (account, reason) = (wallet(number), AdjustReason::Goodwill);
            let new = NewAdjustment { account, by: fen(minor), reason, reference: None };
            let _refused = finance.adjust(staff("adjust", key, &new), new).await;
        }
        Op::PayOut(number, minor) => {
            let new = NewPayout { account: wallet(number), amount: fen(minor) };
            let request = staff("payOut", key, &new);
            if finance.pay_out(request, new).await.is_ok() {
                payouts.push(PayoutId(request.id));
            }
        }
        Op::End(number, paid) => {
            let Some(payout) = payouts.get(number).copied() else { return };
            let request = staff("end", key, &paid);
            let _ended = if paid {
                finance.confirm_payout(request, payout).await
            } else {
                finance.cancel_payout(request, payout).await
            };
        }
        Op::Correct(of, moved) => {
            let mut entries: Vec<_> = of.into_iter().map(|(number, minor)| adjusts(number, minor)).collect();
            entries.push(moves(domain::postings::LedgerAccount::Suspense, canteens(), moved));
            let id = CorrectionId(Uuid::from_u128(10_000 + key));
            if finance.propose(staff("propose", key, &()), id, correction(entries)).await.is_ok() {
                assert!(finance.apply_correction(by(STAFF, "apply", key, &()), id).await.is_err());
                finance.apply_correction(by(OTHER, "apply", key, &()), id).await.unwrap();
            }
        }
        Op::Limit(minor) => {
            let commands = house.ordering.commands().clone();
            commands.open_books(staff("books", 1, &()), "UTC".into()).await.unwrap();
            commands.set_approval_limit(staff("limit", key, &minor), fen(minor)).await.unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_finance_does_accounts_equal_their_books_and_the_books_balance(ops in ops()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut house = House::open(1, 1).await;
            let mut payouts = Vec::new();
            for (key, op) in ops.into_iter().enumerate() {
                run(&mut house, key as u128, op, &mut payouts).await;
            }
            assert_eq!(house.settle().await, 0);
            assert_eq!(house.trial().await, 0);
            for number in 1..=3 {
                let (posted, held) = house.money(number).await;
                assert_eq!(house.ledger(&wallet(number).to_string()).await, posted);
                let row: Option<LimitedAccount> = shown(&mut house, move |snapshot| {
                    snapshot.fetch_one("WHERE account = ?1", projections::args![wallet(number)]).unwrap()
                })
                .await;
                assert_eq!(row.map_or((0, 0), |row| (row.posted_minor, row.held_minor)), (posted, held));
            }
        });
    }
}
