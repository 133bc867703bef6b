//! Personal data, sealed with a key of its person's own: who deletes the key erases the person.
//!
//! AES-256-GCM (NIST SP 800-38D). A value is bound to its tenant, person and field, so that it opens
//! nowhere else. Its nonce is drawn from the value itself, by HMAC-SHA256 under the same person's key
//! (a synthetic nonce, as in RFC 5297), so that the same value seals to the same bytes: a repeat is
//! seen without opening anything, and nothing here needs randomness.

use std::{borrow::Cow, fmt, marker::PhantomData};

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use zeroize::{Zeroize, Zeroizing};

use crate::{CompanyId, DinerId, TenantId};

/// Bytes of a key.
pub const KEY_LEN: usize = 32;
/// Most bytes of a sealed value, its tag included.
pub const MAX_SEALED: usize = 8 * 1024;
/// What is sealed is filled up to a multiple of so many bytes, so that its length says little.
const BLOCK: usize = 128;

/// What stands in a [`Personal`] field.
pub trait PersonalData: Serialize + DeserializeOwned {
    /// The field's name, to which the sealed value is bound. It never changes.
    const FIELD: &'static str;
}

/// Whose data it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Person {
    pub tenant: TenantId,
    pub diner: DinerId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("personal data of one field has at most {MAX_SEALED} bytes once it is sealed")]
    TooLong,
    #[error("personal data cannot be sealed")]
    Failed,
}

/// Another key, another person or field, or damage: which it is cannot be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("personal data does not open with this key")]
pub struct WrongKey;

/// Thirty-two secret bytes, overwritten when they are let go of.
#[derive(Clone, PartialEq, Eq)]
struct Secret(Box<[u8; KEY_LEN]>);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Secret {
    /// A key for one purpose, so that no two purposes share one.
    fn derived(&self, purpose: &str) -> Secret {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &*self.0), purpose.as_bytes());
        let mut bytes = Box::new([0; KEY_LEN]);
        bytes.copy_from_slice(tag.as_ref());
        Secret(bytes)
    }

    fn mac(&self, purpose: &str, parts: &[&[u8]]) -> [u8; KEY_LEN] {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &*self.derived(purpose).0));
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let mut mac = [0; KEY_LEN];
        mac.copy_from_slice(context.sign().as_ref());
        mac
    }
}

/// A person's key.
#[derive(Clone, PartialEq, Eq)]
pub struct PersonKey(Secret);

/// A tenant's key, under which outside ids of its people are looked up.
#[derive(Clone, PartialEq, Eq)]
pub struct LookupKey(Secret);

