//! Pictures of people. A person belongs to several companies or to none, so an avatar is no company's file: it has an
//! upload of its own, and of the picture nothing is kept but its thumbnails, below `users/{id}/`.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use company_settings::PICTURES;
use garde::Validate;
use http::StatusCode;
use inspect::{Verdict, reason};
use kernel::app::App;
use kernel::caller::UserCaller;
use kernel::db::SystemTx;
use kernel::job::{Job, JobCx, JobError, JobResult};
use kernel::output::json;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use storage::{Bucket, ObjectInfo};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Files;
use crate::declared::{Declared, TOO_LARGE, TYPE_NOT_ALLOWED, from_hex, hexadecimal};
use crate::open::GRACE;
use crate::pictures::{Picture, PictureUrls};
use crate::process::{fetch, put_thumbnails};
use crate::remove::{RemoveObjects, away, later, undecided};

/// Largest picture.
pub(crate) const MAX_BYTES: i64 = 5 * 1024 * 1024;

pub(crate) fn module() -> Module {
    Module::new("avatars")
        .routes(routes!(presign, remove))
        .problems(&[&TYPE_NOT_ALLOWED, &TOO_LARGE])
        .job::<TakeAvatar>()
}

/// How the last upload of an avatar stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
enum AvatarStatus {
    /// Waits for the bytes, or is being checked.
    Pending,
    Ready,
    /// Not a picture that can be shown; see `reason`.
    Rejected,
    /// The bytes did not arrive in time.
    Expired,
}

/// A person's picture.
#[derive(Debug, Serialize, ToSchema)]
pub struct Avatar {
    /// How the last upload stands.
    status: AvatarStatus,
    /// Why it was rejected.
    #[schema(required = true)]
    reason: Option<String>,
    /// Of the last picture that was ready; null before the first one.
    #[schema(value_type = Option<PictureUrls>, required = true)]
    urls: Option<Picture>,
}

impl Avatar {
    /// The avatar of a user who has one, or has begun to upload it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn find(tx: &mut SystemTx, app: &App, user_id: Uuid) -> Result<Option<Avatar>> {
        let row = sqlx::query!(
            r#"select state as "status: AvatarStatus", reason, key from avatars where user_id = $1"#,
            user_id
        );
        let Some(row) = row.fetch_optional(&mut **tx).await? else {
            return Ok(None);
        };
        let mut urls = row.key.map(Picture::Stored);
        urls.iter_mut().try_for_each(|picture| picture.sign(app))?;
        Ok(Some(Avatar {
            status: row.status,
            reason: row.reason,
            urls,
        }))
    }

    /// Forgets the avatar of a user, if any, and has its objects deleted.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn forget(tx: &mut SystemTx, user_id: Uuid) -> Result<()> {
        let forgotten = sqlx::query!(
            "delete from avatars where user_id = $1 returning upload_id, key",
            user_id
        );
        if let Some(avatar) = forgotten.fetch_optional(&mut **tx).await? {
            let uploaded = upload_key(user_id, avatar.upload_id);
            tx.enqueue(&RemoveObjects::of_avatar(uploaded, avatar.key.as_deref()))
                .await?;
        }
        Ok(())
    }
}

/// An object has arrived under the key of an upload: one that nothing waits for is removed, for no quota counts it.
///
/// # Errors
/// Those of the database.
pub(crate) async fn arrived(app: &App, user_id: Uuid, upload_id: Uuid) -> Result<()> {
    let upload = TakeAvatar { user_id, upload_id };
    if upload.pending(app).await?.is_some() {
        return Ok(());
    }
    #[expect(clippy::disallowed_methods, reason = "people are global")]
    let mut tx = app.db.system().await?;
    tx.enqueue(&RemoveObjects::quarantined(upload.key())).await?;
    tx.commit().await
}

/// Key of an upload in quarantine.
pub(crate) fn upload_key(user_id: Uuid, upload_id: Uuid) -> String {
    format!("users/{user_id}/{upload_id}")
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"content_type": "image/jpeg"}))]
struct NewAvatar {
    /// `image/jpeg`, `image/png`, `image/webp` or `image/gif`.
    #[garde(length(chars, min = 3, max = 100))]
    #[schema(min_length = 3, max_length = 100, example = "image/jpeg")]
    content_type: String,
    /// Exact size in bytes. The store then refuses any other; without it the limit is enforced on arrival.
    #[garde(inner(range(min = 1)))]
    #[schema(minimum = 1)]
    size: Option<i64>,
    /// Hexadecimal SHA-256 of the bytes. The store then refuses any others.
    #[garde(inner(custom(hexadecimal)))]
    #[schema(pattern = r"^[0-9a-fA-F]{64}$")]
    sha256: Option<String>,
}

