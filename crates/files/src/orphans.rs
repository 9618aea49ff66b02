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
use kernel::types::Timestamp as DbTimestamp;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use storage::{Bucket, Listed, QUARANTINE_DAYS};
use uuid::Uuid;

use crate::Files;
use crate::avatars::upload_key;
use crate::file::{Variant, variant_key};
use crate::remove::later;

pub(crate) fn module() -> Module {
    Module::new("file-orphans").every::<SweepOrphans>(Duration::from_hours(24))
}

/// Rows read at once.
const ROWS: i64 = 1000;

/// What a sweep found.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Orphans {
    /// Nothing was deleted.
    pub dry_run: bool,
    /// Objects looked at.
    pub objects: u64,
    /// In quarantine without an open upload, or infected and kept long enough; deleted.
    pub quarantined: Found,
    /// Clean objects to which sweeps have found no file for longer than the days of grace; deleted.
    pub unreferenced: Found,
    /// The same, but not for so long: a worker may be about to record them, or the database is not restored yet.
    /// Left alone.
    pub young: Found,
    /// Objects that are not named like ours. Left alone.
    pub foreign: Found,
    /// Objects and thumbnails of files that are ready, and are gone: lost data.
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
    // A database that knows nobody is one that is being restored.
    let dry_run = dry_run || companies(app).await?.is_empty();
    let mut sweep = Sweep {
        app,
        files: app.part()?,
        began: app.clock.now(),
        found: Orphans {
            dry_run,
            ..Orphans::default()
        },
    };
    sweep.bucket(Bucket::Quarantine).await?;
    sweep.bucket(Bucket::Clean).await?;
    if !sweep.found.dry_run {
        forget(app, sweep.began).await?;
    }
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
    began: Timestamp,
    found: Orphans,
}

