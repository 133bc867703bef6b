//! A naive model of one diner's subsidy. It shares no arithmetic with the account: it is told what happened,
//! event by event, and says what had to happen.

use std::collections::BTreeMap;

use domain::{LotId, PolicyId, Timestamp, lot::Terms};
use jiff::civil::Date;

/// What a policy of the test pays at most of one order, and on which weekdays.
#[derive(Clone, Debug, Default)]
pub(super) struct Rule {
    pub(super) weekdays: Vec<i8>,
    pub(super) order_limit: Option<i64>,
    pub(super) share_percent: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Portion {
    pub(super) terms: Terms,
    pub(super) money: i64,
    pub(super) held: i64,
    pub(super) over: bool,
}

/// Lots, and what is in none, in minor units.
#[derive(Clone, Debug, Default)]
pub(super) struct Purse {
    pub(super) lots: BTreeMap<LotId, Portion>,
    pub(super) loose: i64,
}

impl Purse {
    fn portion(&mut self, lot: LotId) -> &mut Portion {
        self.lots.get_mut(&lot).unwrap_or_else(|| panic!("the lot {lot} was never granted"))
    }

    pub(super) fn granted(&mut self, lot: LotId, terms: Terms, minor: i64, at: Timestamp) {
        assert!(at < terms.expires_at, "{lot} was granted after its end");
        let before = self.lots.insert(lot, Portion { terms, money: minor, held: 0, over: false });
        assert_eq!(before, None, "{lot} was granted twice");
    }

    pub(super) fn held(&mut self, lot: Option<LotId>, minor: i64, at: Timestamp) {
        let Some(lot) = lot else { return };
        let portion = self.portion(lot);
        assert!(!portion.over && at < portion.terms.expires_at, "{lot} is over and pays");
        portion.held += minor;
        assert!(portion.held <= portion.money, "{lot} pays more than it has: {portion:?}");
    }

    pub(super) fn captured(&mut self, lot: Option<LotId>, minor: i64) {
        match lot {
            Some(lot) => {
                let portion = self.portion(lot);
                portion.held -= minor;
                portion.money -= minor;
            }
            None => self.loose -= minor,
        }
    }

    pub(super) fn released(&mut self, lot: Option<LotId>, minor: i64) {
        if let Some(lot) = lot {
            self.portion(lot).held -= minor;
        }
    }

    /// Money of `lot` comes back: whether it may, or is lost with its lot, must be what happened.
    pub(super) fn refunded(&mut self, lot: Option<LotId>, minor: i64, lapsed: bool) {
        match lot {
            Some(lot) => {
                let portion = self.portion(lot);
                assert_eq!(portion.over, lapsed, "a refund to {lot}, {portion:?}");
                if !lapsed {
                    portion.money += minor;
                }
            }
            None => self.loose += minor,
        }
    }

    /// The end of a lot, or of what came free of it after its end; `unheld` is what the account has of
    /// money that nobody holds: a debt is not made bigger.
    pub(super) fn lapsed(&mut self, lot: LotId, minor: i64, at: Timestamp, unheld: i64) {
        let portion = self.portion(lot);
        // An account that closes has nothing, and ends its lots with it.
        let closes = unheld == 0 && minor == 0;
        assert!(closes || portion.over || portion.terms.expires_at <= at, "{lot} ends before its time");
        let free = portion.money - portion.held;
        assert_eq!(minor, free.min(unheld.max(0)), "{portion:?} ends with another amount");
        portion.over = true;
        portion.money = portion.held;
        // What a debt has eaten of it.
        self.loose += free - minor;
    }

    /// Which lots must pay `due` of an order of `whole`, of which some lots have paid before: the earliest end
    /// first, each policy as far as it goes.
    pub(super) fn plan(
        &self,
        (due, whole, before): (i64, i64, &[(LotId, i64)]),
        available: i64,
        (date, at): (Date, Timestamp),
        rules: &BTreeMap<PolicyId, Rule>,
    ) -> Vec<(LotId, i64)> {
        let serves = |one: &Portion| (one.terms.serves.first..=one.terms.serves.last).contains(&date);
        let lives = |one: &Portion| !one.over && one.terms.starts_at <= at && at < one.terms.expires_at;
        let free = |one: &Portion| one.money > one.held && serves(one) && lives(one);
        let mut lots: Vec<_> = self.lots.iter().filter(|(_, one)| free(one)).collect();
        lots.sort_by_key(|(id, one)| (one.terms.expires_at, **id));
        let weekday = date.weekday().to_monday_one_offset();
        let mut given: BTreeMap<PolicyId, i64> = BTreeMap::new();
        let mut paid: BTreeMap<PolicyId, i64> = BTreeMap::new();
        let mut of_any = 0;
        for (lot, minor) in before {
            // One that is over and empty is forgotten.
            match self.lots.get(lot).filter(|one| !one.over || one.money > 0 || one.held > 0) {
                Some(one) => *paid.entry(one.terms.policy).or_default() += minor,
                None => of_any += minor,
            }
        }
        let (mut rest, mut available, mut pays) = (due, available, Vec::new());
        for (id, one) in lots {
            let has = (one.money - one.held).min(available).max(0);
            available -= has;
            let rule = &rules[&one.terms.policy];
            if !rule.weekdays.contains(&weekday) {
                continue;
            }
            let limit = rule.order_limit.unwrap_or(i64::MAX);
            let limit = rule.share_percent.map_or(limit, |percent| limit.min(whole * percent / 100));
            let limit = match limit {
                i64::MAX => limit,
                limit => (limit - paid.get(&one.terms.policy).copied().unwrap_or(0) - of_any).max(0),
            };
            let given = given.entry(one.terms.policy).or_default();
            let minor = has.min(rest).min(limit - *given);
            // The rest of the diner's purses need three tenders of the sixteen.
            if minor > 0 && pays.len() < 13 {
                *given += minor;
                rest -= minor;
                pays.push((*id, minor));
            }
        }
        pays
    }
}