/// Where and how to send the bytes of an avatar.
#[derive(Serialize, ToSchema)]
struct AvatarUpload {
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

/// Upload my avatar.
///
/// Answers a URL for one `PUT` of the raw bytes; `GET /auth/me` shows how it stands. The avatar that there is stays
/// until the new one is ready.
#[utoipa::path(post, path = "/auth/me/avatar", tag = "auth", operation_id = "upload_avatar",
    security(("bearer" = [])), request_body = NewAvatar, responses((status = 201, body = AvatarUpload)))]
async fn presign(
    State(app): State<App>,
    Extension(user): Extension<UserCaller>,
    Valid(new): Valid<NewAvatar>,
) -> Result<impl IntoResponse> {
    let files = app.part::<Files>()?;
    let declared = Declared {
        content_type: &new.content_type,
        size: new.size,
        sha256: new.sha256.as_deref().and_then(from_hex),
    };
    declared.check_type(PICTURES)?;
    declared.check_size(MAX_BYTES)?;
    let upload = TakeAvatar {
        user_id: user.user_id,
        upload_id: kernel::ids::new_id(),
    };
    let (presigned, expires_at) = declared.presign(&app, files, &upload.key())?;
    #[expect(clippy::disallowed_methods, reason = "people are global")]
    let mut tx = app.db.system().await?;
    sqlx::query!(
        "insert into avatars (user_id, upload_id, content_type, upload_expires_at) values ($1, $2, $3, $4)
         on conflict (user_id) do update set upload_id = excluded.upload_id, content_type = excluded.content_type,
           upload_expires_at = excluded.upload_expires_at, state = 'pending', reason = null",
        upload.user_id,
        upload.upload_id,
        new.content_type,
        expires_at as _
    )
    .execute(&mut *tx)
    .await?;
    tx.enqueue(&upload).await?;
    tx.commit().await?;
    let upload = AvatarUpload {
        upload_url: presigned.url,
        method: presigned.method,
        headers: presigned.headers,
        expires_at,
        max_size: new.size.unwrap_or(MAX_BYTES),
    };
    Ok((StatusCode::CREATED, json(upload)))
}

/// Remove my avatar.
#[utoipa::path(delete, path = "/auth/me/avatar", tag = "auth", operation_id = "remove_avatar",
    security(("bearer" = [])), responses((status = 204)))]
async fn remove(State(app): State<App>, Extension(user): Extension<UserCaller>) -> Result<NoContent> {
    #[expect(clippy::disallowed_methods, reason = "people are global")]
    let mut tx = app.db.system().await?;
    Avatar::forget(&mut tx, user.user_id).await?;
    tx.commit().await?;
    Ok(NoContent)
}

/// Waits for the bytes of one upload and makes them the avatar, unless a later upload has taken its place.
#[derive(Serialize, Deserialize)]
struct TakeAvatar {
    user_id: Uuid,
    upload_id: Uuid,
}

/// What a picture became, or why it is none of ours.
type Examined = std::result::Result<(Vec<inspect::Thumbnail>, [u8; 32]), String>;

impl Job for TakeAvatar {
    const NAME: &'static str = "files.take_avatar";
    const QUEUE: &'static str = crate::QUEUE;
    const TIMEOUT: Duration = Duration::from_mins(5);

    fn unique_key(&self) -> Option<String> {
        Some(self.upload_id.to_string())
    }

    async fn run(self, cx: JobCx) -> JobResult {
        let files = cx.app.part::<Files>()?;
        let Some((content_type, expires_at)) = self.pending(&cx.app).await? else {
            // A later upload has taken its place.
            let removed = files.storage.delete(Bucket::Quarantine, &self.key()).await;
            return removed.map_err(|error| later(cx.attempt, error));
        };
        let info = match files.storage.head(Bucket::Quarantine, &self.key()).await {
            Ok(info) => info,
            Err(storage::Error::NotFound) if cx.app.clock.now() > expires_at.0 + GRACE => {
                // A whole bucket that is away, too, has no such object.
                files
                    .storage
                    .check()
                    .await
                    .map_err(|error| away(cx.attempt, error))?;
                return Ok(self.end(&cx.app, AvatarStatus::Expired, None).await?);
            }
            Err(storage::Error::NotFound) => {
                // It is looked at by whoever waits for it, so sooner than a file.
                let pause = Duration::from_secs_f64(1.5_f64.powi(cx.attempt.clamp(1, 10)));
                return Err(JobError::Later(
                    pause,
                    anyhow::anyhow!("the bytes have not arrived yet"),
                ));
            }
            Err(error) => return Err(later(cx.attempt, error)),
        };
        match self.examine(&cx, files, &info, &content_type).await? {
            Ok((thumbnails, sha256)) => {
                let key = format!(
                    "users/{}/{}",
                    self.user_id,
                    Uuid::new_v5(&self.upload_id, &sha256)
                );
                put_thumbnails(files, &key, thumbnails)
                    .await
                    .map_err(|error| later(cx.attempt, error))?;
                Ok(self.show(&cx.app, key).await?)
            }
            Err(reason) => Ok(self.end(&cx.app, AvatarStatus::Rejected, Some(&reason)).await?),
        }
    }
}

