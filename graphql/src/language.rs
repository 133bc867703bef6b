//! In which language people are spoken to: English, or Chinese in its simplified script.

mod chinese;
mod entries;
mod money;
mod sentences;

use std::{borrow::Cow, cmp::Reverse};

use async_graphql::{
    ContextSelectionSet, OutputType, Positioned, ServerResult, Value, parser::types::Field, registry::Registry,
};
use axum::http::HeaderValue;

pub(crate) use chinese::Chinese;
pub(crate) use entries::of_entry;
pub(crate) use sentences::{of_code, of_sentence, there_is_no};

/// Most languages of a header that are looked at.
const MOST: usize = 20;
/// Longest header that is looked at, in bytes.
const LONGEST: usize = 1_000;

/// A language that the service speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Language {
    #[default]
    English,
    /// In its simplified script.
    Chinese,
}

impl Language {
    /// What somebody likes best of what the service speaks, as `Accept-Language` says it (RFC 9110, 12.5.4);
    /// English, if that is nothing. `*` speaks of what no other range names, so that `en;q=0, *` is Chinese.
    pub(crate) fn accepted(header: &str) -> Language {
        if header.len() > LONGEST {
            return Language::English;
        }
        let (mut english, mut chinese, mut any): (Liked, Liked, Liked) = (None, None, None);
        for (place, range) in header.split(',').take(MOST).enumerate() {
            let (tag, quality) = range.split_once(';').unwrap_or((range, "q=1"));
            let (tag, Some(quality)) = (tag.trim(), thousandths(quality.trim())) else { continue };
            let liked = match of_tag(tag) {
                // Whoever refuses a kind of it does not refuse all of it.
                Some(language) if quality == 0 && !language.is_within(tag) => continue,
                Some(Language::English) => &mut english,
                Some(Language::Chinese) => &mut chinese,
                None if tag == "*" => &mut any,
                None => continue,
            };
            *liked = (*liked).max(Some((quality, Reverse(place))));
        }
        let (english, chinese) = (english.or(any), chinese.or(any));
        let is_acceptable = chinese.is_some_and(|(quality, _)| quality > 0);
        if is_acceptable && chinese > english { Language::Chinese } else { Language::English }
    }

    /// Whether a range means all of it: its tag, or the beginning of that.
    fn is_within(self, range: &str) -> bool {
        let primary = self.tag().split('-').next().unwrap_or("");
        range.eq_ignore_ascii_case(primary) || range.eq_ignore_ascii_case(self.tag())
    }

    pub(crate) fn of_header(header: Option<&HeaderValue>) -> Language {
        header.and_then(|header| header.to_str().ok()).map_or(Language::English, Language::accepted)
    }

    /// As `Content-Language` says it.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Chinese => "zh-Hans",
        }
    }
}

/// How much a language is liked, in thousandths; of two that are liked as much the first is meant.
type Liked = Option<(u32, Reverse<usize>)>;

/// The language of a tag such as `zh-CN`. Whoever asks for another script of Chinese reads this one sooner
/// than English.
fn of_tag(tag: &str) -> Option<Language> {
    let primary = tag.split('-').next().unwrap_or("");
    if primary.eq_ignore_ascii_case("en") {
        return Some(Language::English);
    }
    primary.eq_ignore_ascii_case("zh").then_some(Language::Chinese)
}

/// `q=0.8` in thousandths: 0 to 1 with at most three decimals. Nothing for what is no quality.
fn thousandths(weight: &str) -> Option<u32> {
    let (name, value) = weight.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let (whole, fraction) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let thousandths = format!("{fraction:0<3}").parse::<u32>().ok().filter(|_| digits)?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1_000),
        _ => None,
    }
}

/// A sentence for people, in each language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) english: Cow<'static, str>,
    pub(crate) chinese: Cow<'static, str>,
}

impl Said {
    pub(crate) fn new(english: impl Into<Cow<'static, str>>, chinese: impl Into<Cow<'static, str>>) -> Said {
        Said { english: english.into(), chinese: chinese.into() }
    }

    pub(crate) fn in_language(&self, language: Language) -> &str {
        match language {
            Language::English => &self.english,
            Language::Chinese => &self.chinese,
        }
    }
}

impl<E: Chinese + std::fmt::Display> From<&E> for Said {
    fn from(error: &E) -> Said {
        Said::new(error.to_string(), error.chinese())
    }
}

/// A text in the language of whoever asks.
impl OutputType for Said {
    fn type_name() -> Cow<'static, str> {
        <String as OutputType>::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        <String as OutputType>::create_type_info(registry)
    }

    fn introspection_type_name(&self) -> Cow<'static, str> {
        <Self as OutputType>::type_name()
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, _field: &Positioned<Field>) -> ServerResult<Value> {
        let language = ctx.data_opt::<Language>().copied().unwrap_or_default();
        Ok(Value::String(self.in_language(language).to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_one_that_is_liked_best() {
        use Language::{Chinese, English};
        for (header, language) in [
            ("", English),
            ("en", English),
            ("zh", Chinese),
            ("zh-CN", Chinese),
            ("ZH-hans-cn", Chinese),
            ("zh-TW", Chinese),
            ("zha", English),
            ("fr", English),
            ("*", English),
            ("zh-CN,zh;q=0.9,en;q=0.8", Chinese),
            ("en-US,en;q=0.9,zh-CN;q=0.8", English),
            ("en;q=0.5, zh-CN;q=0.7", Chinese),
            ("fr, zh;q=0.1", Chinese),
            ("en;q=0, zh;q=0", English),
            ("zh;q=0", English),
            ("zh;q=0.0, en;q=0.001", English),
            ("zh;q=1.000", Chinese),
            ("zh;q=1.001", English),
            ("zh;q=0.1234", English),
            ("zh;q=high", English),
            ("zh ; q=0.5 , en;q=0.4", Chinese),
            ("en;q=0, *", Chinese),
            ("*, EN ;q=0.000", Chinese),
            ("en;q=0.2, *;q=0.5", Chinese),
            ("zh, *", Chinese),
            ("*, zh;q=0.9", English),
            ("zh;q=0, *", English),
            ("en;q=0", English),
            ("en;q=0, *;q=0", English),
            ("en;q=0, zh-Hans;q=0, *", English),
            ("en-GB;q=0, *", English),
            ("en;q=0, zh-TW;q=0, *", Chinese),
            (";;;,,q=,zh;=", English),
        ] {
            assert_eq!(Language::accepted(header), language, "{header:?}");
        }
        assert_eq!(Language::accepted(&"zh,".repeat(1_000)), English, "longer than anybody sends");
    }
}
