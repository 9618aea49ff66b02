//! How much a test of faults does, and what came out of it.

use std::io::Write;

/// Says what a fault did, for people who watch and, in a file of its own, for `script/faults`.
///
/// # Panics
/// When that file cannot be written.
pub fn figures(fault: &str, outcome: &str) {
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
