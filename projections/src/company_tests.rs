//! What companies see: their invoices, and what their subsidies paid for. On both databases.

use std::sync::Arc;

use domain::{
    AccountId, CompanyId, Currency, Fact, GrantRunId, InvoiceId, LotId, PolicyId, RefundId,
    account::{self, Disclosure},
    diner, grant_run,
    invoice::{self, Bill, VoidReason},
    lot,
    order::{self, LineCount, RefundFrom, RefundReason},
    payment::{self, Source, Tender, Why},
    policy::{self, Range},
};
use jiff::civil::{Date, date};
use store::EventStore;
use testing::Postgres;

use crate::{
    PageSize, Runner, Views,
    balances::limited_account,
    company_use::{self, Asked, DayOfDiner},
    grant_runs,
    invoices::{self, Ageing, State},
    policies, subsidies,
    testing::*,
};

const MONDAY: Date = date(2026, 11, 23);

fn company() -> CompanyId {
    CompanyId(id(500))
}

fn lot() -> LotId {
    LotId(id(800))
}

fn on_company(event: account::Event) -> Fact {
    Fact::Account(AccountId::Company(company()), event)
}

fn on_subsidy(number: usize, event: account::Event) -> Fact {
    Fact::Account(AccountId::Subsidy(diner(number)), event)
}

/// A diner whose order of 24.00 the company pays 10.00 of, and then gets 2.00 back.
fn paid_in_part() -> Vec<Fact> {
    let (policy, run) = (PolicyId(id(900)), GrantRunId(id(700)));
    let (group, currency, zone) = (None, Currency::CNY, "UTC".into());
    let serves = lot::Serves { first: MONDAY, last: MONDAY, meal: None };
    let terms = lot::Terms { policy, version: 1, run, starts_at: at(1), expires_at: at(1_000_000), serves };
    let (held, wallet) = (hold(0, 0), Source::Account(AccountId::Wallet(diner(0))));
    let tender = |source, minor, why| Tender { source, amount: cny(minor), why };
    let tenders = vec![tender(Source::Lot(diner(0), lot()), 1_000, Why::Available), tender(wallet, 1_400, Why::Rest)];
    let started = payment::Event::Started { order: order_id(0), diner: diner(0), total: cny(2_400), tenders };
    let (refund, from, reason) = (RefundId(id(950)), RefundFrom::Prepaid, RefundReason::Complaint);
    let lines = vec![LineCount { line: 0, quantity: 1 }];
    let begun = order::Event::RefundBegun {
        refund,
        lines,
        amounts: vec![],
        first: vec![],
        amount: cny(1_200),
        from,
        unearned: None,
        reason,
    };
    let back = account::Event::Refunded { refund, hold: held, amount: cny(200), from, lot: Some(lot()) };
    vec![
        Fact::Policy(policy, policy::Event::Opened { company: company(), group, currency, zone }),
        on_subsidy(0, account::Event::Opened { currency }),
        on_subsidy(0, account::Event::Granted { lot: lot(), terms, amount: cny(1_000) }),
        placed(0),
        Fact::Payment(order_id(0).payment(), started),
        on_subsidy(0, account::Event::Held { hold: held, amount: cny(1_000), lot: Some(lot()) }),
        ordered(0, order::Event::Confirmed),
        on_subsidy(0, account::Event::Captured { hold: held, amount: cny(1_000) }),
        Fact::Payment(order_id(0).payment(), payment::Event::Captured),
        ordered(0, begun),
        on_subsidy(0, back),
    ]
}

fn bill(number: u32, minor: i64, due_on: Date) -> Bill {
    Bill { company: company(), number, amount: cny(minor), through: MONDAY, due_on }
}

/// As the account issues it, and then its own stream.
fn issued(bill: Bill) -> [Fact; 2] {
    let invoice = InvoiceId(id(600 + u128::from(bill.number)));
    let Bill { number, amount, through, due_on, .. } = bill;
    let of_account = account::Event::Invoiced { invoice, number, amount, through, due_on };
    [on_company(of_account), Fact::Invoice(invoice, invoice::Event::Issued(bill))]
}

