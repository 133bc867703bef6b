//! Refusals in Chinese: what has to do with meals and orders. Ids are left out, the answer's fields have them.

use commands::{Failure, Interrupted, PublishError};
use domain::{
    MoneyError, Timestamp, details, details::DetailsError, diner, menu, order, payment, personal::SealError, serving,
    tax::NotATaxRate,
};
use sagas::{PayError, PersonalError, PlaceError};

use super::money::{money, state};

/// A refusal that can be told in Chinese.
pub(crate) trait Chinese {
    /// One sentence without a full stop, with its figures.
    fn chinese(&self) -> String;
}

/// A moment, in UTC.
pub(super) fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    let time = time.trim_end_matches('Z').split('.').next().unwrap_or("");
    format!("{date} {time}（协调世界时）")
}

fn joined<T>(items: &[T], one: impl Fn(&T) -> String) -> String {
    items.iter().map(one).collect::<Vec<_>>().join("；")
}

impl Chinese for menu::Error {
    fn chinese(&self) -> String {
        use menu::Error as E;
        match self {
            E::NotOpen => "这个食堂还没有开通".into(),
            E::AlreadyOpen => "这个食堂已经按别的条件开通，条件不能再改".into(),
            E::BadName { .. } => format!("名称要有 1 到 {} 个可见字符", menu::MAX_NAME),
            E::BadPrice { name } => {
                format!("“{name}”的价格要在 0 到 {} 个最小货币单位之间", menu::MAX_PRICE_MINOR)
            }
            E::WrongCurrency { name, expected, found } => {
                format!(
                    "“{name}”的价格用的是{}，而这个食堂按{}出售",
                    super::money::currency(*found),
                    super::money::currency(*expected)
                )
            }
            E::ImpossibleChoice { group } => {
                format!("“{group}”的选项没有办法选：请检查最少、最多可选的数目和重复的名称")
            }
            E::TooMany { most, .. } => format!("最多只能有 {most} 项"),
            E::UnknownDish { .. } => "这个食堂没有这道菜".into(),
        }
    }
}

impl Chinese for serving::Error {
    fn chinese(&self) -> String {
        use serving::Error as E;
        match self {
            E::NotPublished => "没有这一餐".into(),
            E::AlreadyPublished => "这一餐已经发布，内容与此不同".into(),
            E::Withdrawn => "这一餐已经撤下".into(),
            E::NotYetOpen { at } => format!("{} 才开始订餐", moment(*at)),
            E::Closed { at } => format!("订餐已于 {} 截止", moment(*at)),
            E::SoldOut(short) => {
                format!("余量不足：{}", joined(short, |one| format!("要 {} 份，还剩 {} 份", one.asked, one.left)))
            }
            E::PriceChanged(changes) => {
                let one = |one: &serving::PriceChange| format!("由{}改为{}", money(one.was), money(one.now));
                format!("价格有变：{}", joined(changes, one))
            }
            E::DinerLimit { limit, held, asked } => {
                format!("这一餐每人最多 {limit} 份；已有 {held} 份，又要 {asked} 份")
            }
            E::UnknownDish { .. } => "这一餐不供应这道菜".into(),
            E::BadOptions { .. } => "所选的做法不供应".into(),
            E::ReleasedAlready => "订单在占到餐份之前已经放弃".into(),
            E::BelowReserved { reserved, .. } => format!("已有 {reserved} 份被预订，不能少于这个数"),
            E::BadPlan(_) => "这一餐的安排不对：请检查时间、份数、限量和菜品".into(),
            E::BadDish(error) => error.chinese(),
        }
    }
}

impl Chinese for PublishError {
    fn chinese(&self) -> String {
        match self {
            PublishError::Menu(error) => error.chinese(),
            PublishError::Serving(error) => error.chinese(),
            PublishError::BadTime(_) => "这个当地时间不存在，或者时区不对".into(),
        }
    }
}

