//! From the bytes in quarantine to a file that can be downloaded: copied once, checked, scanned,
//! promoted. Everything after the copy works on the copy, so what is served is what was scanned.
//! Each step can be repeated: a run that was cut leaves nothing that the next one trips over.

use std::path::Path;
use std::time::Duration;

use inspect::{Thumbnail, Verdict, reason};
use kernel::app::App;
use kernel::job::{Background, Job, JobCx, JobResult};
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::types::Json;
use storage::{Bucket, Content, ObjectInfo};
use uuid::Uuid;

use crate::copy::LocalCopy;
use crate::file::{FileId, Status, Variant, variant_key};
use crate::notices::tell_if_nearly_full;
use crate::open::{AwaitUpload, GRACE};
use crate::policy::key_name;
use crate::remove::{RemoveObjects, away, later, undecided};
use crate::{Files, alarm, quota};

pub(crate) fn module() -> Module {
    Module::new("file-processing")
        .job::<AwaitUpload>()
        .job::<ProcessFile>()
        .job::<RemoveObjects>()
}

/// Processes one upload.
#[derive(Serialize, Deserialize)]
pub(crate) struct ProcessFile {
    pub file_id: FileId,
}

/// What was declared of it.
struct Upload {
    id: FileId,
    module: String,
    filename: String,
    content_type: String,
    size: Option<i64>,
    sha256: Option<Vec<u8>>,
    upload_key: String,
    reserved: i64,
    upload_expires_at: Timestamp,
    created_at: Timestamp,
}

/// How it ends.
enum Outcome {
    Ready {
        copy: LocalCopy,
        scanned_by: String,
    },
    Rejected {
        reason: String,
    },
    Infected {
        name: String,
    },
    /// They may yet come.
    NotThere,
}

impl Job for ProcessFile {
    const NAME: &'static str = "files.process";
    const QUEUE: &'static str = crate::QUEUE;
    const TIMEOUT: Duration = Duration::from_mins(10);

    fn unique_key(&self) -> Option<String> {
        Some(self.file_id.to_string())
    }

    async fn run(self, cx: JobCx) -> JobResult {
        let files = cx.app.part::<Files>()?;
        let Some(upload) = begin(&cx, self.file_id).await? else {
            return Ok(());
        };
        match examine(&cx, files, &upload).await? {
            Outcome::Ready { copy, scanned_by } => promote(&cx, files, &upload, &copy, &scanned_by).await,
            Outcome::Rejected { reason } => refuse(&cx, &upload, Status::Rejected, &reason).await,
            Outcome::Infected { name } => refuse(&cx, &upload, Status::Infected, &name).await,
            Outcome::NotThere => await_again(&cx, &upload).await,
        }
    }
}

/// Takes up the upload, unless its outcome is known.
async fn begin(cx: &JobCx, id: FileId) -> JobResult<Option<Upload>> {
    let mut tx = cx.tenant_tx().await?;
    let upload = sqlx::query_as!(
        Upload,
        r#"update files set state = 'scanning', progress = 20 where id = $1 and state in ('uploaded', 'scanning')
           returning id, module, filename, content_type, size, sha256, upload_key, reserved,
                     upload_expires_at as "upload_expires_at: Timestamp", created_at as "created_at: Timestamp""#,
        id as _
    );
    let upload = upload.fetch_optional(&mut *tx).await?;
    tx.commit().await?;
    Ok(upload)
}

