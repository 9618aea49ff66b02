//! Members of a company: listing them, changing their role, suspending, removing, leaving, and handing
//! the company over.
//!
//! Nobody gives or takes a role that holds more than his own, and a company keeps an active owner
//! whatever happens at once: changes take turns on the company's row, and a trigger has the last word.

use axum::Extension;
use axum::response::IntoResponse;
use garde::Validate;
use kernel::changes::Changed;
use kernel::error::NOT_A_MEMBER;
use kernel::perm::Permission;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::roles::{self, Grants, Role, within};

permissions! {
    /// See the members.
    MembersRead = "members.read", read_only;
    /// Change and remove members.
    MembersWrite = "members.write";
    /// Leave the company.
    CompanyLeave = "company.leave";
    /// Hand the company over; with it come making and unmaking owners.
    CompanyTransfer = "company.transfer";
}

pub(crate) const LAST_OWNER: Code = Code::new(409, "last-owner", "A company needs an active owner");
pub(crate) const ROLE_EXCEEDS_OWN: Code = Code::new(
    403,
    "role-exceeds-own",
    "The role holds permissions that the caller lacks",
);
const USER_NOT_FOUND: Code = Code::new(422, "user-not-found", "There is no such active member");

pub fn module() -> Module {
    Module::new("members")
        .routes(routes!(list))
        .routes(routes!(find, update, remove))
        .routes(routes!(leave))
        .routes(routes!(transfer_ownership))
        .permissions(PERMISSIONS)
        .problems(&[&ROLE_EXCEEDS_OWN, &USER_NOT_FOUND])
        .constraints(&[Constraint {
            name: "memberships_last_owner",
            code: &LAST_OWNER,
            pointer: None,
        }])
}

/// A member of the company.
#[derive(Serialize, ToSchema, sqlx::FromRow)]
struct Member {
    user_id: Uuid,
    #[schema(example = "ana@example.com")]
    email: String,
    #[schema(example = "Ana")]
    first_name: String,
    #[schema(example = "Gómez")]
    last_name: String,
    #[schema(example = "seller")]
    role: String,
    /// `active`, or `suspended`: still on the list, but locked out of the company.
    #[schema(example = "active")]
    state: String,
    joined_at: Timestamp,
    updated_at: Timestamp,
    #[serde(skip)]
    version: i64,
}

impl Versioned for Member {
    fn version(&self) -> i64 {
        self.version
    }
    fn location(&self) -> String {
        format!("/company/members/{}", self.user_id)
    }
}

impl Listed for Member {
    const TABLE: &'static str = "(select user_id as id, email, first_name, last_name, \
        first_name || ' ' || last_name as name, role, state, created_at as joined_at, updated_at, version \
        from memberships join company_people() using (user_id)) as members";
    const COLUMNS: &'static str =
        "id as user_id, email, first_name, last_name, role, state, joined_at, updated_at, version";
    fn id(&self) -> Uuid {
        self.user_id
    }
    fn key(&self, column: &'static str) -> Key {
        match column {
            "joined_at" => Key::Time(self.joined_at),
            _ => Key::Text(format!("{} {}", self.first_name, self.last_name)),
        }
    }
}

/// Whether a member may act in the company.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum MemberState {
    Active,
    Suspended,
}

