//! What the entries of a statement are, in Chinese.

/// By what they are in English.
const ENTRIES: &[(&str, &str)] = &[
    ("Top-up", "充值"),
    ("Paid out to the bank", "提现到银行"),
    ("Correction", "更正"),
    ("Subsidy granted", "发放餐补"),
    ("Subsidy expired", "餐补过期"),
    ("Meal", "用餐"),
    ("Refund of a meal", "用餐退款"),
    ("Refund to an expired subsidy", "退回已过期的餐补"),
    ("Refund to a closed account", "退回已销户的账户"),
    ("Set aside for subsidies", "划出用于餐补"),
    ("Subsidies that were not needed", "未用到的餐补退回"),
    ("Paid elsewhere", "在别处付款"),
    ("Paid back elsewhere", "在别处退款"),
    ("Meal served", "已取餐"),
    ("Meal that was not collected", "未取的餐"),
    ("Refund after the meal", "餐后退款"),
    ("Another amount than was asked", "金额与所要求的不同"),
    ("Could not be paid back", "未能退回"),
    ("Invoice", "账单"),
    ("Invoice taken back", "账单作废"),
    ("Payment of an invoice", "账单付款"),
];

/// The Chinese of an entry's title; nothing for one that is not known.
pub(crate) fn of_entry(english: &str) -> Option<&'static str> {
    ENTRIES.iter().find(|(known, _)| *known == english).map(|(_, chinese)| *chinese)
}

#[cfg(test)]
mod tests {
    use projections::statements::TITLES;

    use super::*;

    #[test]
    fn every_entry_has_its_chinese() {
        for (event, title) in TITLES {
            assert!(of_entry(title).is_some(), "no Chinese for {title:?} of {event}");
        }
        assert!(ENTRIES.iter().all(|(known, _)| TITLES.iter().any(|(_, title)| title == known)));
    }
}
