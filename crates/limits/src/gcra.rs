//! The generic cell rate algorithm: each request moves the time by which a key is "done" an interval on, and
//! is admitted while that time lies within a window from now. So a whole quota may be used at once, and
//! comes back one by one.
//!
//! The same arithmetic is in `shared.lua`. Times are in microseconds, so that neither rounds.

use kernel::limit::Rate;

/// A rate as the algorithm has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    /// What one request takes.
    pub every: i64,
    /// What may be taken at once.
    pub within: i64,
}

impl From<Rate> for Quota {
    fn from(rate: Rate) -> Quota {
        let window = i64::from(rate.seconds) * 1_000_000;
        let requests = i64::from(rate.requests.max(1));
        // Rounded up: in the long run never more than the rate.
        let every = (window + requests - 1) / requests;
        Quota {
            every,
            within: every * requests,
        }
    }
}

impl Quota {
    /// How far a key is ahead of `now`; never more than a window, whatever the clock was when it was charged.
    pub fn ahead(self, done: i64, now: i64) -> i64 {
        (done - now).clamp(0, self.within)
    }

    /// Whether one more is admitted, so far ahead.
    pub fn admits(self, ahead: i64) -> bool {
        ahead + self.every <= self.within
    }

    /// How many more are.
    pub fn remaining(self, ahead: i64) -> i64 {
        (self.within - ahead) / self.every
    }

    /// Seconds, rounded up, until one more is; 0 when one is now.
    pub fn wait(self, ahead: i64) -> i64 {
        seconds(ahead + self.every - self.within)
    }
}

/// Rounded up.
pub(crate) fn seconds(micros: i64) -> i64 {
    (micros.max(0) + 999_999) / 1_000_000
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Random rates, the same in every run, each with a source of more randomness.
    fn for_many_rates(test: impl Fn(Rate, &mut StdRng)) {
        for seed in 0..400 {
            let mut random = StdRng::seed_from_u64(seed);
            let requests = random.random_range(1..1500);
            let seconds = [1, 60, 3600, 86_400][random.random_range(0..4)];
            test(Rate { requests, seconds }, &mut random);
        }
    }

    /// Which of the requests at these times are admitted.
    fn admitted(quota: Quota, times: impl IntoIterator<Item = i64>) -> Vec<i64> {
        let mut done = 0;
        let admits = |now: &i64| {
            let ahead = quota.ahead(done, *now);
            let admits = quota.admits(ahead);
            if admits {
                done = now + ahead + quota.every;
            }
            admits
        };
        times.into_iter().filter(admits).collect()
    }

    #[test]
    fn a_fresh_key_has_its_whole_quota_at_once_and_not_one_more() {
        for_many_rates(|rate, random| {
            let now = random.random_range(0..i64::from(u32::MAX));
            let times = std::iter::repeat_n(now, rate.requests as usize + 50);
            assert_eq!(
                admitted(rate.into(), times).len(),
                rate.requests as usize,
                "{rate:?}"
            );
        });
    }

    /// Whatever the pattern: of any stretch of time no more than the quota and what came back meanwhile.
    #[test]
    fn no_stretch_has_more_than_quota_and_refill() {
        for_many_rates(|rate, random| {
            let quota = Quota::from(rate);
            let mut now = 1;
            let times: Vec<i64> = std::iter::repeat_with(|| {
                // Bursts, and pauses around the interval.
                if random.random_ratio(1, 3) {
                    now += random.random_range(0..3 * quota.every);
                }
                now
            })
            .take(400)
            .collect();
            let admitted = admitted(quota, times);
            for (first, from) in admitted.iter().enumerate() {
                for (last, to) in admitted.iter().enumerate().skip(first) {
                    let refill = ((to - from) / quota.every) as usize;
                    assert!(last - first < rate.requests as usize + refill, "{rate:?}");
                }
            }
        });
    }

    /// Nobody waits longer than he is told, and nobody is admitted a second earlier.
    #[test]
    fn after_the_wait_one_is_admitted() {
        for_many_rates(|rate, random| {
            let quota = Quota::from(rate);
            for _ in 0..50 {
                let ahead = random.random_range(0..=quota.within);
                let wait = quota.wait(ahead);
                let after = |seconds: i64| (ahead - seconds * 1_000_000).max(0);
                assert_eq!(wait == 0, quota.admits(ahead));
                assert!(quota.admits(after(wait)), "{rate:?} {ahead}");
                assert!(wait == 0 || !quota.admits(after(wait - 1)), "{rate:?} {ahead}");
                assert_eq!(quota.remaining(ahead) > 0, quota.admits(ahead));
            }
        });
    }

    #[test]
    fn a_pace_at_the_rate_is_never_refused() {
        for_many_rates(|rate, _| {
            let quota = Quota::from(rate);
            let times: Vec<i64> = (1..).step_by(quota.every as usize).take(3000).collect();
            assert_eq!(admitted(quota, times.iter().copied()), times, "{rate:?}");
        });
    }

    #[test]
    fn a_clock_put_back_costs_a_window_at_most() {
        for_many_rates(|rate, random| {
            let quota = Quota::from(rate);
            let now = random.random_range(0..1_000_000_000);
            let ahead = quota.ahead(now + random.random_range(0..i64::MAX / 4), now);
            assert!(quota.admits((ahead - quota.within).max(0)), "{rate:?}");
        });
    }
}
