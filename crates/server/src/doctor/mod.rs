//! `ally360 doctor`: examines an installation and says what to do about it.

mod catalogue;
mod database;
mod host;
mod keys;
mod mail;
mod report;
mod services;

use std::process::ExitCode;

pub use catalogue::{
    DEFINER_FUNCTIONS, DefinerFunction, GLOBAL_TABLES, SHARED_TABLES, catalogue_faults,
    examine as examine_catalogue,
};
use report::Report;

use crate::cli::say;
use crate::run::Database;
use crate::settings::Settings;

/// `ally360 doctor`: one line per finding on standard output, `ok`, `warn` or `FAIL`. Changes nothing.
/// The exit code is 1 when something fails.
///
/// # Errors
/// When standard output is closed.
pub async fn command(settings: Settings) -> anyhow::Result<ExitCode> {
    let mut report = Report::default();
    examine(&settings, &mut report).await;
    say(&report.to_string())?;
    Ok(if report.failed() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

async fn examine(settings: &Settings, report: &mut Report) {
    host::settings(settings, report);
    keys::examine(settings, report);
    mail::examine(settings, report).await;
    services::store(settings, report).await;
    services::scanner(settings, report).await;
    services::redis(settings, report).await;
    services::traces(report).await;
    let external = match kernel::db::connect_options(&settings.config.database) {
        Ok(login) => login.is_some(),
        Err(error) => return report.fail("database", error),
    };
    host::disk(settings, !external, report);
    if !external && !settings.data_dir.join("postgres").exists() {
        let dir = settings.data_dir.display();
        return report.warn(
            "database",
            format!("none in {dir} yet: `ally360 dev` or `ally360 serve` makes it"),
        );
    }
    match Database::open(settings).await {
        Ok(database) => {
            database::examine(&database, settings, report).await;
            database.close().await;
        }
        Err(error) if is_in_use(&error) => report.fail(
            "database",
            format!("{error:#}. The running process knows more: ask it for /health/ready"),
        ),
        Err(error) => report.fail("database", format!("{error:#}")),
    }
}

fn is_in_use(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(embedded_pg::StartError::InUse { .. }))
}
