-- Files are found and counted by indexes, however many a company has; and what they take counts their thumbnails.

alter table files no force row level security;
alter table files disable trigger user;
alter table files
  add column search_text text not null generated always as
    (search_fold(' ' || filename || E'\n ' || coalesce(description, ''))) stored,
  -- What a file that is ready takes in the store, its thumbnails included.
  add column bytes bigint not null default 0 constraint files_bytes_positive check (bytes >= 0);
update files
   set bytes = size + (select coalesce(sum((variant->>'size')::bigint), 0) from jsonb_array_elements(variants) as variant)
 where state = 'ready';
alter table files enable trigger user;
alter table storage_usage no force row level security;
update storage_usage as usage
   set used_bytes = (select coalesce(sum(bytes), 0) from files where files.tenant_id = usage.tenant_id);
alter table storage_usage force row level security;
alter table files force row level security;
select tenant_table('files');
select audited('files', ignored => '{progress,search_text,bytes}');

create index files_by_filename on files (tenant_id, filename, id);
create index files_by_state on files (tenant_id, state, created_at, id);
create index files_expired on files (tenant_id, upload_expires_at) where state = 'expired';
create index files_by_search_text on files using gin (tenant_id, search_text gin_trgm_ops) with (fastupdate = off);
-- The room of each module is read from the index alone.
create index files_room on files (tenant_id, module) include (bytes) where state = 'ready';

-- Neither LIKE nor @> is leakproof, so under row security no index would serve them: as search_products.
grant select (tenant_id, id, search_text, tags, deleted_at) on files to ally_search;
create policy search_access on files for select to ally_search using (true);
grant create on schema ally to ally_search;
set local role ally_search;

-- Ids of the company's files that contain the term in name or description and have the tag, each if given. Of a term,
-- which may match nearly everything, the newest 10,000.
create function search_files(term text, tag text, deleted boolean) returns setof uuid
  language plpgsql stable security definer
  set search_path = pg_catalog, ally, pg_temp
  set row_security = on
  set plan_cache_mode = force_custom_plan
  as $$
declare
  pattern constant text := search_pattern(term);
begin
  return query
    select files.id
      from files
     where tenant_id = app_tenant()
       and (pattern is null or search_text like pattern)
       and (tag is null or tags @> array[tag])
       and (deleted_at is not null) = deleted
     order by id desc
     limit case when pattern is not null then 10000 end;
end $$;
revoke execute on function search_files from public;
grant execute on function search_files to ally_app;

set local role ally_owner;
revoke create on schema ally from ally_search;
