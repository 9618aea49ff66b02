//! @Plain things@.

use garde::Validate;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;


typed_id!(@Thing@Id);

permissions! {
    /// See @plain things@.
    @Things@Read = "@things@.read", read_only;
    /// Create, change and delete @plain things@.
    @Things@Write = "@things@.write";
}

const @THING@_NAME_TAKEN: Code = Code::new(409, "@thing-code@-name-taken", "Another @plain thing@ has this name");

/// The module's routes and rules.
pub fn module() -> Module {
    Module::new("@things@")
        .routes(routes!(list, create))
        .routes(routes!(find, update, delete))
        .permissions(PERMISSIONS)
        .constraints(&[
            Constraint {
                name: "@things@_name_taken",
                code: &@THING@_NAME_TAKEN,
                pointer: Some("/name"),
            },
            Constraint {
                name: "@things@_name_length",
                code: &VALIDATION_FAILED,
                pointer: Some("/name"),
            },
            Constraint {
                name: "@things@_description_length",
                code: &VALIDATION_FAILED,
                pointer: Some("/description"),
            },
        ])
}

/// @A thing@.
#[derive(Serialize, ToSchema, sqlx::FromRow)]
pub struct @Thing@ {
    id: @Thing@Id,
    #[schema(example = "Principal")]
    name: String,
    #[schema(required = true)]
    description: Option<String>,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[serde(skip)]
    version: i64,
}

impl Versioned for @Thing@ {
    fn version(&self) -> i64 {
        self.version
    }
    fn location(&self) -> String {
        format!("/@things-path@/{}", self.id)
    }
}

impl Listed for @Thing@ {
    const TABLE: &'static str = "@things@";
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
#[schema(example = json!({"name": "Principal"}))]
struct New@Thing@ {
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
struct @Thing@Patch {
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
struct @Thing@Filter {
    /// Part of the name.
    #[param(inline)]
    search: Option<SearchTerm>,
    /// Order; `-` for descending.
    #[serde(default)]
    #[param(inline)]
    sort: @Thing@Sort,
}

#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[schema(default = "name")]
enum @Thing@Sort {
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

impl From<@Thing@Sort> for Sort {
    fn from(sort: @Thing@Sort) -> Sort {
        match sort {
            @Thing@Sort::Name => Sort::ascending("name"),
            @Thing@Sort::NameDescending => Sort::descending("name"),
            @Thing@Sort::CreatedAt => Sort::ascending("created_at"),
            @Thing@Sort::CreatedAtDescending => Sort::descending("created_at"),
        }
    }
}

/// List @plain things@.
#[utoipa::path(get, path = "/@things-path@", tag = "@things@", operation_id = "list_@things@",
    security(("bearer" = ["@things@.read"])), params(@Thing@Filter, PageParams),
    responses((status = 200, body = Page<@Thing@>)))]
async fn list(mut tx: TenantTx<@Things@Read>, list: List<@Thing@Filter>) -> Result<Page<@Thing@>> {
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

/// Create @a thing@.
#[utoipa::path(post, path = "/@things-path@", tag = "@things@", operation_id = "create_@thing@",
    security(("bearer" = ["@things@.write"])), request_body = New@Thing@, responses((status = 201, body = @Thing@)))]
async fn create(
    mut tx: TenantTx<@Things@Write>,
    Valid(new): Valid<New@Thing@>,
) -> Result<Created<@Thing@>> {
    let @thing@ = sqlx::query_as!(
        @Thing@,
        "insert into @things@ (id, name, description) values ($1, $2, $3)
         returning id, name, description, created_at, updated_at, version",
        @Thing@Id::new() as _,
        new.name,
        new.description
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(Created(@thing@))
}

/// Find @a thing@.
#[utoipa::path(get, path = "/@things-path@/{@thing@_id}", tag = "@things@", operation_id = "find_@thing@",
    security(("bearer" = ["@things@.read"])), params(("@thing@_id" = @Thing@Id, Path)),
    responses((status = 200, body = @Thing@)))]
async fn find(mut tx: TenantTx<@Things@Read>, Path(id): Path<@Thing@Id>) -> Result<Tagged<@Thing@>> {
    let @thing@ = sqlx::query_as!(
        @Thing@,
        "select id, name, description, created_at, updated_at, version from @things@ where id = $1",
        id as _
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(Tagged(@thing@))
}

/// Locks the @plain thing@ that the client saw, or fails.
async fn lock(conn: &mut PgConnection, id: @Thing@Id, if_match: &IfMatch) -> Result<()> {
    let version = sqlx::query_scalar!("select version from @things@ where id = $1 for update", id as _)
        .fetch_one(conn)
        .await?;
    if_match.check(version)
}

/// Change @a thing@.
#[utoipa::path(patch, path = "/@things-path@/{@thing@_id}", tag = "@things@", operation_id = "update_@thing@",
    security(("bearer" = ["@things@.write"])), params(("@thing@_id" = @Thing@Id, Path)),
    request_body = @Thing@Patch, responses((status = 200, body = @Thing@)))]
async fn update(
    mut tx: TenantTx<@Things@Write>,
    Path(id): Path<@Thing@Id>,
    if_match: IfMatch,
    Valid(patch): Valid<@Thing@Patch>,
) -> Result<Tagged<@Thing@>> {
    lock(&mut tx, id, &if_match).await?;
    let @thing@ = sqlx::query_as!(
        @Thing@,
        "update @things@ set name = coalesce($2, name), description = case when $3 then $4 else description end
         where id = $1 returning id, name, description, created_at, updated_at, version",
        id as _,
        patch.name.value(),
        patch.description.is_set(),
        patch.description.flat()
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(Tagged(@thing@))
}

/// Delete @a thing@.
#[utoipa::path(delete, path = "/@things-path@/{@thing@_id}", tag = "@things@", operation_id = "delete_@thing@",
    security(("bearer" = ["@things@.write"])), params(("@thing@_id" = @Thing@Id, Path)),
    responses((status = 204)))]
async fn delete(
    mut tx: TenantTx<@Things@Write>,
    Path(id): Path<@Thing@Id>,
    if_match: IfMatch,
) -> Result<NoContent> {
    lock(&mut tx, id, &if_match).await?;
    sqlx::query!("delete from @things@ where id = $1", id as _)
        .execute(&mut *tx)
        .await?;
    Ok(NoContent)
}
