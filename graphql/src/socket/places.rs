//! Who has how many sockets and operations.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use domain::{ActorId, TenantId};

use super::SocketLimits;
use crate::identity::Identity;

type User = (TenantId, ActorId);

/// The places that there are.
pub(crate) struct Places {
    limits: SocketLimits,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    sockets: usize,
    users: HashMap<User, Counts>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    sockets: usize,
    operations: usize,
}

impl Places {
    pub(crate) fn new(limits: SocketLimits) -> Self {
        Places { limits, taken: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a socket; none when all are taken.
    pub(crate) fn sit(places: &Arc<Places>) -> Option<Seat> {
        let mut taken = places.lock();
        if taken.sockets >= places.limits.sockets {
            return None;
        }
        taken.sockets += 1;
        Some(Seat { places: Arc::clone(places), user: None })
    }

    /// How many sockets there are.
    #[cfg(test)]
    pub(crate) fn sockets(&self) -> usize {
        self.lock().sockets
    }

    fn change(&self, user: User, change: impl FnOnce(&mut Counts)) {
        let mut taken = self.lock();
        let counts = taken.users.entry(user).or_default();
        change(counts);
        if *counts == Counts::default() {
            taken.users.remove(&user);
        }
    }
}

/// A socket's place. It is free again when this is dropped.
pub(crate) struct Seat {
    places: Arc<Places>,
    user: Option<User>,
}

impl Seat {
    /// Whether its user, who is known now, may have another socket.
    pub(crate) fn of(&mut self, identity: &Identity) -> bool {
        let user = (identity.tenant, identity.actor);
        let most = self.places.limits.sockets_a_user;
        let mut may = false;
        self.places.change(user, |counts| {
            may = counts.sockets < most;
            counts.sockets += usize::from(may);
        });
        if may {
            self.user = Some(user);
        }
        may
    }

    /// A place for an operation; none when the user has none left.
    pub(crate) fn take(&self) -> Option<Place> {
        let user = self.user?;
        let most = self.places.limits.operations_a_user;
        let mut may = false;
        self.places.change(user, |counts| {
            may = counts.operations < most;
            counts.operations += usize::from(may);
        });
        may.then(|| Place { places: Arc::clone(&self.places), user })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.places.lock().sockets -= 1;
        if let Some(user) = self.user {
            self.places.change(user, |counts| counts.sockets -= 1);
        }
    }
}

/// An operation's place. It is free again when this is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    user: User,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.change(self.user, |counts| counts.operations -= 1);
    }
}
