//! Who asks, for what, and under which key.

use domain::{ActorId, CommandId, TenantId, Timestamp, derived_id, request_id};
use serde::Serialize;
use store::Metadata;
use uuid::Uuid;

/// A caller's request to change something. The same key again is the same request.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub tenant: TenantId,
    pub actor: ActorId,
    /// Of (tenant, actor, mutation, key). What the request creates bears it as its id.
    pub id: Uuid,
    /// Of what the caller sent; never of what was looked up.
    pub digest: [u8; 16],
    /// When it arrived.
    pub at: Timestamp,
    pub trace: Option<[u8; 16]>,
}

/// A digest of what a caller sent.
pub fn digest_of(input: &impl Serialize) -> [u8; 16] {
    // Input types are plain data, which serialises; were one not, all of its digests would be
    // equal and its repeats still recognised by their key.
    let bytes = serde_json::to_vec(input).unwrap_or_default();
    let mut digest = [0; 16];
    digest.copy_from_slice(&blake3::hash(&bytes).as_bytes()[..16]);
    digest
}

impl Request {
    pub fn new(
        (tenant, actor): (TenantId, ActorId),
        mutation: &str,
        key: Uuid,
        input: &impl Serialize,
        at: Timestamp,
    ) -> Self {
        let id = request_id(tenant, actor, mutation, key);
        Request { tenant, actor, id, digest: digest_of(input), at, trace: None }
    }

    /// The request as one about `thing`, which it changes. Under one key a caller may ask for the same of several
    /// things, and what that makes of each has an id of its own.
    #[must_use]
    pub fn about(self, thing: Uuid) -> Self {
        Request { id: derived_id(self.id, &[b"about", thing.as_bytes()]), ..self }
    }

    /// The cause of the one command that the request is, about `correlation`.
    pub fn cause(&self, correlation: Uuid) -> Cause {
        let metadata = Metadata {
            command: CommandId(self.id),
            digest: Some(self.digest),
            actor: self.actor,
            correlation,
            causation: None,
            trace: self.trace,
        };
        Cause { metadata, at: self.at }
    }
}

/// Why a command is given, and its business time.
#[derive(Clone, Copy, Debug)]
pub struct Cause {
    pub metadata: Metadata,
    pub at: Timestamp,
}

impl Cause {
    /// A saga's own step, named so that whoever takes it takes the same one. `began` is the command that
    /// the process follows.
    pub fn step(command: CommandId, actor: ActorId, correlation: Uuid, began: CommandId, at: Timestamp) -> Self {
        let metadata = Metadata { command, digest: None, actor, correlation, causation: Some(began), trace: None };
        Cause { metadata, at }
    }
}
