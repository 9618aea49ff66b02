//! What is counted in Redis, for all processes together: one call for all keys of a request.

use std::sync::LazyLock;
use std::time::Duration;

use redis_link::redis::Script;
use redis_link::{Away, RedisLink};

use crate::charge::Charge;
use crate::policies::Policies;

/// Longer than this nobody waits for Redis; the request is then counted in this process.
const PATIENCE: Duration = Duration::from_millis(200);

static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("shared.lua")));

/// The same as [`Local::take`](crate::local::Local::take).
///
/// # Errors
/// [`Away`]: nothing is known, and may have been charged.
pub(crate) async fn take(
    link: &RedisLink,
    policies: &Policies,
    charges: &mut [Charge],
) -> Result<bool, Away> {
    let mut call = TAKE.prepare_invoke();
    for charge in &*charges {
        let (policy, who) = (policies.name(charge.key.policy), charge.key.who);
        call.key(format!("ally360:rate:{policy}:{who:032x}"))
            .arg(charge.quota.every)
            .arg(charge.quota.within);
    }
    let answer: Vec<i64> = link
        .ask(PATIENCE, async |mut connection| {
            call.invoke_async(&mut connection).await
        })
        .await?;
    let (admitted, ahead) = answer.split_first().ok_or(Away)?;
    for (charge, ahead) in charges.iter_mut().zip(ahead) {
        charge.ahead = *ahead;
    }
    Ok(*admitted == 1)
}
