//! Downloads: a URL that works for minutes, for files that were found clean.

use axum::extract::State;
use kernel::app::App;
use kernel::error::NOT_FOUND;
use kernel::output::json;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use storage::GetOptions;
use utoipa::{IntoParams, ToSchema};

use crate::declared::expiry;
use crate::file::{FileId, Status, Variant, variant_key};
use crate::policy::{disposition, is_safe_inline};
use crate::{Files, FilesRead};

const NOT_READY: Code = Code::new(
    409,
    "file-not-ready",
    "Only a file that is ready can be downloaded",
);

pub(crate) fn module() -> Module {
    Module::new("downloads")
        .routes(routes!(download))
        .problems(&[&NOT_READY])
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DownloadParams {
    /// Name of one of the file's variants instead of the file itself.
    #[param(inline, example = "thumb_160")]
    variant: Option<SearchTerm>,
    /// To be saved or, for pictures and PDF, to be shown in the browser.
    #[serde(default)]
    #[param(inline)]
    disposition: Disposition,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(default = "attachment")]
enum Disposition {
    #[default]
    Attachment,
    Inline,
}

#[derive(Serialize, ToSchema)]
struct Download {
    /// A secret until it expires; needs no token.
    download_url: String,
    expires_at: Timestamp,
    filename: String,
    content_type: String,
    /// In bytes.
    size: i64,
}

/// Get a URL to download from.
#[utoipa::path(get, path = "/files/{file_id}/download", tag = "files", operation_id = "download_file",
    security(("bearer" = ["files.read"])), params(("file_id" = FileId, Path), DownloadParams),
    responses((status = 200, body = Download)))]
async fn download(
    mut tx: TenantTx<FilesRead>,
    State(app): State<App>,
    Path(id): Path<FileId>,
    Query(params): Query<DownloadParams>,
) -> Result<impl axum::response::IntoResponse> {
    let files = app.part::<Files>()?;
    let file = sqlx::query!(
        r#"select filename, content_type, size, key, variants as "variants: Json<Vec<Variant>>", state as "status: Status"
             from files where id = $1 and deleted_at is null"#,
        id as _
    );
    let file = file.fetch_one(&mut *tx).await?;
    let (Status::Ready, Some(key), Some(size)) = (file.status, file.key, file.size) else {
        return Err(Error::new(&NOT_READY));
    };
    let (key, filename, content_type, size) = match params.variant {
        None => (key, file.filename, file.content_type, size),
        Some(name) => {
            let name = name.as_str();
            let variant = file
                .variants
                .0
                .into_iter()
                .find(|variant| variant.name == name)
                .ok_or(&NOT_FOUND)?;
            let size = i64::try_from(variant.size).map_err(Error::internal)?;
            (
                variant_key(&key, name),
                variant_filename(&file.filename, &variant),
                variant.content_type,
                size,
            )
        }
    };
    let inline = params.disposition == Disposition::Inline && is_safe_inline(&content_type);
    let options = GetOptions {
        expires: files.config.download_url(),
        content_disposition: Some(disposition(
            if inline { "inline" } else { "attachment" },
            &filename,
        )),
        content_type: Some(content_type.clone()),
        ..GetOptions::default()
    };
    Ok(json(Download {
        download_url: files
            .storage
            .presign_get(&key, &options)
            .map_err(Error::internal)?
            .url,
        expires_at: expiry(&app, files.config.download_url()),
        filename,
        content_type,
        size,
    }))
}

/// `foto-thumb_160.jpg` for `foto.png`: a variant need not have the type of the file.
fn variant_filename(filename: &str, variant: &Variant) -> String {
    let stem = filename.rsplit_once('.').map_or(filename, |(stem, _)| stem);
    let extension = match variant.content_type.as_str() {
        "image/jpeg" => "jpg",
        other => other.rsplit_once('/').map_or(other, |(_, subtype)| subtype),
    };
    format!("{stem}-{}.{extension}", variant.name)
}
