//! The migrations are compiled in: a new file alone has to be noticed too, which the macro does not do.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
}
