//! What `COPY … TO STDOUT (FORMAT binary)` gives: rows of raw values, at a fraction of what a row costs
//! as the answer to a query.

use sqlx::error::BoxDynError;

/// With what the binary form begins, in version 1 of it.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Flags that whoever does not know them must not ignore.
const CRITICAL: u32 = 0xffff_0000;

/// A value in binary form; none for NULL.
pub(super) type Value<'a> = Option<&'a [u8]>;

/// The rows, one after the other.
pub(super) struct Copied<'a>(Bytes<'a>);

impl<'a> Copied<'a> {
    /// # Errors
    /// When it does not begin as the binary form does.
    pub(super) fn new(copied: &'a [u8]) -> Result<Copied<'a>, BoxDynError> {
        let mut bytes = Bytes(copied);
        if bytes.take(SIGNATURE.len())? != SIGNATURE {
            return Err("a copy does not begin as one".into());
        }
        let flags = u32::from_be_bytes(bytes.array()?);
        if flags & CRITICAL != 0 {
            return Err(format!("a copy has the flags {flags:#x}, which are not known").into());
        }
        let extension = u32::from_be_bytes(bytes.array()?);
        bytes.take(extension as usize)?;
        Ok(Copied(bytes))
    }

    /// The next row; none after the last.
    ///
    /// # Errors
    /// When it is cut off, or has not `N` columns.
    #[inline]
    pub(super) fn row<const N: usize>(&mut self) -> Result<Option<[Value<'a>; N]>, BoxDynError> {
        let columns = i16::from_be_bytes(self.0.array()?);
        if usize::try_from(columns) != Ok(N) {
            return self.end(columns, N).map(|()| None);
        }
        let mut row = [None; N];
        for value in &mut row {
            *value = match i32::from_be_bytes(self.0.array()?) {
                -1 => None,
                // A length below 0 becomes one that no copy has.
                length => Some(self.0.take(length as usize)?),
            };
        }
        Ok(Some(row))
    }

    #[cold]
    fn end(&self, columns: i16, expected: usize) -> Result<(), BoxDynError> {
        match columns {
            -1 if self.0.0.is_empty() => Ok(()),
            -1 => Err("a copy goes on after its end".into()),
            _ => Err(format!("a copy has {columns} columns where {expected} belong").into()),
        }
    }
}

/// What is still to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], BoxDynError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(cut_off)?;
        self.0 = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], BoxDynError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(cut_off)?;
        self.0 = rest;
        Ok(*taken)
    }
}

#[cold]
fn cut_off() -> BoxDynError {
    "a copy is cut off".into()
}

/// A value of `N` bytes.
///
/// # Errors
/// When it is NULL or of another length.
#[inline]
pub(super) fn fixed<const N: usize>(value: Value<'_>) -> Result<[u8; N], BoxDynError> {
    value.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| wrong(value, N))
}

/// A value of `N` bytes, or NULL.
///
/// # Errors
/// When it is of another length.
#[inline]
pub(super) fn optional<const N: usize>(value: Value<'_>) -> Result<Option<[u8; N]>, BoxDynError> {
    if value.is_none() { Ok(None) } else { fixed(value).map(Some) }
}

#[cold]
fn wrong(value: Value<'_>, length: usize) -> BoxDynError {
    match value {
        Some(bytes) => format!("{} bytes where {length} belong", bytes.len()).into(),
        None => format!("NULL where {length} bytes belong").into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rows as the server writes them.
    fn copy_of(rows: &[[Option<Vec<u8>>; 3]]) -> Vec<u8> {
        let mut copy = [SIGNATURE, &[0, 0, 0, 1], &[0, 0, 0, 2], b"ex"].concat();
        for row in rows {
            copy.extend(3i16.to_be_bytes());
            for value in row {
                copy.extend(value.as_ref().map_or(-1, |value| value.len() as i32).to_be_bytes());
                copy.extend(value.iter().flatten());
            }
        }
        copy.extend((-1i16).to_be_bytes());
        copy
    }

    fn read(copy: &[u8]) -> Result<Vec<[Option<Vec<u8>>; 3]>, String> {
        let read = || {
            let (mut copied, mut rows) = (Copied::new(copy)?, vec![]);
            while let Some(row) = copied.row()? {
                rows.push(row.map(|value| value.map(<[u8]>::to_vec)));
            }
            Ok(rows)
        };
        read().map_err(|error: BoxDynError| error.to_string())
    }

    #[test]
    fn what_is_no_copy_is_an_error() {
        let good = copy_of(&[[Some(vec![7; 8]), None, Some(vec![])]]);
        // The row's column count comes after 11, 4, 4 and 2 bytes, then the first length.
        let with = |at: usize, bytes: &[u8]| {
            let mut copy = good.clone();
            copy[at..at + bytes.len()].copy_from_slice(bytes);
            read(&copy).unwrap_err()
        };
        assert_eq!(with(0, b"p"), "a copy does not begin as one");
        assert_eq!(with(11, &[0, 1]), "a copy has the flags 0x10001, which are not known");
        assert_eq!(with(15, &[255; 4]), "a copy is cut off");
        assert_eq!(with(21, &[0, 4]), "a copy has 4 columns where 3 belong");
        assert_eq!(with(21, &[255, 254]), "a copy has -2 columns where 3 belong");
        assert_eq!(with(23, &[127, 255, 255, 255]), "a copy is cut off");
        assert_eq!(with(23, &[255, 255, 255, 254]), "a copy is cut off");
        assert_eq!(read(&[&good, &[0][..]].concat()).unwrap_err(), "a copy goes on after its end");
    }

    #[test]
    fn a_value_has_its_length() {
        assert_eq!(fixed(Some(&[1, 2])).unwrap(), [1, 2]);
        assert_eq!(fixed::<2>(Some(&[1])).unwrap_err().to_string(), "1 bytes where 2 belong");
        assert_eq!(fixed::<2>(Some(&[1, 2, 3])).unwrap_err().to_string(), "3 bytes where 2 belong");
        assert_eq!(fixed::<2>(None).unwrap_err().to_string(), "NULL where 2 bytes belong");
        assert_eq!(optional::<2>(None).unwrap(), None);
        assert_eq!(optional::<2>(Some(&[])).unwrap_err().to_string(), "0 bytes where 2 belong");
    }

    proptest! {
        #[test]
        fn gives_back_the_rows(
            rows in prop::collection::vec(prop::array::uniform3(prop::option::of(any::<Vec<u8>>())), 0..5),
        ) {
            let copy = copy_of(&rows);
            prop_assert_eq!(read(&copy), Ok(rows));
            for length in 0..copy.len() {
                prop_assert_eq!(read(&copy[..length]), Err("a copy is cut off".to_owned()));
            }
        }

        #[test]
        fn takes_anything_without_a_panic(bytes in any::<Vec<u8>>()) {
            let _ = read(&[&copy_of(&[])[..21], &bytes].concat());
            let _ = read(&bytes);
        }
    }
}
