//! Claiming: fair between companies, exact at their cap.

use std::time::Duration;

use kernel::app::App;
use kernel::error::Result;
use uuid::Uuid;

use crate::Claimed;

/// Who claims, what and how much.
pub(crate) struct Claim<'a> {
    pub worker: Uuid,
    pub queue: &'a str,
    /// Jobs at most.
    pub limit: i64,
    /// Jobs that one company may have running in this queue, over all workers. The installation's own, among them
    /// the mails of all users, have no such cap.
    pub per_tenant: i64,
    pub lease: Duration,
    /// The companies after this one have their turn first.
    pub after: Uuid,
}

const UNCAPPED: i64 = i32::MAX as i64;
/// Companies that a claim looks at beyond those it may serve; among them it prefers those with the fewest running.
const CHOICE: i64 = 64;

/// Claims due jobs, from the companies with the fewest running of those whose turn it is. The companies are found by
/// skipping through the index, so one with a million waiting jobs costs as much as one with a single job, and no more
/// of them are looked at than can be served: a thousand that wait cost as much as a hundred.
///
/// # Errors
/// Those of the database.
#[expect(clippy::disallowed_methods, reason = "the queue is the installation's")]
pub(crate) async fn claim(app: &App, claim: &Claim<'_>) -> Result<Vec<Claimed>> {
    let mut tx = app.db.system().await?;
    // Claims of one queue take turns, which makes the cap exact.
    sqlx::query!(
        "select pg_advisory_xact_lock(hashtextextended('jobs ' || $1, 0))",
        claim.queue
    )
    .execute(&mut *tx)
    .await?;
    let due = sqlx::query!(
        "update jobs set state = 'ready' from (
           select tenant_id, id from jobs where queue = $1 and state = 'scheduled' and run_at <= now()
            order by run_at limit 500 for update skip locked) as due
          where jobs.tenant_id = due.tenant_id and jobs.id = due.id",
        claim.queue
    );
    due.execute(&mut *tx).await?;
    // busy: companies with jobs running. due: companies with work, once around, those at their cap beyond what is
    // looked at. turns: as many of them as there are slots. waiting: the next jobs of each, `place` being how many
    // of its jobs would run then. picked: the lowest places. now() is the time before the wait for the lock: a lease
    // begins after it.
    let claimed = sqlx::query_as!(
        Claimed,
        r#"with recursive busy as (
             select tenant_id, count(*) as running, case tenant_id when $8 then $9::bigint else $3::bigint end as cap
               from jobs where queue = $1 and state = 'running' group by tenant_id
           ),
           due (tenant_id, turn, around) as (
             select $6::uuid, 0, false
             union all
             select coalesce(above.tenant_id, lowest.tenant_id), due.turn + 1, due.around or above.tenant_id is null
               from due
               left join lateral (select j.tenant_id from jobs as j
                                   where j.queue = $1 and j.state = 'ready' and j.tenant_id > due.tenant_id
                                   order by j.tenant_id limit 1) as above on true
               left join lateral (select j.tenant_id from jobs as j
                                   where j.queue = $1 and j.state = 'ready' and above.tenant_id is null and not due.around
                                   order by j.tenant_id limit 1) as lowest on true
              where coalesce(above.tenant_id, lowest.tenant_id) is not null
                and (not due.around and above.tenant_id is not null or coalesce(above.tenant_id, lowest.tenant_id) <= $6)
                and due.turn < $2::bigint + $7::bigint + (select count(*) from busy where running >= cap)
           ),
           turns as (
             select due.tenant_id, due.turn, coalesce(busy.running, 0) as running,
                    coalesce(busy.cap, case due.tenant_id when $8 then $9 else $3 end) as cap
               from due left join busy using (tenant_id)
              where due.turn > 0 and coalesce(busy.running < busy.cap, true)
              order by running, turn limit $2
           ),
           waiting as (
             select turns.tenant_id, turns.turn, next.id,
                    turns.running + row_number() over (partition by turns.tenant_id
                                                       order by next.priority, next.run_at, next.id) as place
               from turns cross join lateral (
                 select j.id, j.priority, j.run_at from jobs as j
                  where j.queue = $1 and j.tenant_id = turns.tenant_id and j.state = 'ready'
                  order by j.priority, j.run_at, j.id limit least($2, turns.cap - turns.running) for update skip locked
               ) as next
           ),
           picked as (select tenant_id, id from waiting order by place, turn limit $2)
           update jobs set state = 'running', attempt = attempt + 1, worker = $4, progress = 0, progress_message = null,
                  started_at = statement_timestamp(), lease_until = statement_timestamp() + make_interval(secs => $5)
             from picked where jobs.tenant_id = picked.tenant_id and jobs.id = picked.id
        returning jobs.tenant_id, jobs.id, jobs.name, jobs.payload, jobs.attempt, jobs.failures, jobs.created_by,
                  jobs.request_id, jobs.traceparent, jobs.tracestate"#,
        claim.queue,
        claim.limit,
        claim.per_tenant,
        claim.worker,
        claim.lease.as_secs_f64(),
        claim.after,
        CHOICE,
        Uuid::nil(),
        UNCAPPED
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(claimed)
}

/// Whose turn was the last, once around from the companies after this one.
pub(crate) fn last_turn(after: Uuid, claimed: &[Claimed]) -> Uuid {
    let turn = |job: &&Claimed| (job.tenant_id <= after, job.tenant_id);
    claimed.iter().max_by_key(turn).map_or(after, |job| job.tenant_id)
}
