//! Which limits each operation has: the defaults of its kind, and what is declared beside its route.

use std::collections::HashMap;

use http::Method;
use identity::{Access, EXEMPT, access_of};
use kernel::limit::{Rate, Scope};
use kernel::module::Module;

/// What an operation has unless its module declares something else. Those of one name count together.
const DEFAULTS: [(&str, Scope, &str); 8] = [
    // All of the tills of a shop may share one.
    (ANY, Scope::Address, "200/second"),
    // What needs no token and changes something: registering, signing in, the links of mails.
    (ENTRY, Scope::Address, "60/minute"),
    (READS, Scope::Tenant, "100/second"),
    (READS, Scope::User, "1200/minute"),
    (READS, Scope::ApiKey, "3000/minute"),
    (WRITES, Scope::Tenant, "50/second"),
    (WRITES, Scope::User, "600/minute"),
    (WRITES, Scope::ApiKey, "1500/minute"),
];
/// For people; the API's document does not have them.
const PAGES: [&str; 2] = ["/account/", "/operator/"];
const ANY: &str = "any";
const ENTRY: &str = "entry";
const READS: &str = "reads";
const WRITES: &str = "writes";

/// What is counted together, and how much of it there may be.
#[derive(Debug)]
pub struct Policy {
    pub name: String,
    pub scope: Scope,
    pub rate: Rate,
}

/// The policies of all operations.
pub struct Policies {
    all: Vec<Policy>,
    /// By path and method.
    routes: HashMap<String, HashMap<Method, Vec<u16>>>,
    /// Of a method that a path does not know.
    other: Vec<u16>,
}

impl Policies {
    /// Those of the operations of these modules.
    pub fn of(modules: &[Module]) -> Policies {
        let named = |kind: &str, scope: Scope| format!("{kind}-{}", scope.name());
        let all = DEFAULTS.map(|(kind, scope, rate)| Policy {
            name: named(kind, scope),
            scope,
            rate: Rate::parse(rate).expect("a rate"),
        });
        let mut policies = Policies {
            all: all.into(),
            routes: HashMap::new(),
            other: Vec::new(),
        };
        policies.other = policies.defaults(&[ANY]);
        for module in modules {
            for (method, path, _) in module.operations() {
                let method = Method::from_bytes(method.as_bytes()).expect("a method");
                let access = access_of(&method, &path);
                let mut defaults = policies.defaults(kinds(access, &method));
                defaults.retain(|place| is_known(policies.policy(*place).scope, access));
                policies.routes.entry(path).or_default().insert(method, defaults);
            }
            for declared in &module.rate_limits {
                let place = policies.all.len() as u16;
                policies.all.push(Policy {
                    name: named(&declared.name, declared.scope),
                    scope: declared.scope,
                    rate: declared.rate,
                });
                for (method, path) in &declared.operations {
                    let route = policies.routes.get_mut(path);
                    if let Some(route) =
                        route.and_then(|methods| methods.get_mut(&method.parse::<Method>().ok()?))
                    {
                        route.retain(|place| policies.all[usize::from(*place)].scope != declared.scope);
                        route.push(place);
                    }
                }
            }
        }
        let pages = EXEMPT
            .iter()
            .filter(|(_, path, _)| PAGES.iter().any(|start| path.starts_with(start)));
        for (method, path, access) in pages {
            let defaults = policies.defaults(kinds(*access, method));
            let route = policies.routes.entry((*path).to_owned()).or_default();
            route.insert(method.clone(), defaults);
        }
        policies
    }

    /// The names of all.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|policy| policy.name.as_str())
    }

    /// With all rates at so many percent; the least is one request.
    #[must_use]
    pub fn at_percent(mut self, percent: u32) -> Policies {
        for policy in &mut self.all {
            let requests = u64::from(policy.rate.requests) * u64::from(percent) / 100;
            policy.rate.requests = u32::try_from(requests).unwrap_or(u32::MAX).max(1);
        }
        self
    }

    /// Those of an operation. None where there is no such path, and for those that are never limited:
    /// health, documentation.
    pub fn of_operation(&self, method: &Method, path: &str) -> Option<impl Iterator<Item = &Policy>> {
        let places = self.places(method, path)?;
        Some(places.iter().map(|place| self.policy(*place)))
    }

    pub(crate) fn places(&self, method: &Method, path: &str) -> Option<&[u16]> {
        let method = if method == Method::HEAD {
            &Method::GET
        } else {
            method
        };
        let route = self.routes.get(path)?;
        Some(route.get(method).unwrap_or(&self.other))
    }

    pub(crate) fn policy(&self, place: u16) -> &Policy {
        &self.all[usize::from(place)]
    }

    pub(crate) fn name(&self, place: u16) -> &str {
        &self.policy(place).name
    }

    /// The policies that a company may have at another rate.
    pub fn of_companies(&self) -> impl Iterator<Item = &Policy> {
        self.all.iter().filter(|policy| policy.scope != Scope::Address)
    }

    fn defaults(&self, kinds: &[&str]) -> Vec<u16> {
        let chosen = DEFAULTS
            .iter()
            .enumerate()
            .filter(|(_, (kind, ..))| kinds.contains(kind));
        chosen.map(|(place, _)| place as u16).collect()
    }
}

fn kinds(access: Access, method: &Method) -> &'static [&'static str] {
    match (access, method.is_safe()) {
        (Access::Public, true) | (Access::Operator, _) => &[ANY],
        (Access::Public, false) => &[ANY, ENTRY],
        (Access::User | Access::UserWithOptionalCompany | Access::Business, true) => &[ANY, READS],
        (Access::User | Access::UserWithOptionalCompany | Access::Business, false) => &[ANY, WRITES],
    }
}

/// Whether such a request can be from somebody of the scope.
fn is_known(scope: Scope, access: Access) -> bool {
    match scope {
        Scope::Address | Scope::User => true,
        Scope::Tenant => access != Access::User,
        Scope::ApiKey => access == Access::Business,
    }
}
