-- What operators allow a company more or less of than others, in place of the documented rates: of the
-- installation, not the company's data. `ally360 company limit` writes it.
create table company_limits (
  company_id uuid not null,
  policy text not null constraint company_limits_policy_format check (policy ~ '^[a-z][a-z-]{0,99}$'),
  rate text not null constraint company_limits_rate_format check (rate ~ '^[1-9][0-9]{0,6}/(second|minute|hour|day)$'),
  changed_at timestamptz not null default now(),
  primary key (company_id, policy),
  constraint company_limits_company foreign key (company_id) references companies
);
grant select, insert, update, delete on company_limits to ally_system;

-- Wakes the caches of every process, which keep it with the company's callers.
create function company_limits_changed() returns trigger
  language plpgsql
  as $$
begin
  perform pg_notify('ally_callers', coalesce(new.company_id, old.company_id)::text);
  return null;
end $$;
create trigger callers_changed after insert or update or delete on company_limits
  for each row execute function company_limits_changed();
