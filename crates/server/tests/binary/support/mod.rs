//! What the tests share: data directories, the program as a process, and clients of it.

mod client;
mod external;
mod h2;
mod helper;
mod home;
mod process;
mod raw;

pub use client::{Answer, Client};
pub use external::External;
pub use h2::H2;
pub use helper::Helper;
pub use home::Home;
pub use process::{Program, Server, kill, wait_until};
pub use raw::{Raw, exchange};
pub use testkit::{figures, full};

/// The guide's company, its owner, and the password of all demo users.
pub const COMPANY: &str = "550e8400-e29b-41d4-a716-446655440000";
pub const OTHER_COMPANY: &str = "550e8400-e29b-41d4-a716-446655440001";
pub const OWNER: &str = "user@example.com";
pub const PASSWORD: &str = "password123";
