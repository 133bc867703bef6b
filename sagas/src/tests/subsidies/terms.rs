//! Terms, employments and accounts that change while grants stand ahead.

use std::collections::BTreeMap;

use super::*;

fn day(number: i8) -> Date {
    date(2026, 12, number)
}

impl House {
    async fn set_terms(&self, policy: PolicyId, from: Date, terms: Terms) {
        let set = policy::Command::SetTerms { from, terms: Box::new(terms) };
        self.ordering.commands().on_policy(staff("set", 1, &from), policy, set).await.unwrap();
    }

    async fn stands_ahead(&self, policy: PolicyId, ahead_days: u16) {
        let command = policy::Command::SetStanding { ahead_days };
        self.ordering.commands().on_policy(staff("ahead", 1, &ahead_days), policy, command).await.unwrap();
    }

    async fn employ(&self, key: u128, number: u128, command: diner::Command) {
        self.ordering.commands().on_diner(staff("employ", key, &()), diner(number), command).await.unwrap();
    }

    /// The night before that day of December, and what stands.
    async fn night(&mut self, december: i64) {
        self.clock.set(MIDNIGHT.plus_seconds((december + 6) * 24 * 3_600));
        self.settle().await;
    }

    /// How often each working day of December was granted for to a diner, by every grant that there ever was.
    async fn december(&self, number: u128, per_month: &dyn Fn(u32) -> bool) -> BTreeMap<Date, u32> {
        let mut days = BTreeMap::new();
        for it in self.events().await {
            let domain::Fact::Account(account, account::Event::Granted { terms, .. }) = it.fact else { continue };
            if account != subsidy(number) {
                continue;
            }
            let first = terms.serves.first;
            let until = if per_month(terms.version) { first.last_of_month() } else { first };
            let mut date = first.max(day(1));
            while date <= until && date <= day(31) {
                if date.weekday().to_monday_one_offset() <= 5 {
                    *days.entry(date).or_default() += 1;
                }
                date = date.tomorrow().unwrap();
            }
        }
        days
    }
}

/// From by one to by another from December on, while a week is granted ahead by a standing order and more by hand.
async fn changed(from: Per, to: Per) -> (House, PolicyId) {
    let mut house = House::open(10, 10).await;
    let of = |per| Terms { per, clearing: Clearing::Monthly, ..terms(if per == Per::Month { 50_000 } else { 2_500 }) };
    let policy = house.company(10_000_000, 2, of(from)).await;
    house.stands_ahead(policy, 7).await;
    house.settle().await;
    house.clock.set(MIDNIGHT.plus_seconds(3 * 24 * 3_600));
    house.settle().await;
    house.grant(1, policy, day(4)).await.unwrap();
    house.set_terms(policy, day(1), of(to)).await;
    (house, policy)
}

#[tokio::test]
async fn each_day_is_granted_for_once_however_the_terms_change_while_grants_stand_ahead() {
    for (from, to) in [
        (Per::Day, Per::Month),
        (Per::Meal, Per::Month),
        (Per::Day, Per::Meal),
        (Per::Meal, Per::Day),
        (Per::Month, Per::Day),
        (Per::Month, Per::Meal),
    ] {
        let (mut house, policy) = changed(from, to).await;
        for night in -2..30 {
            house.night(night).await;
        }
        house.grant(2, policy, day(31)).await.unwrap();
        let per_month = move |version| (version == 1 && from == Per::Month) || (version == 2 && to == Per::Month);
        for number in 0..2 {
            let days = house.december(number, &per_month).await;
            assert_eq!(days.len(), 23, "{from:?} to {to:?}: some go without: {days:?}");
            assert!(days.values().all(|times| *times == 1), "{from:?} to {to:?}: {days:?}");
        }
    }
}

#[tokio::test]
async fn a_group_to_come_is_of_no_account_until_it_does() {
    let mut house = House::open(10, 10).await;
    let groups = [71, 72].map(|number| GroupId(Uuid::from_u128(number)));
    house.company(1_000_000, 0, terms(1)).await;
    let policies =
        [house.policy(2, Some(groups[0]), terms(100)).await, house.policy(3, Some(groups[1]), terms(900)).await];
    let join = |group| diner::Command::Join { company: COMPANY, group: Some(group), from: MONDAY };
    let moves = |group, from| diner::Command::Move { company: COMPANY, group: Some(group), from };
    house.employ(1, 1, join(groups[0])).await;
    house.employ(2, 1, moves(groups[1], date(2026, 11, 26))).await;
    // To another company from then on, and one who leaves before that.
    house.employ(3, 2, join(groups[0])).await;
    let other =
        diner::Command::Move { company: CompanyId(Uuid::from_u128(501)), group: None, from: date(2026, 11, 26) };
    house.employ(4, 2, other.clone()).await;
    house.employ(5, 3, join(groups[0])).await;
    house.employ(6, 3, other).await;
    house.employ(7, 3, diner::Command::Leave { on: date(2026, 11, 24) }).await;
    // A term that was prolonged.
    house.employ(8, 4, join(groups[0])).await;
    house.employ(9, 4, diner::Command::Leave { on: date(2026, 11, 26) }).await;
    house
        .employ(10, 4, diner::Command::Join { company: COMPANY, group: Some(groups[0]), from: date(2026, 11, 26) })
        .await;
    for (key, policy) in [(1, policies[0]), (2, policies[1])] {
        house.grant(key, policy, date(2026, 11, 27)).await.unwrap();
    }
    let days = async |number| {
        let mut days: Vec<_> =
            house.lots(number).await.iter().map(|lot| (lot.terms.serves.first.day(), lot.left)).collect();
        days.sort_unstable();
        days
    };
    assert_eq!(days(1).await, [(23, 100), (24, 100), (25, 100), (26, 900), (27, 900)]);
    assert_eq!(days(2).await, [(23, 100), (24, 100), (25, 100)]);
    assert_eq!(days(3).await, [(23, 100)]);
    assert_eq!(days(4).await, [(23, 100), (24, 100), (25, 100), (26, 100), (27, 100)]);
}

