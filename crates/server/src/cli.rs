//! The command line of `ally360`.

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use kernel::actor::{Actor, Origin};
use tokio::runtime::Handle;

use crate::audit_command::{self, AuditAction};
use crate::company::{self, CompanyAction};
use crate::mail::{self, MailAction};
use crate::secrets::{self, Secrets};
use crate::settings::Settings;
use crate::telemetry::{Otlp, Traces};
use crate::{doctor, memory, openapi_document, probe, run, telemetry};

/// Multi-tenant backend for small businesses.
#[derive(Parser, Debug)]
#[command(name = "ally360", version, about)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Everything in one process with demo data: database embedded, users active at once
    Dev,
    /// API, worker and scheduler in one process
    Serve,
    /// The API only
    Api,
    /// Background work only
    Worker,
    /// Planning of periodic work only
    Scheduler,
    /// Database migrations
    Migrate {
        #[command(subcommand)]
        action: MigrateAction,
    },
    /// Check settings, database, roles and tables, and say what to do
    Doctor,
    /// Ask the API process that listens here whether it is ready; exit code 1 when it is not
    Health,
    /// Demo data
    Demo {
        #[command(subcommand)]
        action: DemoAction,
    },
    /// Files, for operators
    Files {
        #[command(subcommand)]
        action: FilesAction,
    },
    /// Companies, for operators
    Company {
        #[command(subcommand)]
        action: CompanyAction,
    },
    /// Mail, for operators
    Mail {
        #[command(subcommand)]
        action: MailAction,
    },
    /// Users, for operators
    User {
        #[command(subcommand)]
        action: UserAction,
    },
    /// The audit trail, for operators
    Audit {
        #[command(subcommand)]
        action: AuditAction,
    },
    /// Print the OpenAPI document
    Openapi,
}

#[derive(Subcommand, Clone, Debug)]
pub enum MigrateAction {
    /// Create roles and apply what is missing
    Up,
    /// List the migrations
    Status,
}

#[derive(Subcommand, Clone, Debug)]
pub enum DemoAction {
    /// Create the demo companies; doing it again changes nothing
    Seed,
}

#[derive(Subcommand, Clone, Debug)]
pub enum FilesAction {
    /// Report objects without a file and files without their object, and delete such objects
    Sweep {
        /// Only report
        #[arg(long)]
        dry_run: bool,
    },
    /// Show what a company may keep, and change what is given
    Quota {
        /// Id of the company
        company: uuid::Uuid,
        /// Bytes that it may keep: 500000000, 10GiB, or `default` for what the installation grants
        #[arg(long)]
        bytes: Option<files::Limit>,
        /// Bytes of its largest file, or `default` for what the module takes
        #[arg(long, value_parser = files::Limit::of_file)]
        max_file_bytes: Option<files::Limit>,
    },
}

#[derive(Subcommand, Clone, Debug)]
pub enum UserAction {
    /// Print a fresh token for POST /auth/verify-email; earlier ones stop working
    VerificationToken { email: String },
}

impl Command {
    /// Whether it goes on until it is told to stop.
    fn serves(&self) -> bool {
        matches!(
            self,
            Command::Dev | Command::Serve | Command::Api | Command::Worker | Command::Scheduler
        )
    }
}

