-- The audit trail: every change of a company's rows, written by trigger in the transaction of the change;
-- what befell accounts, likewise; and the hash chains over the trail. docs/audit.md tells the whole.

-- No foreign key: the trail outlives what it tells of.
create table audit_entries (
  tenant_id uuid not null,
  id uuid not null default gen_random_uuid(),
  occurred_at timestamptz not null default clock_timestamp(),
  -- The transaction: who chains knows by it which entries are complete.
  xact bigint not null default pg_current_xact_id()::text::bigint,
  actor_kind text not null constraint audit_entries_actor_kind_known
    check (actor_kind in ('user', 'key', 'job', 'command', 'system', 'anonymous', 'database')),
  -- The user or the key; of a job, the user who caused it.
  actor_id uuid,
  -- The job, the command or the login.
  actor_name text,
  address text,
  request_id text,
  -- Table and key of the row.
  entity text not null,
  entity_id text not null,
  action text not null constraint audit_entries_action_known check (action in ('create', 'update', 'delete')),
  -- Of an update, the columns that changed. json, not jsonb: the chain is over this very text.
  before json,
  after json,
  primary key (tenant_id, occurred_at, id)
) partition by range (occurred_at);
create index audit_entries_by_entity on audit_entries (tenant_id, entity_id, occurred_at, id);
create index audit_entries_by_actor on audit_entries (tenant_id, actor_id, occurred_at, id);
create index audit_entries_by_xact on audit_entries (xact);
select tenant_table('audit_entries', system_too => true, installation_too => true);
revoke update, delete on audit_entries from ally_app, ally_system;
revoke update (occurred_at, xact, actor_kind, actor_id, actor_name, address, request_id, entity, entity_id, action,
  before, after) on audit_entries from ally_app;

-- The chain of a company: one link per entry, its hash over the hash before and the entry. Links and heads
-- are the installation's proof, not the company's data.
create table audit_links (
  company_id uuid not null,
  seq bigint not null constraint audit_links_seq_positive check (seq > 0),
  chained_at timestamptz not null,
  entry_id uuid not null,
  entry_at timestamptz not null,
  -- The entry claims a time before its transaction had begun.
  backdated boolean not null,
  hash bytea not null constraint audit_links_hash_length check (octet_length(hash) = 32),
  primary key (company_id, seq, chained_at)
) partition by range (chained_at);
create index audit_links_by_entry on audit_links (company_id, entry_id);
grant select, insert on audit_links to ally_system;

-- Where each chain ends, and where it begins since its oldest part was dropped.
create table audit_heads (
  company_id uuid primary key,
  seq bigint not null,
  hash bytea not null constraint audit_heads_hash_length check (octet_length(hash) = 32),
  anchor_seq bigint not null default 0,
  anchor_hash bytea not null default decode(repeat('00', 32), 'hex'),
  -- Entries before this time are dropped.
  anchor_at timestamptz not null default 'epoch',
  constraint audit_heads_order check (anchor_seq between 0 and seq)
);
grant select, insert, update on audit_heads to ally_system;

-- How far chaining has come: entries of transactions below are chained. The one row is also its lock.
create table audit_progress (
  one boolean primary key default true constraint audit_progress_one check (one),
  chained_below bigint not null default 0,
  -- The first transaction that had not begun at that time: what it and later ones write cannot be older.
  seen_xact bigint not null default 0,
  seen_at timestamptz not null default 'epoch',
  -- The same of later, to take its place when all below it is chained.
  next_xact bigint not null default 0,
  next_at timestamptz not null default 'epoch'
);
insert into audit_progress default values;
grant select, update on audit_progress to ally_system;

-- What befell accounts. No foreign keys here either.
create table security_events (
  id uuid not null default gen_random_uuid(),
  occurred_at timestamptz not null default clock_timestamp(),
  event text not null constraint security_events_event_form check (event ~ '^[a-z][a-z-]{1,49}$'),
  -- Whom it is about.
  user_id uuid,
  session_id uuid,
  actor_kind text not null,
  actor_id uuid,
  actor_name text,
  address text,
  request_id text,
  details json,
  primary key (occurred_at, id)
) partition by range (occurred_at);
create index security_events_by_user on security_events (user_id, occurred_at, id);
grant select, insert on security_events to ally_system;

