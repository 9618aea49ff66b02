-- Text as it is searched: lower case, without accents and other typographic variants, so that
-- "cafe" finds "Café". What decomposition splits off (grave, acute, circumflex, tilde, diaeresis,
-- ring, caron, cedilla) is dropped. The stored text and the term go through the same function.
create function search_fold(value text) returns text
  language sql immutable strict parallel safe
  as $$ select translate(normalize(lower(value collate "und-x-icu"), nfkd),
                         E'\u0300\u0301\u0302\u0303\u0308\u030A\u030C\u0327', '') $$;

-- The LIKE pattern of a term, its own wildcards taken literally. Three characters make a trigram and
-- are found anywhere; fewer are found where a word begins, which is a trigram too: "  c" or " ca".
create function search_pattern(term text) returns text
  language sql immutable strict parallel safe
  as $$ select case when char_length(folded) < 3 then '% ' else '%' end
               || regexp_replace(folded, '([\\%_])', '\\\1', 'g') || '%'
          from (select search_fold(btrim(term))) as input (folded) $$;

create table products (
  tenant_id uuid not null references companies,
  id uuid not null,
  name text collate "es-x-icu" not null constraint products_name_length check (char_length(name) between 1 and 100),
  sku text collate "es-x-icu" not null constraint products_sku_length check (char_length(sku) between 1 and 50),
  description text constraint products_description_length check (char_length(description) between 1 and 255),
  bar_code text constraint products_bar_code_format check (bar_code ~ '^[0-9A-Za-z-]{1,50}$'),
  price_sale numeric(15, 2) not null default 0 constraint products_price_sale_range check (price_sale >= 0),
  price_base numeric(15, 2) not null default 0 constraint products_price_base_range check (price_base >= 0),
  unit_of_measure text not null default 'unit' constraint products_unit_of_measure_known
    check (unit_of_measure in ('unit', 'pair', 'dozen', 'pack', 'box', 'kg', 'g', 'lb', 'l', 'ml', 'gal',
                               'm', 'cm', 'm2', 'm3', 'hour', 'day', 'service')),
  brand_id uuid,
  category_id uuid,
  is_active boolean not null default true,
  deleted_at timestamptz,
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  -- Comparisons of numeric are not leakproof: behind row security no index would serve them.
  price_sale_cents bigint not null generated always as ((price_sale * 100)::bigint) stored,
  -- Each part begins with a space, where words begin, and ends where no term reaches across.
  search_text text not null generated always as
    (search_fold(' ' || name || E'\n ' || sku || E'\n ' || coalesce(bar_code, ''))) stored,
  primary key (tenant_id, id),
  constraint products_brand_not_found foreign key (tenant_id, brand_id) references brands (tenant_id, id),
  constraint products_category_not_found foreign key (tenant_id, category_id) references categories (tenant_id, id)
);
-- A deleted product gives its SKU and bar code free.
create unique index products_sku_taken on products (tenant_id, lower(sku)) where deleted_at is null;
create unique index products_bar_code_taken on products (tenant_id, bar_code) where deleted_at is null;
create index products_by_name on products (tenant_id, name, id) where deleted_at is null;
create index products_by_sku on products (tenant_id, sku, id) where deleted_at is null;
create index products_by_created_at on products (tenant_id, created_at, id) where deleted_at is null;
create index products_by_price_sale on products (tenant_id, price_sale_cents, id) where deleted_at is null;
create index products_deleted on products (tenant_id, name, id) where deleted_at is not null;
-- Whole: the foreign keys look for deleted products too.
create index products_by_brand on products (tenant_id, brand_id, name, id);
create index products_by_category on products (tenant_id, category_id, name, id);
-- Without the pending list, which every search would read from end to end.
create index products_by_search_text on products
  using gin (tenant_id, search_text gin_trgm_ops) with (fastupdate = off);
select tenant_table('products');
-- Documents refer to products: requests mark them deleted and never remove them.
revoke delete on products from ally_app;

-- Text search. LIKE is not leakproof, so under row security no index would serve it: the function
-- runs as ally_search, whom the policy below shows these columns of all companies, and filters by
-- the company of the transaction itself. Its owner is made by the migrating login, a member of both
-- roles; neither role is a member of the other, and ally_search may create nothing afterwards.
grant select (tenant_id, id, search_text, deleted_at) on products to ally_search;
create policy search_access on products for select to ally_search using (true);
grant create on schema ally to ally_search;
set local role ally_search;

-- Ids of the company's products whose name, SKU or bar code contains the term: the newest 10,000.
-- The bound keeps a term that matches nearly everything in hand; nobody pages so far. A plan is made
-- for every term, because one without a trigram ("%") would read the whole search index. Migrations
-- run with row_security off, under which the body would not pass its check.
create function search_products(term text, deleted boolean) returns setof uuid
  language plpgsql stable security definer
  set search_path = pg_catalog, ally, pg_temp
  set row_security = on
  set plan_cache_mode = force_custom_plan
  as $$
declare
  pattern constant text := search_pattern(term);
begin
  return query
    select products.id
      from products
     where tenant_id = app_tenant()
       and search_text like pattern
       and (deleted_at is not null) = deleted
     order by id desc
     limit 10000;
end $$;
revoke execute on function search_products from public;
grant execute on function search_products to ally_app;

set local role ally_owner;
revoke create on schema ally from ally_search;