impl MemberState {
    fn name(self) -> &'static str {
        match self {
            MemberState::Active => "active",
            MemberState::Suspended => "suspended",
        }
    }
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"role": "seller"}))]
struct MemberPatch {
    /// Neither the old nor the new one may hold more than the caller's own.
    #[serde(default)]
    #[garde(skip)]
    #[schema(value_type = Role, required = false)]
    role: Patch<Role>,
    #[serde(default)]
    #[garde(skip)]
    #[schema(value_type = MemberState, required = false)]
    state: Patch<MemberState>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct MemberFilter {
    /// Part of the name or the e-mail address.
    #[param(inline)]
    search: Option<SearchTerm>,
    #[param(inline)]
    role: Option<Role>,
    #[param(inline)]
    state: Option<MemberState>,
    /// Order; `-` for descending.
    #[serde(default)]
    #[param(inline)]
    sort: MemberSort,
}

#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[schema(default = "name")]
enum MemberSort {
    #[default]
    #[serde(rename = "name")]
    Name,
    #[serde(rename = "-name")]
    NameDescending,
    #[serde(rename = "joined_at")]
    JoinedAt,
    #[serde(rename = "-joined_at")]
    JoinedAtDescending,
}

impl From<MemberSort> for Sort {
    fn from(sort: MemberSort) -> Sort {
        match sort {
            MemberSort::Name => Sort::ascending("name"),
            MemberSort::NameDescending => Sort::descending("name"),
            MemberSort::JoinedAt => Sort::ascending("joined_at"),
            MemberSort::JoinedAtDescending => Sort::descending("joined_at"),
        }
    }
}

/// List the members.
#[utoipa::path(get, path = "/company/members", tag = "members", operation_id = "list_members",
    security(("bearer" = ["members.read"])), params(MemberFilter, PageParams),
    responses((status = 200, body = Page<Member>)))]
async fn list(mut tx: TenantTx<MembersRead>, list: List<MemberFilter>) -> Result<Page<Member>> {
    let sort = list.filter.sort.into();
    list.fetch(&mut tx, sort, |query, filter| {
        if let Some(search) = &filter.search {
            let pattern = contains(search.as_str());
            query.push(" and (name ilike ").push_bind(pattern.clone());
            query.push(" or email ilike ").push_bind(pattern).push(")");
        }
        if let Some(role) = filter.role {
            query.push(" and role = ").push_bind(role.name());
        }
        if let Some(state) = filter.state {
            query.push(" and state = ").push_bind(state.name());
        }
    })
    .await
}

/// Find a member.
#[utoipa::path(get, path = "/company/members/{user_id}", tag = "members", operation_id = "find_member",
    security(("bearer" = ["members.read"])), params(("user_id" = Uuid, Path)),
    responses((status = 200, body = Member)))]
async fn find(mut tx: TenantTx<MembersRead>, Path(user): Path<Uuid>) -> Result<Tagged<Member>> {
    Ok(Tagged(member(&mut tx, user).await?))
}

async fn member(conn: &mut PgConnection, user: Uuid) -> Result<Member> {
    let member = sqlx::query_as!(
        Member,
        r#"select m.user_id, p.email as "email!", p.first_name as "first_name!", p.last_name as "last_name!",
                  m.role, m.state, m.created_at as joined_at, m.updated_at, m.version
             from memberships m join company_people() p using (user_id)
            where m.user_id = $1"#,
        user
    );
    Ok(member.fetch_one(conn).await?)
}

/// Makes changes of who may do what in the company take turns, and tells what the caller may when his has come: one
/// before it may have taken from him what he had when his request was let in. What only refers to the company
/// passes: the lock is not `for update`, with which it excludes itself all the same.
///
/// # Errors
/// `not-a-member` or `permission-missing`, as for a new request of his.
pub(crate) async fn take_turn<P: Permission>(tx: &mut TenantTx<P>) -> Result<Grants> {
    sqlx::query!("select tenant_id from companies for no key update")
        .fetch_one(&mut **tx)
        .await?;
    let user = tx.caller().user.user_id;
    // A statement of its own: it sees what those did for whom the lock was waited.
    let role = sqlx::query_scalar!(
        "select role from memberships where user_id = $1 and state = 'active'",
        user
    );
    let role = role.fetch_optional(&mut **tx).await?.ok_or(&NOT_A_MEMBER)?;
    let (_, grants) = roles::grants(&role);
    if grants.contains(P::NAME) {
        Ok(grants)
    } else {
        Err(Error::forbidden(P::NAME))
    }
}

/// Locks the member that the client saw, whose role the caller may take, or fails. Tells what the caller may.
async fn lock(tx: &mut TenantTx<MembersWrite>, user: Uuid, if_match: &IfMatch) -> Result<Grants> {
    let grants = take_turn(tx).await?;
    let found = sqlx::query!(
        "select role, version from memberships where user_id = $1 for update",
        user
    )
    .fetch_one(&mut **tx)
    .await?;
    if_match.check(found.version)?;
    if !within(&found.role, &grants) {
        return Err(Error::new(&ROLE_EXCEEDS_OWN));
    }
    Ok(grants)
}

