//! The company's files: list, find, describe, delete, restore, and how much room they take.

use axum::extract::State;
use garde::Validate;
use kernel::app::App;
use kernel::output::json;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, Postgres, QueryBuilder};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::file::{self, File, FileId, Status, query_file};
use crate::open::expire;
use crate::pictures::FILE_IN_USE;
use crate::quota::{self, Room};
use crate::text::{Line, one_line};
use crate::{Files, FilesRead, FilesWrite};

const NOT_DELETED: Code = Code::new(409, "file-not-deleted", "The file is not deleted");

pub(crate) fn module() -> Module {
    Module::new("files")
        .routes(routes!(list))
        .routes(routes!(usage))
        .routes(routes!(find, update, delete))
        .routes(routes!(restore))
        .problems(&[&NOT_DELETED, &FILE_IN_USE])
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct FileFilter {
    /// Part of the name or the description, without regard to case and accents; of fewer than three characters where a
    /// word begins. Of more than 10,000 the newest.
    #[param(inline)]
    search: Option<SearchTerm>,
    #[param(inline)]
    module: Option<SearchTerm>,
    #[param(inline)]
    status: Option<Status>,
    #[param(inline)]
    content_type: Option<SearchTerm>,
    #[param(inline)]
    tag: Option<SearchTerm>,
    entity_id: Option<Uuid>,
    /// The deleted files instead of the others.
    #[serde(default)]
    #[param(default = false)]
    deleted: bool,
    /// Order; `-` for descending.
    #[serde(default)]
    #[param(inline)]
    sort: FileSort,
}

#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[schema(default = "-created_at")]
enum FileSort {
    #[serde(rename = "created_at")]
    CreatedAt,
    #[default]
    #[serde(rename = "-created_at")]
    CreatedAtDescending,
    #[serde(rename = "filename")]
    Filename,
    #[serde(rename = "-filename")]
    FilenameDescending,
}

impl From<FileSort> for Sort {
    fn from(sort: FileSort) -> Sort {
        match sort {
            FileSort::CreatedAt => Sort::ascending("created_at"),
            FileSort::CreatedAtDescending => Sort::descending("created_at"),
            FileSort::Filename => Sort::ascending("filename"),
            FileSort::FilenameDescending => Sort::descending("filename"),
        }
    }
}

impl FileFilter {
    fn conditions(&self, query: &mut QueryBuilder<Postgres>) {
        query.push(if self.deleted {
            " and deleted_at is not null"
        } else {
            " and deleted_at is null"
        });
        let term = self.search.as_ref().map(|term| term.as_str().trim());
        let term = term.filter(|term| !term.is_empty());
        let tag = self.tag.as_ref().map(SearchTerm::as_str);
        if term.is_some() || tag.is_some() {
            query
                .push(" and id = any (array(select search_files(")
                .push_bind(term.map(str::to_owned));
            query.push(", ").push_bind(tag.map(str::to_owned));
            query.push(", ").push_bind(self.deleted).push(")))");
        }
        if let Some(module) = &self.module {
            query.push(" and module = ").push_bind(module.as_str().to_owned());
        }
        if let Some(status) = self.status {
            query.push(" and state = ").push_bind(status);
        }
        if let Some(content_type) = &self.content_type {
            query
                .push(" and content_type = ")
                .push_bind(content_type.as_str().to_owned());
        }
        if let Some(id) = self.entity_id {
            query.push(" and entity_id = ").push_bind(id);
        }
    }
}

/// List files.
///
/// All filters must match.
#[utoipa::path(get, path = "/files", tag = "files", operation_id = "list_files",
    security(("bearer" = ["files.read"])), params(FileFilter, PageParams), responses((status = 200, body = Page<File>)))]
async fn list(mut tx: TenantTx<FilesRead>, list: List<FileFilter>) -> Result<Page<File>> {
    let sort = list.filter.sort.into();
    list.fetch(&mut tx, sort, |query, filter| filter.conditions(query))
        .await
}

/// How much room the company has and what takes it.
#[derive(Serialize, ToSchema)]
#[schema(as = FileUsage)]
struct Usage {
    quota_bytes: i64,
    /// Of files that are ready, deleted ones included until they are purged.
    used_bytes: i64,
    /// Held for uploads whose outcome is open.
    reserved_bytes: i64,
    open_uploads: i32,
    modules: Vec<ModuleUsage>,
}

#[derive(Serialize, ToSchema)]
struct ModuleUsage {
    module: String,
    files: i64,
    /// Thumbnails included.
    bytes: i64,
}

/// See how much room files take.
#[utoipa::path(get, path = "/files/usage", tag = "files", operation_id = "get_file_usage",
    security(("bearer" = ["files.read"])), responses((status = 200, body = Usage)))]
