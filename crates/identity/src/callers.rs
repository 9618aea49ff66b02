//! Who the caller is and what he may do, cached, so that an ordinary request asks the database
//! nothing but its own query. How fresh that is, `kernel::changes` tells.

use std::sync::Arc;

use kernel::app::App;
use kernel::cache::{Cached, FreshCache};
use kernel::caller::{Caller, UserCaller};
use kernel::db::Db;
use kernel::error::{COMPANY_CLOSED, Error, NOT_A_MEMBER, Result, UNAUTHENTICATED};
use kernel::limit::Overrides;
use uuid::Uuid;

use crate::roles;

struct Entry {
    user: UserCaller,
    tenant: Option<Uuid>,
    /// Role in the company asked for, and the company's state.
    role: Option<(String, String)>,
    limits: Overrides,
}

impl Cached for Entry {
    fn about(&self) -> impl Iterator<Item = Uuid> + Send {
        [Some(self.user.user_id), self.tenant].into_iter().flatten()
    }
}

pub struct Callers {
    db: Db,
    entries: FreshCache<(UserCaller, Option<Uuid>), Entry>,
}

impl Callers {
    pub fn new(app: &App) -> Callers {
        Callers {
            db: app.db.clone(),
            entries: FreshCache::new("callers", &app.changes),
        }
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

    async fn entry(&self, user_id: Uuid, session_id: Uuid, tenant: Option<Uuid>) -> Result<Arc<Entry>> {
        let user = UserCaller { user_id, session_id };
        self.entries.get((user, tenant), || self.load(user, tenant)).await
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "identity resolves callers from global tables"
    )]
    async fn load(&self, user: UserCaller, tenant: Option<Uuid>) -> Result<Entry> {
        let mut tx = self.db.system().await?;
        let row = sqlx::query!(
            r#"select m.role as "role?", c.state as "state?",
                      array(select policy || '=' || rate from company_limits where company_id = $3) as "limits!"
                 from sessions s
                 join users u on u.id = s.user_id
                 left join (memberships m join companies c using (tenant_id))
                   on m.user_id = u.id and m.tenant_id = $3 and m.state = 'active'
                where s.id = $2 and u.id = $1 and u.is_active and s.revoked_at is null"#,
            user.user_id,
            user.session_id,
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
            user,
            tenant,
            role,
            limits: Overrides::parse(row.limits.iter().map(String::as_str)),
        })
    }
}
