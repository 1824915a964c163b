#!/bin/sh
# Runs once, when Postgres makes its data directory: our roles, each with the password of its secret. What they may do is said by the
# migrations.
set -eu
for process in api invalidator warmer; do
    psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
        --set role="freshline_$process" --set file="/run/secrets/postgres_$process" <<'SQL'
\set password `cat :'file'`
create role :"role" login password :'password';
SQL
done
