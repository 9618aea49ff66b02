-- API keys: how a machine calls in a company's name.

create table api_keys (
  tenant_id uuid not null references companies,
  id uuid not null,
  name text not null constraint api_keys_name_length check (char_length(name) between 1 and 100),
  -- SHA-256 of the token, which is shown once and kept nowhere.
  token_hash bytea not null constraint api_keys_token_hash_length check (octet_length(token_hash) = 32),
  -- The token's first characters, so that its owner knows it again.
  prefix text not null,
  permissions text[] not null constraint api_keys_permissions_count check (cardinality(permissions) between 1 and 100),
  -- The user who made it; it outlives his membership.
  created_by uuid not null,
  expires_at timestamptz not null,
  revoked_at timestamptz,
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (tenant_id, id)
);
-- A caller's company is not known before his key is found.
create index api_keys_by_token_hash on api_keys (token_hash) where revoked_at is null;
-- Names of those who did something.
create index api_keys_by_id on api_keys (id);
create index api_keys_by_created_at on api_keys (tenant_id, created_at, id);
select tenant_table('api_keys', system_too => true);
-- What a key is and may do never changes. It is renamed and revoked, and its row stays: rows that it
-- made carry its id.
revoke update, delete on api_keys from ally_app;
grant update (name, revoked_at) on api_keys to ally_app;
revoke insert, update, delete on api_keys from ally_system;

-- Apart from the key, so that using it neither changes its version nor is a change of the company's data.
create table api_key_uses (
  tenant_id uuid not null references companies,
  key_id uuid not null,
  last_used_at timestamptz not null,
  primary key (tenant_id, key_id),
  constraint api_key_uses_key_not_found foreign key (tenant_id, key_id) references api_keys (tenant_id, id)
);
select tenant_table('api_key_uses', system_too => true, audit => false);
revoke insert, update, delete on api_key_uses from ally_app;
revoke delete on api_key_uses from ally_system;

-- Wakes the caches of every process: the payload is the key's id.
create function api_keys_changed() returns trigger
  language plpgsql
  as $$
begin
  perform pg_notify('ally_callers', old.id::text);
  return null;
end $$;
create trigger callers_changed after update of revoked_at, permissions, expires_at or delete on api_keys
  for each row execute function api_keys_changed();
