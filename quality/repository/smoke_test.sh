#!/usr/bin/env bash
# Performs the walk of the README in a fresh clone: `make run`, then every command of "Use it", each answer held against
# the text behind its #>. PORT=8001 takes another port.
set -euo pipefail
cd "$(dirname "$0")/.."

PORT=${PORT:-8000}
log=$(mktemp)

make run PORT="$PORT" >"$log" 2>&1 &
server=$!
stop() {
  kill "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
  rm -f "$log"
}
trap stop EXIT

until curl --silent --fail "http://127.0.0.1:$PORT/health" >/dev/null; do
  kill -0 "$server" 2>/dev/null || { cat "$log"; exit 1; }
  sleep 0.1
done

# The commands run in this shell, so that the variables they set stay.
checked=0
while IFS= read -r line; do
  case $line in
    '#> '*)
      if [[ $(cat "$log.answer") != *"${line#\#> }"* ]]; then
        printf 'expected: %s\ngot: %s\n' "${line#\#> }" "$(cat "$log.answer")" >&2
        exit 1
      fi
      checked=$((checked + 1))
      ;;
    *)
      printf '$ %s\n' "$line"
      eval "$line" >"$log.answer"
      ;;
  esac
done < <(sed -n '/<!-- walk -->/,/<!-- end of walk -->/p' README.md | grep -v -e '^```' -e '^<!--' | sed "s/:8000/:$PORT/g")
rm -f "$log.answer"

[ "$checked" -ge 7 ] || { echo "the README lost its walk: $checked answers checked" >&2; exit 1; }
echo "The walk is complete: $checked answers are as the README says."
