//! Refusals in Chinese: what has to do with money, companies and the books.

use domain::{Currency, Money, account, books, correction, grant_run, invoice, lot, payout, policy, standing, top_up};
use sagas::{FinanceError, GrantError, InvoiceError};

use super::chinese::Chinese;

/// What people call a currency; its code, where they have no word for it.
pub(super) fn currency(of: Currency) -> &'static str {
    match of.code() {
        "CNY" => "人民币",
        "USD" => "美元",
        "EUR" => "欧元",
        "GBP" => "英镑",
        "HKD" => "港元",
        "JPY" => "日元",
        "KRW" => "韩元",
        "SGD" => "新加坡元",
        "TWD" => "新台币",
        "AUD" => "澳元",
        "CAD" => "加元",
        "CHF" => "瑞士法郎",
        code => code,
    }
}

pub(super) fn money(of: Money) -> String {
    match of.currency.code() {
        "CNY" => format!(" {} 元", of.to_decimal()),
        _ => format!(" {} {}", of.to_decimal(), currency(of.currency)),
    }
}

/// Where something stands, as the domain's refusals name it.
pub(super) fn word(status: &str) -> &'static str {
    match status {
        "NEW" => "未提交",
        "PLACED" => "已提交",
        "CONFIRMED" => "已确认",
        "PREPARING" => "备餐中",
        "READY" => "待取餐",
        "PICKED_UP" => "已取餐",
        "NO_SHOW" => "未取餐",
        "CANCELLED" => "已取消",
        "REFUSED" => "已被拒绝",
        "EXPIRED" => "已过期",
        "PLANNED" => "已计划",
        "HELD" => "已预留",
        "CAPTURED" => "已收款",
        "RELEASED" => "已放弃",
        "REQUESTED" => "已申请",
        "CREDITED" => "已入账",
        "FAILED" => "已失败",
        "PAID_OUT" => "已付出",
        "PROPOSED" => "待批准",
        "APPLIED" => "已批准",
        "SETTLED" => "已完成",
        "REJECTED" => "已驳回",
        "OPEN" => "进行中",
        "IN_A_BATCH" => "正在发放一批",
        "SHORT_OF_FUNDS" => "资金不足",
        "FINISHED" => "已结束",
        _ => "处于别的状态",
    }
}

pub(super) fn state(status: &str) -> String {
    format!("现在“{}”", word(status))
}

impl Chinese for account::Error {
    fn chinese(&self) -> String {
        use account::Error as E;
        match self {
            E::NotOpen => "没有这个账户".into(),
            E::Closed => "账户已经销户".into(),
            E::Frozen => "账户已冻结".into(),
            E::NotPositive => "金额必须大于零".into(),
            E::Insufficient { short } => format!("余额不足，还差{}", money(*short)),
            E::ReleasedAlready => "这笔预留在做成之前已经放弃".into(),
            E::CapturedAlready => "这笔预留已经扣款".into(),
            E::UnknownHold => "没有为此预留的钱".into(),
            E::OtherContent => "这个编号已用于别的金额".into(),
            E::LotNotForThis => "这份补贴不能用于这一餐".into(),
            E::LotOver => "已经过期的补贴不能再发放".into(),
            E::TooManyLots => format!("一个账户同时最多有 {} 份补贴", lot::MAX_LOTS),
            E::TooManyPayouts => format!("一个账户同时最多有 {} 笔提现", account::MAX_PAYOUTS),
            E::BadFloor => "透支额度是零或负的下限".into(),
            E::NothingOwed => "这家公司没有可以开账单的欠款".into(),
            E::NotReceivable { asked, open } => {
                format!("{}多于账单未付的{}", money(*asked), money(*open))
            }
            E::NotEmpty { posted, held } => format!(
                "账户没有余额、没有预留、没有未付账单才能销户；现有余额{}，预留{}，请先付出余额",
                money(*posted),
                money(*held)
            ),
            E::Money(error) => error.chinese(),
        }
    }
}

