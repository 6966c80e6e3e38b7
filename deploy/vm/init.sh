#!/bin/sh
# Makes what deploy.sh reads: .env with the image and the host, and secrets that nobody has seen. Changes nothing that is there.
#   init.sh IMAGE HOST
set -eu
cd "$(dirname "$0")"
if [ $# -ne 2 ]; then echo "usage: init.sh IMAGE HOST" >&2; exit 2; fi

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
make() { if [ ! -e "$1" ]; then cat >"$1"; chmod 444 "$1"; fi; } # readable in a folder that keeps others out
mkdir -p -m 700 secrets
if [ ! -e .env ]; then printf 'IMAGE=%s\nHOST=%s\n' "$1" "$2" >.env; fi
random | make secrets/jwt_secret_key
random | make secrets/postgres_password
echo "postgresql://app:$(cat secrets/postgres_password)@db:5432/app" | make secrets/database_url
