//! Who the caller is and what he may do, cached, so that an ordinary request asks the database
//! nothing but its own query.
//!
//! Freshness: a trigger notifies every process of a changed user, session, membership, company or API key.
//! An entry is used only if it was loaded after the last change of its user and company. While the
//! listener is cut, entries live at most [`MAX_AGE`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use kernel::app::App;
use kernel::caller::{Caller, UserCaller};
use kernel::db::Db;
use kernel::error::{COMPANY_CLOSED, Error, NOT_A_MEMBER, Result, UNAUTHENTICATED};
use kernel::limit::Overrides;
use metrics::counter;
use moka::future::Cache;
use tracing::{info, warn};
use uuid::Uuid;

use crate::{Identity, roles};

/// How long a cached caller may be used without hearing of changes.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(5);
pub(crate) const CAPACITY: u64 = 50_000;

struct Entry {
    user: UserCaller,
    /// Role in the company asked for, and the company's state.
    role: Option<(String, String)>,
    limits: Overrides,
    /// Value of `generation` when loading began.
    loaded_at: u64,
}

pub struct Callers {
    db: Db,
    entries: Cache<(Uuid, Option<Uuid>), Arc<Entry>>,
    /// Counts changes heard.
    generation: AtomicU64,
    /// Last change of a user, company or API key; forgotten once no entry can be older.
    changes: Cache<Uuid, u64>,
    /// Everything loaded before is void.
    epoch: AtomicU64,
    connected: AtomicBool,
}

impl Callers {
    pub fn new(db: Db) -> Callers {
        Callers {
            db,
            entries: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(MAX_AGE)
                .build(),
            generation: AtomicU64::new(1),
            changes: Cache::builder().time_to_live(MAX_AGE * 4).build(),
            epoch: AtomicU64::new(0),
            connected: AtomicBool::new(false),
        }
    }

    pub fn connected(&self) -> bool {
        self.connected.load(SeqCst)
    }

    /// The user of a live session.
    ///
    /// # Errors
    /// `unauthenticated` when the session has ended or the user is disabled.
    pub async fn user(&self, user: Uuid, session: Uuid) -> Result<UserCaller> {
        Ok(self.entry(user, session, None).await?.user)
    }

    /// The user as an active member of a company that is not closed.
    ///
    /// # Errors
    /// `unauthenticated` as for [`user`](Callers::user); `not-a-member`, the same for an unknown
    /// company and one that he does not belong to or is suspended in; `company-closed`.
    pub async fn member(&self, user: Uuid, session: Uuid, tenant: Uuid) -> Result<Caller> {
        let entry = self.entry(user, session, Some(tenant)).await?;
        let (role, state) = entry.role.as_ref().ok_or(&NOT_A_MEMBER)?;
        if state == "closed" {
            return Err(Error::new(&COMPANY_CLOSED));
        }
        let (role, grants) = roles::grants(role);
        Ok(Caller {
            user: entry.user,
            api_key: None,
            tenant_id: tenant,
            role,
            grants,
            suspended: state != "active",
            limits: entry.limits.clone(),
        })
    }

    /// Voids what is cached of a user or company; called when a change is heard, and by the process
    /// that made it as soon as it has committed.
    pub async fn changed(&self, id: Uuid) {
        let now = self.generation.fetch_add(1, SeqCst) + 1;
        self.changes.insert(id, now).await;
    }

    fn all_changed(&self) {
        self.epoch.store(self.generation.fetch_add(1, SeqCst) + 1, SeqCst);
    }

