//! The keys that personal data is sealed with: apart from the log, its exports and its backups.
//!
//! A person has one key, made on first use. Erasing the person deletes it and leaves a tombstone, so
//! that none is ever made for them again. A tenant has a key under which outside ids (employee
//! numbers) are hashed; which diner such a hash names stands here too, and goes with the person.
//! Every adapter passes the contract in `contract`.

#[cfg(test)]
mod contract;
mod memory;
mod postgres;
mod ring;
mod sqlite;

use domain::{
    CompanyId, DinerId, TenantId,
    personal::{KEY_LEN, LookupKey, OutsideId, Person, PersonKey},
};

pub use memory::MemoryKeys;
pub use postgres::PostgresKeys;
pub use ring::Keyring;
pub use sqlite::SqliteKeys;

/// Most people that one call is about.
pub const AT_ONCE: usize = 1_000;

/// What a store has for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    Key(PersonKey),
    /// The key was deleted: what it sealed never opens again.
    Erased,
    /// None was made here.
    Nothing,
}

/// What became of an outside id that was to name a diner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assigned {
    Done,
    /// It names this diner already.
    Taken(DinerId),
    /// The diner was erased.
    Erased,
}

/// Why keys cannot be had. Never holds a key, nor what one seals.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no key store there, or none is set.
    #[error("{0}")]
    Missing(String),
    /// The same may be tried again; what was asked has not been done, or is harmless to do again.
    #[error("the key store is not available: {0}")]
    Unavailable(String),
    /// It is foreign, damaged or newer than this program.
    #[error("the key store cannot be used: {0}")]
    Unusable(String),
}

/// Keeps keys. What is answered as made, assigned or erased is durable.
#[async_trait::async_trait]
pub trait KeyStore: Send + Sync + 'static {
    /// The keys of these people, in their order; made where there is none yet. None for an erased
    /// person.
    async fn make(&self, people: &[Person]) -> Result<Vec<Option<PersonKey>>, KeyError>;

    /// What there is for these people, in their order. Makes nothing.
    async fn find(&self, people: &[Person]) -> Result<Vec<Held>, KeyError>;

    /// The key under which a tenant's outside ids are hashed; made on first use.
    async fn lookup_key(&self, tenant: TenantId) -> Result<LookupKey, KeyError>;

    /// The same, if there is one. Makes nothing.
    async fn known_lookup_key(&self, tenant: TenantId) -> Result<Option<LookupKey>, KeyError>;

    /// Lets outside ids of a company name its diners, one each; none takes away the one that a diner
    /// has there.
    async fn assign(
        &self,
        tenant: TenantId,
        company: CompanyId,
        ids: &[(DinerId, Option<OutsideId>)],
    ) -> Result<Vec<Assigned>, KeyError>;

    /// Whom these outside ids name, in their order.
    async fn whom(&self, tenant: TenantId, ids: &[OutsideId]) -> Result<Vec<Option<DinerId>>, KeyError>;

    /// Deletes the keys and outside ids of these people and leaves a tombstone for each. Answers how
    /// many keys there were.
    async fn erase(&self, people: &[Person]) -> Result<usize, KeyError>;
}

/// A new key from the system's randomness.
fn random() -> Result<[u8; KEY_LEN], KeyError> {
    use ::ring::rand::{SecureRandom, SystemRandom};
    let mut bytes = [0; KEY_LEN];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| KeyError::Unavailable("the system gives no random numbers".to_owned()))?;
    Ok(bytes)
}

/// A key as a store has it.
fn key(bytes: &[u8]) -> Result<[u8; KEY_LEN], KeyError> {
    bytes.try_into().map_err(|_| KeyError::Unusable(format!("it is damaged: a key has {} bytes", bytes.len())))
}
