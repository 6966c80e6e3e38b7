#!/bin/sh
# Dumps the database of DATABASE_URL into FOLDER, under its name only when it is whole, and keeps the latest 14.
#   DATABASE_URL=postgresql://... backup.sh FOLDER
set -eu
umask 077
KEPT=${KEPT:-14}
folder=${1:?usage: backup.sh FOLDER}
file=$folder/$(date -u +%Y%m%dT%H%M%SZ).dump

trap 'rm -f "$file.part"' EXIT
pg_dump --format=custom --no-owner --no-privileges --file="$file.part" --dbname="${DATABASE_URL:?}"
pg_restore --file=/dev/null "$file.part" # reads all of it
mv "$file.part" "$file"
# Names sort by time.
find "$folder" -maxdepth 1 -name '*Z.dump' | sort -r | tail -n "+$((KEPT + 1))" | while read -r old; do rm -f "$old"; done
echo "$file"
