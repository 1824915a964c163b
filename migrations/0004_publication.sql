-- 0004_publication.sql: what the invalidator may see.
-- Why full identity: a tag needs the row as it was (`category` before the move), and an update that leaves a large value as it
--   was sends that value only with the old row.
-- Beside old code: safe, adds only; an update writes its old row to the log as well. Lock: access exclusive on products, an instant.
-- Undo: alter table products replica identity default; drop publication freshline;
set local lock_timeout = '2s';

create publication freshline for table public.products with (publish = 'insert, update, delete, truncate');
alter table public.products replica identity full;
