//! Inviting people to the company by mail.
//!
//! One invitation is pending per company and address. Its token is derived from the row and from how often
//! it was sent, so that a job can make the mail from ids, only the hash is stored, and sending again
//! voids the mail before. What the company learns is the same whether the address has an account or not.
//!
//! An address has not asked for these mails, and may belong to anybody: all that companies send to it, and how much
//! a company sends, is limited.

use axum::Extension;
use axum::extract::State;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use company_settings::SettingsCache;
use garde::Validate;
use jiff::SignedDuration;
use kernel::app::App;
use kernel::keys::{Keys, mac};
use kernel::language::Language;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::invitation_mail::SendInvitation;
use crate::members::{MembersRead, ROLE_EXCEEDS_OWN, take_turn};
use crate::roles::{Role, within};
use crate::throttle::TOO_MANY_ATTEMPTS;
use crate::{Identity, contact, mail_requests, tokens};

typed_id!(InvitationId);

permissions! {
    /// Invite people to the company.
    MembersInvite = "members.invite";
}

/// How long an invitation can be accepted.
const VALID: SignedDuration = SignedDuration::from_hours(7 * 24);

pub(crate) const ALREADY_A_MEMBER: Code = Code::new(
    409,
    "already-a-member",
    "The address belongs to a member of the company",
);
const INVITATION_PENDING: Code = Code::new(
    409,
    "invitation-pending",
    "The address has a pending invitation: resend or cancel it",
);
const INVITATION_SENT_OFTEN: Code = Code::new(
    409,
    "invitation-sent-often",
    "The invitation was sent five times: cancel it",
);

const CONSTRAINTS: &[Constraint] = &[
    Constraint {
        name: "invitations_pending",
        code: &INVITATION_PENDING,
        pointer: Some("/email"),
    },
    Constraint {
        name: "invitations_sent_often",
        code: &INVITATION_SENT_OFTEN,
        pointer: None,
    },
    Constraint::invalid("invitations_email_length", "/email"),
];

pub fn module() -> Module {
    Module::new("invitations")
        .routes(routes!(invite))
        .rate_limit("60/hour", per_tenant)
        .rate_limit("60/hour", per_user)
        .routes(routes!(list))
        .routes(routes!(find, cancel))
        .routes(routes!(resend))
        .rate_limit("60/hour", per_tenant)
        .rate_limit("60/hour", per_user)
        .permissions(PERMISSIONS)
        .problems(&[&ALREADY_A_MEMBER, &ROLE_EXCEEDS_OWN, &TOO_MANY_ATTEMPTS])
        .constraints(CONSTRAINTS)
        .job::<SendInvitation>()
}

/// A pending invitation.
#[derive(Serialize, ToSchema, sqlx::FromRow)]
pub struct Invitation {
    id: InvitationId,
    #[schema(example = "luz@example.com")]
    email: String,
    #[schema(example = "seller")]
    role: String,
    /// Of the mail: `es` or `en`.
    #[schema(example = "es")]
    language: String,
    /// Null when he is no member any more: then it cannot be accepted until it is sent again.
    #[schema(required = true, example = "Ana Gómez")]
    invited_by_name: Option<String>,
    /// How often it was sent.
    #[schema(example = 1)]
    sent: i32,
    expires_at: Timestamp,
    created_at: Timestamp,
    #[serde(skip)]
    version: i64,
}

impl Versioned for Invitation {
    fn version(&self) -> i64 {
        self.version
    }
    fn location(&self) -> String {
        format!("/auth/invitations/{}", self.id)
    }
}

