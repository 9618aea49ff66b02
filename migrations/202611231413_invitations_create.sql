-- Invitations to a company, accepted with a token sent by e-mail.

create table invitations (
  tenant_id uuid not null references companies,
  id uuid not null,
  email text not null constraint invitations_email_length check (char_length(email) between 3 and 254),
  role text not null constraint invitations_role_known
    check (role in ('owner', 'admin', 'accountant', 'seller', 'cashier', 'supervisor', 'viewer')),
  language text not null default 'es' constraint invitations_language_known check (language in ('es', 'en')),
  invited_by uuid not null,
  state text not null default 'pending' constraint invitations_state_known
    check (state in ('pending', 'accepted', 'cancelled', 'expired')),
  -- How often it was sent: a part of what the token is derived from, so a new mail voids the one before.
  sent integer not null default 1 constraint invitations_sent_often check (sent <= 5),
  -- Only the token's hash is kept.
  token_hash bytea not null constraint invitations_hash_length check (octet_length(token_hash) = 32),
  expires_at timestamptz not null,
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (tenant_id, id)
);
create unique index invitations_pending on invitations (tenant_id, lower(email)) where state = 'pending';
create index invitations_by_created_at on invitations (tenant_id, created_at, id);
create index invitations_by_token on invitations (token_hash);
select tenant_table('invitations', system_too => true);
revoke delete on invitations from ally_app;
