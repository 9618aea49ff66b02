//! Who follows files: an event stream outlives the request that was let in, so it asks again who calls, and how many
//! there may be is bounded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use http::HeaderMap;
use kernel::caller::Caller;
use kernel::prelude::*;
use uuid::Uuid;

pub(crate) const TOO_MANY_STREAMS: Code = Code::new(
    429,
    "too-many-streams",
    "Too many event streams are open; try again after the time in Retry-After",
);

/// Streams of one user or API key at once in a process.
const PER_CALLER: usize = 20;
/// Streams of one company at once in a process.
const PER_COMPANY: usize = 100;
/// Streams end with what they follow, mostly within seconds.
const RETRY_AFTER: u32 = 5;

type Resolve = dyn Fn(HeaderMap) -> BoxFuture<'static, Result<Caller>> + Send + Sync;

/// The open event streams of a process; a part of the [`App`](kernel::app::App).
#[derive(Clone)]
pub struct Followers {
    resolve: Arc<Resolve>,
    open: Open,
}

/// Streams by user or API key, and by company.
type Open = Arc<Mutex<HashMap<Uuid, usize>>>;

impl Followers {
    /// None yet. `resolve` tells who a request with these headers comes from, as before any request; who knows that
    /// depends on this crate, and so is given.
    pub fn new(
        resolve: impl Fn(HeaderMap) -> BoxFuture<'static, Result<Caller>> + Send + Sync + 'static,
    ) -> Followers {
        Followers {
            resolve: Arc::new(resolve),
            open: Open::default(),
        }
    }

    /// Who calls with these headers now.
    ///
    /// # Errors
    /// Those of a request that is not let in.
    pub(crate) async fn caller(&self, headers: &HeaderMap) -> Result<Caller> {
        (self.resolve)(headers.clone()).await
    }

    /// One more stream of the caller, until the place is dropped.
    ///
    /// # Errors
    /// `too-many-streams`.
    pub(crate) fn enter(&self, caller: &Caller) -> Result<Place> {
        let limits = [(caller.id(), PER_CALLER), (caller.tenant_id, PER_COMPANY)];
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |(id, most): &(Uuid, usize)| open.get(id).is_some_and(|count| count >= most);
        if limits.iter().any(full) {
            return Err(Error::new(&TOO_MANY_STREAMS).retry_after(RETRY_AFTER));
        }
        let of = limits.map(|(id, _)| id);
        for id in of {
            *open.entry(id).or_default() += 1;
        }
        drop(open);
        Ok(Place {
            open: self.open.clone(),
            of,
        })
    }
}

/// Held by an open stream; given back when dropped, however the stream ended.
pub(crate) struct Place {
    open: Open,
    of: [Uuid; 2],
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for id in self.of {
            if let Some(count) = open.get_mut(&id) {
                *count -= 1;
                if *count == 0 {
                    open.remove(&id);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kernel::caller::UserCaller;

    use super::*;

    fn caller(user: u128, company: u128) -> Caller {
        Caller {
            user: UserCaller {
                user_id: Uuid::from_u128(user),
                session_id: Uuid::nil(),
            },
            api_key: None,
            tenant_id: Uuid::from_u128(company),
            role: "owner",
            grants: Arc::default(),
            suspended: false,
            limits: kernel::limit::Overrides::default(),
        }
    }

    #[test]
    fn a_user_has_twenty_places_and_a_company_a_hundred_and_dropped_ones_are_free_again() {
        let followers = Followers::new(|_| unreachable!("nobody asks"));
        let enter = |user, company| followers.enter(&caller(user, company));
        let mut places: Vec<Place> = (0..20).map(|_| enter(1, 100).expect("a place")).collect();
        let full = enter(1, 100).err().expect("no place");
        assert_eq!(full.code(), "too-many-streams");
        enter(1, 200).err().expect("no place in another company either");
        for user in 2..=5 {
            places.extend((0..20).map(|_| enter(user, 100).expect("a place")));
        }
        enter(6, 100).err().expect("the company has no place");
        enter(6, 200).expect("another one has");
        places.pop();
        places.push(enter(6, 100).expect("the place is free again"));
        drop(places);
        assert!(followers.open.lock().expect("unpoisoned").is_empty());
    }
}
