//! Settings of a worker.

use std::time::Duration;

/// What a worker serves, and its limits.
#[derive(Clone, Debug)]
pub struct Options {
    /// Queues to serve; empty for all that have a job kind.
    pub queues: Vec<String>,
    /// Jobs at once.
    pub concurrency: usize,
    /// Jobs of one company at once in a queue, over all workers.
    pub per_tenant: i64,
    /// How long a job stays this worker's without a sign of life.
    pub lease: Duration,
    /// After the process was told to stop: the time in which running jobs end or are given back.
    pub drain: Duration,
    /// Days that the history and ended jobs are kept.
    pub days_kept: i32,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            queues: Vec::new(),
            concurrency: 8,
            per_tenant: 4,
            lease: Duration::from_secs(30),
            drain: Duration::from_secs(25),
            days_kept: 14,
        }
    }
}
