create table @things@ (
  tenant_id uuid not null references companies,
  id uuid not null,
  name text collate "es-x-icu" not null constraint @things@_name_length check (char_length(name) between 1 and 100),
  description text constraint @things@_description_length check (char_length(description) between 1 and 255),
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (tenant_id, id)
);
create unique index @things@_name_taken on @things@ (tenant_id, lower(name));
create index @things@_by_name on @things@ (tenant_id, name, id);
create index @things@_by_created_at on @things@ (tenant_id, created_at, id);
select tenant_table('@things@');
