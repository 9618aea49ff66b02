//! The supervisor against a real PostgreSQL. Run as root the server runs as another user, run by anybody else as that
//! user; what only root can arrange (full and read-only disks, private parents) is skipped for others.

mod crash;
mod lifecycle;
mod places;
mod refusals;
mod support;
