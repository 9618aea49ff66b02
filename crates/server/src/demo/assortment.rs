//! Turns a compact table of product lines into catalog products.
//!
//! A shop writes each shelf as lines of kind × variety × size × brand; [`stock`] picks the products
//! the shelf carries and derives SKU, bar code, price and description. Nothing is random: the same
//! table always gives the same products.

use std::ops::RangeInclusive;

/// Prices are multiples of 50 pesos, the smallest coin in everyday use.
const PRICE_STEP_CENTS: i64 = 50 * 100;

/// GS1 prefix of bar codes assigned in Colombia.
const GS1_COLOMBIA: &str = "770";

/// A product category as the shop shows it, in Spanish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Category {
    pub name: &'static str,
    pub description: &'static str,
}

/// A product ready to be inserted into a company's catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// Category code and running number, for example `LAC-0001`; unique within the company.
    pub sku: String,
    /// Unique within the company, at most 100 characters.
    pub name: String,
    /// One Spanish sentence, at most 255 characters.
    pub description: String,
    /// EAN-13 with the Colombian prefix; `None` for weighed goods and goods made in the shop.
    pub bar_code: Option<String>,
    /// One of the company's brands.
    pub brand: &'static str,
    /// Name of one of the company's categories.
    pub category: &'static str,
    /// `unit`, `pack`, `dozen` or, for goods sold by weight, `kg`.
    pub unit_of_measure: &'static str,
    /// Cost in COP cents for one unit of measure.
    pub price_base_cents: i64,
    /// Sale price in COP cents for one unit of measure, 10–35 % above the cost.
    pub price_sale_cents: i64,
}

/// One category and the lines its products are taken from.
pub struct Shelf {
    pub category: Category,
    /// SKU prefix.
    pub code: &'static str,
    /// Products carried, at most the number of combinations in `lines`.
    pub count: usize,
    /// Whether packaged goods come with a printed bar code.
    pub bar_coded: bool,
    pub lines: &'static [Line],
}

/// Every combination of variety, size and brand of one kind of product.
pub struct Line {
    pub unit: &'static str,
    pub kind: &'static str,
    /// Variety and its cost as a percentage of the plain one.
    pub varieties: &'static [(&'static str, i64)],
    pub brands: &'static [&'static str],
    /// Size and its cost in pesos.
    pub sizes: &'static [(&'static str, i64)],
    /// Opening of the description, without the final period.
    pub about: &'static str,
}

/// Writes a `&[Line]` as a table.
///
/// Each row reads `unit kind [variety + surcharge %] of [brands] at [size cost-in-pesos]: about;`.
/// An empty variety or size leaves that part out of the name.
macro_rules! lines {
    ($($unit:literal $kind:literal [$($variety:literal $(+ $surcharge:literal)?),+]
       of [$($brand:literal),+] at [$($size:literal $pesos:literal),+]: $about:literal;)+) => {
        &[$($crate::demo::assortment::Line {
            unit: $unit,
            kind: $kind,
            varieties: &[$(($variety, 100 $(+ $surcharge)?)),+],
            brands: &[$($brand),+],
            sizes: &[$(($size, $pesos)),+],
            about: $about,
        }),+]
    };
}
pub(crate) use lines;

/// The categories of the shelves, in the same order.
pub const fn categories<const N: usize>(shelves: &[Shelf; N]) -> [Category; N] {
    let mut categories = [Category {
        name: "",
        description: "",
    }; N];
    let mut index = 0;
    while index < N {
        categories[index] = shelves[index].category;
        index += 1;
    }
    categories
}

/// The products of all shelves, `count` of each, in shelf order.
pub fn stock(shelves: &[Shelf]) -> Vec<Product> {
    let mut products = Vec::with_capacity(shelves.iter().map(|shelf| shelf.count).sum());
    for shelf in shelves {
        let items = shelf.items();
        for position in 0..shelf.count {
            // An even spread leaves gaps all over the shelf instead of cutting off its last lines.
            let item = &items[position * items.len() / shelf.count];
            products.push(item.product(shelf, position + 1, products.len() + 1));
        }
    }
    products
}

