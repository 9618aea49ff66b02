//! What each role may do: a reviewed table.

use std::collections::BTreeSet;
use std::fmt::Write;

use identity::{ROLES, grants, may};

/// Permissions that the modules declare.
fn declared() -> BTreeSet<&'static str> {
    server::modules()
        .iter()
        .flat_map(|module| module.permissions)
        .copied()
        .collect()
}

#[test]
fn roles_hold_the_reviewed_permissions() {
    let mut table = format!("{:<20}", "");
    for role in ROLES {
        write!(table, " {role:>10}").expect("text");
    }
    for permission in declared() {
        write!(table, "\n{permission:<20}").expect("text");
        for role in ROLES {
            write!(table, " {:>10}", if may(role, permission) { "yes" } else { "-" }).expect("text");
        }
    }
    insta::assert_snapshot!("roles", table);
}

#[test]
fn permissions_are_declared_and_granted_alike() {
    let granted: BTreeSet<&str> = ROLES
        .iter()
        .flat_map(|role| grants(role).1.iter().copied().collect::<Vec<_>>())
        .collect();
    assert_eq!(declared(), granted);
    let all: Vec<&str> = server::modules()
        .iter()
        .flat_map(|module| module.permissions)
        .copied()
        .collect();
    assert_eq!(all.len(), declared().len(), "a permission is declared twice");
}

#[test]
fn an_unknown_role_holds_nothing() {
    let (role, grants) = grants("auditor");
    assert_eq!((role, grants.len()), ("unknown", 0));
}