/// Tells how far it is, of the file and of the job.
async fn progress(cx: &JobCx, id: FileId, percent: i16) -> JobResult {
    let mut tx = cx.tenant_tx().await?;
    sqlx::query!(
        "update files set progress = $2 where id = $1 and state = 'scanning'",
        id as _,
        percent
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    // Rows of the queue are written by no company, so this is a second, small transaction.
    Ok(cx.progress(percent, None).await?)
}

/// Copies and checks, the cheapest first.
async fn examine(cx: &JobCx, files: &Files, upload: &Upload) -> JobResult<Outcome> {
    let rejected = |reason: &str| {
        Ok(Outcome::Rejected {
            reason: reason.to_owned(),
        })
    };
    let info = match files.storage.head(Bucket::Quarantine, &upload.upload_key).await {
        Err(storage::Error::NotFound) => {
            // A whole bucket that is away, too, has no such object: it is waited for.
            let bucket = files.storage.check().await;
            bucket.map_err(|error| away(cx.attempt, error))?;
            let may_come = cx.app.clock.now() <= upload.upload_expires_at.0 + GRACE;
            return if may_come {
                Ok(Outcome::NotThere)
            } else {
                rejected("upload-vanished")
            };
        }
        result => result.map_err(|error| later(cx.attempt, error))?,
    };
    let size = i64::try_from(info.size).unwrap_or(i64::MAX);
    match upload.size {
        _ if size == 0 => return rejected("empty"),
        Some(declared) if size != declared => return rejected("size-mismatch"),
        // What is reserved is the most that it may have.
        None if size > upload.reserved => return rejected("too-large"),
        _ => {}
    }
    let copy = fetch(files, &upload.upload_key, &info)
        .await
        .map_err(|error| later(cx.attempt, error))?;
    if upload
        .sha256
        .as_ref()
        .is_some_and(|declared| *declared != copy.sha256)
    {
        return rejected("checksum-mismatch");
    }
    progress(cx, upload.id, 40).await?;
    let verdict = files
        .inspector
        .inspect(copy.path(), &upload.content_type, &upload.filename)
        .await;
    match verdict {
        Ok(Verdict::Clean(clean)) => Ok(Outcome::Ready {
            copy,
            scanned_by: clean.scanned_by,
        }),
        Ok(Verdict::Rejected(refusal)) => {
            tracing::info!(file.id = %upload.id, rejected = %refusal, "file rejected");
            rejected(refusal.reason)
        }
        Ok(Verdict::Infected { name }) => Ok(Outcome::Infected { name }),
        Err(cause) => undecided::<ProcessFile>(cx, &files.inspector, cause)
            .await
            .map_or_else(|| rejected(reason::UNSCANNABLE), Err),
    }
}

/// Reads the object in quarantine that was looked at, no other; where the store does not compare ETags, its size has
/// to agree.
pub(crate) async fn fetch(files: &Files, key: &str, info: &ObjectInfo) -> anyhow::Result<LocalCopy> {
    let object = files
        .storage
        .get_stream(Bucket::Quarantine, key, Some(&info.etag))
        .await?;
    anyhow::ensure!(object.info.size == info.size, "the object was replaced");
    LocalCopy::of(object).await
}

/// Stores the copy where it is served from, then says so.
async fn promote(
    cx: &JobCx,
    files: &Files,
    upload: &Upload,
    copy: &LocalCopy,
    scanned_by: &str,
) -> JobResult {
    progress(cx, upload.id, 70).await?;
    let key = final_key(cx.tenant_id, upload, &copy.sha256);
    put(cx, files, &key, copy.path(), &upload.content_type, &copy.sha256).await?;
    progress(cx, upload.id, 80).await?;
    let variants = put_thumbnails(files, &key, thumbnails(files, upload, copy).await)
        .await
        .map_err(|error| later(cx.attempt, error))?;

    let bytes = variants.iter().fold(copy.size, |bytes, variant| {
        bytes.saturating_add_unsigned(variant.size)
    });
    let mut tx = cx.tenant_tx().await?;
    let settled = sqlx::query!(
        "update files set state = 'ready', progress = 100, reserved = 0, size = $2, sha256 = $3, scanned_by = $4,
                key = $5, variants = $6, bytes = $7
          where id = $1 and state = 'scanning'",
        upload.id as _,
        copy.size,
        copy.sha256.as_slice(),
        scanned_by,
        key,
        Json(variants) as _,
        bytes
    );
    if settled.execute(&mut *tx).await?.rows_affected() == 1 {
        quota::settle(&mut tx, upload.reserved, bytes).await?;
        tell_if_nearly_full(&mut tx, &cx.app, &files.config, bytes).await?;
        tx.enqueue(&RemoveObjects::quarantined(upload.upload_key.clone()))
            .await?;
    }
    Ok(cx.commit(tx).await?)
}

async fn put(
    cx: &JobCx,
    files: &Files,
    key: &str,
    path: &Path,
    content_type: &str,
    sha256: &[u8; 32],
) -> JobResult {
    let content = Content::file(std::fs::File::open(path)?)?;
    let stored = files
        .storage
        .put(Bucket::Clean, key, &content, content_type, sha256)
        .await;
    stored.map_err(|error| later(cx.attempt, error))?;
    Ok(())
}

/// Stores thumbnails beside the key of their picture.
///
/// # Errors
/// Those of the store.
pub(crate) async fn put_thumbnails(
    files: &Files,
    key: &str,
    thumbnails: Vec<Thumbnail>,
) -> Result<Vec<Variant>, storage::Error> {
    let mut variants = Vec::new();
    for thumbnail in thumbnails {
        let digest = Sha256::digest(&thumbnail.bytes).into();
        let content = Content::bytes(thumbnail.bytes);
        let variant = variant_key(key, thumbnail.name);
        files
            .storage
            .put(Bucket::Clean, &variant, &content, thumbnail.content_type, &digest)
            .await?;
        variants.push(Variant {
            name: thumbnail.name.to_owned(),
            content_type: thumbnail.content_type.to_owned(),
            width: thumbnail.width,
            height: thumbnail.height,
            size: content.length(),
        });
    }
    Ok(variants)
}

/// Smaller pictures; a picture of which none can be made is served without.
async fn thumbnails(files: &Files, upload: &Upload, copy: &LocalCopy) -> Vec<Thumbnail> {
    if !upload.content_type.starts_with("image/") {
        return Vec::new();
    }
    let made = files.inspector.thumbnails(copy.path()).await;
    made.inspect_err(|rejected| tracing::warn!(file.id = %upload.id, %rejected, "no thumbnails"))
        .unwrap_or_default()
}

/// The same bytes of the same upload always get the same key, others another one: whoever comes late,
/// having lost his lease, overwrites nothing with anything else.
fn final_key(tenant_id: Uuid, upload: &Upload, sha256: &[u8; 32]) -> String {
    let id = Uuid::new_v5(&upload.id.0, sha256);
    let day = upload.created_at.0.strftime("%Y/%m/%d");
    format!(
        "{tenant_id}/{}/{day}/{id}-{}",
        upload.module,
        key_name(&upload.filename)
    )
}

/// Somebody said that the bytes had arrived, and they have not, or have gone: as before they did.
async fn await_again(cx: &JobCx, upload: &Upload) -> JobResult {
    let mut tx = cx.tenant_tx().await?;
    sqlx::query!(
        "update files set state = 'pending', progress = 0 where id = $1 and state = 'scanning'",
        upload.id as _
    )
    .execute(&mut *tx)
    .await?;
    tx.enqueue(&AwaitUpload { file_id: upload.id }).await?;
    Ok(cx.commit(tx).await?)
}

/// Ends it without a file.
async fn refuse(cx: &JobCx, upload: &Upload, status: Status, reason: &str) -> JobResult {
    let mut tx = cx.tenant_tx().await?;
    end_refused(&mut tx, &cx.app, upload.id, status, reason).await?;
    Ok(cx.commit(tx).await?)
}

/// Records the refusal of an upload whose outcome is open and has its object deleted. The reason is a stable code;
/// names of malware are cut to what fits.
///
/// # Errors
/// Those of the database.
pub(crate) async fn end_refused(
    tx: &mut TenantTx<Background>,
    app: &App,
    id: FileId,
    status: Status,
    reason: &str,
) -> Result<()> {
    let reason: String = reason.chars().take(200).collect();
    let open = sqlx::query!(
        "select upload_key, reserved from files where id = $1 and state in ('uploaded', 'scanning') for update",
        id as _
    );
    let Some(open) = open.fetch_optional(&mut **tx).await? else {
        return Ok(());
    };
    sqlx::query!(
        "update files set state = $2, reason = $3, reserved = 0, progress = 100 where id = $1",
        id as _,
        status as _,
        reason
    )
    .execute(&mut **tx)
    .await?;
    quota::settle(tx, open.reserved, 0).await?;
    if status == Status::Infected {
        alarm::raise(tx, app, id).await?;
    }
    if status != Status::Infected || !app.part::<Files>()?.config.keep_infected {
        tx.enqueue(&RemoveObjects::quarantined(open.upload_key)).await?;
    }
    Ok(())
}
