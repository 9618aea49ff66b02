create table categories (
  tenant_id uuid not null references companies,
  id uuid not null,
  name text collate "es-x-icu" not null constraint categories_name_length check (char_length(name) between 1 and 100),
  description text constraint categories_description_length check (char_length(description) between 1 and 255),
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (tenant_id, id)
);
create unique index categories_name_taken on categories (tenant_id, lower(name));
create index categories_by_name on categories (tenant_id, name, id);
create index categories_by_created_at on categories (tenant_id, created_at, id);
select tenant_table('categories');