impl Shelf {
    /// Every combination the lines allow.
    fn items(&self) -> Vec<Item> {
        let mut items = Vec::new();
        for line in self.lines {
            for &(variety, percent) in line.varieties {
                for &(size, pesos) in line.sizes {
                    for &brand in line.brands {
                        items.push(Item {
                            line,
                            variety,
                            size,
                            brand,
                            cents: pesos * percent,
                        });
                    }
                }
            }
        }
        items
    }
}

/// One combination of a line; `cents` is its cost before the brand's own price level.
struct Item {
    line: &'static Line,
    variety: &'static str,
    size: &'static str,
    brand: &'static str,
    cents: i64,
}

impl Item {
    fn product(&self, shelf: &Shelf, number_in_shelf: usize, number_in_shop: usize) -> Product {
        // The level depends on kind and brand only, so that a bigger size always costs more.
        let brand_level = mix(&[self.line.kind, self.brand], 94..=106);
        // 15–30 % stays within 10–35 % after rounding, as no cost is below 500 pesos.
        let margin = mix(&[self.line.kind, self.brand, self.size], 15..=30);
        let price_base_cents = round_price(self.cents * brand_level / 100);
        Product {
            sku: format!("{}-{number_in_shelf:04}", shelf.code),
            name: self.name(),
            description: self.description(),
            bar_code: (shelf.bar_coded && !self.is_weighed()).then(|| ean13(self.brand, number_in_shop)),
            brand: self.brand,
            category: shelf.category.name,
            unit_of_measure: self.line.unit,
            price_base_cents,
            price_sale_cents: round_price(price_base_cents * (100 + margin) / 100),
        }
    }

    fn is_weighed(&self) -> bool {
        self.line.unit == "kg"
    }

