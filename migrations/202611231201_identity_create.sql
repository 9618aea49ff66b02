-- People and their sessions: global, reached by ally_system only.

create table users (
  id uuid primary key,
  email text not null constraint users_email_length check (char_length(email) between 3 and 254),
  password_hash text not null,
  first_name text not null constraint users_first_name_length check (char_length(first_name) between 1 and 50),
  last_name text not null constraint users_last_name_length check (char_length(last_name) between 1 and 50),
  phone_number text constraint users_phone_format check (phone_number ~ '^\+[1-9][0-9]{6,14}$'),
  is_active boolean not null default true,
  email_verified_at timestamptz,
  last_login_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
-- E-mails are compared without case.
create unique index users_email_taken on users (lower(email));

-- One per sign-in: the family of its refresh tokens.
create table sessions (
  id uuid primary key,
  user_id uuid not null references users on delete cascade,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  revoked_at timestamptz
);
create index sessions_by_user on sessions (user_id);
create index sessions_by_expiry on sessions (expires_at);

-- Only hashes are kept. A used one stays until its session goes, so that its reuse is noticed.
create table refresh_tokens (
  token_hash bytea primary key constraint refresh_tokens_hash_length check (octet_length(token_hash) = 32),
  session_id uuid not null references sessions on delete cascade,
  created_at timestamptz not null default now(),
  used_at timestamptz
);
-- A family has one live token.
create unique index refresh_tokens_one_live on refresh_tokens (session_id) where used_at is null;
create index refresh_tokens_by_session on refresh_tokens (session_id);

-- Single-use tokens sent by e-mail.
create table email_tokens (
  token_hash bytea primary key constraint email_tokens_hash_length check (octet_length(token_hash) = 32),
  user_id uuid not null references users on delete cascade,
  purpose text not null constraint email_tokens_purpose_known check (purpose in ('verify-email')),
  expires_at timestamptz not null,
  used_at timestamptz
);
-- A new one voids the old.
create unique index email_tokens_one_live on email_tokens (user_id, purpose) where used_at is null;
create index email_tokens_by_expiry on email_tokens (expires_at);

create table memberships (
  tenant_id uuid not null references companies,
  user_id uuid not null references users on delete cascade,
  role text not null constraint memberships_role_known
    check (role in ('owner', 'admin', 'accountant', 'seller', 'cashier', 'supervisor', 'viewer')),
  state text not null default 'active' constraint memberships_state_known check (state in ('active', 'suspended')),
  created_at timestamptz not null default now(),
  primary key (tenant_id, user_id)
);
create index memberships_by_user on memberships (user_id, tenant_id);
select tenant_table('memberships', system_too => true);
-- Membership is granted by identity, not by a tenant request.
revoke insert, update, delete on memberships from ally_app;
revoke update (user_id, role, state) on memberships from ally_app;

grant select, insert, update, delete on users, sessions, refresh_tokens, email_tokens to ally_system;

create trigger callers_changed after update of is_active or delete on users
  for each row execute function callers_changed();
create trigger callers_changed after update of revoked_at or delete on sessions
  for each row execute function callers_changed();
create trigger callers_changed after update or delete on memberships
  for each row execute function callers_changed();
