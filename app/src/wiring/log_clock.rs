//! Compares this machine's clock with that of a log on another machine.

use std::{sync::Arc, time::Duration};

use commands::{Clock, Commands, SystemClock};
use domain::Timestamp;
use store::PostgresLog;
use tokio::task::JoinHandle;

/// Between two comparisons.
const EVERY: Duration = Duration::from_secs(2);
/// How long the log's answer is waited for. A slow answer says little about its clock.
const ANSWER: Duration = Duration::from_secs(3);
/// A clock further than this from the log's takes the node out of service, in milliseconds.
const ALLOWED_MS: i64 = 1_000;

/// Compares once, so that nothing is served before, and then every few seconds until the task is aborted.
pub(super) async fn compare(log: Arc<PostgresLog>, commands: Commands) -> JoinHandle<()> {
    let clock = SystemClock::start();
    let mut apart = look(&log, &commands, &clock, false).await;
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(EVERY).await;
            apart = look(&log, &commands, &clock, apart).await;
        }
    })
}

/// Tells the commands how far the clocks are apart. Answers whether that is too far; when the log does
/// not answer, nothing new is known.
async fn look(log: &PostgresLog, commands: &Commands, clock: &SystemClock, was_apart: bool) -> bool {
    let asked = clock.now();
    let answer = tokio::time::timeout(ANSWER, log.server_time()).await;
    let Ok(Ok(theirs)) = answer else { return was_apart };
    let departure_ms = departure_ms(asked, clock.now(), theirs);
    commands.set_log_departure(departure_ms);
    let apart = departure_ms.abs() > ALLOWED_MS;
    match (was_apart, apart) {
        (false, true) => tracing::error!(
            departure_ms,
            "this machine's clock is ahead of the log's (behind it, if negative): the node does not serve until both agree"
        ),
        (true, false) => tracing::info!(departure_ms, "the clocks agree again: the node serves"),
        _ => {}
    }
    apart
}

/// How far the own clock is at least ahead of another, in milliseconds: that one showed `theirs` at some
/// moment between `asked` and `answered`.
fn departure_ms(asked: Timestamp, answered: Timestamp, theirs: Timestamp) -> i64 {
    let least = (asked.micros - theirs.micros).max(0) + (answered.micros - theirs.micros).min(0);
    least / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_an_answer_takes_is_no_departure() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        assert_eq!(departure_ms(at(100), at(103), at(101)), 0);
        assert_eq!(departure_ms(at(100), at(103), at(100)), 0);
        assert_eq!(departure_ms(at(100), at(103), at(98)), 2_000, "ahead");
        assert_eq!(departure_ms(at(100), at(103), at(105)), -2_000, "behind");
    }
}
