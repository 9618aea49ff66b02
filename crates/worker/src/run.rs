//! The worker's loop: wake, claim, run, record.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kernel::actor::{Actor, Origin};
use kernel::app::App;
use kernel::caller::Cause;
use kernel::db::{heard, in_time};
use kernel::error::{Error, UNAVAILABLE};
use kernel::job::{JobCx, JobKind};
use kernel::trace::{self, TraceContext};
use metrics::{counter, histogram};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span, error, field, info, info_span, warn};
use uuid::Uuid;

use crate::claim::{Claim, claim, last_turn};
use crate::execute::{GRACE, execute};
use crate::finish::{Ending, finish, outcome, rotate};
use crate::lease::{Running, extend, reap};
use crate::{Claimed, Options};

/// Longest pause between two looks at the queue, when nobody rings.
const POLL: Duration = Duration::from_secs(1);
/// How often the history is rotated.
const ROTATE: Duration = Duration::from_secs(3600);
/// Longest time for that: its statements have limits, their number has none.
const ROTATION: Duration = Duration::from_mins(5);
/// Attempts of a job that this program does not know; a newer one may, which is being rolled out.
const UNKNOWN_ATTEMPTS: i32 = 8;

/// Runs jobs of the kinds it knows.
#[derive(Clone)]
pub struct Worker(Arc<Inner>);

struct Inner {
    app: App,
    id: Uuid,
    kinds: HashMap<&'static str, JobKind>,
    queues: Vec<Queue>,
    options: Options,
    /// Those that any queue may take.
    slots: Arc<Semaphore>,
    running: Running,
    tasks: TaskTracker,
    wake: Notify,
}

/// A queue with a slot of its own, whatever the jobs of others wait for.
struct Queue {
    name: String,
    own: Arc<Semaphore>,
}

impl Worker {
    /// A worker of these kinds of jobs.
    pub fn new(app: &App, kinds: Vec<JobKind>, options: Options) -> Worker {
        let mut queues = options.queues.clone();
        if queues.is_empty() {
            queues = kinds.iter().map(|kind| kind.queue.to_owned()).collect();
        }
        queues.sort();
        queues.dedup();
        // With fewer slots than queues all are common.
        let own = usize::from(options.concurrency > queues.len());
        let common = options.concurrency - own * queues.len();
        let queues = queues.into_iter().map(|name| Queue {
            name,
            own: Arc::new(Semaphore::new(own)),
        });
        Worker(Arc::new(Inner {
            app: app.clone(),
            id: kernel::ids::new_id(),
            kinds: kinds.into_iter().map(|kind| (kind.name, kind)).collect(),
            queues: queues.collect(),
            slots: Arc::new(Semaphore::new(common)),
            options,
            running: Running::default(),
            tasks: TaskTracker::new(),
            wake: Notify::new(),
        }))
    }

    /// Works until the process stops; then drains: no new claims, running jobs may finish, what is
    /// left is told to stop and given back.
    pub async fn run(self) {
        let queues: Vec<&str> = self.0.queues.iter().map(|queue| queue.name.as_str()).collect();
        info!(worker.id = %self.0.id, ?queues, "worker started");
        let work = async {
            // Without today's partition no run can be recorded.
            while !self.stopping() && !self.rotated().await {
                sleep(POLL).await;
            }
            self.work().await;
            // While the process takes leave, what runs goes on.
            self.0.app.stopping.cancelled().await;
            self.drain().await;
        };
        // Leases go on until the last job has ended.
        tokio::select! {
            () = work => {}
            () = self.beat() => {}
            () = self.rotate() => {}
            () = self.listen() => {}
        }
        info!(worker.id = %self.0.id, "worker stopped");
    }

    /// Whether the process stops, or is about to: what is due now waits for another one, or for its next start.
    fn stopping(&self) -> bool {
        self.0.app.leaving.is_cancelled() || self.0.app.stopping.is_cancelled()
    }

