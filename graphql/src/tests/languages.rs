//! What people are told in Chinese: every code, every refusal, over HTTP and over sockets.

use std::collections::BTreeSet;

use async_graphql::parser::{
    parse_schema,
    types::{TypeKind, TypeSystemDefinition},
};
use axum::http::{StatusCode, header};
use commands::{Failure, Interrupted, PublishError};
use domain::{
    AccountId, Currency, DinerId, DishId, Money, MoneyError, Timestamp, account, books, correction,
    details::DetailsError, diner, grant_run, invoice, menu, order, payment, payout, personal::SealError, policy,
    postings::LedgerAccount, serving, tax::NotATaxRate, top_up,
};
use jiff::civil::{Date, date};
use sagas::{FinanceError, GrantError, InvoiceError, PayError, PersonalError, PlaceError};
use serde_json::{Value, json};
use store::keys::KeyError;
use uuid::Uuid;

use crate::{
    HttpLimits, Rate,
    errors::Code,
    language::{self, Chinese},
    testing::*,
    testing_socket::*,
};

/// Every name of a field or an argument.
fn names() -> BTreeSet<String> {
    let mut names = BTreeSet::from(["query".to_owned()]);
    for definition in parse_schema(crate::schema_sdl()).unwrap().definitions {
        let TypeSystemDefinition::Type(definition) = definition else { continue };
        match definition.node.kind {
            TypeKind::Object(object) => {
                for field in object.fields {
                    names.insert(field.node.name.node.to_string());
                    names.extend(field.node.arguments.iter().map(|input| input.node.name.node.to_string()));
                }
            }
            TypeKind::InputObject(object) => {
                names.extend(object.fields.iter().map(|input| input.node.name.node.to_string()));
            }
            TypeKind::Scalar | TypeKind::Interface(_) | TypeKind::Union(_) | TypeKind::Enum(_) => {}
        }
    }
    names
}

/// A sentence in Chinese, in which Latin letters are names of fields.
#[track_caller]
fn assert_chinese(chinese: &str, english: &str, names: &BTreeSet<String>) {
    assert_ne!(chinese, english);
    assert!(chinese.chars().any(|letter| ('\u{4e00}'..='\u{9fff}').contains(&letter)), "{chinese}");
    let words = chinese.split(|letter: char| !letter.is_ascii_alphanumeric());
    for word in words.filter(|word| word.chars().any(|letter| letter.is_ascii_alphabetic())) {
        assert!(names.contains(word), "{word:?} in {chinese:?}");
    }
}

/// Checks a sample of each variant; one without a sample is a compile error.
macro_rules! every {
    ($names:expr, $type:path: $($variant:pat => $sample:expr),* $(,)?) => {{
        fn known(it: &$type) {
            match it { $($variant => {}),* }
        }
        $({
            let sample: $type = $sample;
            known(&sample);
            assert_chinese(&sample.chinese(), &sample.to_string(), $names);
        })*
    }};
}

fn cny(minor: i64) -> Money {
    Money::new(minor, Currency::CNY)
}

const DAY: Date = date(2026, 11, 23);

fn at() -> Timestamp {
    TEN_IN_THE_MORNING.parse().unwrap()
}

fn dish() -> DishId {
    Uuid::from_u128(0xabcd_ef00).into()
}

#[test]
fn every_code_has_a_sentence_of_its_own() {
    let names = names();
    let mut sentences = BTreeSet::new();
    for code in Code::ALL {
        let chinese = language::of_code(*code);
        assert_chinese(chinese, code.name(), &names);
        assert!(sentences.insert(chinese), "{chinese} stands for two codes");
    }
}

