//! Changes, told and heard by Redis too: beside the database's notifications, so that either may fail.

use std::time::Duration;

use kernel::app::App;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;
use tracing::info;
use uuid::Uuid;

use crate::RedisLink;

/// The payload is an id. Whoever writes to it can void what is cached, nothing else.
const CHANNEL: &str = "ally360:changes";
/// Before subscribing anew.
const PAUSE: Duration = Duration::from_millis(500);

/// Tells other processes what this one changes, and hears what they do, until the process stops.
pub fn share_changes(link: &RedisLink, app: &App) {
    let (tell, hear) = (tell(link.clone(), app.clone()), hear(link.clone(), app.clone()));
    let stop = app.stopping.clone();
    app.tasks
        .spawn(async move { stop.run_until_cancelled(async { tokio::join!(tell, hear) }).await });
}

async fn tell(link: RedisLink, app: App) {
    let mut made = app.changes.made_here();
    loop {
        let id = match made.recv().await {
            Ok(id) => id.to_string(),
            // No id: too many to tell of.
            Err(RecvError::Lagged(_)) => String::new(),
            Err(RecvError::Closed) => return,
        };
        // Who does not hear of it here hears of it from the database, or within the life of what is cached.
        let _ = link.publish(CHANNEL, &id).await;
    }
}

async fn hear(link: RedisLink, app: App) {
    loop {
        if let Ok(mut subscription) = link.subscribe(CHANNEL).await {
            info!("hearing changes by Redis");
            app.changes.missed();
            while let Some(message) = subscription.next().await {
                match message.parse::<Uuid>() {
                    Ok(id) => app.changes.heard(id).await,
                    Err(_) => app.changes.missed(),
                }
            }
            app.changes.missed();
        }
        sleep(PAUSE).await;
    }
}
