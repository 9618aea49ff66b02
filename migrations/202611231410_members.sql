-- Members are changed by requests of their company, and a company always has an active owner.

alter table memberships
  add version bigint not null default 1,
  add updated_at timestamptz not null default now();
select tenant_table('memberships', system_too => true);
-- Only who accepts an invitation, or founds a company, becomes a member: identity does that.
revoke insert on memberships from ally_app;
revoke update (user_id) on memberships from ally_app;

-- The last line: whoever changes memberships, by whatever statement. Deferred, so that a transaction may
-- take from one before it gives to another.
create function memberships_keep_an_owner() returns trigger
  language plpgsql
  set search_path = pg_catalog, ally, pg_temp
  as $$
begin
  -- Changes of one company's owners take turns; each sees what those before it left. The lock lets
  -- through what only refers to the company.
  perform from companies where tenant_id = old.tenant_id for no key update;
  if not exists (select from memberships
                  where tenant_id = old.tenant_id and role = 'owner' and state = 'active') then
    raise exception 'a company needs an active owner'
      using errcode = 'check_violation', constraint = 'memberships_last_owner';
  end if;
  return null;
end $$;
create constraint trigger memberships_last_owner after update or delete on memberships
  deferrable initially deferred
  for each row when (old.role = 'owner' and old.state = 'active')
  execute function memberships_keep_an_owner();

-- Names and addresses of the company's members: users belong to no company, so requests cannot read them.
grant select (tenant_id, user_id) on memberships to ally_search;
grant select (id, email, first_name, last_name) on users to ally_search;
create policy search_access on memberships for select to ally_search using (true);
grant create on schema ally to ally_search;
set local role ally_search;

create function company_people()
  returns table (user_id uuid, email text, first_name text, last_name text)
  language plpgsql stable security definer
  set search_path = pg_catalog, ally, pg_temp
  set row_security = on
  as $$
begin
  return query
    select users.id, users.email, users.first_name, users.last_name
      from memberships join users on users.id = memberships.user_id
     where memberships.tenant_id = app_tenant();
end $$;
revoke execute on function company_people from public;
grant execute on function company_people to ally_app;

set local role ally_owner;
revoke create on schema ally from ally_search;
