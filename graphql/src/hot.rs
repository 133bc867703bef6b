//! Menus from memory. What a canteen offers reads the same for everybody of its tenant, and at noon all of them
//! read it: an answer is made once and given to whoever asks in the same words, until it is a moment old.
//!
//! Whoever has a consistency token gets no answer that was made before what the token demands.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_graphql::Response as Answer;
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use store::Position;

use crate::{
    http::{COST_EXTENSION, INCOMPLETE_EXTENSION},
    identity::{Identity, Role},
    rate::Charge,
};

/// So many times as old an answer may be while whoever was sent to make it anew has not come back.
const STALE: u32 = 5;
/// Most answers that are kept, and their bytes together.
const MOST: usize = 4_096;
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// What was asked, by whom: a hash over the tenant, the roles and the words.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 32]);

impl Key {
    pub(crate) fn of(identity: &Identity, words: &[u8]) -> Key {
        let mut hasher = blake3::Hasher::new();
        hasher.update(identity.tenant.0.as_bytes());
        let roles = identity.roles.iter().fold(0_u8, |roles, role| roles | bit(*role));
        hasher.update(&[roles]).update(words);
        Key(*hasher.finalize().as_bytes())
    }
}

fn bit(role: Role) -> u8 {
    1 << match role {
        Role::Diner => 0,
        Role::Canteen => 1,
        Role::Company => 2,
        Role::Finance => 3,
        Role::Auditor => 4,
        Role::Ops => 5,
    }
}

/// The data of an answer, as it is sent.
#[derive(Clone)]
pub(crate) struct Menu {
    data: Bytes,
    etag: HeaderValue,
    cost: u64,
}

impl Menu {
    /// None for an answer that says more than data, or that cannot be written.
    pub(crate) fn of(answer: &Answer, cost: u64) -> Option<Menu> {
        if !answer.errors.is_empty() {
            return None;
        }
        let data = serde_json::to_vec(&answer.data).ok()?;
        let tag = &blake3::hash(&data).to_hex()[..32];
        // Weak: answers with the same data differ in what their readers have left to spend.
        let etag = HeaderValue::from_str(&format!("W/\"{tag}\"")).ok()?;
        Some(Menu { data: data.into(), etag, cost })
    }

    /// What asking for it costs.
    pub(crate) fn cost(&self) -> u64 {
        self.cost
    }

