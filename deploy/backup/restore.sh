#!/bin/sh
# Restores FILE into the database of DATABASE_URL, which must be empty. All or nothing.
#   DATABASE_URL=postgresql://... restore.sh FILE          RUN as in backup.sh
# Jobs that waited become dead ("restored"), or yesterday's mail would be sent again: app.cli jobs-retry releases them.
# shellcheck disable=SC2086  # RUN is words
set -eu
RUN=${RUN:-}
file=${1:?usage: restore.sh FILE}
url=${DATABASE_URL:?}
sql() { $RUN psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 --dbname="$url" "$@"; }
ask() { sql --command="$1" </dev/null; }

$RUN pg_restore --file=/dev/null <"$file" || { echo "$file is no whole dump: nothing was restored." >&2; exit 1; }
tables=$(ask "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')")
if [ "$tables" != 0 ]; then echo "The database has $tables tables: restore into an empty one." >&2; exit 1; fi
{
  $RUN pg_restore --no-owner --no-privileges --file=- <"$file" || printf '\\.\nSELECT 1/0;\n'
  echo "UPDATE public.jobs SET failed_at = now(), error = 'restored' WHERE failed_at IS NULL;"
} | sql --single-transaction >/dev/null
ask "SELECT count(*) || ' jobs wait for app.cli jobs-retry' FROM public.jobs WHERE error = 'restored'"
