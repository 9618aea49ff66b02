//! Clean-up of what has expired.

use std::time::Duration;

use jiff::SignedDuration;
use kernel::app::App;
use kernel::db::SystemTx;
use kernel::error::Result;
use kernel::idempotency;
use kernel::job::{Job, JobCx, JobResult, Round, companies};
use kernel::module::Module;
use kernel::types::Timestamp;
use serde::{Deserialize, Serialize};

pub fn module() -> Module {
    Module::new("identity")
        .every::<PurgeExpired>(Duration::from_hours(1))
        .every::<PurgeIdempotencyKeys>(Duration::from_hours(1))
}

/// Ended sessions stay this long, so that a late reuse of their tokens is still told from nonsense.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 7);
/// A request for a mail that no job has answered by then is void.
const REQUESTS_KEPT: SignedDuration = SignedDuration::from_hours(24);
/// A device that was not used so long is not known any more.
const DEVICES_KEPT: SignedDuration = SignedDuration::from_hours(24 * 180);
/// An invitation that can be accepted no more, whatever became of it, is of no use to anybody after that.
const INVITATIONS_KEPT: SignedDuration = SignedDuration::from_hours(24 * 90);
/// An address that nobody has verified by then is free again.
const UNVERIFIED_KEPT: SignedDuration = SignedDuration::from_hours(24 * 30);
/// Rows per statement: short locks.
const BATCH: i64 = 1000;

/// Deletes what has expired, once an hour.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct PurgeExpired {}

impl Job for PurgeExpired {
    const NAME: &'static str = "identity.purge_expired";

    async fn run(self, cx: JobCx) -> JobResult {
        let deleted = purge_expired(&cx.app).await?;
        tracing::info!(deleted, "what had expired is deleted");
        Ok(())
    }
}

/// Deletes the idempotency keys of all companies that were kept long enough, once an hour.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct PurgeIdempotencyKeys {}

impl Job for PurgeIdempotencyKeys {
    const NAME: &'static str = "identity.purge_idempotency_keys";
    const TIMEOUT: Duration = Duration::from_mins(10);

    async fn run(self, cx: JobCx) -> JobResult {
        let (mut round, mut deleted) = (Round::default(), 0);
        for company in companies(&cx.app).await? {
            let purged = idempotency::purge(&cx.app, company).await;
            round.note(company, purged.map(|purged| deleted += purged))?;
        }
        tracing::info!(deleted, "idempotency keys deleted");
        round.end()
    }
}

/// Deletes expired sessions with their refresh tokens, tokens and requests of mails, counts of attempts,
/// devices not seen for long, invitations that ended long ago, and accounts that were never verified. Returns
/// the rows deleted.
///
/// # Errors
/// Those of the database; what was deleted before stays deleted.
pub async fn purge_expired(app: &App) -> Result<u64> {
    let mut deleted = 0;
    loop {
        #[expect(clippy::disallowed_methods, reason = "identity is global")]
        let mut tx = app.db.system().await?;
        let batch = batch(&mut tx, app).await?;
        tx.commit().await?;
        deleted += batch;
        if batch == 0 {
            return Ok(deleted);
        }
    }
}

/// Each row is locked as it is chosen: one that is renewed at this moment is left, not deleted after its renewal.
async fn batch(tx: &mut SystemTx, app: &App) -> Result<u64> {
    let now = app.clock.now();
    let before = |kept: SignedDuration| Timestamp(now - kept);
    let deletions = [
        sqlx::query!(
            "delete from sessions where id in
               (select id from sessions where expires_at < $1 or revoked_at < $1 limit $2 for update skip locked)",
            before(KEPT) as _,
            BATCH
        ),
        sqlx::query!(
            "delete from email_tokens where id in
               (select id from email_tokens where expires_at < $1 limit $2 for update skip locked)",
            before(KEPT) as _,
            BATCH
        ),
        sqlx::query!(
            "delete from email_changes where id in
               (select id from email_changes where expires_at < $1 limit $2 for update skip locked)",
            Timestamp(now) as _,
            BATCH
        ),
        sqlx::query!(
            "delete from mail_requests where id in
               (select id from mail_requests where created_at < $1 limit $2 for update skip locked)",
            before(REQUESTS_KEPT) as _,
            BATCH
        ),
        sqlx::query!(
            "delete from known_devices where (user_id, device) in
               (select user_id, device from known_devices where seen_at < $1 limit $2 for update skip locked)",
            before(DEVICES_KEPT) as _,
            BATCH
        ),
        sqlx::query!(
            "delete from attempts where key in
               (select key from attempts where forgotten_at < $1 limit $2 for update skip locked)",
            Timestamp(now) as _,
            BATCH
        ),
        sqlx::query!(
            "delete from user_idempotency_keys where (caller_id, key_hash) in
               (select caller_id, key_hash from user_idempotency_keys where created_at < $1 limit $2 for update skip locked)",
            before(idempotency::KEPT) as _,
            BATCH
        ),
        sqlx::query!(
            "delete from allowances where key in
               (select key from allowances where spent_until < $1 limit $2 for update skip locked)",
            Timestamp(now) as _,
            BATCH
        ),
        sqlx::query!(
            "delete from invitations where (tenant_id, id) in
               (select tenant_id, id from invitations where expires_at < $1 limit $2 for update skip locked)",
            before(INVITATIONS_KEPT) as _,
            BATCH
        ),
        sqlx::query!(
            "delete from users where id in
               (select id from users where email_verified_at is null and deleted_at is null and last_login_at is null
                   and created_at < $1 and not exists (select from memberships where user_id = users.id)
                 limit $2 for update skip locked)",
            before(UNVERIFIED_KEPT) as _,
            BATCH
        ),
    ];
    let mut deleted = 0;
    for deletion in deletions {
        deleted += deletion.execute(&mut **tx).await?.rows_affected();
    }
    Ok(deleted)
}
