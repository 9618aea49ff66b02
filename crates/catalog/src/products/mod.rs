//! Products: what a company sells, at which price. Deleting one only marks it, so that documents
//! keep what they refer to; it can be restored.

mod handlers;
mod images;
mod list;

use garde::Validate;
use kernel::app::App;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::brands::BrandId;
use crate::categories::CategoryId;
use images::ProductImage;
pub use images::module as images_module;

typed_id!(ProductId);

permissions! {
    /// See products.
    ProductsRead = "products.read", read_only;
    /// Create, change, delete and restore products.
    ProductsWrite = "products.write";
}

const SKU_TAKEN: Code = Code::new(409, "product-sku-taken", "Another product has this SKU");
const BAR_CODE_TAKEN: Code = Code::new(409, "product-bar-code-taken", "Another product has this bar code");
const NOT_DELETED: Code = Code::new(409, "product-not-deleted", "The product is not deleted");
const BRAND_NOT_FOUND: Code = Code::new(422, "brand-not-found", "There is no such brand");
const CATEGORY_NOT_FOUND: Code = Code::new(422, "category-not-found", "There is no such category");

const fn rule(name: &'static str, code: &'static Code, pointer: &'static str) -> Constraint {
    Constraint {
        name,
        code,
        pointer: Some(pointer),
    }
}

const CONSTRAINTS: &[Constraint] = &[
    rule("products_sku_taken", &SKU_TAKEN, "/sku"),
    rule("products_bar_code_taken", &BAR_CODE_TAKEN, "/bar_code"),
    rule("products_brand_not_found", &BRAND_NOT_FOUND, "/brand_id"),
    rule("products_category_not_found", &CATEGORY_NOT_FOUND, "/category_id"),
    rule("products_name_length", &VALIDATION_FAILED, "/name"),
    rule("products_sku_length", &VALIDATION_FAILED, "/sku"),
    rule("products_description_length", &VALIDATION_FAILED, "/description"),
    rule("products_bar_code_format", &VALIDATION_FAILED, "/bar_code"),
    rule("products_price_sale_range", &VALIDATION_FAILED, "/price_sale"),
    rule("products_price_base_range", &VALIDATION_FAILED, "/price_base"),
    rule(
        "products_unit_of_measure_known",
        &VALIDATION_FAILED,
        "/unit_of_measure",
    ),
];

/// The module's routes and rules.
pub fn module() -> Module {
    Module::new("products")
        .routes(routes!(list::list, handlers::create))
        .routes(routes!(handlers::find, handlers::update, handlers::delete))
        .routes(routes!(handlers::restore))
        .permissions(PERMISSIONS)
        .constraints(CONSTRAINTS)
        .problems(&[&NOT_DELETED])
}

/// What one of a product is; the price is for that much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum UnitOfMeasure {
    #[default]
    Unit,
    Pair,
    Dozen,
    Pack,
    Box,
    Kg,
    G,
    Lb,
    L,
    Ml,
    Gal,
    M,
    Cm,
    M2,
    M3,
    Hour,
    Day,
    Service,
}

/// A product.
#[derive(Serialize, ToSchema, sqlx::FromRow)]
pub struct Product {
    id: ProductId,
    #[schema(example = "Café molido 500 g")]
    name: String,
    #[schema(example = "CAF-0001")]
    sku: String,
    #[schema(required = true, example = "Café de origen, tostión media.")]
    description: Option<String>,
    #[schema(required = true, example = "7701234567897")]
    bar_code: Option<String>,
    /// Price at which one unit of measure is sold.
    #[schema(example = "18900.00")]
    price_sale: Money,
    /// What one unit of measure costs the company.
    #[schema(example = "14200.00")]
    price_base: Money,
    unit_of_measure: UnitOfMeasure,
    #[schema(required = true)]
    brand_id: Option<BrandId>,
    #[schema(required = true)]
    category_id: Option<CategoryId>,
    /// Whether it is for sale.
    is_active: bool,
    /// Its pictures, the primary one first; a list shows that one alone.
    #[schema(value_type = Vec<ProductImage>)]
    images: Json<Vec<ProductImage>>,
    /// When it was deleted; null while it is not.
    #[schema(required = true)]
    deleted_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[serde(skip)]
    version: i64,
}

impl Product {
    /// With URLs of its pictures, as answers show it.
    fn signed(mut self, app: &App) -> Result<Product> {
        self.images.iter_mut().try_for_each(|image| image.sign(app))?;
        Ok(self)
    }
}

impl Versioned for Product {
    fn version(&self) -> i64 {
        self.version
    }
    fn location(&self) -> String {
        format!("/products/{}", self.id)
    }
    fn is_fleeting(&self) -> bool {
        !self.images.is_empty()
    }
}

