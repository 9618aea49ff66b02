//! Leaving: disabling one's account for a while, or deleting it for good.

use axum::Extension;
use axum::extract::State;
use files::Avatar;
use garde::Validate;
use kernel::app::App;
use kernel::caller::UserCaller;
use kernel::db::SystemTx;
use kernel::prelude::*;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::members::LAST_OWNER;
use crate::password_change::{self, PASSWORD_WRONG};
use crate::throttle::TOO_MANY_ATTEMPTS;
use crate::{Identity, email_tokens, sessions};

pub fn module() -> Module {
    Module::new("accounts")
        .routes(routes!(disable))
        .routes(routes!(delete))
        .problems(&[&LAST_OWNER, &PASSWORD_WRONG, &TOO_MANY_ATTEMPTS])
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct Leaving {
    #[garde(length(max = 1000))]
    #[schema(format = Password)]
    current_password: String,
}

/// Disable my account.
///
/// Ends all sessions; memberships stay and do nothing meanwhile. Resetting the password brings the account
/// back. The last owner of a company first hands it to another.
#[utoipa::path(post, path = "/auth/me/disable", tag = "auth", operation_id = "disable_me",
    security(("bearer" = [])), request_body = Leaving, responses((status = 204)))]
async fn disable(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Extension(caller): Extension<UserCaller>,
    Valid(leaving): Valid<Leaving>,
) -> Result<NoContent> {
    let user = caller.user_id;
    let mut tx = leave(&app, &identity, user, leaving).await?;
    sqlx::query!(
        "update users set is_active = false, disabled_himself = true where id = $1",
        user
    )
    .execute(&mut *tx)
    .await?;
    sessions::end_all(&mut tx, &app, user, None).await?;
    email_tokens::void_all(&mut tx, &app, user).await?;
    tx.commit().await?;
    identity.0.changes.changed(user).await;
    tracing::info!(user.id = %user, "user disabled himself");
    Ok(NoContent)
}

/// Delete my account.
///
/// Memberships and sessions end, address, telephone number, document and avatar are erased, and the address is
/// free for another account. The name stays, for what the user wrote. The last owner of a company first
/// hands it to another.
#[utoipa::path(post, path = "/auth/me/delete", tag = "auth", operation_id = "delete_me",
    security(("bearer" = [])), request_body = Leaving, responses((status = 204)))]
async fn delete(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Extension(caller): Extension<UserCaller>,
    Valid(leaving): Valid<Leaving>,
) -> Result<NoContent> {
    let user = caller.user_id;
    let mut tx = leave(&app, &identity, user, leaving).await?;
    sqlx::query!("delete from memberships where user_id = $1", user)
        .execute(&mut *tx)
        .await?;
    sessions::end_all(&mut tx, &app, user, None).await?;
    // `.invalid` is nobody's; the hash is none, so no password fits.
    sqlx::query!(
        "update users set email = id || '@deleted.invalid', password_hash = '', phone_number = null, dni = null,
                          email_verified_at = null, is_active = false, disabled_himself = false, deleted_at = $2
          where id = $1",
        user,
        Timestamp(app.clock.now()) as _
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "with tokens as (delete from email_tokens where user_id = $1),
              devices as (delete from known_devices where user_id = $1)
         delete from email_changes where user_id = $1",
        user
    )
    .execute(&mut *tx)
    .await?;
    Avatar::forget(&mut tx, user).await?;
    tx.commit().await?;
    identity.0.changes.changed(user).await;
    tracing::info!(user.id = %user, "user deleted himself");
    Ok(NoContent)
}

/// Begins what ends a user's part in his companies: he has shown his password, and others can act for each.
#[expect(clippy::disallowed_methods, reason = "users are global")]
async fn leave(app: &App, identity: &Identity, user: Uuid, leaving: Leaving) -> Result<SystemTx> {
    password_change::confirm(app, identity, user, leaving.current_password).await?;
    let mut tx = app.db.system().await?;
    leave_companies_to_others(&mut tx, user).await?;
    Ok(tx)
}

/// Refuses if a company would be left without an owner who can act. Locks the companies that the user
/// owns, as everything does that changes owners: of two owners who leave at once, one stays.
async fn leave_companies_to_others(tx: &mut SystemTx, user: Uuid) -> Result<()> {
    let owned = sqlx::query_scalar!(
        "select c.tenant_id from companies c join memberships m using (tenant_id)
          where m.user_id = $1 and m.role = 'owner' and m.state = 'active'
          order by c.tenant_id for update of c",
        user
    )
    .fetch_all(&mut **tx)
    .await?;
    // A statement of its own: it sees what those did for whom the lock was waited.
    let abandoned = sqlx::query_scalar!(
        r#"select exists (select from unnest($2::uuid[]) as owned (tenant_id)
                           where not exists (select from memberships m join users u on u.id = m.user_id
                                              where m.tenant_id = owned.tenant_id and m.user_id <> $1 and u.is_active
                                                and m.role = 'owner' and m.state = 'active')) as "abandoned!""#,
        user,
        &owned
    )
    .fetch_one(&mut **tx)
    .await?;
    if abandoned {
        return Err(Error::new(&LAST_OWNER).detail("make another member owner of your companies first"));
    }
    Ok(())
}
