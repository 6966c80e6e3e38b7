# Sourced by .ci/run: a scratch folder, jobs in the background, and an end that leaves neither behind.
# shellcheck shell=bash

SCRATCH=$(mktemp -d)
STOP=()
clean_up() {
  for command in "${STOP[@]}"; do $command >/dev/null 2>&1 || true; done
  rm -rf "$SCRATCH"
}
trap clean_up EXIT

# in_background LOG COMMAND...: JOB is its process group, which ends with the gate, however the gate ends.
in_background() {
  local log=$1
  shift
  set -m # a group of its own: make, the tool and what that has started
  "$@" >"$log" 2>&1 &
  JOB=$!
  set +m
  STOP=("kill -- -$JOB" "${STOP[@]}")
}
