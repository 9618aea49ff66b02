//! Pictures as other resources show them: their thumbnails, by signed URL. The key of the file comes
//! with the row that shows it, and signing is computed, so a picture costs no request of its own.

use kernel::app::App;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use storage::GetOptions;
use utoipa::ToSchema;

use crate::file::{FileId, variant_key};
use crate::{Files, FilesConfig};

/// A file named in a body is not the company's, or deleted.
pub const FILE_NOT_FOUND: Code = Code::new(422, "file-not-found", "There is no such file");
/// A file named in a body has no thumbnails to show.
pub const NOT_A_PICTURE: Code = Code::new(
    422,
    "file-not-a-picture",
    "The file is not a picture that is ready",
);
/// Whatever shows the file refers to `files.picture_id`, which is null while the file is deleted.
pub const FILE_IN_USE: Code = Code::new(409, "file-in-use", "The file is shown as a picture of something");

/// A picture in a row and in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Picture {
    /// As clients see it; null where the process has no object store.
    #[serde(skip_deserializing)]
    Signed(Option<PictureUrls>),
    /// As the row has it: the key of the file. Refuses to be serialized, so that no answer can show it.
    #[serde(skip_serializing)]
    Stored(String),
}

/// Names of a picture's thumbnails.
pub(crate) const THUMBNAILS: [&str; 3] = ["thumb_160", "thumb_480", "thumb_1280"];

/// URLs of a picture's thumbnails, by their longest side in pixels. Each stays the same for some minutes and works
/// for longer; whoever has it needs no token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PictureUrls {
    pub thumb_160: String,
    pub thumb_480: String,
    pub thumb_1280: String,
}

impl Picture {
    /// Makes the URLs; one that has them keeps them.
    ///
    /// # Errors
    /// `internal` for a key that no URL can carry; workers write none.
    pub fn sign(&mut self, app: &App) -> Result<()> {
        if let Picture::Stored(key) = self {
            let urls = app.part().ok().map(|files| PictureUrls::of(files, key));
            *self = Picture::Signed(urls.transpose()?);
        }
        Ok(())
    }
}

impl PictureUrls {
    fn of(files: &Files, key: &str) -> Result<PictureUrls> {
        let options = options(&files.config);
        let url = |name: &str| {
            let signed = files.storage.presign_get(&variant_key(key, name), &options);
            Ok::<_, Error>(signed.map_err(Error::internal)?.url)
        };
        let [thumb_160, thumb_480, thumb_1280] = THUMBNAILS.map(url);
        Ok(PictureUrls {
            thumb_160: thumb_160?,
            thumb_480: thumb_480?,
            thumb_1280: thumb_1280?,
        })
    }
}

/// The object of a key never changes, so whoever was shown it may keep it.
fn options(config: &FilesConfig) -> GetOptions {
    GetOptions {
        expires: config.picture_url() * 2,
        same_for: config.picture_url(),
        cache_control: Some("private, max-age=86400, immutable".to_owned()),
        ..GetOptions::default()
    }
}

/// Says of a file that cannot be shown why not. Whether it is there at all is for the reference to `files.picture_id`
/// to find, which also sees what happens at the same time.
///
/// # Errors
/// `file-not-a-picture` at `/file_id`, or those of the database.
pub async fn expect_picture(conn: &mut PgConnection, id: FileId) -> Result<()> {
    let unfit = sqlx::query_scalar!(
        r#"select picture_id is null as "unfit!" from files where id = $1 and deleted_at is null"#,
        id as _
    );
    match unfit.fetch_optional(conn).await? {
        Some(true) => Err(Error::new(&NOT_A_PICTURE).at("/file_id")),
        _ => Ok(()),
    }
}
