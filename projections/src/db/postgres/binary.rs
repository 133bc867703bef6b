//! Values in Postgres's binary form (its source, `src/backend/utils/adt`, functions `…_send` and `…_recv`).

use std::borrow::Cow;

use jiff::{SignedDuration, civil::Date};
use sqlx::{
    Encode, Postgres, Row as _, Type, TypeInfo, ValueRef as _,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgRow, PgTypeInfo, PgValueFormat, types::Oid},
};
use uuid::Uuid;

use crate::{Kind, Misfit, SqlError, Value};

/// Microseconds from 1970, where ours begin, to 2000, where Postgres's do.
const TIME_OFFSET: i64 = 946_684_800_000_000;
/// The first and the last moment that a timestamptz can be, in Postgres's microseconds.
const TIMES: (i64, i64) = (-211_813_488_000_000_000, 9_223_371_331_199_999_999);
const DAY_ZERO: Date = jiff::civil::date(2000, 1, 1);
/// 24 November 4714 BC, before which there are no dates in Postgres, in days since [`DAY_ZERO`].
const FIRST_DAY: i32 = -2_451_545;

/// The built-in types that views use or sums and counts give, by their fixed ids.
mod oid {
    pub(super) const BOOL: u32 = 16;
    pub(super) const NAME: u32 = 19;
    pub(super) const INT8: u32 = 20;
    pub(super) const INT2: u32 = 21;
    pub(super) const INT4: u32 = 23;
    pub(super) const TEXT: u32 = 25;
    pub(super) const JSON: u32 = 114;
    pub(super) const UNKNOWN: u32 = 705;
    pub(super) const VARCHAR: u32 = 1043;
    pub(super) const DATE: u32 = 1082;
    pub(super) const TIMESTAMPTZ: u32 = 1184;
    pub(super) const NUMERIC: u32 = 1700;
    pub(super) const UUID: u32 = 2950;
    pub(super) const JSONB: u32 = 3802;
}

/// What Postgres calls a kind of column, and the ids of that type and of its arrays.
pub(super) struct SqlType {
    pub(super) name: &'static str,
    pub(super) oid: u32,
    pub(super) array: u32,
}

pub(super) const fn sql_type(kind: Kind) -> SqlType {
    let (name, oid, array) = match kind {
        Kind::Integer => ("bigint", oid::INT8, 1016),
        Kind::Boolean => ("boolean", oid::BOOL, 1000),
        Kind::Text => ("text", oid::TEXT, 1009),
        Kind::Json => ("jsonb", oid::JSONB, 3807),
        Kind::Uuid => ("uuid", oid::UUID, 2951),
        Kind::Time => ("timestamptz", oid::TIMESTAMPTZ, 1185),
        Kind::Date => ("date", oid::DATE, 1182),
    };
    SqlType { name, oid, array }
}

/// Appends the value with its length before it, as in an array and in a copy. A null is a length of -1.
pub(super) fn put_field(kind: Kind, value: &Value<'_>, into: &mut Vec<u8>) -> Result<(), Misfit> {
    let start = into.len();
    into.extend_from_slice(&(-1_i32).to_be_bytes());
    if put(kind, value, into)? {
        let length = into.len() - start - 4;
        let length = i32::try_from(length).map_err(|_| Misfit(format!("a value of {length} bytes is too long")))?;
        into[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// Appends the value's bytes. False when there are none: it is null.
pub(super) fn put(kind: Kind, value: &Value<'_>, into: &mut Vec<u8>) -> Result<bool, Misfit> {
    match (kind, value) {
        (_, Value::Null) => return Ok(false),
        (Kind::Integer, Value::Integer(number)) => into.extend_from_slice(&number.to_be_bytes()),
        (Kind::Boolean, Value::Integer(number)) => into.push(u8::from(*number != 0)),
        (Kind::Time, Value::Integer(micros)) => {
            let micros = micros.saturating_sub(TIME_OFFSET).clamp(TIMES.0, TIMES.1);
            into.extend_from_slice(&micros.to_be_bytes());
        }
        (Kind::Text, Value::Text(text)) => into.extend_from_slice(without_nul(text)?),
        (Kind::Json, Value::Text(text)) => {
            // The version of jsonb's binary form.
            into.push(1);
            into.extend_from_slice(without_escaped_nul(text)?);
        }
        (Kind::Uuid, Value::Uuid(id)) => into.extend_from_slice(id.as_bytes()),
        (Kind::Date, Value::Text(text)) => into.extend_from_slice(&days(text)?.to_be_bytes()),
        (kind, other) => {
            let shown: String = format!("{other:?}").chars().take(60).collect();
            return Err(Misfit(format!("{shown} is not what a column of kind {kind:?} holds")));
        }
    }
    Ok(true)
}

fn without_nul(text: &str) -> Result<&[u8], Misfit> {
    match text.find('\0') {
        None => Ok(text.as_bytes()),
        Some(at) => Err(Misfit(format!("a text has the character NUL at byte {at}, which Postgres cannot hold"))),
    }
}

/// JSON has NUL in its texts as an escape, which jsonb refuses to the whole statement. Behind a backslash that is
/// itself escaped it is none.
fn without_escaped_nul(json: &str) -> Result<&[u8], Misfit> {
    let is_escape = |at: usize| json[..at].bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 0;
    match json.match_indices("\\u0000").find(|(at, _)| is_escape(*at)) {
        None => without_nul(json),
        Some((at, _)) => Err(Misfit(format!("JSON has the character NUL at byte {at}, which Postgres cannot hold"))),
    }
}

/// Days since 2000-01-01.
fn days(text: &str) -> Result<i32, Misfit> {
    let date: Date = text.parse().map_err(|error| Misfit(format!("{text:?} is not a day: {error}")))?;
    let days = date.duration_since(DAY_ZERO).as_hours() / 24;
    match i32::try_from(days) {
        Ok(days) if days >= FIRST_DAY => Ok(days),
        _ => Err(Misfit(format!("{text} is before the first day that Postgres knows"))),
    }
}

/// A parameter that stands in binary form already.
pub(super) struct Encoded<'a> {
    pub(super) oid: u32,
    pub(super) bytes: Option<&'a [u8]>,
}

impl Type<Postgres> for Encoded<'_> {
    // Never asked for: `produces` says it of each value.
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(oid::UNKNOWN))
    }
}

