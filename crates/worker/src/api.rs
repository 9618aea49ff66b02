//! A company's view of its jobs.

use kernel::error::NOT_FOUND;
use kernel::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::retry::{self, JOB_NOT_ENDED};

typed_id!(JobId);

permissions! {
    /// See the company's background jobs.
    JobsRead = "jobs.read", read_only;
    /// Retry and cancel them.
    JobsWrite = "jobs.write";
}

const JOB_ENDED: Code = Code::new(409, "job-ended", "The job has ended already");
const JOB_REPLACED: Code = Code::new(409, "job-replaced", "Another job does the same by now");

/// The modules of this crate.
pub fn modules() -> Vec<Module> {
    vec![
        Module::new("jobs")
            .routes(routes!(list))
            .routes(routes!(find))
            .routes(routes!(retry))
            .routes(routes!(cancel))
            .permissions(PERMISSIONS)
            .constraints(&[Constraint {
                name: "jobs_unique_key",
                code: &JOB_REPLACED,
                pointer: None,
            }])
            .problems(&[&JOB_NOT_ENDED, &JOB_ENDED]),
        crate::operator::module(),
    ]
}

/// Where a job stands.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
enum JobState {
    /// To run later.
    Scheduled,
    /// To run as soon as a worker is free.
    Ready,
    Running,
    Done,
    /// Failed for good; can be retried.
    Dead,
    Cancelled,
}

/// A background job.
#[derive(Serialize, ToSchema, sqlx::FromRow)]
struct Job {
    id: JobId,
    #[schema(example = "files.process")]
    name: String,
    queue: String,
    state: JobState,
    /// 0 to 100.
    progress: i16,
    #[schema(required = true)]
    progress_message: Option<String>,
    /// Runs that were begun.
    attempt: i32,
    /// When it runs, or ran, at the earliest.
    run_at: Timestamp,
    created_at: Timestamp,
}

impl Listed for Job {
    const TABLE: &'static str = "jobs";
    const COLUMNS: &'static str =
        "id, name, queue, state, progress, progress_message, attempt, run_at, created_at";
    fn id(&self) -> Uuid {
        self.id.0
    }
    fn key(&self, _: &'static str) -> Key {
        Key::Time(self.created_at)
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct JobFilter {
    #[param(inline)]
    state: Option<JobState>,
    /// Exact name.
    name: Option<String>,
}

/// List jobs, newest first.
///
/// Jobs that are done are not listed; one of them can be found by its id for some days.
#[utoipa::path(get, path = "/jobs", tag = "jobs", operation_id = "list_jobs",
    security(("bearer" = ["jobs.read"])), params(JobFilter, PageParams),
    responses((status = 200, body = Page<Job>)))]
async fn list(mut tx: TenantTx<JobsRead>, list: List<JobFilter>) -> Result<Page<Job>> {
    list.fetch(&mut tx, Sort::descending("created_at"), |query, filter| {
        if let Some(state) = filter.state {
            query.push(" and state = ").push_bind(state);
        }
        if let Some(name) = &filter.name {
            query.push(" and name = ").push_bind(name.clone());
        }
    })
    .await
}

/// Find a job.
#[utoipa::path(get, path = "/jobs/{job_id}", tag = "jobs", operation_id = "find_job",
    security(("bearer" = ["jobs.read"])), params(("job_id" = JobId, Path)), responses((status = 200, body = Job)))]
async fn find(mut tx: TenantTx<JobsRead>, Path(id): Path<JobId>) -> Result<axum::response::Response> {
    let job = sqlx::query_as!(
        Job,
        r#"select id as "id!: JobId", name as "name!", queue as "queue!", state as "state!: JobState",
                  progress as "progress!", progress_message, attempt as "attempt!", run_at as "run_at!: Timestamp",
                  created_at as "created_at!: Timestamp"
             from (select id, name, queue, state, progress, progress_message, attempt, run_at, created_at
                     from jobs where id = $1
                    union all
                   (select job_id, name, queue, 'done', 100::smallint, null, attempt, started_at, enqueued_at
                      from job_runs where job_id = $1 and outcome = 'done' order by finished_at desc limit 1)) as both_kept
            limit 1"#,
        id.0
    )
    .fetch_one(&mut *tx)
    .await?;
    Ok(axum::response::IntoResponse::into_response(kernel::output::json(
        job,
    )))
}

/// Retry a dead or cancelled job.
#[utoipa::path(post, path = "/jobs/{job_id}/retry", tag = "jobs", operation_id = "retry_job",
    security(("bearer" = ["jobs.write"])), params(("job_id" = JobId, Path)), responses((status = 204)))]
async fn retry(mut tx: TenantTx<JobsWrite>, Path(id): Path<JobId>) -> Result<NoContent> {
    let tenant = tx.caller().tenant_id;
    retry::retry(&mut tx, tenant, id.0).await?;
    Ok(NoContent)
}

/// Cancel a job.
///
/// One that waits is cancelled at once; one that runs is told to stop, within seconds.
#[utoipa::path(post, path = "/jobs/{job_id}/cancel", tag = "jobs", operation_id = "cancel_job",
    security(("bearer" = ["jobs.write"])), params(("job_id" = JobId, Path)), responses((status = 204)))]
async fn cancel(mut tx: TenantTx<JobsWrite>, Path(id): Path<JobId>) -> Result<NoContent> {
    let state = sqlx::query_scalar!(
        r#"select state as "state: JobState" from jobs where id = $1 for update"#,
        id.0
    );
    let tenant = tx.caller().tenant_id;
    match state.fetch_optional(&mut *tx).await? {
        Some(JobState::Scheduled | JobState::Ready) => {
            sqlx::query!(
                "update jobs set state = 'cancelled', ended_at = now() where id = $1",
                id.0
            )
            .execute(&mut *tx)
            .await?;
        }
        Some(JobState::Running) => {
            sqlx::query!("update jobs set cancel_requested = true where id = $1", id.0)
                .execute(&mut *tx)
                .await?;
        }
        None if !retry::is_done(&mut tx, tenant, id.0).await? => return Err(Error::new(&NOT_FOUND)),
        _ => return Err(Error::new(&JOB_ENDED)),
    }
    Ok(NoContent)
}
