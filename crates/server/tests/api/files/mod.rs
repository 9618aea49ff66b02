//! Files, from the presigned URL to the purge, over a real object store.

mod clamd;
mod companies;
mod crash;
mod flow;
mod library;
mod orphans;
mod quota;
mod refusals;
mod replay;
pub mod support;
