-- What a company sets for itself, and one notification for whatever processes keep in their caches.

-- Only what differs from the defaults, which the program knows; the time zone has its own column, null for
-- the default.
alter table companies
  add settings jsonb not null default '{}'
    constraint companies_settings_form check (jsonb_typeof(settings) = 'object' and octet_length(settings::text) <= 16384),
  alter time_zone drop not null,
  alter time_zone drop default;
grant update (settings) on companies to ally_app;

-- Tells every process what has changed: the id of a user, a company or an API key, in the column that the
-- argument names.
create function tell_change() returns trigger
  language plpgsql
  as $$
begin
  perform pg_notify('ally_changes', case tg_op when 'INSERT' then to_jsonb(new) else to_jsonb(old) end ->> tg_argv[0]);
  return null;
end $$;

drop trigger callers_changed on users;
create trigger tell_change after update of is_active or delete on users
  for each row execute function tell_change('id');
drop trigger callers_changed on sessions;
create trigger tell_change after update of revoked_at or delete on sessions
  for each row execute function tell_change('user_id');
drop trigger callers_changed on memberships;
create trigger tell_change after update or delete on memberships
  for each row execute function tell_change('user_id');
drop trigger callers_changed on companies;
-- Any column: the version is that of the settings.
create trigger tell_change after update or delete on companies
  for each row execute function tell_change('tenant_id');
drop trigger callers_changed on api_keys;
create trigger tell_change after update of revoked_at, permissions, expires_at or delete on api_keys
  for each row execute function tell_change('id');
drop trigger callers_changed on company_limits;
create trigger tell_change after insert or update or delete on company_limits
  for each row execute function tell_change('company_id');
drop function callers_changed();
drop function api_keys_changed();
drop function company_limits_changed();
