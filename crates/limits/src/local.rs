//! What is counted in this process: without Redis, and while it is away.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::charge::{Charge, Key};

/// Keys that are remembered at once: a few megabytes.
const CAPACITY: usize = 100_000;

/// When each key is done, in microseconds. One lock: it is held for a fraction of a microsecond, and so all
/// keys of a request are charged together or not at all.
pub(crate) struct Local {
    done: Mutex<HashMap<Key, i64>>,
    capacity: usize,
}

impl Default for Local {
    fn default() -> Local {
        Local {
            done: Mutex::default(),
            capacity: CAPACITY,
        }
    }
}

impl Local {
    /// Charges all or, if one is refused, none; tells whether it did. Each then knows how it stands.
    pub fn take(&self, charges: &mut [Charge], now: i64) -> bool {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        for charge in &mut *charges {
            let Some(until) = done.get_mut(&charge.key) else {
                charge.ahead = 0;
                continue;
            };
            charge.ahead = charge.quota.ahead(*until, now);
            // Kept also when it is refused: a clock that was put back, or a rate that is another now, would otherwise
            // refuse until then.
            *until = (*until).min(now + charge.quota.within);
        }
        let admitted = charges.iter().all(Charge::is_admitted);
        if admitted {
            for charge in charges {
                charge.ahead += charge.quota.every;
                if done.len() >= self.capacity && !done.contains_key(&charge.key) {
                    make_room(&mut done, now);
                }
                done.insert(charge.key, now + charge.ahead);
            }
        }
        admitted
    }

    /// Undoes a charge of the last moment: somebody else refused the request.
    pub fn give_back(&self, charges: &mut [Charge]) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        for charge in charges {
            charge.ahead -= charge.quota.every;
            if let Some(until) = done.get_mut(&charge.key) {
                *until -= charge.quota.every;
            }
        }
    }
}

/// Forgets who is done and, if those are too few, who has asked least.
fn make_room(done: &mut HashMap<Key, i64>, now: i64) {
    let kept = done.len() / 2;
    done.retain(|_, until| *until > now);
    if done.len() > kept {
        let mut times: Vec<i64> = done.values().copied().collect();
        let (_, bound, _) = times.select_nth_unstable(kept);
        let bound = *bound;
        done.retain(|_, until| *until > bound);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use kernel::limit::Rate;

    use super::*;

    const RATE: Rate = Rate {
        requests: 3,
        seconds: 60,
    };

    fn charge(policy: u16, who: u128) -> Charge {
        Charge::new(Key { policy, who }, RATE)
    }

    #[test]
    fn one_refusal_charges_nobody() {
        let local = Local::default();
        for _ in 0..3 {
            assert!(local.take(&mut [charge(0, 1)], 1));
        }
        let mut both = [charge(1, 1), charge(0, 1)];
        assert!(!local.take(&mut both, 1));
        assert_eq!(both.map(|charge| charge.quota.remaining(charge.ahead)), [3, 0]);
        assert!(local.take(&mut [charge(1, 1)], 1));
    }

    #[test]
    fn what_is_given_back_can_be_used_again() {
        let local = Local::default();
        for _ in 0..10 {
            let mut charges = [charge(0, 1)];
            assert!(local.take(&mut charges, 1));
            local.give_back(&mut charges);
            assert_eq!(charges[0].quota.remaining(charges[0].ahead), 3);
        }
    }

    #[test]
    fn a_clock_put_back_costs_a_window_at_most() {
        let (local, hour) = (Local::default(), 3_600_000_000);
        for _ in 0..3 {
            assert!(local.take(&mut [charge(0, 1)], 2 * hour));
        }
        // By an hour: then a third of the minute's three are back after a third of a minute.
        assert!(!local.take(&mut [charge(0, 1)], hour));
        assert!(!local.take(&mut [charge(0, 1)], hour + 19_000_000));
        assert!(local.take(&mut [charge(0, 1)], hour + 20_000_000));
    }

    #[test]
    fn a_rate_that_is_raised_again_counts_at_once() {
        let local = Local::default();
        let slow = Rate {
            requests: 1,
            seconds: 86_400,
        };
        let key = Key { policy: 0, who: 1 };
        assert!(local.take(&mut [Charge::new(key, slow)], 1));
        assert!(!local.take(&mut [charge(0, 1)], 1));
        assert!(local.take(&mut [charge(0, 1)], 20_000_001));
    }

    #[test]
    fn keys_count_apart() {
        let local = Local::default();
        for who in 0..100 {
            for policy in 0..3 {
                for _ in 0..3 {
                    assert!(local.take(&mut [charge(policy, who)], 1));
                }
                assert!(!local.take(&mut [charge(policy, who)], 1));
            }
        }
    }

    #[test]
    fn many_strangers_take_bounded_memory_and_push_out_nobody_who_asks_much() {
        let local = Local {
            done: Mutex::default(),
            capacity: 1000,
        };
        for _ in 0..3 {
            assert!(local.take(&mut [charge(0, 7)], 1));
        }
        for who in 1000..200_000 {
            assert!(local.take(&mut [charge(0, who)], 2));
            assert!(local.done.lock().expect("no panic").len() <= 1000);
        }
        assert!(!local.take(&mut [charge(0, 7)], 2), "still known");
    }

    /// For docs/limits.md: `cargo test --release -p limits -- --ignored cost`.
    #[test]
    #[ignore = "a measurement"]
    fn cost() {
        let local = Local::default();
        let rate = Rate {
            requests: 1_000_000,
            seconds: 1,
        };
        let count = 2_000_000_u32;
        let began = Instant::now();
        let mut admitted = 0;
        for n in 0..count {
            let who = u128::from(n % 1000);
            let keys = [0, 1, 2].map(|policy| Charge::new(Key { policy, who }, rate));
            admitted += u32::from(local.take(&mut keys.to_vec(), i64::from(n)));
        }
        let each = began.elapsed() / count;
        panic!("{each:?} for the three keys of a request; {admitted} admitted");
    }
}
