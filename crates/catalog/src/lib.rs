//! What a company sells: products, brands, categories.

mod brands;

pub use brands::BrandId;

use kernel::module::Module;

/// The modules of this crate.
pub fn modules() -> Vec<Module> {
    vec![brands::module()]
}
