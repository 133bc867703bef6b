//! Event types in full, made once each.

use std::sync::Arc;

use domain::StreamKind;
use rustc_hash::FxHashMap;

/// `{aggregate}.{name}` for each name that was asked for. Bounded by the names of the program.
#[derive(Default)]
pub(crate) struct EventTypes(FxHashMap<(&'static str, &'static str), Arc<str>>);

impl EventTypes {
    pub(crate) fn full(&mut self, kind: StreamKind, name: &'static str) -> Arc<str> {
        let aggregate = kind.aggregate();
        self.0.entry((aggregate, name)).or_insert_with(|| format!("{aggregate}.{name}").into()).clone()
    }
}
