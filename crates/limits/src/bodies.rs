//! Memory for bodies: they are read before a request has its turn, so what is held of them is bounded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Bodies of the largest size that are held at once. One party has half of what the others leave, so that whoever comes
/// finds room.
const LARGEST: u64 = 128;
/// Bodies up to so many bytes are not counted: the number of connections bounds them.
const SMALL: u64 = 16 * 1024;

/// The memory. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Bodies(Arc<Shared>);

struct Shared {
    largest: u64,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    total: u64,
    of: HashMap<u128, u64>,
}

/// Room for a body, until it is dropped.
pub(crate) struct Room {
    /// None for a small one.
    counted: Option<(Bodies, u128)>,
    bytes: u64,
}

impl Bodies {
    /// For bodies up to so many bytes.
    pub fn up_to(largest: u64) -> Bodies {
        Bodies(Arc::new(Shared {
            largest,
            held: Mutex::default(),
        }))
    }

    /// Room for a body of this party, of as many bytes as it declares; of the most where it declares none. None
    /// when too much is held, by it or by all.
    pub fn room(&self, party: u128, declared: Option<u64>) -> Option<Room> {
        let bytes = declared.unwrap_or(self.0.largest).min(self.0.largest);
        if bytes <= SMALL {
            return Some(Room { counted: None, bytes });
        }
        let budget = self.0.largest.saturating_mul(LARGEST);
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        let before = held.of.get(&party).copied().unwrap_or(0);
        let others = held.total - before;
        if before + bytes > budget.saturating_sub(others) / 2 {
            return None;
        }
        held.total += bytes;
        held.of.insert(party, before + bytes);
        Some(Room {
            counted: Some((self.clone(), party)),
            bytes,
        })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let Some((Bodies(shared), party)) = &self.counted else {
            return;
        };
        let mut held = shared.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.total -= self.bytes;
        if let Some(of_party) = held.of.get_mut(party) {
            *of_party -= self.bytes;
            if *of_party == 0 {
                held.of.remove(party);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn each_party_has_half_of_what_the_others_leave() {
        let bodies = Bodies::up_to(MIB);
        let take = |party| std::iter::from_fn(|| bodies.room(party, Some(MIB))).collect::<Vec<_>>();
        let parties: Vec<_> = (0..8).map(take).collect();
        let counts: Vec<usize> = parties.iter().map(Vec::len).collect();
        assert_eq!(counts, [64, 32, 16, 8, 4, 2, 1, 0]);
        assert!(bodies.room(8, None).is_none(), "of unknown size");
        assert!(bodies.room(8, Some(SMALL)).is_some());
        assert!(bodies.room(0, Some(MIB)).is_none());
        drop(parties);
        assert_eq!(take(9).len(), 64);
        let held = bodies.0.held.lock().expect("no panic");
        assert_eq!((held.total, held.of.len()), (0, 0), "nobody is remembered");
    }
}
