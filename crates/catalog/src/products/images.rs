//! Pictures of a product: files that are shown in an order, exactly one of them as the primary one.
//! They are part of the product: what changes them holds the product's lock and raises its version.

use axum::extract::State;
use axum::response::IntoResponse;
use files::{FILE_IN_USE, FILE_NOT_FOUND, FileId, NOT_A_PICTURE, Picture, PictureUrls, expect_picture};
use garde::Validate;
use kernel::app::App;
use kernel::output::json;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use sqlx::types::Json;
use utoipa::ToSchema;

use super::{ProductId, ProductsRead, ProductsWrite};

typed_id!(ImageId);

/// Of one product.
const MOST: i64 = 30;

const TOO_MANY: Code = Code::new(
    409,
    "too-many-images",
    "The product has as many images as it may have",
);
const PRIMARY_REQUIRED: Code = Code::new(
    422,
    "primary-image-required",
    "One image is the primary one: make another one that instead",
);

const CONSTRAINTS: &[Constraint] = &[
    Constraint::invalid("product_images_position_range", "/position"),
    Constraint {
        name: "product_images_file_in_use",
        code: &FILE_IN_USE,
        pointer: None,
    },
];

/// The module's routes and rules.
pub fn module() -> Module {
    Module::new("product-images")
        .routes(routes!(list, add))
        .routes(routes!(find, update, remove))
        .constraints(CONSTRAINTS)
        .problems(&[&TOO_MANY, &PRIMARY_REQUIRED, &FILE_NOT_FOUND, &NOT_A_PICTURE])
}

/// A picture of a product.
#[derive(Serialize, Deserialize, ToSchema)]
pub(super) struct ProductImage {
    id: ImageId,
    file_id: FileId,
    /// Order among the others; the earlier one first when two have the same.
    position: i16,
    is_primary: bool,
    /// Null where the process has no object store.
    #[schema(value_type = Option<PictureUrls>, required = true)]
    urls: Picture,
    #[serde(skip_serializing)]
    #[schema(ignore)]
    version: i64,
    #[serde(skip_serializing)]
    #[schema(ignore)]
    product_id: ProductId,
}

impl ProductImage {
    /// Makes the URLs.
    pub(super) fn sign(&mut self, app: &App) -> Result<()> {
        self.urls.sign(app)
    }

    fn signed(mut self, app: &App) -> Result<ProductImage> {
        self.sign(app)?;
        Ok(self)
    }
}

impl Versioned for ProductImage {
    fn version(&self) -> i64 {
        self.version
    }
    fn location(&self) -> String {
        format!("/products/{}/images/{}", self.product_id, self.id)
    }
    fn is_fleeting(&self) -> bool {
        true
    }
}

/// Takes the product's lock, under which its images change one request at a time.
async fn lock(conn: &mut PgConnection, id: ProductId, deleted_too: bool) -> Result<()> {
    sqlx::query_scalar!(
        "select version from products where id = $1 and (deleted_at is null or $2) for update",
        id as _,
        deleted_too
    )
    .fetch_one(conn)
    .await?;
    Ok(())
}

/// Brings what lists show up to date with the images, and raises the product's version: the end of every change.
async fn publish(conn: &mut PgConnection, id: ProductId) -> Result<()> {
    sqlx::query!(
        "update products
            set primary_image = (select shown_image(i, (select key from files where id = i.file_id))
                                   from product_images as i where product_id = $1 and is_primary)
          where id = $1",
        id as _
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes none the primary image: another one will be.
async fn demote(conn: &mut PgConnection, product: ProductId) -> Result<()> {
    sqlx::query!(
        "update product_images set is_primary = false where product_id = $1 and is_primary",
        product as _
    )
    .execute(conn)
    .await?;
    Ok(())
}

#[derive(Serialize, ToSchema)]
struct ProductImages {
    /// The primary one first, then by position; at most 30.
    #[schema(value_type = Vec<ProductImage>)]
    items: Json<Vec<ProductImage>>,
}

/// List a product's images.
#[utoipa::path(get, path = "/products/{product_id}/images", tag = "products", operation_id = "list_product_images",
    security(("bearer" = ["products.read"])), params(("product_id" = ProductId, Path)),
    responses((status = 200, body = ProductImages)))]
async fn list(
    mut tx: TenantTx<ProductsRead>,
    State(app): State<App>,
    Path(product): Path<ProductId>,
) -> Result<impl IntoResponse> {
    let product = super::handlers::fetch(&mut tx, product).await?;
    let items = product.signed(&app)?.images;
    Ok(json(ProductImages { items }))
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewProductImage {
    /// A picture that is ready.
    #[garde(skip)]
    file_id: FileId,
    /// Whether it takes the place of the primary image. The first one is that anyhow.
    #[serde(default)]
    #[garde(skip)]
    #[schema(default = false)]
    is_primary: bool,
    /// After the last one, if absent.
    #[garde(inner(range(min = 1, max = 999)))]
    #[schema(minimum = 1, maximum = 999)]
    position: Option<i16>,
}

/// Show a file as an image of the product.
///
/// The file cannot be deleted as long as it is shown.
#[utoipa::path(post, path = "/products/{product_id}/images", tag = "products", operation_id = "add_product_image",
    security(("bearer" = ["products.write"])), params(("product_id" = ProductId, Path)), request_body = NewProductImage,
    responses((status = 201, body = ProductImage)))]
