//! What each caller may cost: a leaky bucket a person of a tenant. A document's computed cost
//! ([`crate::limits`]) is taken from it, and it fills again at a steady rate.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_graphql::Value;

/// Most buckets that are remembered. What was longest unused is forgotten, and is then full again.
const MAX_BUCKETS: usize = 65_536;

/// How much a caller may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// What a full bucket holds. A document that costs more takes a whole one.
    pub burst: u64,
    /// What comes back each second.
    pub per_second: u64,
}

impl Default for Rate {
    /// No person reaches it: it is fifty of the dearest documents at once, then two and a half a second;
    /// a kitchen's screen that reads a hundred orders each second costs a fifteenth.
    fn default() -> Self {
        Rate { burst: 1_000_000, per_second: 50_000 }
    }
}

/// What a document cost, and what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) requested: u64,
    pub(crate) available: u64,
    per_second: u64,
}

impl Charge {
    /// As `extensions.cost` of an answer.
    pub(crate) fn to_value(self) -> Value {
        let fields =
            [("requested", self.requested), ("available", self.available), ("restoresPerSecond", self.per_second)];
        let named = |(name, number): (&str, u64)| (async_graphql::Name::new(name), Value::from(number));
        Value::Object(fields.into_iter().map(named).collect())
    }
}

/// There is too little left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Throttled {
    pub(crate) charge: Charge,
    /// When there is enough again, if nothing else is asked until then.
    pub(crate) retry_after: Duration,
}

#[derive(Clone, Copy)]
struct Bucket {
    available: u64,
    at: Instant,
}

impl Bucket {
    /// With what has come back since. What is less than one waits for the next time.
    fn filled(self, rate: Rate, now: Instant) -> Bucket {
        let elapsed = now.saturating_duration_since(self.at);
        let restored = elapsed.as_micros().saturating_mul(rate.per_second.into()) / 1_000_000;
        let available = u64::try_from(restored).map_or(rate.burst, |restored| self.available.saturating_add(restored));
        if available >= rate.burst {
            return Bucket { available: rate.burst, at: now };
        }
        // Only the time that brought something is spent.
        let spent = restored.saturating_mul(1_000_000) / u128::from(rate.per_second.max(1));
        Bucket { available, at: self.at + Duration::from_micros(u64::try_from(spent).unwrap_or(u64::MAX)) }
    }
}

/// The buckets of all callers, in two generations: when the younger is full, the older is forgotten.
pub(crate) struct Buckets<K> {
    rate: Rate,
    most: usize,
    generations: Mutex<[HashMap<K, Bucket>; 2]>,
}

impl<K: Eq + Hash> Buckets<K> {
    pub(crate) fn new(rate: Rate) -> Self {
        Buckets { rate, most: MAX_BUCKETS, generations: Mutex::new([HashMap::new(), HashMap::new()]) }
    }

    /// Takes `cost` from the bucket of `caller`, or nothing when that is too much.
    pub(crate) fn charge(&self, caller: K, cost: u64, now: Instant) -> Result<Charge, Throttled> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let [younger, older] = &mut *generations;
        let known = younger.get(&caller).copied().or_else(|| older.remove(&caller));
        let full = Bucket { available: self.rate.burst, at: now };
        let mut bucket = known.map_or(full, |bucket| bucket.filled(self.rate, now));
        let taken = cost.min(self.rate.burst);
        let left = bucket.available.checked_sub(taken);
        bucket.available = left.unwrap_or(bucket.available);
        if younger.len() >= self.most / 2 && !younger.contains_key(&caller) {
            *older = std::mem::take(younger);
        }
        younger.insert(caller, bucket);
        let charge = Charge { requested: cost, available: bucket.available, per_second: self.rate.per_second };
        match left {
            Some(_) => Ok(charge),
            None => {
                let missing = taken - bucket.available;
                let micros = (u128::from(missing) * 1_000_000).div_ceil(u128::from(self.rate.per_second.max(1)));
                let retry_after = Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX));
                Err(Throttled { charge, retry_after })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 100, per_second: 10 };

    fn left(buckets: &Buckets<u32>, caller: u32, cost: u64, now: Instant) -> Result<u64, u64> {
        let answer = buckets.charge(caller, cost, now);
        answer
            .map(|charge| charge.available)
            .map_err(|throttled| u64::try_from(throttled.retry_after.as_millis()).unwrap())
    }

    #[test]
    fn a_bucket_empties_and_fills_again_and_is_each_callers_own() {
        let (buckets, start) = (Buckets::new(RATE), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(left(&buckets, 1, 60, at(0)), Ok(40));
        assert_eq!(left(&buckets, 1, 60, at(0)), Err(2_000), "nothing is taken for what is refused");
        assert_eq!(left(&buckets, 1, 40, at(0)), Ok(0));
        assert_eq!(left(&buckets, 2, 60, at(0)), Ok(40), "somebody else");
        assert_eq!(left(&buckets, 1, 60, at(1_999)), Err(4_100));
        assert_eq!(left(&buckets, 1, 60, at(6_099)), Ok(0));
        assert_eq!(left(&buckets, 1, 1, at(3_600_000)), Ok(99), "and never over the brim");
    }

    #[test]
    fn asking_often_loses_nothing_of_what_comes_back() {
        let (buckets, start) = (Buckets::new(RATE), Instant::now());
        assert_eq!(left(&buckets, 1, 100, start), Ok(0));
        for millis in 1..1_000 {
            assert!(left(&buckets, 1, 100, start + Duration::from_millis(millis)).is_err());
        }
        assert_eq!(left(&buckets, 1, 10, start + Duration::from_millis(1_000)), Ok(0));
        // One comes back in 100 ms: of 150 the half is not lost.
        for step in 1..=20 {
            assert!(left(&buckets, 1, 100, start + Duration::from_millis(1_000 + 150 * step)).is_err());
        }
        assert_eq!(left(&buckets, 1, 30, start + Duration::from_millis(4_000)), Ok(0));
    }

    #[test]
    fn what_costs_more_than_a_bucket_takes_a_whole_one() {
        let (buckets, start) = (Buckets::new(RATE), Instant::now());
        let charge = buckets.charge(1, 5_000, start).unwrap();
        assert_eq!((charge.requested, charge.available), (5_000, 0));
        assert_eq!(left(&buckets, 1, 5_000, start), Err(10_000));
    }

    #[test]
    fn buckets_are_bounded_and_those_in_use_are_kept() {
        let buckets = Buckets { most: 10, ..Buckets::new(RATE) };
        let start = Instant::now();
        for caller in 0..1_000 {
            left(&buckets, caller, 1, start).unwrap();
            // Somebody who goes on asking does not get a new bucket from the crowd.
            assert_eq!(left(&buckets, 5_000, 0, start), Ok(if caller < 500 { 100 } else { 0 }));
            if caller == 499 {
                left(&buckets, 5_000, 100, start).unwrap();
            }
            let held: usize = buckets.generations.lock().unwrap().iter().map(HashMap::len).sum();
            assert!(held <= 10, "{held}");
        }
    }
}
