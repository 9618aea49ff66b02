//! `ally360 doctor`.

mod catalogue;

pub use catalogue::catalogue_faults;

use crate::settings::Settings;

/// `ally360 doctor`.
pub async fn command(settings: Settings) -> anyhow::Result<std::process::ExitCode> {
    let database = crate::run::Database::open(&settings).await?;
    database.close().await;
    Ok(std::process::ExitCode::SUCCESS)
}
