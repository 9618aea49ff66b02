//! Brands: the names under which products are sold. The model of a module file.

use garde::Validate;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

typed_id!(BrandId);

permissions! {
    /// See brands.
    BrandsRead = "brands.read", read_only;
    /// Create, change and delete brands.
    BrandsWrite = "brands.write";
}

const BRAND_NAME_TAKEN: Code = Code::new(409, "brand-name-taken", "Another brand has this name");
const BRAND_IN_USE: Code = Code::new(409, "brand-in-use", "Products use this brand");

/// The module's routes and rules.
pub fn module() -> Module {
    Module::new("brands")
        .routes(routes!(list, create))
        .routes(routes!(find, update, delete))
        .permissions(PERMISSIONS)
        .constraints(&[
            Constraint {
                name: "brands_name_taken",
                code: &BRAND_NAME_TAKEN,
                pointer: Some("/name"),
            },
            Constraint {
                name: "brands_name_length",
                code: &VALIDATION_FAILED,
                pointer: Some("/name"),
            },
            Constraint {
                name: "brands_description_length",
                code: &VALIDATION_FAILED,
                pointer: Some("/description"),
            },
        ])
        .problems(&[&BRAND_IN_USE])
}

/// A brand.
#[derive(Serialize, ToSchema, sqlx::FromRow)]
pub struct Brand {
    id: BrandId,
    #[schema(example = "Vallealto")]
    name: String,
    #[schema(required = true)]
    description: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[serde(skip)]
    version: i64,
}

impl Versioned for Brand {
    fn version(&self) -> i64 {
        self.version
    }
    fn location(&self) -> String {
        format!("/brands/{}", self.id)
    }
}

impl Listed for Brand {
    const TABLE: &'static str = "brands";
    const COLUMNS: &'static str = "id, name, description, created_at, updated_at, version";
    fn id(&self) -> Uuid {
        self.id.0
    }
    fn key(&self, column: &'static str) -> Key {
        match column {
            "created_at" => Key::Time(self.created_at),
            _ => Key::Text(self.name.clone()),
        }
    }
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Vallealto"}))]
struct NewBrand {
    /// Unique in the company, whatever its case.
    #[garde(length(chars, min = 1, max = 100), custom(plain_text))]
    #[schema(value_type = PlainText<100>)]
    name: String,
    #[garde(inner(length(chars, min = 1, max = 255), custom(plain_text)))]
    #[schema(value_type = Option<PlainText<255>>)]
    description: Option<String>,
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"description": null}))]
struct BrandPatch {
    #[serde(default)]
    #[garde(inner(length(chars, min = 1, max = 100), custom(plain_text)))]
    #[schema(value_type = PlainText<100>, required = false)]
    name: Patch<String>,
    #[serde(default)]
    #[garde(inner(inner(length(chars, min = 1, max = 255), custom(plain_text))))]
    #[schema(value_type = Option<PlainText<255>>)]
    description: Patch<Option<String>>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct BrandFilter {
    /// Part of the name.
    #[param(inline)]
    search: Option<SearchTerm>,
    /// Order; `-` for descending.
    #[serde(default)]
    #[param(inline)]
    sort: BrandSort,
}

#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[schema(default = "name")]
enum BrandSort {
    #[default]
    #[serde(rename = "name")]
    Name,
    #[serde(rename = "-name")]
    NameDescending,
    #[serde(rename = "created_at")]
    CreatedAt,
    #[serde(rename = "-created_at")]
    CreatedAtDescending,
}

impl From<BrandSort> for Sort {
    fn from(sort: BrandSort) -> Sort {
        match sort {
            BrandSort::Name => Sort::ascending("name"),
            BrandSort::NameDescending => Sort::descending("name"),
            BrandSort::CreatedAt => Sort::ascending("created_at"),
            BrandSort::CreatedAtDescending => Sort::descending("created_at"),
        }
    }
}

/// List brands.
#[utoipa::path(get, path = "/brands", tag = "brands", operation_id = "list_brands",
    security(("bearer" = ["brands.read"])), params(BrandFilter, PageParams),
    responses((status = 200, body = Page<Brand>)))]
