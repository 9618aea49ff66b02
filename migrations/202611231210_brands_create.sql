create table brands (
  tenant_id uuid not null references companies,
  id uuid not null,
  name text collate "es-x-icu" not null constraint brands_name_length check (char_length(name) between 1 and 100),
  description text constraint brands_description_length check (char_length(description) between 1 and 255),
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (tenant_id, id)
);
create unique index brands_name_taken on brands (tenant_id, lower(name));
create index brands_by_name on brands (tenant_id, name, id);
create index brands_by_created_at on brands (tenant_id, created_at, id);
select tenant_table('brands');
