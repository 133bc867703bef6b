//! Errors as clients read them: `extensions.code`, `extensions.retryable`, `extensions.field`.

use std::{borrow::Cow, sync::Arc};

use async_graphql::{ErrorExtensionValues, ErrorExtensions};
use commands::{Failure, Interrupted, PublishError};
use domain::{account, books, correction, diner, invoice, menu, order, payment, payout, policy, serving, top_up};
use projections::ViewError;
use sagas::{FinanceError, GrantError, InvoiceError};

use crate::language::{self, Chinese, Language, Said};

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $name:literal,)*) => {
        /// What went wrong, for programs. The text beside it is for people.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $($(#[$doc])* $code),*
        }

        impl Code {
            #[cfg(test)]
            pub(crate) const ALL: &[Code] = &[$(Code::$code),*];

            pub fn name(self) -> &'static str {
                match self {
                    $(Code::$code => $name),*
                }
            }
        }
    };
}

codes! {
    /// The input cannot be right, whatever the state of things.
    BadInput = "BAD_INPUT",
    /// The document is too deep, too wide or too expensive.
    TooComplex = "TOO_COMPLEX",
    Unauthenticated = "UNAUTHENTICATED",
    Forbidden = "FORBIDDEN",
    /// There is no such thing in the token's tenant.
    NotFound = "NOT_FOUND",
    /// The idempotency key was used for another request.
    KeyReused = "KEY_REUSED",
    /// The kitchen has begun; a diner cannot cancel any more.
    KitchenLocked = "KITCHEN_LOCKED",
    /// The thing is in a state in which that cannot be done.
    OutOfTurn = "OUT_OF_TURN",
    WrongCode = "WRONG_CODE",
    NothingToRefund = "NOTHING_TO_REFUND",
    BelowReserved = "BELOW_RESERVED",
    Withdrawn = "WITHDRAWN",
    Closed = "CLOSED",
    AccountFrozen = "ACCOUNT_FROZEN",
    InsufficientFunds = "INSUFFICIENT_FUNDS",
    /// The diner was erased, for good.
    Erased = "ERASED",
    /// There is no key store here, so personal data stays sealed.
    KeysMissing = "KEYS_MISSING",
    /// Whoever proposed something cannot apply it: somebody else has to.
    SecondPerson = "SECOND_PERSON",
    /// Something is dated into a closed period of the books.
    PeriodClosed = "PERIOD_CLOSED",
    /// The views have not come as far as the consistency token demands.
    Stale = "STALE",
    /// Beside an answer: the view that it was read from lacks something, since it could not take some
    /// event. Every answer names all such views in its own extension `incomplete`.
    Incomplete = "INCOMPLETE",
    /// What changed since a subscription's cursor is not known any more.
    CursorExpired = "CURSOR_EXPIRED",
    /// The bearer, or the socket, has as many subscriptions as it may have.
    TooManySubscriptions = "TOO_MANY_SUBSCRIPTIONS",
    Overloaded = "OVERLOADED",
    /// The caller has asked for too much in too short a time; `retryAfter` says in how many seconds there
    /// is room again.
    Throttled = "THROTTLED",
    Unavailable = "UNAVAILABLE",
    Timeout = "TIMEOUT",
    Internal = "INTERNAL",
}

impl Code {
    /// Whether the same request, under the same key, may succeed a moment later.
    pub fn is_retryable(self) -> bool {
        matches!(self, Code::Stale | Code::Overloaded | Code::Throttled | Code::Unavailable | Code::Timeout)
    }
}

/// An error on its way to the client.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failed {
    pub(crate) code: Code,
    pub(crate) said: Said,
    pub(crate) field: Option<&'static str>,
    /// In how many seconds there is room again.
    pub(crate) retry_after: Option<u64>,
}

/// An error that says `message`. In Chinese it says the same where that is known, else what the code means.
pub(crate) fn coded(code: Code, message: impl std::fmt::Display) -> Failed {
    let english = message.to_string();
    let chinese = language::of_sentence(&english).unwrap_or_else(|| language::of_code(code));
    Failed { code, said: Said::new(english, chinese), field: None, retry_after: None }
}

/// An error that says what was refused, with its figures.
pub(crate) fn of<E: Chinese + std::fmt::Display>(code: Code, error: &E) -> Failed {
    Failed { code, said: Said::from(error), field: None, retry_after: None }
}