impl Chinese for order::Error {
    fn chinese(&self) -> String {
        use order::Error as E;
        match self {
            E::Unknown => "没有这个订单".into(),
            E::AlreadyPlaced => "这个订单已经提交，内容与此不同".into(),
            E::BadLineCount => format!("一个订单要有 1 到 {} 行", order::MAX_LINES),
            E::BadQuantity { quantity } => {
                format!("一行要有 1 到 {} 份，不能是 {quantity} 份", order::MAX_QUANTITY)
            }
            E::BadLine { .. } => "有一行不对：请检查价格、做法和份数".into(),
            E::BadTotal { sum, total } => format!("各行合计{}，不是{}", money(*sum), money(*total)),
            E::Money(error) => error.chinese(),
            E::OutOfTurn { is, wanted } => format!("订单{}，不能变为“{}”", state(is), super::money::word(wanted)),
            E::KitchenLocked { at } => format!("厨房已于 {} 开始备餐，现在只有食堂可以取消", moment(*at)),
            E::NotDue { at } => format!("{} 之前还可以付款", moment(*at)),
            E::WrongCode => "取餐码不对".into(),
            E::NothingToRefund { line, left, asked } => {
                format!("第 {} 行还剩 {left} 份可退，不能退 {asked} 份", u32::from(*line) + 1)
            }
            E::TooMuch { asked, left } => format!("不能退{}：订单只剩{}可退", money(*asked), money(*left)),
            E::OtherRefund => "这笔退款已经开始，针对的是别的行或别的金额".into(),
            E::NoReason => "餐后退款要说明原因".into(),
            E::PartlyRefunded => "订单已按金额退过款：可以取消，不能修改".into(),
            E::NothingToChange => "订单本来就是这样".into(),
            E::Changing => "订单正在修改，请稍后再试".into(),
            E::TooManyChanges => format!("一个订单最多修改 {} 次", order::MAX_CHANGES),
        }
    }
}

impl Chinese for order::Refusal {
    fn chinese(&self) -> String {
        use order::Refusal as R;
        match self {
            R::SoldOut(short) => {
                format!("余量不足：{}", joined(short, |one| format!("要 {} 份，还剩 {} 份", one.asked, one.left)))
            }
            R::Closed { at } => format!("订餐已于 {} 截止", moment(*at)),
            R::NotYetOpen { at } => format!("{} 才开始订餐", moment(*at)),
            R::PriceChanged(_) => "价格有变，合适的话请重新下单".into(),
            R::DinerLimit { limit, .. } => format!("这一餐每人最多 {limit} 份"),
            R::InsufficientFunds { short } => format!("余额不足，还差{}", money(*short)),
            R::AccountFrozen => "账户已冻结".into(),
            R::Withdrawn => "已经停售".into(),
            R::NotOffered => "不供应这道菜或这种做法".into(),
            R::TooLate => "厨房已经开始备餐".into(),
            R::PaymentFailed => "支付平台没有收到付款，请换一种方式支付".into(),
        }
    }
}

impl Chinese for PlaceError {
    fn chinese(&self) -> String {
        match self {
            PlaceError::Refused(refusal) => refusal.chinese(),
            PlaceError::UnknownServing => "没有这一餐".into(),
            PlaceError::NoProvider(_) => "这里不能用这种支付方式".into(),
            PlaceError::UnknownDish(_) => "这一餐不供应这道菜".into(),
            PlaceError::BadOptions { .. } => "所选的做法不供应".into(),
            PlaceError::Invalid(error) => error.chinese(),
        }
    }
}

impl Chinese for payment::Error {
    fn chinese(&self) -> String {
        use payment::Error as E;
        match self {
            E::NotStarted => "这笔付款还没有开始".into(),
            E::AlreadyStarted => "这笔付款已经按别的方案开始".into(),
            E::BadPlan { total } => {
                format!("付款要分为 0 到 {} 笔，每笔大于零、币种相同，合计{}", payment::MAX_TENDERS, money(*total))
            }
            E::OutOfTurn { is } => format!("付款{}，现在不能这样做", state(is)),
            E::NotExternal { tender } => format!("第 {} 笔不是由支付平台支付的", u32::from(*tender) + 1),
            E::NotAsked { tender } => format!("第 {} 笔从未向支付平台提出过", u32::from(*tender) + 1),
            E::NoMoney { paid } => format!("支付平台报告付款{}，这不是付款", money(*paid)),
            E::BadProviderText => "支付平台的编号格式不对".into(),
            E::Unpaid { tender } => format!("第 {} 笔还没有付", u32::from(*tender) + 1),
            E::TooMuch { asked, left } => format!("不能退{}：已收的款只剩{}", money(*asked), money(*left)),
            E::UnknownRefund => "没有这笔退款".into(),
            E::OtherRefund => "这笔退款已经开始，金额与此不同".into(),
            E::NotPaidBack { tender } => format!("第 {} 笔还没有退回", u32::from(*tender) + 1),
            E::UnknownExtension => "这笔付款没有因那次修改而增加".into(),
        }
    }
}