-- The beginning of what is kept: whole months (UTC), never less than a year of them.
create function audit_kept_from(months_kept integer) returns timestamptz
  language sql stable
  as $$ select (date_trunc('month', now() at time zone 'utc') - make_interval(months => greatest(months_kept, 12)))
               at time zone 'utc' $$;

-- Makes the partitions of this month (UTC) and half a year to come, and drops those older than what is
-- kept. Definer: partitions belong to the owner; the caller chooses nothing but a number of months. What is
-- dropped must have been anchored, or verification finds it missing.
create function audit_rotate(months_kept integer) returns void
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
      partition := parent || '_' || to_char(month, 'YYYYMM');
      continue when to_regclass('ally.' || partition) is not null;
      execute format('create table ally.%I partition of ally.%I for values from (%L) to (%L)', partition, parent,
        month::timestamp at time zone 'utc', (month + interval '1 month')::timestamp at time zone 'utc');
      if parent = 'audit_entries' then
        execute format('alter table ally.%I enable row level security, force row level security', partition);
      end if;
    end loop;
    for partition in
      select c.relname from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
       where i.inhparent = ('ally.' || parent)::regclass
         and c.relname < parent || '_' || to_char(oldest, 'YYYYMM')
    loop
      execute format('drop table ally.%I', partition);
    end loop;
  end loop;
end $$;
revoke execute on function audit_rotate from public;
grant execute on function audit_rotate to ally_system;
select audit_rotate(12);

-- Who, by what and from where, as the program sets it for each writing transaction: five parts, "|" between.
-- Outside the program it is whoever logged in to the database.
create function audit_origin() returns text[]
  language sql stable
  as $$ select string_to_array(coalesce(nullif(current_setting('app.origin', true), ''),
                                        'database||' || session_user || '||'), '|') $$;

-- Records the change of one row. Arguments: the table's name, the columns of its key, columns that are left
-- out, and columns whose values are masked. It runs with the rights of whoever changes the row: the company
-- is the row's, and row security refuses any other than the transaction's.
create function audit_row() returns trigger
  language plpgsql
  as $$
declare
  origin constant text[] := ally.audit_origin();
  secrets constant text[] := tg_argv[3];
  was jsonb;
  becomes jsonb;
  tenant uuid;
  key text;
  part text;
  secret text;
begin
  if tg_op <> 'INSERT' then
    was := to_jsonb(old);
    tenant := old.tenant_id;
  end if;
  if tg_op <> 'DELETE' then
    becomes := to_jsonb(new);
    tenant := new.tenant_id;
  end if;
  foreach part in array tg_argv[1]::text[] loop
    key := concat_ws('/', key, coalesce(becomes, was) ->> part);
  end loop;
  was := was - tg_argv[2]::text[];
  becomes := becomes - tg_argv[2]::text[];
  if tg_op = 'UPDATE' then
    select jsonb_object_agg(o.key, o.value), jsonb_object_agg(o.key, n.value)
      into was, becomes
      from jsonb_each(was) as o join jsonb_each(becomes) as n on n.key = o.key
     where n.value <> o.value;
    if was is null then
      return null;
    end if;
  end if;
  foreach secret in array secrets loop
    if was ->> secret is not null then
      was := was || jsonb_build_object(secret, '[masked]');
    end if;
    if becomes ->> secret is not null then
      becomes := becomes || jsonb_build_object(secret, '[masked]');
    end if;
  end loop;
  insert into ally.audit_entries
    (tenant_id, actor_kind, actor_id, actor_name, address, request_id, entity, entity_id, action, before, after)
  values
    (tenant, origin[1], nullif(origin[2], '')::uuid, nullif(origin[3], ''), nullif(origin[4], ''), nullif(origin[5], ''),
     tg_argv[0], key, case tg_op when 'INSERT' then 'create' when 'UPDATE' then 'update' else 'delete' end, was, becomes);
  return null;