impl Sweep<'_> {
    /// Walks a bucket in the order of keys, which all begin with their company, a page at a time: what a company
    /// has need not fit in memory.
    async fn bucket(&mut self, bucket: Bucket) -> anyhow::Result<()> {
        let mut unseen: BTreeSet<Uuid> = companies(self.app).await?.into_iter().collect();
        let mut continuation = None;
        // Of the company whose objects are being listed, the last.
        let mut open: Option<(Uuid, String)> = None;
        loop {
            let page = self
                .files
                .storage
                .list(bucket, "", continuation.as_deref())
                .await?;
            let (mut avatars, mut objects) = (Vec::new(), Vec::new());
            for object in page.objects {
                self.found.objects += 1;
                if let Some(person) = person_of(&object.key) {
                    avatars.push((person, object));
                } else if let Some(company) = company_of(bucket, &object.key) {
                    objects.push((company, object));
                } else {
                    self.found.foreign.add(&object.key);
                }
            }
            for objects in objects.chunk_by(|one, next| one.0 == next.0) {
                let company = objects[0].0;
                let objects: Vec<&Listed> = objects.iter().map(|(_, object)| object).collect();
                let last = &objects[objects.len() - 1].key;
                match bucket {
                    Bucket::Quarantine => self.quarantine(company, &objects).await?,
                    Bucket::Clean => {
                        self.clean(company, &objects).await?;
                        let after = match open.take() {
                            Some((same, after)) if same == company => after,
                            done => {
                                self.end(done).await?;
                                String::new()
                            }
                        };
                        self.missing(company, after, Some(last), &objects).await?;
                        unseen.remove(&company);
                        open = Some((company, last.clone()));
                    }
                }
            }
            self.avatars(bucket, avatars).await?;
            continuation = page.continuation;
            if continuation.is_none() {
                break;
            }
        }
        self.end(open).await?;
        if matches!(bucket, Bucket::Clean) {
            for company in unseen {
                self.missing(company, String::new(), None, &[]).await?;
            }
        }
        Ok(())
    }

    /// A company has no more objects than the last of these.
    async fn end(&mut self, listed: Option<(Uuid, String)>) -> anyhow::Result<()> {
        match listed {
            Some((company, last)) => self.missing(company, last, None, &[]).await,
            None => Ok(()),
        }
    }

    /// Uploads are needed while their outcome is open; an outcome is final, so what is not needed now never is.
    /// Infected ones may be kept for as long as the lifecycle rule of the bucket would, which not every store has.
    async fn quarantine(&mut self, company: Uuid, objects: &[&Listed]) -> anyhow::Result<()> {
        let uploads: Vec<Uuid> = objects
            .iter()
            .filter_map(|object| upload_of(&object.key))
            .collect();
        let mut tx = background_tx(self.app, company).await?;
        let needed = sqlx::query!(
            r#"select upload_key, state = 'infected' as "infected!" from files
                where id = any($2) and (state in ('pending', 'uploaded', 'scanning') or state = 'infected' and $1)"#,
            self.files.config.keep_infected,
            &uploads
        );
        let needed = needed.fetch_all(&mut *tx).await?.into_iter();
        let needed: HashMap<String, bool> = needed.map(|row| (row.upload_key, row.infected)).collect();
        drop(tx);
        let expired = self.days_ago(QUARANTINE_DAYS);
        for object in objects {
            let is_needed = needed
                .get(&object.key)
                .is_some_and(|infected| !infected || object.last_modified > expired);
            if !is_needed {
                self.found.quarantined.add(&object.key);
                self.delete(Bucket::Quarantine, &object.key).await?;
            }
        }
        Ok(())
    }

    /// The rows are read after the objects were listed, so an object that is referred to is known to be.
    async fn clean(&mut self, company: Uuid, objects: &[&Listed]) -> anyhow::Result<()> {
        let keys: Vec<String> = objects
            .iter()
            .map(|object| file_key(&object.key).to_owned())
            .collect();
        let mut tx = background_tx(self.app, company).await?;
        let known = sqlx::query_scalar!(r#"select key as "key!" from files where key = any($1)"#, &keys);
        let known: HashSet<String> = known.fetch_all(&mut *tx).await?.into_iter().collect();
        drop(tx);
        let unreferenced = objects
            .iter()
            .filter(|object| !known.contains(file_key(&object.key)));
        self.unreferenced(unreferenced.copied().collect()).await
    }

    /// Files whose keys lie after the one and up to the other key, between which these are all the objects.
    async fn missing(
        &mut self,
        company: Uuid,
        mut after: String,
        until: Option<&str>,
        objects: &[&Listed],
    ) -> anyhow::Result<()> {
        let listed: HashSet<&str> = objects.iter().map(|object| object.key.as_str()).collect();
        loop {
            let mut tx = background_tx(self.app, company).await?;
            let rows = sqlx::query!(
                r#"select key as "key!", variants as "variants: Json<Vec<Variant>>" from files
                    where key > $1 and ($2::text is null or key <= $2) order by key limit $3"#,
                after,
                until,
                ROWS
            );
            let rows = rows.fetch_all(&mut *tx).await?;
            drop(tx);
            let mut keys = Vec::new();
            for row in &rows {
                keys.push(row.key.clone());
                keys.extend(
                    row.variants
                        .iter()
                        .map(|variant| variant_key(&row.key, &variant.name)),
                );
            }
            keys.retain(|key| !listed.contains(key.as_str()));
            for key in keys {
                // It may have been promoted after the objects were listed, or stand on the next page.
                match self.files.storage.head(Bucket::Clean, &key).await {
                    Err(storage::Error::NotFound) => self.found.missing.add(&key),
                    result => drop(result?),
                }
            }
            let full = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= ROWS;
            let Some(last) = rows.into_iter().next_back().filter(|_| full) else {
                return Ok(());
            };
            after = last.key;
        }
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
        let objects = objects.iter().map(|(_, object)| object);
        let unneeded: Vec<&Listed> = objects
            .filter(|object| !needed.contains(file_key(&object.key)))
            .collect();
        match bucket {
            Bucket::Quarantine => {
                for object in unneeded {
                    self.found.quarantined.add(&object.key);
                    self.delete(bucket, &object.key).await?;
                }
                Ok(())
            }
            Bucket::Clean => self.unreferenced(unneeded).await,
        }
    }

    /// Clean objects that nothing refers to go when that has been so for the days of grace.
    async fn unreferenced(&mut self, objects: Vec<&Listed>) -> anyhow::Result<()> {
        if objects.is_empty() {
            return Ok(());
        }
        let keys: Vec<String> = objects.iter().map(|object| object.key.clone()).collect();
        let since = self.noted(&keys).await?;
        let grace = self.days_ago(self.files.config.orphan_days);
        for object in objects {
            let since = since.get(&object.key).copied().unwrap_or(self.began);
            if since.max(object.last_modified) > grace {
                self.found.young.add(&object.key);
            } else {
                self.found.unreferenced.add(&object.key);
                self.delete(Bucket::Clean, &object.key).await?;
            }
        }
        Ok(())
    }

    /// Notes that nothing refers to these, unless it is a dry run. Returns since when it is so, as far as it was known.
    #[expect(clippy::disallowed_methods, reason = "the store is the installation's")]
    async fn noted(&self, keys: &[String]) -> anyhow::Result<HashMap<String, Timestamp>> {
        let now = DbTimestamp(self.began);
        let mut tx = self.app.db.system().await?;
        if !self.found.dry_run {
            sqlx::query!(
                "insert into unreferenced_objects (key, first_seen, last_seen) select key, $2, $2 from unnest($1::text[]) as key
                     on conflict (key) do update set last_seen = $2",
                keys,
                now as _
            )
            .execute(&mut *tx)
            .await?;
        }
        let since = sqlx::query!(
            r#"select key, first_seen as "first_seen: DbTimestamp" from unreferenced_objects where key = any($1)"#,
            keys
        );
        let since = since.fetch_all(&mut *tx).await?;
        tx.commit().await?;
        Ok(since.into_iter().map(|row| (row.key, row.first_seen.0)).collect())
    }

    async fn delete(&self, bucket: Bucket, key: &str) -> anyhow::Result<()> {
        if !self.found.dry_run {
            tracing::info!(?bucket, key, "orphan deleted");
            self.files.storage.delete(bucket, key).await?;
        }
        Ok(())
    }
}

