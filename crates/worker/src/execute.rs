//! One run of one job: within its time, told to stop, with its panics caught.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use kernel::job::{JobCx, JobKind};
use tokio::time::timeout;
use tracing::warn;

use crate::finish::Ending;
use crate::lease::Stop;

/// How long a job may take to end by itself once it was told to stop.
pub(crate) const GRACE: Duration = Duration::from_secs(2);

/// Runs a job to its end.
pub(crate) async fn execute(kind: &JobKind, payload: serde_json::Value, cx: JobCx, stop: &Stop) -> Ending {
    let (committed, uncut) = (cx.committed.clone(), cx.uncut.clone());
    let work = timeout(
        kind.timeout,
        AssertUnwindSafe((kind.run)(payload, cx)).catch_unwind(),
    );
    tokio::pin!(work);
    let ended = tokio::select! {
        ended = &mut work => Some(ended),
        () = stop.token.cancelled() => timeout(GRACE, &mut work).await.ok(),
    };
    // It may yet commit, and must not go on while another worker does the same.
    uncut.close();
    uncut.wait().await;
    let ending = match ended {
        Some(Ok(Ok(Ok(())))) => Ending::Done,
        _ if stop.asked.is_cancelled() => Ending::Cancelled,
        _ if stop.token.is_cancelled() => Ending::Released,
        Some(Ok(Ok(Err(error)))) => error.into(),
        Some(Ok(Err(panic))) => Ending::Failed(format!("panic: {}", panic_text(&*panic))),
        Some(Err(_)) | None => Ending::Failed(format!("not done after {:?}", kind.timeout)),
    };
    if !committed.load(std::sync::atomic::Ordering::Acquire) {
        return ending;
    }
    if !matches!(ending, Ending::Done) {
        warn!(?ending, "the job had committed its effects before it ended");
    }
    Ending::Committed
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
