//! The views of subsidies over a company's week: employments, a run of grants, lots.

use std::sync::Arc;

use domain::{
    AccountId, CompanyId, Currency, Fact, GrantRunId, GroupId, LotId, PolicyId, RefundId, Timestamp, account, diner,
    grant_run, lot,
    order::RefundFrom,
    policy::{self, Range},
    serving::Meal,
    standing::Delay,
};
use jiff::civil::{Date, date};
use store::EventStore;
use testing::Postgres;

use crate::{
    PageSize, Runner, Views,
    employment::{self, Employee, Employer, Employment},
    grant_runs::{self, GrantRuns, Run},
    policies::{self, Policies, PolicyRow},
    subsidies::{self, LotHold, PolicyUse, Subsidies, SubsidyLot},
    testing::*,
};

const MONDAY: Date = date(2026, 11, 23);
const FRIDAY: Date = date(2026, 11, 27);

fn company(number: u128) -> CompanyId {
    CompanyId(id(500 + number))
}

fn group() -> Option<GroupId> {
    Some(GroupId(id(600)))
}

fn run() -> GrantRunId {
    GrantRunId(id(700))
}

fn lot_of(number: usize) -> LotId {
    LotId(id(800 + number as u128))
}

fn lapses(number: usize, minor: i64) -> account::Event {
    account::Event::Lapsed { lot: lot_of(number), amount: cny(minor) }
}

/// An event of a diner's subsidy.
fn on(number: usize, event: account::Event) -> Fact {
    Fact::Account(AccountId::Subsidy(diner(number)), event)
}

fn employed() -> Vec<Fact> {
    let joined = |number, of, group| {
        Fact::Diner(diner(number), diner::Event::Joined { company: company(of), group, from: MONDAY })
    };
    let moved = |of, group, from| Fact::Diner(diner(2), diner::Event::Moved { company: company(of), group, from });
    vec![
        joined(1, 1, None),
        joined(2, 1, None),
        joined(3, 1, group()),
        joined(4, 2, None),
        // Into a group, then to another company.
        moved(1, group(), date(2026, 11, 24)),
        moved(2, None, FRIDAY),
        Fact::Diner(diner(1), diner::Event::Left { on: date(2026, 11, 25) }),
    ]
}

/// Ten yuan each for three diners, in two batches.
fn granted() -> Vec<Fact> {
    let (policy, range) = (PolicyId(id(900)), Range { first: MONDAY, last: MONDAY, versions: 1 });
    let of_run = |event| Fact::Grant(run(), event);
    let plan = grant_run::Plan { policy, company: company(1), currency: Currency::CNY, range };
    let serves = lot::Serves { first: MONDAY, last: MONDAY, meal: Some(Meal::Lunch) };
    let grant = |number: usize| {
        let expires_at = at(1_000 + number as u64);
        let terms = lot::Terms { policy, version: 1, run: run(), starts_at: at(1), expires_at, serves };
        let granted = account::Event::Granted { lot: lot_of(number), terms, amount: cny(1_000) };
        [on(number, account::Event::Opened { currency: Currency::CNY }), on(number, granted)]
    };
    let batch = |batch, diners: &[usize]| {
        let (of, minor) = (diners.iter().map(|number| diner(*number)).collect(), 1_000 * diners.len() as i64);
        let begun = of_run(grant_run::Event::BatchBegun { batch, diners: of, amount: cny(minor) });
        let settled = of_run(grant_run::Event::BatchSettled { batch, granted: cny(minor), skipped: 1 });
        [vec![begun], diners.iter().flat_map(|number| grant(*number)).collect(), vec![settled]].concat()
    };
    let begun = of_run(grant_run::Event::Begun(plan));
    let (company, group, currency, zone) = (company(1), None, Currency::CNY, "UTC".into());
    let opened = Fact::Policy(policy, policy::Event::Opened { company, group, currency, zone });
    [vec![opened, begun], batch(1, &[1, 2]), batch(2, &[3])].concat()
}

