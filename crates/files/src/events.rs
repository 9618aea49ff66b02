//! A file's progress as server-sent events. Every look is a transaction of its own: none is open
//! while the stream waits.

use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream;
use http::header;
use kernel::app::App;
use kernel::caller::Caller;
use kernel::prelude::*;
use serde::Serialize;
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;

use crate::file::{FileId, Status};
use crate::{Files, FilesRead};

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(500);

pub(crate) fn module() -> Module {
    Module::new("file-events").routes(routes!(events))
}

/// Data of an event named `status`.
#[derive(Clone, PartialEq, Serialize, ToSchema)]
struct StatusEvent {
    id: FileId,
    status: Status,
    /// 0 to 100.
    progress: i16,
    #[schema(required = true)]
    reason: Option<String>,
}

/// Follow a file's progress.
///
/// Server-sent events named `status`, one now and one at every change. The stream ends with the final status, or
/// after some time, a minute by default.
#[utoipa::path(get, path = "/files/{file_id}/events", tag = "files", operation_id = "follow_file",
    security(("bearer" = ["files.read"])), params(("file_id" = FileId, Path)),
    responses((status = 200, content_type = "text/event-stream", body = StatusEvent)))]
async fn events(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<FileId>,
) -> Result<impl IntoResponse> {
    let first = look(&app, caller.clone(), id).await?;
    let longest = app.part::<Files>()?.config.file_events_seconds;
    let deadline = Instant::now() + Duration::from_secs(longest.into());
    let statuses = stream::unfold(
        (None, Some(first)),
        move |(last, next): (Option<StatusEvent>, Option<StatusEvent>)| {
            let (app, caller) = (app.clone(), caller.clone());
            async move {
                let next = match (next, last) {
                    (Some(first), _) => first,
                    (None, Some(last)) => change(&app, &caller, &last, deadline).await?,
                    (None, None) => return None,
                };
                let event = Event::default().event("status").json_data(&next).ok()?;
                Some((Ok::<_, Infallible>(event), (Some(next), None)))
            }
        },
    );
    let stream = Sse::new(statuses).keep_alive(KeepAlive::default());
    Ok(([(header::CACHE_CONTROL, "no-store")], stream))
}

/// The next status that differs; none after a final one, at the deadline, or when the process stops.
async fn change(app: &App, caller: &Caller, last: &StatusEvent, deadline: Instant) -> Option<StatusEvent> {
    while !last.status.is_final() && Instant::now() < deadline {
        app.stopping.run_until_cancelled(sleep(INTERVAL)).await?;
        let next = look(app, caller.clone(), last.id).await.ok()?;
        if next != *last {
            return Some(next);
        }
    }
    None
}

async fn look(app: &App, caller: Caller, id: FileId) -> Result<StatusEvent> {
    let mut tx = TenantTx::<FilesRead>::begin(&app.db, caller).await?;
    let status = sqlx::query_as!(
        StatusEvent,
        r#"select id, state as "status: _", progress, reason from files where id = $1 and deleted_at is null"#,
        id as _
    );
    Ok(status.fetch_one(&mut *tx).await?)
}