/// Runs the command; returns the process's exit code.
pub fn main() -> std::process::ExitCode {
    // A missing .env is normal; a broken one is not.
    if let Err(error) = dotenvy::dotenv()
        && !error.not_found()
    {
        return fail(&broken_env_file(&error));
    }
    let secrets = match secrets::from_files(&Cli::command()) {
        Ok(secrets) => secrets,
        Err(error) => return fail(&error),
    };
    let cli = match parse(std::env::args_os(), &secrets) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    if cli.command.serves() {
        memory::give_back_what_is_freed();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let traces = match traces(&cli.command, runtime.handle()) {
        Ok(traces) => traces,
        Err(error) => return fail(&error),
    };
    telemetry::init(cli.settings.config.debug, traces.as_ref());
    // The doctor reports bad settings among the rest.
    if !matches!(cli.command, Command::Doctor)
        && let Err(faults) = cli.settings.validate()
    {
        return fail(&anyhow::anyhow!("{}", faults.join("\nally360: ")));
    }
    raise_file_limit();
    let done = runtime.block_on(by_command().during(Box::pin(execute(cli))));
    if let Some(traces) = traces {
        traces.end();
    }
    match done {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

/// Traces of what serves, if the environment asks for them.
fn traces(command: &Command, runtime: &Handle) -> anyhow::Result<Option<Traces>> {
    if !command.serves() {
        return Ok(None);
    }
    let otlp = Otlp::from_env()?;
    otlp.map(|otlp| Traces::start(&otlp, runtime.clone())).transpose()
}

/// Names the line but does not show it: its value may be a secret.
fn broken_env_file(error: &dotenvy::Error) -> anyhow::Error {
    match error {
        dotenvy::Error::LineParse(line, _) => {
            let name = line.split('=').next().unwrap_or_default().trim();
            anyhow::anyhow!(
                ".env cannot be read: the line of {name} is not NAME=value, or a quote is not closed"
            )
        }
        other => anyhow::anyhow!(".env cannot be read: {other}"),
    }
}

/// Every setting may stand before or after the command. A variable that is empty is not set: so
/// `.env` files and compose's `${NAME:-}` say it.
fn parse(arguments: impl IntoIterator<Item = OsString>, secrets: &Secrets) -> Result<Cli, clap::Error> {
    let mut command = Cli::command().mut_args(|setting| {
        let empty = setting
            .get_env()
            .and_then(std::env::var_os)
            .is_some_and(|value| value.is_empty());
        let setting = secrets::apply(setting.global(true), secrets);
        if empty { setting.env(None) } else { setting }
    });
    let matches = command.try_get_matches_from_mut(arguments);
    Cli::from_arg_matches(&matches.map_err(|error| named(error, &command))?)
}

/// The refusal of a setting with its variable beside the flag, and without its value where that is a secret.
fn named(mut error: clap::Error, settings: &clap::Command) -> clap::Error {
    use clap::error::{ContextKind, ContextValue};
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let Some(setting) = settings
        .get_arguments()
        .find(|setting| setting.to_string() == *flag)
    else {
        return error;
    };
    if let Some(variable) = setting.get_env() {
        let both = format!("{flag} ({})", variable.display());
        error.insert(ContextKind::InvalidArg, ContextValue::String(both));
    }
    if setting.is_hide_env_values_set() {
        error.insert(ContextKind::InvalidValue, ContextValue::String("…".to_owned()));
    }
    error
}

/// For the audit trail: who gave the command, as far as the host tells, and which it is.
fn by_command() -> Origin {
    let words = std::env::args().skip(1).take_while(|word| !word.starts_with('-'));
    let command = words.take(2).collect::<Vec<_>>().join(" ");
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok());
    Origin {
        actor: Actor::Command(format!("{}: {command}", user.unwrap_or_default())),
        ..Origin::default()
    }
}

async fn execute(cli: Cli) -> anyhow::Result<std::process::ExitCode> {
    let settings = cli.settings;
    match cli.command {
        Command::Dev => run::dev(settings).await?,
        Command::Serve => {
            run::processes(
                settings,
                run::Parts {
                    api: true,
                    worker: true,
                    scheduler: true,
                },
            )
            .await?;
        }
        Command::Api => {
            run::processes(
                settings,
                run::Parts {
                    api: true,
                    ..run::Parts::default()
                },
            )
            .await?;
        }
        Command::Worker => {
            run::processes(
                settings,
                run::Parts {
                    worker: true,
                    ..run::Parts::default()
                },
            )
            .await?;
        }
        Command::Scheduler => {
            run::processes(
                settings,
                run::Parts {
                    scheduler: true,
                    ..run::Parts::default()
                },
            )
            .await?;
        }
        Command::Migrate {
            action: MigrateAction::Up,
        } => run::migrate_up(settings).await?,
        Command::Migrate {
            action: MigrateAction::Status,
        } => run::migrate_status(settings).await?,
        Command::Doctor => return doctor::command(settings).await,
        Command::Health => probe::command(settings.listen).await?,
        Command::Demo {
            action: DemoAction::Seed,
        } => run::seed(settings).await?,
        Command::Files {
            action: FilesAction::Sweep { dry_run },
        } => run::sweep_files(settings, dry_run).await?,
        Command::Company { action } => company::command(settings, action).await?,
        Command::Mail { action } => mail::command(settings, action).await?,
        Command::Files {
            action:
                FilesAction::Quota {
                    company,
                    bytes,
                    max_file_bytes,
                },
        } => {
            let change = files::PlanChange {
                quota: bytes,
                max_file: max_file_bytes,
            };
            run::change_plan(settings, company, change).await?;
        }
        Command::User {
            action: UserAction::VerificationToken { email },
        } => run::verification_token(settings, &email).await?,
        Command::Audit { action } => return audit_command::run(settings, action).await,
        Command::Openapi => say(&serde_json::to_string_pretty(&openapi_document())?)?,
    }
    Ok(std::process::ExitCode::SUCCESS)
}

/// Every connection is a file; the usual soft limit of 1,024 is below the listener's own.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    )
    .is_err()
    {
        tracing::warn!("the limit of open files cannot be raised");
    }
}

fn fail(error: &anyhow::Error) -> std::process::ExitCode {
    use std::io::Write;
    // One clear line: the chain of causes joined, no backtrace.
    let _ = writeln!(std::io::stderr(), "ally360: {error:#}");
    std::process::ExitCode::FAILURE
}

/// Writes a line to standard output.
pub(crate) fn say(line: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
