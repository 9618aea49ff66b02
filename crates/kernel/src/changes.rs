//! What has changed elsewhere, so that what is cached of it is used no more.
//!
//! Triggers notify every process of a changed user, session, membership, company or API key. A value is used
//! only if it was loaded after the last change of what it is about. A process that hears nothing throws
//! everything away, and what it caches then lives [`MAX_AGE`] at most.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use moka::future::Cache;
use tokio::sync::broadcast;
use tracing::{info, warn};
use uuid::Uuid;

use crate::app::App;
use crate::db::{Db, heard};

/// How long something cached may be used without hearing of changes.
pub const MAX_AGE: Duration = Duration::from_secs(5);
/// What triggers notify; the payload is an id.
const CHANNEL: &str = "ally_changes";
/// Before listening anew.
const PAUSE: Duration = Duration::from_secs(1);
/// Changes made here that another way to tell of them may lag behind.
const LAG: usize = 1024;

/// In the extensions of a response: this user, company or API key has changed. The transaction has committed
/// when the response is seen, so that the next request to this process finds what is new; other processes
/// hear of it from the database.
#[derive(Clone, Copy)]
pub struct Changed(pub Uuid);

/// The changes that a process has heard of.
#[derive(Clone)]
pub struct Changes(Arc<Heard>);

struct Heard {
    /// Counts them.
    generation: AtomicU64,
    /// The last one of each id; forgotten once nothing cached can be older.
    last: Cache<Uuid, u64>,
    /// Everything loaded before is void.
    epoch: AtomicU64,
    connected: AtomicBool,
    listening: AtomicBool,
    /// The changes that this process makes.
    made: broadcast::Sender<Uuid>,
}

impl Default for Changes {
    fn default() -> Changes {
        Changes(Arc::new(Heard {
            generation: AtomicU64::new(1),
            last: Cache::builder().time_to_live(MAX_AGE * 4).build(),
            epoch: AtomicU64::new(0),
            connected: AtomicBool::new(false),
            listening: AtomicBool::new(false),
            made: broadcast::Sender::new(LAG),
        }))
    }
}

impl Changes {
    /// Whether changes made by other processes are being heard; without, they count within [`MAX_AGE`].
    pub fn are_heard(&self) -> bool {
        self.0.connected.load(SeqCst)
    }

    /// This process has changed a user, company or API key, and has committed.
    pub async fn changed(&self, id: Uuid) {
        self.heard(id).await;
        // Nobody need want to know.
        let _ = self.0.made.send(id);
    }

    /// What this process [changes](Changes::changed) from now on, for another way to tell others than the
    /// database's.
    pub fn made_here(&self) -> broadcast::Receiver<Uuid> {
        self.0.made.subscribe()
    }

    /// Voids what is cached of a user, company or API key: somebody has changed it.
    pub async fn heard(&self, id: Uuid) {
        let now = self.0.generation.fetch_add(1, SeqCst) + 1;
        self.0.last.insert(id, now).await;
    }

    /// Voids everything: something may have changed unheard.
    pub fn missed(&self) {
        let now = self.0.generation.fetch_add(1, SeqCst) + 1;
        self.0.epoch.store(now, SeqCst);
    }

    /// Counts the changes heard until now; to be asked before something is loaded.
    pub(crate) fn generation(&self) -> u64 {
        self.0.generation.load(SeqCst)
    }

    /// Whether what was loaded at this generation is as it was, as far as these ids are concerned.
    pub(crate) async fn unchanged(
        &self,
        loaded_at: u64,
        about: impl IntoIterator<Item = Uuid> + Send,
    ) -> bool {
        let mut newest = self.0.epoch.load(SeqCst);
        for id in about {
            newest = newest.max(self.0.last.get(&id).await.unwrap_or(0));
        }
        loaded_at >= newest
    }

    async fn hear(&self, db: &Db) -> sqlx::Result<()> {
        let mut listener = db.listen(CHANNEL).await?;
        self.missed();
        self.0.connected.store(true, SeqCst);
        info!("hearing changes");
        while let Some(notification) = heard(&mut listener).await? {
            match notification.payload().parse() {
                Ok(id) => self.heard(id).await,
                Err(_) => self.missed(),
            }
        }
        Err(sqlx::Error::Io(std::io::ErrorKind::ConnectionAborted.into()))
    }
}

/// Hears of changes for as long as the process lives, once however often it is called.
pub fn listen(app: &App) {
    if app.changes.0.listening.swap(true, SeqCst) {
        return;
    }
    let (db, changes, stop) = (app.db.clone(), app.changes.clone(), app.stopping.clone());
    let hear = async move {
        loop {
            if let Err(error) = changes.hear(&db).await {
                if changes.0.connected.swap(false, SeqCst) {
                    changes.missed();
                }
                warn!(cause = %error, "not hearing changes; what is cached lives {MAX_AGE:?} until they are heard again");
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    app.tasks
        .spawn(async move { stop.run_until_cancelled_owned(hear).await });
}
