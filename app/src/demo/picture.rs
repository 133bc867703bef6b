//! The lunch as it is served: a bar a canteen on a terminal, a line now and then elsewhere.

use std::{
    io::IsTerminal,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use super::{lunch::Lunch, tally::Counts};
use crate::output;

const EVERY: Duration = Duration::from_millis(100);
/// Between two lines where there is no terminal.
const LINE_EVERY: u32 = 10;

/// Shows how the lunch goes until it is dropped.
pub struct Picture {
    showing: JoinHandle<()>,
}

impl Picture {
    pub fn show(lunch: &Arc<Lunch>) -> Picture {
        let lunch = Arc::clone(lunch);
        let showing = if std::io::stderr().is_terminal() {
            tokio::spawn(async move { bars(&lunch).await })
        } else {
            tokio::spawn(async move { lines(&lunch).await })
        };
        Picture { showing }
    }
}

impl Drop for Picture {
    fn drop(&mut self) {
        self.showing.abort();
    }
}

fn expected(lunch: &Lunch, canteen: usize) -> u64 {
    lunch.script.arrivals.iter().filter(|arrival| arrival.canteen == canteen).count() as u64
}

/// Clears the bars however the task ends.
struct Bars(MultiProgress);

impl Drop for Bars {
    fn drop(&mut self) {
        // Nobody is left to be told that the terminal is gone.
        let _ = self.0.clear();
    }
}

async fn bars(lunch: &Lunch) {
    let all = Bars(MultiProgress::new());
    let style = ProgressStyle::with_template("{prefix:18} {bar:24} {pos:>5}/{len} came · {msg}");
    let bars: Vec<ProgressBar> = (0..lunch.canteens.len())
        .map(|index| {
            let bar = all.0.add(ProgressBar::new(expected(lunch, index)).with_prefix(lunch.canteens[index].name));
            if let Ok(style) = &style {
                bar.set_style(style.clone());
            }
            bar
        })
        .collect();
    loop {
        for (bar, counts) in bars.iter().zip(&lunch.tally.canteens) {
            bar.set_position(counts.arrived.load(Relaxed));
            bar.set_message(said(counts));
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn said(counts: &Counts) -> String {
    let count = |of: &std::sync::atomic::AtomicU64| of.load(Relaxed);
    format!(
        "{} confirmed · {} refused · {} cancelled · {} ready · {} collected",
        count(&counts.confirmed),
        count(&counts.refused),
        count(&counts.cancelled),
        count(&counts.ready),
        count(&counts.collected)
    )
}

async fn lines(lunch: &Lunch) {
    let total = lunch.script.arrivals.len();
    let mut withdrawn = false;
    loop {
        for _ in 0..LINE_EVERY {
            tokio::time::sleep(EVERY).await;
            if !withdrawn && lunch.tally.has_withdrawn() {
                withdrawn = true;
                output::note("a canteen withdraws a dish; its orders are refunded");
            }
        }
        let sum = |of: fn(&Counts) -> u64| lunch.tally.canteens.iter().map(of).sum::<u64>();
        output::note(format_args!(
            "{}/{total} came · {} confirmed · {} refused · {} cancelled · {} collected",
            sum(|counts| counts.arrived.load(Relaxed)),
            sum(|counts| counts.confirmed.load(Relaxed)),
            sum(|counts| counts.refused.load(Relaxed)),
            sum(|counts| counts.cancelled.load(Relaxed)),
            sum(|counts| counts.collected.load(Relaxed)),
        ));
    }
}
