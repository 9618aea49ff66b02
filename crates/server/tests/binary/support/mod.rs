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

/// The guide's company, its owner, and the password of all demo users.
pub const COMPANY: &str = "550e8400-e29b-41d4-a716-446655440000";
pub const OTHER_COMPANY: &str = "550e8400-e29b-41d4-a716-446655440001";
pub const OWNER: &str = "user@example.com";
pub const PASSWORD: &str = "password123";

/// Says what a fault did, for people who watch and, in a file of its own, for `script/faults`.
pub fn figures(fault: &str, outcome: &str) {
    use std::io::Write;
    eprintln!("{fault}: {outcome}");
    let Some(path) = std::env::var_os("ALLY360_TEST_FIGURES") else {
        return;
    };
    let file = std::fs::File::options().append(true).create(true).open(path);
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    // One write, because tests run at the same time.
    let line = format!("{fault}\t{name}\t{outcome}\n");
    file.and_then(|mut file| file.write_all(line.as_bytes()))
        .expect("the file of figures");
}

/// Whether the large counts were asked for.
pub fn full() -> bool {
    std::env::var_os("ALLY360_TEST_FULL").is_some()
}
