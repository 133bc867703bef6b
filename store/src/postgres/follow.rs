//! Following the head: what others append is shown here too.

use std::{sync::Arc, time::Duration};

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use super::{place::Place, reader::Readers, writer::show};
use crate::Position;

/// How often the head is looked at, whatever was announced: a lost announcement only delays.
const POLL: Duration = Duration::from_millis(100);
/// Until a lost connection for announcements is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// The tasks that move the head that is shown. They end when this is dropped.
pub(super) struct Follower(Vec<JoinHandle<()>>);

impl Follower {
    /// `listens` says whether announcements are wanted too, which a standby cannot give.
    pub(super) fn start(
        place: &Place,
        readers: &Arc<Readers>,
        shown: &watch::Sender<Position>,
        listens: bool,
    ) -> Follower {
        let mut tasks = vec![tokio::spawn(poll(readers.clone(), shown.clone()))];
        if listens {
            tasks.push(tokio::spawn(listen(place.clone(), shown.clone())));
        }
        Follower(tasks)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

pub(super) async fn poll(readers: Arc<Readers>, shown: watch::Sender<Position>) {
    loop {
        // A look that fails is no news; a read will say why.
        if let Ok(head) = readers.head().await {
            show(&shown, head);
        }
        sleep(POLL).await;
    }
}

/// Each append announces the position to which it brought the log.
pub(super) async fn listen(place: Place, shown: watch::Sender<Position>) {
    // The one connection lives as long as the listener.
    let pool = PgPoolOptions::new().max_connections(1).max_lifetime(None).idle_timeout(None);
    let pool = pool.connect_lazy_with(place.options().clone());
    loop {
        if let Ok(mut listener) = PgListener::connect_with(&pool).await
            && listener.listen("tiffin_log").await.is_ok()
        {
            while let Ok(announced) = listener.recv().await {
                if let Ok(head) = announced.payload().parse() {
                    show(&shown, head);
                }
            }
        }
        sleep(AGAIN).await;
    }
}
