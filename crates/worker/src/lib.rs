//! The runner of background jobs. It knows no business job: kinds and schedules are handed to it.
//!
//! A job is run at least once. Claims are fair between companies, leases are fenced by the attempt,
//! pauses before a retry are stored, and a job that cannot succeed ends dead and visible.

mod api;
mod claim;
mod depth;
mod execute;
mod finish;
mod lease;
mod operator;
mod options;
mod retry;
mod run;
mod schedule;

pub use api::{JobId, modules};
pub use depth::{Depth, depths};
pub use options::Options;
pub use run::Worker;
pub use schedule::{plan, schedule};

use uuid::Uuid;

/// A claimed job: this worker's until the lease ends.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub tenant_id: Uuid,
    pub id: Uuid,
    pub name: String,
    pub payload: serde_json::Value,
    /// The fencing token.
    pub attempt: i32,
    /// Earlier runs that failed.
    pub failures: i32,
    pub created_by: Option<Uuid>,
    pub request_id: Option<String>,
    pub traceparent: Option<String>,
    pub tracestate: Option<String>,
}