macro_rules! keys {
    ($($name:ident)*) => {$(
        impl $name {
            /// Takes bytes that were drawn at random.
            pub fn new(bytes: &[u8; KEY_LEN]) -> Self {
                $name(Secret(Box::new(*bytes)))
            }

            /// For whoever keeps it, and for nothing else.
            pub fn reveal(&self) -> &[u8; KEY_LEN] {
                &self.0.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )*};
}

keys! { PersonKey LookupKey }

/// What an outside id is found by: its HMAC under its tenant's [`LookupKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutsideId(pub [u8; KEY_LEN]);

impl LookupKey {
    /// What a company's employee number is found by. Space around the number does not count.
    pub fn employee(&self, company: CompanyId, number: &str) -> OutsideId {
        OutsideId(self.0.mac("employee number", &[company.0.as_bytes(), number.trim().as_bytes()]))
    }
}

impl OutsideId {
    /// The id of the diner that a company names first by this: in every process the same.
    pub fn diner(&self, tenant: TenantId, company: CompanyId) -> DinerId {
        let parts: [&[u8]; 4] = [b"employee", tenant.0.as_bytes(), company.0.as_bytes(), &self.0];
        DinerId(crate::derived_id(uuid::Uuid::nil(), &parts))
    }
}

impl PersonKey {
    /// A digest of a caller's input that holds personal data: the same input, the same digest, and
    /// without the key it tells nothing.
    pub fn digest(&self, input: &impl Serialize) -> [u8; 16] {
        // Input types are plain data, which serialises; as for digests without a key.
        let bytes = Zeroizing::new(serde_json::to_vec(input).unwrap_or_default());
        let mut digest = [0; 16];
        digest.copy_from_slice(&self.0.mac("digest", &[&bytes])[..16]);
        digest
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        let key = UnboundKey::new(&AES_256_GCM, &*self.0.derived("seal").0).ok()?;
        Some(LessSafeKey::new(key))
    }
}

/// What a sealed value is bound to.
fn binding(person: Person, field: &str) -> Vec<u8> {
    [person.tenant.0.as_bytes(), person.diner.0.as_bytes(), field.as_bytes()].concat()
}

/// A value about a person, sealed. In JSON `{"nonce": …, "sealed": …}`, both in base64.
pub struct Personal<T> {
    nonce: [u8; NONCE_LEN],
    sealed: Vec<u8>,
    of: PhantomData<fn() -> T>,
}

impl<T: PersonalData> Personal<T> {
    /// Seals a value with its person's key. The same again gives the same bytes.
    ///
    /// # Errors
    /// When it is longer than [`MAX_SEALED`].
    pub fn seal(value: &T, person: Person, key: &PersonKey) -> Result<Self, SealError> {
        let plain = Zeroizing::new(serde_json::to_vec(value).map_err(|_| SealError::Failed)?);
        let filled = plain.len().next_multiple_of(BLOCK);
        if filled + MAX_TAG_LEN > MAX_SEALED {
            return Err(SealError::TooLong);
        }
        let bound = binding(person, T::FIELD);
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&key.0.mac("nonce", &[&bound, &plain])[..NONCE_LEN]);
        // Room for the tag, so that the plain text is never moved and left behind.
        let mut sealed = Vec::with_capacity(filled + MAX_TAG_LEN);
        sealed.extend_from_slice(&plain);
        // JSON may end in space.
        sealed.resize(filled, b' ');
        let cipher = key.cipher().ok_or(SealError::Failed)?;
        cipher
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound), &mut sealed)
            .map_err(|_| SealError::Failed)?;
        Ok(Personal { nonce, sealed, of: PhantomData })
    }

    /// Opens it again.
    ///
    /// # Errors
    /// When it was sealed with another key, or for another person or field.
    pub fn open(&self, person: Person, key: &PersonKey) -> Result<T, WrongKey> {
        let mut bytes = Zeroizing::new(self.sealed.clone());
        let bound = Aad::from(binding(person, T::FIELD));
        let cipher = key.cipher().ok_or(WrongKey)?;
        let plain =
            cipher.open_in_place(Nonce::assume_unique_for_key(self.nonce), bound, &mut bytes).map_err(|_| WrongKey)?;
        serde_json::from_slice(plain).map_err(|_| WrongKey)
    }
}

impl<T> Clone for Personal<T> {
    fn clone(&self) -> Self {
        Personal { nonce: self.nonce, sealed: self.sealed.clone(), of: PhantomData }
    }
}

impl<T> PartialEq for Personal<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.nonce, &self.sealed) == (other.nonce, &other.sealed)
    }
}

impl<T> fmt::Debug for Personal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Personal(sealed)")
    }
}

/// As it stands in JSON.
#[derive(Serialize, Deserialize, JsonSchema)]
struct Shape<'a> {
    #[serde(borrow)]
    nonce: Cow<'a, str>,
    #[serde(borrow)]
    sealed: Cow<'a, str>,
}

impl<T> Serialize for Personal<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [nonce, sealed] = [&self.nonce[..], &self.sealed].map(|bytes| BASE64_STANDARD.encode(bytes).into());
        Shape { nonce, sealed }.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Personal<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let Shape { nonce, sealed } = Shape::deserialize(deserializer)?;
        if sealed.len() > MAX_SEALED * 2 {
            return Err(D::Error::custom("sealed data is too long"));
        }
        let bytes = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| D::Error::custom("not base64"));
        let nonce = bytes(&nonce)?.try_into().map_err(|_| D::Error::custom("a nonce has 12 bytes"))?;
        Ok(Personal { nonce, sealed: bytes(&sealed)?, of: PhantomData })
    }
}

impl<T> JsonSchema for Personal<T> {
    fn schema_name() -> Cow<'static, str> {
        "Personal".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Shape::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{diner, id};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note(String);

