//! The invited person's side of an invitation: looking at it, and accepting it.
//!
//! Who holds the token can read the mailbox, so the address counts as verified. An invitation is worth
//! what its inviter could give today: when he has lost the role meanwhile, it is void.

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use garde::Validate;
use http::StatusCode;
use kernel::app::App;
use kernel::caller::UserCaller;
use kernel::db::SystemTx;
use kernel::error::{COMPANY_CLOSED, COMPANY_SUSPENDED};
use kernel::input::object;
use kernel::output::json;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::invitations::{ALREADY_A_MEMBER, InvitationId};
use crate::me::Profile;
use crate::new_user::NewUser;
use crate::password_rules::{self, PASSWORD_TOO_COMMON};
use crate::{Identity, memberships, roles, tokens};

const INVITATION_INVALID: Code = Code::new(
    422,
    "invitation-invalid",
    "The invitation is unknown, used, expired, cancelled or void",
);
const INVITATION_FOR_ANOTHER: Code = Code::new(
    403,
    "invitation-for-another",
    "The invitation is for another, or a not yet verified, e-mail address",
);
const ACCOUNT_EXISTS: Code = Code::new(
    409,
    "account-exists",
    "The address has an account: sign in to accept",
);

pub fn module() -> Module {
    Module::new("acceptance")
        .routes(routes!(look))
        .routes(routes!(accept_anew))
        .routes(routes!(accept))
        .problems(&[
            &INVITATION_INVALID,
            &INVITATION_FOR_ANOTHER,
            &ACCOUNT_EXISTS,
            &ALREADY_A_MEMBER,
            &COMPANY_SUSPENDED,
            &COMPANY_CLOSED,
            &PASSWORD_TOO_COMMON,
        ])
        .constraints(memberships::CONSTRAINTS)
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct InvitationToken {
    /// From the link in the mail.
    #[garde(length(min = 1, max = 200))]
    #[schema(min_length = 1, max_length = 200)]
    token: String,
}

/// An invitation, as the invited person sees it.
#[derive(Serialize, ToSchema)]
struct Invited {
    company_id: Uuid,
    #[schema(example = "Supermercado La Esquina S.A.S.")]
    company_name: String,
    #[schema(example = "luz@example.com")]
    email: String,
    #[schema(example = "seller")]
    role: String,
    #[schema(example = "Ana Gómez")]
    invited_by_name: String,
    /// Whether the address has an account: then it is accepted while signed in.
    account_exists: bool,
    expires_at: Timestamp,
}

#[derive(Serialize, ToSchema)]
struct Accepted {
    user_id: Uuid,
    company_id: Uuid,
    company_name: String,
}

/// What can be accepted.
struct Live {
    id: InvitationId,
    company_state: String,
    /// Of the mail, and of those to a new account.
    language: String,
    invited: Invited,
}

impl Live {
    /// What can be accepted now with this token.
    async fn find(tx: &mut SystemTx, token: &str, app: &App) -> Result<Live> {
        let row = sqlx::query!(
            r#"select i.id as "id: InvitationId", i.tenant_id, i.email, i.role, i.language, i.expires_at, c.name, c.state,
                      m.role as inviters_role, u.first_name || ' ' || u.last_name as "invited_by_name!",
                      exists (select from users where lower(users.email) = lower(i.email)) as "account_exists!"
                 from invitations i
                 join companies c using (tenant_id)
                 join memberships m on m.tenant_id = i.tenant_id and m.user_id = i.invited_by and m.state = 'active'
                 join users u on u.id = i.invited_by and u.is_active
                where i.token_hash = $1 and i.state = 'pending' and i.expires_at > $2"#,
            tokens::hash(token),
            Timestamp(app.clock.now()) as _
        )
        .fetch_optional(&mut **tx)
        .await?
        .ok_or(&INVITATION_INVALID)?;
        let grants = roles::grants(&row.inviters_role).1;
        if !grants.contains("members.invite") || !roles::within(&row.role, &grants) {
            return Err(Error::new(&INVITATION_INVALID));
        }
        Ok(Live {
            id: row.id,
            company_state: row.state,
            language: row.language,
            invited: Invited {
                company_id: row.tenant_id,
                company_name: row.name,
                email: row.email,
                role: row.role,
                invited_by_name: row.invited_by_name,
                account_exists: row.account_exists,
                expires_at: row.expires_at,
            },
        })
    }

    /// The same, found again when the company's members change for nobody else, and used up.
    async fn take(tx: &mut SystemTx, token: &str, app: &App) -> Result<Live> {
        let company = Live::find(tx, token, app).await?.invited.company_id;
        sqlx::query!(
            "select state from companies where tenant_id = $1 for no key update",
            company
        )
        .fetch_one(&mut **tx)
        .await?;
        let live = Live::find(tx, token, app).await?;
        match live.company_state.as_str() {
            "active" => {}
            "closed" => return Err(Error::new(&COMPANY_CLOSED)),
            _ => return Err(Error::new(&COMPANY_SUSPENDED)),
        }
        let taken = sqlx::query!(
            "update invitations set state = 'accepted'
              where tenant_id = $1 and id = $2 and state = 'pending' and token_hash = $3",
            company,
            live.id as _,
            tokens::hash(token)
        );
        if taken.execute(&mut **tx).await?.rows_affected() == 0 {
            return Err(Error::new(&INVITATION_INVALID));
        }
        Ok(live)
    }

    /// Makes the user a member; ends the transaction.
    async fn join(self, mut tx: SystemTx, user_id: Uuid) -> Result<Accepted> {
        let joined = sqlx::query!(
            "insert into memberships (tenant_id, user_id, role) values ($1, $2, $3) on conflict do nothing",
            self.invited.company_id,
            user_id,
            self.invited.role
        );
        if joined.execute(&mut *tx).await?.rows_affected() == 0 {
            return Err(Error::new(&ALREADY_A_MEMBER));
        }
        tx.commit().await?;
        Ok(Accepted {
            user_id,
            company_id: self.invited.company_id,
            company_name: self.invited.company_name,
        })
    }
}

/// Look at an invitation.
///
/// The token travels in the body, so that no log of addresses keeps it.
#[utoipa::path(post, path = "/auth/invitation", tag = "invitations", operation_id = "look_at_invitation",
    security(()), request_body = InvitationToken, responses((status = 200, body = Invited)))]