#[test]
fn refusals_of_meals_and_orders_have_their_figures_in_chinese() {
    let names = &names();
    let short = || vec![serving::Shortage { dish: dish(), asked: 3, left: 2 }];
    let changes = || vec![serving::PriceChange { dish: dish(), was: cny(100), now: cny(250) }];
    {
        use menu::Error as E;
        let name = || "米饭".to_owned();
        every!(names, menu::Error:
            E::NotOpen => E::NotOpen,
            E::AlreadyOpen => E::AlreadyOpen,
            E::BadName { .. } => E::BadName { what: "dish".into() },
            E::BadPrice { .. } => E::BadPrice { name: name() },
            E::WrongCurrency { .. } =>
                E::WrongCurrency { name: name(), expected: Currency::CNY, found: Currency::USD },
            E::ImpossibleChoice { .. } => E::ImpossibleChoice { group: name() },
            E::TooMany { .. } => E::TooMany { what: "dishes".into(), most: 5 },
            E::UnknownDish { .. } => E::UnknownDish { dish: dish() },
        );
    }
    {
        use serving::Error as E;
        every!(names, serving::Error:
            E::NotPublished => E::NotPublished,
            E::AlreadyPublished => E::AlreadyPublished,
            E::Withdrawn => E::Withdrawn,
            E::NotYetOpen { .. } => E::NotYetOpen { at: at() },
            E::Closed { .. } => E::Closed { at: at() },
            E::SoldOut(_) => E::SoldOut(short()),
            E::PriceChanged(_) => E::PriceChanged(changes()),
            E::DinerLimit { .. } => E::DinerLimit { limit: 5, held: 4, asked: 2 },
            E::UnknownDish { .. } => E::UnknownDish { dish: dish() },
            E::BadOptions { .. } => E::BadOptions { dish: dish(), why: "no sauce".into() },
            E::ReleasedAlready => E::ReleasedAlready,
            E::BelowReserved { .. } => E::BelowReserved { dish: dish(), reserved: 7 },
            E::BadPlan(_) => E::BadPlan("why".into()),
            E::BadDish(_) => E::BadDish(menu::Error::NotOpen),
        );
    }
    {
        use order::Error as E;
        every!(names, order::Error:
            E::Unknown => E::Unknown,
            E::AlreadyPlaced => E::AlreadyPlaced,
            E::BadLineCount => E::BadLineCount,
            E::BadQuantity { .. } => E::BadQuantity { quantity: 0 },
            E::BadLine { .. } => E::BadLine { dish: dish(), why: "why" },
            E::BadTotal { .. } => E::BadTotal { sum: cny(1), total: cny(2) },
            E::Money(_) => E::Money(MoneyError::TooLarge),
            E::OutOfTurn { .. } => E::OutOfTurn { is: "PICKED_UP", wanted: "CANCELLED" },
            E::KitchenLocked { .. } => E::KitchenLocked { at: at() },
            E::NotDue { .. } => E::NotDue { at: at() },
            E::WrongCode => E::WrongCode,
            E::NothingToRefund { .. } => E::NothingToRefund { line: 0, left: 1, asked: 2 },
            E::TooMuch { .. } => E::TooMuch { asked: cny(2), left: cny(1) },
            E::OtherRefund => E::OtherRefund,
            E::NoReason => E::NoReason,
            E::PartlyRefunded => E::PartlyRefunded,
            E::NothingToChange => E::NothingToChange,
            E::Changing => E::Changing,
            E::TooManyChanges => E::TooManyChanges,
        );
    }
    {
        use PlaceError as E;
        every!(names, PlaceError:
            E::Refused(_) => E::Refused(order::Refusal::SoldOut(short())),
            E::UnknownServing => E::UnknownServing,
            E::NoProvider(_) => E::NoProvider(payment::Provider::Alipay),
            E::UnknownDish(_) => E::UnknownDish(dish()),
            E::BadOptions { .. } => E::BadOptions { dish: dish(), why: "why".into() },
            E::Invalid(_) => E::Invalid(order::Error::BadLineCount),
        );
        every!(names, PublishError:
            PublishError::Menu(_) => PublishError::Menu(menu::Error::NotOpen),
            PublishError::Serving(_) => PublishError::Serving(serving::Error::Withdrawn),
            PublishError::BadTime(_) => PublishError::BadTime("why".into()),
        );
        every!(names, PayError:
            PayError::Order(_) => PayError::Order(order::Error::Unknown),
            PayError::Payment(_) => PayError::Payment(payment::Error::NotStarted),
        );
    }
    assert_eq!(
        serving::Error::PriceChanged(changes()).chinese(),
        "价格有变：由 1.00 元改为 2.50 元",
        "with its figures"
    );
    assert_eq!(
        order::Error::KitchenLocked { at: at() }.chinese(),
        "厨房已于 2026-11-23 02:00:00（协调世界时） 开始备餐，现在只有食堂可以取消"
    );
}

