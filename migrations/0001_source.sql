-- 0001_source.sql: which history a session belongs to.
-- Why: a crash of Postgres hands out transaction ids a second time and a promotion begins another timeline. A cached value's
--   proof is worth nothing in another history, so every session that reads for the cache has to be able to name its own.
-- Beside old code: safe, adds only. Lock: none that anybody waits for.
-- Undo: drop function freshline.source(); drop schema freshline;
set local lock_timeout = '2s';

create schema freshline;
comment on schema freshline is 'What Freshline needs inside the database that it follows.';

-- The name of the history: `system identifier/timeline/start of the checkpointer in microseconds since 1970`.
--
-- The checkpointer's start is what changes when one backend is killed and the server recovers by itself. Only a member of
-- pg_read_all_stats may see it, hence `security definer`. The timeline is the log's own: pg_control_checkpoint() still tells the
-- old one after a promotion.
--
-- Null where there is no proof to give: on a standby, whose checkpointer is not the primary's, and where the function's owner
-- may not see the checkpointer. Null closes the cache to this session, it does not fail it.
create function freshline.source() returns text
    language sql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
    select case when not pg_is_in_recovery() then
        (select system_identifier from pg_control_system())::text
        || '/' || ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint::text
        || '/' || (select (extract(epoch from backend_start) * 1000000)::bigint
                   from pg_stat_activity where backend_type = 'checkpointer')::text
    end
$$;
comment on function freshline.source() is
    'The history this session belongs to: system identifier/timeline/checkpointer start (µs); null on a standby.';
revoke all on function freshline.source() from public;

do $$
begin
    if freshline.source() is null then
        -- All in the message: sqlx logs a notice without its detail and hint.
        raise warning 'freshline.source() is null, as its owner % may not see when the checkpointer started. Lost: nothing can be '
            'cached, because no read can tell which history it is from. As a superuser: grant pg_read_all_stats to %;',
            current_user, quote_ident(current_user);
    end if;
end
$$;
