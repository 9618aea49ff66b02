//! What every handler shares.

use std::ops::Deref;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::Config;
use crate::db::Db;
use crate::keys::Keys;

/// State of the router; cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Shared>);

/// See [`App`].
pub struct Shared {
    pub config: Config,
    pub db: Db,
    pub keys: Keys,
    pub clock: Clock,
    /// Spawns what must finish before the process ends.
    pub tasks: TaskTracker,
    /// Cancelled when the process begins to stop.
    pub stopping: CancellationToken,
}

impl App {
    /// Assembles the state.
    pub fn new(config: Config, db: Db, keys: Keys, clock: Clock) -> App {
        App(Arc::new(Shared {
            config,
            db,
            keys,
            clock,
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
        }))
    }
}

impl Deref for App {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}
