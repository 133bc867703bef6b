//! A turn at the head of a log that several nodes share.
//!
//! The head's lock is taken first, then whatever waits. Where another node has moved a stream, only
//! what rests on it falls. The lock is then kept for a moment in which what fell is decided again,
//! so that nodes on one busy aggregate do not lose turn after turn.

use std::{convert::Infallible, sync::Arc, time::Duration};

use domain::StreamId;
use rustc_hash::{FxHashMap, FxHashSet};
use store::{Append, AppendSession, Moved, StoreError, Version};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::Instant,
};

use crate::{
    chain::Chain,
    closure::{Link, falling},
    contention::count,
    ticket::Dropped,
    writer::{MAX_BATCH, Mark, Queue, Waiting, Writer},
};

/// For how long the head's lock is kept beyond what a write takes, for all passes of one turn.
const PASS: Duration = Duration::from_millis(10);
/// Passes of one turn: the first for what was moved, the second for what came to light in the first.
const MAX_PASSES: usize = 2;

/// Held by a chain that the writer waits for, and let go when it can get no further.
pub(crate) type PassToken = mpsc::Sender<Infallible>;

impl Writer {
    /// Settles what waits on a shared log. Whether the log can still be used.
    pub(crate) async fn take_turn(&self) -> bool {
        let checks = self.lock().take_checks();
        if let Some(checks) = checks {
            return self.compare(vec![checks]).await;
        }
        let session = match self.store.session().await {
            Ok(session) => session,
            Err(error) => {
                let tried = take_up_to_a_batch(&mut self.lock(), vec![]);
                return self.not_taken(error, tried, &[]).await;
            }
        };
        // Taken only now: what came while others had the lock goes along.
        let tried = take_up_to_a_batch(&mut self.lock(), vec![]);
        self.write_in(session, tried).await
    }

    async fn write_in(&self, mut session: Box<dyn AppendSession + '_>, mut tried: Vec<Waiting>) -> bool {
        let mut until = None;
        for pass in 0.. {
            let batch: Vec<Append> = tried.iter().flat_map(|waiting| waiting.appends.iter().cloned()).collect();
            if batch.iter().all(|append| append.events.is_empty()) {
                drop(session);
                return self.compare(tried).await;
            }
            match self.timed(session.append(batch, self.clock.now())).await {
                Ok(appended) => {
                    self.stands(tried, appended.first);
                    return true;
                }
                Err(StoreError::Conflict(moved)) if pass <= MAX_PASSES => {
                    let (token, again) = mpsc::channel(1);
                    self.drop_moved(&mut tried, &streams_of(&moved), Some(token));
                    if pass < MAX_PASSES {
                        let until = *until.get_or_insert_with(|| Instant::now() + PASS);
                        tried = self.pass(tried, again, until).await;
                    }
                }
                Err(error) => {
                    // The lock goes before the log is asked what became of the append.
                    drop(session);
                    let marks: Vec<Mark> = tried.iter().flat_map(|waiting| &waiting.appends).map(Mark::of).collect();
                    return self.not_taken(error, tried, &marks).await;
                }
            }
        }
        true
    }

    /// Waits for the chains that fell to be decided again, and takes along what they queued.
    async fn pass(&self, tried: Vec<Waiting>, mut again: mpsc::Receiver<Infallible>, until: Instant) -> Vec<Waiting> {
        count(&self.counters.passes, 1);
        if tokio::time::timeout_at(until, again.recv()).await.is_err() {
            count(&self.counters.cut_passes, 1);
        }
        take_up_to_a_batch(&mut self.lock(), tried)
    }

    /// Settles checks without the head's lock: one question for all of them.
    async fn compare(&self, mut tried: Vec<Waiting>) -> bool {
        let asked: FxHashSet<StreamId> = checks(&tried).map(|check| check.stream).collect();
        let streams: Vec<StreamId> = asked.into_iter().collect();
        if streams.is_empty() {
            self.holds(tried);
            return true;
        }
        match self.store.versions(&streams).await {
            Ok(versions) => {
                let versions: FxHashMap<StreamId, Version> = streams.into_iter().zip(versions).collect();
                let moved = checks(&tried).filter(|check| versions.get(&check.stream) != Some(&check.expected));
                let moved: FxHashSet<StreamId> = moved.map(|check| check.stream).collect();
                if !moved.is_empty() {
                    self.drop_moved(&mut tried, &moved, None);
                }
                self.holds(tried);
                true
            }
            Err(error) => self.not_taken(error, tried, &[]).await,
        }
    }

