//! The link of a process to Redis, which processes share for limits and caches and which is never the
//! only copy of anything. Whoever asks while it is away is told at once, and does without.

mod changes;
mod config;
mod link;
mod subscription;

pub use changes::share_changes;
pub use config::RedisConfig;
pub use link::{Away, RedisLink, probe};
pub use subscription::Subscription;

/// Commands and scripts, as the client library has them.
pub use redis;