/// Of the first lot 7.00 are spent and 2.00 come back, of the second 4.00 are held; all lapse then, and
/// the last refund comes too late.
fn spent() -> Vec<Fact> {
    let held = |number: usize, minor| {
        let (hold, lot) = (hold(number, 0), Some(lot_of(number)));
        on(number, account::Event::Held { hold, amount: cny(minor), lot })
    };
    let (refund, from) = (RefundId(id(950)), RefundFrom::Prepaid);
    let back = account::Event::Refunded { refund, hold: hold(1, 0), amount: cny(200), from, lot: Some(lot_of(1)) };
    let late = account::Event::RefundLapsed {
        refund: RefundId(id(951)),
        hold: hold(1, 0),
        amount: cny(100),
        from,
        lot: lot_of(1),
    };
    vec![
        held(1, 700),
        held(2, 400),
        on(1, account::Event::Captured { hold: hold(1, 0), amount: cny(700) }),
        on(1, back),
        on(1, lapses(1, 500)),
        on(2, lapses(2, 600)),
        on(1, late),
    ]
}

fn week() -> Vec<Fact> {
    [employed(), granted(), spent(), stood(), closed()].concat()
}

/// Another diner's account, with a lot in it, as accounts were closed of old.
fn closed() -> Vec<Fact> {
    let serves = lot::Serves { first: MONDAY, last: MONDAY, meal: Some(Meal::Lunch) };
    let (policy, run, expires_at) = (PolicyId(id(900)), run(), at(900));
    let terms = lot::Terms { policy, version: 1, run, starts_at: at(1), expires_at, serves };
    let granted = account::Event::Granted { lot: lot_of(4), terms, amount: cny(100) };
    let adjusted =
        account::Event::Adjusted { adjustment: id(960), by: cny(-100), reason: account::AdjustReason::Correction };
    vec![
        on(4, account::Event::Opened { currency: Currency::CNY }),
        on(4, granted),
        on(4, adjusted),
        on(4, account::Event::Closed),
    ]
}

#[test]
fn lots_show_what_is_left_and_policies_what_became_of_it() {
    let mut rows = fold(&Subsidies, &[employed(), granted(), spent(), stood()].concat());
    let lots: Vec<_> = rows
        .all::<SubsidyLot>()
        .iter()
        .map(|lot| (lot.left_minor, lot.held_minor, lot.lapsed_minor, lot.expired))
        .collect();
    assert_eq!(lots, [(0, 0, 600, true), (400, 400, 600, true), (1_000, 0, 0, false)]);
    let holds: Vec<_> = rows.all::<LotHold>().iter().map(|hold| (hold.lot, hold.amount_minor)).collect();
    assert_eq!(holds, [(lot_of(2), 400)]);
    let used = rows.all::<PolicyUse>();
    let [used] = &used[..] else { panic!("{used:?}") };
    let sums = (used.granted_minor, used.spent_minor, used.refunded_minor, used.lapsed_minor);
    assert_eq!(sums, (3_000, 700, 300, 1_200));
    let left: i64 = rows.all::<SubsidyLot>().iter().map(|lot| lot.left_minor).sum();
    assert_eq!(used.granted_minor - used.spent_minor + used.refunded_minor - used.lapsed_minor, left);
}

#[test]
fn what_is_held_of_an_expired_lot_is_spent_or_lapses_with_its_release() {
    let captured = on(2, account::Event::Captured { hold: hold(2, 0), amount: cny(400) });
    let mut rows = fold(&Subsidies, &[week(), vec![captured]].concat());
    let of = |rows: &mut crate::Rows| {
        let lot = rows.all::<SubsidyLot>()[1].clone();
        (lot.left_minor, lot.held_minor, lot.lapsed_minor)
    };
    assert_eq!(of(&mut rows), (0, 0, 600));
    let released = [on(2, account::Event::Released { hold: hold(2, 0) }), on(2, lapses(2, 400))];
    let mut rows = fold(&Subsidies, &[week(), released.to_vec()].concat());
    assert_eq!(of(&mut rows), (0, 0, 1_000));
}

