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

-- Makes a role, or mends one that may do more or less than it should. No lock is common to all databases of a server unless one is
-- a superuser, so a lost race is noticed and looked at again: `create` then meets the other's role, and `alter` of one row by two
-- fails with the internal error "tuple concurrently updated". The winner has committed by then.
do $$
declare
    role record;
    statement text;
begin
    for role in values ('freshline_api', false), ('freshline_invalidator', true), ('freshline_warmer', false) loop
        for attempt in 1..3 loop
            select format('%s role %I login nosuperuser nocreatedb nocreaterole inherit nobypassrls %sreplication',
                    case when exists (select from pg_roles where rolname = role.column1) then 'alter' else 'create' end,
                    role.column1, case when role.column2 then '' else 'no' end)
            into statement
            where not exists (
                select from pg_roles where rolname = role.column1 and rolcanlogin and rolinherit and rolreplication = role.column2
                    and not (rolsuper or rolcreatedb or rolcreaterole or rolbypassrls));
            exit when statement is null;
            begin
                execute statement;
            exception
                when duplicate_object or unique_violation or internal_error then
                    if attempt = 3 then raise; end if;
                when insufficient_privilege then
                    raise warning 'role % is not as it should be, and % may not change it: %', role.column1, current_user, sqlerrm
                        using detail = format('Lost: whatever logs in as %I cannot, or can do too much.', role.column1),
                              hint = format('As a superuser: %s; then run 0006_roles.sql once more.', statement);
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

-- The stream prints values as its session is set. Rows are printed once by the API and once by the stream, and have to come out
-- alike, whatever the server's defaults are. In this database only: a role's settings for the whole server are not ours.
do $$
declare
    setting text;
begin
    foreach setting in array array['timezone to ''UTC''', 'datestyle to ''ISO, MDY''', 'intervalstyle to ''postgres''',
            'extra_float_digits to 1', 'bytea_output to ''hex'''] loop
        execute format('alter role freshline_invalidator in database %I set %s', current_database(), setting);
    end loop;
exception when insufficient_privilege or undefined_object then
    raise warning 'the formats of freshline_invalidator''s sessions are not pinned: %', sqlerrm
        using detail = 'Lost: where the server''s defaults differ, a row from the stream is not the bytes of a row that is read.',
              hint = 'As a superuser, in this database, run 0006_roles.sql once more.';
end
$$;