async fn usage(
    mut tx: TenantTx<FilesRead>,
    State(app): State<App>,
) -> Result<impl axum::response::IntoResponse> {
    let room = quota::room(&mut tx, &app.part::<Files>()?.config).await?;
    let modules = sqlx::query_as!(
        ModuleUsage,
        r#"select module, count(*) as "files!", sum(bytes)::bigint as "bytes!"
             from files where state = 'ready' group by module order by module"#
    );
    let modules = modules.fetch_all(&mut *tx).await?;
    let Room {
        quota_bytes,
        used_bytes,
        reserved_bytes,
        open_uploads,
        ..
    } = room;
    Ok(json(Usage {
        quota_bytes,
        used_bytes,
        reserved_bytes,
        open_uploads,
        modules,
    }))
}

/// Find a file.
///
/// A deleted one is not found here, only in the list with `deleted=true`.
#[utoipa::path(get, path = "/files/{file_id}", tag = "files", operation_id = "find_file",
    security(("bearer" = ["files.read"])), params(("file_id" = FileId, Path)), responses((status = 200, body = File)))]
async fn find(mut tx: TenantTx<FilesRead>, Path(id): Path<FileId>) -> Result<Tagged<File>> {
    Ok(Tagged(file::find(&mut tx, id).await?))
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"description": null, "tags": ["front"]}))]
struct FilePatch {
    #[serde(default)]
    #[garde(inner(inner(length(chars, min = 1, max = 255), custom(plain_text))))]
    #[schema(value_type = Option<PlainText<255>>)]
    description: Patch<Option<String>>,
    #[serde(default)]
    #[garde(inner(length(max = 20), inner(length(chars, min = 1, max = 50), custom(one_line))))]
    #[schema(value_type = Vec<Line<50>>, required = false, max_items = 20)]
    tags: Patch<Vec<String>>,
    #[serde(default)]
    #[garde(skip)]
    #[schema(value_type = Option<Uuid>)]
    entity_id: Patch<Option<Uuid>>,
}

/// Locks the file, not deleted, that the client saw, or fails.
async fn lock(conn: &mut PgConnection, id: FileId, if_match: &IfMatch) -> Result<()> {
    let version = sqlx::query_scalar!(
        "select version from files where id = $1 and deleted_at is null for update",
        id as _
    );
    if_match.check(version.fetch_one(conn).await?)
}

/// Describe a file.
#[utoipa::path(patch, path = "/files/{file_id}", tag = "files", operation_id = "update_file",
    security(("bearer" = ["files.write"])), params(("file_id" = FileId, Path)), request_body = FilePatch,
    responses((status = 200, body = File)))]
async fn update(
    mut tx: TenantTx<FilesWrite>,
    Path(id): Path<FileId>,
    if_match: IfMatch,
    Valid(patch): Valid<FilePatch>,
) -> Result<Tagged<File>> {
    lock(&mut tx, id, &if_match).await?;
    let file = query_file!(
        "update files set description = case when $2 then $3 else description end, tags = coalesce($4, tags),
                entity_id = case when $5 then $6 else entity_id end
          where id = $1 returning",
        "",
        id as _,
        patch.description.is_set(),
        patch.description.flat(),
        patch.tags.value().map(Vec::as_slice),
        patch.entity_id.is_set(),
        patch.entity_id.flat().copied()
    );
    Ok(Tagged(file.fetch_one(&mut *tx).await?))
}

/// Delete a file.
///
/// It can be restored for some days; until it is purged, it takes room. An upload whose bytes have not arrived ends with
/// it, and takes none. One that is shown as a picture of something
/// cannot be deleted: take it away there first.
#[utoipa::path(delete, path = "/files/{file_id}", tag = "files", operation_id = "delete_file",
    security(("bearer" = ["files.write"])), params(("file_id" = FileId, Path)), responses((status = 204)))]
async fn delete(
    mut tx: TenantTx<FilesWrite>,
    State(app): State<App>,
    Path(id): Path<FileId>,
    if_match: IfMatch,
) -> Result<NoContent> {
    lock(&mut tx, id, &if_match).await?;
    let now = Timestamp(app.clock.now());
    expire(&mut tx, id).await?;
    sqlx::query!(
        "update files set deleted_at = $2 where id = $1",
        id as _,
        now as _
    )
    .execute(&mut *tx)
    .await?;
    Ok(NoContent)
}

/// Restore a deleted file.
#[utoipa::path(post, path = "/files/{file_id}/restore", tag = "files", operation_id = "restore_file",
    security(("bearer" = ["files.write"])), params(("file_id" = FileId, Path)), responses((status = 200, body = File)))]
async fn restore(
    mut tx: TenantTx<FilesWrite>,
    Path(id): Path<FileId>,
    if_match: IfMatch,
) -> Result<Tagged<File>> {
    let found = sqlx::query!(
        "select version, deleted_at from files where id = $1 for update",
        id as _
    );
    let found = found.fetch_one(&mut *tx).await?;
    if found.deleted_at.is_none() {
        return Err(Error::new(&NOT_DELETED));
    }
    if_match.check(found.version)?;
    let file = query_file!(
        "update files set deleted_at = null where id = $1 returning",
        "",
        id as _
    );
    Ok(Tagged(file.fetch_one(&mut *tx).await?))
}