/// Ends uploads that expired before that time and have no job left.
///
/// # Errors
/// Those of the database.
#[expect(clippy::disallowed_methods, reason = "people are global")]
pub(crate) async fn end_lost(app: &App, before: Timestamp) -> Result<()> {
    let mut tx = app.db.system().await?;
    let lost = sqlx::query!(
        "update avatars set state = 'expired'
          where state = 'pending' and upload_expires_at < $1
            and not exists (select from jobs where name = $2 and unique_key = upload_id::text
                               and jobs.state in ('scheduled', 'ready', 'running'))
         returning user_id, upload_id",
        before as _,
        TakeAvatar::NAME
    );
    for upload in lost.fetch_all(&mut *tx).await? {
        let key = upload_key(upload.user_id, upload.upload_id);
        tx.enqueue(&RemoveObjects::of_avatar(key, None)).await?;
    }
    tx.commit().await
}

impl TakeAvatar {
    fn key(&self) -> String {
        upload_key(self.user_id, self.upload_id)
    }

    /// Its declared type and until when it may begin, as long as its outcome is open.
    #[expect(clippy::disallowed_methods, reason = "people are global")]
    async fn pending(&self, app: &App) -> Result<Option<(String, Timestamp)>> {
        let mut tx = app.db.system().await?;
        let upload = sqlx::query!(
            r#"select content_type, upload_expires_at as "expires_at: Timestamp" from avatars
                where user_id = $1 and upload_id = $2 and state = 'pending'"#,
            self.user_id,
            self.upload_id
        );
        let upload = upload.fetch_optional(&mut *tx).await?;
        Ok(upload.map(|upload| (upload.content_type, upload.expires_at)))
    }

    /// As a file is examined, and made smaller.
    async fn examine(
        &self,
        cx: &JobCx,
        files: &Files,
        info: &ObjectInfo,
        declared: &str,
    ) -> JobResult<Examined> {
        match i64::try_from(info.size) {
            Ok(0) => return Ok(Err("empty".to_owned())),
            Ok(1..=MAX_BYTES) => {}
            _ => return Ok(Err("too-large".to_owned())),
        }
        let copy = fetch(files, &self.key(), info)
            .await
            .map_err(|error| later(cx.attempt, error))?;
        let path = copy.path();
        let filename = declared.replace('/', ".");
        let verdict = files.inspector.inspect(path, declared, &filename).await;
        match verdict {
            Ok(Verdict::Clean(_)) => {}
            Ok(Verdict::Rejected(rejected)) => return Ok(Err(rejected.reason.to_owned())),
            Ok(Verdict::Infected { .. }) => return Ok(Err("infected".to_owned())),
            Err(cause) => {
                let unscannable = || Ok(Err(reason::UNSCANNABLE.to_owned()));
                let undecided = undecided::<TakeAvatar>(cx, &files.inspector, cause);
                return undecided.await.map_or_else(unscannable, Err);
            }
        }
        let thumbnails = files.inspector.thumbnails(path).await;
        Ok(thumbnails
            .map(|thumbnails| (thumbnails, copy.sha256))
            .map_err(|rejected| rejected.reason.to_owned()))
    }

    /// Shows the picture in place of the one that there was.
    #[expect(clippy::disallowed_methods, reason = "people are global")]
    async fn show(&self, app: &App, key: String) -> Result<()> {
        let mut tx = app.db.system().await?;
        let replaced = sqlx::query!(
            r#"update avatars set state = 'ready', key = $3
                 from (select key from avatars where user_id = $1 for update) as before
                where user_id = $1 and upload_id = $2 and state = 'pending' returning before.key as "before?""#,
            self.user_id,
            self.upload_id,
            key
        );
        // None when a later upload has taken its place; the sweep finds the thumbnails that nothing refers to.
        let replaced = replaced.fetch_optional(&mut *tx).await?;
        let before = replaced.and_then(|replaced| replaced.before);
        tx.enqueue(&RemoveObjects::of_avatar(self.key(), before.as_deref()))
            .await?;
        tx.commit().await
    }

    /// Ends it without a picture; the one that there was stays.
    #[expect(clippy::disallowed_methods, reason = "people are global")]
    async fn end(&self, app: &App, status: AvatarStatus, reason: Option<&str>) -> Result<()> {
        let mut tx = app.db.system().await?;
        sqlx::query!(
            "update avatars set state = $3, reason = $4 where user_id = $1 and upload_id = $2 and state = 'pending'",
            self.user_id,
            self.upload_id,
            status as _,
            reason
        )
        .execute(&mut *tx)
        .await?;
        tx.enqueue(&RemoveObjects::of_avatar(self.key(), None)).await?;
        tx.commit().await
    }
}
