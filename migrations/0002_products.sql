-- 0002_products.sql: the catalogue.
-- Why: the reference application's one table. The checks here hold for whoever writes, psql included; the API repeats none.
-- Beside old code: safe, adds only. Lock: none that anybody waits for.
-- Undo: drop table products; drop function freshline.touch(), freshline.merge_patch(jsonb, jsonb), freshline.uuid_v7();
set local lock_timeout = '2s';

-- A version 7 uuid (RFC 9562): 48 bits of milliseconds, 12 bits of the millisecond's fraction, 62 random bits. Ids made in order
-- sort in order, so the primary key is also the index of "newest first". Postgres has one of its own from version 18 on.
create function freshline.uuid_v7() returns uuid
    language sql volatile parallel safe
    set search_path = pg_catalog, pg_temp
as $$
    -- 7 << 12 puts the version above the fraction; bytes 1 to 8 of a random (version 4) uuid are replaced, its variant stays.
    select encode(overlay(uuid_send(gen_random_uuid())
            placing substr(int8send(us / 1000), 3) || substr(int8send((7 << 12) + (us % 1000) * 4096 / 1000), 7)
            from 1 for 8), 'hex')::uuid
    from (select (extract(epoch from clock_timestamp()) * 1000000)::bigint) as clock (us)
$$;
comment on function freshline.uuid_v7() is 'A version 7 uuid: sorts by the time at which it was made.';
revoke all on function freshline.uuid_v7() from public;

-- JSON merge patch (RFC 7396): a null removes, an object is merged key by key, anything else replaces. In the database, so that
-- a patch of attributes is one statement and loses no concurrent patch of another key.
create function freshline.merge_patch(target jsonb, patch jsonb) returns jsonb
    language sql immutable parallel safe
    set search_path = pg_catalog, pg_temp
as $$
    select case when jsonb_typeof(patch) is distinct from 'object' then patch else (
        select coalesce(jsonb_object_agg(key, case when new.value is null then old.value
                                                   else freshline.merge_patch(old.value, new.value) end), '{}')
        from jsonb_each(case when jsonb_typeof(target) = 'object' then target else '{}' end) as old
        full join jsonb_each(patch) as new using (key)
        where jsonb_typeof(new.value) is distinct from 'null'
    ) end
$$;
comment on function freshline.merge_patch(jsonb, jsonb) is 'JSON merge patch, RFC 7396.';
revoke all on function freshline.merge_patch(jsonb, jsonb) from public;

create table public.products (
    id             uuid           primary key default freshline.uuid_v7(),
    sku            text           not null constraint products_sku_unique unique,
    name           text           not null,
    description    text,
    category       text           not null,
    price          numeric(12, 2) not null,
    stock_quantity integer        not null default 0,
    attributes     jsonb          not null default '{}',
    created_at     timestamptz    not null default now(),
    updated_at     timestamptz    not null default now(),

    -- One constraint a column, named after it: the API tells from the name which field to complain about.
    constraint products_id_check             check (get_byte(uuid_send(id), 6) >> 4 = 7),
    constraint products_sku_check            check (sku ~ '\S' and length(sku) <= 64),
    constraint products_name_check           check (name ~ '\S' and length(name) <= 200),
    constraint products_description_check    check (length(description) <= 10000),
    constraint products_category_check       check (category ~ '\S' and length(category) <= 64),
    -- 'NaN' is a numeric, and above every number.
    constraint products_price_check          check (price >= 0 and price <> 'NaN'),
    constraint products_stock_quantity_check check (stock_quantity >= 0),
    constraint products_attributes_check     check (jsonb_typeof(attributes) = 'object')
);
comment on table public.products is 'What is for sale.';
comment on column public.products.id is 'Version 7 uuid: its order is the order of creation.';
comment on column public.products.sku is 'The shop''s own name for it, 1 to 64 characters, unique.';
comment on column public.products.name is 'What customers read, 1 to 200 characters.';
comment on column public.products.description is 'Up to 10,000 characters, or null.';
comment on column public.products.category is 'Where it is shelved, 1 to 64 characters.';
comment on column public.products.price is 'In the shop''s one currency, tax included.';
comment on column public.products.stock_quantity is 'How many there are.';
comment on column public.products.attributes is 'A JSON object of what only this kind of product has.';
comment on column public.products.updated_at is 'Start of the transaction that last changed the row; kept by a trigger.';

create function freshline.touch() returns trigger
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $$
begin
    new.updated_at := now();
    return new;
end
$$;
revoke all on function freshline.touch() from public;

-- An update that changes nothing touches nothing.
create trigger products_touch before update on public.products
    for each row when (old.* is distinct from new.*) execute function freshline.touch();
