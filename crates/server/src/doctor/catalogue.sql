-- What the catalogue says against the rules of row-level security: one line per fault, "C1 object: fault".
-- Read with search_path = pg_catalog, so that whatever is not PostgreSQL's own appears with its schema.
--
--   $1 global tables                        $3 tables that ally_search reads
--   $2 tenant tables open to ally_system    $4 audited SECURITY DEFINER functions, as regprocedure writes them
--   $6 tables with rows of no company       $5 their owners, in the same order
--   $7 tables whose changes are not recorded
with
roles as (
  select rolname as name, pg_roles.* from pg_roles
   where rolname in ('ally_owner', 'ally_app', 'ally_system', 'ally_search')
),

schemas as (
  select oid, nspname as name from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'
),

-- A partition counts as global when its root is. A child, of whichever kind, is reached through its parent only.
relations as (
  select c.oid, c.relname as name, c.relkind as kind, c.relowner as owner, c.reloptions as options,
         c.relrowsecurity as secured, c.relforcerowsecurity as forced,
         c.relkind in ('r', 'p') as is_table, root.relname = any($1) as is_global,
         root.relname = any($6) as of_installation, exists (select from pg_inherits where inhrelid = c.oid) as is_child
    from pg_class as c
    join pg_class as root on root.oid = coalesce(pg_partition_root(c.oid), c.oid)
   where c.relnamespace = 'ally'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
),

-- Every table that is not on the list of global ones. `key` is the number of its column tenant_id.
tenant as (
  select r.*, a.attnum as key, pg_get_expr(d.adbin, d.adrelid) as key_default,
         coalesce(a.atttypid = 'uuid'::regtype and a.attnotnull, false) as has_key
    from relations as r
    left join pg_attribute as a on a.attrelid = r.oid and a.attname = 'tenant_id' and not a.attisdropped
    left join pg_attrdef as d on d.adrelid = r.oid and d.adnum = a.attnum
   where r.is_table and not r.is_global
),

-- `scoped` is the one condition that keeps a company's rows to itself. PUBLIC gives an empty list of roles.
policies as (
  select polrelid as relation, polname as name, polpermissive as permissive, polcmd as command,
         array(select rolname::text from pg_roles where oid = any(polroles) order by 1) as roles,
         pg_get_expr(polqual, polrelid) as visible,
         polcmd = '*' and (pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) =
           ('(tenant_id = ( SELECT ally.app_tenant() AS app_tenant))',
            '(tenant_id = ( SELECT ally.app_tenant() AS app_tenant))') as scoped
    from pg_policy
),

-- Rights of the runtime roles and of everybody; `part` is the column, null for the whole relation.
grants as (
  select acl.relation, acl.part, acl.privilege_type as privilege, coalesce(roles.name, 'public') as role
    from (select c.oid as relation, null::name as part, a.*
            from pg_class as c, aclexplode(c.relacl) as a where c.relnamespace in (select oid from schemas)
          union all
          select c.oid, t.attname, a.*
            from pg_class as c join pg_attribute as t on t.attrelid = c.oid and not t.attisdropped,
                 aclexplode(t.attacl) as a
           where c.relnamespace in (select oid from schemas)) as acl
    left join roles on roles.oid = acl.grantee
   where acl.grantee = 0 or roles.name <> 'ally_owner'
),

-- Ours, not those of extensions.
functions as (
  select p.oid, p.oid::regprocedure::text as name, pg_get_userbyid(p.proowner) as owner, p.prosecdef as definer,
         p.provolatile as volatility, p.proconfig as settings,
         coalesce(pg_get_function_sqlbody(p.oid), p.prosrc) as body
    from pg_proc as p
   where p.pronamespace in (select oid from schemas)
     and not exists (select from pg_depend
                      where classid = 'pg_proc'::regclass and objid = p.oid and deptype = 'e')
),

-- Triggers after each row; `whole` fires at every change. The last two arguments of audit_row are lists of columns.
triggers as (
  select t.tgrelid as relation, p.pronamespace::regnamespace || '.' || p.proname as function,
         t.tgenabled in ('O', 'A') and t.tgtype & 31 = 29 and t.tgqual is null and t.tgattr = '' as whole,
         coalesce(nullif(arguments[3], '')::text[], '{}') as left_out,
         coalesce(nullif(arguments[4], '')::text[], '{}') as masked
    from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid,
         string_to_array(encode(t.tgargs, 'escape'), '\000') as arguments
   where not t.tgisinternal
),

