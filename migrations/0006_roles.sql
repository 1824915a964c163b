-- 0006_roles.sql: who may do what.
-- Why: each process logs in as a role of its own that can do what the process does and no more. Whoever takes over an API cannot
--   rename the table, whoever takes over the invalidator reads no product through SQL, whoever takes over the warmer writes none.
--     freshline_api          reads and writes products
--     freshline_invalidator  follows the change stream; no right on products
--     freshline_warmer       reads products
--   All three may ask for freshline.source(). None has a password: that is for whoever runs the server to choose
--   (`alter role freshline_api password '…'`, or pg_hba.conf).
-- Roles belong to the whole server, so this is made to be repeated, and to be raced by the migration of another database. Where
--   roles may not be made (replication needs a superuser) they have to be there; a warning says what is missing.
-- Beside old code: takes from everybody the right to make temporary tables here and, before version 15, tables in public.
-- Lock: none that readers or writers wait for. It may wait for another database's migration, hence the longer timeout.
-- Undo: in each database: drop owned by freshline_api, freshline_invalidator, freshline_warmer; then once: drop role
--   freshline_api, freshline_invalidator, freshline_warmer; grant temporary on database … to public;
set local lock_timeout = '30s';

-- Makes the roles, or mends one that may do more or less than it should. No lock is common to all databases of a server unless one
-- is a superuser, so a lost race is noticed and looked at again: `create` then meets the other's role, and `alter` of one row by two
-- fails with the internal error "tuple concurrently updated". The winner has committed by then.
--
-- The invalidator's sessions have their formats pinned: the stream prints a row as its session is set, a query by the API prints it
-- as that one's is, and both have to be the same bytes, whatever the server's defaults are.
do $$
declare
    role record;
    missing text[];
    statement text;
begin
    for role in values ('freshline_api', 'noreplication', '{}'::text[]), ('freshline_warmer', 'noreplication', '{}'),
        ('freshline_invalidator', 'replication', array['timezone=UTC', 'datestyle=ISO, MDY', 'intervalstyle=postgres',
            'extra_float_digits=1', 'bytea_output=hex'])
    loop
        for attempt in 1..3 loop
            missing := array(
                select format('%s role %I login nosuperuser nocreatedb nocreaterole inherit nobypassrls %s',
                    case when exists (select from pg_roles where rolname = role.column1) then 'alter' else 'create' end,
                    role.column1, role.column2)
                where not exists (
                    select from pg_roles where rolname = role.column1 and rolcanlogin and rolinherit
                        and rolreplication = (role.column2 = 'replication')
                        and not (rolsuper or rolcreatedb or rolcreaterole or rolbypassrls)))
            || array(
                select format('alter role %I set %s to %L', role.column1, split_part(setting, '=', 1), split_part(setting, '=', 2))
                from unnest(role.column3) as setting
                where not exists (
                    select from pg_roles, unnest(rolconfig) as present where rolname = role.column1 and lower(present) = lower(setting)));
            begin
                foreach statement in array missing loop
                    execute statement;
                end loop;
                exit;
            exception
                when duplicate_object or unique_violation or internal_error then
                    if attempt = 3 then raise; end if;
                when insufficient_privilege or undefined_object then
                    -- All in the message: sqlx logs a notice without its detail and hint.
                    raise warning 'role % is not as it should be: %. Lost: what logs in as % cannot, or can do too much. '
                        'As a superuser: %; then run 0006_roles.sql once more.',
                        role.column1, sqlerrm, role.column1, array_to_string(missing, '; ');
                    exit;
            end;
        end loop;
    end loop;
end
$$;

do $$
declare
    role text;
begin
    for role in select rolname from pg_roles where rolname in ('freshline_api', 'freshline_invalidator', 'freshline_warmer') loop
        execute format('grant connect on database %I to %I', current_database(), role);
        execute format('grant usage on schema freshline to %I', role);
        execute format('grant execute on function freshline.source() to %I', role);
        if role in ('freshline_api', 'freshline_warmer') then
            execute format('grant usage on schema public to %I', role);
            execute format('grant select on public.products to %I', role);
        end if;
        if role = 'freshline_api' then
            execute format('grant insert, update, delete on public.products to %I', role);
            execute format('grant execute on function freshline.uuid_v7(), freshline.merge_patch(jsonb, jsonb) to %I', role);
        end if;
    end loop;
    execute format('revoke temporary on database %I from public', current_database());
end
$$;

revoke create on schema public from public;
