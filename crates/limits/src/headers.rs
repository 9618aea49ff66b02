//! `RateLimit-Policy` and `RateLimit`, as draft-ietf-httpapi-ratelimit-headers has them: every policy that
//! the request was charged with, and how the one stands that is nearest to its end.

use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::Limits;
use crate::charge::Charge;
use crate::gcra::seconds;

pub(crate) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Adds them; nothing where nothing was charged.
pub(crate) fn tell(limits: &Limits, charges: &[Charge], headers: &mut HeaderMap) {
    // By how much of the window is used; compared without fractions.
    let nearest = charges.iter().max_by(|one, other| {
        let used = |of: &Charge, against: &Charge| i128::from(of.ahead) * i128::from(against.quota.within);
        used(one, other).cmp(&used(other, one))
    });
    let Some(nearest) = nearest else { return };
    let mut policies = String::with_capacity(96);
    for charge in charges {
        let separator = if policies.is_empty() { "" } else { ", " };
        let (name, rate) = (limits.0.policies.name(charge.key.policy), charge.rate);
        // Writing to a string does not fail.
        let _ = write!(
            policies,
            "{separator}\"{name}\";q={};w={}",
            rate.requests, rate.seconds
        );
    }
    let name = limits.0.policies.name(nearest.key.policy);
    let (left, whole_in) = (nearest.quota.remaining(nearest.ahead), seconds(nearest.ahead));
    let state = format!("\"{name}\";r={left};t={whole_in}");
    headers.extend(
        HeaderValue::try_from(policies)
            .ok()
            .map(|value| (RATE_LIMIT_POLICY, value)),
    );
    headers.extend(HeaderValue::try_from(state).ok().map(|value| (RATE_LIMIT, value)));
}