#[test]
fn a_lot_that_moves_before_it_was_granted_is_poison() {
    let mut rows = crate::Rows::empty();
    let it = recorded(&[on(1, lapses(1, 5))]).remove(0);
    assert!(crate::Projection::apply(&Subsidies, &it, &mut rows).is_err());
}

#[test]
fn employments_begin_move_and_end() {
    let mut rows = fold(&Employment, &week());
    let employees: Vec<_> = times(&mut rows);
    assert_eq!(
        employees,
        [
            (company(1), diner(1), None, MONDAY, Some(date(2026, 11, 25))),
            (company(1), diner(2), None, MONDAY, Some(date(2026, 11, 24))),
            (company(1), diner(2), group(), date(2026, 11, 24), Some(FRIDAY)),
            (company(1), diner(3), group(), MONDAY, None),
            (company(2), diner(2), None, FRIDAY, None),
            (company(2), diner(4), None, MONDAY, None),
        ]
    );
    let employers: Vec<_> = rows.all::<Employer>().iter().map(|row| (row.diner, row.company)).collect();
    let last = [(diner(1), company(1)), (diner(2), company(2)), (diner(3), company(1)), (diner(4), company(2))];
    assert_eq!(employers, last);
}

/// Whom a company employs, in which group, from and until when.
type Time = (CompanyId, domain::DinerId, Option<GroupId>, Date, Option<Date>);

fn times(rows: &mut crate::Rows) -> Vec<Time> {
    let times = rows.all::<Employee>();
    times.iter().map(|row| (row.company, row.diner, row.group_id, row.from_date, row.to_date)).collect()
}

#[test]
fn what_was_to_begin_after_a_diner_left_does_not() {
    let on = |event| Fact::Diner(diner(1), event);
    let joined = |of, from| on(diner::Event::Joined { company: company(of), group: None, from });
    let moved = |of, group, from| on(diner::Event::Moved { company: company(of), group, from });
    let left = |day| on(diner::Event::Left { on: day });
    let (wednesday, december) = (date(2026, 11, 25), date(2026, 12, 1));
    let of = |facts: &[Fact]| times(&mut fold(&Employment, facts));
    let all =
        [joined(1, MONDAY), moved(1, group(), FRIDAY), moved(2, None, december), left(wednesday), joined(1, wednesday)];
    let first = |to| (company(1), diner(1), None, MONDAY, Some(to));
    let ahead = [first(FRIDAY), (company(1), diner(1), group(), FRIDAY, Some(december))];
    assert_eq!(of(&all[..3]), [&ahead[..], &[(company(2), diner(1), None, december, None)]].concat());
    assert_eq!(of(&all[..4]), [first(wednesday)]);
    assert_eq!(of(&all), [first(wednesday), (company(1), diner(1), None, wednesday, None)], "a term prolonged");
    // A move to be made on the same day takes the place of the one before.
    let again = [&all[..2], &[moved(1, Some(GroupId(id(601))), FRIDAY)]].concat();
    assert_eq!(of(&again)[1..], [(company(1), diner(1), Some(GroupId(id(601))), FRIDAY, None)]);
}

#[test]
fn a_run_shows_how_far_it_is() {
    let of = |facts: &[Fact]| {
        let mut rows = fold(&GrantRuns, facts);
        let run: Run = rows.all::<Run>()[0].clone();
        (run.batches, run.diners, run.diners_at, run.skipped, run.granted_minor, run.short_minor, run.finished)
    };
    let all = granted();
    assert_eq!(of(&all[..3]), (1, 0, 2, 0, 0, None, false));
    assert_eq!(of(&all), (2, 3, 0, 2, 3_000, None, false));
    let refused = [
        Fact::Grant(run(), grant_run::Event::BatchBegun { batch: 3, diners: vec![diner(4)], amount: cny(1_000) }),
        Fact::Grant(run(), grant_run::Event::BatchRefused { batch: 3, short: cny(50) }),
        Fact::Grant(run(), grant_run::Event::Finished { granted: cny(3_000), returned: cny(0) }),
    ];
    assert_eq!(of(&[all, refused.to_vec()].concat()), (3, 3, 0, 2, 3_000, Some(50), true));
}

