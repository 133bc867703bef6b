//! Consistency tokens: how far a reader's views must have come to show what it wrote.
//!
//! A token is a position of the log, masked for its tenant: positions themselves would tell one
//! tenant how much the others order. Layout, before base64url: 8 bytes of a keyed BLAKE3 hash over
//! tenant and position, then the position XORed with a keyed hash over tenant and those 8 bytes.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::TenantId;
use store::Position;

/// Most tokens that a reader may bring: one for each of its writes that overlapped.
const MOST: usize = 8;

/// Masks positions with a secret that every node of a service shares.
#[derive(Clone)]
pub(crate) struct Masks {
    secret: [u8; 32],
}

impl Masks {
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Masks { secret }
    }

    pub(crate) fn token(&self, tenant: TenantId, position: Position) -> String {
        let tag = self.hash(b"tag", tenant, position.to_le_bytes());
        let masked = position ^ u64::from_le_bytes(self.hash(b"mask", tenant, tag));
        URL_SAFE_NO_PAD.encode([tag, masked.to_le_bytes()].concat())
    }

    /// None for a text that is not a token of this tenant.
    pub(crate) fn position(&self, tenant: TenantId, token: &str) -> Option<Position> {
        let bytes: [u8; 16] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
        let (tag, masked) = bytes.split_at(8);
        let (tag, masked): ([u8; 8], [u8; 8]) = (tag.try_into().ok()?, masked.try_into().ok()?);
        let position = u64::from_le_bytes(masked) ^ u64::from_le_bytes(self.hash(b"mask", tenant, tag));
        (self.hash(b"tag", tenant, position.to_le_bytes()) == tag).then_some(position)
    }

    /// The furthest position of several tokens with commas between them, at most [`MOST`]. None if one of them is not
    /// of this tenant.
    pub(crate) fn furthest(&self, tenant: TenantId, tokens: &str) -> Option<Position> {
        let positions = tokens.split(',').take(MOST + 1).map(|token| self.position(tenant, token.trim()));
        let positions: Vec<Position> = positions.collect::<Option<_>>()?;
        if positions.len() > MOST { None } else { positions.into_iter().max() }
    }

    fn hash(&self, purpose: &[u8], tenant: TenantId, bytes: [u8; 8]) -> [u8; 8] {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(purpose).update(tenant.0.as_bytes()).update(&bytes);
        let mut short = [0; 8];
        short.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        short
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_token_comes_back_only_to_its_own_tenant() {
        let masks = Masks::new([7; 32]);
        let (ours, theirs) = (TenantId(Uuid::from_u128(1)), TenantId(Uuid::from_u128(2)));
        for position in [0, 1, 2, 1_000_000, u64::MAX] {
            let token = masks.token(ours, position);
            assert_eq!(masks.position(ours, &token), Some(position));
            assert_eq!(masks.position(theirs, &token), None);
            assert_eq!(Masks::new([8; 32]).position(ours, &token), None);
        }
        for rubbish in ["", "abc", "AAAAAAAAAAAAAAAAAAAAAA", "!!!"] {
            assert_eq!(masks.position(ours, rubbish), None);
        }
    }

    #[test]
    fn of_several_tokens_the_furthest_counts() {
        let masks = Masks::new([7; 32]);
        let tenant = TenantId(Uuid::from_u128(1));
        let joined = |positions: &[Position]| {
            positions.iter().map(|position| masks.token(tenant, *position)).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(masks.furthest(tenant, &joined(&[7])), Some(7));
        assert_eq!(masks.furthest(tenant, &joined(&[7, 9, 8])), Some(9));
        assert_eq!(masks.furthest(tenant, &joined(&[1; MOST])), Some(1));
        assert_eq!(masks.furthest(tenant, &joined(&[1; MOST + 1])), None);
        assert_eq!(masks.furthest(tenant, &format!("{}, x", joined(&[1]))), None);
        assert_eq!(masks.furthest(tenant, ""), None);
    }

    #[test]
    fn neighbouring_positions_look_nothing_alike() {
        let masks = Masks::new([7; 32]);
        let tenant = TenantId(Uuid::from_u128(1));
        let (one, two) = (masks.token(tenant, 41), masks.token(tenant, 42));
        let alike = one.bytes().zip(two.bytes()).filter(|(a, b)| a == b).count();
        assert!(alike < 8, "{one} {two}");
    }
}
