//! What a company sets for itself: one typed document over defaults, cached in every process.
//!
//! Stored is only what differs from the defaults, so that new defaults reach every company that has not
//! chosen otherwise.

mod cache;
mod document;
mod patch;
mod routes;
mod time_zones;
mod uploads;

pub use cache::SettingsCache;
pub use document::{CompanySettings, DEFAULT_TIME_ZONE, Installation, Receivers};
pub use time_zones::{is_time_zone, time_zone_name};
pub use uploads::{FileRules, PICTURES};

use kernel::module::Module;

/// The modules of this crate.
pub fn modules() -> Vec<Module> {
    vec![routes::module()]
}
