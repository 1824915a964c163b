#!/bin/sh
# Starts Redis, or Valkey, with a user for each process and none without a name: the rights of docs/redis-users.acl, each with the
# password of its secret. The arguments are those of the server.
set -eu
users=/run/freshline/users.acl

# The rule of each user, its password by its digest, so that it may have any character.
rules() {
    while read -r line; do
        case "$line" in "user freshline_"*) ;; *) continue ;; esac
        name=${line#user freshline_}
        password=$(cat "/run/secrets/redis_${name%% *}")
        digest=$(printf %s "$password" | sha256sum)
        echo "$line" | sed "s/ >CHANGE_ME / #${digest%% *} /"
    done
}

{
    # Who gives no name may do nothing. Nobody may configure or flush.
    echo "user default reset"
    rules </freshline/redis-users.acl
    # Whoever looks in with the browser, which is no process of ours: reads, and nothing that changes or stops.
    echo "user freshline_browser on >CHANGE_ME ~{freshline.* ~{freshline}* -@all +@read +@connection -@dangerous +info" | rules
} >"$users"
exec docker-entrypoint.sh "$@" --aclfile "$users"