impl Failed {
    /// Says it so in Chinese.
    pub(crate) fn in_chinese(mut self, chinese: impl Into<Cow<'static, str>>) -> Self {
        self.said.chinese = chinese.into();
        self
    }

    /// Says which entry it is about, counted from one.
    pub(crate) fn within(mut self, entry: usize) -> Self {
        self.said.english = format!("entry {entry}: {}", self.said.english).into();
        self.said.chinese = format!("第 {entry} 条分录：{}", self.said.chinese).into();
        self
    }

    /// Names the input field that was wrong.
    pub(crate) fn at(self, field: &'static str) -> Self {
        Failed { field: Some(field), ..self }
    }

    pub(crate) fn extend(&self, extensions: &mut ErrorExtensionValues) {
        extensions.set("code", self.code.name());
        extensions.set("retryable", self.code.is_retryable());
        if let Some(field) = self.field {
            extensions.set("field", field);
        }
        if let Some(seconds) = self.retry_after {
            extensions.set("retryAfter", seconds);
        }
    }

    /// As an error of an answer, in English; [`Failed::translate`] says it in another language.
    pub(crate) fn into_server_error(self) -> async_graphql::ServerError {
        let mut error = async_graphql::ServerError::new(self.said.english.clone(), None);
        self.extend(error.extensions.get_or_insert_default());
        error.source = Some(Arc::new(self));
        error
    }

    /// As an error of an answer, in a language.
    pub(crate) fn told(self, language: Language) -> async_graphql::ServerError {
        let mut error = self.into_server_error();
        Failed::translate(&mut error, language);
        error
    }

    /// Puts an error of an answer into a language. What the library itself finds wrong with a document it
    /// says in English only; in another language stands what its code means. Of a text that repeats a long
    /// document only the beginning is told.
    pub(crate) fn translate(error: &mut async_graphql::ServerError, language: Language) {
        if language != Language::English {
            error.message = match error.source::<Failed>() {
                Some(failed) => failed.said.in_language(language).to_owned(),
                None => NOT_THE_SCHEMA.to_owned(),
            };
        }
        if let Some((end, _)) = error.message.char_indices().nth(LONGEST) {
            error.message.truncate(end);
            error.message.push('…');
        }
    }
}

/// Longest text of an error, in characters.
const LONGEST: usize = 500;

const NOT_THE_SCHEMA: &str = "请求的文档或变量不符合接口定义";

impl From<Failed> for async_graphql::Error {
    fn from(failed: Failed) -> Self {
        let mut error = async_graphql::Error::new(failed.said.english.clone())
            .extend_with(|_, extensions| failed.extend(extensions));
        // What it says in other languages goes with it to where the answer is written.
        error.source = Some(Arc::new(failed));
        error
    }
}

pub(crate) fn not_found(what: &str) -> Failed {
    coded(Code::NotFound, format!("there is no such {what}")).in_chinese(language::there_is_no(what))
}

/// A refusal of the domain, and the code it has for clients.
pub(crate) trait Refusal: std::error::Error + Chinese {
    fn code(&self) -> Code;
}

impl<E: Refusal> From<&E> for Code {
    fn from(refusal: &E) -> Self {
        refusal.code()
    }
}

/// The coded error, with the argument that a refusal is about.
pub(crate) fn refused_at<E: Refusal>(failure: Failure<E>, field: &'static str) -> Failed {
    let refused = matches!(failure, Failure::Refused(_));
    let failed = Failed::from(failure);
    if refused { failed.at(field) } else { failed }
}

/// The same of what finance asks for.
pub(crate) fn of_finance(failure: Failure<FinanceError>) -> Failed {
    use account::Error as A;
    let field = match &failure {
        Failure::Refused(FinanceError::Account(A::Insufficient { .. } | A::NotPositive | A::Money(_)))
        | Failure::Refused(FinanceError::TopUp(top_up::Error::BadAmount))
        | Failure::Refused(FinanceError::Payout(payout::Error::BadAmount)) => "amount",
        Failure::Refused(FinanceError::Account(_) | FinanceError::Payout(payout::Error::Subsidy)) => "account",
        Failure::Refused(FinanceError::Payout(payout::Error::Unknown | payout::Error::OutOfTurn { .. })) => "payout",
        Failure::Refused(FinanceError::Correction(
            correction::Error::Unknown | correction::Error::OutOfTurn { .. } | correction::Error::SecondPerson,
        )) => "correction",
        Failure::Refused(
            FinanceError::Correction(correction::Error::BadCount { .. } | correction::Error::BadEntry { .. })
            | FinanceError::Entry { .. },
        ) => "entries",
        Failure::Refused(FinanceError::Books(_)) => "dated",
        // Of the key, or of nothing that was said.
        Failure::Refused(FinanceError::TopUp(_) | FinanceError::Payout(_) | FinanceError::Correction(_)) => {
            "idempotencyKey"
        }
        Failure::KeyReused | Failure::Interrupted(_) => return Failed::from(failure),
    };
    Failed::from(failure).at(field)
}