/// After a week's run the policy stands, seven days ahead, and its next day waits for money.
fn stood() -> Vec<Fact> {
    let on_policy = |event| Fact::Policy(PolicyId(id(900)), event);
    let why = Delay::Funds { needed: cny(3_000), short: cny(50) };
    vec![
        on_policy(policy::Event::StandingSet { ahead_days: 7 }),
        on_policy(policy::Event::StandingDelayed { first: FRIDAY, why }),
    ]
}

#[test]
fn a_policy_shows_what_stands_and_why_it_waits() {
    let of = |facts: &[Fact]| {
        let mut rows = fold(&Policies, facts);
        let row: PolicyRow = rows.all::<PolicyRow>()[0].clone();
        (row.ahead_days, row.waits_for, row.short(), row.last_run)
    };
    let begun = |number, day| {
        let range = Range { first: day, last: day, versions: 1 };
        let plan = grant_run::Plan { policy: PolicyId(id(900)), company: company(1), currency: Currency::CNY, range };
        Fact::Grant(GrantRunId(id(number)), grant_run::Event::Begun(plan))
    };
    let on = |more: &[Fact]| [&granted()[..], &stood()[..], more].concat();
    assert_eq!(of(&granted()), (None, None, None, Some(run())));
    assert_eq!(of(&on(&[])), (Some(7), Some(FRIDAY), Some(cny(50)), Some(run())));
    // A run for days before says nothing of the one that waits.
    assert_eq!(of(&on(&[begun(701, MONDAY)])), (Some(7), Some(FRIDAY), Some(cny(50)), Some(GrantRunId(id(701)))));
    assert_eq!(of(&on(&[begun(701, FRIDAY)])), (Some(7), None, None, Some(GrantRunId(id(701)))));
    let frozen = policy::Event::StandingDelayed { first: FRIDAY, why: Delay::Company };
    let frozen = Fact::Policy(PolicyId(id(900)), frozen);
    assert_eq!(of(&on(&[frozen])), (Some(7), Some(FRIDAY), None, Some(run())));
    let ended = Fact::Policy(PolicyId(id(900)), policy::Event::StandingEnded);
    assert_eq!(of(&on(&[ended])), (None, None, None, Some(run())));
}

