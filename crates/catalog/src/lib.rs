//! What a company sells: products, brands, categories.

mod brands;
mod categories;
mod products;

pub use brands::BrandId;
pub use categories::CategoryId;
pub use products::ProductId;

use kernel::module::Module;

/// The modules of this crate.
pub fn modules() -> Vec<Module> {
    vec![
        brands::module(),
        categories::module(),
        products::module(),
        products::images_module(),
    ]
}
