//! Objects to delete, written down in the transaction that gave them up: none is forgotten, and none
//! goes whose transaction did not commit.

use std::time::Duration;

use inspect::{Inspector, NoVerdict};
use kernel::job::{Job, JobCx, JobError, JobResult};
use serde::{Deserialize, Serialize};
use storage::Bucket;

use crate::Files;
use crate::file::{Variant, variant_key};
use crate::pictures::THUMBNAILS;

/// Deletes objects that no file refers to any more.
#[derive(Serialize, Deserialize)]
pub(crate) struct RemoveObjects {
    quarantine: Vec<String>,
    clean: Vec<String>,
}

impl RemoveObjects {
    /// An upload.
    pub fn quarantined(key: String) -> RemoveObjects {
        RemoveObjects {
            quarantine: vec![key],
            clean: Vec::new(),
        }
    }

    /// An upload of an avatar, and the thumbnails of the one that is shown no more.
    pub fn of_avatar(upload_key: String, key: Option<&str>) -> RemoveObjects {
        let clean = key
            .into_iter()
            .flat_map(|key| THUMBNAILS.map(|name| variant_key(key, name)));
        RemoveObjects {
            clean: clean.collect(),
            ..RemoveObjects::quarantined(upload_key)
        }
    }

    /// Everything of a file.
    pub fn of_file(upload_key: String, key: Option<String>, variants: &[Variant]) -> RemoveObjects {
        let clean = key.into_iter().flat_map(|key| {
            let variants = variants.iter().map(|variant| variant_key(&key, &variant.name));
            variants.chain([key.clone()]).collect::<Vec<_>>()
        });
        RemoveObjects {
            clean: clean.collect(),
            ..RemoveObjects::quarantined(upload_key)
        }
    }
}

impl Job for RemoveObjects {
    const NAME: &'static str = "files.remove_objects";
    const QUEUE: &'static str = crate::QUEUE;
    const TIMEOUT: Duration = STORE_TIMEOUT;

    async fn run(self, cx: JobCx) -> JobResult {
        let storage = &cx.app.part::<Files>()?.storage;
        let quarantine = self.quarantine.iter().map(|key| (Bucket::Quarantine, key));
        for (bucket, key) in quarantine.chain(self.clean.iter().map(|key| (Bucket::Clean, key))) {
            storage
                .delete(bucket, key)
                .await
                .map_err(|error| later(cx.attempt, error))?;
        }
        Ok(())
    }
}

/// For a job that asks the store one thing: longer than all attempts at a store that hangs, so that it is the store
/// that is found away, not the job too slow.
pub(crate) const STORE_TIMEOUT: Duration = Duration::from_mins(3);

/// A store that is down, or lets nobody in, does not count against a job; it asks again after 2, 4, 8, … seconds, at
/// most 5 minutes. What the store says of an object does count.
pub(crate) fn later(attempt: i32, cause: impl Into<anyhow::Error>) -> JobError {
    let cause = cause.into();
    if cause
        .downcast_ref::<storage::Error>()
        .is_some_and(|error| !error.is_of_the_store())
    {
        return JobError::Retry(cause);
    }
    away(attempt, cause)
}

/// The same of whatever is away.
pub(crate) fn away(attempt: i32, cause: impl Into<anyhow::Error>) -> JobError {
    let seconds = 1_u64 << attempt.clamp(1, 9).unsigned_abs();
    JobError::Later(Duration::from_secs(seconds.min(300)), cause.into())
}

/// What to do without a verdict: a scanner that is away is waited for, a file that it fails on counts. None when the
/// scanner has failed on it so often that it never will have one, though others it scans.
pub(crate) async fn undecided<J: Job>(
    cx: &JobCx,
    inspector: &Inspector,
    cause: NoVerdict,
) -> Option<JobError> {
    match cause {
        NoVerdict::Unavailable(_) => Some(away(cx.attempt, cause)),
        NoVerdict::Failed(_) if cx.failures + 1 < J::MAX_ATTEMPTS => Some(JobError::Retry(cause.into())),
        NoVerdict::Failed(_) => {
            let sick = inspector.try_scanner().await.err()?;
            Some(away(cx.attempt, sick))
        }
    }
}