faults (rule, object, fault) as (
  -- C1: every tenant table is scoped, and nothing widens that.
  select 'C1', t.name::text, rule.fault
    from tenant as t, lateral (values
      (not t.has_key,
       'neither a listed global table nor one with tenant_id uuid not null'),
      (not t.secured, 'row security is off'),
      (not t.forced, 'row security is not forced on the owner'),
      (not t.is_child and t.key_default is distinct from 'ally.app_tenant()',
       'the default of tenant_id is not app_tenant()'),
      (not t.is_child and not exists (
         select from policies as p
          where p.relation = t.oid and p.permissive and p.scoped and p.roles = array['ally_app']),
       'the policy tenant_isolation of tenant_table() is missing or changed'),
      (not t.is_child and not exists (
         select from policies as p
          where p.relation = t.oid and not p.permissive and p.scoped and p.roles = array['ally_app', 'ally_owner']),
       'the restrictive policy tenant_guard of tenant_table() is missing or changed'),
      (not exists (
         select from pg_index as i
          where i.indrelid = t.oid and i.indisvalid and i.indpred is null and i.indkey[0] = t.key),
       'no valid index over all rows begins with tenant_id'),
      (t.name <> 'companies' and not t.of_installation and not exists (
         select from pg_constraint as c
          where c.conrelid = t.oid and c.contype = 'f' and c.convalidated
            and c.confrelid = to_regclass('ally.companies') and c.conkey = array[t.key]),
       'tenant_id does not reference companies')
    ) as rule (broken, fault)
   where rule.broken
  union all
  select 'C1', format('%s.%s', t.name, p.name), 'a permissive policy beside the known ones shows more rows'
    from tenant as t join policies as p on p.relation = t.oid
   where p.permissive
     and (p.scoped and p.roles = array['ally_app']
          or t.name = any($2) and p.visible = 'true' and p.roles = array['ally_system']
          or t.name = any($3) and p.visible = 'true' and p.roles = array['ally_search'] and p.command = 'r')
         is not true

  -- C2: foreign keys are checked without row security, so they must carry the company themselves.
  union all
  select 'C2', format('%s.%s', t.name, c.conname), 'foreign key without tenant_id on both sides at the same place'
    from pg_constraint as c
    join tenant as t on t.oid = c.conrelid
    join tenant as target on target.oid = c.confrelid
   where c.contype = 'f'
     and not exists (select from generate_subscripts(c.conkey, 1) as i
                      where c.conkey[i] = t.key and c.confkey[i] = target.key)

  -- C3: so are unique and exclusion constraints.
  union all
  select 'C3', format('%s.%s', t.name, c.relname), 'unique or exclusion index that does not begin with tenant_id'
    from pg_index as i join tenant as t on t.oid = i.indrelid join pg_class as c on c.oid = i.indexrelid
   where (i.indisunique or i.indisexclusion) and i.indkey[0] is distinct from t.key

  -- C4: what runs with the rights of someone else, or outlives the company it was computed for.
  union all
  select 'C4', r.name, 'view without security_invoker: it reads with the rights of its owner'
    from relations as r
   where r.kind = 'v'
     and not exists (select from pg_options_to_table(r.options)
                      where option_name = 'security_invoker' and option_value::boolean)
  union all
  select distinct 'C4', r.name::text, format('has no row security and is granted to %s', g.role)
    from relations as r join grants as g on g.relation = r.oid
   where r.kind in ('m', 'f')
  union all
  select 'C4', f.name, rule.fault
    from functions as f, lateral (values
      (f.definer and f.name <> all($4), 'SECURITY DEFINER, and not on the list of audited functions'),
      (f.definer and f.owner <> coalesce(($5::text[])[array_position($4, f.name)], 'ally_search'),
       format('SECURITY DEFINER with the rights of %s, not of its audited owner', f.owner)),
      (f.definer and array['search_path=pg_catalog, ally, pg_temp'] <@ f.settings is not true,
       'SECURITY DEFINER whose search_path is not pinned to pg_catalog, ally, pg_temp'),
      (f.definer and has_function_privilege('public', f.oid, 'execute'), 'SECURITY DEFINER that everybody may execute'),
      (f.volatility = 'i' and f.body ~* 'current_setting|app_tenant',
       'IMMUTABLE, and reads a setting: a plan would keep the company it was made for')
    ) as rule (broken, fault)
   where rule.broken
  union all
  select 'C4', 'ally.app_tenant()', 'is not the function of the migrations, on which every policy stands'
   where not exists (
     select from functions
      where name = 'ally.app_tenant()' and owner = 'ally_owner' and volatility = 's' and not definer
        and settings is null and btrim(body) = $$select current_setting('app.tenant_id')::uuid$$)

  -- C5: the roles can do what they are for and nothing else.
  union all
  select 'C5', wanted, 'the role does not exist'
    from unnest(array['ally_owner', 'ally_app', 'ally_system', 'ally_search']) as wanted
   where wanted not in (select name from roles)
  union all
  select 'C5', r.name, rule.fault
    from roles as r, lateral (values
      (r.rolsuper, 'is a superuser'),
      (r.rolbypassrls, 'bypasses row security'),
      (r.rolcreaterole, 'may create roles'),
      (r.rolcreatedb, 'may create databases'),
      (r.rolreplication, 'may replicate'),
      (r.rolcanlogin and r.name in ('ally_owner', 'ally_search'), 'may log in')
    ) as rule (broken, fault)
   where rule.broken
  union all
  select 'C5', r.name, format('is a member of %s', pg_get_userbyid(m.roleid))
    from pg_auth_members as m join roles as r on r.oid = m.member
  union all
  select 'C5', r.name, format('owns %s', pg_describe_object(d.classid, d.objid, 0))
    from pg_shdepend as d join roles as r on r.oid = d.refobjid and d.refclassid = 'pg_authid'::regclass
   where d.deptype = 'o' and r.name <> 'ally_owner'
     and d.dbid in (0, (select oid from pg_database where datname = current_database()))
     and not (r.name = 'ally_search' and exists (select from functions as f where f.oid = d.objid and f.name = any($4)))
  union all
  select 'C5', r.name, format('belongs to %s, not to ally_owner', pg_get_userbyid(r.owner))
    from relations as r where pg_get_userbyid(r.owner) <> 'ally_owner'
  union all
  select 'C5', session_user, 'is the login of the system pool, not ally_system' where session_user <> 'ally_system'
  union all
  select 'C5', r.name, format('%s may %s', g.role, string_agg(distinct g.privilege, ', '))
    from relations as r join grants as g on g.relation = r.oid
   where case g.role
           when 'ally_app' then r.is_global
           when 'ally_system' then not r.is_global and r.name <> all($2)
           when 'ally_search' then g.part is null or g.privilege <> 'SELECT' or r.name <> all($3)
           else true
         end
   group by r.name, g.role
  union all
  select distinct 'C5', g.relation::regclass::text, format('is granted to %s and lies outside the schema ally', g.role)
    from grants as g join pg_class as c on c.oid = g.relation
   where c.relnamespace <> 'ally'::regnamespace and g.role <> 'public'

  -- C6: rights that row security does not look at.
  union all
  select 'C6', r.name, format('%s may %s', g.role, g.privilege)
    from relations as r join grants as g on g.relation = r.oid
   where g.privilege not in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
  union all
  select 'C6', r.name, format('%s may %s the child directly, past the policies of its parent', g.role, g.privilege)
    from relations as r join grants as g on g.relation = r.oid
   where r.is_child
  union all
  select 'C6', t.name, format('ally_app may UPDATE %s', coalesce(g.part, 'every column'))
    from tenant as t join grants as g on g.relation = t.oid
   where g.role = 'ally_app' and g.privilege = 'UPDATE' and coalesce(g.part in ('tenant_id', 'id'), true)
  union all
  select 'C6', r.name, format('may create objects in the schema %s', s.name)
    from roles as r, schemas as s
   where r.name <> 'ally_owner' and has_schema_privilege(r.oid, s.oid, 'create')
  union all
  select 'C6', r.name, format('may use %s on the database', upper(privilege))
    from roles as r, unnest(array['create', 'temporary']) as privilege
   where r.name <> 'ally_owner' and has_database_privilege(r.oid, current_database(), privilege)

  -- C7: older servers lack security_invoker views.
  union all
  select 'C7', 'PostgreSQL ' || current_setting('server_version'), 'is older than 15: upgrade it'
   where current_setting('server_version_num')::integer < 150000

  -- C8: every change leaves its trace: of every row, at every kind of statement, whatever it changes.
  union all
  select 'C8', r.name,
         case when r.is_global then 'no trigger security_… records its changes' else 'its changes are not audited' end
           || ', and it is not on the list of tables that need none'
    from relations as r
   where r.is_table and not r.is_child and r.name <> all($7)
     and not exists (
       select from triggers as t
        where t.relation = r.oid and t.whole
          and case when r.is_global then t.function ~ '^ally\.security_' else t.function = 'ally.audit_row' end)
  union all
  select 'C8', format('%s.%s', r.name, a.attname), 'is a secret by its name, and its values are not masked in the audit trail'
    from relations as r
    join triggers as t on t.relation = r.oid and t.function = 'ally.audit_row'
    join pg_attribute as a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
   where not r.is_child and a.attname ~ '(password|secret|token|hash)' and a.attname <> all(t.masked || t.left_out)
)
select distinct format('%s %s: %s', rule, object, fault) from faults order by 1
