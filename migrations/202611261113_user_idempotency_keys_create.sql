-- Idempotency keys of what a user does outside a company: founding one. As those of companies, a row is made
-- and filled in the transaction of the write it stands for.

create table user_idempotency_keys (
  caller_id uuid not null references users on delete cascade,
  key_hash bytea not null constraint user_idempotency_keys_key_hash_length check (octet_length(key_hash) = 32),
  fingerprint bytea not null constraint user_idempotency_keys_fingerprint_length check (octet_length(fingerprint) = 32),
  status smallint,
  content_type text,
  etag text,
  location text,
  body bytea,
  created_at timestamptz not null default now(),
  primary key (caller_id, key_hash)
);
create index user_idempotency_keys_by_created_at on user_idempotency_keys (created_at);
grant select, insert, update, delete on user_idempotency_keys to ally_system;
