//! Sentences without figures in Chinese, and what stands for each code where nothing better is said.

use crate::errors::Code;

/// What a code means.
pub(crate) fn of_code(code: Code) -> &'static str {
    match code {
        Code::BadInput => "请求的内容不对",
        Code::TooComplex => "请求的文档太深、太宽或太费资源",
        Code::Unauthenticated => "没有登录，或登录已失效",
        Code::Forbidden => "您的角色没有这个权限",
        Code::NotFound => "没有找到",
        Code::KeyReused => "这个 idempotencyKey 已用于另一个请求，请换一个新的",
        Code::KitchenLocked => "厨房已经开始备餐",
        Code::OutOfTurn => "以现在的状态不能这样做",
        Code::WrongCode => "取餐码不对",
        Code::NothingToRefund => "没有可退的份数",
        Code::BelowReserved => "不能少于已被预订的份数",
        Code::Withdrawn => "已经停售",
        Code::Closed => "订餐已经截止",
        Code::AccountFrozen => "账户已冻结",
        Code::InsufficientFunds => "余额不足",
        Code::Erased => "这位就餐者的资料已经抹除",
        Code::KeysMissing => "这里没有密钥，个人资料无法显示",
        Code::SecondPerson => "要由第二个人批准",
        Code::PeriodClosed => "这一天属于已经结账的账期",
        Code::Stale => "刚写入的内容还读不到，请稍后再试",
        Code::Incomplete => "这里还不完整：有的事件还没有计入",
        Code::CursorExpired => "这个位置之后的变化已经无法补发，请重新查询并订阅",
        Code::TooManySubscriptions => "同时进行的订阅太多，请先结束一些",
        Code::Overloaded => "服务繁忙，请稍后再试",
        Code::Throttled => "请求太频繁，请稍后再来",
        Code::Unavailable => "服务暂时不可用，请稍后再试",
        Code::Timeout => "服务没有及时答复",
        Code::Internal => "服务内部出错",
    }
}

/// English sentence, and the same in Chinese.
const SENTENCES: &[(&str, &str)] = &[
    ("a diner is not the nil UUID", "就餐者的编号不能全为零"),
    ("a refund is of 1 to 50 lines", "一次退款要有 1 到 50 行"),
    (
        "a subscription asks for exactly one field; send one for each",
        "一次订阅只能有一个字段，请为每个字段各发一次订阅",
    ),
    ("an event that this rests on cannot be read by this service", "所依据的一个事件，本服务无法读取"),
    ("a name to look for has 1 to 100 characters", "要找的名称要有 1 到 100 个字符"),
    ("there is no such view", "没有这个视图"),
    ("a text has the character NUL", "文字里有空字符"),
    ("the body did not come in time", "请求的内容没有及时传完"),
    ("an idempotency key is a UUID of your own making, not the nil one", "idempotencyKey 要自己生成，不能全为零"),
    ("an order of that day cannot be folded from its events", "那一天有一个订单无法从事件还原"),
    ("an owner is not the nil UUID", "户主的编号不能全为零"),
    ("ask for an account or for a time, not for both", "账户和时间只能查一样"),
    ("batches are not taken; send one request at a time", "不接受成批的请求，请一次发一个"),
    ("expected the header Authorization: Bearer …", "请求头里的登录凭证格式不对"),
    ("give exactly one of order, correlation and event", "order、correlation、event 要且只能给一个"),
    ("give exactly one of position, event, at and date", "position、event、at、date 要且只能给一个"),
    ("give exactly one of version, event, occurred and recorded", "version、event、occurred、recorded 要且只能给一个"),
    ("it lies behind the last day", "它晚于最后一天"),
    ("money of that account is moved, so say where to", "这个账户的钱是转出的，请说明转到哪里"),
    ("only staff hand over what they sell", "只有食堂员工可以当面交付"),
    ("only staff of all canteens may open another", "只有管理全部食堂的员工可以新开食堂"),
    (
        "by GET only queries are asked; send this by POST or over a WebSocket",
        "这种方式只能查询；变更请用提交方式发送，订阅请用长连接",
    ),
    (
        "pages of that site may not ask; the service has to be told to let them",
        "那个网站的页面不能访问，要先在服务里放行",
    ),
    ("say for which diner it is sold at the counter", "请说明柜台上卖给哪位就餐者"),
    ("say of which canteen", "请说明是哪个食堂"),
    ("something is wrong inside the service", "服务内部出错"),
    ("that is no consistency token of this tenant", "这不是本租户的 consistencyToken"),
    ("that is no consistency token of yours", "这不是您的 consistencyToken"),
    ("that is not a cursor of this list", "这不是这个列表的位置标记"),
    ("that is not the id of an event", "这不是事件的编号"),
    ("that is not your wallet", "这不是您的钱包"),
    ("the account has been closed since", "账户在此之后已经销户"),
    ("the account was closed meanwhile; the money has to go back", "账户在此期间已经销户，钱要退回"),
    ("the body must be a JSON object with a query", "请求体要是带 query 的对象"),
    ("the body must be sent as application/json", "请求体的类型不对"),
    (
        "the changes since that cursor are not known any more; query the state and subscribe without a cursor",
        "这个位置之后的变化已经无法补发，请重新查询，再不带位置地订阅",
    ),
    ("the first event lies behind the last; turn them round", "第一个事件晚于最后一个，请对调"),
    ("the invoice cannot be read; ask again", "现在读不到账单，请再试一次"),
    ("the keys of personal data cannot be had at the moment", "现在取不到个人资料的密钥"),
    ("the log does not answer; ask again in a moment", "日志没有答复，请稍后再试"),
    ("the log does not answer; try again", "日志没有答复，请再试一次"),
    ("the log does not answer; try again in a moment", "日志没有答复，请稍后再试"),
    ("the log does not answer; try again under the same key", "日志没有答复，请用同一个 idempotencyKey 再试"),
    ("the log has not come to that position", "日志还没有到那个位置"),
    ("the query is empty", "query 是空的"),
    ("the service did not answer in time", "服务没有及时答复"),
    (
        "the service did not answer in time; a mutation can be asked again under the same key",
        "服务没有及时答复；变更可以用同一个 idempotencyKey 再试",
    ),
    (
        "the service is not available for a moment; try again under the same key",
        "服务暂时不可用，请用同一个 idempotencyKey 再试",
    ),
    ("the service is overloaded; try again in a moment", "服务繁忙，请稍后再试"),
    ("the service is shutting down; connect again", "服务正在停止，请重新连接"),
    ("the token is not valid, or not any more", "登录凭证无效，或已失效"),
    ("the views cannot be read at the moment", "现在无法读取数据"),
    ("the views have not come so far yet; ask again in a moment", "数据还没有更新到那里，请稍后再试"),
    ("there are no keys here, so personal data stays sealed", "这里没有密钥，个人资料无法显示"),
    ("there are too many sockets; try again in a moment", "连接太多，请稍后再试"),
    ("there is no such event", "没有这个事件"),
    ("there is no such thing", "没有找到"),
    ("there is no such time zone; use one such as Asia/Shanghai", "没有这个时区，请用标准的时区名"),
    ("this is incomplete: some events could not be taken in yet", "这里还不完整：有的事件还没有计入"),
    ("this needs a token: Authorization: Bearer …", "请先登录：请求头里没有登录凭证"),
    ("this service does not tell its schema", "本服务不公开接口定义"),
    ("this service tells nobody anything who does not say who asks", "请先登录：本服务不答复没有登录的请求"),
    ("too many begin to watch; try again in a moment", "同时开始订阅的人太多，请稍后再试"),
    ("versions begin at 1", "版本从 1 开始"),
    ("what has changed is not read yet; try again in a moment", "变化还没有读到，请稍后再试"),
    ("what is watched cannot be read at the moment", "现在读不到所订阅的内容"),
    ("what was just written cannot be read yet; ask again in a moment", "刚写入的内容还读不到，请稍后再试"),
    ("you do not work in that canteen", "您不在那个食堂工作"),
    ("you have too many operations under way; complete some first", "同时进行的操作太多，请先结束一些"),
];

