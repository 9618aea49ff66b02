-- Objects of the clean bucket to which nothing refers, since when: they are deleted when that has been so for days, and
-- not because they are old. After a restore of the store into an empty database all are old and none referred to.
create table unreferenced_objects (
  key text collate "C" primary key,
  first_seen timestamptz not null,
  -- By the last sweep that found it so.
  last_seen timestamptz not null
);
grant select, insert, update, delete on unreferenced_objects to ally_system;
