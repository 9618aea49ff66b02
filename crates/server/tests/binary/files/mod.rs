//! Files through the started program: hostile uploads, dying workers, services that go away.

mod deaths;
mod health;
mod hostile;
mod outages;
mod samples;
pub mod support;
