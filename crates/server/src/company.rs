//! `ally360 company`: the states and limits of a company, for operators.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use identity::CompanyState;
use kernel::limit::Rate;
use limits::Policies;
use uuid::Uuid;

use crate::cli::say;
use crate::run::Database;
use crate::settings::Settings;

#[derive(Subcommand, Clone, Debug)]
pub enum CompanyAction {
    /// Let the company read, and not write
    Suspend(Change),
    /// Make a suspended or closed company active again
    Resume(Change),
    /// Let the company neither read nor write
    Close(Change),
    /// List how often a company may ask, by policy, and change it
    Limit {
        /// Id of the company
        id: Uuid,
        /// Which of them to change
        #[arg(requires = "rate")]
        policy: Option<String>,
        /// Such as 500/minute (second, minute, hour, day), or `default`
        rate: Option<String>,
    },
    /// List the changes of a company's state
    States {
        /// Id of the company
        id: Uuid,
    },
}

#[derive(Args, Clone, Debug)]
pub struct Change {
    /// Id of the company
    id: Uuid,
    /// Why: kept with the change, 1 to 500 characters
    #[arg(long)]
    reason: String,
}

/// Runs the command; prints what changed, or the changes.
pub async fn command(settings: Settings, action: CompanyAction) -> anyhow::Result<()> {
    let database = Database::open(&settings).await?;
    let app = database.app(&settings);
    let done = match action {
        CompanyAction::Suspend(change) => set(&app, CompanyState::Suspended, change).await,
        CompanyAction::Resume(change) => set(&app, CompanyState::Active, change).await,
        CompanyAction::Close(change) => set(&app, CompanyState::Closed, change).await,
        CompanyAction::Limit { id, policy, rate } => limit(&app, id, policy.zip(rate)).await,
        CompanyAction::States { id } => states(&app, id).await,
    };
    app.db.close();
    database.close().await;
    done
}

async fn set(app: &kernel::app::App, state: CompanyState, change: Change) -> anyhow::Result<()> {
    let reason = change.reason.trim();
    ensure!(
        (1..=500).contains(&reason.chars().count()),
        "the reason must have 1 to 500 characters"
    );
    let changed = identity::set_company_state(app, change.id, state, reason)
        .await
        .with_context(|| format!("the state of {} was not changed", change.id))?;
    let outcome = if changed { "is now" } else { "was already" };
    say(&format!("{} {outcome} {}", change.id, state.name()))?;
    Ok(())
}

async fn states(app: &kernel::app::App, id: Uuid) -> anyhow::Result<()> {
    let changes = identity::company_states(app, id)
        .await
        .with_context(|| format!("the states of {id} cannot be listed"))?;
    for change in changes {
        say(&format!(
            "{} {} {}",
            change.changed_at.0, change.state, change.reason
        ))?;
    }
    Ok(())
}

async fn limit(app: &kernel::app::App, id: Uuid, change: Option<(String, String)>) -> anyhow::Result<()> {
    let policies = Policies::of(&crate::modules());
    if let Some((policy, rate)) = change {
        ensure!(
            policies.of_companies().any(|known| known.name == policy),
            "there is no policy {policy}: `ally360 company limit {id}` lists them"
        );
        let rate = match rate.as_str() {
            "default" => None,
            rate => Some(Rate::parse(rate).with_context(|| format!("{rate} is no rate such as 500/minute"))?),
        };
        limits::set_company_limit(app, id, &policy, rate)
            .await
            .with_context(|| format!("the limits of {id} were not changed"))?;
    }
    let own: BTreeMap<String, String> = limits::company_limits(app, id)
        .await
        .with_context(|| format!("the limits of {id} cannot be listed"))?
        .into_iter()
        .collect();
    for policy in policies.of_companies() {
        let (name, rate) = (&policy.name, policy.rate);
        match own.get(name) {
            Some(own) => say(&format!("{name} {own} (default {rate})"))?,
            None => say(&format!("{name} {rate}"))?,
        }
    }
    Ok(())
}