    async fn entry(&self, user: Uuid, session: Uuid, tenant: Option<Uuid>) -> Result<Arc<Entry>> {
        let key = (session, tenant);
        // A load that others started before a change may be joined after it: then once more.
        for _ in 0..3 {
            if let Some(entry) = self.entries.get(&key).await {
                if entry.user.user_id == user && self.is_current(&entry, tenant).await {
                    counter!("ally360_cache_requests_total", "cache" => "callers", "result" => "hit")
                        .increment(1);
                    return Ok(entry);
                }
                self.entries.invalidate(&key).await;
            }
            counter!("ally360_cache_requests_total", "cache" => "callers", "result" => "miss").increment(1);
            let loaded = self
                .entries
                .try_get_with(key, self.load(user, session, tenant))
                .await;
            // Failures are not cached; the error is shared between those who waited together.
            let entry = loaded.map_err(|e| Arc::try_unwrap(e).unwrap_or_else(|e| Error::same_as(&e)))?;
            if self.is_current(&entry, tenant).await {
                return Ok(entry);
            }
        }
        Ok(Arc::new(self.load_entry(user, session, tenant).await?))
    }

    async fn is_current(&self, entry: &Entry, tenant: Option<Uuid>) -> bool {
        let about = [Some(entry.user.user_id), tenant];
        self.unchanged(entry.loaded_at, about.into_iter().flatten()).await
    }

    /// Counts the changes heard until now; to be asked before something is loaded.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(SeqCst)
    }

    /// Whether what was loaded at this generation is as it was, as far as these users, companies or API
    /// keys are concerned.
    pub(crate) async fn unchanged(
        &self,
        loaded_at: u64,
        about: impl IntoIterator<Item = Uuid> + Send,
    ) -> bool {
        let mut newest = self.epoch.load(SeqCst);
        for id in about {
            newest = newest.max(self.changes.get(&id).await.unwrap_or(0));
        }
        loaded_at >= newest
    }

    async fn load(&self, user: Uuid, session: Uuid, tenant: Option<Uuid>) -> Result<Arc<Entry>> {
        self.load_entry(user, session, tenant).await.map(Arc::new)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "identity resolves callers from global tables"
    )]
    async fn load_entry(&self, user: Uuid, session: Uuid, tenant: Option<Uuid>) -> Result<Entry> {
        let loaded_at = self.generation();
        let mut tx = self.db.system().await?;
        let row = sqlx::query!(
            r#"select m.role as "role?", c.state as "state?",
                      array(select policy || '=' || rate from company_limits where company_id = $3) as "limits!"
                 from sessions s
                 join users u on u.id = s.user_id
                 left join (memberships m join companies c using (tenant_id))
                   on m.user_id = u.id and m.tenant_id = $3 and m.state = 'active'
                where s.id = $2 and u.id = $1 and u.is_active and s.revoked_at is null"#,
            user,
            session,
            tenant
        )
        .fetch_optional(&mut *tx)
        .await?;
        let row = row.ok_or(&UNAUTHENTICATED)?;
        let role = row.role.zip(row.state);
        if tenant.is_some() && role.is_none() {
            return Err(Error::new(&NOT_A_MEMBER));
        }
        Ok(Entry {
            user: UserCaller {
                user_id: user,
                session_id: session,
            },
            role,
            limits: Overrides::parse(row.limits.iter().map(String::as_str)),
            loaded_at,
        })
    }
}

/// Hears of changes for as long as the process lives.
pub fn listen(app: &App, identity: Identity) {
    let db = app.db.clone();
    let stop = app.stopping.clone();
    let hear = async move {
        let callers = &identity.0.callers;
        loop {
            if let Err(error) = hear(&db, callers).await {
                callers.connected.store(false, SeqCst);
                warn!(cause = %error, "not hearing changes of callers; entries live {MAX_AGE:?} until it is back");
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    app.tasks
        .spawn(async move { stop.run_until_cancelled_owned(hear).await });
}

async fn hear(db: &Db, callers: &Callers) -> sqlx::Result<()> {
    let mut listener = db.listen("ally_callers").await?;
    callers.all_changed();
    callers.connected.store(true, SeqCst);
    info!("hearing changes of callers");
    while let Some(notification) = listener.try_recv().await? {
        match notification.payload().parse() {
            Ok(id) => callers.changed(id).await,
            Err(_) => callers.all_changed(),
        }
    }
    Err(sqlx::Error::Io(std::io::ErrorKind::ConnectionAborted.into()))
}
