//! The matrix: every operation of the OpenAPI document against every way of not being allowed. It is
//! generated: a new operation is covered as soon as it is documented, and only a new path parameter
//! asks for a line, in `seeds.rs`.

mod bodies;
mod companies;
mod foreign;
mod input;
mod lists;
mod machines;
mod mutations;
mod operations;
mod oracle;
mod permissions;
mod public;
mod replay;
mod report;
mod seeds;
mod states;
mod tokens;
mod unique;
mod witness;
mod world;

pub use operations::Operation;
pub use witness::rows_of_others;