impl Listed for Invitation {
    const TABLE: &'static str = "(select id, invitations.email, role, language, \
        first_name || ' ' || last_name as invited_by_name, sent, expires_at, created_at, version \
        from invitations left join company_people() as people on user_id = invited_by \
        where state = 'pending') as pending";
    const COLUMNS: &'static str =
        "id, email, role, language, invited_by_name, sent, expires_at, created_at, version";
    fn id(&self) -> Uuid {
        self.id.0
    }
    fn key(&self, _: &'static str) -> Key {
        Key::Time(self.created_at)
    }
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"role": "seller"}))]
struct NewInvitation {
    #[garde(custom(|v: &String, c: &()| contact::email(v, c)))]
    #[schema(format = Email, max_length = 254)]
    email: String,
    /// May not hold more than the caller's own.
    #[garde(skip)]
    role: Role,
    /// Of the mail; that of the company's settings when absent.
    #[garde(skip)]
    language: Option<Language>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct InvitationFilter {
    /// Part of the e-mail address.
    #[param(inline)]
    search: Option<SearchTerm>,
}

/// The token that the mail of an invitation carries when it is sent for this time.
pub(crate) fn token(keys: &Keys, id: InvitationId, sent: i32) -> String {
    let key = keys.derive("invitation token");
    BASE64_URL_SAFE_NO_PAD.encode(mac(&key, &[id.0.as_bytes(), &sent.to_be_bytes()]))
}

/// Invite somebody to the company.
///
/// The answer is the same whether the address has an account or not.
#[utoipa::path(post, path = "/auth/invite-user", tag = "invitations", operation_id = "invite_user",
    security(("bearer" = ["members.invite"])), request_body = NewInvitation,
    responses((status = 201, body = Invitation)))]
async fn invite(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    mut tx: TenantTx<MembersInvite>,
    Valid(new): Valid<NewInvitation>,
) -> Result<Created<Invitation>> {
    let language = match new.language {
        Some(language) => language,
        None => {
            app.part::<SettingsCache>()?
                .of(tx.caller().tenant_id)
                .await?
                .language
        }
    };
    // Nobody accepts an invitation meanwhile.
    let grants = take_turn(&mut tx).await?;
    if !within(new.role.name(), &grants) {
        return Err(Error::new(&ROLE_EXCEEDS_OWN).at("/role"));
    }
    let member = sqlx::query_scalar!(
        r#"select exists (select from company_people() where lower(email) = lower($1)) as "member!""#,
        new.email
    );
    if member.fetch_one(&mut *tx).await? {
        return Err(Error::new(&ALREADY_A_MEMBER).at("/email"));
    }
    let now = app.clock.now();
    sqlx::query!(
        "update invitations set state = 'expired'
          where lower(email) = lower($1) and state = 'pending' and expires_at <= $2",
        new.email,
        Timestamp(now) as _
    )
    .execute(&mut *tx)
    .await?;
    let id = InvitationId::new();
    let inviter = tx.caller().user.user_id;
    sqlx::query!(
        "insert into invitations (id, email, role, language, invited_by, token_hash, expires_at, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        id as _,
        new.email,
        new.role.name(),
        language.code(),
        inviter,
        tokens::hash(&token(&app.keys, id, 1)),
        Timestamp(now + VALID) as _,
        Timestamp(now) as _
    )
    .execute(&mut *tx)
    .await?;
    Ok(Created(send(&mut tx, &app, &identity, id).await?))
}

/// Has the invitation mailed, if its address may have another mail. The last that is done: until here what fails
/// costs the address none.
async fn send(
    tx: &mut TenantTx<MembersInvite>,
    app: &App,
    identity: &Identity,
    id: InvitationId,
) -> Result<Invitation> {
    let invitation = pending(tx, id).await?;
    mail_requests::charge_alone(app, identity, &invitation.email).await?;
    tx.enqueue(&SendInvitation {
        invitation_id: id,
        sent: invitation.sent,
    })
    .await?;
    Ok(invitation)
}

async fn pending(conn: &mut PgConnection, id: InvitationId) -> Result<Invitation> {
    let invitation = sqlx::query_as!(
        Invitation,
        r#"select id as "id: InvitationId", email, role, language,
                  (select first_name || ' ' || last_name from company_people() where user_id = invited_by) as invited_by_name,
                  sent, expires_at, created_at, version
             from invitations where id = $1 and state = 'pending'"#,
        id as _
    );
    Ok(invitation.fetch_one(conn).await?)
}

