//! What every domain crate stands on: tenant-scoped transactions, permissions, problems, input and
//! output types. It knows no business noun and depends on no sibling crate.

pub mod actor;
pub mod app;
pub mod cache;
pub mod caller;
pub mod changes;
pub mod clock;
pub mod config;
pub mod cursor;
pub mod db;
pub mod error;
pub mod etag;
pub mod idempotency;
pub mod ids;
pub mod input;
pub mod job;
pub mod keys;
pub mod language;
pub mod limit;
pub mod module;
pub mod origin;
pub mod output;
pub mod page;
pub mod patch;
pub mod perm;
pub mod places;
pub mod text;
pub mod trace;
pub mod types;

/// What a module file needs, in one import.
pub mod prelude {
    pub use crate::db::TenantTx;
    pub use crate::error::{Code, Constraint, Error, OnConstraint, Result, VALIDATION_FAILED};
    pub use crate::etag::{IfMatch, Tagged, Versioned};
    pub use crate::input::{Path, Query, Valid, plain_text};
    pub use crate::limit::{per_address, per_api_key, per_tenant, per_user};
    pub use crate::module::Module;
    pub use crate::output::{Created, NoContent};
    pub use crate::page::{Key, List, Listed, Page, PageParams, Sort, contains};
    pub use crate::patch::Patch;
    pub use crate::text::{PlainText, SearchTerm};
    pub use crate::types::{Money, Timestamp};
    pub use crate::{permissions, typed_id};
    pub use utoipa_axum::routes;
}