    impl PersonalData for Note {
        const FIELD: &'static str = "test.note";
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Other(String);

    impl PersonalData for Other {
        const FIELD: &'static str = "test.other";
    }

    fn person(tenant: u8, number: u8) -> Person {
        Person { tenant: TenantId(id(tenant)), diner: diner(number) }
    }

    fn key(number: u8) -> PersonKey {
        PersonKey::new(&[number; KEY_LEN])
    }

    fn note() -> Note {
        Note("Ada Lovelace".into())
    }

    #[test]
    fn what_is_sealed_opens_for_its_person_alone() {
        let sealed = Personal::seal(&note(), person(1, 2), &key(3)).unwrap();
        assert_eq!(sealed.open(person(1, 2), &key(3)), Ok(note()));
        for (person, key) in [(person(1, 3), key(3)), (person(2, 2), key(3)), (person(1, 2), key(4))] {
            assert_eq!(sealed.open(person, &key), Err(WrongKey));
        }
        // The same bytes in another field.
        let moved: Personal<Other> = serde_json::from_str(&serde_json::to_string(&sealed).unwrap()).unwrap();
        assert_eq!(moved.open(person(1, 2), &key(3)), Err(WrongKey));
        let mut damaged = sealed.clone();
        damaged.sealed[0] ^= 1;
        assert_eq!(damaged.open(person(1, 2), &key(3)), Err(WrongKey));
    }

    #[test]
    fn the_same_seals_to_the_same_and_anything_else_to_another_nonce() {
        let seal = |text: &str, of, with: &PersonKey| Personal::seal(&Note(text.into()), of, with).unwrap();
        let sealed = seal("Ada", person(1, 2), &key(3));
        assert_eq!(seal("Ada", person(1, 2), &key(3)), sealed);
        for other in
            [seal("Eve", person(1, 2), &key(3)), seal("Ada", person(1, 3), &key(3)), seal("Ada", person(1, 2), &key(4))]
        {
            assert_ne!(other.nonce, sealed.nonce);
        }
        assert_eq!(seal("A longer name by far", person(1, 2), &key(3)).sealed.len(), sealed.sealed.len());
    }

    #[test]
    fn nothing_shows_what_is_in_it() {
        let sealed = Personal::seal(&note(), person(1, 2), &key(3)).unwrap();
        let shown = format!("{sealed:?} {:?} {}", key(3), serde_json::to_string(&sealed).unwrap());
        assert!(!shown.contains("Ada") && !shown.contains("[3, 3"), "{shown}");
        let read: Personal<Note> = serde_json::from_str(&serde_json::to_string(&sealed).unwrap()).unwrap();
        assert_eq!(read, sealed);
        for broken in [r#"{"nonce":"AAAA","sealed":"AAAA"}"#, r#"{"nonce":"?","sealed":""}"#, "{}", "\"Ada\""] {
            assert!(serde_json::from_str::<Personal<Note>>(broken).is_err(), "{broken}");
        }
        let long = Note("x".repeat(MAX_SEALED));
        assert_eq!(Personal::seal(&long, person(1, 2), &key(3)), Err(SealError::TooLong));
    }

    #[test]
    fn digests_and_outside_ids_need_their_key() {
        assert_eq!(key(3).digest(&note()), key(3).digest(&note()));
        assert_ne!(key(3).digest(&note()), key(4).digest(&note()));
        assert_ne!(key(3).digest(&note()), key(3).digest(&Note("Eve".into())));
        let lookup = |number: u8| LookupKey::new(&[number; KEY_LEN]);
        let (company, other) = (CompanyId(id(5)), CompanyId(id(6)));
        let found = lookup(1).employee(company, "0042");
        assert_eq!(found, lookup(1).employee(company, " 0042 "));
        for another in
            [lookup(2).employee(company, "0042"), lookup(1).employee(other, "0042"), lookup(1).employee(company, "42")]
        {
            assert_ne!(found, another);
        }
        let of = |tenant, company| found.diner(TenantId(id(tenant)), company);
        assert_eq!(of(1, company), of(1, company));
        assert_ne!(of(1, company), of(2, company));
        assert_ne!(of(1, company), of(1, other));
    }
}
