//! How many uploads to one key are under way at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Uploads under way at once to one key: a client that tries again need not wait for its lost connection, and one URL
/// takes no more of the disk than twice what it was signed for.
const MAX_UPLOADS: usize = 2;

/// How many uploads to each key of the quarantine are under way.
#[derive(Clone, Default)]
pub(super) struct Uploads(Arc<Mutex<HashMap<String, usize>>>);

/// One of them, until it is dropped.
pub(super) struct Upload {
    uploads: Uploads,
    key: String,
}

impl Uploads {
    /// One more; none when there are enough.
    pub fn begin(&self, key: &str) -> Option<Upload> {
        let mut uploads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = uploads.entry(key.to_owned()).or_default();
        if *count >= MAX_UPLOADS {
            return None;
        }
        *count += 1;
        Some(Upload {
            uploads: self.clone(),
            key: key.to_owned(),
        })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut uploads = self.uploads.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = uploads.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                uploads.remove(&self.key);
            }
        }
    }
}