/// Forgets what this sweep has not found unreferenced any more.
#[expect(clippy::disallowed_methods, reason = "the store is the installation's")]
async fn forget(app: &App, began: Timestamp) -> anyhow::Result<()> {
    let mut tx = app.db.system().await?;
    sqlx::query!(
        "delete from unreferenced_objects where last_seen < $1",
        DbTimestamp(began) as _
    )
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

/// The file whose upload it is, by a key in quarantine.
fn upload_of(key: &str) -> Option<Uuid> {
    key.split_once('/').and_then(|(_, file)| id(file))
}

/// The company of an object, by a key of ours: `company/file` in quarantine, else
/// `company/module/yyyy/mm/dd/uuid-filename`, with `@name` appended for a thumbnail.
fn company_of(bucket: Bucket, key: &str) -> Option<Uuid> {
    let parts: Vec<&str> = key.split('/').collect();
    let (company, ours) = match (bucket, &parts[..]) {
        (Bucket::Quarantine, [company, file]) => (company, id(file).is_some()),
        (Bucket::Clean, [company, _, _, _, _, file]) => {
            (company, file.get(..36).is_some_and(|file| id(file).is_some()))
        }
        _ => return None,
    };
    id(company).filter(|_| ours)
}

/// The person whose avatar it is, by a key of ours: `users/person/upload`, with `@name` appended for a thumbnail.
fn person_of(key: &str) -> Option<Uuid> {
    let (person, picture) = key.strip_prefix("users/")?.split_once('/')?;
    id(person).filter(|_| id(file_key(picture)).is_some())
}

/// An id as we write it, and in no other form.
fn id(text: &str) -> Option<Uuid> {
    text.parse().ok().filter(|id: &Uuid| id.to_string() == text)
}

/// The key of the file that an object, perhaps a variant, belongs to.
fn file_key(key: &str) -> &str {
    key.rsplit_once('@').map_or(key, |(file, _)| file)
}