async fn add(
    mut tx: TenantTx<ProductsWrite>,
    State(app): State<App>,
    Path(product): Path<ProductId>,
    Valid(new): Valid<NewProductImage>,
) -> Result<Created<ProductImage>> {
    lock(&mut tx, product, false).await?;
    expect_picture(&mut tx, new.file_id).await?;
    if new.is_primary {
        demote(&mut tx, product).await?;
    }
    let image = sqlx::query_scalar!(
        r#"insert into product_images as i (id, product_id, file_id, position, is_primary)
         select $1, $2, $3, coalesce($4::smallint, least(coalesce(max(position), 0) + 1, 999)), $5 or count(*) = 0
           from product_images where product_id = $2 having count(*) < $6
         returning shown_image(i, (select key from files where id = i.file_id)) as "image!: Json<ProductImage>""#,
        ImageId::new() as _,
        product as _,
        new.file_id as _,
        new.position,
        new.is_primary,
        MOST
    );
    let image = image
        .fetch_optional(&mut *tx)
        .await
        .on_constraint("product_images_file_in_use", || {
            Error::new(&FILE_NOT_FOUND).at("/file_id")
        })?;
    let Json(image) = image.ok_or(&TOO_MANY)?;
    publish(&mut tx, product).await?;
    Ok(Created(image.signed(&app)?))
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"is_primary": true}))]
struct ProductImagePatch {
    #[serde(default)]
    #[garde(inner(range(min = 1, max = 999)))]
    #[schema(value_type = i16, required = false, minimum = 1, maximum = 999)]
    position: Patch<i16>,
    /// Makes it the primary image in place of the one that is. Another one takes over before it is no more.
    #[serde(default)]
    #[garde(skip)]
    #[schema(value_type = bool, required = false)]
    is_primary: Patch<bool>,
}

/// Whether the image, which the client saw, is the primary one.
async fn seen(conn: &mut PgConnection, product: ProductId, id: ImageId, if_match: &IfMatch) -> Result<bool> {
    let found = sqlx::query!(
        "select version, is_primary from product_images where id = $1 and product_id = $2",
        id as _,
        product as _
    );
    let found = found.fetch_one(conn).await?;
    if_match.check(found.version)?;
    Ok(found.is_primary)
}

/// Find an image of a product.
#[utoipa::path(get, path = "/products/{product_id}/images/{image_id}", tag = "products",
    operation_id = "find_product_image", security(("bearer" = ["products.read"])),
    params(("product_id" = ProductId, Path), ("image_id" = ImageId, Path)), responses((status = 200, body = ProductImage)))]
async fn find(
    mut tx: TenantTx<ProductsRead>,
    State(app): State<App>,
    Path((product, id)): Path<(ProductId, ImageId)>,
) -> Result<Tagged<ProductImage>> {
    let image = sqlx::query_scalar!(
        r#"select shown_image(i, (select key from files where id = i.file_id)) as "image!: Json<ProductImage>"
             from product_images as i join products as p on p.id = i.product_id
            where i.id = $1 and i.product_id = $2 and p.deleted_at is null"#,
        id as _,
        product as _
    );
    let Json(image) = image.fetch_one(&mut *tx).await?;
    Ok(Tagged(image.signed(&app)?))
}

/// Move an image, or make it the primary one.
#[utoipa::path(patch, path = "/products/{product_id}/images/{image_id}", tag = "products",
    operation_id = "update_product_image", security(("bearer" = ["products.write"])),
    params(("product_id" = ProductId, Path), ("image_id" = ImageId, Path)), request_body = ProductImagePatch,
    responses((status = 200, body = ProductImage)))]
async fn update(
    mut tx: TenantTx<ProductsWrite>,
    State(app): State<App>,
    Path((product, id)): Path<(ProductId, ImageId)>,
    if_match: IfMatch,
    Valid(patch): Valid<ProductImagePatch>,
) -> Result<Tagged<ProductImage>> {
    lock(&mut tx, product, false).await?;
    let was_primary = seen(&mut tx, product, id, &if_match).await?;
    match patch.is_primary.value() {
        Some(false) if was_primary => return Err(Error::new(&PRIMARY_REQUIRED).at("/is_primary")),
        Some(true) if !was_primary => demote(&mut tx, product).await?,
        _ => {}
    }
    let image = sqlx::query_scalar!(
        r#"update product_images as i set position = coalesce($2, position), is_primary = coalesce($3, is_primary)
          where id = $1 returning shown_image(i, (select key from files where id = i.file_id)) as "image!: Json<ProductImage>""#,
        id as _,
        patch.position.value(),
        patch.is_primary.value()
    );
    let Json(image) = image.fetch_one(&mut *tx).await?;
    publish(&mut tx, product).await?;
    Ok(Tagged(image.signed(&app)?))
}

/// Take an image away from the product, which may be deleted.
///
/// The file stays. When it was the primary image, the next one is.
#[utoipa::path(delete, path = "/products/{product_id}/images/{image_id}", tag = "products",
    operation_id = "remove_product_image", security(("bearer" = ["products.write"])),
    params(("product_id" = ProductId, Path), ("image_id" = ImageId, Path)), responses((status = 204)))]
async fn remove(
    mut tx: TenantTx<ProductsWrite>,
    Path((product, id)): Path<(ProductId, ImageId)>,
    if_match: IfMatch,
) -> Result<NoContent> {
    lock(&mut tx, product, true).await?;
    let was_primary = seen(&mut tx, product, id, &if_match).await?;
    sqlx::query!("delete from product_images where id = $1", id as _)
        .execute(&mut *tx)
        .await?;
    if was_primary {
        sqlx::query!(
            "update product_images set is_primary = true
              where id = (select id from product_images where product_id = $1 order by position, id limit 1)",
            product as _
        )
        .execute(&mut *tx)
        .await?;
    }
    publish(&mut tx, product).await?;
    Ok(NoContent)
}
