//! Files, from the presigned URL to the purge, over a real object store.

mod avatars;
mod clamd;
mod companies;
mod crash;
mod events;
mod flow;
mod library;
mod logo;
mod orphans;
mod quota;
mod refusals;
mod replay;
pub mod support;
