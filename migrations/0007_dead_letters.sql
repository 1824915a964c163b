-- 0007_dead_letters.sql: messages that a source could not use.
-- Why: what cannot be decoded, or names a table that nobody knows, is neither skipped in silence nor tried for ever. It is kept here with
--   its bytes and the reason, one place for every source, to be looked at by psql or `freshline dead-letters`, and to be tried again
--   when the cause is mended.
-- Beside old code: safe, adds only. Lock: none that anybody waits for.
-- Undo: drop table freshline.dead_letters;
set local lock_timeout = '2s';

create table freshline.dead_letters (
    id         bigint      generated always as identity primary key,
    at         timestamptz not null default now(),
    source     text        not null,
    place      text        not null,
    subject    text,
    table_name text,
    reason     text        not null,
    raw        bytea       not null,
    truncated  boolean     not null default false,
    attempts   integer     not null default 1,
    state      text        not null default 'new',

    constraint dead_letters_raw_check   check (octet_length(raw) <= 1048576),
    constraint dead_letters_state_check check (state in ('new', 'retry', 'done'))
);
comment on table freshline.dead_letters is 'Messages that a source could not use, each once.';
comment on column freshline.dead_letters.at is 'When it came last.';
comment on column freshline.dead_letters.source is 'Which source it came from: nats, kafka, postgres.';
comment on column freshline.dead_letters.place is 'Where it lies there, such as `stream FRESHLINE seq 42` or `topic p0@17`.';
comment on column freshline.dead_letters.subject is 'The subject or topic that it was sent to, if known.';
comment on column freshline.dead_letters.table_name is 'The table that it is about, as schema.table, if known.';
comment on column freshline.dead_letters.reason is 'Why it could not be used.';
comment on column freshline.dead_letters.raw is 'Its bytes, or the first megabyte of them.';
comment on column freshline.dead_letters.truncated is 'Whether it had more bytes.';
comment on column freshline.dead_letters.attempts is 'How often it was met: a source that is replayed meets it again.';
comment on column freshline.dead_letters.state is 'new; retry: somebody asked for another attempt; done: that attempt worked.';

-- A place alone does not name a message: a stream that was made anew counts from 1 again.
create unique index dead_letters_message on freshline.dead_letters (source, place, md5(raw));
create index dead_letters_state on freshline.dead_letters (state, id) where state <> 'done';

do $$
begin
    if exists (select from pg_roles where rolname = 'freshline_invalidator') then
        grant select, insert, update on freshline.dead_letters to freshline_invalidator;
    end if;
end
$$;
