-- Statements are planned as for one of ten companies that share a table.
--
-- The planner does not know for which company it plans, and takes the average one. With thousands of companies that has
-- ten rows, which it would rather read by any index and sort than read in order; of a large company it would then sort
-- all rows for one page. A plan that suits a tenth of the table reads a small company's rows as well as any other.

-- As before, with that.
create or replace function tenant_table(target regclass, system_too boolean default false, installation_too boolean default false,
                             audit boolean default true)
  returns void
  language plpgsql
  as $$
declare
  updatable text;
begin
  execute format('alter table %s alter tenant_id set default app_tenant()', target);
  execute format('alter table %s alter tenant_id set (n_distinct = 10)', target);
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

do $$
declare
  target regclass;
begin
  for target in
    select c.oid::regclass
      from pg_class as c join pg_policy as p on p.polrelid = c.oid and p.polname = 'tenant_isolation'
     where c.relnamespace = 'ally'::regnamespace and not c.relispartition
  loop
    execute format('alter table %s alter tenant_id set (n_distinct = 10)', target);
    -- It counts from the next statistics on.
    execute format('analyze %s', target);
  end loop;
end $$;
