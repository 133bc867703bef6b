//! Errors as clients read them: `extensions.code`, `extensions.retryable`, `extensions.field`.

use async_graphql::{ErrorExtensionValues, ErrorExtensions};
use commands::{Failure, Interrupted, PublishError};
use domain::{account, diner, menu, order, payment, policy, serving};
use projections::ViewError;
use sagas::GrantError;

/// What went wrong, for programs. The text beside it is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The input cannot be right, whatever the state of things.
    BadInput,
    /// The document is too deep, too wide or too expensive.
    TooComplex,
    Unauthenticated,
    Forbidden,
    /// There is no such thing in the token's tenant.
    NotFound,
    /// The idempotency key was used for another request.
    KeyReused,
    /// The kitchen has begun; a diner cannot cancel any more.
    KitchenLocked,
    /// The thing is in a state in which that cannot be done.
    OutOfTurn,
    WrongCode,
    NothingToRefund,
    BelowReserved,
    Withdrawn,
    Closed,
    AccountFrozen,
    InsufficientFunds,
    /// The views have not come as far as the consistency token demands.
    Stale,
    /// Beside an answer: the view that it was read from lacks something, since it could not take some
    /// event. Every answer names all such views in its own extension `incomplete`.
    Incomplete,
    Overloaded,
    Unavailable,
    Timeout,
    Internal,
}

impl Code {
    pub fn name(self) -> &'static str {
        match self {
            Code::BadInput => "BAD_INPUT",
            Code::TooComplex => "TOO_COMPLEX",
            Code::Unauthenticated => "UNAUTHENTICATED",
            Code::Forbidden => "FORBIDDEN",
            Code::NotFound => "NOT_FOUND",
            Code::KeyReused => "KEY_REUSED",
            Code::KitchenLocked => "KITCHEN_LOCKED",
            Code::OutOfTurn => "OUT_OF_TURN",
            Code::WrongCode => "WRONG_CODE",
            Code::NothingToRefund => "NOTHING_TO_REFUND",
            Code::BelowReserved => "BELOW_RESERVED",
            Code::Withdrawn => "WITHDRAWN",
            Code::Closed => "CLOSED",
            Code::AccountFrozen => "ACCOUNT_FROZEN",
            Code::InsufficientFunds => "INSUFFICIENT_FUNDS",
            Code::Stale => "STALE",
            Code::Incomplete => "INCOMPLETE",
            Code::Overloaded => "OVERLOADED",
            Code::Unavailable => "UNAVAILABLE",
            Code::Timeout => "TIMEOUT",
            Code::Internal => "INTERNAL",
        }
    }

    /// Whether the same request, under the same key, may succeed a moment later.
    pub fn is_retryable(self) -> bool {
        matches!(self, Code::Stale | Code::Overloaded | Code::Unavailable | Code::Timeout)
    }
}

/// An error on its way to the client.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failed {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) field: Option<&'static str>,
}

pub(crate) fn coded(code: Code, message: impl std::fmt::Display) -> Failed {
    Failed { code, message: message.to_string(), field: None }
}

impl Failed {
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
    }

    /// As a whole answer's error, before anything was executed.
    pub(crate) fn into_server_error(self) -> async_graphql::ServerError {
        let mut error = async_graphql::ServerError::new(self.message.clone(), None);
        self.extend(error.extensions.get_or_insert_default());
        error
    }
}

impl From<Failed> for async_graphql::Error {
    fn from(failed: Failed) -> Self {
        async_graphql::Error::new(failed.message.clone()).extend_with(|_, extensions| failed.extend(extensions))
    }
}

pub(crate) fn not_found(what: &str) -> Failed {
    coded(Code::NotFound, format!("there is no such {what}"))
}

/// A refusal of the domain, and the code it has for clients.
pub(crate) trait Refusal: std::error::Error {
    fn code(&self) -> Code;
}

impl<E: Refusal> From<Failure<E>> for Failed {
    fn from(failure: Failure<E>) -> Self {
        match failure {
            Failure::Refused(refusal) => coded(refusal.code(), refusal),
            Failure::KeyReused => coded(Code::KeyReused, failure).at("idempotencyKey"),
            Failure::Interrupted(interrupted) => interrupted.into(),
        }
    }
}

impl From<Interrupted> for Failed {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::Overloaded => coded(Code::Overloaded, interrupted),
            // Why the log does not answer is for the operator.
            Interrupted::Fell => coded(Code::Unavailable, interrupted),
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
            E::OutOfTurn { .. } | E::NotDue { .. } | E::OtherRefund => Code::OutOfTurn,
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
            | E::NotEmpty => Code::OutOfTurn,
        }
    }
}

impl Refusal for policy::Error {
    fn code(&self) -> Code {
        use policy::Error as E;
        match self {
            E::NotOpen => Code::NotFound,
            E::BadZone(_) | E::OtherCurrency { .. } | E::BadTerms { .. } | E::BadDays { .. } => Code::BadInput,
            E::OpenedAlready | E::Overlaps { .. } | E::Ended { .. } | E::TooManyVersions => Code::OutOfTurn,
        }
    }
}

impl Refusal for diner::Error {
    fn code(&self) -> Code {
        match self {
            diner::Error::NotEmployed => Code::NotFound,
            diner::Error::Employed { .. } | diner::Error::TooEarly { .. } => Code::OutOfTurn,
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

impl Refusal for payment::Error {
    fn code(&self) -> Code {
        match self {
            payment::Error::NotStarted => Code::NotFound,
            _ => Code::OutOfTurn,
        }
    }
}
