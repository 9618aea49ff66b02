//! Objects without a file and files without their object: daily, or as a dry run that only reports.
//!
//! What belongs together is written in one transaction, so this finds what a crash left between the
//! store and the database, what a replayed upload URL wrote, and what somebody did to the buckets by hand.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kernel::app::App;
use kernel::job::{Job, JobCx, JobResult, background_tx, companies};
use kernel::prelude::Module;
use serde::{Deserialize, Serialize};
use storage::{Bucket, Listed, QUARANTINE_DAYS};
use uuid::Uuid;

use crate::Files;
use crate::avatars::upload_key;
use crate::file::FileId;
use crate::remove::later;

pub(crate) fn module() -> Module {
    Module::new("file-orphans").every::<SweepOrphans>(Duration::from_hours(24))
}

/// What a sweep found.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Orphans {
    /// Nothing was deleted.
    pub dry_run: bool,
    /// Objects looked at.
    pub objects: u64,
    /// In quarantine without an open upload, or infected and kept long enough; deleted.
    pub quarantined: Found,
    /// Clean objects that no file refers to, for longer than the days of grace; deleted.
    pub unreferenced: Found,
    /// The same, but too young: a worker may be about to record them. Left alone.
    pub young: Found,
    /// Objects that are not named like ours. Left alone.
    pub foreign: Found,
    /// Files that are ready but whose object is gone: lost data.
    pub missing: Found,
}

/// How many, and the first of them.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Found {
    pub count: u64,
    /// At most 100.
    pub keys: Vec<String>,
}

impl Found {
    fn add(&mut self, key: &str) {
        self.count += 1;
        if self.keys.len() < 100 {
            self.keys.push(key.to_owned());
        }
    }
}

/// Sweeps daily.
#[derive(Default, Serialize, Deserialize)]
struct SweepOrphans {}

impl Job for SweepOrphans {
    const NAME: &'static str = "files.sweep_orphans";
    const QUEUE: &'static str = crate::QUEUE;
    const TIMEOUT: Duration = Duration::from_hours(2);

    async fn run(self, cx: JobCx) -> JobResult {
        sweep(&cx.app, false)
            .await
            .map_err(|error| later(cx.attempt, error))?;
        Ok(())
    }
}

/// Looks for orphans of both kinds and, unless it is a dry run, deletes the objects among them.
///
/// # Errors
/// Those of the store and the database; what was deleted stays deleted.
pub async fn sweep(app: &App, dry_run: bool) -> anyhow::Result<Orphans> {
    let mut sweep = Sweep {
        app,
        files: app.part()?,
        found: Orphans {
            dry_run,
            ..Orphans::default()
        },
    };
    sweep.bucket(Bucket::Quarantine).await?;
    sweep.bucket(Bucket::Clean).await?;
    let found = sweep.found;
    let (quarantined, unreferenced, missing) = (
        found.quarantined.count,
        found.unreferenced.count,
        found.missing.count,
    );
    tracing::info!(
        dry_run,
        objects = found.objects,
        quarantined,
        unreferenced,
        missing,
        "orphans swept"
    );
    if missing > 0 {
        tracing::error!(missing, keys = ?found.missing.keys, "objects of files are gone: restore them from a backup");
    }
    Ok(found)
}

struct Sweep<'a> {
    app: &'a App,
    files: &'a Files,
    found: Orphans,
}