/// Three invoices: one half paid, one settled and not booked yet, one void.
fn invoiced() -> Vec<Fact> {
    let of = |number: u32, event| Fact::Invoice(InvoiceId(id(600 + u128::from(number))), event);
    let paid =
        |number, minor| of(number, invoice::Event::Paid { payment: id(1), company: company(), amount: cny(minor) });
    let invoice = |number: u32| InvoiceId(id(600 + u128::from(number)));
    let taken = |number, minor| {
        on_company(account::Event::InvoicePaid { invoice: invoice(number), payment: id(1), amount: cny(minor) })
    };
    [
        vec![
            on_company(account::Event::Opened { currency: Currency::CNY }),
            on_company(account::Event::FloorSet { floor: cny(-5_000) }),
        ],
        issued(bill(1, 1_000, date(2026, 12, 1))).into(),
        vec![paid(1, 400), taken(1, 400), of(1, invoice::Event::Booked)],
        issued(bill(2, 50, date(2026, 12, 30))).into(),
        vec![paid(2, 50), of(2, invoice::Event::Settled)],
        issued(bill(3, 70, date(2026, 12, 30))).into(),
        vec![
            of(3, invoice::Event::Voided { reason: VoidReason::Mistake }),
            on_company(account::Event::InvoiceVoided { invoice: invoice(3), amount: cny(70) }),
            of(3, invoice::Event::Booked),
        ],
    ]
    .concat()
}

