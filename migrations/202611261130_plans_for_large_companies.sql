-- Statements are planned as for one of ten companies that share a table.
--
-- The planner does not know for which company it plans, and takes the average one. With thousands of companies that has
-- ten rows, which it would rather read by any index and sort than read in order; of a large company it would then sort
-- all rows for one page. A plan that suits a tenth of the table reads a small company's rows as well as any other.

alter function tenant_table(regclass, boolean, boolean, boolean) rename to secure_tenant_table;

-- As before, and tells the planner.
create function tenant_table(target regclass, system_too boolean default false, installation_too boolean default false,
                             audit boolean default true)
  returns void
  language plpgsql
  as $$
begin
  perform secure_tenant_table(target, system_too, installation_too, audit);
  execute format('alter table %s alter tenant_id set (n_distinct = 10)', target);
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
  loop
    execute format('alter table %s alter tenant_id set (n_distinct = 10)', target);
    -- It counts from the next statistics on.
    execute format('analyze %s', target);
  end loop;
end $$;
