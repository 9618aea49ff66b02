//! How a domain file hands its routes, permissions, constraints and problems to the server.

use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use std::time::Duration;

use crate::app::App;
use crate::error::{Code, Constraint, register_constraints};
use crate::job::{Job, JobKind, Schedule};

/// One noun of the API.
pub struct Module {
    pub name: &'static str,
    pub routes: OpenApiRouter<App>,
    pub permissions: &'static [&'static str],
    pub constraints: &'static [Constraint],
    pub problems: &'static [&'static Code],
    pub jobs: Vec<JobKind>,
    pub schedules: Vec<Schedule>,
}

impl Module {
    /// An empty module; `name` is the plural noun.
    pub fn new(name: &'static str) -> Module {
        Module {
            name,
            routes: OpenApiRouter::new(),
            permissions: &[],
            constraints: &[],
            problems: &[],
            jobs: Vec::new(),
            schedules: Vec::new(),
        }
    }

    /// Adds the handlers of one path: `routes!(list, create)`.
    #[must_use]
    pub fn routes(mut self, routes: UtoipaMethodRouter<App>) -> Module {
        self.routes = self.routes.routes(routes);
        self
    }

    /// The permissions that the handlers ask for.
    #[must_use]
    pub fn permissions(mut self, permissions: &'static [&'static str]) -> Module {
        self.permissions = permissions;
        self
    }

    /// The constraints of the module's tables and the problems they stand for.
    #[must_use]
    pub fn constraints(mut self, constraints: &'static [Constraint]) -> Module {
        self.constraints = constraints;
        self
    }

    /// A job that workers of this program run.
    #[must_use]
    pub fn job<J: Job>(mut self) -> Module {
        self.jobs.push(JobKind::of::<J>());
        self
    }

    /// A job that runs once per period.
    #[must_use]
    pub fn every<J: Job + Default + Sync>(mut self, period: Duration) -> Module {
        self.schedules.push(Schedule::every::<J>(period));
        self.job::<J>()
    }

    /// Problems that the handlers raise themselves.
    #[must_use]
    pub fn problems(mut self, problems: &'static [&'static Code]) -> Module {
        self.problems = problems;
        self
    }
}

/// Makes the modules' constraints known to error mapping. Once per process, before the first request.
pub fn register(modules: &[Module]) {
    register_constraints(modules.iter().flat_map(|m| m.constraints));
}