    /// Claims and starts jobs until the process stops. A round is never cut: what it claimed is run.
    async fn work(&self) {
        let inner = &self.0;
        let (mut turn, mut turns) = (0, HashMap::new());
        while !self.stopping() {
            turn += 1;
            match self.round(turn, &mut turns).await {
                Ok(0) => {}
                Ok(_) => continue,
                Err(error) => warn!(
                    cause = error.with_cause(),
                    "the queue cannot be reached; trying again"
                ),
            }
            let pause = POLL.mul_f64(rand::random_range(0.8..1.2));
            tokio::select! {
                _ = timeout(pause, inner.wake.notified()) => {}
                () = inner.app.leaving.cancelled() => {}
                () = inner.app.stopping.cancelled() => {}
            }
        }
    }

    /// Lets running jobs finish, and at last gives them back, in time for both.
    async fn drain(&self) {
        let inner = &self.0;
        let notice = GRACE * 2;
        inner.tasks.close();
        if timeout(inner.options.drain.saturating_sub(notice), inner.tasks.wait())
            .await
            .is_err()
        {
            inner.running.stop_all();
            if timeout(notice, inner.tasks.wait()).await.is_err() {
                warn!("jobs were still running at the end of the drain time; their leases will end");
            }
        }
    }

    /// Claims and starts what there are slots for; returns how many. Queues take turns at being first, in each of
    /// them companies.
    async fn round<'a>(
        &'a self,
        turn: usize,
        turns: &mut HashMap<&'a str, Uuid>,
    ) -> kernel::error::Result<usize> {
        let inner = &self.0;
        let mut started = 0;
        for index in 0..inner.queues.len() {
            let queue = &inner.queues[(turn + index) % inner.queues.len()];
            let free = queue.own.available_permits() + inner.slots.available_permits();
            if free == 0 {
                // A finished job wakes the loop.
                continue;
            }
            let request = Claim {
                worker: inner.id,
                queue: &queue.name,
                limit: i64::try_from(free).unwrap_or(i64::MAX),
                per_tenant: inner.options.per_tenant,
                lease: inner.options.lease,
                after: turns.get(queue.name.as_str()).copied().unwrap_or_default(),
            };
            let claimed = in_time(claim(&inner.app, &request)).await?;
            turns.insert(&queue.name, last_turn(request.after, &claimed));
            for job in claimed {
                started += 1;
                self.start(queue, job).await;
            }
        }
        Ok(started)
    }

    async fn start(&self, queue: &Queue, job: Claimed) {
        let slot = match queue.own.clone().try_acquire_owned() {
            Ok(own) => own,
            Err(_) => match self.0.slots.clone().acquire_owned().await {
                Ok(common) => common,
                Err(_) => return,
            },
        };
        let span = info_span!(
            "job", job.id = %job.id, job.name = job.name, job.attempt = job.attempt, tenant.id = %job.tenant_id,
            request.id = job.request_id, trace_id = field::Empty, span_id = field::Empty
        );
        let caller = job.traceparent.as_deref();
        let caller = caller.and_then(|parent| TraceContext::parse(parent, job.tracestate.as_deref()));
        let trace = trace::follow(&span, caller);
        let worker = self.clone();
        let work = async move {
            worker.run_one(job, trace).await;
            drop(slot);
            worker.0.wake.notify_one();
        };
        self.0.tasks.spawn(work.instrument(span));
    }

    async fn run_one(&self, mut job: Claimed, trace: Option<TraceContext>) {
        let inner = &self.0;
        let Some(kind) = inner.kinds.get(job.name.as_str()) else {
            let ending = Ending::Failed(format!("this program knows no job {}", job.name));
            measure(
                "unknown",
                outcome(&ending, &job, UNKNOWN_ATTEMPTS),
                Duration::ZERO,
            );
            return self.record(&job, UNKNOWN_ATTEMPTS, &ending).await;
        };
        let key = (job.tenant_id, job.id, job.attempt);
        let stop = inner.running.add(key);
        let cx = JobCx {
            app: inner.app.clone(),
            tenant_id: job.tenant_id,
            job_id: job.id,
            attempt: job.attempt,
            failures: job.failures,
            created_by: job.created_by,
            cause: Cause {
                address: None,
                request_id: job.request_id.take(),
                trace,
            },
            cancelled: stop.token.clone(),
            committed: Arc::default(),
            uncut: TaskTracker::new(),
        };
        let origin = Origin {
            actor: Actor::Job {
                name: job.name.clone(),
                user: cx.created_by,
            },
            address: None,
            request_id: cx.cause.request_id.clone(),
            trace: cx.cause.trace.clone(),
        };
        let started = Instant::now();
        let ending = origin.during(execute(kind, job.payload.take(), cx, &stop)).await;
        measure(
            kind.name,
            outcome(&ending, &job, kind.max_attempts),
            started.elapsed(),
        );
        inner.running.remove(&key);
        self.record(&job, kind.max_attempts, &ending).await;
    }

    /// Records the ending, however long the database is away: until the lease is certainly lost.
    async fn record(&self, job: &Claimed, max_attempts: i32, ending: &Ending) {
        let deadline = Instant::now() + self.0.options.lease;
        while let Err(error) = in_time(finish(&self.0.app, job, max_attempts, ending)).await {
            if Instant::now() > deadline {
                error!(
                    cause = error.with_cause(),
                    "the ending could not be recorded; the job runs again when its lease ends"
                );
                return;
            }
            warn!(
                cause = error.with_cause(),
                "the ending could not be recorded; trying again"
            );
            sleep(POLL).await;
        }
    }

    /// Rotates the history every hour, which may take its time; partitions are made a week before they are needed.
    async fn rotate(&self) {
        loop {
            sleep(ROTATE).await;
            self.rotated().await;
        }
    }

    /// Extends leases and takes back expired ones; for ever.
    async fn beat(&self) {
        let inner = &self.0;
        loop {
            sleep(inner.options.lease / 3).await;
            if let Err(error) = in_time(extend(&inner.app, &inner.running, inner.options.lease)).await {
                warn!(
                    cause = error.with_cause(),
                    "leases could not be extended; trying again"
                );
            }
            match in_time(reap(&inner.app)).await {
                Ok(0) => {}
                Ok(reaped) => {
                    counter!("ally360_jobs_lost_total").increment(reaped);
                    warn!(reaped, "jobs of dead or stalled workers were taken back");
                    inner.wake.notify_one();
                }
                Err(error) => warn!(
                    cause = error.with_cause(),
                    "expired leases could not be taken back; trying again"
                ),
            }
        }
    }

    async fn rotated(&self) -> bool {
        let rotation = rotate(&self.0.app, self.0.options.days_kept);
        let rotated = timeout(ROTATION, rotation)
            .await
            .unwrap_or_else(|_| Err(Error::new(&UNAVAILABLE)));
        rotated
            .inspect_err(|error| {
                warn!(
                    cause = error.with_cause(),
                    "the history could not be rotated; trying again"
                );
            })
            .is_ok()
    }

    /// Wakes the loop when a job was enqueued anywhere; without it the poll finds it within a second.
    async fn listen(&self) {
        loop {
            if let Ok(mut listener) = self.0.app.db.listen("ally_jobs").await {
                while let Ok(Some(_)) = heard(&mut listener).await {
                    self.0.wake.notify_one();
                }
            }
            sleep(POLL).await;
        }
    }
}

fn measure(job: &'static str, outcome: &'static str, took: Duration) {
    trace::note(&Span::current(), "job.outcome", outcome);
    histogram!("ally360_job_duration_seconds", "job" => job, "outcome" => outcome).record(took);
}
