//! A file as the API shows it, and the steps of its life.

use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use sqlx::types::Json;
use utoipa::ToSchema;
use uuid::Uuid;

typed_id!(FileId);

/// Where a file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[schema(as = FileStatus)]
pub(crate) enum Status {
    /// Waits for the bytes.
    Pending,
    /// The bytes have arrived.
    Uploaded,
    /// Being checked.
    Scanning,
    /// Can be downloaded.
    Ready,
    /// Not what it claimed to be, or not acceptable; see `reason`.
    Rejected,
    /// Holds malware, named by `reason`; never served.
    Infected,
    /// The bytes did not arrive in time.
    Expired,
}

impl Status {
    /// Whether nothing more happens by itself.
    pub fn is_final(self) -> bool {
        !matches!(self, Status::Pending | Status::Uploaded | Status::Scanning)
    }
}

/// A smaller picture of a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
pub(crate) struct Variant {
    /// For `?variant=` of the download.
    #[schema(example = "thumb_160")]
    pub name: String,
    #[schema(example = "image/webp")]
    pub content_type: String,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// In bytes.
    pub size: u64,
}

/// Key of a variant. `@` is in no sanitised name, so the key of the file can be read from it.
pub(crate) fn variant_key(key: &str, name: &str) -> String {
    format!("{key}@{name}")
}

/// A file.
#[derive(Serialize, ToSchema, sqlx::FromRow)]
pub(crate) struct File {
    pub id: FileId,
    #[schema(example = "products")]
    pub module: String,
    /// What it belongs to in the module.
    #[schema(required = true)]
    pub entity_id: Option<Uuid>,
    #[schema(example = "product_image.jpg")]
    pub filename: String,
    #[schema(required = true)]
    pub description: Option<String>,
    pub tags: Vec<String>,
    #[schema(example = "image/jpeg")]
    pub content_type: String,
    /// In bytes: as declared, and once ready as measured.
    #[schema(required = true)]
    pub size: Option<i64>,
    /// Hexadecimal: as declared, and once ready as measured.
    #[schema(required = true)]
    pub sha256: Option<String>,
    pub status: Status,
    /// Why it was rejected, or what it is infected with.
    #[schema(required = true)]
    pub reason: Option<String>,
    /// What found it clean: a virus scanner with its version and signatures, or `builtin-content-check`, which is no
    /// antivirus. Null until it is ready.
    #[schema(required = true, example = "builtin-content-check")]
    pub scanned_by: Option<String>,
    /// 0 to 100.
    pub progress: i16,
    #[schema(value_type = Vec<Variant>)]
    pub variants: Json<Vec<Variant>>,
    pub uploaded_by: Uuid,
    #[schema(required = true)]
    pub deleted_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    #[serde(skip)]
    pub version: i64,
}

impl Versioned for File {
    fn version(&self) -> i64 {
        self.version
    }
    fn location(&self) -> String {
        format!("/files/{}", self.id)
    }
}

impl Listed for File {
    const TABLE: &'static str = "files";
    const COLUMNS: &'static str = "id, module, entity_id, filename, description, tags, content_type, size, \
        encode(sha256, 'hex') as sha256, state as status, reason, scanned_by, progress, variants, uploaded_by, deleted_at, \
        created_at, updated_at, version";
    fn id(&self) -> Uuid {
        self.id.0
    }
    fn key(&self, column: &'static str) -> Key {
        match column {
            "filename" => Key::Text(self.filename.clone()),
            _ => Key::Time(self.created_at),
        }
    }
}

/// `query_as!` of a file, whose columns stand between two pieces of SQL.
macro_rules! query_file {
    ($before:literal, $after:literal $($argument:tt)*) => {
        sqlx::query_as!(
            $crate::file::File,
            $before + r#" id, module, entity_id, filename, description, tags, content_type, size,
            encode(sha256, 'hex') as sha256, state as "status: _", reason, scanned_by, progress,
            variants as "variants: _", uploaded_by, deleted_at, created_at, updated_at, version "# + $after
            $($argument)*
        )
    };
}
pub(crate) use query_file;

/// The file, unless it is deleted.
///
/// # Errors
/// `not-found`, or those of the database.
pub(crate) async fn find(conn: &mut PgConnection, id: FileId) -> Result<File> {
    Ok(query_file!(
        "select",
        "from files where id = $1 and deleted_at is null",
        id as _
    )
    .fetch_one(conn)
    .await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_states_are_not_final() {
        let all = [
            Status::Pending,
            Status::Uploaded,
            Status::Scanning,
            Status::Ready,
            Status::Rejected,
            Status::Infected,
            Status::Expired,
        ];
        assert_eq!(
            all.map(Status::is_final),
            [false, false, false, true, true, true, true]
        );
    }
}
