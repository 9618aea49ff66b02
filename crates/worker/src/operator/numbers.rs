//! What the operator sees, read from the queue and its history.

use kernel::error::Result;
use kernel::types::Timestamp;
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

/// Rows of a table at most.
const ROWS: i64 = 100;

/// The state of the whole queue.
#[derive(Serialize)]
pub(super) struct Numbers {
    at: Timestamp,
    totals: Totals,
    queues: Vec<Queue>,
    /// Those with jobs, the deepest first.
    companies: Vec<Company>,
    /// The longest running first.
    running: Vec<Running>,
    /// The last to die first.
    dead: Vec<Dead>,
    /// Jobs done in each of the last 60 minutes, the oldest first.
    done_per_minute: Vec<i64>,
}

/// Of all queues.
#[derive(Default, Serialize)]
struct Totals {
    scheduled: i64,
    ready: i64,
    running: i64,
    dead: i64,
    oldest_seconds: Option<i64>,
}

#[derive(Serialize)]
struct Queue {
    queue: String,
    scheduled: i64,
    ready: i64,
    running: i64,
    dead: i64,
    /// Seconds that the job has waited which has been due for longest.
    oldest_seconds: Option<i64>,
    done_last_hour: i64,
    failed_last_hour: i64,
    /// Runs that ended because what they need is not there yet.
    postponed_last_hour: i64,
}

#[derive(Serialize)]
struct Company {
    tenant_id: Uuid,
    /// None for the installation itself.
    company: Option<String>,
    scheduled: i64,
    ready: i64,
    running: i64,
    dead: i64,
    oldest_seconds: Option<i64>,
}

#[derive(Serialize)]
struct Running {
    tenant_id: Uuid,
    id: Uuid,
    company: Option<String>,
    queue: String,
    name: String,
    attempt: i32,
    progress: i16,
    progress_message: Option<String>,
    seconds: i64,
    worker: Option<Uuid>,
}

#[derive(Serialize)]
struct Dead {
    tenant_id: Uuid,
    id: Uuid,
    company: Option<String>,
    queue: String,
    name: String,
    attempt: i32,
    error: Option<String>,
    request_id: Option<String>,
    ended_at: Option<Timestamp>,
}

impl Numbers {
    /// Reads them.
    ///
    /// # Errors
    /// Those of the database.
    pub(super) async fn read(conn: &mut PgConnection) -> Result<Numbers> {
        let queues = queues(conn).await?;
        let totals = queues.iter().fold(Totals::default(), |sum, queue| Totals {
            scheduled: sum.scheduled + queue.scheduled,
            ready: sum.ready + queue.ready,
            running: sum.running + queue.running,
            dead: sum.dead + queue.dead,
            oldest_seconds: sum.oldest_seconds.max(queue.oldest_seconds),
        });
        Ok(Numbers {
            at: sqlx::query_scalar!(r#"select now() as "now!: Timestamp""#)
                .fetch_one(&mut *conn)
                .await?,
            totals,
            queues,
            companies: companies(conn).await?,
            running: running(conn).await?,
            dead: dead(conn).await?,
            done_per_minute: done_per_minute(conn).await?,
        })
    }
}

async fn queues(conn: &mut PgConnection) -> sqlx::Result<Vec<Queue>> {
    sqlx::query_as!(
        Queue,
        r#"select queue as "queue!", coalesce(scheduled, 0) as "scheduled!", coalesce(ready, 0) as "ready!",
                  coalesce(running, 0) as "running!", coalesce(dead, 0) as "dead!", oldest_seconds,
                  coalesce(done, 0) as "done_last_hour!", coalesce(failed, 0) as "failed_last_hour!",
                  coalesce(postponed, 0) as "postponed_last_hour!"
             from (select queue, count(*) filter (where state = 'scheduled') as scheduled,
                          count(*) filter (where state = 'ready') as ready, count(*) filter (where state = 'running') as running,
                          count(*) filter (where state = 'dead') as dead,
                          extract(epoch from now() - min(run_at) filter (where state in ('ready', 'scheduled') and run_at <= now()))::bigint
                            as oldest_seconds
                     from jobs group by queue) as now
             full join (select queue, count(*) filter (where outcome = 'done') as done,
                               count(*) filter (where outcome in ('retry', 'dead', 'lost')) as failed,
                               count(*) filter (where outcome = 'released' and error is not null) as postponed
                          from job_runs where finished_at > now() - interval '1 hour' group by queue) as past using (queue)
            order by queue"#
    )
    .fetch_all(conn)
    .await
}

async fn companies(conn: &mut PgConnection) -> sqlx::Result<Vec<Company>> {
    sqlx::query_as!(
        Company,
        r#"select tenant_id, companies.name as "company?", scheduled as "scheduled!", ready as "ready!",
                  running as "running!", dead as "dead!", oldest_seconds
             from (select tenant_id, count(*) filter (where state = 'scheduled') as scheduled,
                          count(*) filter (where state = 'ready') as ready, count(*) filter (where state = 'running') as running,
                          count(*) filter (where state = 'dead') as dead,
                          count(*) filter (where state in ('ready', 'running')) as depth,
                          extract(epoch from now() - min(run_at) filter (where state in ('ready', 'scheduled') and run_at <= now()))::bigint
                            as oldest_seconds
                     from jobs where state <> 'cancelled' group by tenant_id order by depth desc, tenant_id limit $1) as now
             left join companies using (tenant_id) order by depth desc, tenant_id"#,
        ROWS
    )
    .fetch_all(conn)
    .await
}

async fn running(conn: &mut PgConnection) -> sqlx::Result<Vec<Running>> {
    sqlx::query_as!(
        Running,
        r#"select tenant_id, id, companies.name as "company?", queue, jobs.name, attempt, progress, progress_message,
                  extract(epoch from now() - started_at)::bigint as "seconds!", worker
             from jobs left join companies using (tenant_id)
            where jobs.state = 'running' order by started_at limit $1"#,
        ROWS
    )
    .fetch_all(conn)
    .await
}

async fn dead(conn: &mut PgConnection) -> sqlx::Result<Vec<Dead>> {
    sqlx::query_as!(
        Dead,
        r#"select tenant_id, id, companies.name as "company?", queue, jobs.name, attempt, last_error as error, request_id,
                  ended_at as "ended_at: Timestamp"
             from jobs left join companies using (tenant_id)
            where jobs.state = 'dead' order by ended_at desc limit $1"#,
        ROWS
    )
    .fetch_all(conn)
    .await
}

async fn done_per_minute(conn: &mut PgConnection) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        r#"select coalesce(done, 0) as "done!" from generate_series(59, 0, -1) as age
             left join (select floor(extract(epoch from now() - finished_at) / 60)::integer as age, count(*) as done from job_runs
                         where outcome = 'done' and finished_at > now() - interval '1 hour' group by 1) as past using (age)
            order by age desc"#
    )
    .fetch_all(conn)
    .await
}