/// Change a member's role, suspend or resume him.
#[utoipa::path(patch, path = "/company/members/{user_id}", tag = "members", operation_id = "update_member",
    security(("bearer" = ["members.write"])), params(("user_id" = Uuid, Path)),
    request_body = MemberPatch, responses((status = 200, body = Member)))]
async fn update(
    mut tx: TenantTx<MembersWrite>,
    Path(user): Path<Uuid>,
    if_match: IfMatch,
    Valid(patch): Valid<MemberPatch>,
) -> Result<impl IntoResponse> {
    let grants = lock(&mut tx, user, &if_match).await?;
    let role = patch.role.value().map(|role| role.name());
    if role.is_some_and(|role| !within(role, &grants)) {
        return Err(Error::new(&ROLE_EXCEEDS_OWN).at("/role"));
    }
    sqlx::query!(
        "update memberships set role = coalesce($2, role), state = coalesce($3, state) where user_id = $1",
        user,
        role,
        patch.state.value().map(|state| state.name())
    )
    .execute(&mut *tx)
    .await?;
    Ok((Extension(Changed(user)), Tagged(member(&mut tx, user).await?)))
}

/// Remove a member.
#[utoipa::path(delete, path = "/company/members/{user_id}", tag = "members", operation_id = "remove_member",
    security(("bearer" = ["members.write"])), params(("user_id" = Uuid, Path)),
    responses((status = 204)))]
async fn remove(
    mut tx: TenantTx<MembersWrite>,
    Path(user): Path<Uuid>,
    if_match: IfMatch,
) -> Result<impl IntoResponse> {
    lock(&mut tx, user, &if_match).await?;
    end(&mut tx, user).await?;
    Ok((Extension(Changed(user)), NoContent))
}

/// Leave the company. The last owner must hand it over first.
#[utoipa::path(post, path = "/company/leave", tag = "members", operation_id = "leave_company",
    security(("bearer" = ["company.leave"])), responses((status = 204)))]
async fn leave(mut tx: TenantTx<CompanyLeave>) -> Result<impl IntoResponse> {
    let user = tx.caller().user.user_id;
    take_turn(&mut tx).await?;
    end(&mut tx, user).await?;
    Ok((Extension(Changed(user)), NoContent))
}

/// Ends a membership.
async fn end(conn: &mut PgConnection, user: Uuid) -> Result<()> {
    sqlx::query!("delete from memberships where user_id = $1", user)
        .execute(conn)
        .await?;
    Ok(())
}

#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
struct Transfer {
    /// An active member, who has not disabled his account.
    #[garde(skip)]
    user_id: Uuid,
}

/// Hand the company over: the member becomes an owner, the caller an administrator.
#[utoipa::path(post, path = "/company/transfer-ownership", tag = "members", operation_id = "transfer_ownership",
    security(("bearer" = ["company.transfer"])), request_body = Transfer, responses((status = 204)))]
async fn transfer_ownership(
    mut tx: TenantTx<CompanyTransfer>,
    Valid(to): Valid<Transfer>,
) -> Result<impl IntoResponse> {
    let (from, company) = (tx.caller().user.user_id, tx.caller().tenant_id);
    take_turn(&mut tx).await?;
    let given = sqlx::query!(
        "update memberships set role = 'owner' where user_id = $1 and user_id <> $2 and state = 'active'
            and exists (select from company_people() as people where people.user_id = $1 and is_active)",
        to.user_id,
        from
    )
    .execute(&mut *tx)
    .await?;
    if given.rows_affected() == 0 {
        return Err(Error::new(&USER_NOT_FOUND).at("/user_id"));
    }
    sqlx::query!("update memberships set role = 'admin' where user_id = $1", from)
        .execute(&mut *tx)
        .await?;
    Ok((Extension(Changed(company)), NoContent))
}