#[test]
fn refusals_of_accounts_and_payments_have_their_figures_in_chinese() {
    let names = &names();
    {
        use account::Error as E;
        every!(names, account::Error:
            E::NotOpen => E::NotOpen,
            E::Closed => E::Closed,
            E::Frozen => E::Frozen,
            E::NotPositive => E::NotPositive,
            E::Insufficient { .. } => E::Insufficient { short: cny(150) },
            E::ReleasedAlready => E::ReleasedAlready,
            E::CapturedAlready => E::CapturedAlready,
            E::UnknownHold => E::UnknownHold,
            E::OtherContent => E::OtherContent,
            E::LotNotForThis => E::LotNotForThis,
            E::LotOver => E::LotOver,
            E::TooManyLots => E::TooManyLots,
            E::TooManyPayouts => E::TooManyPayouts,
            E::BadFloor => E::BadFloor,
            E::NothingOwed => E::NothingOwed,
            E::NotReceivable { .. } => E::NotReceivable { asked: cny(2), open: cny(1) },
            E::NotEmpty { .. } => E::NotEmpty { posted: cny(2), held: cny(1) },
            E::Money(_) => E::Money(MoneyError::TooLarge),
        );
    }
    {
        use payment::Error as E;
        every!(names, payment::Error:
            E::NotStarted => E::NotStarted,
            E::AlreadyStarted => E::AlreadyStarted,
            E::BadPlan { .. } => E::BadPlan { total: cny(1) },
            E::OutOfTurn { .. } => E::OutOfTurn { is: "HELD" },
            E::NotExternal { .. } => E::NotExternal { tender: 0 },
            E::NotAsked { .. } => E::NotAsked { tender: 0 },
            E::NoMoney { .. } => E::NoMoney { paid: cny(0) },
            E::BadProviderText => E::BadProviderText,
            E::Unpaid { .. } => E::Unpaid { tender: 1 },
            E::TooMuch { .. } => E::TooMuch { asked: cny(2), left: cny(1) },
            E::UnknownRefund => E::UnknownRefund,
            E::OtherRefund => E::OtherRefund,
            E::NotPaidBack { .. } => E::NotPaidBack { tender: 1 },
            E::UnknownExtension => E::UnknownExtension,
        );
    }
    {
        use MoneyError as E;
        every!(names, MoneyError:
            E::UnknownCurrency(_) => E::UnknownCurrency("XXX".into()),
            E::Mixed { .. } => E::Mixed { left: Currency::CNY, right: Currency::JPY },
            E::TooLarge => E::TooLarge,
            E::TooPrecise { .. } =>
                E::TooPrecise { amount: cny(1).to_decimal(), currency: Currency::CNY },
        );
    }
    {
        use top_up::Error as E;
        every!(names, top_up::Error:
            E::Unknown => E::Unknown,
            E::OtherContent => E::OtherContent,
            E::BadAmount => E::BadAmount,
            E::OutOfTurn { .. } => E::OutOfTurn { is: "CREDITED" },
        );
    }
    {
        use payout::Error as E;
        every!(names, payout::Error:
            E::Unknown => E::Unknown,
            E::OtherContent => E::OtherContent,
            E::BadAmount => E::BadAmount,
            E::Subsidy => E::Subsidy,
            E::OutOfTurn { .. } => E::OutOfTurn { is: "PAID_OUT" },
        );
    }
    {
        use Interrupted as E;
        every!(names, Interrupted:
            E::Overloaded => E::Overloaded,
            E::Fell => E::Fell,
            E::Unavailable(_) => E::Unavailable("why".into()),
        );
        let reused: Failure<account::Error> = Failure::KeyReused;
        assert_chinese(&reused.chinese(), &reused.to_string(), names);
    }
}

