-- An owner who has disabled his account cannot act: a company keeps one who can, and is handed over to nobody else.

grant select (role, state) on memberships to ally_search;
grant select (is_active) on users to ally_search;
grant create on schema ally to ally_search;
set local role ally_search;

drop function company_people;
create function company_people()
  returns table (user_id uuid, email text, first_name text, last_name text, is_active boolean)
  language plpgsql stable security definer
  set search_path = pg_catalog, ally, pg_temp
  set row_security = on
  as $$
begin
  return query
    select users.id, users.email, users.first_name, users.last_name, users.is_active
      from memberships join users on users.id = memberships.user_id
     where memberships.tenant_id = app_tenant();
end $$;
revoke execute on function company_people from public;
grant execute on function company_people to ally_app;

-- Asked by the trigger below, which cannot read users where a request changes memberships. A request learns of its
-- own company alone.
create function has_acting_owner(company uuid) returns boolean
  language plpgsql stable security definer
  set search_path = pg_catalog, ally, pg_temp
  set row_security = on
  as $$
begin
  return exists (select from memberships join users on users.id = memberships.user_id
                  where memberships.tenant_id = company and memberships.role = 'owner'
                    and memberships.state = 'active' and users.is_active
                    and coalesce(current_setting('app.tenant_id', true), '') in ('', company::text));
end $$;
revoke execute on function has_acting_owner from public;
grant execute on function has_acting_owner to ally_app, ally_system;

set local role ally_owner;
revoke create on schema ally from ally_search;

create or replace function memberships_keep_an_owner() returns trigger
  language plpgsql
  set search_path = pg_catalog, ally, pg_temp
  as $$
begin
  -- Changes of one company's owners take turns; each sees what those before it left. The lock lets
  -- through what only refers to the company.
  perform from companies where tenant_id = old.tenant_id for no key update;
  if not has_acting_owner(old.tenant_id) then
    raise exception 'a company needs an active owner'
      using errcode = 'check_violation', constraint = 'memberships_last_owner';
  end if;
  return null;
end $$;