end $$;

-- Has every change of a tenant table recorded. tenant_table() does it; call this afterwards to leave out
-- columns that tell nothing (progress) or to mask more than those whose name says that they are secret, and
-- again after adding such a column.
create function audited(target regclass, ignored text[] default '{}', secrets text[] default '{}') returns void
  language plpgsql
  as $$
declare
  name text;
  key text[];
begin
  select relname into name from pg_class where oid = target;
  -- A row of the one kind per company is known by the company.
  select coalesce(array_agg(a.attname::text order by place) filter (where a.attname <> 'tenant_id'), '{tenant_id}')
    into key
    from pg_index as i, unnest(i.indkey) with ordinality as k (number, place), pg_attribute as a
   where i.indrelid = target and i.indisprimary and a.attrelid = target and a.attnum = k.number;
  select ignored || array_agg(attname::text) into ignored
    from pg_attribute
   where attrelid = target and attnum > 0 and not attisdropped
     and (attgenerated <> '' or attname in ('tenant_id', 'version', 'updated_at'));
  select secrets || coalesce(array_agg(attname::text), '{}') into secrets
    from pg_attribute
   where attrelid = target and attnum > 0 and not attisdropped and attname ~ '(password|secret|token|hash)';
  execute format('create or replace trigger audit_row after insert or update or delete on %s '
    'for each row execute function audit_row(%L, %L, %L, %L)', target, name, key, ignored, secrets);
end $$;
revoke execute on function audited from public;

-- As before, and audited unless it is said otherwise; what is not audited needs a reason on the list in
-- crates/server/src/doctor/catalogue.rs.
drop function tenant_table(regclass, boolean, boolean);
create function tenant_table(target regclass, system_too boolean default false, installation_too boolean default false,
                             audit boolean default true)
  returns void
  language plpgsql
  as $$
declare
  updatable text;
begin
  execute format('alter table %s alter tenant_id set default app_tenant()', target);
  execute format('alter table %s enable row level security', target);
  execute format('alter table %s force row level security', target);
  execute format('drop policy if exists tenant_isolation on %s', target);
  execute format('create policy tenant_isolation on %s to ally_app '
    'using (tenant_id = (select app_tenant())) with check (tenant_id = (select app_tenant()))', target);
  -- Restrictive policies are ANDed: a later permissive one cannot widen what these two roles see.
  execute format('drop policy if exists tenant_guard on %s', target);
  execute format('create policy tenant_guard on %s as restrictive to ally_app, ally_owner '
    'using (tenant_id = (select app_tenant())) with check (tenant_id = (select app_tenant()))', target);
  -- Only columns that may change: never the key, never what the trigger writes.
  select string_agg(quote_ident(attname), ', ') into updatable
    from pg_attribute
   where attrelid = target and attnum > 0 and not attisdropped and attgenerated = ''
     and attname not in ('tenant_id', 'id', 'created_at', 'updated_at', 'version');
  execute format('grant select, insert, delete on %s to ally_app', target);
  if updatable is not null then
    execute format('grant update (%s) on %s to ally_app', updatable, target);
  end if;
  if exists (select from pg_attribute where attrelid = target and attname = 'version' and not attisdropped) then
    execute format('create or replace trigger bump_version before update on %s '
      'for each row execute function bump_version()', target);
  end if;
  if audit and not exists (select from pg_trigger where tgrelid = target and tgfoid = 'audit_row'::regproc) then
    perform audited(target);
  end if;
  -- Declared with the table: added later, its check would run under row security and see nothing.
  if target <> 'companies'::regclass and not installation_too
     and not exists (select from pg_constraint where conrelid = target and confrelid = 'companies'::regclass) then
    raise exception '% needs: tenant_id uuid not null references companies', target;
  end if;
  if system_too then
    execute format('grant select, insert, update, delete on %s to ally_system', target);
    execute format('drop policy if exists system_access on %s', target);
    execute format('create policy system_access on %s to ally_system using (true) with check (true)', target);
  end if;
