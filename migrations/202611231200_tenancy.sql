-- Tenancy: the one way a table becomes a tenant's, and the company itself.

-- The company of the transaction. Raises when none is set: an empty page would hide the mistake.
create function app_tenant() returns uuid
  language sql stable parallel safe
  as $$ select current_setting('app.tenant_id')::uuid $$;

-- Raises the version (the ETag) and the time of change.
create function bump_version() returns trigger
  language plpgsql
  as $$
begin
  new.version := old.version + 1;
  new.updated_at := now();
  return new;
end $$;

-- Makes a table tenant-scoped: default, row security (forced), policies, grants, trigger. Call it
-- again after adding columns. `system_too` opens the table to ally_system as well, for what both
-- sides need (companies, memberships); such a table may be read across companies by that role only.
-- `installation_too` admits rows of the installation itself, under the nil UUID: no foreign key then.
create function tenant_table(target regclass, system_too boolean default false, installation_too boolean default false)
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

-- Check digit of a Colombian NIT (DIAN, Orden Administrativa 4 of 1989): weights from the right,
-- modulo 11.
create function nit_check_digit(nit text) returns text
  language sql immutable strict parallel safe
  as $$
  select case when remainder < 2 then remainder else 11 - remainder end::text
    from (select sum(substr(nit, length(nit) - i + 1, 1)::int
                     * (array[3, 7, 13, 17, 19, 23, 29, 37, 41, 43, 47, 53, 59, 67, 71])[i]) % 11 as remainder
            from generate_series(1, length(nit)) as i) as sums $$;

-- Wakes the caches of every process: the payload is the id of the user or company that changed.
create function callers_changed() returns trigger
  language plpgsql
  as $$
begin
  if tg_table_name = 'companies' then
    perform pg_notify('ally_callers', old.tenant_id::text);
  elsif tg_table_name = 'users' then
    perform pg_notify('ally_callers', old.id::text);
  else
    perform pg_notify('ally_callers', old.user_id::text);
  end if;
  return null;
end $$;

-- No uniqueness across companies: an answer must not tell that another one exists.
create table companies (
  tenant_id uuid primary key,
  name text not null constraint companies_name_length check (char_length(name) between 1 and 150),
  trade_name text constraint companies_trade_name_length check (char_length(trade_name) between 1 and 150),
  nit text not null constraint companies_nit_format check (nit ~ '^[1-9][0-9]{5,14}$'),
  nit_check_digit text not null,
  address text constraint companies_address_length check (char_length(address) between 1 and 255),
  phone_number text not null constraint companies_phone_format check (phone_number ~ '^\+[1-9][0-9]{6,14}$'),
  description text constraint companies_description_length check (char_length(description) between 1 and 500),
  economic_activity text constraint companies_economic_activity_length check (char_length(economic_activity) between 1 and 150),
  currency text not null default 'COP' constraint companies_currency_format check (currency ~ '^[A-Z]{3}$'),
  time_zone text not null default 'America/Bogota' constraint companies_time_zone_length check (char_length(time_zone) between 1 and 64),
  state text not null default 'active' constraint companies_state_known check (state in ('active', 'suspended')),
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint companies_nit_check_digit check (nit_check_digit = nit_check_digit(nit))
);
select tenant_table('companies', system_too => true);
-- A company neither creates, deletes nor suspends itself.
revoke insert, delete on companies from ally_app;
revoke update (state) on companies from ally_app;
create trigger callers_changed after update of state or delete on companies
  for each row execute function callers_changed();
