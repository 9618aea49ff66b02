-- A company has a hundred API keys in force at most. They are counted under the lock of the company's row, so
-- that keys which are made at once cannot all be the hundredth.
create function api_keys_limited() returns trigger
  language plpgsql
  as $$
begin
  perform from ally.companies where tenant_id = new.tenant_id for no key update;
  if (select count(*) from ally.api_keys
       where tenant_id = new.tenant_id and revoked_at is null and expires_at > now()) >= 100 then
    raise exception 'a hundred API keys are in force'
      using errcode = 'check_violation', constraint = 'api_keys_too_many';
  end if;
  return new;
end $$;
create trigger api_keys_limited before insert on api_keys
  for each row execute function api_keys_limited();
