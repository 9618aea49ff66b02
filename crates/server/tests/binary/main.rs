//! Tests of the started program: real processes, real sockets, a real database.

mod answers;
mod contract;
mod crash;
mod demo;
mod external;
mod guide;
mod header_forms;
mod http;
mod limits;
mod logs;
mod refusals;
mod settings;
mod support;
