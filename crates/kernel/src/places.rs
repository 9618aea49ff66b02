//! Places for connections: a bound on those that are open, in all and of one subscriber.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::origin::subscriber;

/// Counts open connections. Cheap to clone.
#[derive(Clone)]
pub struct Places(Arc<Shared>);

struct Shared {
    max: usize,
    /// 0 is unlimited.
    max_of_one: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    total: usize,
    of: HashMap<IpAddr, usize>,
}

/// The place of one open connection.
pub struct Place {
    places: Places,
    subscriber: IpAddr,
}

impl Places {
    /// So many in all and of one subscriber, with 0 as many of one as of all.
    pub fn new(max: usize, max_of_one: usize) -> Places {
        Places(Arc::new(Shared {
            max,
            max_of_one,
            open: Mutex::default(),
        }))
    }

    /// A place for a connection from `ip`, free again when dropped; `None` above a limit.
    pub fn take(&self, ip: IpAddr) -> Option<Place> {
        let subscriber = subscriber(ip);
        let mut open = self.lock();
        let of_one = open.of.get(&subscriber).copied().unwrap_or(0);
        if open.total >= self.0.max || (self.0.max_of_one > 0 && of_one >= self.0.max_of_one) {
            return None;
        }
        open.total += 1;
        open.of.insert(subscriber, of_one + 1);
        Some(Place {
            places: self.clone(),
            subscriber,
        })
    }

    /// Connections now open.
    pub fn open(&self) -> usize {
        self.lock().total
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.places.lock();
        open.total -= 1;
        if let Some(count) = open.of.get_mut(&self.subscriber) {
            *count -= 1;
            if *count == 0 {
                open.of.remove(&self.subscriber);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn addresses_of_one_subscriber_share_a_limit() {
        let places = Places::new(10, 1);
        let _first = [
            places.take(ip("2001:db8::1")).expect("a place"),
            places.take(ip("192.0.2.1")).expect("a place"),
        ];
        assert!(places.take(ip("2001:db8::ffff")).is_none(), "same /64");
        assert!(places.take(ip("2001:db8:0:1::1")).is_some(), "another /64");
        assert!(
            places.take(ip("::ffff:192.0.2.1")).is_none(),
            "the same IPv4 address, mapped"
        );
        assert!(places.take(ip("192.0.2.2")).is_some(), "another IPv4 address");
    }

    #[test]
    fn a_place_is_free_again_and_nobody_is_remembered() {
        let places = Places::new(1, 0);
        let place = places.take(ip("192.0.2.1")).expect("a place");
        assert!(places.take(ip("192.0.2.2")).is_none());
        drop(place);
        assert_eq!((places.open(), places.lock().of.len()), (0, 0));
    }
}
