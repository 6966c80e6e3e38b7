#!/bin/sh
# Dumps the database of DATABASE_URL into FOLDER, under its name only when it is whole, and keeps the latest 14.
#   DATABASE_URL=postgresql://... backup.sh FOLDER
#   RUN="docker compose exec -T db" DATABASE_URL=postgresql://app@/app backup.sh FOLDER   with the programs of a container
# shellcheck disable=SC2086  # RUN is words
set -eu
umask 077
KEPT=${KEPT:-14}
RUN=${RUN:-}
folder=${1:?usage: backup.sh FOLDER}
mkdir -p "$folder"
file=$folder/$(date -u +%Y%m%dT%H%M%SZ).dump

trap 'rm -f "$file.part"' EXIT
trap 'exit 1' HUP INT TERM
$RUN pg_dump --format=custom --no-owner --no-privileges --dbname="${DATABASE_URL:?}" </dev/null >"$file.part"
$RUN pg_restore --file=/dev/null <"$file.part" # reads all of it
mv "$file.part" "$file"
# Names sort by time.
find "$folder" -maxdepth 1 -name '*Z.dump' | sort -r | tail -n "+$((KEPT + 1))" | while read -r old; do rm -f "$old"; done
echo "$file"
