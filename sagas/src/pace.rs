//! When something that does not get on is tried again: by this process's clock, and forgotten with it.

use std::{collections::HashMap, hash::Hash, time::Duration};

use tokio::time::Instant;

/// The longest pause between two tries.
const LONGEST: Duration = Duration::from_secs(60);
/// Most things that are remembered.
const MAX_REMEMBERED: usize = 10_000;

/// Pauses that double.
#[derive(Debug)]
pub(crate) struct Pace<K> {
    first: Duration,
    tries: HashMap<K, (Instant, Duration)>,
    /// When what is over was forgotten last.
    tidied: Option<Instant>,
}

impl<K: Copy + Eq + Hash> Pace<K> {
    /// `first` is how long it waits for something that it has not seen.
    pub(crate) fn beginning_with(first: Duration) -> Self {
        Pace { first, tries: HashMap::new(), tidied: None }
    }

    /// Whether it is time for `key`, and when it is the next time. While there is no room to remember one
    /// more, that one is always due.
    pub(crate) fn is_due(&mut self, key: K, now: Instant) -> bool {
        if !self.has_room(key, now) {
            return true;
        }
        let (next, pause) = self.tries.entry(key).or_insert((now + self.first, self.first));
        if *next > now {
            return false;
        }
        *pause = (*pause * 2).min(LONGEST);
        *next = now + *pause;
        true
    }

    /// Whether `key` has failed, and has to wait for its next turn.
    pub(crate) fn is_held(&self, key: K, now: Instant) -> bool {
        self.tries.get(&key).is_some_and(|(next, _)| *next > now)
    }

    /// Notes that `key` has failed: it waits, longer each time.
    pub(crate) fn hold(&mut self, key: K, now: Instant) {
        if self.has_room(key, now) {
            let pause = self.tries.get(&key).map_or(self.first, |(_, pause)| (*pause * 2).min(LONGEST));
            self.tries.insert(key, (now + pause, pause));
        }
    }

    /// Notes that `key` has got on.
    pub(crate) fn forget(&mut self, key: K) {
        self.tries.remove(&key);
    }

    /// Whether `key` is remembered, or can be.
    fn has_room(&mut self, key: K, now: Instant) -> bool {
        if self.tries.len() < MAX_REMEMBERED || self.tries.contains_key(&key) {
            return true;
        }
        if self.tidied.is_none_or(|tidied| now.duration_since(tidied) >= self.first) {
            // What nobody has asked for in two pauses is over.
            self.tries.retain(|_, (next, pause)| *next + 2 * *pause > now);
            self.tidied = Some(now);
        }
        self.tries.len() < MAX_REMEMBERED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let (mut pace, begin) = (Pace::beginning_with(Duration::from_secs(5)), Instant::now());
        let due: Vec<u64> = (0..400).filter(|second| pace.is_due(1, begin + Duration::from_secs(*second))).collect();
        assert_eq!(due, [5, 15, 35, 75, 135, 195, 255, 315, 375]);
    }

    #[test]
    fn many_things_all_have_their_turn() {
        let (mut pace, begin) = (Pace::beginning_with(Duration::from_secs(5)), Instant::now());
        let mut tried = vec![0; MAX_REMEMBERED + 500];
        for second in (0..300).step_by(10) {
            for (key, tried) in tried.iter_mut().enumerate() {
                *tried += u32::from(pace.is_due(key, begin + Duration::from_secs(second)));
            }
            assert!(pace.tries.len() <= MAX_REMEMBERED);
        }
        assert!(tried.iter().all(|tried| *tried >= 4), "{:?}", tried.iter().min());
    }

    #[test]
    fn what_has_failed_is_held_longer_each_time_until_it_gets_on() {
        let (mut pace, begin) = (Pace::beginning_with(Duration::from_secs(1)), Instant::now());
        let at = |second| begin + Duration::from_secs(second);
        assert!(!pace.is_held(1, at(0)));
        let mut tried = vec![];
        for second in 0..200 {
            if !pace.is_held(1, at(second)) {
                tried.push(second);
                pace.hold(1, at(second));
            }
        }
        assert_eq!(tried, [0, 1, 3, 7, 15, 31, 63, 123, 183]);
        assert!(!pace.is_held(2, at(199)), "others go on");
        pace.forget(1);
        assert!(!pace.is_held(1, at(199)));
    }
}
