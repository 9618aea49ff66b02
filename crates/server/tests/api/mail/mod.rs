//! Mail: what a job sends, and where it ends.

mod command;
mod kinds;
mod mailbox;
mod server;
mod smtp;
mod support;
