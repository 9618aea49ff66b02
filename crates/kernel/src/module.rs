//! How a domain file hands its routes, permissions, constraints and problems to the server.

use std::time::Duration;

use utoipa::openapi::{PathItem, Paths};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use crate::app::App;
use crate::error::{Code, Constraint, register_constraints};
use crate::job::{Job, JobKind, Schedule};
use crate::limit::{Declared, Rate, Scope};

/// One noun of the API.
pub struct Module {
    pub name: &'static str,
    pub routes: OpenApiRouter<App>,
    pub permissions: &'static [&'static str],
    pub constraints: &'static [Constraint],
    pub problems: &'static [&'static Code],
    pub jobs: Vec<JobKind>,
    pub schedules: Vec<Schedule>,
    pub rate_limits: Vec<Declared>,
    /// Those of the last [`routes`](Module::routes), for what is declared of them.
    last: Vec<Operation>,
}

/// Method, path and id.
pub type Operation = (&'static str, String, String);

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
            rate_limits: Vec::new(),
            last: Vec::new(),
        }
    }

    /// Adds the handlers of one path: `routes!(list, create)`.
    #[must_use]
    pub fn routes(mut self, routes: UtoipaMethodRouter<App>) -> Module {
        self.last = operations(&routes.1);
        self.routes = self.routes.routes(routes);
        self
    }

    /// How often the operations of the last [`routes`](Module::routes) may be asked for, together, in place
    /// of the default for this scope: `.routes(routes!(export)).rate_limit("10/minute", per_tenant)`.
    ///
    /// # Panics
    /// When the rate is none, or there are no routes yet.
    #[must_use]
    pub fn rate_limit(mut self, rate: &str, scope: Scope) -> Module {
        let rate = Rate::parse(rate).expect("a rate such as 100/minute");
        let (.., id) = self.last.first().expect("routes to limit");
        self.rate_limits.push(Declared {
            scope,
            rate,
            name: id.replace('_', "-"),
            operations: self
                .last
                .iter()
                .map(|(method, path, _)| (*method, path.clone()))
                .collect(),
        });
        self
    }

    /// Method in upper case, path and id of every operation.
    pub fn operations(&self) -> Vec<Operation> {
        operations(&self.routes.get_openapi().paths)
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

fn operations(paths: &Paths) -> Vec<Operation> {
    let of = |(path, item): (&String, &PathItem)| {
        let methods = [
            ("GET", &item.get),
            ("POST", &item.post),
            ("PUT", &item.put),
            ("PATCH", &item.patch),
            ("DELETE", &item.delete),
        ];
        let known = methods.into_iter().filter_map(|(method, operation)| {
            let id = operation.as_ref()?.operation_id.clone()?;
            Some((method, path.clone(), id))
        });
        known.collect::<Vec<_>>()
    };
    paths.paths.iter().flat_map(of).collect()
}

/// Makes the modules' constraints known to error mapping. Once per process, before the first request.
pub fn register(modules: &[Module]) {
    register_constraints(modules.iter().flat_map(|m| m.constraints));
}
