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
    /// Jobs that one company may have running in this queue, over all workers.
    pub per_tenant: i64,
    pub lease: Duration,
}

/// Claims due jobs, from the companies with the fewest running. The companies are found by skipping
/// through the index, so one with a million waiting jobs costs as much as one with a single job.
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
    // due: companies with work. turns: as many of them as there are slots. waiting: the next jobs of
    // each, `place` being how many of its jobs would run then. picked: the lowest places. now() is the
    // time before the wait for the lock: a lease begins after it.
    let claimed = sqlx::query_as!(
        Claimed,
        r#"with recursive due as (
             (select tenant_id from jobs where queue = $1 and state = 'ready' order by tenant_id limit 1)
             union all
             select (select j.tenant_id from jobs as j
                      where j.queue = $1 and j.state = 'ready' and j.tenant_id > due.tenant_id
                      order by j.tenant_id limit 1)
               from due where due.tenant_id is not null
           ),
           busy as (
             select tenant_id, count(*) as running from jobs where queue = $1 and state = 'running' group by tenant_id
           ),
           turns as (
             select due.tenant_id, coalesce(busy.running, 0) as running from due left join busy using (tenant_id)
              where due.tenant_id is not null and coalesce(busy.running, 0) < $3
              order by running, random() limit $2
           ),
           waiting as (
             select turns.tenant_id, next.id,
                    turns.running + row_number() over (partition by turns.tenant_id
                                                       order by next.priority, next.run_at, next.id) as place
               from turns cross join lateral (
                 select j.id, j.priority, j.run_at from jobs as j
                  where j.queue = $1 and j.tenant_id = turns.tenant_id and j.state = 'ready'
                  order by j.priority, j.run_at, j.id limit least($2, $3 - turns.running) for update skip locked
               ) as next
           ),
           picked as (select tenant_id, id from waiting order by place, random() limit $2)
           update jobs set state = 'running', attempt = attempt + 1, worker = $4, progress = 0, progress_message = null,
                  started_at = statement_timestamp(), lease_until = statement_timestamp() + make_interval(secs => $5)
             from picked where jobs.tenant_id = picked.tenant_id and jobs.id = picked.id
        returning jobs.tenant_id, jobs.id, jobs.name, jobs.payload, jobs.attempt, jobs.failures, jobs.created_by,
                  jobs.request_id, jobs.traceparent, jobs.tracestate"#,
        claim.queue,
        claim.limit,
        claim.per_tenant,
        claim.worker,
        claim.lease.as_secs_f64()
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(claimed)
}
