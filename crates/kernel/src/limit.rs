//! How often something may be asked, as it is declared beside a route:
//! `.routes(routes!(export)).rate_limit("10/minute", per_tenant)`. What keeps to it is the crate `limits`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// So many requests per time: at once, or one by one as the time goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    pub requests: u32,
    pub seconds: u32,
}

/// The most that anything may be allowed, by whomever.
pub const MAX_REQUESTS: u32 = 1_000_000;

const UNITS: [(&str, u32); 4] = [("second", 1), ("minute", 60), ("hour", 3600), ("day", 86_400)];

impl Rate {
    /// `100/minute`; the units are second, minute, hour and day.
    pub fn parse(text: &str) -> Option<Rate> {
        let (requests, unit) = text.split_once('/')?;
        let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit.trim())?;
        let requests = requests.trim().parse().ok()?;
        let rate = Rate {
            requests,
            seconds: *seconds,
        };
        (1..=MAX_REQUESTS).contains(&requests).then_some(rate)
    }

    /// The time in which it may be used up once.
    pub fn window(self) -> Duration {
        Duration::from_secs(u64::from(self.seconds))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, seconds)| *seconds == self.seconds);
        write!(f, "{}/{}", self.requests, unit.map_or("?", |(name, _)| name))
    }
}

/// Who is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// An address of the network, of IPv6 its /64.
    Address,
    /// A company, whoever acts for it.
    Tenant,
    /// A user, in whichever company.
    User,
    /// An API key.
    ApiKey,
}

/// The scopes as declarations name them.
pub use Scope::{Address as per_address, ApiKey as per_api_key, Tenant as per_tenant, User as per_user};

impl Scope {
    /// As policies are called.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Address => "address",
            Scope::Tenant => "company",
            Scope::User => "user",
            Scope::ApiKey => "api-key",
        }
    }
}

/// A limit that a route has in place of the default for this scope.
#[derive(Clone, Debug)]
pub struct Declared {
    pub scope: Scope,
    pub rate: Rate,
    /// What is counted together: the operations of one declaration, called like the first of them.
    pub name: String,
    /// Method in upper case, and path.
    pub operations: Vec<(&'static str, String)>,
}

/// What operators gave a company in place of the defaults: policy and rate.
#[derive(Clone, Debug, Default)]
pub struct Overrides(Option<Arc<[(String, Rate)]>>);

impl Overrides {
    /// `policy=100/minute` each; what is none is left out.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Overrides {
        let entries: Vec<_> = entries
            .into_iter()
            .filter_map(|entry| {
                let (policy, rate) = entry.split_once('=')?;
                Some((policy.to_owned(), Rate::parse(rate)?))
            })
            .collect();
        Overrides((!entries.is_empty()).then(|| entries.into()))
    }

    /// The rate that this policy has for the company, if it is another than the default.
    pub fn rate(&self, policy: &str) -> Option<Rate> {
        let entry = self.0.as_ref()?.iter().find(|(name, _)| name == policy);
        entry.map(|(_, rate)| *rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_written_as_they_are_read() {
        for text in ["100/minute", "1/second", "5/hour", "1000000/day"] {
            assert_eq!(Rate::parse(text).expect(text).to_string(), text);
        }
        for bad in [
            "",
            "100",
            "0/minute",
            "-1/minute",
            "100/fortnight",
            "1000001/second",
            "x/hour",
            "1.5/hour",
        ] {
            assert_eq!(Rate::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn overrides_count_for_their_policy_only() {
        let given = Overrides::parse(["reads-company=500/second", "broken", "writes-company=x"]);
        let rate = Rate {
            requests: 500,
            seconds: 1,
        };
        assert_eq!(given.rate("reads-company"), Some(rate));
        assert_eq!(given.rate("writes-company"), None);
        assert_eq!(Overrides::parse([]).rate("reads-company"), None);
    }
}