    /// Weighed goods lie loose in the crate or behind the counter: nobody asks for them by brand.
    fn name(&self) -> String {
        let brand = if self.is_weighed() { "" } else { self.brand };
        let parts = [self.line.kind, self.variety, brand, self.size];
        parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn description(&self) -> String {
        let about = self.line.about;
        if self.is_weighed() {
            format!("{about}, se vende por kilo.")
        } else if self.size.is_empty() {
            format!("{about}.")
        } else {
            format!("{about}, presentación: {}.", self.size)
        }
    }
}

fn round_price(cents: i64) -> i64 {
    (cents + PRICE_STEP_CENTS / 2) / PRICE_STEP_CENTS * PRICE_STEP_CENTS
}

/// A number in `range` that depends on the text alone (FNV-1a).
fn mix(parts: &[&str], range: RangeInclusive<i64>) -> i64 {
    let hash = parts
        .iter()
        .flat_map(|part| part.bytes())
        .fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
    range.start() + i64::from(hash) % (range.end() - range.start() + 1)
}

/// An EAN-13: country, four digits for the brand's company, five for the item, check digit.
fn ean13(brand: &str, item: usize) -> String {
    let digits = format!("{GS1_COLOMBIA}{:04}{item:05}", mix(&[brand], 0..=9999));
    let check = ean13_check_digit(&digits);
    format!("{digits}{check}")
}

/// The check digit for the first twelve digits of an EAN-13.
fn ean13_check_digit(digits: &str) -> u32 {
    let sum: u32 = digits
        .bytes()
        .zip([1, 3].into_iter().cycle())
        .map(|(digit, weight)| u32::from(digit - b'0') * weight)
        .sum();
    (10 - sum % 10) % 10
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// What every demo company promises about its products.
    pub fn assert_well_formed(products: &[Product], brands: &[&str], categories: &[Category]) {
        let distinct = |values: Vec<&str>| values.iter().collect::<BTreeSet<_>>().len();
        let bar_codes: Vec<_> = products.iter().filter_map(|p| p.bar_code.as_deref()).collect();
        assert_eq!(
            distinct(products.iter().map(|p| p.sku.as_str()).collect()),
            products.len()
        );
        assert_eq!(distinct(bar_codes.clone()), bar_codes.len());
        let mut names = BTreeMap::new();
        for p in products {
            let earlier = names.insert(p.name.as_str(), &p.sku);
            assert_eq!(earlier, None, "{} is on two products", p.name);
        }

        assert_eq!(
            products.iter().map(|p| p.brand).collect::<BTreeSet<_>>(),
            brands.iter().copied().collect::<BTreeSet<_>>(),
        );
        assert_eq!(
            products.iter().map(|p| p.category).collect::<BTreeSet<_>>(),
            categories.iter().map(|c| c.name).collect::<BTreeSet<_>>(),
        );
        assert_eq!(distinct(brands.to_vec()), brands.len());
        assert_eq!(
            distinct(categories.iter().map(|c| c.name).collect()),
            categories.len()
        );
        products.iter().for_each(assert_product);
    }

    fn assert_product(p: &Product) {
        let (cost, sale) = (p.price_base_cents, p.price_sale_cents);
        assert!(cost > 0 && cost % PRICE_STEP_CENTS == 0, "cost of {p:?}");
        assert!(sale % PRICE_STEP_CENTS == 0, "sale price of {p:?}");
        assert!(
            (cost * 110..=cost * 135).contains(&(sale * 100)),
            "margin of {p:?}"
        );

        let units = ["unit", "kg", "g", "l", "ml", "pack", "dozen"];
        assert!(units.contains(&p.unit_of_measure), "unit of {p:?}");
        assert!(
            p.unit_of_measure != "kg" || p.bar_code.is_none(),
            "weighed but coded: {p:?}"
        );
        assert!(
            p.bar_code.as_deref().is_none_or(is_colombian_ean13),
            "bar code of {p:?}"
        );

        for text in [&p.name, &p.description] {
            assert!(!text.contains("  ") && text.trim() == text, "spaces in {text:?}");
            assert!(text.starts_with(char::is_uppercase), "no capital in {text:?}");
        }
        assert!(p.name.chars().count() <= 100, "name of {p:?}");
        assert!(p.description.chars().count() <= 255, "description of {p:?}");
        assert!(p.description.ends_with('.'), "description of {p:?}");
    }

    /// Weighs all thirteen digits, unlike the code under test.
    fn is_colombian_ean13(code: &str) -> bool {
        let digits: Vec<u32> = code.chars().filter_map(|c| c.to_digit(10)).collect();
        let odd: u32 = digits.iter().step_by(2).sum();
        let even: u32 = digits.iter().skip(1).step_by(2).sum();
        code.starts_with("770")
            && code.len() == 13
            && digits.len() == 13
            && (odd + 3 * even).is_multiple_of(10)
    }

    #[test]
    fn check_digit_follows_the_published_examples() {
        assert_eq!(ean13_check_digit("629104150021"), 3);
        assert_eq!(ean13_check_digit("400638133393"), 1);
        assert_eq!(ean13_check_digit("000000000000"), 0);
    }

    #[test]
    fn prices_round_to_the_nearest_50_pesos() {
        assert_eq!(
            [0, 2_499, 2_500, 7_499, 7_500].map(round_price),
            [0, 0, 5_000, 5_000, 10_000]
        );
    }

    #[test]
    fn a_bigger_size_of_the_same_product_costs_more() {
        let lines: &[Line] = lines! {
            "unit" "Leche" ["entera", "deslactosada" + 8] of ["Vallealto", "Campo Nevado"]
                at ["1 L" 4_000, "2 L" 7_800]: "Leche de vaca";
        };
        let category = Category {
            name: "Lácteos",
            description: "",
        };
        let products = stock(&[Shelf {
            category,
            code: "LAC",
            count: 8,
            bar_coded: true,
            lines,
        }]);
        let cost = |name: &str| {
            products
                .iter()
                .find(|p| p.name == name)
                .expect("product")
                .price_base_cents
        };
        assert!(cost("Leche entera Vallealto 1 L") < cost("Leche entera Vallealto 2 L"));
        assert!(cost("Leche entera Vallealto 1 L") < cost("Leche deslactosada Vallealto 1 L"));
    }
}
