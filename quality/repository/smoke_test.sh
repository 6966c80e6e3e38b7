#!/usr/bin/env bash
# The smoke test: `make run`, then every command of the README's "Use it"; each response must contain the text behind its
# #>, and the server must print the text behind #>> within a second. LINK='...' is the last link that it has printed. PORT=8001 takes another port.
# With URL=http://127.0.0.1:8001 and LOG=... it asks the server that is there and writes that file; README=... names another one.
set -euo pipefail
cd "$(dirname "$0")/../.."

PORT=${PORT:-8000}
address=${URL:-http://127.0.0.1:$PORT}
responses=$(mktemp)
log=${LOG:-$responses.log}
server=
if [ -z "${URL:-}" ]; then
  make run PORT="$PORT" >"$log" 2>&1 &
  server=$!
fi
stop() {
  if [ -n "$server" ]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -f "$responses" "$responses.log"
}
trap stop EXIT

until curl --silent --fail "$address/health" >/dev/null; do
  [ -z "$server" ] || kill -0 "$server" 2>/dev/null || { cat "$log"; exit 1; }
  sleep 0.1
done

# The commands run in this shell, so that the variables they set stay.
checked=0
while IFS= read -r line; do
  case $line in
    '#>> '*)
      for _ in $(seq 10); do
        grep --quiet --fixed-strings "${line#\#>> }" "$log" && break
        sleep 0.1
      done
      if ! grep --quiet --fixed-strings "${line#\#>> }" "$log"; then
        printf 'not printed: %s\n' "${line#\#>> }" >&2
        exit 1
      fi
      checked=$((checked + 1))
      ;;
    '#> '*)
      if [[ $(cat "$responses") != *"${line#\#> }"* ]]; then
        printf 'expected: %s\ngot: %s\n' "${line#\#> }" "$(cat "$responses")" >&2
        exit 1
      fi
      checked=$((checked + 1))
      ;;
    LINK=*)
      # shellcheck disable=SC2034  # the commands of the README use it
      LINK=$(grep --only-matching 'http://localhost:3000/.*#token=.*' "$log" | tail -n 1)
      ;;
    *)
      printf '$ %s\n' "$line"
      eval "$line" >"$responses"
      ;;
  esac
done < <(sed -n '/<!-- smoke test -->/,/<!-- end of smoke test -->/p' "${README:-README.md}" | grep -v -e '^```' -e '^<!--' | sed "s#http://127.0.0.1:8000#$address#g")

least=13
if [ -n "${README:-}" ]; then least=7; fi # of another release
[ "$checked" -ge $least ] || { echo "the README lost its smoke test: $checked responses checked" >&2; exit 1; }
echo "$checked responses are as the README says."
