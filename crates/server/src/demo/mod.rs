//! Demo companies: believable, deterministic catalogs to try the product and to measure it with.

mod assortment;
mod bakery;
mod seed;
mod supermarket;

pub use seed::{PASSWORD, SUPERMARKET, USERS, greet, seed};
