# Sourced by .ci/run: PostgreSQL (15 or newer) and Redis on loopback, started here when they do not respond.
# Sets POSTGRES_URL and REDIS_URL. Fails where one of them cannot be had; nothing is skipped.
# shellcheck shell=bash

PG_MINIMUM=150000

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

install_package() {
  command -v apt-get >/dev/null || { echo "$1 is missing, and there is no apt-get to install it" >&2; exit 1; }
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null
}

# shellcheck disable=SC2012  # Debian names these folders, with numbers
pg_bin() { ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5 -n | tail -n 1; }

# The version of the server behind a URL, 0 if it does not respond.
pg_version() { psql -XAtq "$1" -c 'SHOW server_version_num' 2>/dev/null || echo 0; }

start_postgres() {
  POSTGRES_URL=postgresql://postgres@127.0.0.1:5432
  command -v psql >/dev/null || install_package postgresql
  if [ "$(pg_version "$POSTGRES_URL/postgres")" -ge "$PG_MINIMUM" ]; then return; fi
  [ -x "$(pg_bin)/initdb" ] || install_package postgresql

  # A server of our own, that trusts loopback and forgets everything. PostgreSQL refuses to run as root.
  local data=$SCRATCH/postgres run_as=()
  mkdir -p "$data"
  if [ "$(id -u)" = 0 ]; then
    chown postgres "$data" && chmod o+x "$SCRATCH"
    run_as=(runuser -u postgres --)
  fi
  "${run_as[@]}" "$(pg_bin)/initdb" --pgdata "$data" --username postgres --auth trust --no-sync >/dev/null
  "${run_as[@]}" "$(pg_bin)/pg_ctl" --pgdata "$data" --log "$data/log" --wait start \
    --options "-c listen_addresses=127.0.0.1 -c port=54329 -c unix_socket_directories= -c fsync=off" >/dev/null
  STOP+=("${run_as[*]} $(pg_bin)/pg_ctl --pgdata $data --mode immediate stop")
  POSTGRES_URL=postgresql://postgres@127.0.0.1:54329
  [ "$(pg_version "$POSTGRES_URL/postgres")" -ge "$PG_MINIMUM" ] || { echo "PostgreSQL 15 or newer is needed" >&2; exit 1; }
}

start_redis() {
  REDIS_URL=redis://127.0.0.1:6379/9
  command -v redis-cli >/dev/null || install_package redis-server
  if [ "$(redis-cli -u "$REDIS_URL" ping 2>/dev/null)" = PONG ]; then return; fi
  command -v redis-server >/dev/null || install_package redis-server
  redis-server --bind 127.0.0.1 --port 63799 --save '' --appendonly no >/dev/null &
  STOP+=("kill $!")
  REDIS_URL=redis://127.0.0.1:63799/0
  for _ in $(seq 50); do
    [ "$(redis-cli -u "$REDIS_URL" ping 2>/dev/null)" = PONG ] && return
    sleep 0.1
  done
  echo "Redis did not start" >&2
  exit 1
}