impl Chinese for policy::Error {
    fn chinese(&self) -> String {
        use policy::Error as E;
        match self {
            E::NotOpen => "没有这项补贴政策".into(),
            E::OpenedAlready => "这项政策已经为别的公司、人群、币种或时区设立".into(),
            E::BadZone(_) => "没有这个时区，请用标准的时区名".into(),
            E::OtherCurrency { currency: of } => format!("这项政策的币种是{}", currency(*of)),
            E::BadTerms { field } => format!("{field} 不能这样设"),
            E::TooManyLots { lots } => format!(
                "按这样的条件，一位就餐者可能同时有 {lots} 份补贴，而一个账户同时最多有 {} 份：请早些清零，或者按天、按月发放",
                lot::MAX_LOTS
            ),
            E::Overlaps { version, from } => {
                format!("自 {from} 起已有第 {version} 版：以后的条件要从更晚的日期开始")
            }
            E::Ended { from } => format!("这项政策到 {from} 终止"),
            E::TooManyVersions => format!("一项政策最多有 {} 版", policy::MAX_VERSIONS),
            E::BadDays { first, last } => format!("{first} 到 {last} 不是 1 到 {} 天", policy::MAX_DAYS),
            E::BadAhead { days } => {
                format!("aheadDays 是 {days}；自动发放最多提前 {} 天", standing::MAX_AHEAD)
            }
        }
    }
}

impl Chinese for grant_run::Error {
    fn chinese(&self) -> String {
        use grant_run::Error as E;
        match self {
            E::NotBegun => "没有这次发放".into(),
            E::OtherContent => "这次发放已经为别的内容开始".into(),
            E::BadBatch => format!("一批发给 1 到 {} 位就餐者，每位一次，金额大于零", grant_run::MAX_BATCH),
            E::OutOfTurn { is } => format!("这次发放{}，现在不能这样做", state(is)),
            E::TooMuch { granted, amount } => {
                format!("一批共{}，不能发放{}", money(*amount), money(*granted))
            }
            E::Money(error) => error.chinese(),
        }
    }
}

impl Chinese for GrantError {
    fn chinese(&self) -> String {
        match self {
            GrantError::Policy(error) => error.chinese(),
            GrantError::Run(error) => error.chinese(),
            GrantError::Insufficient { needed, diners, short } => {
                format!("要给 {diners} 位就餐者发放{}，公司还差{}", money(*needed), money(*short))
            }
            GrantError::Company(error) => format!("不能动用公司的资金：{}", error.chinese()),
            GrantError::Money(error) => error.chinese(),
            GrantError::Views(_) => "现在无法读取数据".into(),
        }
    }
}

impl Chinese for invoice::Error {
    fn chinese(&self) -> String {
        use invoice::Error as E;
        match self {
            E::NotIssued => "没有这张账单".into(),
            E::OtherContent => "这个编号已用于别的内容".into(),
            E::BadBill => "账单金额必须大于零，到期日不能早于最后一天".into(),
            E::NotPositive => "付款必须大于零".into(),
            E::TooMuch { asked, open } => format!("不能付{}：未付的是{}", money(*asked), money(*open)),
            E::TooManyPayments => format!("一张账单最多有 {} 笔付款", invoice::MAX_PAYMENTS),
            E::Void => "账单已作废".into(),
            E::PaidAlready => "账单已付清，或已付一部分".into(),
            E::Unbooked => "公司账户还没有记入先前的决定".into(),
            E::Money(error) => error.chinese(),
        }
    }
}

impl Chinese for InvoiceError {
    fn chinese(&self) -> String {
        match self {
            InvoiceError::Invoice(error) => error.chinese(),
            InvoiceError::Account(error) => format!("公司账户：{}", error.chinese()),
            InvoiceError::TooManyDays => format!("账单要在 {} 天之内到期", sagas::MAX_DAYS),
        }
    }
}

