//! Demo companies: believable, deterministic catalogs to try the product and to measure it with.

mod assortment;
pub mod bakery;
pub mod supermarket;
