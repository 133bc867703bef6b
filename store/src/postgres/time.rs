//! Times as Postgres has them: microseconds since 2000, back to 4713 BC.

use domain::Timestamp;
use sqlx::{
    Decode, Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef, types::Oid},
};

use crate::StoreError;

/// 2000-01-01, in microseconds since 1970.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;
/// The first instant of `timestamptz`, 4713 BC, in microseconds since 1970. Its last lies beyond every
/// [`Timestamp`].
const FIRST: i64 = -211_813_488_000_000_000 + POSTGRES_EPOCH;

/// A `timestamptz`, exact to the microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PgTime(i64);

impl PgTime {
    /// # Errors
    /// [`StoreError::Unusable`] for a time before 4713 BC.
    pub(super) fn new(at: Timestamp) -> Result<PgTime, StoreError> {
        if at.micros < FIRST {
            return Err(StoreError::Unusable(format!(
                "{} microseconds since 1970 lie before 4713 BC, where the times of Postgres begin",
                at.micros
            )));
        }
        Ok(PgTime(at.micros - POSTGRES_EPOCH))
    }

    /// From its binary form.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<PgTime, BoxDynError> {
        Ok(PgTime(i64::from_be_bytes(bytes.try_into()?)))
    }

    pub(super) fn timestamp(self) -> Timestamp {
        Timestamp::from_micros(self.0.saturating_add(POSTGRES_EPOCH))
    }
}

// The numbers of timestamptz and of an array of it, which every Postgres has.
impl Type<Postgres> for PgTime {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1184))
    }
}

impl PgHasArrayType for PgTime {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1185))
    }
}

impl Encode<'_, Postgres> for PgTime {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <i64 as Encode<Postgres>>::encode_by_ref(&self.0, buffer)
    }
}

impl Decode<'_, Postgres> for PgTime {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        match value.format() {
            PgValueFormat::Binary => PgTime::from_bytes(value.as_bytes()?),
            PgValueFormat::Text => Err("a time must be asked for in binary form".into()),
        }
    }
}
