//! A cache per process whose values are used only while nothing that they are about has changed.

use std::hash::Hash;
use std::sync::Arc;

use metrics::{Counter, counter};
use moka::future::Cache;
use moka::ops::compute::Op;
use uuid::Uuid;

use crate::changes::{Changes, MAX_AGE};
use crate::error::{Error, Result};

/// Entries kept at most.
const CAPACITY: u64 = 50_000;

/// A value that a [`FreshCache`] holds.
pub trait Cached: Send + Sync + 'static {
    /// The users, companies and API keys whose change voids it.
    fn about(&self) -> impl Iterator<Item = Uuid> + Send;
}

/// Values by key, loaded once by however many ask at the same time, and for [`MAX_AGE`] at most.
pub struct FreshCache<K, V> {
    entries: Cache<K, Entry<V>>,
    changes: Changes,
    hits: Counter,
    misses: Counter,
}

struct Entry<V> {
    value: Arc<V>,
    /// [`Changes::generation`] when loading began.
    loaded_at: u64,
}

impl<V> Clone for Entry<V> {
    fn clone(&self) -> Entry<V> {
        Entry {
            value: self.value.clone(),
            loaded_at: self.loaded_at,
        }
    }
}

impl<K, V> FreshCache<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Cached,
{
    /// An empty cache; metrics know it by this name.
    pub fn new(name: &'static str, changes: &Changes) -> FreshCache<K, V> {
        let asked = |result: &'static str| counter!("ally360_cache_requests_total", "cache" => name, "result" => result);
        FreshCache {
            entries: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(MAX_AGE)
                .build(),
            changes: changes.clone(),
            hits: asked("hit"),
            misses: asked("miss"),
        }
    }

    /// The value of a key, loaded unless it is there.
    ///
    /// # Errors
    /// Those of loading: they are not cached, and shared by those who waited together.
    pub async fn get<F>(&self, key: K, load: impl Fn() -> F) -> Result<Arc<V>>
    where
        F: Future<Output = Result<V>> + Send,
    {
        // A load that others started before a change may be joined after it: then once more.
        for _ in 0..3 {
            if let Some(entry) = self.entries.get(&key).await {
                if self.is_current(&entry).await {
                    self.hits.increment(1);
                    return Ok(entry.value);
                }
                self.forget(&key, &entry).await;
            }
            self.misses.increment(1);
            let loaded = self.entries.try_get_with(key.clone(), self.loaded(load())).await;
            let entry = loaded.map_err(|e| Arc::try_unwrap(e).unwrap_or_else(|e| Error::same_as(&e)))?;
            if self.is_current(&entry).await {
                return Ok(entry.value);
            }
        }
        load().await.map(Arc::new)
    }

    async fn loaded(&self, load: impl Future<Output = Result<V>> + Send) -> Result<Entry<V>> {
        let loaded_at = self.changes.generation();
        Ok(Entry {
            value: Arc::new(load.await?),
            loaded_at,
        })
    }

    async fn is_current(&self, entry: &Entry<V>) -> bool {
        self.changes.unchanged(entry.loaded_at, entry.value.about()).await
    }

    /// Takes this entry out, and none that somebody has loaded since.
    async fn forget(&self, key: &K, void: &Entry<V>) {
        let is_void = |held: &Entry<V>| Arc::ptr_eq(&held.value, &void.value);
        let decide = |held: Option<moka::Entry<K, Entry<V>>>| async move {
            match held {
                Some(held) if is_void(held.value()) => Op::Remove,
                _ => Op::Nop,
            }
        };
        self.entries.entry(key.clone()).and_compute_with(decide).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    use std::time::Duration;

    use super::*;
    use crate::error::UNAVAILABLE;

    struct Of(Uuid, u32);

    impl Cached for Of {
        fn about(&self) -> impl Iterator<Item = Uuid> + Send {
            std::iter::once(self.0)
        }
    }

    #[derive(Default)]
    struct Source {
        loads: AtomicU32,
        changes: Changes,
    }

    impl Source {
        fn cache(&self) -> FreshCache<Uuid, Of> {
            FreshCache::new("test", &self.changes)
        }

        async fn load(&self, id: Uuid) -> Result<Of> {
            let number = self.loads.fetch_add(1, SeqCst) + 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(Of(id, number))
        }
    }

    #[tokio::test]
    async fn a_hundred_who_ask_at_once_load_once_before_and_after_a_change() {
        let (source, id) = (Source::default(), Uuid::from_u128(1));
        let cache = source.cache();
        for expected in 1..=3 {
            let asked = (0..100).map(|_| cache.get(id, || source.load(id)));
            for value in futures::future::join_all(asked).await {
                assert_eq!(value.expect("loaded").1, expected);
            }
            source.changes.changed(id).await;
        }
        assert_eq!(source.loads.load(SeqCst), 3);
    }

    #[tokio::test]
    async fn what_changed_while_it_was_loaded_is_loaded_again() {
        let (source, id) = (Source::default(), Uuid::from_u128(1));
        let cache = source.cache();
        let asked = cache.get(id, || source.load(id));
        let change = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            source.changes.changed(id).await;
        };
        let (value, ()) = tokio::join!(asked, change);
        assert_eq!(value.expect("loaded").1, 2);
    }

    #[tokio::test]
    async fn a_change_of_something_else_voids_nothing_and_of_everything_all() {
        let (source, id) = (Source::default(), Uuid::from_u128(1));
        let cache = source.cache();
        let number = async || cache.get(id, || source.load(id)).await.expect("loaded").1;
        assert_eq!(number().await, 1);
        source.changes.changed(Uuid::from_u128(2)).await;
        assert_eq!(number().await, 1);
        source.changes.missed();
        assert_eq!(number().await, 2);
    }

    #[tokio::test]
    async fn a_failure_is_shared_and_not_kept() {
        let (source, id) = (Source::default(), Uuid::from_u128(1));
        let cache = source.cache();
        let fail = || async {
            source.load(id).await?;
            Err(Error::new(&UNAVAILABLE))
        };
        let asked = (0..100).map(|_| cache.get(id, fail));
        for value in futures::future::join_all(asked).await {
            assert_eq!(value.err().expect("a failure").code(), "unavailable");
        }
        assert_eq!(source.loads.load(SeqCst), 1);
        assert_eq!(cache.get(id, || source.load(id)).await.expect("loaded").1, 2);
    }
}
