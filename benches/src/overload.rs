//! More than a server can do: it does what it can, says no at once to the rest, and is itself again as soon as
//! the burst is over. Server and load have a core each.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;

use crate::{
    Report,
    asking::{Asked, Asking, Rate, Tally, Target},
    http::WARM_UP,
    memory::{peak_mib, reset_peak, resident_mib},
    report::{self, grouped, rounded},
};

/// How long the server is watched after the burst.
const AFTER: Duration = Duration::from_secs(5);
/// Of its best, what is asked for then.
const AFTERWARDS: f64 = 0.5;
/// An answer that takes longer, then, shows that the server is not itself yet.
const LATE: Duration = Duration::from_millis(250);

/// The search for the best: how long each step takes, how many there are at most, by how much more is asked for
/// in each, and what is too little to go on.
const STEP: Duration = Duration::from_secs(3);
const STEPS: usize = 10;
const MORE: f64 = 1.3;
const NO_MORE: f64 = 1.03;

#[derive(Args, Clone, Debug)]
pub struct OverloadArgs {
    /// How long the burst lasts
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub seconds: u32,
    /// How many times its best is asked for in the burst
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=20))]
    pub times: u32,
    /// Diners, each with a token and a wallet, who order in turn
    #[arg(long, default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(1..=16_000))]
    pub diners: u32,
    /// Servings, each of a canteen of its own
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub servings: u32,
    /// Only fill the log, and say with what
    #[arg(long, hide = true)]
    pub only_fill: bool,
}

/// What came of it. Times are in milliseconds, from when a request was due to its whole answer.
#[derive(Clone, Debug, Serialize)]
pub struct OverloadReport {
    /// The most orders confirmed a second, however many were asked for.
    pub best_per_second: f64,
    /// Requests a second in the burst, as they arrived.
    pub offered_per_second: f64,
    /// Orders confirmed a second in the burst.
    pub goodput_per_second: f64,
    /// Goodput over the best.
    pub goodput: f64,
    pub confirmed_p50_ms: f64,
    pub confirmed_p99_ms: f64,
    /// Requests that were told `OVERLOADED` in the burst.
    pub refused: u64,
    pub refused_p50_ms: f64,
    pub refused_p99_ms: f64,
    pub refused_longest_ms: f64,
    /// Neither confirmed nor told `OVERLOADED`, over all.
    pub errors: u64,
    /// What the first of them said.
    pub first_error: Option<String>,
    /// The server's resident memory before the burst, and the most until the end.
    pub memory_before_mib: f64,
    pub memory_peak_mib: f64,
    /// From the burst's end until its last answer, or until every order was confirmed within 250 ms again; that is
    /// looked at for 5,000 ms.
    pub recovered_after_ms: f64,
}

/// Asks `target`, whose process is `server`, for more than it can do.
pub async fn run(args: &OverloadArgs, target: Target, server: u32) -> Result<OverloadReport> {
    let tell = Arc::clone(&target.tell);
    let asking = Asking::new(Asked::PlaceOrder, target);
    let length = Duration::from_secs(u64::from(args.seconds));
    tell("warming up");
    asking.for_a_while(Rate::Max, WARM_UP, &tally()?).await?;
    tell("looking for the best");
    let (best_rate, searched) = best(&asking).await?;
    ensure!(best_rate > 0.0, "no order was confirmed while looking for the best");
    reset_peak(server)?;
    let memory_before = resident_mib(server)?;
    tell("asking for too much");
    let burst = tally()?;
    let rate = |times: f64| Rate::Each(((best_rate * times) as u32).max(1));
    let over = Instant::now() + length;
    let took = asking.for_a_while(rate(f64::from(args.times)), length, &burst).await?;
    tell("asking for half of it");
    let after = tally()?;
    asking.for_a_while(rate(AFTERWARDS), AFTER, &after).await?;
    let (answers, refused) = (burst.answers.load(Relaxed), burst.refusals.load(Relaxed));
    let failed = [&searched, &burst, &after].map(|tally| tally.failed());
    let offered = (answers + refused + failed[1].count) as f64 / took.as_secs_f64();
    let goodput = answers as f64 / took.as_secs_f64();
    let refusals = |share: f64| burst.refused.as_ref().map_or(0.0, |refused| rounded(refused.quantile_ms(share)));
    // The burst's last answers are a part of it.
    let until = after.last_bad().map_or(took.saturating_sub(length), |last| last.saturating_duration_since(over));
    let recovered = until.as_secs_f64() * 1e3;
    Ok(OverloadReport {
        best_per_second: rounded(best_rate),
        offered_per_second: rounded(offered),
        goodput_per_second: rounded(goodput),
        goodput: rounded(goodput / best_rate),
        confirmed_p50_ms: rounded(burst.answered.quantile_ms(0.5)),
        confirmed_p99_ms: rounded(burst.answered.quantile_ms(0.99)),
        refused,
        refused_p50_ms: refusals(0.5),
        refused_p99_ms: refusals(0.99),
        refused_longest_ms: refusals(1.0),
        errors: failed.iter().map(|failed| failed.count).sum(),
        first_error: failed.into_iter().find_map(|failed| failed.first),
        memory_before_mib: rounded(memory_before),
        memory_peak_mib: rounded(peak_mib(server)?),
        recovered_after_ms: rounded(recovered),
    })
}

fn tally() -> Result<Arc<Tally>> {
    Ok(Arc::new(Tally::of_overload(LATE)?))
}

/// The most orders a second that the server confirms: at first those of clients that wait for their answers, then
/// of ever more that do not, until more brings nothing. With what became of all of them.
async fn best(asking: &Arc<Asking>) -> Result<(f64, Arc<Tally>)> {
    let searched = tally()?;
    let mut best = 0.0;
    let mut rate = Rate::Max;
    for _ in 0..STEPS {
        let before = searched.answers.load(Relaxed);
        let took = asking.for_a_while(rate, STEP, &searched).await?;
        let reached = (searched.answers.load(Relaxed) - before) as f64 / took.as_secs_f64();
        if reached < best * NO_MORE {
            return Ok((best.max(reached), searched));
        }
        best = best.max(reached);
        rate = Rate::Each(((best * MORE) as u32).max(1));
    }
    Ok((best, searched))
}

impl Report for OverloadReport {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let both = |p50: f64, p99: f64| format!("{p50:.1} ms (p50), {p99:.1} ms (p99)");
        let mut lines = vec![
            ("best", format!("{}/s", grouped(self.best_per_second))),
            ("offered", format!("{}/s", grouped(self.offered_per_second))),
            ("confirmed", format!("{}/s", grouped(self.goodput_per_second))),
            ("of the best", format!("{:.2}", self.goodput)),
            ("confirmed in", both(self.confirmed_p50_ms, self.confirmed_p99_ms)),
            ("told OVERLOADED", grouped(self.refused as f64)),
            ("told so in", both(self.refused_p50_ms, self.refused_p99_ms)),
            ("at the longest", format!("{:.1} ms", self.refused_longest_ms)),
            ("errors", self.errors.to_string()),
            ("memory before", format!("{:.0} MiB", self.memory_before_mib)),
            ("memory at most", format!("{:.0} MiB", self.memory_peak_mib)),
            ("recovered after", format!("{:.0} ms", self.recovered_after_ms)),
        ];
        lines.extend(self.first_error.clone().map(|error| ("first error", error)));
        lines
    }
}

impl fmt::Display for OverloadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        report::write(self, f)
    }
}