end $$;
revoke execute on function tenant_table from public;

-- The tables that are there already.
do $$
declare
  target regclass;
begin
  for target in
    select c.oid::regclass
      from pg_class as c join pg_policy as p on p.polrelid = c.oid and p.polname = 'tenant_isolation'
     where c.relnamespace = 'ally'::regnamespace and not c.relispartition
       and c.relname not in ('jobs', 'job_runs', 'audit_entries')
  loop
    perform audited(target);
  end loop;
end $$;
select audited('files', ignored => '{progress}');
-- The sums follow from files; what a company is granted does not.
select audited('storage_usage', ignored => '{used_bytes,reserved_bytes,open_uploads}');

-- Records what befell an account; what no row tells (a sign-in that failed) is recorded by calling this.
create function security_event(event text, about uuid, session uuid default null, details json default null)
  returns void
  language sql
  as $$
  insert into ally.security_events
    (event, user_id, session_id, actor_kind, actor_id, actor_name, address, request_id, details)
  select event, about, session, origin[1], nullif(origin[2], '')::uuid, nullif(origin[3], ''), nullif(origin[4], ''),
         nullif(origin[5], ''), details
    from ally.audit_origin() as o (origin) $$;
revoke execute on function security_event from public;
grant execute on function security_event to ally_system;

-- Which columns of a person changed, never their values; signing in is the session's event.
create function security_users() returns trigger
  language plpgsql
  as $$
declare
  changed text[];
begin
  if tg_op = 'INSERT' then
    perform ally.security_event('registered', new.id);
  elsif tg_op = 'DELETE' then
    perform ally.security_event('account-deleted', old.id);
  else
    select array_agg(o.key order by o.key) into changed
      from jsonb_each(to_jsonb(old)) as o join jsonb_each(to_jsonb(new)) as n on n.key = o.key
     where n.value <> o.value and o.key not in ('last_login_at', 'first_login', 'updated_at');
    -- What is left of a deleted account is its authorship.
    if 'deleted_at' = any(changed) and to_jsonb(new) ->> 'deleted_at' is not null then
      perform ally.security_event('account-deleted', new.id);
      return null;
    end if;
    -- Where the time of the change is kept, a hash made anew from the same password is none.
    if 'password_changed_at' = any(changed) or 'password_hash' = any(changed) and not to_jsonb(new) ? 'password_changed_at' then
      perform ally.security_event('password-changed', new.id);
    end if;
    if 'email' = any(changed) then
      perform ally.security_event('email-changed', new.id);
    end if;
    if old.email_verified_at is null and new.email_verified_at is not null then
      perform ally.security_event('email-verified', new.id);
    end if;
    if old.is_active <> new.is_active then
      perform ally.security_event(case when new.is_active then 'account-enabled' else 'account-disabled' end, new.id);
    end if;
    changed := array(select unnest(changed) except select unnest('{password_hash,password_changed_at,email,email_verified_at,is_active}'::text[]));
    if changed <> '{}' then
      perform ally.security_event('profile-changed', new.id, details => json_build_object('columns', changed));
    end if;
  end if;
  return null;
end $$;
create trigger security_users after insert or update or delete on users
  for each row execute function security_users();

-- A session that was cleared away after its end is no event.
create function security_sessions() returns trigger
  language plpgsql
  as $$
begin
  if tg_op = 'INSERT' then
    perform ally.security_event('signed-in', new.user_id, new.id);
  elsif tg_op = 'UPDATE' and old.revoked_at is null and new.revoked_at is not null then
    perform ally.security_event('session-ended', new.user_id, new.id);
  end if;
  return null;
end $$;
create trigger security_sessions after insert or update or delete on sessions
  for each row execute function security_sessions();
