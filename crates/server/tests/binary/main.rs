//! Tests of the started program: real processes, real sockets, a real database.

mod answers;
mod audit;
mod clock;
mod contract;
mod crash;
mod demo;
mod disk;
mod external;
mod files;
mod fleet;
mod guide;
mod header_forms;
mod http;
mod idempotency;
mod limits;
mod logs;
mod mail;
mod monitoring;
mod redis;
mod refusals;
mod settings;
mod slow;
mod starting;
mod support;
mod traces;

#[expect(dead_code, reason = "the inspection's own tests use all of it")]
#[path = "../../../inspect/tests/integration/corpus.rs"]
mod corpus;
#[path = "../../../inspect/tests/integration/daemon.rs"]
mod daemon;
#[expect(dead_code, reason = "the inspection's own tests use all of it")]
#[path = "../../../inspect/tests/integration/jpeg.rs"]
mod jpeg;
#[path = "../../../inspect/tests/integration/zip.rs"]
mod zip;
