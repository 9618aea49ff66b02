//! `ally360 audit`: verifying the trail, and its heads to be kept elsewhere.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use audit::{Head, Report};
use clap::Subcommand;
use kernel::app::App;
use uuid::Uuid;

use crate::cli::say;
use crate::run::Database;
use crate::settings::Settings;

#[derive(Subcommand, Clone, Debug)]
pub enum AuditAction {
    /// Compute every link of the chains anew; says what was changed, removed or inserted
    Verify {
        /// Only this one
        #[arg(long)]
        company: Option<Uuid>,
        /// Also against heads printed earlier: a file of `ally360 audit head`
        #[arg(long)]
        heads: Option<PathBuf>,
        /// Not the database but this file: all that `GET /audit/export` gave, in NDJSON
        #[arg(long, conflicts_with = "company")]
        export: Option<PathBuf>,
    },
    /// Print where the chains end, one JSON object per company and line, to be kept outside the database
    Head {
        /// Only this one
        #[arg(long)]
        company: Option<Uuid>,
    },
}

/// Runs the command. Verification fails when anything is wrong.
pub(crate) async fn run(settings: Settings, action: AuditAction) -> anyhow::Result<ExitCode> {
    if let AuditAction::Verify {
        export: Some(export),
        heads,
        ..
    } = &action
    {
        return verify_export(export, heads.as_deref());
    }
    let database = Database::open(&settings).await?;
    let app = database.app(&settings);
    let outcome = match action {
        AuditAction::Verify { company, heads, .. } => verify(&app, company, heads.as_deref()).await,
        AuditAction::Head { company } => head(&app, company).await,
    };
    database.close().await;
    outcome
}

async fn verify(app: &App, company: Option<Uuid>, heads: Option<&Path>) -> anyhow::Result<ExitCode> {
    let exported = heads.map(read).transpose()?.unwrap_or_default();
    let companies = match company {
        Some(company) => [company].into(),
        None => audit::companies(app, &exported).await?,
    };
    let mut faults = 0;
    for company in companies {
        let report = audit::verify(app, company, &exported).await?;
        faults += report.faults.len();
        tell(company, &report)?;
    }
    Ok(if faults == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn verify_export(export: &Path, heads: Option<&Path>) -> anyhow::Result<ExitCode> {
    let heads = heads.map(read).transpose()?.unwrap_or_default();
    let file = File::open(export).with_context(|| format!("cannot read {}", export.display()))?;
    let verified = audit::verify_export(BufReader::new(file), &heads);
    let (company, report) = verified.with_context(|| export.display().to_string())?;
    tell(company, &report)?;
    Ok(if report.faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn tell(company: Uuid, report: &Report) -> std::io::Result<()> {
    let Report {
        links,
        waiting,
        faults,
    } = report;
    let verdict = if faults.is_empty() { "whole" } else { "NOT WHOLE" };
    say(&format!(
        "{company} {verdict}: {links} entries chained, {waiting} waiting"
    ))?;
    for fault in faults {
        say(&format!("{company} {fault}"))?;
    }
    Ok(())
}

async fn head(app: &App, company: Option<Uuid>) -> anyhow::Result<ExitCode> {
    for head in audit::heads(app, company).await? {
        say(&serde_json::to_string(&head)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One head per line.
fn read(path: &Path) -> anyhow::Result<Vec<Head>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            serde_json::from_str(line).with_context(|| format!("{}: not a head: {line}", path.display()))
        })
        .collect()
}