#[test]
fn refusals_of_companies_and_the_books_have_their_figures_in_chinese() {
    let names = &names();
    {
        use policy::Error as E;
        every!(names, policy::Error:
            E::NotOpen => E::NotOpen,
            E::OpenedAlready => E::OpenedAlready,
            E::BadZone(_) => E::BadZone("Nowhere".into()),
            E::OtherCurrency { .. } => E::OtherCurrency { currency: Currency::CNY },
            E::BadTerms { .. } => E::BadTerms { field: "weekdays" },
            E::TooManyLots { .. } => E::TooManyLots { lots: 492 },
            E::Overlaps { .. } => E::Overlaps { version: 2, from: DAY },
            E::Ended { .. } => E::Ended { from: DAY },
            E::TooManyVersions => E::TooManyVersions,
            E::BadDays { .. } => E::BadDays { first: DAY, last: DAY },
            E::BadAhead { .. } => E::BadAhead { days: 40 },
        );
    }
    {
        use grant_run::Error as E;
        every!(names, grant_run::Error:
            E::NotBegun => E::NotBegun,
            E::OtherContent => E::OtherContent,
            E::BadBatch => E::BadBatch,
            E::OutOfTurn { .. } => E::OutOfTurn { is: "IN_A_BATCH" },
            E::TooMuch { .. } => E::TooMuch { granted: cny(2), amount: cny(1) },
            E::Money(_) => E::Money(MoneyError::TooLarge),
        );
        use GrantError as G;
        every!(names, GrantError:
            G::Policy(_) => G::Policy(policy::Error::NotOpen),
            G::Run(_) => G::Run(E::NotBegun),
            G::Insufficient { .. } => G::Insufficient { needed: cny(3), diners: 2, short: cny(1) },
            G::Company(_) => G::Company(account::Error::Frozen),
            G::Money(_) => G::Money(MoneyError::TooLarge),
            G::Views(_) => G::Views("why".into()),
        );
    }
    {
        use invoice::Error as E;
        every!(names, invoice::Error:
            E::NotIssued => E::NotIssued,
            E::OtherContent => E::OtherContent,
            E::BadBill => E::BadBill,
            E::NotPositive => E::NotPositive,
            E::TooMuch { .. } => E::TooMuch { asked: cny(2), open: cny(1) },
            E::TooManyPayments => E::TooManyPayments,
            E::Void => E::Void,
            E::PaidAlready => E::PaidAlready,
            E::Unbooked => E::Unbooked,
            E::Money(_) => E::Money(MoneyError::TooLarge),
        );
        every!(names, InvoiceError:
            InvoiceError::Invoice(_) => InvoiceError::Invoice(E::Void),
            InvoiceError::Account(_) => InvoiceError::Account(account::Error::Closed),
            InvoiceError::TooManyDays => InvoiceError::TooManyDays,
        );
    }
    {
        use correction::EntryError as E;
        every!(names, correction::EntryError:
            E::Nothing => E::Nothing,
            E::NotPositive => E::NotPositive,
            E::SameAccount => E::SameAccount,
            E::Limited(_) => E::Limited(LedgerAccount::Suspense),
            E::Derived(_) => E::Derived(LedgerAccount::Prepaid),
            E::Money(_) => E::Money(MoneyError::TooLarge),
        );
        use correction::Error as C;
        every!(names, correction::Error:
            C::Unknown => C::Unknown,
            C::OtherContent => C::OtherContent,
            C::BadCount { .. } => C::BadCount { entries: 0 },
            C::BadEntry { .. } => C::BadEntry { entry: 1, why: E::Nothing },
            C::SecondPerson => C::SecondPerson,
            C::OutOfTurn { .. } => C::OutOfTurn { is: "SETTLED" },
        );
    }
    {
        use books::Error as E;
        let period = books::Period { from: None, through: DAY };
        every!(names, books::Error:
            E::NotOpen => E::NotOpen,
            E::AlreadyOpen { .. } => E::AlreadyOpen { zone: "Asia/Shanghai".into() },
            E::UnknownZone { .. } => E::UnknownZone { zone: "Nowhere".into() },
            E::NotYet { .. } => E::NotYet { through: DAY, today: DAY },
            E::TooEarly { .. } => E::TooEarly { through: DAY },
            E::OutOfOrder { .. } => E::OutOfOrder { through: DAY, closed_through: DAY },
            E::TooLongAgo { .. } => E::TooLongAgo { forgotten: DAY },
            E::BadLimit => E::BadLimit,
            E::Closed { .. } => E::Closed { date: DAY, period },
        );
        use FinanceError as F;
        let account = AccountId::Wallet(DinerId(Uuid::from_u128(0xabc)));
        every!(names, FinanceError:
            F::Account(_) => F::Account(account::Error::Frozen),
            F::TopUp(_) => F::TopUp(top_up::Error::BadAmount),
            F::Payout(_) => F::Payout(payout::Error::Subsidy),
            F::Correction(_) => F::Correction(correction::Error::SecondPerson),
            F::Books(_) => F::Books(E::NotOpen),
            F::Entry { .. } => F::Entry { entry: 0, account, error: account::Error::Closed },
        );
    }
}

