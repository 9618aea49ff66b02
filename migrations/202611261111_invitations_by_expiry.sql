-- no-transaction
-- What ended long ago is deleted, of all companies at once.
create index concurrently invitations_by_expiry on invitations (expires_at);
