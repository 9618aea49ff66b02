//! Roles and what they may do: the one table.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A role, as requests name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Owner,
    Admin,
    Accountant,
    Supervisor,
    Seller,
    Cashier,
    Viewer,
}

impl Role {
    /// As the database has it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Owner => "owner",
            Role::Admin => "admin",
            Role::Accountant => "accountant",
            Role::Supervisor => "supervisor",
            Role::Seller => "seller",
            Role::Cashier => "cashier",
            Role::Viewer => "viewer",
        }
    }
}

/// Roles of a membership, as the database has them.
pub const ROLES: [&str; 7] = [
    "owner",
    "admin",
    "accountant",
    "supervisor",
    "seller",
    "cashier",
    "viewer",
];

const ALL: &[&str] = &ROLES;
const MANAGERS: &[&str] = &["owner", "admin"];

/// Which roles hold a permission. A permission that is not here is held by nobody.
const TABLE: &[(&str, &[&str])] = &[
    ("api_keys.read", MANAGERS),
    ("api_keys.write", MANAGERS),
    ("audit.read", &["owner", "admin", "accountant"]),
    ("brands.read", ALL),
    ("brands.write", MANAGERS),
    ("categories.read", ALL),
    ("categories.write", MANAGERS),
    ("company.leave", ALL),
    ("company.read", ALL),
    ("company.transfer", &["owner"]),
    ("company.write", MANAGERS),
    ("company_settings.read", ALL),
    ("company_settings.write", MANAGERS),
    ("files.read", ALL),
    (
        "files.write",
        &["owner", "admin", "accountant", "supervisor", "seller", "cashier"],
    ),
    ("jobs.read", ALL),
    ("jobs.write", MANAGERS),
    ("members.invite", MANAGERS),
    ("members.read", MANAGERS),
    ("members.write", MANAGERS),
    ("products.read", ALL),
    ("products.write", MANAGERS),
];

/// Permissions that somebody holds.
pub type Grants = Arc<BTreeSet<&'static str>>;

/// All permissions that there are.
pub fn permissions() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// Whether a role holds a permission.
pub fn may(role: &str, permission: &str) -> bool {
    TABLE
        .iter()
        .any(|(name, roles)| *name == permission && roles.contains(&role))
}

/// Whether who holds these permissions may give or take a role: it holds nothing that they lack. Of a
/// role that is not known that cannot be said.
pub fn within(role: &str, grants: &BTreeSet<&'static str>) -> bool {
    ROLES.contains(&role) && self::grants(role).1.is_subset(grants)
}

/// A role and its permissions. One that is not known, as a later release may have given it, is
/// `unknown` and holds none.
pub fn grants(role: &str) -> (&'static str, Grants) {
    static BY_ROLE: LazyLock<Vec<(&'static str, Grants)>> = LazyLock::new(|| {
        let of = |role: &str| {
            TABLE
                .iter()
                .filter(|(_, roles)| roles.contains(&role))
                .map(|(name, _)| *name)
                .collect()
        };
        ROLES.iter().map(|role| (*role, Arc::new(of(role)))).collect()
    });
    BY_ROLE
        .iter()
        .find(|(name, _)| *name == role)
        .cloned()
        .unwrap_or_else(|| ("unknown", Arc::default()))
}
