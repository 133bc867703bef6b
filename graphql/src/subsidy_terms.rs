//! What a policy grants, as it is set and as it is read back, version by version.

use async_graphql::{Enum, ID, InputObject, SimpleObject};
use domain::policy::{self, Calendar, MAX_NAMED, Terms};
use projections::policies::PolicyVersion;

use crate::{
    errors::{Failed, not_found},
    menu::Meal,
    node::{NodeId, canteen},
    scalars::{Date, Money, MoneyInput},
};

/// What a subsidy's amount is for.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "policy::Per")]
pub(crate) enum SubsidyPer {
    /// Each eligible meal of each working day.
    Meal,
    /// Each working day.
    Day,
    /// Each month.
    Month,
}

/// When what is left of a subsidy is cleared.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubsidyClearing {
    /// At the end of the day that it is for.
    Daily,
    /// At the end of that week, on Sunday.
    Weekly,
    /// At the end of that month.
    Monthly,
    /// At the end of a later month: `rolloverMonths` says which.
    Rollover,
}

/// What a policy grants, and what that may pay for.
#[derive(InputObject)]
pub(crate) struct SubsidyTermsInput {
    /// How much.
    amount: MoneyInput,
    /// What it is for.
    per: SubsidyPer,
    /// When what is left is cleared.
    clearing: SubsidyClearing,
    /// How many months later, for `ROLLOVER`.
    #[graphql(default)]
    rollover_months: u8,
    /// Working days: 1 for Monday to 7 for Sunday.
    #[graphql(default_with = "vec![1, 2, 3, 4, 5]")]
    weekdays: Vec<u8>,
    /// Not worked, whatever the weekday.
    #[graphql(default)]
    holidays: Vec<Date>,
    /// Worked, whatever the weekday.
    #[graphql(default)]
    extra_days: Vec<Date>,
    /// Eligible meals, at least one.
    meals: Vec<Meal>,
    /// Eligible canteens' global ids; all, if none is named.
    #[graphql(default)]
    canteens: Vec<ID>,
    /// The most that it pays of one order.
    order_limit: Option<MoneyInput>,
    /// The most that it pays of one order, in percent of it.
    share_percent: Option<u8>,
    /// Whether what is left is cleared once the company does not employ its diner any more; else it stays until it expires.
    #[graphql(default)]
    cleared_on_leaving: bool,
}

impl SubsidyTermsInput {
    pub(crate) fn read(&self) -> Result<Terms, Failed> {
        let canteens = self.canteens.iter().map(|id| canteen(id).ok_or_else(|| not_found("canteen").at("canteens")));
        let clearing = match self.clearing {
            SubsidyClearing::Daily => policy::Clearing::Daily,
            SubsidyClearing::Weekly => policy::Clearing::Weekly,
            SubsidyClearing::Monthly => policy::Clearing::Monthly,
            SubsidyClearing::Rollover => policy::Clearing::Rollover { months: self.rollover_months },
        };
        Ok(Terms {
            amount: self.amount.read("amount")?,
            per: self.per.into(),
            clearing,
            calendar: Calendar {
                weekdays: self.weekdays.iter().copied().collect(),
                holidays: self.holidays.iter().map(|date| date.0).collect(),
                extra: self.extra_days.iter().map(|date| date.0).collect(),
            },
            meals: self.meals.iter().copied().map(Into::into).collect(),
            canteens: canteens.collect::<Result<_, _>>()?,
            order_limit: self.order_limit.as_ref().map(|limit| limit.read("orderLimit")).transpose()?,
            share_percent: self.share_percent,
            cleared_on_leaving: self.cleared_on_leaving,
        })
    }
}

/// As the API calls what was wrong with `terms`; none if it was not they.
pub(crate) fn field_of(error: &policy::Error, terms: &Terms) -> Option<&'static str> {
    let named = || match terms {
        _ if terms.canteens.len() > MAX_NAMED => "canteens",
        _ if terms.calendar.holidays.len() > MAX_NAMED => "holidays",
        _ => "extraDays",
    };
    match error {
        policy::Error::OtherCurrency { currency } if terms.amount.currency == *currency => Some("orderLimit"),
        policy::Error::OtherCurrency { .. } => Some("amount"),
        policy::Error::BadTerms { field } => Some(match *field {
            "order_limit" => "orderLimit",
            "share_percent" => "sharePercent",
            "calendar.weekdays" => "weekdays",
            "calendar.holidays" => "holidays",
            "canteens and calendar" => named(),
            "clearing.months" => "rolloverMonths",
            same => same,
        }),
        policy::Error::TooManyLots { .. } => Some("clearing"),
        _ => None,
    }
}

/// What a policy grants, and what that may pay for.
#[derive(SimpleObject)]
pub(crate) struct SubsidyTerms {
    /// How much.
    amount: Money,
    /// What it is for.
    per: SubsidyPer,
    /// When what is left is cleared.
    clearing: SubsidyClearing,
    /// How many months later, for `ROLLOVER`; null for any other.
    rollover_months: Option<u8>,
    /// Working days: 1 for Monday to 7 for Sunday.
    weekdays: Vec<u8>,
    /// Not worked, whatever the weekday.
    holidays: Vec<Date>,
    /// Worked, whatever the weekday.
    extra_days: Vec<Date>,
    /// Eligible meals.
    meals: Vec<Meal>,
    /// Eligible canteens' global ids; all, if none is named.
    #[graphql(owned)]
    canteens: Vec<ID>,
    /// The most that it pays of one order; null if nothing but the amount bounds it.
    order_limit: Option<Money>,
    /// The most that it pays of one order, in percent of it; null if it may pay all.
    share_percent: Option<u8>,
    /// Whether what is left is cleared once the company does not employ its diner any more; else it stays until it expires.
    cleared_on_leaving: bool,
}

impl From<&Terms> for SubsidyTerms {
    fn from(terms: &Terms) -> Self {
        let (clearing, rollover_months) = match terms.clearing {
            policy::Clearing::Daily => (SubsidyClearing::Daily, None),
            policy::Clearing::Weekly => (SubsidyClearing::Weekly, None),
            policy::Clearing::Monthly => (SubsidyClearing::Monthly, None),
            policy::Clearing::Rollover { months } => (SubsidyClearing::Rollover, Some(months)),
        };
        SubsidyTerms {
            amount: terms.amount.into(),
            per: terms.per.into(),
            clearing,
            rollover_months,
            weekdays: terms.calendar.weekdays.iter().copied().collect(),
            holidays: terms.calendar.holidays.iter().copied().map(Date::from).collect(),
            extra_days: terms.calendar.extra.iter().copied().map(Date::from).collect(),
            meals: terms.meals.iter().copied().map(Meal::from).collect(),
            canteens: terms.canteens.iter().map(|canteen| NodeId::Canteen(*canteen).encode()).collect(),
            order_limit: terms.order_limit.map(Money::from),
            share_percent: terms.share_percent,
            cleared_on_leaving: terms.cleared_on_leaving,
        }
    }
}

/// A version of a policy.
#[derive(SimpleObject)]
pub(crate) struct SubsidyPolicyVersion {
    /// Counts the policy's versions, from 1.
    version: u32,
    /// The first date that it is for; the next version's ends it.
    from_date: Date,
    /// What it grants.
    terms: SubsidyTerms,
}

impl From<&PolicyVersion> for SubsidyPolicyVersion {
    fn from(row: &PolicyVersion) -> Self {
        SubsidyPolicyVersion {
            version: row.version,
            from_date: row.from_date.into(),
            terms: SubsidyTerms::from(&row.terms.0),
        }
    }
}