async fn look(State(app): State<App>, Valid(body): Valid<InvitationToken>) -> Result<impl IntoResponse> {
    #[expect(clippy::disallowed_methods, reason = "the caller belongs to no company yet")]
    let mut tx = app.db.system().await?;
    let live = Live::find(&mut tx, &body.token, &app).await?;
    Ok(json(live.invited))
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct Acceptance {
    /// From the link in the mail.
    #[garde(length(min = 1, max = 200))]
    #[schema(min_length = 1, max_length = 200)]
    token: String,
    /// 10 to 128 characters of any kind, and not among those that are tried first.
    #[garde(length(chars, min = 10, max = 128))]
    #[schema(min_length = 10, max_length = 128, format = Password, example = "una frase larga")]
    password: String,
    #[garde(dive)]
    #[serde(deserialize_with = "object")]
    profile: Profile,
}

/// Accept an invitation with a new account, whose address counts as verified.
#[utoipa::path(post, path = "/auth/accept-invitation", tag = "invitations", operation_id = "accept_invitation",
    security(()), request_body = Acceptance, responses((status = 201, body = Accepted)))]
async fn accept_anew(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Valid(new): Valid<Acceptance>,
) -> Result<impl IntoResponse> {
    {
        // Only who has a token may make us hash, and no transaction is open meanwhile.
        #[expect(clippy::disallowed_methods, reason = "the caller belongs to no company yet")]
        let mut tx = app.db.system().await?;
        let live = Live::find(&mut tx, &new.token, &app).await?;
        let names = [new.profile.first_name.as_str(), &new.profile.last_name];
        password_rules::check(&new.password, &live.invited.email, &names, "/password")?;
    }
    let hash = identity.0.passwords.hash(new.password).await?;
    #[expect(clippy::disallowed_methods, reason = "users are global")]
    let mut tx = app.db.system().await?;
    let live = Live::take(&mut tx, &new.token, &app).await?;
    let user = NewUser {
        email: &live.invited.email,
        password_hash: &hash,
        profile: &new.profile,
        language: &live.language,
        verified: true,
    };
    let user = user.create(&mut tx, &app).await?.ok_or(&ACCOUNT_EXISTS)?;
    Ok((StatusCode::CREATED, json(live.join(tx, user).await?)))
}

/// Accept an invitation as the signed-in user, whose verified address it must be for.
#[utoipa::path(post, path = "/auth/accept-invitation/existing", tag = "invitations",
    operation_id = "accept_invitation_signed_in", security(("bearer" = [])), request_body = InvitationToken,
    responses((status = 200, body = Accepted)))]
async fn accept(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    Extension(user): Extension<UserCaller>,
    Valid(body): Valid<InvitationToken>,
) -> Result<impl IntoResponse> {
    #[expect(clippy::disallowed_methods, reason = "the caller belongs to no company yet")]
    let mut tx = app.db.system().await?;
    let live = Live::take(&mut tx, &body.token, &app).await?;
    let is_his = sqlx::query_scalar!(
        r#"select exists (select from users
             where id = $1 and lower(email) = lower($2) and email_verified_at is not null) as "his!""#,
        user.user_id,
        live.invited.email
    );
    if !is_his.fetch_one(&mut *tx).await? {
        return Err(Error::new(&INVITATION_FOR_ANOTHER));
    }
    let accepted = live.join(tx, user.user_id).await?;
    identity.0.changes.changed(user.user_id).await;
    Ok(json(accepted))
}