async fn both(world: &World) -> [Views; 2] {
    let identity = world.store.identity();
    let url = Postgres::shared().database();
    let views = [
        Views::in_memory(identity, crate::all()).unwrap(),
        Views::open_postgres(&url, identity, crate::all()).await.unwrap(),
    ];
    for views in &views {
        Runner::open(world.store.clone(), views.clone()).await.unwrap().catch_up().await.unwrap();
        let report = crate::verify(Arc::clone(&world.store) as _, views, |_| {}).await.unwrap();
        // The events are made up: only the accounts' own sums need not agree with them.
        let of_views: Vec<_> = report
            .differences
            .iter()
            .filter(|one| one.subject.contains("invoices") || one.subject.contains("company_use"))
            .collect();
        assert!(of_views.is_empty() && report.rows > 0, "{of_views:?}");
        let parked: Vec<_> = report.differences.iter().filter(|one| one.found.contains("parked")).collect();
        assert!(parked.is_empty(), "{parked:?}");
    }
    views
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invoices_are_open_settled_or_void_and_age() {
    let world = World::with(&invoiced()).await;
    for views in both(&world).await {
        let page = PageSize::clamped(2);
        let list = async |open, before| {
            let asked = invoices::Asked { companies: Some(vec![company()]), open };
            invoices::list(&views, tenant(), asked, before, page).await.unwrap()
        };
        let first = list(false, None).await;
        let shown: Vec<_> = first.iter().map(|row| (row.number, row.state, row.open().minor, row.pending)).collect();
        assert_eq!(shown, [(3, State::Voided, 0, false), (2, State::Settled, 0, true)]);
        let last = list(false, Some(first[1].issued)).await;
        assert_eq!(last.iter().map(|row| (row.number, row.paid().minor)).collect::<Vec<_>>(), [(1, 400)]);
        assert_eq!(list(true, None).await, last);
        let all = invoices::Asked { companies: None, open: true };
        assert_eq!(invoices::list(&views, tenant(), all, None, page).await.unwrap(), last);
        let nobody = invoices::Asked { companies: Some(vec![]), open: false };
        assert_eq!(invoices::list(&views, tenant(), nobody, None, page).await.unwrap(), []);
        let pending = invoices::pending(&views, page).await.unwrap();
        assert_eq!(pending.iter().map(|row| row.number).collect::<Vec<_>>(), [2]);
        let aged = async |today| invoices::ageing(&views, tenant(), None, today).await.unwrap();
        let open = |open_minor| vec![Ageing { company: company(), currency: Currency::CNY, open_minor }];
        assert_eq!(aged(date(2026, 12, 1)).await, open([600, 0, 0, 0, 0]));
        assert_eq!(aged(date(2026, 12, 2)).await, open([0, 600, 0, 0, 0]));
        assert_eq!(aged(date(2026, 12, 31)).await, open([0, 600, 0, 0, 0]));
        assert_eq!(aged(date(2027, 1, 1)).await, open([0, 0, 600, 0, 0]));
        assert_eq!(aged(date(2027, 4, 1)).await, open([0, 0, 0, 0, 600]));
        let account = limited_account(&views, tenant(), AccountId::Company(company())).await.unwrap().unwrap();
        // 5,000 of credit, less 600 and 50 that the account has not seen paid, and what was owed before.
        assert_eq!((account.receivable_minor, account.posted_minor), (650, 1_050));
        assert_eq!(account.available(), cny(5_000 + 1_050 - 650));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_company_sees_its_own_money_and_dishes_only_if_it_has_chosen_to() {
    let disclosed = [
        on_company(account::Event::Opened { currency: Currency::CNY }),
        on_company(account::Event::DisclosureSet { disclosure: Disclosure::Dishes }),
    ];
    for (disclosed, dishes) in [(&[][..], None), (&disclosed[..], Some(vec!["Egg soup".to_owned()]))] {
        let world = World::with(&[opening(), paid_in_part(), disclosed.to_vec()].concat()).await;
        for views in both(&world).await {
            let days = async |company, from, to, after| {
                let asked = Asked { tenant: tenant(), company, from, to, after };
                views.read(move |snapshot| company_use::days(snapshot, &asked, 10)).await.unwrap()
            };
            let all = days(company(), Date::MIN.max(date(1970, 1, 1)), date(2100, 1, 1), None).await;
            let day = all[0].day;
            let (diner, currency) = (diner(0), Currency::CNY);
            // Nothing of the 14.00 from the wallet.
            let expected = DayOfDiner { day, diner, currency, orders: 1, spent_minor: 800, dishes: dishes.clone() };
            assert_eq!(all, [expected]);
            assert_eq!(days(company(), day, day, Some((day, diner, currency))).await, []);
            assert_eq!(days(company(), day.tomorrow().unwrap(), date(2100, 1, 1), None).await, []);
            assert_eq!(days(CompanyId(id(501)), day, day, None).await, []);
            let known = async |company| {
                views.read(move |snapshot| company_use::is_known(snapshot, tenant(), company)).await.unwrap()
            };
            assert!(known(company()).await && !known(CompanyId(id(501))).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_back_to_a_closed_or_expired_subsidy_is_not_spent_either() {
    let (from, hold) = (RefundFrom::Prepaid, hold(0, 0));
    let back = |number, minor| (RefundId(id(951_u128 + number)), cny(minor));
    let ((refund, amount), (late, less)) = (back(0, 300), back(1, 70));
    let lapsed = account::Event::RefundLapsed { refund: late, hold, amount: less, from, lot: lot() };
    let diverted = |lot| account::Event::RefundDiverted { refund, hold, amount, from, lot };
    // One that was recorded before the lot was noted cannot be told whose it is.
    for (named, spent_minor) in [(Some(lot()), 1_000 - 200 - 70 - 300), (None, 1_000 - 200 - 70)] {
        let more = vec![on_subsidy(0, lapsed.clone()), on_subsidy(0, diverted(named))];
        let world = World::with(&[opening(), paid_in_part(), more].concat()).await;
        for views in both(&world).await {
            let (from, to) = (date(1970, 1, 1), date(2100, 1, 1));
            let asked = Asked { tenant: tenant(), company: company(), from, to, after: None };
            let days = views.read(move |snapshot| company_use::days(snapshot, &asked, 10)).await.unwrap();
            assert_eq!(days.iter().map(|day| day.spent_minor).collect::<Vec<_>>(), [spent_minor]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_version_of_a_policy_is_read_back_as_it_was_set() {
    let terms = |minor, canteens: &[u128]| policy::Terms {
        amount: cny(minor),
        per: policy::Per::Month,
        clearing: policy::Clearing::Rollover { months: 2 },
        calendar: policy::Calendar {
            weekdays: [1, 5].into(),
            holidays: [date(2026, 12, 25)].into(),
            extra: [date(2026, 12, 26)].into(),
        },
        meals: [domain::serving::Meal::Lunch].into(),
        canteens: canteens.iter().map(|number| domain::CanteenId(id(*number))).collect(),
        order_limit: Some(cny(900)),
        share_percent: Some(40),
        cleared_on_leaving: false,
    };
    let set = |number: u128, version, from, terms: policy::Terms| {
        Fact::Policy(PolicyId(id(900 + number)), policy::Event::TermsSet { version, from, terms: Box::new(terms) })
    };
    let later = date(2027, 1, 1);
    let changes = vec![
        set(0, 1, MONDAY, terms(1_000, &[])),
        set(1, 1, MONDAY, terms(1_100, &[])),
        set(0, 2, later, terms(1_200, &[3, 4])),
    ];
    let world = World::with(&[of_three(), changes].concat()).await;
    for views in both(&world).await {
        let of = async |tenant, numbers: &[u128]| {
            let ids: Vec<_> = numbers.iter().map(|number| PolicyId(id(900 + number))).collect();
            views.read(move |snapshot| policies::versions(snapshot, tenant, &ids)).await.unwrap()
        };
        let found = of(tenant(), &[0, 1, 2]).await;
        let shown: Vec<_> =
            found.iter().map(|row| (row.policy, row.version, row.from_date, row.terms.0.clone())).collect();
        let policy = |number: u128| PolicyId(id(900 + number));
        let expected = [
            (policy(0), 1, MONDAY, terms(1_000, &[])),
            (policy(0), 2, later, terms(1_200, &[3, 4])),
            (policy(1), 1, MONDAY, terms(1_100, &[])),
        ];
        assert_eq!(shown, expected);
        assert_eq!(of(domain::TenantId(id(99)), &[0, 1]).await, [], "another tenant's");
        assert_eq!(of(tenant(), &[]).await, []);
    }
}

/// Six policies of three companies in turn, each with a run that grants 1.00 and more to one diner.
fn of_three() -> Vec<Fact> {
    let of = |number: u128| {
        let (company, policy, run) =
            (CompanyId(id(500 + number % 3)), PolicyId(id(900 + number)), GrantRunId(id(700 + number)));
        let (group, currency, zone) = (None, Currency::CNY, "UTC".into());
        let range = Range { first: MONDAY, last: MONDAY, versions: 1 };
        let serves = lot::Serves { first: MONDAY, last: MONDAY, meal: None };
        let terms = lot::Terms { policy, version: 1, run, starts_at: at(1), expires_at: at(1_000_000), serves };
        let (diner, amount) = (number as usize, cny(100 + number as i64));
        let granted = account::Event::Granted { lot: LotId(id(800 + number)), terms, amount };
        [
            Fact::Policy(policy, policy::Event::Opened { company, group, currency, zone }),
            Fact::Grant(run, grant_run::Event::Begun(grant_run::Plan { policy, company, currency, range })),
            on_subsidy(diner, account::Event::Opened { currency }),
            on_subsidy(diner, granted),
        ]
    };
    (0..6).flat_map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_subsidies_are_of_the_companies_that_are_asked_for() {
    let world = World::with(&of_three()).await;
    let of = |numbers: &[u128]| Some(numbers.iter().map(|number| CompanyId(id(500 + number))).collect::<Vec<_>>());
    let asked = [
        (None, vec![0, 1, 2, 3, 4, 5]),
        (of(&[0, 1, 2]), vec![0, 1, 2, 3, 4, 5]),
        (of(&[2, 0]), vec![0, 2, 3, 5]),
        (of(&[1]), vec![1, 4]),
        (of(&[9]), vec![]),
        (of(&[]), vec![]),
    ];
    for views in both(&world).await {
        for (companies, wanted) in &asked {
            let page = PageSize::clamped(3);
            let (mut by_policy, mut by_use, mut by_run) = (vec![], vec![], vec![]);
            while let after = by_policy.last().copied()
                && let rows = policies::list(&views, tenant(), companies.clone(), after, page).await.unwrap()
                && !rows.is_empty()
            {
                assert!(rows.len() <= 3);
                by_policy.extend(rows.iter().map(|row| row.policy));
            }
            let wanted: Vec<_> = wanted.iter().map(|number| PolicyId(id(900 + number))).collect();
            assert_eq!(by_policy, wanted);
            while let after = by_use.last().map(|(policy, _)| (*policy, Currency::CNY))
                && let rows = subsidies::policy_use(&views, tenant(), companies.clone(), after, page).await.unwrap()
                && !rows.is_empty()
            {
                assert!(rows.len() <= 3);
                by_use.extend(rows.iter().map(|row| (row.policy, row.granted_minor)));
            }
            let granted = |policy: &PolicyId| (*policy, 100 + policy.0.as_u128() as i64 - id(900).as_u128() as i64);
            assert_eq!(by_use, wanted.iter().map(granted).collect::<Vec<_>>());
            while let before = by_run.last().map(|(_, begun)| *begun)
                && let rows = grant_runs::list(&views, tenant(), companies.clone(), before, page).await.unwrap()
                && !rows.is_empty()
            {
                assert!(rows.len() <= 3);
                by_run.extend(rows.iter().map(|row| (row.policy, row.begun)));
            }
            let latest_first: Vec<_> = wanted.iter().rev().copied().collect();
            assert_eq!(by_run.iter().map(|(policy, _)| *policy).collect::<Vec<_>>(), latest_first);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_company_is_known_by_its_policy_its_people_or_its_choice() {
    let joined = diner::Event::Joined { company: CompanyId(id(510)), group: None, from: MONDAY };
    let chosen = AccountId::Company(CompanyId(id(511)));
    let of_chosen = |event| Fact::Account(chosen, event);
    let facts = [
        paid_in_part()[0].clone(),
        Fact::Diner(diner(0), joined),
        of_chosen(account::Event::Opened { currency: Currency::CNY }),
        of_chosen(account::Event::DisclosureSet { disclosure: Disclosure::Dishes }),
    ];
    let world = World::with(&facts).await;
    for views in both(&world).await {
        let known = async |tenant, number| {
            let company = CompanyId(id(number));
            views.read(move |snapshot| company_use::is_known(snapshot, tenant, company)).await.unwrap()
        };
        for number in [500, 510, 511] {
            assert!(known(tenant(), number).await, "{number}");
            assert!(!known(domain::TenantId(id(99)), number).await, "{number} is another tenant's");
        }
        assert!(!known(tenant(), 512).await);
    }
}
