//! The messages of `graphql-transport-ws`.

use async_graphql::{Request, Response as Answer};
use serde::{Deserialize, Serialize};

use super::End;
use crate::{answers::is_invalid, errors::Failed, language::Language};

/// Longest id of an operation, in bytes.
const MAX_ID: usize = 128;

pub(super) const ACK: &str = r#"{"type":"connection_ack"}"#;
pub(super) const PONG: &str = r#"{"type":"pong"}"#;

/// Codes of closing: RFC 6455 and the protocol's own.
pub(super) mod close {
    pub(crate) const GOING_AWAY: u16 = 1001;
    pub(crate) const TOO_BIG: u16 = 1009;
    pub(crate) const TRY_LATER: u16 = 1013;
    pub(crate) const BAD_REQUEST: u16 = 4400;
    pub(crate) const UNAUTHORIZED: u16 = 4401;
    pub(crate) const FORBIDDEN: u16 = 4403;
    pub(crate) const NO_PROTOCOL: u16 = 4406;
    pub(crate) const INIT_TIMEOUT: u16 = 4408;
    pub(crate) const DUPLICATE: u16 = 4409;
    pub(crate) const TOO_MANY_INITS: u16 = 4429;
}

/// What a client says.
pub(super) enum Heard {
    /// With the `Authorization` and the `Accept-Language` of its payload, if it has them.
    Init {
        token: Option<String>,
        language: Option<String>,
    },
    Ping,
    Pong,
    Subscribe(String, Box<Request>),
    Complete(String),
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Raw {
    ConnectionInit {
        #[serde(default)]
        payload: Option<serde_json::Map<String, serde_json::Value>>,
    },
    Ping {},
    Pong {},
    Subscribe {
        id: String,
        payload: Box<Request>,
    },
    Complete {
        id: String,
    },
}

/// Reads a message; the error says what is wrong with it.
pub(super) fn read(text: &str) -> Result<Heard, String> {
    let raw = serde_json::from_str(text).map_err(|error| {
        // A close has room for 123 bytes.
        format!("Invalid message: {}", error.to_string().chars().take(80).filter(char::is_ascii).collect::<String>())
    })?;
    let named = |id: String| match id.len() {
        1..=MAX_ID => Ok(id),
        _ => Err(format!("Invalid message: an id has 1 to {MAX_ID} bytes")),
    };
    Ok(match raw {
        Raw::ConnectionInit { payload } => {
            // As clients like to write it.
            let payload = payload.unwrap_or_default();
            let said = |names: &[&str]| {
                let is_meant = |name: &str| names.iter().any(|known| name.eq_ignore_ascii_case(known));
                match payload.iter().find(|(name, _)| is_meant(name)).map(|(_, value)| value) {
                    None | Some(serde_json::Value::Null) => Ok(None),
                    Some(serde_json::Value::String(text)) => Ok(Some(text.clone())),
                    Some(_) => Err(format!("Invalid message: {} must be a text", names[0])),
                }
            };
            Heard::Init { token: said(&["authorization"])?, language: said(&["acceptLanguage", "accept-language"])? }
        }
        Raw::Ping {} => Heard::Ping,
        Raw::Pong {} => Heard::Pong,
        Raw::Subscribe { id, payload } => Heard::Subscribe(named(id)?, payload),
        Raw::Complete { id } => Heard::Complete(named(id)?),
    })
}

/// What a client is told of one of its operations.
pub(super) enum Told {
    Next(String, Answer),
    /// Nothing comes after it.
    Error(String, Vec<async_graphql::ServerError>),
    Complete(String),
}

#[derive(Serialize)]
struct Written<'a, T> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<T>,
}

impl Told {
    /// An answer. One of which there is nothing but errors is the last.
    pub(super) fn next(id: String, answer: Answer) -> Told {
        match answer.data == async_graphql::Value::Null && !answer.errors.is_empty() {
            true => Told::Error(id, answer.errors),
            false => Told::Next(id, answer),
        }
    }

    pub(super) fn failed(id: String, failed: Failed, language: Language) -> Told {
        Told::Error(id, vec![failed.told(language)])
    }

    pub(super) fn id(&self) -> &str {
        match self {
            Told::Next(id, _) | Told::Error(id, _) | Told::Complete(id) => id,
        }
    }

    /// Whether nothing comes after it.
    pub(super) fn is_last(&self) -> bool {
        match self {
            Told::Next(..) => false,
            Told::Error(..) | Told::Complete(_) => true,
        }
    }

    pub(super) fn write(&self) -> String {
        let written = match self {
            Told::Next(id, answer) => serde_json::to_string(&Written { id, kind: "next", payload: Some(answer) }),
            Told::Error(id, errors) => serde_json::to_string(&Written { id, kind: "error", payload: Some(errors) }),
            Told::Complete(id) => serde_json::to_string(&Written::<()> { id, kind: "complete", payload: None }),
        };
        // Maps with keys that are texts can always be written.
        written.unwrap_or_default()
    }
}

/// A query's or a mutation's answer, and its end.
pub(super) fn only(id: String, answer: Answer) -> Vec<Told> {
    match is_invalid(&answer) {
        true => vec![Told::Error(id, answer.errors)],
        false => vec![Told::Next(id.clone(), answer), Told::Complete(id)],
    }
}

/// What it means that a socket cannot be read.
pub(super) fn broken(error: &axum::Error) -> End {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("Message too long") || error.to_string().contains("Space limit exceeded") {
            return super::closed(close::TOO_BIG, "the message is too long");
        }
        cause = error.source();
    }
    End::Gone
}