#[tokio::test]
async fn terms_set_back_grant_nothing_again_for_days_that_are_over() {
    let mut house = House::open(10, 10).await;
    let policy = house.company(1_000_000, 1, terms(2_000)).await;
    house.grant(1, policy, date(2026, 11, 25)).await.unwrap();
    house.clock.set(MIDNIGHT.plus_seconds(24 * 3_600));
    house.settle().await;
    assert_eq!(house.lots(0).await.len(), 1, "two days are over and forgotten");
    house.set_terms(policy, date(2026, 11, 24), Terms { clearing: Clearing::Monthly, ..terms(2_000) }).await;
    let granted = house.grant(2, policy, date(2026, 11, 26)).await.unwrap();
    assert_eq!((granted.diners, granted.granted), (1, fen(2_000)), "Thursday alone");
}

impl House {
    async fn close(&self, number: u128) {
        let (commands, adjustment) = (self.ordering.commands(), Uuid::from_u128(number));
        let posted = |account: &Account| account.book().map(|book| book.posted).unwrap_or_default();
        let posted = commands.look(TENANT, subsidy(number), posted).await.unwrap();
        let reason = account::AdjustReason::Correction;
        if posted == 0 {
            commands.deposit(staff("some", number, &()), subsidy(number), fen(1)).await.unwrap();
        }
        let empty = account::Command::Adjust { adjustment, by: fen(-posted.max(1)), reason };
        commands.on_account(staff("empty", number, &()), subsidy(number), empty).await.unwrap();
        commands.on_account(staff("close", number, &()), subsidy(number), account::Command::Close).await.unwrap();
    }
}

#[tokio::test]
async fn whose_account_is_closed_lacks_nothing() {
    let mut house = House::open(10, 10).await;
    // Enough for the other two.
    let policy = house.company(4_000, 3, terms(2_000)).await;
    house.close(1).await;
    let granted = house.grant(1, policy, MONDAY).await.unwrap();
    assert_eq!((granted.diners, granted.granted, granted.skipped), (2, fen(4_000), 0));
    let head = house.log.head().await.unwrap();
    assert_eq!(house.grant(2, policy, MONDAY).await.unwrap().diners, 0);
    assert_eq!(house.log.head().await.unwrap(), head);
}

#[tokio::test]
async fn a_closed_account_has_no_lots_for_the_timer() {
    let mut house = House::open(10, 10).await;
    let policy = house.company(4_000, 2, terms(2_000)).await;
    house.grant(1, policy, MONDAY).await.unwrap();
    house.close(1).await;
    house.clock.set(MIDNIGHT);
    let subsidies = house.seen().await;
    assert_eq!(subsidies.expire_all(MIDNIGHT).await.unwrap(), 1, "the other one's");
    let subsidies = house.seen().await;
    assert_eq!(subsidies.expire_all(MIDNIGHT).await.unwrap(), 0);
}

#[tokio::test]
async fn who_has_as_many_lots_as_an_account_keeps_is_skipped_and_counted() {
    let mut house = House::open(10, 10).await;
    let meals = Terms { per: Per::Meal, meals: Meal::ALL.into(), clearing: Clearing::Monthly, ..terms(1) };
    let policy = house.company(10_000_000, 2, meals.clone()).await;
    let others = house.policy(2, None, meals).await;
    for (key, policy) in [(1, policy), (2, others)] {
        // A quarter's 68 working days, four meals each.
        let granted = house.grant(key, policy, date(2027, 2, 22)).await.unwrap();
        let skipped = if key == 1 { 0 } else { 2 };
        assert_eq!((granted.diners, granted.skipped), (2, skipped));
        assert_eq!(house.transit(granted.run).await, 0);
    }
    assert_eq!(house.lots(0).await.len(), domain::lot::MAX_LOTS);
}
