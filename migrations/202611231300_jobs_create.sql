-- The job queue: enqueued in the transaction of the business write, claimed fairly between companies.

-- Rows of the installation itself (periodic clean-up) carry the nil UUID, which no request can name:
-- so there is no foreign key to companies.
create table jobs (
  tenant_id uuid not null,
  id uuid not null,
  queue text not null default 'default',
  name text not null,
  payload jsonb not null,
  -- Smaller goes first.
  priority smallint not null default 100,
  state text not null default 'ready' constraint jobs_state_known
    check (state in ('scheduled', 'ready', 'running', 'dead', 'cancelled')),
  run_at timestamptz not null default now(),
  -- Raised at every claim: the fencing token.
  attempt integer not null default 0,
  failures integer not null default 0,
  -- Leases that ran out: the worker died or stalled.
  lost integer not null default 0,
  lease_until timestamptz,
  -- Begin and end of the last run.
  started_at timestamptz,
  ended_at timestamptz,
  -- Who has it now.
  worker uuid,
  -- One live job per name and key.
  unique_key text,
  progress smallint not null default 0 constraint jobs_progress_range check (progress between 0 and 100),
  progress_message text,
  cancel_requested boolean not null default false,
  last_error text,
  -- Who and what caused it.
  created_by uuid,
  request_id text,
  traceparent text,
  created_at timestamptz not null default now(),
  primary key (tenant_id, id)
);
-- The claim walks companies with due work by skipping through this index.
create index jobs_ready on jobs (queue, tenant_id, priority, run_at, id) where state = 'ready';
-- What is due later is kept apart, so that the claim never reads it.
create index jobs_scheduled on jobs (queue, run_at) where state = 'scheduled';
create index jobs_running on jobs (queue, tenant_id) where state = 'running';
create index jobs_leases on jobs (lease_until) where state = 'running';
create index jobs_ended on jobs (ended_at) where state in ('dead', 'cancelled');
create index jobs_by_created_at on jobs (tenant_id, created_at, id);
create unique index jobs_unique_key on jobs (tenant_id, name, unique_key)
  where unique_key is not null and state in ('scheduled', 'ready', 'running');
select tenant_table('jobs', system_too => true, installation_too => true);
-- A company enqueues, asks for retry or cancellation, and a job deletes itself when its effects
-- commit. The rest is the worker's.
revoke update on jobs from ally_app;
grant update (state, run_at, failures, lost, cancel_requested, ended_at) on jobs to ally_app;

-- What became of every attempt, kept for some days; dropped by whole days.
create table job_runs (
  tenant_id uuid not null,
  job_id uuid not null,
  attempt integer not null,
  queue text not null,
  name text not null,
  outcome text not null constraint job_runs_outcome_known
    check (outcome in ('done', 'retry', 'dead', 'cancelled', 'released', 'lost')),
  error text,
  enqueued_at timestamptz not null,
  started_at timestamptz not null,
  finished_at timestamptz not null,
  primary key (tenant_id, finished_at, job_id, attempt)
) partition by range (finished_at);
-- Rows come in the order of time.
create index job_runs_by_time on job_runs using brin (finished_at);
create index job_runs_by_job on job_runs (tenant_id, job_id, finished_at);
select tenant_table('job_runs', system_too => true, installation_too => true);
revoke update, delete on job_runs from ally_app;

-- Makes the partitions of today (UTC) and the week to come, and drops those older than the days kept.
-- Definer: partitions belong to the owner; the caller chooses nothing but a number of days.
create function job_runs_rotate(days_kept integer) returns void
  language plpgsql security definer set search_path = pg_catalog, ally, pg_temp
  as $$
declare
  today date := (now() at time zone 'utc')::date;
  day date;
  partition text;
begin
  -- Every worker calls this: they take turns.
  perform pg_advisory_xact_lock(hashtextextended('job_runs_rotate', 0));
  for day in select today + n from generate_series(0, 7) as n loop
    partition := 'job_runs_' || to_char(day, 'YYYYMMDD');
    continue when to_regclass('ally.' || partition) is not null;
    execute format('create table ally.%I partition of ally.job_runs for values from (%L) to (%L)',
      partition, day::timestamp at time zone 'utc', (day + 1)::timestamp at time zone 'utc');
    execute format('alter table ally.%I enable row level security, force row level security', partition);
  end loop;
  for partition in
    select c.relname from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
     where i.inhparent = 'ally.job_runs'::regclass
       and c.relname < 'job_runs_' || to_char(today - greatest(days_kept, 1), 'YYYYMMDD')
  loop
    execute format('drop table ally.%I', partition);
  end loop;
end $$;
revoke execute on function job_runs_rotate from public;
grant execute on function job_runs_rotate to ally_system;
select job_runs_rotate(1);

-- Periodic jobs: one row per schedule and slot, whoever plans it; the job itself is in the queue.
create table schedule_slots (
  name text not null,
  slot timestamptz not null,
  primary key (name, slot)
);
grant select, insert, delete on schedule_slots to ally_system;