    /// Lets everything fall that rests on `moved`, in `tried` and in the queue behind it. The chains
    /// that fall hold `token` until they have come as far as they can.
    fn drop_moved(&self, tried: &mut [Waiting], moved: &FxHashSet<StreamId>, token: Option<PassToken>) {
        let mut queue = self.lock();
        let Queue { closed, open, .. } = &mut *queue;
        let mut waiting: Vec<&mut Waiting> = tried.iter_mut().chain(closed).chain([open]).collect();
        let falls = find_falling(&waiting, moved);
        let standing = links(&waiting).zip(&falls).filter(|(_, falls)| !**falls);
        let standing: FxHashSet<StreamId> = standing.map(|(append, _)| append.stream).collect();
        let mut falls = falls.into_iter();
        let mut fallen = Vec::new();
        let mut dropped = 0;
        for waiting in &mut waiting {
            dropped += drop_from(waiting, &mut falls, &standing, |chain, room| {
                chain.fall(room, token.as_ref());
                fallen.push(chain);
            });
        }
        // Told only when all of it is marked: who wakes finds everything that fell with it.
        for waiting in &waiting {
            waiting.batch.tell();
        }
        for chain in &fallen {
            chain.tell();
        }
        drop(queue);
        tracing::debug!(streams = moved.len(), appends = dropped, "another node moved streams");
        count(&self.counters.conflicts, 1);
        count(&self.counters.dropped_appends, dropped);
    }
}

fn streams_of(moved: &[Moved]) -> FxHashSet<StreamId> {
    moved.iter().map(|moved| moved.stream).collect()
}

/// `tried` with what waits, as long as it makes no more than a batch; one part at least.
fn take_up_to_a_batch(queue: &mut Queue, mut tried: Vec<Waiting>) -> Vec<Waiting> {
    let mut room = MAX_BATCH.saturating_sub(tried.iter().map(Waiting::weight).sum());
    while let Some(next) = queue.next_weight() {
        if next > room && !tried.is_empty() {
            break;
        }
        room = room.saturating_sub(next);
        tried.extend(queue.take_next());
    }
    tried
}

fn checks(waiting: &[Waiting]) -> impl Iterator<Item = &Append> {
    waiting.iter().flat_map(|waiting| &waiting.appends)
}

fn links<'a>(waiting: &'a [&mut Waiting]) -> impl Iterator<Item = &'a Append> {
    waiting.iter().flat_map(|waiting| &waiting.appends)
}

fn find_falling(waiting: &[&mut Waiting], moved: &FxHashSet<StreamId>) -> Vec<bool> {
    let mut chains: FxHashMap<*const Chain, usize> = FxHashMap::default();
    let mut places: FxHashMap<(u64, u32), usize> = FxHashMap::default();
    let (mut all, mut rests) = (Vec::new(), Vec::new());
    let mut each_chain = Vec::new();
    for part in waiting {
        for (append, tag) in part.appends.iter().zip(&part.tags) {
            places.insert((part.batch.number(), tag.number), all.len());
            let chain = tag.chain.as_ref().map(|chain| {
                let next = chains.len();
                let number = *chains.entry(Arc::as_ptr(chain)).or_insert(next);
                if number == next {
                    each_chain.push(chain);
                }
                number
            });
            all.push(Link { stream: append.stream, chain });
        }
    }
    for (number, chain) in each_chain.into_iter().enumerate() {
        for place in chain.rests() {
            rests.extend(places.get(&place).map(|link| (number, *link)));
        }
    }
    falling(&all, &rests, moved)
}

/// Takes what falls out of `waiting`; how much it was.
fn drop_from(
    waiting: &mut Waiting,
    falls: &mut impl Iterator<Item = bool>,
    standing: &FxHashSet<StreamId>,
    mut fall: impl FnMut(Arc<Chain>, Option<OwnedSemaphorePermit>),
) -> u64 {
    let count = waiting.appends.len();
    let here: Vec<bool> = falls.take(count).collect();
    if !here.contains(&true) {
        return 0;
    }
    let appends = std::mem::take(&mut waiting.appends);
    let tags = std::mem::take(&mut waiting.tags);
    let mut alone = Vec::new();
    for ((append, tag), falls) in appends.into_iter().zip(tags).zip(here) {
        if !falls {
            waiting.appends.push(append);
            waiting.tags.push(tag);
            continue;
        }
        let events = append.events.len() as u64;
        waiting.gone += events;
        alone.push((tag.number, Dropped { events, clear: !standing.contains(&append.stream) }));
        if let Some(chain) = tag.chain {
            fall(chain, tag.room);
        }
    }
    let dropped = alone.len() as u64;
    waiting.batch.drop_alone(alone);
    dropped
}
