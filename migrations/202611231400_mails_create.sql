-- What became of every mail, and the addresses that get none. Global: a mail is sent to a person, and
-- the queue's job is what belongs to a company.

create table mails (
  -- The job that sent it.
  id uuid primary key,
  -- Which kind of mail: the name of its template.
  letter text not null,
  address text not null,
  subject text not null,
  outcome text not null constraint mails_outcome_known check (outcome in ('sent', 'kept', 'suppressed', 'refused')),
  -- The server's answer.
  reply text,
  -- The mail itself, in the mailbox of development only: it carries live tokens.
  headers text,
  text_body text,
  html_body text,
  created_at timestamptz not null default now()
);
create index mails_by_created_at on mails (created_at);
-- The mailbox is searched by address and cut to the newest.
create index mails_kept on mails (created_at, id) where outcome = 'kept';

-- Addresses whose server said that they do not exist.
create table mail_suppressions (
  address text primary key constraint mail_suppressions_address_lower check (address = lower(address)),
  reply text not null,
  created_at timestamptz not null default now()
);

grant select, insert, delete on mails, mail_suppressions to ally_system;
