//! One product: create, find, update, delete, restore.

use axum::extract::State;
use kernel::app::App;
use kernel::prelude::*;
use sqlx::PgConnection;

use super::{NOT_DELETED, NewProduct, Product, ProductId, ProductPatch, ProductsRead, ProductsWrite};

/// `query_as!` of a product, whose columns stand between two pieces of SQL.
macro_rules! query_product {
    ($before:literal, $after:literal $($argument:tt)*) => {
        sqlx::query_as!(
            Product,
            $before + r#" id, name, sku, description, bar_code, price_sale, price_base, unit_of_measure, brand_id,
            category_id, is_active, deleted_at, created_at, updated_at, version,
            coalesce((select json_agg(shown_image(i, (select key from files where id = i.file_id))
                                      order by i.is_primary desc, i.position, i.id)
              from product_images as i where i.product_id = products.id), '[]') as "images!: _" "# + $after
            $($argument)*
        )
    };
}

/// Create a product.
///
/// Its SKU and its bar code, if any, may be those of a deleted product.
#[utoipa::path(post, path = "/products", tag = "products", operation_id = "create_product",
    security(("bearer" = ["products.write"])), request_body = NewProduct,
    responses((status = 201, body = Product)))]
pub(super) async fn create(
    mut tx: TenantTx<ProductsWrite>,
    State(app): State<App>,
    Valid(new): Valid<NewProduct>,
) -> Result<Created<Product>> {
    let product = query_product!(
        "insert into products (id, name, sku, description, bar_code, price_sale, price_base,
           unit_of_measure, brand_id, category_id, is_active)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) returning",
        "",
        ProductId::new() as _,
        new.name,
        new.sku,
        new.description,
        new.bar_code,
        new.price_sale as _,
        new.price_base as _,
        new.unit_of_measure as _,
        new.brand_id as _,
        new.category_id as _,
        new.is_active
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(Created(product.signed(&app)?))
}

/// Find a product.
///
/// A deleted one is not found here, only in the list with `deleted=true`.
#[utoipa::path(get, path = "/products/{product_id}", tag = "products", operation_id = "find_product",
    security(("bearer" = ["products.read"])), params(("product_id" = ProductId, Path)),
    responses((status = 200, body = Product)))]
pub(super) async fn find(
    mut tx: TenantTx<ProductsRead>,
    State(app): State<App>,
    Path(id): Path<ProductId>,
) -> Result<Tagged<Product>> {
    Ok(Tagged(fetch(&mut tx, id).await?.signed(&app)?))
}

/// The product, unless it is deleted.
pub(super) async fn fetch(conn: &mut PgConnection, id: ProductId) -> Result<Product> {
    let product = query_product!(
        "select",
        "from products where id = $1 and deleted_at is null",
        id as _
    );
    Ok(product.fetch_one(conn).await?)
}

/// Locks the product, not deleted, that the client saw, or fails.
async fn lock(conn: &mut PgConnection, id: ProductId, if_match: &IfMatch) -> Result<()> {
    let version = sqlx::query_scalar!(
        "select version from products where id = $1 and deleted_at is null for update",
        id as _
    )
    .fetch_one(conn)
    .await?;
    if_match.check(version)
}

/// Change a product.
///
/// What the body does not name stays; null clears the description, bar code, brand or category.
#[utoipa::path(patch, path = "/products/{product_id}", tag = "products", operation_id = "update_product",
    security(("bearer" = ["products.write"])), params(("product_id" = ProductId, Path)),
    request_body = ProductPatch, responses((status = 200, body = Product)))]
pub(super) async fn update(
    mut tx: TenantTx<ProductsWrite>,
    State(app): State<App>,
    Path(id): Path<ProductId>,
    if_match: IfMatch,
    Valid(patch): Valid<ProductPatch>,
) -> Result<Tagged<Product>> {
    lock(&mut tx, id, &if_match).await?;
    let product = query_product!(
        "update products
            set name = coalesce($2, name),
                sku = coalesce($3, sku),
                price_sale = coalesce($4, price_sale),
                price_base = coalesce($5, price_base),
                unit_of_measure = coalesce($6, unit_of_measure),
                is_active = coalesce($7, is_active),
                description = case when $8 then $9 else description end,
                bar_code = case when $10 then $11 else bar_code end,
                brand_id = case when $12 then $13 else brand_id end,
                category_id = case when $14 then $15 else category_id end
          where id = $1 returning",
        "",
        id as _,
        patch.name.value(),
        patch.sku.value(),
        patch.price_sale.value() as _,
        patch.price_base.value() as _,
        patch.unit_of_measure.value() as _,
        patch.is_active.value(),
        patch.description.is_set(),
        patch.description.flat(),
        patch.bar_code.is_set(),
        patch.bar_code.flat(),
        patch.brand_id.is_set(),
        patch.brand_id.flat() as _,
        patch.category_id.is_set(),
        patch.category_id.flat() as _
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(Tagged(product.signed(&app)?))
}

/// Delete a product.
///
/// It can be restored; until then its SKU and bar code are free.
#[utoipa::path(delete, path = "/products/{product_id}", tag = "products", operation_id = "delete_product",
    security(("bearer" = ["products.write"])), params(("product_id" = ProductId, Path)),
    responses((status = 204)))]
pub(super) async fn delete(
    mut tx: TenantTx<ProductsWrite>,
    Path(id): Path<ProductId>,
    if_match: IfMatch,
) -> Result<NoContent> {
    lock(&mut tx, id, &if_match).await?;
    sqlx::query!("update products set deleted_at = now() where id = $1", id as _)
        .execute(&mut *tx)
        .await?;
    Ok(NoContent)
}

/// Restore a deleted product.
///
/// Refused while another product has its SKU or bar code.
#[utoipa::path(post, path = "/products/{product_id}/restore", tag = "products", operation_id = "restore_product",
    security(("bearer" = ["products.write"])), params(("product_id" = ProductId, Path)),
    responses((status = 200, body = Product)))]
pub(super) async fn restore(
    mut tx: TenantTx<ProductsWrite>,
    State(app): State<App>,
    Path(id): Path<ProductId>,
    if_match: IfMatch,
) -> Result<Tagged<Product>> {
    let found = sqlx::query!(
        "select version, deleted_at from products where id = $1 for update",
        id as _
    )
    .fetch_one(&mut *tx)
    .await?;
    if found.deleted_at.is_none() {
        return Err(Error::new(&NOT_DELETED));
    }
    if_match.check(found.version)?;
    let product = query_product!(
        "update products set deleted_at = null where id = $1 returning",
        "",
        id as _
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(Tagged(product.signed(&app)?))
}
