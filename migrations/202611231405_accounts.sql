-- Accounts: what users say of themselves, where their sessions are, what mails carry, throttling.

alter table users
  add column dni text constraint users_dni_format check (dni ~ '^[0-9A-Z]{4,20}$'),
  add column language text not null default 'es' constraint users_language_known check (language in ('es', 'en')),
  add column first_login boolean not null default true,
  -- Who disabled himself may come back; whom an operator disabled may not.
  add column disabled_himself boolean not null default false,
  add column password_changed_at timestamptz,
  add column deleted_at timestamptz;
update users set first_login = last_login_at is null;

alter table sessions
  add column address text,
  add column user_agent text constraint sessions_user_agent_length check (char_length(user_agent) <= 300),
  add column last_used_at timestamptz not null default now();

-- The token is derived from the id, so that the job that mails it need not be told.
alter table email_tokens
  add column id uuid not null default gen_random_uuid() constraint email_tokens_id_taken unique,
  drop constraint email_tokens_purpose_known,
  add constraint email_tokens_purpose_known check (purpose in ('verify-email', 'reset-password'));

-- A change that waits for both addresses; a user has one at most, and a new one has other tokens.
create table email_changes (
  id uuid primary key,
  user_id uuid not null constraint email_changes_one_per_user unique references users on delete cascade,
  new_email text not null constraint email_changes_email_length check (char_length(new_email) between 3 and 254),
  new_token_hash bytea not null unique,
  old_token_hash bytea not null unique,
  new_confirmed_at timestamptz,
  old_confirmed_at timestamptz,
  expires_at timestamptz not null
);

-- What somebody without a session asked to be mailed. Whether there is such an account is looked up by a
-- job: the answer cannot tell by its time.
create table mail_requests (
  id uuid primary key,
  kind text not null constraint mail_requests_kind_known check (kind in ('verify-email', 'reset-password', 'account-exists')),
  email text not null,
  created_at timestamptz not null
);
create index mail_requests_by_time on mail_requests (created_at);

-- Devices, told apart by a digest of their address, from which a user has shown who he is.
create table known_devices (
  user_id uuid not null references users on delete cascade,
  device bytea not null,
  seen_at timestamptz not null,
  primary key (user_id, device)
);
create index known_devices_by_time on known_devices (seen_at);

-- Failed attempts by account, by address, and by both; keys are digests.
create table attempts (
  key bytea primary key,
  failures integer not null,
  blocked_until timestamptz not null,
  forgotten_at timestamptz not null
);
create index attempts_by_time on attempts (forgotten_at);

-- Charges one attempt to every key, as if it had failed, unless one of them has to wait: then nothing is
-- charged, and until when is returned. `free` attempts go without a pause; each further one doubles it, up
-- to `longest`.
create function charge_attempt(keys bytea[], free integer[], longest interval[], at timestamptz) returns timestamptz
  language plpgsql
  as $$
declare
  blocked timestamptz;
begin
  -- All rows are locked before anything is decided, in one order: attempts at once take turns.
  insert into attempts as a (key, failures, blocked_until, forgotten_at)
  select k, 0, '-infinity', at from unnest(keys) as k order by k
      on conflict (key) do update set failures = case when a.forgotten_at <= at then 0 else a.failures end;
  select max(blocked_until) into blocked from attempts where key = any(keys) and blocked_until > at;
  if blocked is null then
    update attempts as a
       set failures = a.failures + 1,
           forgotten_at = at + interval '1 day',
           blocked_until = case when a.failures + 1 < charged.free then '-infinity'
                                else at + least(charged.longest, interval '1 second' * 2 ^ least(a.failures + 1 - charged.free, 20)) end
      from unnest(keys, free, longest) as charged (key, free, longest)
     where a.key = charged.key;
  end if;
  return blocked;
end $$;

-- Takes one charge back: the attempt did not fail. A key of `forgiven` forgets all its failures. No key was
-- blocked when it was charged, so none is afterwards.
create function refund_attempt(keys bytea[], forgiven bytea[]) returns void
  language plpgsql
  as $$
begin
  perform from attempts where key = any(keys) order by key for update;
  update attempts
     set failures = case when key = any(forgiven) then 0 else greatest(failures - 1, 0) end,
         blocked_until = '-infinity'
   where key = any(keys);
  delete from attempts where key = any(keys) and failures = 0;
end $$;

-- How often something may be asked for: a bucket that `key` has spent until `spent_until`.
create table allowances (
  key bytea primary key,
  spent_until timestamptz not null
);
create index allowances_by_time on allowances (spent_until);

grant select, insert, update, delete on email_changes, mail_requests, known_devices, attempts, allowances to ally_system;
