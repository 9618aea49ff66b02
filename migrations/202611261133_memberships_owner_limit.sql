-- Nobody becomes the owner of more than a hundred companies by founding or joining them: each has a share and room
-- of its own. They are counted under the lock of the user's row, so that companies which are founded at once cannot
-- all be the hundredth. Changes of role are the company's and pass: a refusal would tell it of the others.
create function memberships_owner_limited() returns trigger
  language plpgsql
  as $$
begin
  perform from ally.users where id = new.user_id for no key update;
  if (select count(*) from ally.memberships where user_id = new.user_id and role = 'owner') >= 100 then
    raise exception 'the user owns a hundred companies'
      using errcode = 'check_violation', constraint = 'memberships_too_many_owned';
  end if;
  return new;
end $$;
create trigger memberships_owner_limited before insert on memberships
  for each row when (new.role = 'owner')
  execute function memberships_owner_limited();
