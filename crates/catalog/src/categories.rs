//! Categories: the kinds of products that a company sells.

use garde::Validate;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

typed_id!(CategoryId);

permissions! {
    /// See categories.
    CategoriesRead = "categories.read", read_only;
    /// Create, change and delete categories.
    CategoriesWrite = "categories.write";
}

const CATEGORY_NAME_TAKEN: Code = Code::new(409, "category-name-taken", "Another category has this name");
const CATEGORY_IN_USE: Code = Code::new(409, "category-in-use", "Products use this category");

/// The module's routes and rules.
pub fn module() -> Module {
    Module::new("categories")
        .routes(routes!(list, create))
        .routes(routes!(find, update, delete))
        .permissions(PERMISSIONS)
        .constraints(&[
            Constraint {
                name: "categories_name_taken",
                code: &CATEGORY_NAME_TAKEN,
                pointer: Some("/name"),
            },
            Constraint {
                name: "categories_name_length",
                code: &VALIDATION_FAILED,
                pointer: Some("/name"),
            },
            Constraint {
                name: "categories_description_length",
                code: &VALIDATION_FAILED,
                pointer: Some("/description"),
            },
        ])
        .problems(&[&CATEGORY_IN_USE])
}

/// A category.
#[derive(Serialize, ToSchema, sqlx::FromRow)]
pub struct Category {
    id: CategoryId,
    #[schema(example = "Lácteos")]
    name: String,
    #[schema(required = true)]
    description: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[serde(skip)]
    version: i64,
}

impl Versioned for Category {
    fn version(&self) -> i64 {
        self.version
    }
    fn location(&self) -> String {
        format!("/categories/{}", self.id)
    }
}

impl Listed for Category {
    const TABLE: &'static str = "categories";
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
#[schema(example = json!({"name": "Lácteos"}))]
struct NewCategory {
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
struct CategoryPatch {
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
struct CategoryFilter {
    /// Part of the name.
    #[param(inline)]
    search: Option<SearchTerm>,
    /// Order; `-` for descending.
    #[serde(default)]
    #[param(inline)]
    sort: CategorySort,
}

#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[schema(default = "name")]
enum CategorySort {
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

impl From<CategorySort> for Sort {
    fn from(sort: CategorySort) -> Sort {
        match sort {
            CategorySort::Name => Sort::ascending("name"),
            CategorySort::NameDescending => Sort::descending("name"),
            CategorySort::CreatedAt => Sort::ascending("created_at"),
            CategorySort::CreatedAtDescending => Sort::descending("created_at"),
        }
    }
}

/// List categories.
#[utoipa::path(get, path = "/categories", tag = "categories", operation_id = "list_categories",
    security(("bearer" = ["categories.read"])), params(CategoryFilter, PageParams),
    responses((status = 200, body = Page<Category>)))]
async fn list(mut tx: TenantTx<CategoriesRead>, list: List<CategoryFilter>) -> Result<Page<Category>> {
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

/// Create a category.
#[utoipa::path(post, path = "/categories", tag = "categories", operation_id = "create_category",
    security(("bearer" = ["categories.write"])), request_body = NewCategory, responses((status = 201, body = Category)))]
async fn create(
    mut tx: TenantTx<CategoriesWrite>,
    Valid(new): Valid<NewCategory>,
) -> Result<Created<Category>> {
    let category = sqlx::query_as!(
        Category,
        "insert into categories (id, name, description) values ($1, $2, $3)
         returning id, name, description, created_at, updated_at, version",
        CategoryId::new() as _,
        new.name,
        new.description
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(Created(category))
}

/// Find a category.
#[utoipa::path(get, path = "/categories/{category_id}", tag = "categories", operation_id = "find_category",
    security(("bearer" = ["categories.read"])), params(("category_id" = CategoryId, Path)),
    responses((status = 200, body = Category)))]
async fn find(mut tx: TenantTx<CategoriesRead>, Path(id): Path<CategoryId>) -> Result<Tagged<Category>> {
    let category = sqlx::query_as!(
        Category,
        "select id, name, description, created_at, updated_at, version from categories where id = $1",
        id as _
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(Tagged(category))
}

/// Locks the category that the client saw, or fails.
async fn lock(conn: &mut PgConnection, id: CategoryId, if_match: &IfMatch) -> Result<()> {
    let version = sqlx::query_scalar!("select version from categories where id = $1 for update", id as _)
        .fetch_one(conn)
        .await?;
    if_match.check(version)
}

/// Change a category.
#[utoipa::path(patch, path = "/categories/{category_id}", tag = "categories", operation_id = "update_category",
    security(("bearer" = ["categories.write"])), params(("category_id" = CategoryId, Path)),
    request_body = CategoryPatch, responses((status = 200, body = Category)))]
async fn update(
    mut tx: TenantTx<CategoriesWrite>,
    Path(id): Path<CategoryId>,
    if_match: IfMatch,
    Valid(patch): Valid<CategoryPatch>,
) -> Result<Tagged<Category>> {
    lock(&mut tx, id, &if_match).await?;
    let category = sqlx::query_as!(
        Category,
        "update categories set name = coalesce($2, name), description = case when $3 then $4 else description end
         where id = $1 returning id, name, description, created_at, updated_at, version",
        id as _,
        patch.name.value(),
        patch.description.is_set(),
        patch.description.flat()
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(Tagged(category))
}

/// Delete a category that no product uses.
#[utoipa::path(delete, path = "/categories/{category_id}", tag = "categories", operation_id = "delete_category",
    security(("bearer" = ["categories.write"])), params(("category_id" = CategoryId, Path)),
    responses((status = 204)))]
async fn delete(
    mut tx: TenantTx<CategoriesWrite>,
    Path(id): Path<CategoryId>,
    if_match: IfMatch,
) -> Result<NoContent> {
    lock(&mut tx, id, &if_match).await?;
    sqlx::query!("delete from categories where id = $1", id as _)
        .execute(&mut *tx)
        .await
        .on_constraint("products_category_not_found", || {
            Error::new(&CATEGORY_IN_USE).detail("deleted products count as well: GET /products?deleted=true")
        })?;
    Ok(NoContent)
}
