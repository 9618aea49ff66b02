-- Idempotency keys: a row is made and filled in the transaction of the write it stands for, so there
-- is none without its effect and no effect without it.

create table idempotency_keys (
  tenant_id uuid not null references companies,
  -- The user or API key that sent it: keys of two callers are two keys.
  caller_id uuid not null,
  key_hash bytea not null constraint idempotency_keys_key_hash_length check (octet_length(key_hash) = 32),
  -- Of method, path, query and body.
  fingerprint bytea not null constraint idempotency_keys_fingerprint_length check (octet_length(fingerprint) = 32),
  -- The answer; without a status none was kept.
  status smallint,
  content_type text,
  etag text,
  location text,
  body bytea,
  created_at timestamptz not null default now(),
  primary key (tenant_id, caller_id, key_hash)
);
create index idempotency_keys_by_created_at on idempotency_keys (tenant_id, created_at);
select tenant_table('idempotency_keys', audit => false);
-- What a key stands for never changes; only the answer is added.
revoke update on idempotency_keys from ally_app;
grant update (status, content_type, etag, location, body) on idempotency_keys to ally_app;
