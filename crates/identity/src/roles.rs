//! Roles and what they may do: the one table.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

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
    ("brands.read", ALL),
    ("brands.write", MANAGERS),
    ("categories.read", ALL),
    ("categories.write", MANAGERS),
    ("company.read", ALL),
    ("company.write", MANAGERS),
    ("files.read", ALL),
    (
        "files.write",
        &["owner", "admin", "accountant", "supervisor", "seller", "cashier"],
    ),
    ("jobs.read", ALL),
    ("jobs.write", MANAGERS),
    ("products.read", ALL),
    ("products.write", MANAGERS),
];

/// Whether a role holds a permission.
pub fn may(role: &str, permission: &str) -> bool {
    TABLE
        .iter()
        .any(|(name, roles)| *name == permission && roles.contains(&role))
}

/// A role and its permissions. One that is not known, as a later release may have given it, is
/// `unknown` and holds none.
pub fn grants(role: &str) -> (&'static str, Arc<BTreeSet<&'static str>>) {
    type Grants = Arc<BTreeSet<&'static str>>;
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
