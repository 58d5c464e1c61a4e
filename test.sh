#!/usr/bin/env bash
# Builds and runs every test. ./test.sh --list-capabilities prints which capability rows have tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. scripts/build.sh
tests=artifacts/bin/Slipway.Tests/release/Slipway.Tests
end_to_end=artifacts/bin/Slipway.EndToEnd/release/Slipway.EndToEnd

if [ "${1:-}" = --list-capabilities ]; then
  grep -rhoE 'Trait\("capability", "[A-Z]+-[0-9]+"\)' tests --include='*.cs' | grep -oE '[A-Z]+-[0-9]+' | sort -t- -k1,1 -k2,2n | uniq -c |
    awk '{ printf "%-8s %d test%s\n", $2, $1, $1 == 1 ? "" : "s" }'
  exit
fi

require_tools

# What the tests need besides the product's own needs: the XGBoost library, a browser, PostgreSQL, Redis, kubectl.
packages=()
[ -e /usr/lib/x86_64-linux-gnu/libxgboost.so.0 ] || [ -e /usr/lib/aarch64-linux-gnu/libxgboost.so.0 ] || packages+=(libxgboost0)
command -v chromium >/dev/null || packages+=(chromium)
command -v ps >/dev/null || packages+=(procps)
postgres_programs() { ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1; }
[ -n "$(postgres_programs)" ] || packages+=(postgresql)
# Clients and load generators that know nothing of Slipway.
[ -e /usr/lib/python3/dist-packages/requests/__init__.py ] || packages+=(python3-requests)
[ -d /usr/lib/python3/dist-packages/numpy ] || packages+=(python3-numpy)
[ -e /usr/bin/wrk ] || packages+=(wrk)
[ -e /usr/bin/h2load ] || packages+=(nghttp2-client)
[ -e /usr/bin/redis-server ] || packages+=(redis-server)
command -v kubectl >/dev/null || packages+=(kubernetes-client)
if [ ${#packages[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    say "Without apt-get these are not installed, and the tests that need them are left out: ${packages[*]}."
  elif [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; then
    say "Installing ${packages[*]}…"
    as_root=(); [ "$(id -u)" = 0 ] || as_root=(sudo -n)
    log=$(mktemp)
    { "${as_root[@]}" apt-get update -qq -o Acquire::Retries=3 && DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq -o Acquire::Retries=3 --no-install-recommends "${packages[@]}"; } >"$log" 2>&1 ||
      { tail -5 "$log" >&2; say "apt-get could not install ${packages[*]}; the tests that need them are left out."; }
  else
    say "Neither root nor sudo: the tests that need ${packages[*]} are left out."
  fi
fi

fetch tests/clients "the clients and servers that the tests run against"
build Slipway.slnx

passed=0; failed=0; skipped=0
failures_log=$(mktemp)
# A failed test's name, message and stack; the servers' own lines between them are left out.
failures_of() { awk '/^    [^ ].*\[FAIL\]/ { on = 1; print; next } /^      / { if (on) print; next } /^ / { on = 0 }' "$1" | cut -c1-400; }
run() {
  local log; log=$(mktemp)
  local status=0
  "$@" 2>&1 | tee "$log" || status=$?
  local line; line=$(grep -E 'Total: [0-9]+' "$log" | tail -1)
  local total errors failures skips
  total=$(grep -oE 'Total: [0-9]+' <<<"$line" | grep -oE '[0-9]+' || echo 0)
  errors=$(grep -oE 'Errors: [0-9]+' <<<"$line" | grep -oE '[0-9]+' || echo 0)
  failures=$(grep -oE 'Failed: [0-9]+' <<<"$line" | grep -oE '[0-9]+' || echo 0)
  skips=$(grep -oE 'Skipped: [0-9]+' <<<"$line" | grep -oE '[0-9]+' || echo 0)
  # A runner that ended without its summary has failed, whatever it printed before.
  if [ $status != 0 ] && [ $((errors + failures)) = 0 ]; then errors=1; fi
  failures_of "$log" >>"$failures_log"
  passed=$((passed + total - failures - skips)); failed=$((failed + failures + errors)); skipped=$((skipped + skips))
  rm -f "$log"
}

# The same tests again on PostgreSQL: a cluster of our own on loopback, without fsync, gone at the end.
cluster=
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
stop_postgres() {
  [ -n "$cluster" ] || return 0
  as_postgres "$(postgres_programs)/pg_ctl" -D "$cluster/data" -m immediate -w stop >/dev/null 2>&1 || true
  rm -rf "$cluster"
}
trap 'stop_postgres; rm -f "$failures_log"' EXIT
start_postgres() {
  cluster=$(mktemp -d)
  [ "$(id -u)" != 0 ] || chown postgres "$cluster"
  local programs log port tries
  programs=$(postgres_programs); log=$cluster/start.log
  (cd "$cluster" && as_postgres "$programs/initdb" -D "$cluster/data" -U slipway -A trust -E UTF8 --locale=C >"$log" 2>&1) || { tail -5 "$log" >&2; return 1; }
  # Ports below those of outgoing connections and of the tests' own servers; another one where somebody has it already.
  for tries in 1 2 3 4 5; do
    port=$((6000 + RANDOM % 5000))
    if (cd "$cluster" && as_postgres "$programs/pg_ctl" -D "$cluster/data" -w -l "$cluster/log" -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$cluster -c fsync=off -c full_page_writes=off -c max_connections=400" start >"$log" 2>&1); then
      export SLIPWAY_TEST_POSTGRES=postgresql://slipway@127.0.0.1:$port/postgres
      return 0
    fi
  done
  tail -5 "$log" "$cluster/log" >&2
  return 1
}
on_postgres() {
  local area filters=()
  for area in Storage Identity Tracking Registry Pipelines Serving Monitoring Governance Datasets FeatureStore; do filters+=(-namespace "Slipway.Tests.$area*"); done
  # Left out: what takes long and keeps nothing in the database.
  "$tests" -noColor "${filters[@]}" -trait- database=none
}

run "$tests" -noColor "$@"
if [ $# = 0 ] && [ -n "$(postgres_programs)" ]; then
  say "The tests that use the database, on PostgreSQL…"
  # It goes on for the clients of the end-to-end tests.
  if start_postgres; then run on_postgres; else say "PostgreSQL did not start."; failed=$((failed + 1)); fi
fi
run "$end_to_end" -noColor "$@"
if [ $skipped -gt 0 ]; then
  say "$skipped tests were left out; their reasons stand above."
fi
# Once more at the end, where a long log is read first.
cat "$failures_log"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
