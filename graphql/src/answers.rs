//! Answers over HTTP: what was executed, or why nothing was.

use async_graphql::{Response as Answer, ServerError};
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    errors::{Code, Failed, coded},
    http::{CONSISTENCY_HEADER, COST_EXTENSION},
    language::Language,
    rate::Throttled,
};

/// Most errors of an answer; those that come after them are left out.
pub(crate) const MOST_ERRORS: usize = 20;

/// Why nothing was executed.
pub(crate) struct Turned(pub(crate) StatusCode, pub(crate) Failed);

pub(crate) fn bad(failed: Failed) -> Turned {
    Turned(StatusCode::BAD_REQUEST, failed)
}

pub(crate) fn later(code: Code, message: &str) -> Turned {
    Turned(StatusCode::SERVICE_UNAVAILABLE, coded(code, message))
}

pub(crate) fn overloaded() -> Turned {
    later(Code::Overloaded, "the service is overloaded; try again in a moment")
}

pub(crate) fn turned(Turned(status, failed): Turned, language: Language) -> Response {
    let retryable = failed.code.is_retryable();
    let answer = Answer::from_errors(vec![failed.told(language)]);
    let mut response = (status, Json(answer)).into_response();
    if retryable {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Whole seconds, as a header has them.
fn seconds_of(throttled: &Throttled) -> u64 {
    let seconds = throttled.retry_after.as_micros().div_ceil(1_000_000).max(1);
    u64::try_from(seconds).unwrap_or(u64::MAX)
}

pub(crate) fn too_much(throttled: &Throttled) -> Failed {
    let seconds = seconds_of(throttled);
    let failed = coded(Code::Throttled, format!("you have asked for too much; come again in {seconds} s"))
        .in_chinese(format!("请求太频繁，请 {seconds} 秒后再来"));
    Failed { retry_after: Some(seconds), ..failed }
}

/// Tells a caller to come again when there is room.
pub(crate) fn slow_down(throttled: Throttled, language: Language) -> Response {
    let seconds = seconds_of(&throttled);
    let mut answer = Answer::from_errors(vec![too_much(&throttled).told(language)]);
    answer.extensions.insert(COST_EXTENSION.to_owned(), throttled.charge.to_value());
    let mut response = (StatusCode::TOO_MANY_REQUESTS, Json(answer)).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// Gives every error of an answer what clients go by. The library finds as many as a document has words.
pub(crate) fn complete(answer: &mut Answer, language: Language) {
    answer.errors.truncate(MOST_ERRORS);
    answer.errors.iter_mut().for_each(|error| complete_error(error, language));
}

/// Resolvers give every error its code; what has none comes from the library's own checks of the
/// document and its variables.
fn complete_error(error: &mut ServerError, language: Language) {
    Failed::translate(error, language);
    error.locations.truncate(MOST_ERRORS);
    let extensions = error.extensions.get_or_insert_default();
    if extensions.get("code").is_none() {
        extensions.set("code", Code::BadInput.name());
        extensions.set("retryable", false);
    }
}

/// Whether the document did not pass the library's checks: nothing was executed.
pub(crate) fn is_invalid(answer: &Answer) -> bool {
    answer.data == async_graphql::Value::Null
        && !answer.errors.is_empty()
        && answer.errors.iter().all(|error| error.path.is_empty())
}

/// Says in which language an answer speaks to people, and that it follows the caller's. What does not say how long
/// it holds is kept by nobody.
pub(crate) fn spoken(mut response: Response, language: Language) -> Response {
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
    headers.append(header::VARY, HeaderValue::from_static("accept-language"));
    response
}

pub(crate) fn respond(answer: &Answer, token: Option<String>) -> Response {
    let status = if is_invalid(answer) { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let mut response = (status, Json(answer)).into_response();
    if let Some(token) = token.and_then(|token| HeaderValue::from_str(&token).ok()) {
        response.headers_mut().insert(CONSISTENCY_HEADER, token);
    }
    response
}
