//! Files: uploaded straight to the object store by presigned URL, checked, scanned and thumbnailed
//! in the background, served by presigned URL. The API never carries the bytes.
//!
//! Two rules keep a second upload with a still valid URL harmless: an upload URL writes the quarantine
//! bucket only, and what is served are the very bytes that were scanned, which a worker copied out of it.

mod alarm;
mod arrivals;
mod avatars;
mod config;
mod copy;
mod declared;
mod download;
mod events;
mod file;
mod followers;
mod library;
mod notices;
mod open;
mod orphans;
mod pictures;
mod plan;
mod policy;
mod process;
mod quota;
mod remove;
mod text;
mod tidy;
mod uploads;

pub use arrivals::{arrived, follow};
pub use avatars::Avatar;
pub use config::FilesConfig;
pub use file::FileId;
pub use followers::Followers;
pub use orphans::{Orphans, sweep};
pub use pictures::{FILE_IN_USE, FILE_NOT_FOUND, NOT_A_PICTURE, Picture, PictureUrls, expect_picture};
pub use plan::{Limit, Plan, PlanChange, change_plan};

use inspect::Inspector;
use kernel::module::Module;
use kernel::permissions;
use storage::Storage;

permissions! {
    /// See and download files.
    FilesRead = "files.read", read_only;
    /// Upload, describe and delete files.
    FilesWrite = "files.write";
}

/// What this crate works with; a part of the [`App`](kernel::app::App).
#[derive(Clone)]
pub struct Files {
    pub storage: Storage,
    pub inspector: Inspector,
    pub config: FilesConfig,
}

/// What an operator is told of a store that obeys headers which nobody signed.
pub const LOOSE_UPLOAD_URLS: &str = "with an upload URL the object store copies any object: whoever has one could read the files of others. Drop the \
     header x-amz-copy-source in front of it (docs/files.md), or use another store; until then production takes no uploads";

/// Queue of all jobs here, which need the object store.
pub const QUEUE: &str = "files";

/// The modules of this crate.
pub fn modules() -> Vec<Module> {
    vec![
        uploads::module(),
        library::module(),
        download::module(),
        events::module(),
        arrivals::module(),
        process::module(),
        alarm::module(),
        notices::module(),
        avatars::module(),
        tidy::module(),
        orphans::module(),
    ]
}