#[test]
fn refusals_of_people_have_their_figures_in_chinese() {
    let names = &names();
    use diner::{Error as E, InTheWay as W};
    let account = AccountId::Wallet(DinerId(Uuid::from_u128(0xabc)));
    let ways = vec![
        W::Employed { since: DAY },
        W::EmployedUntil { on: DAY },
        W::Balance { account, posted: cny(2), held: cny(1) },
        W::Orders { open: 1 },
        W::Refunds { open: 2 },
    ];
    every!(names, diner::Error:
        E::NotEmployed => E::NotEmployed,
        E::Employed { .. } => E::Employed { since: DAY },
        E::TooEarly { .. } => E::TooEarly { since: DAY },
        E::NotKnown => E::NotKnown,
        E::Erased => E::Erased,
        E::NotYet(_) => E::NotYet(ways.clone()),
    );
    every!(names, SealError: SealError::TooLong => SealError::TooLong, SealError::Failed => SealError::Failed);
    every!(names, DetailsError:
        DetailsError::BadName => DetailsError::BadName,
        DetailsError::BadEmployeeNumber => DetailsError::BadEmployeeNumber,
        DetailsError::BadPhone => DetailsError::BadPhone,
    );
    every!(names, PersonalError:
        PersonalError::Diner(_) => PersonalError::Diner(E::Erased),
        PersonalError::NumberTaken => PersonalError::NumberTaken,
        PersonalError::Seal(_) => PersonalError::Seal(SealError::TooLong),
        PersonalError::Keys(_) => PersonalError::Keys(KeyError::Unavailable("why".into())),
        PersonalError::Views(_) => PersonalError::Views("why".into()),
    );
    assert_chinese(&NotATaxRate("high".into()).chinese(), &NotATaxRate("high".into()).to_string(), names);
}

/// Asks over HTTP with an `Accept-Language`.
async fn asked(house: &House, language: &str, who: &crate::identity::Identity, body: Value) -> (Answered, [String; 2]) {
    let mut request = house.request(Some(who), body.to_string());
    request.headers_mut().insert(header::ACCEPT_LANGUAGE, language.parse().unwrap());
    let response = house.call(request).await;
    let told = |name| response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    let headers = [told(header::CONTENT_LANGUAGE), told(header::VARY)];
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (Answered { status, token: None, body: serde_json::from_slice(&bytes).unwrap() }, headers)
}

#[tokio::test]
async fn an_answer_speaks_the_callers_language_and_its_codes_stay() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    let names = names();
    let many = json!({ "serving": lunch.serving, "lines": [{ "dish": lunch.rice, "quantity": 3 }] });
    let cases = [
        // A refusal of the domain, one of this crate, one of the library, and one before all that.
        json!({ "query": "mutation($key: UUID!) { cancelOrder(order: \"bm9uc2Vuc2U\", idempotencyKey: $key) { order { id } } }",
            "variables": { "key": key() } }),
        json!({ "query": "{ myOrders(first: 1000) { nodes { id } } }" }),
        json!({ "query": "{ myOrders { nothingSuch } }" }),
        json!({ "query": "{ trialBalance { currency } }" }),
        json!({ "query": "" }),
    ];
    for body in cases {
        let (english, headers) = asked(&house, "en", &diner(7), body.clone()).await;
        assert_eq!(headers[0], "en");
        assert!(headers[1].to_ascii_lowercase().contains("accept-language"), "{headers:?}");
        let (chinese, headers) = asked(&house, "zh-CN,zh;q=0.9,en;q=0.8", &diner(7), body).await;
        assert_eq!(headers[0], "zh-Hans");
        let error = |answer: &Answered| answer.body["errors"][0].clone();
        let (one, other) = (error(&english), error(&chinese));
        assert_eq!(
            (english.status, &one["extensions"], &one["path"]),
            (chinese.status, &other["extensions"], &other["path"])
        );
        assert_chinese(other["message"].as_str().unwrap(), one["message"].as_str().unwrap(), &names);
    }
    // What a union's types say to people, too.
    let body = json!({ "query": PLACE, "variables": { "key": key(), "input": many } });
    let (chinese, _) = asked(&house, "zh", &diner(7), body.clone()).await;
    let placed = &chinese.body["data"]["placeOrder"];
    assert_eq!(
        (&placed["__typename"], &placed["message"]),
        (&json!("SoldOut"), &json!("余量不足：要 3 份，还剩 2 份"))
    );
    let (english, _) = asked(&house, "fr, en;q=0.5", &diner(7), body).await;
    assert_eq!(english.body["data"]["placeOrder"]["message"], "there is not enough left");
    let closed = json!({ "query": "mutation($key: UUID!) { closePeriod(through: \"2026-10-31\", idempotencyKey: $key) {
        ... on BooksRefused { message refusal } } }", "variables": { "key": key() } });
    let (refused, _) = asked(&house, "zh", &finance(), closed).await;
    let refused = &refused.body["data"]["closePeriod"];
    assert_eq!(
        (&refused["message"], &refused["refusal"]),
        (&json!("还没有建账，请先按时区建账"), &json!("BOOKS_NOT_OPEN"))
    );
}

