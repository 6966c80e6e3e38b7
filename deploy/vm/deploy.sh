#!/bin/sh
# Releases a version: starts it in the idle slot, waits until it is ready, points nginx at it, then stops the old slot.
#   deploy.sh TAG                  migrates first
#   deploy.sh --no-migrate OLDTAG  back to an older release, which does not know the newer revision
# Exit code 1 where the new version is not ready, crashes, cannot migrate or is interrupted: the old one serves on, and nothing
# has changed but the schema. Exit code 3 where the new one serves and what comes after that failed: deploy it again.
set -eu

READY_SECONDS=60
DRAIN_SECONDS=6 # longer than keepalive_min_timeout: by then no connection leads to the old slot

migrate=yes
if [ "${1:-}" = --no-migrate ]; then migrate=no; shift; fi
if [ $# -ne 1 ]; then echo "usage: deploy.sh [--no-migrate] TAG" >&2; exit 2; fi
tag=$1
cd "$(dirname "$0")"
exec 9>.lock
flock -n 9 || { echo "Another deployment runs." >&2; exit 1; }

old=$(sed -n 's/^server app_\([a-z]*\):8000;$/\1/p' upstream.conf 2>/dev/null || true)
new=blue
if [ "$old" = blue ]; then new=green; fi
touch slots.env
name() { echo "$1" | tr '[:lower:]' '[:upper:]'; }
{ grep -v -e "^$(name "$new")_TAG=" -e '^WORKER_TAG=' -e '^MIGRATE_TAG=' slots.env || true
  echo "$(name "$new")_TAG=$tag"; echo "WORKER_TAG=$tag"; echo "MIGRATE_TAG=$tag"; } >next.env

tags=next.env
compose() { docker compose --env-file .env --env-file $tags "$@"; }
written=no
give_up() {
  trap '' HUP INT TERM
  echo "$1: ${old:-nothing} serves on." >&2
  if [ $written = yes ]; then # nginx may have read it
    cat upstream.old >upstream.conf
    if compose exec -T nginx nginx -s reload; then sleep $DRAIN_SECONDS; fi
  fi
  compose stop "app_$new" || true
  rm -f next.env
  exit 1
}
is_released_but() { trap '' HUP INT TERM; echo "$tag is released as app_$new, but $1: deploy it again." >&2; exit 3; }
trap 'give_up Interrupted' HUP INT TERM

# By a name that is served, in the container, whose PORT it asks.
ready() {
  compose exec -T "app_$new" python -c "
import os, urllib.request as http
host = os.environ['ALLOWED_HOSTS'].split(',')[0].strip()
url = 'http://127.0.0.1:' + (os.environ.get('PORT') or '8000') + '/api/v1/health/ready'
http.urlopen(http.Request(url, headers={'Host': host}), timeout=2)" >/dev/null 2>&1
}

wait_until_ready() {
  until [ "$(date +%s)" -ge "$1" ]; do
    if ready; then return 0; fi
    sleep 1
  done
  return 1
}

compose pull --quiet "app_$new" || give_up "The image cannot be had"
if [ $migrate = yes ]; then
  compose run --rm migrate || give_up "The migration failed"
fi
compose up --detach --no-deps --force-recreate "app_$new" || give_up "app_$new does not start"
wait_until_ready $(($(date +%s) + READY_SECONDS)) || give_up "app_$new is not ready after $READY_SECONDS s"

# In place: the container has the file, not its name.
cp upstream.conf upstream.old 2>/dev/null || : >upstream.old
written=yes
echo "server app_$new:8000;" >upstream.conf
if [ -n "$(compose ps --status running --quiet nginx)" ]; then
  compose exec -T nginx nginx -t -q || give_up "nginx refuses its configuration"
  compose exec -T nginx nginx -s reload || give_up "nginx does not reload"
fi
trap 'is_released_but "the rest was interrupted"' HUP INT TERM
mv next.env slots.env
tags=slots.env
compose up --detach --no-deps nginx caddy || is_released_but "nginx or Caddy does not start"
if [ -n "$old" ]; then
  sleep $DRAIN_SECONDS
  compose stop "app_$old" || is_released_but "app_$old does not stop"
fi
compose up --detach --no-deps --force-recreate worker || is_released_but "the worker does not start"
echo "$tag serves as app_$new."
