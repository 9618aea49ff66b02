//! The layers around every route that the modules declare. What they do not know, such as health, passes.

use std::sync::Arc;

use axum::body::HttpBody;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use kernel::error::{Error, OVERLOADED, RATE_LIMITED};
use kernel::limit::Scope;
use metrics::counter;

use crate::charge::Charge;
use crate::{Limits, Refusal, headers};

/// What the address of a request was charged with in this process.
#[derive(Clone)]
struct ByAddress(Arc<[Charge]>);

/// Before authentication: what addresses are charged with, in this process, so that nobody costs a look-up
/// whom nobody knows.
pub async fn by_address(State(limits): State<Limits>, mut request: Request, next: Next) -> Response {
    let Some(places) = limits.places(&request).filter(|_| limits.0.rated) else {
        return next.run(request).await;
    };
    let mut charges = limits.charges(places, request.extensions(), |scope| scope == Scope::Address);
    if !limits.take_here(&mut charges) {
        return refused(&limits, &charges);
    }
    let charges = ByAddress(charges.into());
    request.extensions_mut().insert(charges.clone());
    let mut response = next.run(request).await;
    if !response.headers().contains_key(headers::RATE_LIMIT) {
        headers::tell(&limits, &charges.0, response.headers_mut());
    }
    response
}

/// After authentication: what company, user and API key are charged with and, where processes count
/// together, the address. If one of them refuses, the address has back what it was charged before: those who
/// share it are not concerned.
pub async fn by_caller(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    let Some(places) = limits.places(&request).filter(|_| limits.0.rated) else {
        return next.run(request).await;
    };
    let together = limits.0.redis.is_some();
    let wanted = |scope| together || scope != Scope::Address;
    let mut charges = limits.charges(places, request.extensions(), wanted);
    if charges.is_empty() {
        return next.run(request).await;
    }
    let admitted = limits.take(&mut charges).await;
    if let Some(ByAddress(before)) = request.extensions().get() {
        let mut before = before.to_vec();
        if !admitted {
            limits.0.local.give_back(&mut before);
        }
        if !charges
            .iter()
            .any(|charge| limits.scope(charge) == Scope::Address)
        {
            charges.append(&mut before);
        }
    }
    if !admitted {
        return refused(&limits, &charges);
    }
    let mut response = next.run(request).await;
    headers::tell(&limits, &charges, response.headers_mut());
    response
}

/// Before the body is read: room for it, of which its company has half of what others leave.
pub async fn hold_body(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    let (_, bodies, party) = limits.party(request.extensions());
    let declared = request.body().size_hint().exact();
    let Some(_room) = bodies.room(party, declared) else {
        counter!("ally360_limits_hit_total", "limit" => "bodies").increment(1);
        return Error::new(&OVERLOADED).into_response();
    };
    next.run(request).await
}

/// Around the transaction, when the body has arrived: a slot, in its company's turn.
pub async fn admit(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    if limits.places(&request).is_none() {
        return next.run(request).await;
    }
    let (gate, _, party) = limits.party(request.extensions());
    let _slot = match gate.enter(party).await {
        Ok(slot) => slot,
        Err(refusal) => {
            let limit = match refusal {
                Refusal::Greedy => "requests_of_one",
                Refusal::Full => "requests",
            };
            counter!("ally360_limits_hit_total", "limit" => limit).increment(1);
            return Error::new(&OVERLOADED).into_response();
        }
    };
    next.run(request).await
}

/// 429, naming the policy that refuses.
fn refused(limits: &Limits, charges: &[Charge]) -> Response {
    let mut error = Error::new(&RATE_LIMITED);
    // The longest to wait for, if several refuse.
    let wait = |charge: &&Charge| charge.quota.wait(charge.ahead);
    if let Some(charge) = charges.iter().max_by_key(wait) {
        let policy = limits.0.policies.name(charge.key.policy);
        counter!("ally360_rate_limited_total", "policy" => policy.to_owned()).increment(1);
        let seconds = u32::try_from(wait(&charge)).unwrap_or(u32::MAX);
        error = error
            .detail(format!("{policy} allows {}", charge.rate))
            .retry_after(seconds.max(1));
    }
    let mut response = error.into_response();
    headers::tell(limits, charges, response.headers_mut());
    response
}