#[tokio::test]
async fn whoever_asks_too_much_is_told_in_their_language() {
    let rate = Rate { burst: 5, per_second: 1 };
    let house = House::with(HttpLimits { rate, ..HttpLimits::default() }, true).await;
    let body = json!({ "query": "{ canteens(first: 50) { nodes { id name } } }" });
    // The first takes more than there is.
    asked(&house, "en", &diner(7), body.clone()).await.0.data();
    let (throttled, headers) = asked(&house, "zh-Hans", &diner(7), body).await;
    assert_eq!((throttled.status, throttled.code()), (StatusCode::TOO_MANY_REQUESTS, "THROTTLED"));
    let seconds = &throttled.body["errors"][0]["extensions"]["retryAfter"];
    assert_eq!(throttled.body["errors"][0]["message"], format!("请求太频繁，请 {seconds} 秒后再来"));
    assert_eq!(headers[0], "zh-Hans");
}

#[tokio::test]
async fn a_socket_speaks_the_language_that_it_was_opened_in() {
    let house = House::open().await;
    let at = house.listen().await;
    let mut told = vec![];
    for payload in [json!({}), json!({ "acceptLanguage": "zh-CN" }), json!({ "Accept-Language": "fr;q=0.9, zh;q=0.1" })]
    {
        let mut client = Client::open(&at).await;
        let mut payload = payload;
        payload["authorization"] = json!(format!("Bearer {}", house.token(&diner(7))));
        client.say(json!({ "type": "connection_init", "payload": payload })).await;
        assert_eq!(client.hear().await["type"], "connection_ack");
        client.subscribe("a", "{ myOrders(first: 1000) { nodes { id } } }", json!({})).await;
        let answer = client.hear().await;
        client.subscribe("b", "subscription { kitchenBoard(serving: \"x\") { cursor } }", json!({})).await;
        let refused = loop {
            let heard = client.hear().await;
            if heard["id"] == "b" {
                break heard["payload"][0].clone();
            }
        };
        let error = match &answer["payload"] {
            Value::Array(errors) => errors[0].clone(),
            payload => payload["errors"][0].clone(),
        };
        assert_eq!(
            (&error["extensions"]["code"], &refused["extensions"]["code"]),
            (&json!("BAD_INPUT"), &json!("FORBIDDEN"))
        );
        told.push([error["message"].clone(), refused["message"].clone()]);
    }
    assert_eq!(told[0], ["a page has 1 to 100 items", "your roles do not let you ask for \"kitchenBoard\""]);
    assert_eq!(told[1], ["一页要有 1 到 100 项", "您的角色不能查询或变更 kitchenBoard"]);
    assert_eq!(told[2], told[1]);
    let mut client = Client::open(&at).await;
    client.say(json!({ "type": "connection_init", "payload": { "acceptLanguage": 7 } })).await;
    assert_eq!(client.closed().await, (4400, "Invalid message: acceptLanguage must be a text".to_owned()));
}
