//! A Colombian neighbourhood supermarket: 1,200 products, 30 brands, 15 categories.

mod drinks;
mod fresh;
mod household;
mod pantry;

use super::assortment::{self, Shelf};
pub use super::assortment::{Category, Product};

/// Invented brands; each belongs to one to three categories.
pub const BRANDS: [&str; 30] = [
    "Blancanube",
    "Brisa Clara",
    "Cabo Luz",
    "Cacao Niyará",
    "Cafetal Quimbaré",
    "Campo Nevado",
    "Cañaflor",
    "Chispín",
    "Corral Andino",
    "Crocandina",
    "Don Ulpiano",
    "El Totumo",
    "Espiga del Llano",
    "Finca Tibaná",
    "Fogón Paisano",
    "Frutazul",
    "Horno Mayor",
    "Huerta Serrana",
    "Huerto Lindo",
    "Llanal",
    "Maizal Dorado",
    "Mirringa",
    "Nevara",
    "Páramo Bravo",
    "Peludín",
    "Rabo Contento",
    "Rosal Vivo",
    "San Lino",
    "Sazón Carmenza",
    "Vallealto",
];

const SHELVES: [Shelf; 15] = [
    fresh::PRODUCE,
    fresh::MEAT,
    fresh::DAIRY,
    fresh::COLD_CUTS,
    fresh::BREAD,
    fresh::FROZEN,
    pantry::STAPLES,
    pantry::CONDIMENTS,
    pantry::BREAKFAST,
    pantry::SNACKS,
    drinks::SOFT_DRINKS,
    drinks::ALCOHOL,
    household::CLEANING,
    household::PERSONAL_CARE,
    household::PETS,
];

pub const CATEGORIES: [Category; 15] = assortment::categories(&SHELVES);

/// The 1,200 products, grouped by category in the order of [`CATEGORIES`]; the same on every call.
pub fn products() -> Vec<Product> {
    assortment::stock(&SHELVES)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::demo::assortment::tests::assert_well_formed;

    #[test]
    fn carries_1200_well_formed_products() {
        let products = products();
        assert_eq!(products.len(), 1_200);
        assert_well_formed(&products, &BRANDS, &CATEGORIES);
    }

    #[test]
    fn gives_the_same_products_on_every_call() {
        let products = products();
        assert_eq!(products, super::products());
        assert_eq!(
            products[0],
            Product {
                sku: "FRU-0001".to_owned(),
                name: "Banano criollo".to_owned(),
                description: "Fruta fresca de temporada, se vende por kilo.".to_owned(),
                bar_code: None,
                brand: "Finca Tibaná",
                category: "Frutas y verduras",
                unit_of_measure: "kg",
                price_base_cents: 245_000,
                price_sale_cents: 320_000,
            }
        );
        assert_eq!(
            products[1_199],
            Product {
                sku: "MAS-0060".to_owned(),
                name: "Collar mediano Peludín".to_owned(),
                description: "Collar ajustable en nailon.".to_owned(),
                bar_code: Some("7708279012009".to_owned()),
                brand: "Peludín",
                category: "Mascotas",
                unit_of_measure: "unit",
                price_base_cents: 1_255_000,
                price_sale_cents: 1_520_000,
            }
        );
    }

    #[test]
    fn each_category_has_60_to_100_products() {
        let mut sizes = BTreeMap::new();
        for product in products() {
            *sizes.entry(product.category).or_insert(0) += 1;
        }
        assert!(sizes.values().all(|size| (60..=100).contains(size)), "{sizes:?}");
    }

    #[test]
    fn each_brand_belongs_to_one_to_three_categories() {
        let mut categories = BTreeMap::<_, BTreeSet<_>>::new();
        for product in products() {
            categories
                .entry(product.brand)
                .or_default()
                .insert(product.category);
        }
        assert!(categories.values().all(|c| c.len() <= 3), "{categories:?}");
    }
}