async fn views(world: &World, views: Views) -> Views {
    Runner::open(world.store.clone(), views.clone()).await.unwrap().catch_up().await.unwrap();
    views
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_databases_answer_alike() {
    let world = World::with(&week()).await;
    let identity = world.store.identity();
    let file = views(&world, Views::in_memory(identity, crate::all()).unwrap()).await;
    let url = Postgres::shared().database();
    let there = views(&world, Views::open_postgres(&url, identity, crate::all()).await.unwrap()).await;
    for views in [file, there] {
        let page = PageSize::clamped(2);
        let lots = subsidies::of_diner(&views, tenant(), diner(3), None, page).await.unwrap();
        assert_eq!(lots.iter().map(|lot| lot.lot).collect::<Vec<_>>(), [lot_of(3)]);
        let after = Some((lots[0].expires_at, lots[0].lot));
        assert_eq!(subsidies::of_diner(&views, tenant(), diner(3), after, page).await.unwrap(), []);
        assert_eq!(subsidies::of_diner(&views, tenant(), diner(1), None, page).await.unwrap(), [], "it has expired");
        let due = async |now: Timestamp| subsidies::due(&views, now, None, 10).await.unwrap();
        assert_eq!(due(at(1_002)).await, [], "a closed account waits for nothing");
        let third = due(at(1_003)).await;
        assert_eq!(third.iter().map(|due| (due.diner, due.lot)).collect::<Vec<_>>(), [(diner(3), lot_of(3))]);
        assert_eq!(subsidies::due(&views, at(1_003), third.last().copied(), 10).await.unwrap(), []);
        assert_eq!(subsidies::policy_use(&views, tenant(), None, None, page).await.unwrap().len(), 1);

        let due = async |group, days, after| {
            let of = ((tenant(), company(1)), group);
            let rows = employment::due(&views, of, days, after, page).await.unwrap();
            rows.iter().map(|row| (row.diner, row.from_date.day())).collect::<Vec<_>>()
        };
        let week = (MONDAY, FRIDAY);
        assert_eq!(due(None, week, None).await, [(diner(1), 23), (diner(2), 23), (diner(2), 24)], "two diners");
        assert_eq!(due(None, week, Some(diner(2))).await, [(diner(3), 23)]);
        assert_eq!(due(group(), week, None).await, [(diner(2), 24), (diner(3), 23)]);
        assert_eq!(due(group(), (MONDAY, MONDAY), None).await, [(diner(3), 23)], "not in the group yet");
        assert_eq!(due(None, (FRIDAY, FRIDAY), None).await, [(diner(3), 23)], "two have gone by then");
        let before = (date(2026, 11, 1), date(2026, 11, 22));
        assert_eq!(due(None, before, None).await, [], "nobody has come yet");
        let employed = async |group, on, after| {
            let of = (tenant(), company(1));
            employment::employed(&views, of, group, on, after, page).await.unwrap()
        };
        let diners =
            async |group, on, after| employed(group, on, after).await.iter().map(|row| row.diner).collect::<Vec<_>>();
        assert_eq!(diners(None, Some(MONDAY), None).await, [diner(1), diner(2)]);
        assert_eq!(diners(None, Some(FRIDAY), None).await, [diner(3)]);
        assert_eq!(diners(group(), Some(MONDAY), None).await, [diner(3)]);
        assert_eq!(diners(group(), Some(date(2026, 11, 24)), None).await, [diner(2), diner(3)]);
        assert_eq!(diners(None, None, None).await, [diner(1), diner(2)], "ever");
        assert_eq!(diners(None, None, Some(diner(2))).await, [diner(3)]);
        assert_eq!(diners(group(), None, Some(diner(2))).await, [diner(3)]);
        assert_eq!(diners(Some(GroupId(id(601))), None, None).await, []);
        let second = |group| employment::Employed { diner: diner(2), group, from: MONDAY, until: Some(FRIDAY) };
        assert_eq!(employed(None, Some(MONDAY), None).await[1], second(None));
        assert_eq!(employed(None, None, None).await[1], second(group()), "one row a diner, of the last time");
        let times = employment::of_diner(&views, (tenant(), company(1), diner(2)), None).await.unwrap();
        assert_eq!(times.iter().map(|row| row.from_date.day()).collect::<Vec<_>>(), [23, 24]);
        let times = employment::of_diner(&views, (tenant(), company(1), diner(2)), group()).await.unwrap();
        assert_eq!(times.len(), 1);

        let runs = grant_runs::list(&views, tenant(), None, None, page).await.unwrap();
        assert_eq!(runs, grant_runs::open(&views, page).await.unwrap());
        assert_eq!(runs.iter().map(|run| run.granted()).collect::<Vec<_>>(), [cny(3_000)]);
        assert_eq!(grant_runs::list(&views, tenant(), None, Some(runs[0].begun), page).await.unwrap(), []);
        let policies = policies::list(&views, tenant(), None, None, page).await.unwrap();
        let standing: Vec<_> = policies.iter().map(|row| (row.ahead_days, row.waits_for, row.short())).collect();
        assert_eq!(standing, [(Some(7), Some(FRIDAY), Some(cny(50)))]);
        assert_eq!(policies::standing(&views, None, page).await.unwrap(), policies);
        let last = policies[0].policy;
        assert_eq!(policies::standing(&views, Some((tenant(), last)), page).await.unwrap(), []);
        assert_eq!(policies::list(&views, tenant(), None, Some(last), page).await.unwrap(), []);
        let report = crate::verify(Arc::clone(&world.store) as _, &views, |_| {}).await.unwrap();
        assert_eq!(report.differences, []);
    }
}