impl Listed for Product {
    const TABLE: &'static str = "products";
    const COLUMNS: &'static str = "id, name, sku, description, bar_code, price_sale, price_base, unit_of_measure, \
        brand_id, category_id, is_active, deleted_at, created_at, updated_at, version, \
        case when primary_image is null then '[]' else json_build_array(primary_image) end as images";
    fn id(&self) -> Uuid {
        self.id.0
    }
    fn key(&self, column: &'static str) -> Key {
        match column {
            "sku" => Key::Text(self.sku.clone()),
            "created_at" => Key::Time(self.created_at),
            "price_sale_cents" => Key::Int(self.price_sale.cents()),
            _ => Key::Text(self.name.clone()),
        }
    }
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "Café molido 500 g", "sku": "CAF-0001", "bar_code": "7701234567897",
    "price_sale": "18900.00", "price_base": "14200.00", "unit_of_measure": "unit"
}))]
struct NewProduct {
    #[garde(length(chars, min = 1, max = 100), custom(plain_text))]
    #[schema(value_type = PlainText<100>)]
    name: String,
    /// Unique among the company's products, whatever its case.
    #[garde(length(chars, min = 1, max = 50), custom(plain_text))]
    #[schema(value_type = PlainText<50>)]
    sku: String,
    #[garde(inner(length(chars, min = 1, max = 255), custom(plain_text)))]
    #[schema(value_type = Option<PlainText<255>>)]
    description: Option<String>,
    /// EAN, UPC or the company's own; unique among its products.
    #[garde(inner(custom(is_bar_code)))]
    #[schema(pattern = "^[0-9A-Za-z-]{1,50}$", min_length = 1, max_length = 50)]
    bar_code: Option<String>,
    /// Price at which one unit of measure is sold.
    #[serde(default)]
    #[garde(skip)]
    #[schema(default = "0.00")]
    price_sale: Money,
    /// What one unit of measure costs the company.
    #[serde(default)]
    #[garde(skip)]
    #[schema(default = "0.00")]
    price_base: Money,
    #[serde(default)]
    #[garde(skip)]
    #[schema(default = "unit")]
    unit_of_measure: UnitOfMeasure,
    #[garde(skip)]
    brand_id: Option<BrandId>,
    #[garde(skip)]
    category_id: Option<CategoryId>,
    /// Whether it is for sale.
    #[serde(default = "for_sale")]
    #[garde(skip)]
    #[schema(default = true)]
    is_active: bool,
}

fn for_sale() -> bool {
    true
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"price_sale": "19900.00", "bar_code": null}))]
struct ProductPatch {
    #[serde(default)]
    #[garde(inner(length(chars, min = 1, max = 100), custom(plain_text)))]
    #[schema(value_type = PlainText<100>, required = false)]
    name: Patch<String>,
    #[serde(default)]
    #[garde(inner(length(chars, min = 1, max = 50), custom(plain_text)))]
    #[schema(value_type = PlainText<50>, required = false)]
    sku: Patch<String>,
    #[serde(default)]
    #[garde(inner(inner(length(chars, min = 1, max = 255), custom(plain_text))))]
    #[schema(value_type = Option<PlainText<255>>)]
    description: Patch<Option<String>>,
    #[serde(default)]
    #[garde(inner(inner(custom(is_bar_code))))]
    #[schema(value_type = Option<String>, pattern = "^[0-9A-Za-z-]{1,50}$", min_length = 1, max_length = 50)]
    bar_code: Patch<Option<String>>,
    #[serde(default)]
    #[garde(skip)]
    #[schema(value_type = Money, required = false)]
    price_sale: Patch<Money>,
    #[serde(default)]
    #[garde(skip)]
    #[schema(value_type = Money, required = false)]
    price_base: Patch<Money>,
    #[serde(default)]
    #[garde(skip)]
    #[schema(value_type = UnitOfMeasure, required = false)]
    unit_of_measure: Patch<UnitOfMeasure>,
    #[serde(default)]
    #[garde(skip)]
    #[schema(value_type = Option<BrandId>)]
    brand_id: Patch<Option<BrandId>>,
    #[serde(default)]
    #[garde(skip)]
    #[schema(value_type = Option<CategoryId>)]
    category_id: Patch<Option<CategoryId>>,
    #[serde(default)]
    #[garde(skip)]
    #[schema(value_type = bool, required = false)]
    is_active: Patch<bool>,
}

/// A garde rule. Digits of any number: a check digit is the business of who prints the label.
fn is_bar_code(value: &str, _: &()) -> garde::Result {
    let plain = value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if plain && (1..=50).contains(&value.len()) {
        Ok(())
    } else {
        Err(garde::Error::new(
            "pattern: expected 1 to 50 digits, letters from A to Z or hyphens",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bar_codes_are_digits_letters_and_hyphens() {
        for good in [
            "7",
            "7701234567897",
            "7701234567890",
            "ABC-abc-123",
            &"9".repeat(50),
        ] {
            assert!(is_bar_code(good, &()).is_ok(), "{good}");
        }
        for bad in ["", " ", "770 1", "ñ", "7\n", "a_b", &"9".repeat(51)] {
            assert!(is_bar_code(bad, &()).is_err(), "{bad}");
        }
    }
}
