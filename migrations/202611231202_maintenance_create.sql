-- Periodic clean-up: one row per task and hour, whoever plans it.
create table maintenance_runs (
  task text not null,
  slot timestamptz not null,
  attempt integer not null default 0,
  lease_until timestamptz,
  finished_at timestamptz,
  primary key (task, slot)
);
create index maintenance_runs_due on maintenance_runs (slot) where finished_at is null;
grant select, insert, update, delete on maintenance_runs to ally_system;
