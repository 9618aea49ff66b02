//! The two requests of an upload: a URL to put the bytes to, and, for the impatient, word that they
//! are there. What a client declares is signed, so that the store itself refuses anything else.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::State;
use company_settings::SettingsCache;
use garde::Validate;
use kernel::app::App;
use kernel::caller::Caller;
use kernel::error::UNAVAILABLE;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use storage::Bucket;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::arrivals::mark_uploaded;
use crate::declared::{Declared, EXTENSION_MISMATCH, TOO_LARGE, TYPE_NOT_ALLOWED, from_hex, hexadecimal};
use crate::file::{File, FileId, Status, find};
use crate::open::AwaitUpload;
use crate::quota::{self, QUOTA_EXCEEDED, TOO_MANY_UPLOADS};
use crate::text::{Line, one_line};
use crate::{Files, FilesWrite, PERMISSIONS};

const UPLOAD_MISSING: Code = Code::new(409, "upload-missing", "The bytes have not arrived yet");

const CONSTRAINTS: &[Constraint] = &[
    Constraint::invalid("files_module_form", "/module"),
    Constraint::invalid("files_filename_length", "/filename"),
    Constraint::invalid("files_description_length", "/description"),
    Constraint::invalid("files_tags_count", "/tags"),
    Constraint::invalid("files_content_type_length", "/content_type"),
    Constraint::invalid("files_size_positive", "/size"),
    Constraint::invalid("files_sha256_length", "/sha256"),
];

pub(crate) fn module() -> Module {
    Module::new("uploads")
        .routes(routes!(presign))
        .rate_limit("600/minute", per_tenant)
        .rate_limit("300/minute", per_user)
        .routes(routes!(complete))
        .permissions(PERMISSIONS)
        .constraints(CONSTRAINTS)
        .problems(&[
            &TYPE_NOT_ALLOWED,
            &EXTENSION_MISMATCH,
            &TOO_LARGE,
            &QUOTA_EXCEEDED,
            &TOO_MANY_UPLOADS,
            &UPLOAD_MISSING,
        ])
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"filename": "product_image.jpg", "content_type": "image/jpeg", "module": "products",
    "description": "Product main image"}))]
struct NewUpload {
    /// As users see it, with an extension of the declared type. Any letters; keys of objects hold a plain form of it.
    #[garde(length(chars, min = 1, max = 255), custom(one_line))]
    #[schema(value_type = Line<255>)]
    filename: String,
    /// Of those that the module takes.
    #[garde(length(chars, min = 3, max = 100))]
    #[schema(min_length = 3, max_length = 100)]
    content_type: String,
    /// What the file is for; decides which types and sizes are taken.
    #[garde(custom(module_name))]
    #[schema(pattern = r"^[a-z][a-z0-9_]{0,49}$")]
    module: String,
    #[garde(inner(length(chars, min = 1, max = 255), custom(plain_text)))]
    #[schema(value_type = Option<PlainText<255>>)]
    description: Option<String>,
    /// Exact size in bytes. The store then refuses any other; without it the limit is enforced on arrival.
    #[garde(inner(range(min = 1)))]
    #[schema(minimum = 1)]
    size: Option<i64>,
    /// Hexadecimal SHA-256 of the bytes. The store then refuses any others.
    #[garde(inner(custom(hexadecimal)))]
    #[schema(pattern = r"^[0-9a-fA-F]{64}$")]
    sha256: Option<String>,
    #[serde(default)]
    #[garde(length(max = 20), inner(length(chars, min = 1, max = 50), custom(one_line)))]
    #[schema(value_type = Vec<Line<50>>, required = false, max_items = 20)]
    tags: Vec<String>,
    /// What it belongs to in the module.
    #[garde(skip)]
    entity_id: Option<Uuid>,
}

fn module_name(value: &str, _: &()) -> garde::Result {
    let letters = value
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if letters && value.len() <= 50 && value.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Ok(());
    }
    Err(garde::Error::new(
        "pattern: up to 50 lower-case letters, digits and underscores, a letter first",
    ))
}

/// Where and how to send the bytes.
#[derive(Serialize, ToSchema)]
struct Upload {
    file_id: FileId,
    /// A secret until it expires. Send the raw bytes as the body, no form.
    upload_url: String,
    #[schema(example = "PUT")]
    method: &'static str,
    /// To be sent exactly so; HTTP clients set `content-length` themselves.
    #[schema(example = json!({"content-type": "image/jpeg"}))]
    headers: BTreeMap<&'static str, String>,
    /// Until when the upload may begin.
    expires_at: Timestamp,
    /// In bytes.
    max_size: i64,
}

