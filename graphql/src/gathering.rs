//! Loads edges of an answer when all that ask for them have asked.
//!
//! A loader that waits for a moment reads too early on a busy machine, and too late on an idle one. What is
//! executed is one task, so it can be seen: when it has nothing to do but to wait, everybody has asked. Loads
//! run within the same task, so what they bring goes on together too.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures::{
    Stream, StreamExt,
    future::BoxFuture,
    stream::FuturesUnordered,
    task::{ArcWake, AtomicWaker, waker},
};

/// How often in a row what is executed may ask to be polled again before loads begin all the same.
const PATIENCE: usize = 1_000;

/// The loads that begin when everybody has asked.
#[derive(Clone, Default)]
pub(crate) struct Waiting(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl Waiting {
    pub(crate) fn push(&self, load: BoxFuture<'static, ()>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(load);
    }

    fn take(&self) -> Vec<BoxFuture<'static, ()>> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether what is executed can go on, and whom to tell.
#[derive(Default)]
struct Woken {
    is_woken: AtomicBool,
    task: AtomicWaker,
}

impl ArcWake for Woken {
    fn wake_by_ref(this: &Arc<Self>) {
        this.is_woken.store(true, Ordering::Release);
        this.task.wake();
    }
}

#[derive(Default)]
struct Gathering {
    waiting: Waiting,
    running: FuturesUnordered<BoxFuture<'static, ()>>,
    woken: Arc<Woken>,
    /// How often in a row it asked to be polled again.
    turns: usize,
}

impl Gathering {
    fn poll<T>(&mut self, cx: &mut Context<'_>, work: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        self.woken.task.register(cx.waker());
        self.woken.is_woken.store(false, Ordering::Release);
        if let Poll::Ready(done) = work(&mut Context::from_waker(&waker(Arc::clone(&self.woken)))) {
            return Poll::Ready(done);
        }
        // What is executed lets others have their turn, and was not done asking.
        let goes_on = self.woken.is_woken.load(Ordering::Acquire) && self.turns < PATIENCE;
        self.turns = if goes_on { self.turns + 1 } else { 0 };
        if !goes_on {
            self.running.extend(self.waiting.take());
        }
        // What a load brings wakes whoever waits for it, and so this.
        while let Poll::Ready(Some(())) = self.running.poll_next_unpin(cx) {}
        Poll::Pending
    }
}

/// Executes `work`, and what `waiting` gets from it.
pub(crate) async fn gathered<T>(waiting: Waiting, work: impl Future<Output = T> + Send) -> T {
    let mut gathering = Gathering { waiting, ..Gathering::default() };
    let mut work = Box::pin(work);
    std::future::poll_fn(move |cx| gathering.poll(cx, |cx| work.as_mut().poll(cx))).await
}

/// As [`gathered`], of everything that `work` has to tell.
pub(crate) fn gathered_stream<T>(
    waiting: Waiting,
    work: impl Stream<Item = T> + Send + 'static,
) -> impl Stream<Item = T> + Send + 'static {
    let mut gathering = Gathering { waiting, ..Gathering::default() };
    let mut work = Box::pin(work);
    futures::stream::poll_fn(move |cx| gathering.poll(cx, |cx| work.poll_next_unpin(cx)))
}
