//! Object storage over the S3 protocol: MinIO, any other S3, or the endpoint of this process.
//!
//! There is one code path. [`Storage`] is a SigV4 client and presigner; without `MINIO_HOST` it talks to an
//! [`EmbeddedStore`], an S3 endpoint over the file system, exactly as it would talk to a remote server.
//!
//! Two buckets: clients upload to [`Bucket::Quarantine`] through presigned URLs and nothing is ever served from
//! there; [`Bucket::Clean`] is written by this crate alone and read through presigned URLs.

mod client;
mod config;
mod content;
pub mod embedded;
mod error;
mod http_client;
mod presign;
mod setup;
mod sigv4;
mod transport;

use std::path::Path;

pub use client::{Listed, Listing, Object, ObjectInfo, Storage};
pub use config::{ConfigError, Credentials, StorageConfig};
pub use content::Content;
pub use embedded::{Arrival, EmbeddedStore, StartError};
pub use error::Error;
pub use http_client::{HttpClient, http_client};
pub use presign::{GetOptions, Presigned, PutConditions};
pub use setup::QUARANTINE_DAYS;

/// Which of the two buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// Scanned files, named by `MINIO_BUCKET_NAME`; downloads are signed for it, uploads never.
    Clean,
    /// What clients uploaded and nobody has looked at yet, `<MINIO_BUCKET_NAME>-quarantine`.
    Quarantine,
}

/// The storage that the settings ask for, and the embedded store when it is the one; the store ends when dropped, and
/// takes no upload of more than `max_upload_bytes`.
///
/// Nothing is sent to a remote server yet: [`Storage::ensure_buckets`] does that.
///
/// # Errors
/// [`StartError`]: a setting does not fit, or the embedded store cannot run.
pub async fn open(
    config: &StorageConfig,
    data_dir: &Path,
    max_upload_bytes: u64,
) -> Result<(Storage, Option<EmbeddedStore>), StartError> {
    if config.is_embedded() {
        let store = EmbeddedStore::start(config.embedded_options(data_dir, max_upload_bytes)).await?;
        let storage = Storage::embedded(config, &store)?;
        Ok((storage, Some(store)))
    } else {
        Ok((Storage::external(config)?, None))
    }
}
