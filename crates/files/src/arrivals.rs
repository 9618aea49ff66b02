//! Noticing that bytes have arrived: by the embedded store's events, by a remote store's notifications.
//! Both are hints that may get lost; [`AwaitUpload`](crate::open::AwaitUpload) finds what they miss.

use axum::extract::{FromRequestParts, State};
use http::header;
use http::request::Parts;
use kernel::app::App;
use kernel::db::in_time;
use kernel::error::{NOT_FOUND, UNAUTHENTICATED};
use kernel::job::background_tx;
use kernel::keys::sha256;
use kernel::prelude::*;
use serde::Deserialize;
use storage::{Arrival, Bucket};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::process::ProcessFile;
use crate::remove::RemoveObjects;
use crate::{FileId, Files, avatars};

pub(crate) fn module() -> Module {
    Module::new("store-events")
        .routes(routes!(report))
        // One store reports the uploads of all companies.
        .rate_limit("6000/minute", per_address)
        .problems(&[&UNAUTHENTICATED, &NOT_FOUND])
}

/// An upload is complete: has it processed, unless that is under way or done. Returns whether it was.
///
/// # Errors
/// Those of the database.
pub(crate) async fn mark_uploaded<P>(tx: &mut TenantTx<P>, id: FileId) -> Result<bool> {
    let marked = sqlx::query!(
        "update files set state = 'uploaded', progress = 10 where id = $1 and state = 'pending'",
        id as _
    );
    let marked = marked.execute(&mut **tx).await?.rows_affected() == 1;
    if marked {
        tx.enqueue(&ProcessFile { file_id: id }).await?;
    }
    Ok(marked)
}

/// An object has arrived under this key of the quarantine bucket. Keys that no upload was signed for
/// are none of ours.
///
/// # Errors
/// Those of the database.
pub async fn arrived(app: &App, key: &str) -> Result<()> {
    let id = |text: &str| text.parse::<Uuid>().ok();
    let parts: Vec<&str> = key.split('/').collect();
    if let ["users", user, upload] = parts[..]
        && let (Some(user), Some(upload)) = (id(user), id(upload))
    {
        return avatars::arrived(app, user, upload).await;
    }
    if let [company, file] = parts[..]
        && let (Some(company), Some(file)) = (id(company), id(file))
    {
        return file_arrived(app, company, FileId(file), key).await;
    }
    Ok(())
}

/// A URL works until it expires, whatever has become of its upload: what it writes when the outcome is known, no
/// quota counts, so it goes. While the file is being processed it stays; the end of that removes it.
async fn file_arrived(app: &App, company: Uuid, id: FileId, key: &str) -> Result<()> {
    let keep_infected = app.part::<Files>()?.config.keep_infected;
    let mut tx = background_tx(app, company).await?;
    if !mark_uploaded(&mut tx, id).await? {
        let needed = sqlx::query_scalar!(
            r#"select exists (select from files where id = $1
                 and (state in ('uploaded', 'scanning') or state = 'infected' and $2)) as "needed!""#,
            id as _,
            keep_infected
        );
        if !needed.fetch_one(&mut *tx).await? {
            tx.enqueue(&RemoveObjects::quarantined(key.to_owned())).await?;
        }
    }
    tx.commit().await
}

/// Passes the embedded store's arrivals on, until it or this process stops.
pub async fn follow(app: App, mut arrivals: Receiver<Arrival>) {
    while let Some(arrival) = app.stopping.run_until_cancelled(arrivals.recv()).await {
        match arrival {
            Ok(arrival) => {
                if let Err(error) = in_time(arrived(&app, &arrival.key)).await {
                    tracing::warn!(
                        cause = error.with_cause(),
                        "an arrival could not be recorded; it is found later"
                    );
                }
            }
            Err(RecvError::Lagged(missed)) => {
                tracing::debug!(missed, "arrivals were missed; they are found later");
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// An S3 bucket notification, as MinIO and others post it.
#[derive(Deserialize, ToSchema)]
struct StoreNotification {
    #[serde(rename = "Records", default)]
    records: Vec<StoreRecord>,
}

#[derive(Deserialize, ToSchema)]
struct StoreRecord {
    #[serde(rename = "eventName", default)]
    event_name: Option<String>,
    s3: StoreEntity,
}

impl StoreRecord {
    /// Whether it tells of bytes that have arrived in this bucket.
    fn is_arrival(&self, quarantine: &str) -> bool {
        let created = self
            .event_name
            .as_ref()
            .is_none_or(|name| name.trim_start_matches("s3:").starts_with("ObjectCreated:"));
        let bucket = self
            .s3
            .bucket
            .as_ref()
            .is_none_or(|bucket| bucket.name == quarantine);
        created && bucket
    }
}

#[derive(Deserialize, ToSchema)]
struct StoreEntity {
    #[serde(default)]
    bucket: Option<StoreBucket>,
    object: StoreObject,
}

#[derive(Deserialize, ToSchema)]
struct StoreBucket {
    name: String,
}

#[derive(Deserialize, ToSchema)]
struct StoreObject {
    /// URL-encoded.
    key: String,
}

impl garde::Validate for StoreNotification {
    type Context = ();
    fn validate_into(&self, (): &(), parent: &mut dyn FnMut() -> garde::Path, report: &mut garde::Report) {
        if self.records.len() > 1000 {
            report.append(
                parent().join("Records"),
                garde::Error::new("length is greater than 1000"),
            );
        }
    }
}

/// Take note of uploads.
///
/// For the object store's bucket notifications (`s3:ObjectCreated:*` of the quarantine bucket), with the token of
/// `ALLY360_STORE_EVENT_TOKEN` as bearer.
#[utoipa::path(post, path = "/store/events", tag = "files", operation_id = "report_uploads",
    request_body = StoreNotification, responses((status = 204)))]
async fn report(
    _: TheStore,
    State(app): State<App>,
    Valid(notification): Valid<StoreNotification>,
) -> Result<NoContent> {
    let storage = &app.part::<Files>()?.storage;
    let quarantine = storage.bucket_name(Bucket::Quarantine);
    for record in notification.records {
        if !record.is_arrival(quarantine) {
            continue;
        }
        // Ours are UUIDs and a slash, whichever way that is encoded.
        arrived(
            &app,
            &record.s3.object.key.replace("%2F", "/").replace("%2f", "/"),
        )
        .await?;
    }
    Ok(NoContent)
}

/// The caller is the object store, by its token.
struct TheStore;

impl FromRequestParts<App> for TheStore {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<TheStore> {
        let token = app
            .part::<Files>()?
            .config
            .store_event_token
            .as_deref()
            .ok_or(&NOT_FOUND)?;
        let given = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let given = given.strip_prefix("Bearer ").unwrap_or_default();
        // Of digests: how long the comparison takes tells nothing about the token.
        if sha256(given.as_bytes()) == sha256(token.as_bytes()) {
            Ok(TheStore)
        } else {
            Err(Error::new(&UNAUTHENTICATED))
        }
    }
}
