-- A job that is under way has begun, has a worker and a lease: without these nobody could take it back.
alter table jobs no force row level security;
update jobs set worker = coalesce(worker, gen_random_uuid()), started_at = coalesce(started_at, created_at),
       lease_until = coalesce(lease_until, now())
 where state = 'running' and (worker is null or started_at is null or lease_until is null);
alter table jobs force row level security;
alter table jobs add constraint jobs_running_leased
  check (state <> 'running' or (worker is not null and started_at is not null and lease_until is not null));
