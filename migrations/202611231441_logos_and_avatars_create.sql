-- Pictures of companies and of people.

-- The logo: one of the company's files that is a picture, see files.picture_id. Its key, which no longer changes, is
-- kept here too, where sign-in can read it. No row has one yet, and a check of them all would run under row security.
alter table companies add logo_key text, add logo_file_id uuid,
  add constraint companies_logo_in_use foreign key (tenant_id, logo_file_id) references files (tenant_id, picture_id) not valid;
grant update (logo_file_id, logo_key) on companies to ally_app;
select audited('companies', ignored => '{logo_key}');

-- Avatars: global like the people they show. A row is the last upload and what is shown meanwhile.
create table avatars (
  user_id uuid primary key references users on delete cascade,
  upload_id uuid not null,
  content_type text not null,
  upload_expires_at timestamptz not null,
  state text not null default 'pending' constraint avatars_state_known check (state in ('pending', 'ready', 'rejected', 'expired')),
  -- Why it was rejected.
  reason text,
  -- Where the thumbnails of the last picture that was ready lie.
  key text,
  constraint avatars_ready_has_key check (state <> 'ready' or key is not null)
);
grant select, insert, update, delete on avatars to ally_system;