/// The Chinese of a sentence of this crate's own; nothing for one that is not known.
pub(crate) fn of_sentence(english: &str) -> Option<&'static str> {
    SENTENCES.iter().find(|(known, _)| *known == english).map(|(_, chinese)| *chinese)
}

/// That there is no such thing, by what it is called in English.
pub(crate) fn there_is_no(what: &str) -> &'static str {
    match what {
        "account" => "没有这个账户",
        "canteen" => "没有这个食堂",
        "company" => "没有这家公司",
        "correction" => "没有这份更正",
        "diner" => "没有这位就餐者",
        "dish" => "没有这道菜",
        "dish in this canteen" => "这个食堂没有这道菜",
        "order" => "没有这个订单",
        "payout" => "没有这笔提现",
        "serving" => "没有这一餐",
        _ => "没有找到",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sources of this crate, tests apart.
    fn sources() -> Vec<String> {
        let mut sources = vec![];
        let mut folders = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                let name = entry.file_name().unwrap().to_string_lossy().into_owned();
                if entry.is_dir() && name != "tests" {
                    folders.push(entry);
                } else if name.ends_with(".rs") && !name.contains("test") {
                    sources.push(std::fs::read_to_string(entry).unwrap());
                }
            }
        }
        sources
    }

    /// Every text that is written where an error is made.
    #[test]
    fn every_sentence_of_the_sources_has_its_chinese() {
        let mut found = 0;
        for source in sources() {
            let source = source.split("#[cfg(test)]\nmod tests").next().unwrap();
            for call in ["coded(", "later(", "unauthenticated(", "wrong("] {
                for rest in source.split(call).skip(1) {
                    let arguments = rest.trim_start();
                    let arguments = match arguments.strip_prefix("Code::") {
                        Some(code) => code.split_once(',').map_or("", |(_, text)| text.trim_start()),
                        None => arguments,
                    };
                    let Some(text) = arguments.strip_prefix('"') else { continue };
                    let sentence = text.split('"').next().unwrap();
                    found += 1;
                    assert!(of_sentence(sentence).is_some(), "no Chinese for {sentence:?}");
                }
            }
            for rest in source.split("not_found(\"").skip(1) {
                let what = rest.split('"').next().unwrap();
                assert_ne!(there_is_no(what), there_is_no(""), "no Chinese for {what:?}");
            }
        }
        assert!(found > 50, "{found}");
    }
}
