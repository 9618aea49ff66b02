//! How much anybody may ask for: so many requests per time of a company, a user, an API key and an address,
//! and for each company a fair share of what can be done at once. docs/limits.md tells it whole.

mod bodies;
mod charge;
mod companies;
mod gate;
mod gcra;
mod headers;
mod layers;
mod local;
mod policies;
mod shared;

pub use companies::{company_limits, set_company_limit};
pub use gate::{Gate, Permit, Refusal, Size};
pub use layers::{admit, by_address, by_caller, hold_body};
pub use policies::{Policies, Policy};

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request};
use http::Extensions;
use kernel::app::App;
use kernel::caller::{Caller, Cause, UserCaller};
use kernel::clock::Clock;
use kernel::limit::Scope;
use kernel::module::Module;
use kernel::origin::subscriber;
use metrics::counter;
use redis_link::RedisLink;
use uuid::Uuid;

use bodies::Bodies;
use charge::{Charge, Key};
use local::Local;

/// The limits of a process. Cheap to clone.
#[derive(Clone)]
pub struct Limits(Arc<Shared>);

struct Shared {
    policies: Policies,
    /// Whether there are rates at all.
    rated: bool,
    local: Local,
    redis: Option<RedisLink>,
    clock: Clock,
    /// Requests of companies: what waits for the connections of tenants.
    companies: Gate,
    /// All others, so that neither waits for the other.
    others: Gate,
    /// Memory for the bodies of the ones and the others.
    bodies_of_companies: Bodies,
    bodies_of_others: Bodies,
}

impl Limits {
    /// The limits of these modules' operations, shared with other processes if there is a Redis.
    pub fn new(app: &App, modules: &[Module]) -> Limits {
        let (config, database) = (&app.config.limits, &app.config.database);
        let patience = Duration::from_secs(database.db_acquire_seconds);
        let slots = config
            .requests_at_once
            .unwrap_or(database.db_app_connections as usize);
        let mut companies = Size::of(slots, patience);
        companies.of_one = config.requests_per_company.unwrap_or(companies.of_one);
        // Of a sign-in the greater part is hashing, without a connection.
        let others = Size::of(database.db_system_connections as usize * 4, patience);
        let policies = Policies::of(modules).at_percent(config.rate_limit_percent);
        // One that appeared with its first refusal would show no increase.
        for policy in policies.names() {
            counter!("ally360_rate_limited_total", "policy" => policy.to_owned()).increment(0);
        }
        Limits(Arc::new(Shared {
            policies,
            rated: config.rate_limit_percent > 0,
            local: Local::default(),
            redis: app.part::<RedisLink>().ok().cloned(),
            clock: app.clock.clone(),
            companies: Gate::new("companies", companies),
            others: Gate::new("others", others),
            bodies_of_companies: Bodies::up_to(app.config.http.max_body_bytes as u64),
            bodies_of_others: Bodies::up_to(app.config.http.max_body_bytes as u64),
        }))
    }

    /// The policies of the request's route; none where nothing is limited.
    fn places(&self, request: &Request) -> Option<&[u16]> {
        let path = request.extensions().get::<MatchedPath>()?;
        self.0.policies.places(request.method(), path.as_str())
    }

    /// What of these policies the request is charged with, as far as it is known who asks.
    fn charges(&self, places: &[u16], known: &Extensions, wanted: impl Fn(Scope) -> bool) -> Vec<Charge> {
        let caller = known.get::<Caller>();
        let who = |scope| match scope {
            Scope::Address => address(known),
            Scope::Tenant => Some(caller?.tenant_id.as_u128()),
            Scope::ApiKey => Some(caller?.api_key?.as_u128()),
            // A machine is no user.
            Scope::User if caller.is_some_and(|caller| caller.api_key.is_some()) => None,
            Scope::User => Some(known.get::<UserCaller>()?.user_id.as_u128()),
        };
        let charge = |place: &u16| {
            let policy = self.0.policies.policy(*place);
            if !wanted(policy.scope) {
                return None;
            }
            let own = caller.and_then(|caller| Some((caller.tenant_id, caller.limits.rate(&policy.name)?)));
            let who = who(policy.scope)?;
            let key = Key {
                policy: *place,
                // A rate of one company counts what is asked in that company.
                who: own.map_or(who, |(tenant, _)| in_company(who, tenant)),
            };
            Some(Charge::new(key, own.map_or(policy.rate, |(_, rate)| rate)))
        };
        places.iter().filter_map(charge).collect()
    }

    /// Who is charged.
    fn scope(&self, charge: &Charge) -> Scope {
        self.0.policies.policy(charge.key.policy).scope
    }

    /// Charges in this process.
    fn take_here(&self, charges: &mut [Charge]) -> bool {
        self.0.local.take(charges, self.0.clock.now().as_microsecond())
    }

    /// Charges where all processes count, or here while that is away.
    async fn take(&self, charges: &mut Vec<Charge>) -> bool {
        if let Some(redis) = &self.0.redis {
            if let Ok(admitted) = shared::take(redis, &self.0.policies, charges).await {
                return admitted;
            }
            counter!("ally360_rate_limit_fallbacks_total").increment(1);
        }
        // The address has been charged here before.
        charges.retain(|charge| self.scope(charge) != Scope::Address);
        self.take_here(charges)
    }

    /// Whose share the request takes, of the slots and of the memory for bodies that there are for such requests.
    fn party(&self, known: &Extensions) -> (&Gate, &Bodies, u128) {
        if let Some(caller) = known.get::<Caller>() {
            let party = caller.tenant_id.as_u128();
            return (&self.0.companies, &self.0.bodies_of_companies, party);
        }
        let user = known.get::<UserCaller>().map(|user| user.user_id.as_u128());
        let party = user.or_else(|| address(known)).unwrap_or(0);
        (&self.0.others, &self.0.bodies_of_others, party)
    }
}

/// Another key for each company.
fn in_company(who: u128, tenant: Uuid) -> u128 {
    Uuid::new_v5(&tenant, &who.to_be_bytes()).as_u128()
}

fn address(known: &Extensions) -> Option<u128> {
    let address = subscriber(known.get::<Cause>()?.address?);
    Some(match address {
        std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        std::net::IpAddr::V6(v6) => v6.to_bits(),
    })
}