/// List the invitations that can be accepted, newest first.
#[utoipa::path(get, path = "/auth/invitations", tag = "invitations", operation_id = "list_invitations",
    security(("bearer" = ["members.read"])), params(InvitationFilter, PageParams),
    responses((status = 200, body = Page<Invitation>)))]
async fn list(
    State(app): State<App>,
    mut tx: TenantTx<MembersRead>,
    list: List<InvitationFilter>,
) -> Result<Page<Invitation>> {
    let now = Timestamp(app.clock.now());
    list.fetch(&mut tx, Sort::descending("created_at"), |query, filter| {
        query.push(" and expires_at > ").push_bind(now);
        if let Some(search) = &filter.search {
            query
                .push(" and email ilike ")
                .push_bind(contains(search.as_str()));
        }
    })
    .await
}

/// Find a pending invitation.
#[utoipa::path(get, path = "/auth/invitations/{invitation_id}", tag = "invitations",
    operation_id = "find_invitation", security(("bearer" = ["members.read"])),
    params(("invitation_id" = InvitationId, Path)), responses((status = 200, body = Invitation)))]
async fn find(mut tx: TenantTx<MembersRead>, Path(id): Path<InvitationId>) -> Result<Tagged<Invitation>> {
    Ok(Tagged(pending(&mut tx, id).await?))
}

/// Locks the pending invitation that the client saw, whose role the caller may give, or fails. Returns how
/// often it was sent.
async fn lock(tx: &mut TenantTx<MembersInvite>, id: InvitationId, if_match: Option<&IfMatch>) -> Result<i32> {
    let grants = take_turn(tx).await?;
    let found = sqlx::query!(
        "select role, sent, version from invitations where id = $1 and state = 'pending' for update",
        id as _
    )
    .fetch_one(&mut **tx)
    .await?;
    if let Some(if_match) = if_match {
        if_match.check(found.version)?;
    }
    if within(&found.role, &grants) {
        Ok(found.sent)
    } else {
        Err(Error::new(&ROLE_EXCEEDS_OWN))
    }
}

/// Cancel an invitation: its mail is worth nothing any more.
#[utoipa::path(delete, path = "/auth/invitations/{invitation_id}", tag = "invitations",
    operation_id = "cancel_invitation", security(("bearer" = ["members.invite"])),
    params(("invitation_id" = InvitationId, Path)), responses((status = 204)))]
async fn cancel(
    mut tx: TenantTx<MembersInvite>,
    Path(id): Path<InvitationId>,
    if_match: IfMatch,
) -> Result<NoContent> {
    lock(&mut tx, id, Some(&if_match)).await?;
    sqlx::query!(
        "update invitations set state = 'cancelled' where id = $1",
        id as _
    )
    .execute(&mut *tx)
    .await?;
    Ok(NoContent)
}

/// Send an invitation again, in the caller's name and for another seven days. The mail before is worth
/// nothing any more.
#[utoipa::path(post, path = "/auth/invitations/{invitation_id}/resend", tag = "invitations",
    operation_id = "resend_invitation", security(("bearer" = ["members.invite"])),
    params(("invitation_id" = InvitationId, Path)), responses((status = 200, body = Invitation)))]
async fn resend(
    State(app): State<App>,
    Extension(identity): Extension<Identity>,
    mut tx: TenantTx<MembersInvite>,
    Path(id): Path<InvitationId>,
) -> Result<Tagged<Invitation>> {
    let sent = lock(&mut tx, id, None).await? + 1;
    let inviter = tx.caller().user.user_id;
    sqlx::query!(
        "update invitations set sent = $2, token_hash = $3, expires_at = $4, invited_by = $5 where id = $1",
        id as _,
        sent,
        tokens::hash(&token(&app.keys, id, sent)),
        Timestamp(app.clock.now() + VALID) as _,
        inviter
    )
    .execute(&mut *tx)
    .await?;
    Ok(Tagged(send(&mut tx, &app, &identity, id).await?))
}