async fn list(mut tx: TenantTx<BrandsRead>, list: List<BrandFilter>) -> Result<Page<Brand>> {
    let sort = list.filter.sort.into();
    list.fetch(&mut tx, sort, |query, filter| {
        if let Some(search) = &filter.search {
            query
                .push(" and name ilike ")
                .push_bind(contains(search.as_str()));
        }
    })
    .await
}

/// Create a brand.
#[utoipa::path(post, path = "/brands", tag = "brands", operation_id = "create_brand",
    security(("bearer" = ["brands.write"])), request_body = NewBrand, responses((status = 201, body = Brand)))]
async fn create(mut tx: TenantTx<BrandsWrite>, Valid(new): Valid<NewBrand>) -> Result<Created<Brand>> {
    let brand = sqlx::query_as!(
        Brand,
        "insert into brands (id, name, description) values ($1, $2, $3)
         returning id, name, description, created_at, updated_at, version",
        BrandId::new() as _,
        new.name,
        new.description
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(Created(brand))
}

/// Find a brand.
#[utoipa::path(get, path = "/brands/{brand_id}", tag = "brands", operation_id = "find_brand",
    security(("bearer" = ["brands.read"])), params(("brand_id" = BrandId, Path)),
    responses((status = 200, body = Brand)))]
async fn find(mut tx: TenantTx<BrandsRead>, Path(id): Path<BrandId>) -> Result<Tagged<Brand>> {
    let brand = sqlx::query_as!(
        Brand,
        "select id, name, description, created_at, updated_at, version from brands where id = $1",
        id as _
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(Tagged(brand))
}

/// Locks the brand that the client saw, or fails.
async fn lock(conn: &mut PgConnection, id: BrandId, if_match: &IfMatch) -> Result<()> {
    let version = sqlx::query_scalar!("select version from brands where id = $1 for update", id as _)
        .fetch_one(conn)
        .await?;
    if_match.check(version)
}

/// Change a brand.
#[utoipa::path(patch, path = "/brands/{brand_id}", tag = "brands", operation_id = "update_brand",
    security(("bearer" = ["brands.write"])), params(("brand_id" = BrandId, Path)),
    request_body = BrandPatch, responses((status = 200, body = Brand)))]
async fn update(
    mut tx: TenantTx<BrandsWrite>,
    Path(id): Path<BrandId>,
    if_match: IfMatch,
    Valid(patch): Valid<BrandPatch>,
) -> Result<Tagged<Brand>> {
    lock(&mut tx, id, &if_match).await?;
    let brand = sqlx::query_as!(
        Brand,
        "update brands set name = coalesce($2, name), description = case when $3 then $4 else description end
         where id = $1 returning id, name, description, created_at, updated_at, version",
        id as _,
        patch.name.value(),
        patch.description.is_set(),
        patch.description.flat()
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(Tagged(brand))
}

/// Delete a brand that no product uses.
#[utoipa::path(delete, path = "/brands/{brand_id}", tag = "brands", operation_id = "delete_brand",
    security(("bearer" = ["brands.write"])), params(("brand_id" = BrandId, Path)),
    responses((status = 204)))]
async fn delete(
    mut tx: TenantTx<BrandsWrite>,
    Path(id): Path<BrandId>,
    if_match: IfMatch,
) -> Result<NoContent> {
    lock(&mut tx, id, &if_match).await?;
    sqlx::query!("delete from brands where id = $1", id as _)
        .execute(&mut *tx)
        .await
        .on_constraint("products_brand_not_found", || {
            Error::new(&BRAND_IN_USE).detail("deleted products count as well: GET /products?deleted=true")
        })?;
    Ok(NoContent)
}
