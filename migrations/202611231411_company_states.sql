-- A company is active, suspended (it reads, and does not write) or closed (neither).

alter table companies drop constraint companies_state_known;
alter table companies add constraint companies_state_known check (state in ('active', 'suspended', 'closed'));

-- Why and when, for operators: the installation's record of a company, not the company's data.
create table company_states (
  id uuid primary key,
  company_id uuid not null references companies,
  state text not null constraint company_states_known check (state in ('active', 'suspended', 'closed')),
  reason text not null constraint company_states_reason_length check (char_length(reason) between 1 and 500),
  changed_at timestamptz not null default now()
);
create index company_states_by_company on company_states (company_id, changed_at);
grant select, insert on company_states to ally_system;

-- Raises unless the company of the transaction may write. Travels with BEGIN, so that a process that has
-- not heard of a change writes nothing either.
create function app_must_write() returns void
  language plpgsql stable
  set search_path = pg_catalog, ally, pg_temp
  as $$
declare
  found_state constant text := (select state from companies where tenant_id = app_tenant());
begin
  if found_state in ('suspended', 'closed') then
    raise exception 'the company is %', found_state
      using errcode = 'check_violation', constraint = 'company_' || found_state;
  end if;
end $$;