impl<E: Refusal> From<Failure<E>> for Failed {
    fn from(failure: Failure<E>) -> Self {
        match failure {
            Failure::Refused(refusal) => of(refusal.code(), &refusal),
            Failure::KeyReused => of(Code::KeyReused, &failure).at("idempotencyKey"),
            Failure::Interrupted(interrupted) => interrupted.into(),
        }
    }
}

impl From<Interrupted> for Failed {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::Overloaded => of(Code::Overloaded, &interrupted),
            // Why the log does not answer is for the operator.
            Interrupted::Fell => of(Code::Unavailable, &interrupted),
            Interrupted::Unavailable(why) => {
                tracing::warn!(%why, "a command came to no outcome");
                coded(Code::Unavailable, "the service is not available for a moment; try again under the same key")
            }
        }
    }
}

impl From<ViewError> for Failed {
    fn from(error: ViewError) -> Self {
        match error {
            ViewError::Building { .. } => coded(Code::Unavailable, error),
            error => {
                tracing::error!(%error, "a view cannot be read");
                coded(Code::Unavailable, "the views cannot be read at the moment")
            }
        }
    }
}

impl Refusal for menu::Error {
    fn code(&self) -> Code {
        match self {
            menu::Error::NotOpen | menu::Error::UnknownDish { .. } => Code::NotFound,
            menu::Error::AlreadyOpen => Code::OutOfTurn,
            menu::Error::BadName { .. }
            | menu::Error::BadPrice { .. }
            | menu::Error::WrongCurrency { .. }
            | menu::Error::ImpossibleChoice { .. }
            | menu::Error::TooMany { .. } => Code::BadInput,
        }
    }
}

impl Refusal for serving::Error {
    fn code(&self) -> Code {
        match self {
            serving::Error::NotPublished | serving::Error::UnknownDish { .. } => Code::NotFound,
            serving::Error::AlreadyPublished
            | serving::Error::ReleasedAlready
            | serving::Error::NotYetOpen { .. }
            | serving::Error::PriceChanged(_)
            | serving::Error::DinerLimit { .. }
            | serving::Error::SoldOut(_) => Code::OutOfTurn,
            serving::Error::Withdrawn => Code::Withdrawn,
            serving::Error::Closed { .. } => Code::Closed,
            serving::Error::BelowReserved { .. } => Code::BelowReserved,
            serving::Error::BadOptions { .. } | serving::Error::BadPlan(_) => Code::BadInput,
            serving::Error::BadDish(error) => error.code(),
        }
    }
}

impl Refusal for PublishError {
    fn code(&self) -> Code {
        match self {
            PublishError::Menu(error) => error.code(),
            PublishError::Serving(error) => error.code(),
            PublishError::BadTime(_) => Code::BadInput,
        }
    }
}

impl Refusal for order::Error {
    fn code(&self) -> Code {
        use order::Error as E;
        match self {
            E::Unknown => Code::NotFound,
            E::AlreadyPlaced => Code::KeyReused,
            E::BadLineCount | E::BadQuantity { .. } | E::BadLine { .. } | E::BadTotal { .. } | E::Money(_) => {
                Code::BadInput
            }
            E::TooMuch { .. } | E::NothingToChange | E::NoReason => Code::BadInput,
            E::OutOfTurn { .. } | E::NotDue { .. } | E::OtherRefund | E::TooManyChanges | E::PartlyRefunded => {
                Code::OutOfTurn
            }
            // For a moment only.
            E::Changing => Code::Unavailable,
            E::KitchenLocked { .. } => Code::KitchenLocked,
            E::WrongCode => Code::WrongCode,
            E::NothingToRefund { .. } => Code::NothingToRefund,
        }
    }
}