impl Versioned for Upload {
    fn version(&self) -> i64 {
        1
    }
    fn location(&self) -> String {
        format!("/files/{}", self.file_id)
    }
}

/// Begin an upload.
///
/// Answers a URL for one `PUT` of the raw bytes. Nothing need be called afterwards: the arrival is noticed, the
/// file is checked, scanned and, if a picture, made smaller; `GET /files/{file_id}` tells how far it is.
#[utoipa::path(post, path = "/files/upload/presign", tag = "files", operation_id = "presign_upload",
    security(("bearer" = ["files.write"])), request_body = NewUpload, responses((status = 201, body = Upload)))]
async fn presign(
    mut tx: TenantTx<FilesWrite>,
    State(app): State<App>,
    Valid(new): Valid<NewUpload>,
) -> Result<Created<Upload>> {
    let files = app.part::<Files>()?;
    let company = tx.caller().tenant_id;
    let settings = app.part::<SettingsCache>()?.of(company).await?;
    let rules = settings.files.rules(&new.module);
    let declared = Declared {
        content_type: &new.content_type,
        size: new.size,
        sha256: new.sha256.as_deref().and_then(from_hex),
    };
    declared.check_type(&rules.content_types)?;
    declared.check_name(&new.filename)?;
    let room = quota::room(&mut tx, &files.config).await?;
    let scanned = files
        .inspector
        .largest()
        .and_then(|bytes| i64::try_from(bytes).ok());
    let limits = [room.max_file_bytes, scanned];
    let max_size = limits.into_iter().flatten().fold(rules.max_bytes, i64::min);
    declared.check_size(max_size)?;
    // A file of undeclared size may take what is left.
    let reserved = new.size.unwrap_or_else(|| max_size.min(room.free()));
    if reserved <= 0 {
        return Err(Error::new(&QUOTA_EXCEEDED));
    }
    let file_id = FileId::new();
    let caller = tx.caller().clone();
    let upload_key = format!("{}/{file_id}", caller.tenant_id);
    let (presigned, expires_at) = declared.presign(&app, files, &upload_key)?;
    sqlx::query!(
        "insert into files (id, module, entity_id, filename, description, tags, content_type, size, sha256,
           upload_key, upload_expires_at, reserved, uploaded_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        file_id as _,
        new.module,
        new.entity_id,
        new.filename,
        new.description,
        &new.tags,
        new.content_type,
        new.size,
        declared.sha256.as_ref().map(<[u8; 32]>::as_slice),
        upload_key,
        expires_at as _,
        reserved,
        caller.id()
    )
    .execute(&mut *tx)
    .await?;
    quota::reserve(&mut tx, &files.config, reserved).await?;
    tx.enqueue_in(&AwaitUpload { file_id }, AwaitUpload::FIRST_LOOK)
        .await?;
    Ok(Created(Upload {
        file_id,
        upload_url: presigned.url,
        method: presigned.method,
        headers: presigned.headers,
        expires_at,
        max_size: reserved,
    }))
}

/// Say that the bytes are there.
///
/// Never needed, only faster where the object store does not report uploads. Answers the file as it stands.
#[utoipa::path(post, path = "/files/{file_id}/complete", tag = "files", operation_id = "complete_upload",
    security(("bearer" = ["files.write"])), params(("file_id" = FileId, Path)), responses((status = 200, body = File)))]
async fn complete(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<FileId>,
) -> Result<Tagged<File>> {
    // Two transactions: none stays open while the store is asked.
    let mut tx = TenantTx::<FilesWrite>::begin(&app.db, caller.clone()).await?;
    let file = find(&mut tx, id).await?;
    drop(tx);
    if file.status != Status::Pending {
        return Ok(Tagged(file));
    }
    let key = format!("{}/{id}", caller.tenant_id);
    match app.part::<Files>()?.storage.head(Bucket::Quarantine, &key).await {
        Ok(_) => {}
        Err(storage::Error::NotFound) => return Err(Error::new(&UPLOAD_MISSING)),
        Err(cause) => {
            tracing::warn!(%cause, "the object store cannot be asked for an upload");
            return Err(Error::new(&UNAVAILABLE));
        }
    }
    let mut tx = TenantTx::<FilesWrite>::begin(&app.db, caller).await?;
    mark_uploaded(&mut tx, id).await?;
    let file = find(&mut tx, id).await?;
    tx.commit().await?;
    Ok(Tagged(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_hexadecimal_in_any_case() {
        assert_eq!(from_hex(&"Ff".repeat(32)), Some([255; 32]));
        assert_eq!(from_hex(&"01".repeat(32)), Some([1; 32]));
    }
}