impl Sweep<'_> {
    /// Walks a bucket in the order of keys, which all begin with their company: one company at a time.
    async fn bucket(&mut self, bucket: Bucket) -> anyhow::Result<()> {
        let mut unseen: BTreeSet<Uuid> = companies(self.app).await?.into_iter().collect();
        let mut objects: Vec<Listed> = Vec::new();
        let mut continuation = None;
        loop {
            let page = self
                .files
                .storage
                .list(bucket, "", continuation.as_deref())
                .await?;
            let mut avatars = Vec::new();
            for object in page.objects {
                self.found.objects += 1;
                if let Some(person) = person_of(&object.key) {
                    avatars.push((person, object));
                    continue;
                }
                let Some(company) = company_of(&object.key) else {
                    self.found.foreign.add(&object.key);
                    continue;
                };
                if let Some(previous) = objects.first().and_then(|object| company_of(&object.key))
                    && previous != company
                {
                    self.company(bucket, previous, std::mem::take(&mut objects))
                        .await?;
                    unseen.remove(&previous);
                }
                objects.push(object);
            }
            self.avatars(bucket, avatars).await?;
            continuation = page.continuation;
            if continuation.is_none() {
                break;
            }
        }
        if let Some(last) = objects.first().and_then(|object| company_of(&object.key)) {
            self.company(bucket, last, objects).await?;
            unseen.remove(&last);
        }
        for company in unseen {
            self.company(bucket, company, Vec::new()).await?;
        }
        Ok(())
    }

    async fn company(&mut self, bucket: Bucket, company: Uuid, objects: Vec<Listed>) -> anyhow::Result<()> {
        match bucket {
            Bucket::Quarantine => self.quarantine(company, objects).await,
            Bucket::Clean => self.clean(company, objects).await,
        }
    }

    /// Uploads are needed while their outcome is open; an outcome is final, so what is not needed now never is.
    /// Infected ones may be kept for as long as the lifecycle rule of the bucket would, which not every store has.
    async fn quarantine(&mut self, company: Uuid, objects: Vec<Listed>) -> anyhow::Result<()> {
        let mut tx = background_tx(self.app, company).await?;
        let needed = sqlx::query!(
            r#"select upload_key, state = 'infected' as "infected!" from files
                where state in ('pending', 'uploaded', 'scanning') or state = 'infected' and $1"#,
            self.files.config.keep_infected
        );
        let needed = needed.fetch_all(&mut *tx).await?.into_iter();
        let needed: HashMap<String, bool> = needed.map(|row| (row.upload_key, row.infected)).collect();
        drop(tx);
        let expired = self.days_ago(QUARANTINE_DAYS);
        let is_orphan = |object: &&Listed| match needed.get(&object.key) {
            None => true,
            Some(infected) => *infected && object.last_modified <= expired,
        };
        for object in objects.iter().filter(is_orphan) {
            self.found.quarantined.add(&object.key);
            self.delete(Bucket::Quarantine, &object.key).await?;
        }
        Ok(())
    }

    /// The rows are read after the objects were listed, so an object that is referred to is known to be.
    async fn clean(&mut self, company: Uuid, objects: Vec<Listed>) -> anyhow::Result<()> {
        let mut tx = background_tx(self.app, company).await?;
        let rows = sqlx::query!(r#"select key as "key!", id from files where key is not null"#);
        let rows: HashMap<String, FileId> = rows
            .fetch_all(&mut *tx)
            .await?
            .into_iter()
            .map(|row| (row.key, row.id))
            .collect();
        drop(tx);
        for object in objects
            .iter()
            .filter(|object| !rows.contains_key(file_key(&object.key)))
        {
            self.unreferenced(object).await?;
        }
        let listed: HashSet<&str> = objects.iter().map(|object| object.key.as_str()).collect();
        for key in rows.keys().filter(|key| !listed.contains(key.as_str())) {
            // It may have been promoted after the objects were listed.
            match self.files.storage.head(Bucket::Clean, key).await {
                Err(storage::Error::NotFound) => self.found.missing.add(key),
                result => drop(result?),
            }
        }
        Ok(())
    }

    fn days_ago(&self, days: u16) -> Timestamp {
        self.app.clock.now() - SignedDuration::from_hours(24 * i64::from(days))
    }

    /// Objects below `users/`: needed is what the avatar of the person refers to.
    async fn avatars(&mut self, bucket: Bucket, objects: Vec<(Uuid, Listed)>) -> anyhow::Result<()> {
        let people: Vec<Uuid> = objects.iter().map(|(person, _)| *person).collect();
        #[expect(clippy::disallowed_methods, reason = "people are global")]
        let mut tx = self.app.db.system().await?;
        let avatars = sqlx::query!(
            r#"select user_id, upload_id, state = 'pending' as "pending!", key from avatars where user_id = any($1)"#,
            &people
        );
        let avatars = avatars.fetch_all(&mut *tx).await?.into_iter();
        drop(tx);
        let needed: HashSet<String> = avatars
            .filter_map(|avatar| match bucket {
                Bucket::Quarantine if avatar.pending => Some(upload_key(avatar.user_id, avatar.upload_id)),
                Bucket::Quarantine => None,
                Bucket::Clean => avatar.key,
            })
            .collect();
        for (_, object) in objects
            .iter()
            .filter(|(_, object)| !needed.contains(file_key(&object.key)))
        {
            match bucket {
                Bucket::Quarantine => {
                    self.found.quarantined.add(&object.key);
                    self.delete(bucket, &object.key).await?;
                }
                Bucket::Clean => self.unreferenced(object).await?,
            }
        }
        Ok(())
    }

    /// A clean object that nothing refers to goes after the days of grace.
    async fn unreferenced(&mut self, object: &Listed) -> anyhow::Result<()> {
        if object.last_modified > self.days_ago(self.files.config.orphan_days) {
            self.found.young.add(&object.key);
            return Ok(());
        }
        self.found.unreferenced.add(&object.key);
        self.delete(Bucket::Clean, &object.key).await
    }

    async fn delete(&self, bucket: Bucket, key: &str) -> anyhow::Result<()> {
        if !self.found.dry_run {
            tracing::info!(?bucket, key, "orphan deleted");
            self.files.storage.delete(bucket, key).await?;
        }
        Ok(())
    }
}

fn company_of(key: &str) -> Option<Uuid> {
    key.split_once('/').and_then(|(company, _)| company.parse().ok())
}

/// The person whose avatar it is, by a key below `users/`.
fn person_of(key: &str) -> Option<Uuid> {
    let (person, _) = key.strip_prefix("users/")?.split_once('/')?;
    person.parse().ok()
}

/// The key of the file that an object, perhaps a variant, belongs to.
fn file_key(key: &str) -> &str {
    key.rsplit_once('@').map_or(key, |(file, _)| file)
}
