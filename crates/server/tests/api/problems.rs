//! Problem codes: their page, and the constraints of the tables that stand for them.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use crate::app;

/// `docs/problems.md`.
fn page() -> String {
    let codes = server::problem_codes(&server::modules());
    let mut page = "# Problems\n\n\
        Every error is an `application/problem+json` (RFC 9457). Its `code` is stable: translate it, branch on it. \
        Its `type` is `/problems/` and the code.\n\n\
        Generated from the program: `UPDATE_DOCS=1 cargo nextest run -p server --test api problems`.\n\n\
        | Code | Status | Title |\n| --- | --- | --- |\n"
        .to_owned();
    for code in &codes {
        writeln!(
            page,
            "| [`{0}`](#{0}) | {1} | {2} |",
            code.code, code.status, code.title
        )
        .expect("text");
    }
    for code in &codes {
        writeln!(page, "\n## {}\n\n{}: {}.", code.code, code.status, code.title).expect("text");
    }
    page
}

#[test]
fn the_page_lists_every_problem() {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/problems.md"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, page()).expect("docs/problems.md");
    }
    let written = std::fs::read_to_string(&path).expect("docs/problems.md");
    assert_eq!(written, page(), "run with UPDATE_DOCS=1");
}

#[test]
fn codes_are_kebab_case_and_say_one_thing() {
    let modules = server::modules();
    let registered = modules.iter().flat_map(|m| {
        m.problems
            .iter()
            .copied()
            .chain(m.constraints.iter().map(|c| c.code))
    });
    let all: BTreeSet<_> = registered
        .chain(kernel::error::CODES.iter().copied())
        .map(|c| (c.code, c.status, c.title))
        .collect();
    let codes = server::problem_codes(&modules);
    assert_eq!(
        all.len(),
        codes.len(),
        "one code with two statuses or titles: {all:?}"
    );
    for code in codes {
        let kebab = code.code.split('-').all(|word| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        });
        assert!(
            kebab && (400..600).contains(&code.status) && !code.title.ends_with('.'),
            "{code:?}"
        );
    }
}

/// What a request can violate: unique indexes, checks, and references within a company.
const VIOLABLE: &str = "
    select conname::text
      from pg_constraint join pg_class on pg_class.oid = conrelid
     where relnamespace = 'ally'::regnamespace and relrowsecurity
       and (contype in ('c', 'x') or contype = 'f' and confrelid <> 'ally.companies'::regclass)
    union
    select index.relname::text
      from pg_index join pg_class as index on index.oid = indexrelid join pg_class as tbl on tbl.oid = indrelid
     where tbl.relnamespace = 'ally'::regnamespace and tbl.relrowsecurity and indisunique and not indisprimary";

/// No request writes them: memberships and the state of companies are the operator's.
const OPERATORS: &[&str] = &[
    "companies_state_known",
    "memberships_role_known",
    "memberships_state_known",
    "memberships_user_id_fkey",
    // Written by the program alone.
    "invitations_hash_length",
    "invitations_language_known",
    "invitations_role_known",
    "invitations_state_known",
    "audit_entries_action_known",
    "audit_entries_actor_kind_known",
    "api_key_uses_key_not_found",
    "api_keys_permissions_count",
    "api_keys_token_hash_length",
    "idempotency_keys_fingerprint_length",
    "idempotency_keys_key_hash_length",
    "files_bytes_positive",
    "files_key",
    "files_picture",
    "files_progress_range",
    "files_ready_is_measured",
    "files_ready_is_whole",
    "files_reason_length",
    "files_reserved_range",
    "files_reserved_while_open",
    "files_state_known",
    "job_runs_outcome_known",
    "jobs_progress_range",
    "jobs_running_leased",
    "jobs_state_known",
    "malware_alarms_membership",
    "storage_usage_max_file_positive",
    "storage_usage_open_positive",
    "storage_usage_quota_range",
    "storage_usage_reserved_positive",
    "storage_usage_used_positive",
    // Kept by what the handlers do under the product's lock.
    "product_images_one_primary",
    "product_images_product",
];

/// Raised by functions of the database in the form of constraints.
const RAISED: [&str; 5] = [
    "api_keys_too_many",
    "company_closed",
    "company_suspended",
    "memberships_last_owner",
    "memberships_too_many_owned",
];

#[tokio::test]
async fn every_constraint_has_a_problem_and_exists() {
    let app = app().await;
    let names: Vec<String> = sqlx::query_scalar(VIOLABLE)
        .fetch_all(&mut app.superuser().await)
        .await
        .expect("pg_catalog");
    let existing: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let modules = server::modules();
    let registered: Vec<&str> = modules
        .iter()
        .flat_map(|m| m.constraints)
        .map(|c| c.name)
        .collect();
    let distinct: BTreeSet<&str> = registered.iter().copied().collect();
    assert_eq!(
        registered.len(),
        distinct.len(),
        "a constraint is registered twice"
    );
    let global: BTreeSet<&str> = distinct
        .iter()
        .copied()
        .filter(|name| name.starts_with("users_") || name.starts_with("email_changes_"))
        .collect();

    let expected: BTreeSet<&str> = distinct
        .difference(&global)
        .copied()
        .filter(|name| !RAISED.contains(name))
        .chain(OPERATORS.iter().copied())
        .collect();
    assert_eq!(existing, expected);
    for name in global {
        let exists = "select to_regclass('ally.' || $1) is not null or exists (select from pg_constraint where conname = $1)";
        let exists: bool = sqlx::query_scalar(exists)
            .bind(name)
            .fetch_one(&mut app.superuser().await)
            .await
            .expect("pg_catalog");
        assert!(exists, "{name} is registered and does not exist");
    }
}
