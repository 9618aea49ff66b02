-- Roles, schema and extensions: what must exist before the migrations. Run by the migrating login
-- (a superuser, or a role with CREATEROLE that owns the database), idempotent.
--
--   ally_owner   owns schema, tables and functions; nobody logs in as it
--   ally_app     tenant-scoped requests, under row-level security
--   ally_system  identity and operations: global tables only
--   ally_search  owns the audited search functions; nobody logs in as it
do $$
declare
  wanted text;
begin
  -- Roles belong to the whole cluster: two installations may start at once.
  perform pg_advisory_xact_lock(hashtext('ally360 bootstrap'));
  foreach wanted in array array['ally_owner', 'ally_search'] loop
    if not exists (select from pg_roles where rolname = wanted) then
      execute format('create role %I nologin', wanted);
    end if;
    -- From version 16 on, who makes a role may administer it but not yet act as it.
    if not pg_has_role(current_user, wanted, case when current_setting('server_version_num')::int < 160000 then 'member' else 'set' end) then
      execute format('grant %I to %I', wanted, current_user);
    end if;
  end loop;
  foreach wanted in array array['ally_app', 'ally_system'] loop
    if not exists (select from pg_roles where rolname = wanted) then
      execute format('create role %I login', wanted);
    end if;
    -- Of the role, not of the role in this database: a copy of the database keeps them.
    execute format('alter role %I set search_path = ally, public', wanted);
    execute format('alter role %I set statement_timeout = ''10s''', wanted);
    execute format('alter role %I set lock_timeout = ''3s''', wanted);
    -- Of disks without moving heads, where reading in the order of an index costs hardly more than in that of the table.
    execute format('alter role %I set random_page_cost = 1.1', wanted);
    execute format('alter role %I set idle_in_transaction_session_timeout = ''15s''', wanted);
  end loop;
  execute format('revoke temporary on database %I from public', current_database());
end $$;

revoke create on schema public from public;
create schema if not exists ally authorization ally_owner;
grant usage on schema ally to ally_app, ally_system, ally_search;
create extension if not exists pg_trgm with schema ally;
create extension if not exists btree_gin with schema ally;
