//! Background jobs: the promises of the queue, kept by workers in this process.

mod control;
mod crash;
mod delivery;
mod enqueue;
mod fairness;
mod operator;
mod outage;
mod plans;
mod rotation;
mod schedule;
mod silent;
pub mod support;
