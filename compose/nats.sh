#!/bin/sh
# Starts NATS with one user, whose password is that of its secret: on the command line everybody on the machine would see it.
set -eu
configuration=/run/freshline/nats.conf
umask 077
printf 'authorization { user: freshline, password: "%s" }\n' "$(cat /run/secrets/nats)" >"$configuration"
exec nats-server --config "$configuration" "$@"
