//! The audit trail. Triggers write it (migrations); here it is read, exported, chained, verified and dropped
//! when its time has come. docs/audit.md tells the whole.

mod chain;
mod digest;
mod entries;
mod export;
mod heads;
mod offline;
mod retention;
mod verify;

pub use chain::chain;
pub use heads::{Head, heads};
pub use offline::verify_export;
pub use retention::rotate;
pub use verify::{Fault, Report, companies, verify};

use kernel::module::Module;
use kernel::permissions;

permissions! {
    /// See the company's audit trail.
    AuditRead = "audit.read", read_only;
}

/// The modules of this crate.
pub fn modules() -> Vec<Module> {
    vec![
        entries::module(),
        export::module(),
        chain::module(),
        retention::module(),
    ]
}