impl Chinese for top_up::Error {
    fn chinese(&self) -> String {
        use top_up::Error as E;
        match self {
            E::Unknown => "没有这笔充值".into(),
            E::OtherContent => "这笔充值已经为别的内容提出".into(),
            E::BadAmount => "金额必须大于零，且不超过账户的上限".into(),
            E::OutOfTurn { is } => format!("这笔充值{}，现在不能这样做", state(is)),
        }
    }
}

impl Chinese for payout::Error {
    fn chinese(&self) -> String {
        use payout::Error as E;
        match self {
            E::Unknown => "没有这笔提现".into(),
            E::OtherContent => "这笔提现已经为别的内容提出".into(),
            E::BadAmount => "金额必须大于零，且不超过账户的上限".into(),
            E::Subsidy => "补贴不能提现：它是公司的钱，只能用来就餐".into(),
            E::OutOfTurn { is } => format!("这笔提现{}，现在不能这样做", state(is)),
        }
    }
}

impl Chinese for correction::EntryError {
    fn chinese(&self) -> String {
        use correction::EntryError as E;
        match self {
            E::Nothing => "金额不能为零".into(),
            E::NotPositive => "转账金额必须大于零；方向相反时请对调账户".into(),
            E::SameAccount => "转账要在两个不同的账户之间".into(),
            E::Limited(_) => "这个账户有余额限制：只能与暂记账户对调整，不能转入转出".into(),
            E::Derived(_) => "这个账户由订单和补贴发放得出，要通过它们来更正".into(),
            E::Money(error) => error.chinese(),
        }
    }
}

impl Chinese for correction::Error {
    fn chinese(&self) -> String {
        use correction::Error as E;
        match self {
            E::Unknown => "没有这份更正".into(),
            E::OtherContent => "这份更正已经提出，分录与此不同".into(),
            E::BadCount { entries } => {
                format!("一份更正要有 1 到 {} 条分录，不能是 {entries} 条", correction::MAX_ENTRIES)
            }
            E::BadEntry { entry, why } => format!("第 {} 条分录：{}", entry + 1, why.chinese()),
            E::SecondPerson => "提出更正的人不能自己批准，要由第二个人批准".into(),
            E::OutOfTurn { is } => format!("这份更正{}，现在不能这样做", state(is)),
        }
    }
}

impl Chinese for books::Error {
    fn chinese(&self) -> String {
        use books::Error as E;
        match self {
            E::NotOpen => "还没有建账，请先按时区建账".into(),
            E::AlreadyOpen { .. } => "已经建账，时区不能再改".into(),
            E::UnknownZone { .. } => "不认识这个时区，请用标准的时区名".into(),
            E::NotYet { through, today } => format!("{through} 还没有到：按账簿的时区今天是 {today}"),
            E::TooEarly { through } => format!("账簿从 {} 起才能结账，不能结到 {through}", books::FIRST_DAY),
            E::OutOfOrder { closed_through, .. } => {
                format!("账簿已经结到 {closed_through}；下一期要在这之后结束")
            }
            E::TooLongAgo { forgotten } => format!("{forgotten} 及以前的账期结账太久，不能再打开"),
            E::BadLimit => "调整限额是零或正数，且不超过账户的上限".into(),
            E::Closed { date, period } => format!("{date} 属于已经结到 {} 的账期", period.through),
        }
    }
}

impl Chinese for FinanceError {
    fn chinese(&self) -> String {
        match self {
            FinanceError::Account(error) => error.chinese(),
            FinanceError::TopUp(error) => error.chinese(),
            FinanceError::Payout(error) => error.chinese(),
            FinanceError::Correction(error) => error.chinese(),
            FinanceError::Books(error) => error.chinese(),
            FinanceError::Entry { entry, error, .. } => format!("第 {} 条分录：{}", entry + 1, error.chinese()),
        }
    }
}
