-- Partitions are made and dropped beside whoever reads the table for long, such as a backup. A partition that is
-- created as one, or dropped, takes the whole table for itself; behind that lock, while it waits, all others wait.

-- Makes a partition of a table for a period, unless it is there. It is made apart and attached, which goes on beside
-- reading and writing.
create function add_partition(parent text, partition text, since date, until date) returns void
  language plpgsql set search_path = pg_catalog, ally, pg_temp
  as $$
begin
  if to_regclass('ally.' || partition) is not null then
    return;
  end if;
  execute format('create table ally.%I (like ally.%I including all)', partition, parent);
  if (select relrowsecurity from pg_class where oid = ('ally.' || parent)::regclass) then
    execute format('alter table ally.%I enable row level security, force row level security', partition);
  end if;
  execute format('alter table ally.%I attach partition ally.%I for values from (%L) to (%L)', parent, partition,
    since::timestamp at time zone 'utc', until::timestamp at time zone 'utc');
end $$;
revoke execute on function add_partition from public;

-- Drops a partition, or fails with lock_not_available while somebody uses the table: others wait no longer than that.
create function drop_partition(partition text) returns void
  language plpgsql
  set search_path = pg_catalog, ally, pg_temp
  set lock_timeout = '100ms'
  as $$
begin
  execute format('drop table ally.%I', partition);
end $$;
revoke execute on function drop_partition from public;

-- A day that cannot be dropped now is dropped an hour later.
create or replace function job_runs_rotate(days_kept integer) returns void
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
    perform ally.add_partition('job_runs', 'job_runs_' || to_char(day, 'YYYYMMDD'), day, day + 1);
  end loop;
  for partition in
    select c.relname from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
     where i.inhparent = 'ally.job_runs'::regclass
       and c.relname < 'job_runs_' || to_char(today - greatest(days_kept, 1), 'YYYYMMDD')
  loop
    begin
      perform ally.drop_partition(partition);
    exception when lock_not_available then
      return;
    end;
  end loop;
end $$;

-- What is anchored is dropped in the same transaction, or neither.
create or replace function audit_rotate(months_kept integer) returns void
  language plpgsql security definer set search_path = pg_catalog, ally, pg_temp
  as $$
declare
  this_month constant date := date_trunc('month', now() at time zone 'utc');
  oldest constant date := ally.audit_kept_from(months_kept) at time zone 'utc';
  parent text;
  month date;
  partition text;
begin
  -- Every worker may call this: they take turns.
  perform pg_advisory_xact_lock(hashtextextended('audit_rotate', 0));
  foreach parent in array array['audit_entries', 'audit_links', 'security_events'] loop
    for month in select this_month + make_interval(months => n) from generate_series(0, 6) as n loop
      perform ally.add_partition(parent, parent || '_' || to_char(month, 'YYYYMM'), month,
        (month + interval '1 month')::date);
    end loop;
    for partition in
      select c.relname from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
       where i.inhparent = ('ally.' || parent)::regclass
         and c.relname < parent || '_' || to_char(oldest, 'YYYYMM')
    loop
      perform ally.drop_partition(partition);
    end loop;
  end loop;
end $$;

-- Files are compared with objects in the order of keys, which the store tells by their bytes.
alter table files alter column key type text collate "C";
