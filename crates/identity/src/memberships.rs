//! A user's companies.

use kernel::db::SystemTx;
use kernel::error::{Code, Constraint, Result};
use kernel::types::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// Most companies shown with a login; `GET /company/my_companies` pages through all.
const SHOWN: i64 = 100;

pub(crate) const TOO_MANY_COMPANIES: Code = Code::new(
    409,
    "too-many-companies",
    "The user owns a hundred companies, the most that one may found or join as an owner",
);

pub(crate) const CONSTRAINTS: &[Constraint] = &[Constraint {
    name: "memberships_too_many_owned",
    code: &TOO_MANY_COMPANIES,
    pointer: None,
}];

/// A company that the user belongs to.
#[derive(Serialize, ToSchema)]
pub struct Membership {
    #[schema(example = "550e8400-e29b-41d4-a716-446655440000")]
    pub company_id: Uuid,
    #[schema(example = "Supermercado La Esquina")]
    pub company_name: String,
    #[schema(example = "owner")]
    pub role: String,
    /// False while the membership is suspended, or the company suspended or closed.
    pub is_active: bool,
    pub joined_at: Timestamp,
}

/// The user's companies by name.
pub async fn of_user(tx: &mut SystemTx, user: Uuid) -> Result<Vec<Membership>> {
    let rows = sqlx::query_as!(
        Membership,
        r#"select m.tenant_id as company_id, c.name as company_name, m.role,
                  (m.state = 'active' and c.state = 'active') as "is_active!", m.created_at as joined_at
             from memberships m join companies c on c.tenant_id = m.tenant_id
            where m.user_id = $1 order by c.name, m.tenant_id limit $2"#,
        user,
        SHOWN
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows)
}
