//! A transaction on the global tables.

use std::ops::{Deref, DerefMut};

use sqlx::PgConnection;

use super::Tx;
use crate::error::Result;

/// A transaction of the system role: users, sessions, memberships, companies. Dropped without
/// [`commit`](SystemTx::commit) it rolls back.
pub struct SystemTx(Tx);

impl SystemTx {
    pub(super) fn new(tx: Tx) -> SystemTx {
        SystemTx(tx)
    }

    /// Makes the changes durable.
    ///
    /// # Errors
    /// A violated deferred constraint, or a lost connection: then the outcome is unknown.
    pub async fn commit(self) -> Result<()> {
        Ok(self.0.commit().await?)
    }
}

impl Deref for SystemTx {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for SystemTx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}
