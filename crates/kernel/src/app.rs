//! What every handler shares.

use std::ops::Deref;
use std::sync::Arc;

use http::Extensions;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::changes::Changes;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Db;
use crate::error::{Error, Result, UNAVAILABLE};
use crate::keys::Keys;

/// State of the router; cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Shared>);

/// See [`App`].
#[derive(Clone)]
pub struct Shared {
    pub config: Config,
    pub db: Db,
    pub keys: Keys,
    pub clock: Clock,
    /// What this process has heard of changes.
    pub changes: Changes,
    /// Spawns what must finish before the process ends.
    pub tasks: TaskTracker,
    /// Cancelled when the process is about to stop: it serves on, and asks to be sent nothing new.
    pub leaving: CancellationToken,
    /// Cancelled when the process begins to stop.
    pub stopping: CancellationToken,
    /// What domain crates share besides, by type.
    parts: Extensions,
}

impl App {
    /// Assembles the state.
    pub fn new(config: Config, db: Db, keys: Keys, clock: Clock) -> App {
        let (leaving, stopping) = (CancellationToken::new(), CancellationToken::new());
        App(Arc::new(Shared {
            config,
            db,
            keys,
            clock,
            changes: Changes::default(),
            tasks: TaskTracker::new(),
            leaving,
            stopping,
            parts: Extensions::new(),
        }))
    }

    /// The same state with one more part, such as a client of another service; its type is its name.
    #[must_use]
    pub fn with_part<T: Clone + Send + Sync + 'static>(self, part: T) -> App {
        let mut shared = Shared::clone(&self);
        shared.parts.insert(part);
        shared.into()
    }

    /// The part of this type.
    ///
    /// # Errors
    /// `unavailable` when the process was set up without it.
    pub fn part<T: Send + Sync + 'static>(&self) -> Result<&T> {
        let absent = || Error::new(&UNAVAILABLE).detail("this process is not set up for it");
        self.parts.get().ok_or_else(absent)
    }
}

impl From<Shared> for App {
    fn from(shared: Shared) -> App {
        App(Arc::new(shared))
    }
}

impl Deref for App {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}
