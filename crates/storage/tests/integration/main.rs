//! The client against the embedded store, against another S3 server in the process (`s3s-fs`) and, where
//! `ALLY360_TEST_S3_HOST`, `_PORT`, `_ACCESS_KEY` and `_SECRET_KEY` name one, against any server.

mod contract;
mod crash;
mod embedded;
mod limits;
mod setup;
mod support;
mod uploads;
