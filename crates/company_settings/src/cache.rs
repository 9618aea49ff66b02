//! The settings of companies in every process, as fresh as `kernel::changes` keeps them.

use std::sync::Arc;

use kernel::app::App;
use kernel::cache::{Cached, FreshCache};
use kernel::db::Db;
use kernel::error::Result;
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use crate::document::{CompanySettings, Installation};
use crate::patch::Chosen;

/// Settings of companies; a part of the [`App`].
#[derive(Clone)]
pub struct SettingsCache(Arc<Shared>);

struct Shared {
    db: Db,
    defaults: CompanySettings,
    entries: FreshCache<Uuid, Entry>,
}

struct Entry {
    company: Uuid,
    settings: Arc<CompanySettings>,
}

impl Cached for Entry {
    fn about(&self) -> impl Iterator<Item = Uuid> + Send {
        std::iter::once(self.company)
    }
}

impl SettingsCache {
    /// An empty cache; companies that have chosen nothing get these defaults.
    pub fn new(app: &App, installation: &Installation) -> SettingsCache {
        SettingsCache(Arc::new(Shared {
            db: app.db.clone(),
            defaults: CompanySettings::defaults(installation),
            entries: FreshCache::new("company_settings", &app.changes),
        }))
    }

    /// The settings of a company.
    ///
    /// # Errors
    /// `not-found` for an unknown company, or those of the database.
    pub async fn of(&self, company: Uuid) -> Result<Arc<CompanySettings>> {
        let entry = self.0.entries.get(company, || self.load(company)).await?;
        Ok(entry.settings.clone())
    }

    pub(crate) fn defaults(&self) -> &CompanySettings {
        &self.0.defaults
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "jobs of the installation ask for any company, by its id"
    )]
    async fn load(&self, company: Uuid) -> Result<Entry> {
        let mut tx = self.0.db.system().await?;
        let row = sqlx::query_as!(
            Row,
            r#"select settings as "settings: _", time_zone, version from companies where tenant_id = $1"#,
            company
        );
        let row = row.fetch_one(&mut *tx).await?;
        Ok(Entry {
            company,
            settings: Arc::new(row.over(&self.0.defaults)?),
        })
    }
}

/// What is stored.
pub(crate) struct Row {
    pub settings: Json<serde_json::Map<String, Value>>,
    pub time_zone: Option<String>,
    pub version: i64,
}

impl Row {
    /// What is chosen, the time zone among it.
    pub fn chosen(&self) -> Chosen {
        let mut chosen = self.settings.0.clone();
        if let Some(zone) = &self.time_zone {
            chosen.insert("time_zone".to_owned(), Value::String(zone.clone()));
        }
        Chosen(chosen)
    }

    /// The document that holds.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn over(&self, defaults: &CompanySettings) -> Result<CompanySettings> {
        let settings = self.chosen().over(defaults)?;
        Ok(CompanySettings {
            version: self.version,
            ..settings
        })
    }
}
