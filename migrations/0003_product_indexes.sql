-- 0003_product_indexes.sql: what keyset pages walk along.
-- Why: each list is read as `where (sort key, id) > (…) order by sort key, id limit n`, forward or backward, in all categories or
--   in one. With its index a page costs its own rows whatever its depth; without, a sort of the whole table. Newest first in all
--   categories is the primary key, read backward. A test asks `explain` for each of them.
-- Beside old code: safe. Lock: share on products while they are built, so writers wait; the table was made just now and is empty.
-- Undo: drop index products_category_id, products_price_id, products_category_price_id, products_name_id,
--   products_category_name_id;
set local lock_timeout = '2s';

create index products_category_id on public.products (category, id);
create index products_price_id on public.products (price, id);
create index products_category_price_id on public.products (category, price, id);
create index products_name_id on public.products (name, id);
create index products_category_name_id on public.products (category, name, id);