impl Encode<'_, Postgres> for Encoded<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Ok(match self.bytes {
            Some(bytes) => {
                buffer.extend_from_slice(bytes);
                IsNull::No
            }
            None => IsNull::Yes,
        })
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(self.oid)))
    }

    fn size_hint(&self) -> usize {
        self.bytes.map_or(0, <[u8]>::len)
    }
}

/// The column with this index, from 0, as its type in the database says.
pub(in crate::db) fn value(row: &PgRow, index: usize) -> Result<Value<'_>, SqlError> {
    let raw = row.try_get_raw(index)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let misfit = |what: String| SqlError::Misfit(Misfit(format!("column {index} holds {what}")));
    if raw.format() != PgValueFormat::Binary {
        return Err(misfit("a value in text form; it has to be asked for by a prepared statement".into()));
    }
    let bytes = raw.as_bytes().map_err(|error| misfit(error.to_string()))?;
    let info = raw.type_info();
    let oid = info.oid().map_or(0, |oid| oid.0);
    decode(oid, bytes).map_err(|Unreadable(why)| {
        misfit(match why {
            Some(why) => why,
            None => format!("{} bytes of type {}, which views do not use", bytes.len(), info.name()),
        })
    })
}

/// Why a value cannot be read, when it is not for its type or its length.
struct Unreadable(Option<String>);

fn decode(oid: u32, bytes: &[u8]) -> Result<Value<'_>, Unreadable> {
    Ok(match oid {
        oid::BOOL => Value::Integer(i64::from(fixed::<1>(bytes)? != [0])),
        oid::INT2 => Value::Integer(i16::from_be_bytes(fixed(bytes)?).into()),
        oid::INT4 => Value::Integer(i32::from_be_bytes(fixed(bytes)?).into()),
        oid::INT8 => Value::Integer(i64::from_be_bytes(fixed(bytes)?)),
        oid::NUMERIC => Value::Integer(whole(bytes)?),
        oid::TEXT | oid::VARCHAR | oid::NAME | oid::UNKNOWN | oid::JSON => Value::Text(Cow::Borrowed(text(bytes)?)),
        oid::JSONB => match bytes {
            [1, json @ ..] => Value::Text(Cow::Borrowed(text(json)?)),
            _ => return Err(Unreadable(Some("jsonb of an unknown version".into()))),
        },
        oid::UUID => Value::Uuid(Uuid::from_bytes(fixed(bytes)?)),
        oid::TIMESTAMPTZ => Value::Integer(i64::from_be_bytes(fixed(bytes)?).saturating_add(TIME_OFFSET)),
        oid::DATE => {
            let days = i32::from_be_bytes(fixed(bytes)?);
            let date = DAY_ZERO.checked_add(SignedDuration::from_hours(i64::from(days) * 24));
            let date = date.map_err(|error| Unreadable(Some(format!("a day that cannot be written: {error}"))))?;
            Value::Text(Cow::Owned(date.to_string()))
        }
        _ => return Err(Unreadable(None)),
    })
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Unreadable> {
    bytes.try_into().map_err(|_| Unreadable(None))
}

fn text(bytes: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(bytes).map_err(|_| Unreadable(Some("text that is not UTF-8".into())))
}

/// A numeric that is a whole number: what a sum of bigints gives. Four 16-bit words (count of digits,
/// weight of the first, sign, scale), then digits to the base 10,000.
fn whole(bytes: &[u8]) -> Result<i64, Unreadable> {
    let unfit = || Unreadable(Some("a number that is not whole, or too large".into()));
    let mut words = bytes.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]]));
    let mut next = || words.next().ok_or_else(unfit);
    let (count, weight, sign, _scale) = (next()?, next()?.cast_signed(), next()?, next()?);
    let mut number: i128 = 0;
    for place in 0..i32::from(count) {
        let digit = i128::from(next()?);
        if place <= i32::from(weight) {
            number = number.checked_mul(10_000).and_then(|number| number.checked_add(digit)).ok_or_else(unfit)?;
        } else if digit != 0 {
            return Err(unfit());
        }
    }
    // Zeros at the end are left out.
    for _ in i32::from(count)..=i32::from(weight) {
        number = number.checked_mul(10_000).ok_or_else(unfit)?;
    }
    match sign {
        0x0000 => i64::try_from(number).map_err(|_| unfit()),
        0x4000 => i64::try_from(-number).map_err(|_| unfit()),
        _ => Err(unfit()),
    }
}
