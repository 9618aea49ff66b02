//! A bakery-café, the small second company: 40 products, 4 brands, 5 categories.
//!
//! Some of its SKUs also exist in the supermarket, as they would between two real companies.

use super::assortment::{self, Shelf, lines};
pub use super::assortment::{Category, Product};

/// Invented brands; the first is the bakery's own.
pub const BRANDS: [&str; 4] = ["La Migaja", "Tostión Calicanto", "Rocío Frío", "Dulce Colmena"];

const SHELVES: [Shelf; 5] = [
    Shelf {
        category: Category {
            name: "Panadería",
            description: "Pan y amasijos horneados cada mañana.",
        },
        code: "PAN",
        count: 12,
        bar_coded: false,
        lines: lines! {
            "unit" "" ["Pan francés", "Pan rollo", "Mogolla integral" + 40, "Pan aliñado" + 60,
                "Roscón de bocadillo" + 220, "Pan de queso" + 150] of ["La Migaja"] at ["" 700]:
                "Pan recién horneado";
            "unit" "" ["Buñuelo", "Pandebono", "Almojábana" + 5, "Pan de yuca",
                "Pastel gloria" + 60] of ["La Migaja"] at ["" 1_700]: "Amasijo recién horneado";
            "kg" "" [""] of ["La Migaja"] at ["Colaciones surtidas" 26_000]:
                "Galletas finas de la casa";
        },
    },
    Shelf {
        category: Category {
            name: "Pastelería",
            description: "Tortas, postres y ponqués por porción o por encargo.",
        },
        code: "PAS",
        count: 10,
        bar_coded: false,
        lines: lines! {
            "unit" "Torta" ["de chocolate" + 10, "de tres leches" + 16, "de zanahoria"]
                of ["La Migaja"] at ["1 porción" 5_600, "12 porciones" 58_000]:
                "Torta preparada en la casa";
            "unit" "" ["Milhoja de arequipe", "Cheesecake de maracuyá" + 20, "Brownie con nueces",
                "Brazo de reina" + 5] of ["La Migaja"] at ["1 porción" 5_400]:
                "Postre preparado en la casa";
        },
    },
    Shelf {
        category: Category {
            name: "Cafetería",
            description: "Café y bebidas calientes preparadas al momento.",
        },
        code: "CAF",
        count: 8,
        bar_coded: false,
        lines: lines! {
            "unit" "" ["Tinto", "Café con leche" + 40, "Capuchino" + 140, "Chocolate caliente" + 90,
                "Aguapanela con limón" + 10, "Aromática de frutas" + 80] of ["Tostión Calicanto"]
                at ["7 oz" 1_900]: "Bebida caliente preparada al momento";
            "unit" "" ["Latte", "Moca" + 12] of ["Tostión Calicanto"] at ["12 oz" 5_400]:
                "Café con leche vaporizada";
        },
    },
    Shelf {
        category: Category {
            name: "Bebidas frías",
            description: "Jugos, gaseosas, agua y té para llevar o tomar en la mesa.",
        },
        code: "BEB",
        count: 6,
        bar_coded: true,
        lines: lines! {
            "unit" "" ["Agua sin gas", "Agua con gas" + 8, "Té frío de limón" + 45,
                "Gaseosa cola" + 30, "Jugo de naranja" + 110, "Limonada de hierbabuena" + 80]
                of ["Rocío Frío"] at ["400 ml" 1_700]: "Bebida fría";
        },
    },
    Shelf {
        category: Category {
            name: "Para llevar a casa",
            description: "Café en bolsa, miel y dulces empacados.",
        },
        code: "LLE",
        count: 4,
        bar_coded: true,
        lines: lines! {
            "unit" "Café" ["molido", "en grano" + 5] of ["Tostión Calicanto"] at ["340 g" 27_500]:
                "Café de origen tostado en la ciudad";
            "unit" "" ["Miel de abejas", "Arequipe casero"] of ["Dulce Colmena"]
                at ["300 g" 14_600]: "Dulce artesanal";
        },
    },
];

pub const CATEGORIES: [Category; 5] = assortment::categories(&SHELVES);

/// The 40 products, grouped by category in the order of [`CATEGORIES`]; the same on every call.
pub fn products() -> Vec<Product> {
    assortment::stock(&SHELVES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::assortment::tests::assert_well_formed;
    use crate::demo::supermarket;

    #[test]
    fn carries_40_well_formed_products() {
        let products = products();
        assert_eq!(products.len(), 40);
        assert_well_formed(&products, &BRANDS, &CATEGORIES);
    }

    #[test]
    fn gives_the_same_products_on_every_call() {
        let products = products();
        assert_eq!(products, super::products());
        assert_eq!(products[0].name, "Pan francés La Migaja");
        assert_eq!(products[39].name, "Arequipe casero Dulce Colmena 300 g");
    }

    #[test]
    fn goods_made_in_the_shop_have_no_bar_code() {
        let coded = products()
            .iter()
            .filter(|product| product.bar_code.is_some())
            .count();
        assert_eq!(coded, 10);
    }

    #[test]
    fn shares_skus_but_neither_names_nor_bar_codes_with_the_supermarket() {
        let (ours, theirs) = (products(), supermarket::products());
        assert!(
            ours.iter()
                .any(|our| theirs.iter().any(|their| our.sku == their.sku))
        );
        for our in &ours {
            assert!(theirs.iter().all(|their| our.name != their.name));
            let code = our.bar_code.as_ref();
            assert!(code.is_none() || theirs.iter().all(|their| code != their.bar_code.as_ref()));
        }
    }
}
