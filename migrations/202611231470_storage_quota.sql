-- The operator sets what a company's plan grants; nothing else of its use is the installation's to change.

create policy system_access on storage_usage to ally_system using (true) with check (true);
grant select, insert (tenant_id, quota_bytes, max_file_bytes), update (quota_bytes, max_file_bytes)
  on storage_usage to ally_system;