impl Chinese for PayError {
    fn chinese(&self) -> String {
        match self {
            PayError::Order(error) => error.chinese(),
            PayError::Payment(error) => error.chinese(),
        }
    }
}

impl Chinese for diner::Error {
    fn chinese(&self) -> String {
        use diner::Error as E;
        match self {
            E::NotEmployed => "这位就餐者没有任职".into(),
            E::Employed { since } => format!("这位就餐者自 {since} 起任职：请先调动或结束任职"),
            E::TooEarly { since } => format!("任职从 {since} 开始，变更不能早于这一天"),
            E::NotKnown => "没有这位就餐者".into(),
            E::Erased => "这位就餐者的资料已经抹除".into(),
            E::NotYet(ways) => format!("还不能抹除这位就餐者的资料：{}", joined(ways, in_the_way)),
        }
    }
}

fn in_the_way(way: &diner::InTheWay) -> String {
    use diner::InTheWay as W;
    match way {
        W::Employed { since } => format!("自 {since} 起任职"),
        W::EmployedUntil { on } => format!("任职到 {on} 为止"),
        W::Balance { posted, held, .. } => format!("账户有余额{}，冻结{}", money(*posted), money(*held)),
        W::Orders { open } => format!("有 {open} 个订单没有结束"),
        W::Refunds { open } => format!("有 {open} 笔退款没有结束"),
    }
}

impl Chinese for SealError {
    fn chinese(&self) -> String {
        match self {
            SealError::TooLong => "这项个人资料太长".into(),
            SealError::Failed => "个人资料无法加密".into(),
        }
    }
}

impl Chinese for PersonalError {
    fn chinese(&self) -> String {
        match self {
            PersonalError::Diner(error) => error.chinese(),
            PersonalError::NumberTaken => "这个工号已属于另一位就餐者".into(),
            PersonalError::Seal(error) => error.chinese(),
            PersonalError::Keys(_) => "现在取不到个人资料的密钥".into(),
            PersonalError::Views(_) => "现在无法读取数据".into(),
        }
    }
}

impl Chinese for DetailsError {
    fn chinese(&self) -> String {
        match self {
            DetailsError::BadName => format!("姓名要有 1 到 {} 个字符，不能有控制字符", details::MAX_NAME),
            DetailsError::BadEmployeeNumber => {
                format!("工号要有 1 到 {} 个字符，不能有控制字符", details::MAX_EMPLOYEE_NUMBER)
            }
            DetailsError::BadPhone => {
                format!("电话号码要有 3 到 {} 个数字、空格或 +-()/. 符号", details::MAX_PHONE)
            }
        }
    }
}

impl Chinese for NotATaxRate {
    fn chinese(&self) -> String {
        "税率是 0 到 100 的百分数，最多两位小数，例如 6 或 6.5".into()
    }
}

impl Chinese for MoneyError {
    fn chinese(&self) -> String {
        use super::money::currency;
        match self {
            MoneyError::UnknownCurrency(_) => "不认识这个币种，请用标准的三字母代码".into(),
            MoneyError::Mixed { left, right } => {
                format!("{}和{}的金额不能相加，请先换算", currency(*left), currency(*right))
            }
            MoneyError::TooLarge => format!("金额的绝对值不能超过 {} 个最小货币单位", domain::Money::MAX_MINOR),
            MoneyError::TooPrecise { amount, currency: of } => {
                format!("{}有 {} 位小数，{amount} 的小数位太多", currency(*of), of.decimals())
            }
        }
    }
}

impl Chinese for Interrupted {
    fn chinese(&self) -> String {
        match self {
            Interrupted::Overloaded => "服务繁忙，请稍后再试".into(),
            Interrupted::Fell => "写入失败，这次请求没有生效，请再试一次".into(),
            Interrupted::Unavailable(_) => "服务暂时不可用，请用同一个 idempotencyKey 再试".into(),
        }
    }
}

impl<E: Chinese + std::error::Error> Chinese for Failure<E> {
    fn chinese(&self) -> String {
        match self {
            Failure::Refused(error) => error.chinese(),
            Failure::KeyReused => "这个 idempotencyKey 已用于另一个请求，请换一个新的".into(),
            Failure::Interrupted(interrupted) => interrupted.chinese(),
        }
    }
}
