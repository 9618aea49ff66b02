-- Files: what was uploaded, where it lies, and how much room a company has.

create table files (
  tenant_id uuid not null references companies,
  id uuid not null,
  module text not null constraint files_module_form check (module ~ '^[a-z][a-z0-9_]{0,49}$'),
  -- What it belongs to in the module, if anything.
  entity_id uuid,
  -- As the user named it; never part of a path.
  filename text not null constraint files_filename_length check (char_length(filename) between 1 and 255),
  description text constraint files_description_length check (char_length(description) between 1 and 255),
  tags text[] not null default '{}' constraint files_tags_count check (cardinality(tags) <= 20),
  content_type text not null constraint files_content_type_length check (char_length(content_type) between 3 and 100),
  -- Declared before the upload, measured afterwards.
  size bigint constraint files_size_positive check (size > 0),
  sha256 bytea constraint files_sha256_length check (octet_length(sha256) = 32),
  state text not null default 'pending'
    constraint files_state_known check (state in ('pending', 'uploaded', 'scanning', 'ready', 'rejected', 'infected', 'expired')),
  -- Why it was rejected, or what it is infected with.
  reason text constraint files_reason_length check (char_length(reason) between 1 and 200),
  scanned_by text,
  progress smallint not null default 0 constraint files_progress_range check (progress between 0 and 100),
  -- Key in the quarantine bucket, the only one that an upload URL can write.
  upload_key text not null,
  upload_expires_at timestamptz not null,
  -- Bytes of the quota held until the upload is settled: the declared size, or the most it may have.
  reserved bigint not null constraint files_reserved_range check (reserved >= 0),
  -- Key in the clean bucket; nothing but a worker writes it.
  key text,
  -- Smaller pictures, at the key with @name appended: [{"name", "content_type", "width", "height", "size"}].
  variants jsonb not null default '[]',
  uploaded_by uuid not null,
  deleted_at timestamptz,
  version bigint not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (tenant_id, id),
  -- A file is served from its key, and only then has one.
  constraint files_ready_is_whole check ((state = 'ready') = (key is not null)),
  constraint files_ready_is_measured check (state <> 'ready' or (size is not null and sha256 is not null and scanned_by is not null)),
  -- Room is held exactly as long as the outcome is open.
  constraint files_reserved_while_open check ((state in ('pending', 'uploaded', 'scanning')) = (reserved > 0))
);
create index files_by_created_at on files (tenant_id, created_at, id);
create index files_by_module on files (tenant_id, module, created_at, id);
create index files_by_entity on files (tenant_id, entity_id, created_at, id) where entity_id is not null;
create index files_by_tag on files using gin (tenant_id, tags);
create index files_open on files (tenant_id, upload_expires_at) where state in ('pending', 'uploaded', 'scanning');
create index files_deleted on files (tenant_id, deleted_at) where deleted_at is not null;
create unique index files_key on files (tenant_id, key) where key is not null;
select tenant_table('files');

-- Room: bytes kept and bytes promised to open uploads. The row is the lock.
create table storage_usage (
  tenant_id uuid not null references companies,
  -- What the company's plan grants; null for what the installation grants everybody.
  quota_bytes bigint constraint storage_usage_quota_range check (quota_bytes >= 0),
  max_file_bytes bigint constraint storage_usage_max_file_positive check (max_file_bytes > 0),
  used_bytes bigint not null default 0 constraint storage_usage_used_positive check (used_bytes >= 0),
  reserved_bytes bigint not null default 0 constraint storage_usage_reserved_positive check (reserved_bytes >= 0),
  open_uploads integer not null default 0 constraint storage_usage_open_positive check (open_uploads >= 0),
  primary key (tenant_id)
);
select tenant_table('storage_usage');
-- A company does not grant itself room.
revoke insert, update, delete on storage_usage from ally_app;
grant insert (tenant_id), update (used_bytes, reserved_bytes, open_uploads) on storage_usage to ally_app;
