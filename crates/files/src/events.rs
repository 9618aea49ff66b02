//! A file's progress as server-sent events. Every look is a transaction of its own: none is open
//! while the stream waits.

use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream;
use http::{HeaderMap, header};
use kernel::app::App;
use kernel::caller::Caller;
use kernel::prelude::*;
use serde::Serialize;
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;

use crate::file::{FileId, Status};
use crate::followers::{Followers, Place, TOO_MANY_STREAMS};
use crate::{Files, FilesRead};

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(500);

pub(crate) fn module() -> Module {
    Module::new("file-events")
        .routes(routes!(events))
        .problems(&[&TOO_MANY_STREAMS])
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
/// Server-sent events named `status`, one now and one at every change. The stream ends with the final status, after
/// some time, a minute by default, or when the caller may see the file no more. Few can be open at once.
#[utoipa::path(get, path = "/files/{file_id}/events", tag = "files", operation_id = "follow_file",
    security(("bearer" = ["files.read"])), params(("file_id" = FileId, Path)),
    responses((status = 200, content_type = "text/event-stream", body = StatusEvent)))]
async fn events(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Path(id): Path<FileId>,
) -> Result<impl IntoResponse> {
    let place = app.part::<Followers>()?.enter(&caller)?;
    let first = look(&app, caller, id).await?;
    let longest = app.part::<Files>()?.config.file_events_seconds;
    let following = Following {
        deadline: Instant::now() + Duration::from_secs(longest.into()),
        app,
        headers,
        last: first.clone(),
        _place: place,
    };
    let statuses = stream::unfold((following, Some(first)), |(mut following, first)| async move {
        let next = match first {
            Some(first) => first,
            None => following.change().await?,
        };
        let event = Event::default().event("status").json_data(&next).ok()?;
        Some((Ok::<_, Infallible>(event), (following, None)))
    });
    let stream = Sse::new(statuses).keep_alive(KeepAlive::default());
    Ok(([(header::CACHE_CONTROL, "no-store")], stream))
}

/// A stream that is open.
struct Following {
    app: App,
    /// Of the request: who calls is asked anew with every look.
    headers: HeaderMap,
    deadline: Instant,
    last: StatusEvent,
    _place: Place,
}

impl Following {
    /// The next status that differs; none after a final one, at the deadline, when the caller is let in no more, or
    /// when the process stops.
    async fn change(&mut self) -> Option<StatusEvent> {
        while !self.last.status.is_final() && Instant::now() < self.deadline {
            self.app.stopping.run_until_cancelled(sleep(INTERVAL)).await?;
            let next = self.look().await.ok()?;
            if next != self.last {
                self.last = next.clone();
                return Some(next);
            }
        }
        None
    }

    async fn look(&self) -> Result<StatusEvent> {
        let caller = self.app.part::<Followers>()?.caller(&self.headers).await?;
        look(&self.app, caller, self.last.id).await
    }
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
