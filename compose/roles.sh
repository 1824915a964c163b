#!/bin/sh
# Runs once, when Postgres makes its data directory: our roles with a password. What they may do is said by the migrations.
set -eu
for role in freshline_api freshline_invalidator freshline_warmer; do
    psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
        --set role="$role" --set password="$FRESHLINE_PASSWORD" <<'SQL'
create role :"role" login password :'password';
SQL
done
