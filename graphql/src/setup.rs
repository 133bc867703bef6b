//! What the API stands on, and what it may take of the machine.

use std::time::Duration;

use projections::Views;
use sagas::{Finance, Ordering, People, Subsidies};
use tokio_util::sync::CancellationToken;

use crate::{edge::Edge, identity::Verifier, limits::DocumentLimits, rate::Rate, socket::SocketLimits};

/// What requests may take of the machine.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Largest body, in bytes.
    pub body: usize,
    /// Most requests under way at once, however quickly they are answered; more are told `OVERLOADED` at once.
    pub in_flight: usize,
    /// After this a request is answered with `TIMEOUT`. A command under way goes on.
    pub timeout: Duration,
    /// How long a client may take to send a body.
    pub sending: Duration,
    /// How long a read waits for views to reach its consistency token, before it is `STALE`.
    pub patience: Duration,
    /// How old a menu may be that is given from memory. A consistency token is heeded all the same.
    pub menu_age: Duration,
    /// How many events views may be behind the log before the service is not ready.
    pub behind: u64,
    pub document: DocumentLimits,
    /// What each caller may cost.
    pub rate: Rate,
    pub sockets: SocketLimits,
}

impl Default for HttpLimits {
    fn default() -> Self {
        HttpLimits {
            body: 256 * 1024,
            in_flight: 4_096,
            timeout: Duration::from_secs(15),
            sending: Duration::from_secs(5),
            patience: Duration::from_secs(2),
            menu_age: Duration::from_millis(200),
            behind: 10_000,
            document: DocumentLimits::default(),
            rate: Rate::default(),
            sockets: SocketLimits::default(),
        }
    }
}

/// What the API stands on.
pub struct Setup {
    pub ordering: Ordering,
    pub subsidies: Subsidies,
    pub people: People,
    pub finance: Finance,
    pub views: Views,
    pub verifier: Verifier,
    /// Masks consistency tokens; the same on every node of a service.
    pub token_secret: [u8; 32],
    pub limits: HttpLimits,
    pub edge: Edge,
    /// Cancelled by the caller when it begins to shut down: `/readyz` then answers 503 and sockets are
    /// closed, while requests are still served.
    pub draining: CancellationToken,
}

impl Setup {
    /// With the usual limits, and a draining token of its own.
    pub fn new(
        ordering: Ordering,
        subsidies: Subsidies,
        finance: Finance,
        people: People,
        views: Views,
        verifier: Verifier,
        token_secret: [u8; 32],
    ) -> Self {
        let draining = CancellationToken::new();
        let (limits, edge) = (HttpLimits::default(), Edge::default());
        Setup { ordering, subsidies, finance, people, views, verifier, token_secret, limits, edge, draining }
    }
}