impl Refusal for account::Error {
    fn code(&self) -> Code {
        use account::Error as E;
        match self {
            E::NotOpen => Code::NotFound,
            E::Frozen => Code::AccountFrozen,
            E::Insufficient { .. } => Code::InsufficientFunds,
            E::NotPositive | E::BadFloor | E::Money(_) => Code::BadInput,
            E::Closed
            | E::ReleasedAlready
            | E::CapturedAlready
            | E::UnknownHold
            | E::OtherContent
            | E::LotNotForThis
            | E::LotOver
            | E::TooManyLots
            | E::TooManyPayouts
            | E::NothingOwed
            | E::NotReceivable { .. }
            | E::NotEmpty { .. } => Code::OutOfTurn,
        }
    }
}

impl Refusal for policy::Error {
    fn code(&self) -> Code {
        use policy::Error as E;
        match self {
            E::NotOpen => Code::NotFound,
            E::BadZone(_)
            | E::OtherCurrency { .. }
            | E::BadTerms { .. }
            | E::TooManyLots { .. }
            | E::BadDays { .. } => Code::BadInput,
            E::BadAhead { .. } => Code::BadInput,
            E::OpenedAlready | E::Overlaps { .. } | E::Ended { .. } | E::TooManyVersions => Code::OutOfTurn,
        }
    }
}

impl Refusal for diner::Error {
    fn code(&self) -> Code {
        match self {
            diner::Error::NotEmployed | diner::Error::NotKnown => Code::NotFound,
            diner::Error::Employed { .. } | diner::Error::TooEarly { .. } | diner::Error::NotYet(_) => Code::OutOfTurn,
            diner::Error::Erased => Code::Erased,
        }
    }
}

impl Refusal for GrantError {
    fn code(&self) -> Code {
        match self {
            GrantError::Policy(error) => error.code(),
            GrantError::Company(error) => error.code(),
            GrantError::Run(_) => Code::OutOfTurn,
            GrantError::Insufficient { .. } => Code::InsufficientFunds,
            GrantError::Money(_) => Code::BadInput,
            GrantError::Views(_) => Code::Unavailable,
        }
    }
}

impl Refusal for invoice::Error {
    fn code(&self) -> Code {
        use invoice::Error as E;
        match self {
            E::NotIssued => Code::NotFound,
            E::BadBill | E::NotPositive | E::TooMuch { .. } | E::Money(_) => Code::BadInput,
            E::OtherContent | E::TooManyPayments | E::Void | E::PaidAlready | E::Unbooked => Code::OutOfTurn,
        }
    }
}

impl Refusal for top_up::Error {
    fn code(&self) -> Code {
        match self {
            top_up::Error::Unknown => Code::NotFound,
            top_up::Error::BadAmount => Code::BadInput,
            top_up::Error::OtherContent | top_up::Error::OutOfTurn { .. } => Code::OutOfTurn,
        }
    }
}

impl Refusal for InvoiceError {
    fn code(&self) -> Code {
        match self {
            InvoiceError::Invoice(error) => error.code(),
            InvoiceError::Account(error) => error.code(),
            InvoiceError::TooManyDays => Code::BadInput,
        }
    }
}

impl Refusal for payout::Error {
    fn code(&self) -> Code {
        match self {
            payout::Error::Unknown => Code::NotFound,
            payout::Error::BadAmount | payout::Error::Subsidy => Code::BadInput,
            payout::Error::OtherContent | payout::Error::OutOfTurn { .. } => Code::OutOfTurn,
        }
    }
}

impl Refusal for correction::Error {
    fn code(&self) -> Code {
        use correction::Error as E;
        match self {
            E::Unknown => Code::NotFound,
            E::BadCount { .. } | E::BadEntry { .. } => Code::BadInput,
            E::SecondPerson => Code::SecondPerson,
            E::OtherContent | E::OutOfTurn { .. } => Code::OutOfTurn,
        }
    }
}

impl Refusal for FinanceError {
    fn code(&self) -> Code {
        match self {
            FinanceError::Account(error) | FinanceError::Entry { error, .. } => error.code(),
            FinanceError::TopUp(error) => error.code(),
            FinanceError::Payout(error) => error.code(),
            FinanceError::Correction(error) => Refusal::code(error),
            FinanceError::Books(books::Error::Closed { .. }) => Code::PeriodClosed,
            FinanceError::Books(books::Error::NotYet { .. }) => Code::BadInput,
            FinanceError::Books(_) => Code::OutOfTurn,
        }
    }
}

impl Refusal for payment::Error {
    fn code(&self) -> Code {
        match self {
            payment::Error::NotStarted => Code::NotFound,
            _ => Code::OutOfTurn,
        }
    }
}
