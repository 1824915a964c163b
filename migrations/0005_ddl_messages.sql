-- 0005_ddl_messages.sql: telling the change stream about DDL.
-- Why: DDL changes rows without a row event. After `alter table … type`, a renamed column or a detached partition a cached row is
--   wrong and nothing in the stream says so. Event triggers write a logical message, prefix `freshline.ddl`:
--     {"command": "ALTER TABLE", "tables": ["public.products"], "publications": ["freshline"]}
--   It is transactional: it takes effect with the DDL or not at all. Whoever follows one of these publications has to distrust all
--   that it cached, and to look at its tables again: after a rename only the new name is known here.
-- Told: `alter table`, `alter type` and `alter schema` that concern a published table, its partitions or what it is a partition of;
--   the drop of one, or of a column of one, whatever dragged it along; a publication that is altered, dropped or loses a table.
--   What cannot change a row (an owner, a new constraint) is told as well, as it cannot be told apart here; indexes, comments and
--   rights are not. A publication of partitions, schemas or all tables is told of every drop of a table.
-- Not seen: of `detach partition … concurrently`, the time between its two transactions; row security policies; DDL on event
--   triggers, for which none fires.
-- Beside old code: safe, adds only. Lock: none that anybody waits for. Needs a superuser; without one the functions are made and
--   the triggers are not, with a warning that says what is lost.
-- Undo: drop event trigger freshline_ddl; drop event trigger freshline_drop; drop function freshline.tell_ddl(),
--   freshline.tell_drop(), freshline.tell(text, text[], text[]), freshline.published(oid[]), freshline.tables_with(oid);
set local lock_timeout = '2s';

-- The publications that the rows of these tables reach, each with the names of the tables concerned: these, their ancestors and
-- their descendants.
create function freshline.published(tables oid[], out publications text[], out names text[])
    language sql stable
    set search_path = pg_catalog, pg_temp
as $$
    with recursive
        up (id) as (select unnest(tables) union select inhparent from up join pg_inherits on inhrelid = id),
        down (id) as (select unnest(tables) union select inhrelid from down join pg_inherits on inhparent = id),
        family (id, nsp, rel) as (
            select c.oid, nspname, relname from pg_class c join pg_namespace n on n.oid = relnamespace
            where c.oid in (select id from up union select id from down) and relkind in ('r', 'p') and relpersistence <> 't')
    select
        -- The view knows of whole schemas (from 15 on), the table of a root without partitions.
        array(select distinct pubname::text from pg_publication p, family
              where puballtables or exists (select from pg_publication_rel where prpubid = p.oid and prrelid = id)
                  or exists (select from pg_publication_tables t where (t.pubname, schemaname, tablename) = (p.pubname, nsp, rel))),
        array(select nsp || '.' || rel from family order by 1)
$$;

-- The tables with a column of this type, or of one that is made of it (array, domain, range, composite).
create function freshline.tables_with(type oid) returns oid[]
    language sql stable
    set search_path = pg_catalog, pg_temp
as $$
    with recursive holding (id) as (
        select type
        union
        select t.oid from holding join pg_type t on typelem = id or typbasetype = id
            or exists (select from pg_range where rngtypid = t.oid and rngsubtype = id)
            or exists (select from pg_attribute where attrelid = typrelid and atttypid = id and not attisdropped)
    )
    select array_agg(distinct attrelid) from pg_attribute join holding on atttypid = id where attnum > 0 and not attisdropped
$$;

-- Writes the message, unless it concerns no publication. Names are written as rules write them: schema.table, unquoted.
create function freshline.tell(command text, tables text[], publications text[]) returns void
    language sql volatile
    set search_path = pg_catalog, pg_temp
as $$
    select pg_logical_emit_message(true, 'freshline.ddl',
        json_build_object('command', command, 'tables', tables, 'publications', publications)::text)
    where publications <> '{}'
$$;

-- After every DDL command. `security definer`: it must not fail the DDL of a role that has no rights on the schema freshline.
-- Not stable, though that would show the names before a rename: `detach partition … concurrently` leaves no snapshot for a stable
-- function to use, and the server dies of it (seen on 15.18).
create function freshline.tell_ddl() returns event_trigger
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    ddl record;
    told record;
begin
    -- No filter by tag on the trigger: `alter extension` alters tables, and `alter index` renames one.
    for ddl in select * from pg_event_trigger_ddl_commands() where command_tag like 'ALTER %' loop
        select * into told from freshline.published(case ddl.classid
            when 'pg_class'::regclass then array[ddl.objid]
            when 'pg_type'::regclass then freshline.tables_with(ddl.objid)
            when 'pg_namespace'::regclass then array(select oid from pg_class where relnamespace = ddl.objid)
        end);
        perform freshline.tell(ddl.command_tag, told.names, told.publications || array(
            select pubname::text from pg_publication where ddl.classid = 'pg_publication'::regclass and oid = ddl.objid));
    end loop;
end
$$;

-- After every DDL command that drops something.
create function freshline.tell_drop() returns event_trigger
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    dropped record;
    altered record;         -- tables that lost a column only
    reached text[];
begin
    select array_agg(array_to_string(address_names, '.')) filter (where object_type = 'table') as names,
        -- Told by tell_ddl() where it is the table's own command that drops it.
        array_agg(objid) filter (where object_type = 'table column' and tg_tag <> 'ALTER TABLE') as altered,
        coalesce(array_agg(coalesce(address_args[1], address_names[1])) filter (where object_type like 'publication%'), '{}')
            as publications
    into dropped
    from pg_event_trigger_dropped_objects() where not is_temporary;
    select * into altered from freshline.published(dropped.altered);
    -- A dropped table is in no catalogue any more: the publications of all tables, of whole schemas and of partitions may have lost
    -- it. What else depends on a publication than its tables is a schema.
    reached := array(
        select pubname::text from pg_publication p
        where dropped.names is not null and (puballtables
            or exists (select from pg_depend where refclassid = 'pg_publication'::regclass and refobjid = p.oid
                       and classid <> 'pg_publication_rel'::regclass)
            or exists (select from pg_publication_rel join pg_class c on c.oid = prrelid
                       where prpubid = p.oid and (relkind = 'p' or relhassubclass))));
    perform freshline.tell(tg_tag, coalesce(dropped.names, '{}') || altered.names,
        array(select distinct unnest(dropped.publications || altered.publications || reached)));
end
$$;

revoke all on function freshline.published(oid[]), freshline.tables_with(oid), freshline.tell(text, text[], text[]),
    freshline.tell_ddl(), freshline.tell_drop() from public;

-- `enable always`: DDL of a restore or of a subscription's worker (session_replication_role = replica) counts as well.
do $$
begin
    create event trigger freshline_ddl on ddl_command_end execute function freshline.tell_ddl();
    create event trigger freshline_drop on sql_drop execute function freshline.tell_drop();
    alter event trigger freshline_ddl enable always;
    alter event trigger freshline_drop enable always;
exception when insufficient_privilege then
    -- All in the message: sqlx logs a notice without its detail and hint.
    raise warning 'no event trigger for DDL, as only a superuser may create one, and % is none. Lost: after DDL that rewrites, renames '
        'or detaches, cached rows stay as they were until they expire. As a superuser: '
        'create event trigger freshline_ddl on ddl_command_end execute function freshline.tell_ddl(); '
        'create event trigger freshline_drop on sql_drop execute function freshline.tell_drop(); '
        'alter event trigger freshline_ddl enable always; alter event trigger freshline_drop enable always;', current_user;
end
$$;
