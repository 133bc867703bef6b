//! What is known of a diner as a person. It is only ever recorded sealed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::personal::PersonalData;

/// Most characters of a name.
pub const MAX_NAME: usize = 200;
/// Most characters of an employee number.
pub const MAX_EMPLOYEE_NUMBER: usize = 64;
/// Most characters of a phone number.
pub const MAX_PHONE: usize = 32;

/// A diner's name, and how their company and their canteen know them. [`Details::new`] checks it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    pub name: String,
    /// As their company counts its people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub employee_number: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
}

impl PersonalData for Details {
    const FIELD: &'static str = "diner.details";
}

/// What is wrong, never with the text itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DetailsError {
    #[error("a name has 1 to {MAX_NAME} characters and no control characters")]
    BadName,
    #[error("an employee number has 1 to {MAX_EMPLOYEE_NUMBER} characters and no control characters")]
    BadEmployeeNumber,
    #[error("a phone number has 3 to {MAX_PHONE} digits, spaces and signs of +-()/.")]
    BadPhone,
}

impl DetailsError {
    /// The field that is wrong.
    pub fn field(self) -> &'static str {
        match self {
            DetailsError::BadName => "name",
            DetailsError::BadEmployeeNumber => "employee_number",
            DetailsError::BadPhone => "phone",
        }
    }
}

fn is_text(text: &str, most: usize) -> bool {
    let characters = text.chars().count();
    (1..=most).contains(&characters) && !text.chars().any(char::is_control)
}

/// An employee number without the space around it.
///
/// # Errors
/// When it is empty or too long.
pub fn employee_number(text: &str) -> Result<String, DetailsError> {
    let text = text.trim();
    if is_text(text, MAX_EMPLOYEE_NUMBER) { Ok(text.to_owned()) } else { Err(DetailsError::BadEmployeeNumber) }
}

fn is_phone(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let known = |sign: char| sign.is_ascii_digit() || " +-()/.".contains(sign);
    digits >= 3 && text.chars().count() <= MAX_PHONE && text.chars().all(known)
}

impl Details {
    /// Takes texts without the space around them.
    ///
    /// # Errors
    /// Names the field that is empty, too long, or no text of its kind.
    pub fn new(name: &str, number: Option<&str>, phone: Option<&str>) -> Result<Details, DetailsError> {
        let (name, phone) = (name.trim(), phone.map(str::trim));
        if !is_text(name, MAX_NAME) {
            return Err(DetailsError::BadName);
        }
        if phone.is_some_and(|phone| !is_phone(phone)) {
            return Err(DetailsError::BadPhone);
        }
        let employee_number = number.map(self::employee_number).transpose()?;
        Ok(Details { name: name.to_owned(), employee_number, phone: phone.map(str::to_owned) })
    }
}

impl fmt::Debug for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Details(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_trimmed_and_bounded() {
        let details = Details::new(" Ada Lovelace ", Some(" 0042 "), Some("+86 (10) 555-0100")).unwrap();
        assert_eq!((&*details.name, details.employee_number.as_deref()), ("Ada Lovelace", Some("0042")));
        assert_eq!(Details::new(&"é".repeat(MAX_NAME), None, None).unwrap().phone, None);
        let long = "1".repeat(MAX_NAME + 1);
        for (name, number, phone, wrong) in [
            (" ", None, None, DetailsError::BadName),
            (&*long, None, None, DetailsError::BadName),
            ("A\u{7}da", None, None, DetailsError::BadName),
            ("Ada", Some(" "), None, DetailsError::BadEmployeeNumber),
            ("Ada", Some(&*long), None, DetailsError::BadEmployeeNumber),
            ("Ada", None, Some("Ada"), DetailsError::BadPhone),
            ("Ada", None, Some(""), DetailsError::BadPhone),
            ("Ada", None, Some(&long[..MAX_PHONE + 1]), DetailsError::BadPhone),
        ] {
            let error = Details::new(name, number, phone).unwrap_err();
            assert_eq!(error, wrong);
            assert!(!format!("{error} {error:?}").contains("Ada"));
        }
        assert_eq!(format!("{details:?}"), "Details(…)");
    }
}
