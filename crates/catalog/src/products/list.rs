//! The list of products: filters, search and order.

use axum::extract::State;
use kernel::app::App;
use kernel::prelude::*;
use serde::Deserialize;
use sqlx::{Postgres, QueryBuilder};
use utoipa::{IntoParams, ToSchema};

use super::{Product, ProductsRead};
use crate::brands::BrandId;
use crate::categories::CategoryId;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ProductFilter {
    /// Part of the name, SKU or bar code, whatever its case and accents; one or two characters find
    /// the words that begin with them. At most the newest 10,000 products are found.
    #[param(inline)]
    search: Option<SearchTerm>,
    /// Of this brand.
    #[param(inline)]
    brand_id: Option<BrandId>,
    /// Of this category.
    #[param(inline)]
    category_id: Option<CategoryId>,
    /// For sale or not.
    is_active: Option<bool>,
    /// Lowest sale price.
    #[param(inline)]
    min_price: Option<Money>,
    /// Highest sale price.
    #[param(inline)]
    max_price: Option<Money>,
    /// The deleted products instead of the others.
    #[serde(default)]
    #[param(default = false)]
    deleted: bool,
    /// Order; `-` for descending.
    #[serde(default)]
    #[param(inline)]
    sort: ProductSort,
}

#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[schema(default = "name")]
enum ProductSort {
    #[default]
    #[serde(rename = "name")]
    Name,
    #[serde(rename = "-name")]
    NameDescending,
    #[serde(rename = "sku")]
    Sku,
    #[serde(rename = "-sku")]
    SkuDescending,
    #[serde(rename = "created_at")]
    CreatedAt,
    #[serde(rename = "-created_at")]
    CreatedAtDescending,
    #[serde(rename = "price_sale")]
    PriceSale,
    #[serde(rename = "-price_sale")]
    PriceSaleDescending,
}

impl From<ProductSort> for Sort {
    fn from(sort: ProductSort) -> Sort {
        match sort {
            ProductSort::Name => Sort::ascending("name"),
            ProductSort::NameDescending => Sort::descending("name"),
            ProductSort::Sku => Sort::ascending("sku"),
            ProductSort::SkuDescending => Sort::descending("sku"),
            ProductSort::CreatedAt => Sort::ascending("created_at"),
            ProductSort::CreatedAtDescending => Sort::descending("created_at"),
            ProductSort::PriceSale => Sort::ascending("price_sale_cents"),
            ProductSort::PriceSaleDescending => Sort::descending("price_sale_cents"),
        }
    }
}

impl ProductFilter {
    /// Only comparisons that an index serves behind row security; text search asks its own function.
    fn conditions(&self, query: &mut QueryBuilder<Postgres>) {
        query.push(if self.deleted {
            " and deleted_at is not null"
        } else {
            " and deleted_at is null"
        });
        if let Some(term) = self
            .search
            .as_ref()
            .map(SearchTerm::as_str)
            .filter(|term| !term.is_empty())
        {
            query
                .push(" and id = any (array(select search_products(")
                .push_bind(term.to_owned());
            query.push(", ").push_bind(self.deleted).push(")))");
        }
        if let Some(id) = self.brand_id {
            query.push(" and brand_id = ").push_bind(id);
        }
        if let Some(id) = self.category_id {
            query.push(" and category_id = ").push_bind(id);
        }
        if let Some(active) = self.is_active {
            query.push(" and is_active = ").push_bind(active);
        }
        if let Some(price) = self.min_price {
            query.push(" and price_sale_cents >= ").push_bind(price.cents());
        }
        if let Some(price) = self.max_price {
            query.push(" and price_sale_cents <= ").push_bind(price.cents());
        }
    }
}

/// List products.
///
/// All filters must match. An unknown brand or category has no products.
#[utoipa::path(get, path = "/products", tag = "products", operation_id = "list_products",
    security(("bearer" = ["products.read"])), params(ProductFilter, PageParams),
    responses((status = 200, body = Page<Product>)))]
pub(super) async fn list(
    mut tx: TenantTx<ProductsRead>,
    State(app): State<App>,
    list: List<ProductFilter>,
) -> Result<Page<Product>> {
    let sort = list.filter.sort.into();
    let page = list.fetch(&mut tx, sort, |query, filter| filter.conditions(query));
    page.await?.try_map(|product: Product| product.signed(&app))
}