    /// As the answer to somebody who was charged for it.
    pub(crate) fn respond(&self, charge: Charge, incomplete: &[&'static str]) -> Response {
        let mut extensions = BTreeMap::from([(COST_EXTENSION, charge.to_value())]);
        if !incomplete.is_empty() {
            extensions.insert(INCOMPLETE_EXTENSION, incomplete.to_vec().into());
        }
        let extensions = serde_json::to_vec(&extensions).unwrap_or_default();
        let mut body = Vec::with_capacity(self.data.len() + extensions.len() + 32);
        body.extend_from_slice(br#"{"data":"#);
        body.extend_from_slice(&self.data);
        body.extend_from_slice(br#","extensions":"#);
        body.extend_from_slice(&extensions);
        body.push(b'}');
        let json = HeaderValue::from_static("application/json");
        let mut response = ([(header::CONTENT_TYPE, json)], body).into_response();
        self.mark(response.headers_mut());
        response
    }

    /// As the answer to somebody who has it already.
    pub(crate) fn not_modified(&self) -> Response {
        let mut response = (StatusCode::NOT_MODIFIED, Body::empty()).into_response();
        self.mark(response.headers_mut());
        response
    }

    fn mark(&self, headers: &mut HeaderMap) {
        headers.insert(header::ETAG, self.etag.clone());
        // Whoever keeps it asks whether it still holds. Nobody keeps it for others.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        headers.append(header::VARY, HeaderValue::from_static("authorization"));
    }

    /// Whether `If-None-Match` names it (RFC 9110, section 13.1.2: weakly compared).
    pub(crate) fn is_known_to(&self, headers: &HeaderMap) -> bool {
        let weakly = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let own = self.etag.to_str().map(weakly).unwrap_or_default();
        let named = headers.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
        named.flat_map(|value| value.split(',')).any(|tag| tag.trim() == "*" || weakly(tag) == own)
    }
}

struct Kept {
    menu: Menu,
    /// How far the views had come before it was made.
    position: Position,
    made: Instant,
    /// When somebody was last sent to make it anew, or it was made.
    sent: Instant,
}

/// The menus that were asked for last.
pub(crate) struct Menus {
    /// How old one may be before somebody is sent to make it anew.
    fresh: Duration,
    kept: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    menus: HashMap<Key, Kept>,
    bytes: usize,
}

impl Menus {
    pub(crate) fn new(fresh: Duration) -> Self {
        Menus { fresh, kept: Mutex::default() }
    }

    /// What `key` was answered with a moment ago, by views that had come to `demanded`. Of many who ask for what
    /// has grown old, one is told to make it anew.
    pub(crate) fn find(&self, key: Key, demanded: Position, now: Instant) -> Option<Menu> {
        let mut shelf = self.lock();
        let kept = shelf.menus.get_mut(&key)?;
        let age = |since: Instant| now.saturating_duration_since(since);
        if kept.position < demanded || age(kept.made) >= self.fresh * STALE {
            return None;
        }
        if age(kept.sent) >= self.fresh {
            kept.sent = now;
            return None;
        }
        Some(kept.menu.clone())
    }

    /// Keeps what was made from views that had come to `position`, unless that is older than what is there and can
    /// still be had. Views may go back, when one is taken up again.
    pub(crate) fn keep(&self, key: Key, menu: Menu, position: Position, made: Instant) {
        let mut shelf = self.lock();
        let old = |kept: &Kept| made.saturating_duration_since(kept.made) >= self.fresh * STALE;
        if shelf.menus.get(&key).is_some_and(|kept| kept.position > position && !old(kept)) {
            return;
        }
        let size = menu.data.len();
        if shelf.menus.len() >= MOST || shelf.bytes + size > MOST_BYTES {
            shelf.menus.retain(|_, kept| !old(kept));
            shelf.bytes = shelf.menus.values().map(|kept| kept.menu.data.len()).sum();
        }
        if shelf.menus.len() >= MOST || shelf.bytes + size > MOST_BYTES {
            return;
        }
        let kept = Kept { menu, position, made, sent: made };
        let before = shelf.menus.insert(key, kept).map_or(0, |kept| kept.menu.data.len());
        shelf.bytes = shelf.bytes + size - before;
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::value;
    use domain::TenantId;
    use uuid::Uuid;

    use super::*;

    const FRESH: Duration = Duration::from_millis(200);

    fn key(number: u128) -> Key {
        Key::of(&Identity::new(TenantId(Uuid::from_u128(1)), Uuid::from_u128(2), [Role::Diner]), &number.to_le_bytes())
    }

    fn menu(text: &str) -> Menu {
        Menu::of(&Answer::new(value!({ "said": text })), 7).unwrap()
    }

    fn said(menus: &Menus, number: u128, demanded: Position, now: Instant) -> Option<String> {
        let menu = menus.find(key(number), demanded, now)?;
        let data: serde_json::Value = serde_json::from_slice(&menu.data).unwrap();
        Some(data["said"].as_str().unwrap().to_owned())
    }

    #[test]
    fn a_menu_is_given_until_it_is_old_and_then_one_makes_it_anew() {
        let (menus, start) = (Menus::new(FRESH), Instant::now());
        assert_eq!(said(&menus, 1, 0, start), None);
        menus.keep(key(1), menu("rice"), 10, start);
        let rice = Some("rice".to_owned());
        assert_eq!(said(&menus, 1, 0, start + FRESH / 2), rice);
        assert_eq!(said(&menus, 2, 0, start), None, "something else was asked");
        let old = start + FRESH;
        assert_eq!(said(&menus, 1, 0, old), None, "the first is sent");
        assert_eq!(said(&menus, 1, 0, old), rice, "the others are not");
        assert_eq!(said(&menus, 1, 0, start + FRESH * STALE), None, "nobody came back");
        menus.keep(key(1), menu("noodles"), 11, start + FRESH * STALE);
        menus.keep(key(1), menu("rice"), 10, start + FRESH * STALE);
        assert_eq!(
            said(&menus, 1, 0, start + FRESH * STALE),
            Some("noodles".to_owned()),
            "what is older comes too late"
        );
        let later = start + FRESH * STALE * 2;
        menus.keep(key(1), menu("rice"), 10, later);
        assert_eq!(said(&menus, 1, 0, later), rice, "the views went back, and what was kept cannot be had");
    }

    #[test]
    fn whoever_wrote_reads_nothing_from_before() {
        let (menus, start) = (Menus::new(FRESH), Instant::now());
        menus.keep(key(1), menu("rice"), 10, start);
        assert_eq!(said(&menus, 1, 10, start), Some("rice".to_owned()));
        assert_eq!(said(&menus, 1, 11, start), None);
        assert_eq!(said(&menus, 1, Position::MAX, start), None);
    }

    #[test]
    fn each_tenant_and_each_set_of_roles_has_its_own() {
        let someone = |tenant, roles: &[Role]| Identity::new(TenantId(Uuid::from_u128(tenant)), Uuid::nil(), roles);
        let keys = [
            Key::of(&someone(1, &[Role::Diner]), b"a"),
            Key::of(&someone(2, &[Role::Diner]), b"a"),
            Key::of(&someone(1, &[Role::Canteen]), b"a"),
            Key::of(&someone(1, &[]), b"a"),
            Key::of(&someone(1, &[Role::Diner]), b"b"),
        ];
        for (number, key) in keys.iter().enumerate() {
            assert!(!keys[..number].contains(key), "{number}");
        }
        let diner = Identity::new(TenantId(Uuid::from_u128(1)), Uuid::max(), [Role::Diner]);
        assert!(Key::of(&diner, b"a") == keys[0], "and everybody of them the same");
    }

    #[test]
    fn the_shelf_is_bounded_and_what_is_old_makes_room() {
        let (menus, start) = (Menus::new(FRESH), Instant::now());
        let long = menu(&"x".repeat(MOST_BYTES / 8));
        for number in 0..20 {
            menus.keep(key(number), long.clone(), 1, start);
        }
        assert_eq!(menus.lock().menus.len(), 7);
        for number in 20..10_000 {
            menus.keep(key(number), menu("x"), 1, start);
        }
        assert_eq!(menus.lock().menus.len(), MOST);
        menus.keep(key(10_000), long, 1, start + FRESH * STALE);
        let shelf = menus.lock();
        assert_eq!(shelf.menus.len(), 1);
        assert_eq!(shelf.bytes, shelf.menus.values().map(|kept| kept.menu.data.len()).sum::<usize>());
    }

    #[test]
    fn what_is_more_than_data_is_not_kept() {
        let error = async_graphql::ServerError::new("no", None);
        assert!(Menu::of(&Answer::from_errors(vec![error]), 1).is_none());
    }
}
