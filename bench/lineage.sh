#!/usr/bin/env bash
# Every question about lineage on a graph of 1,000,000 edges, each to be answered within 50 ms: min, median and 95th percentile.
#   bench/lineage.sh [--rounds N] [--database postgresql://…]      (SQLite when no database is named; its tables must be empty)
# docs/reference/benchmarks.md says what each line asks.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../scripts/build.sh"
cd "$root"
[ "$(uname -s)" = Linux ] || { say "The benchmarks read /proc and need Linux."; exit 1; }
ensure_built
dotnet build bench/Slipway.Bench -c Release -v q --nologo >artifacts/build.log 2>&1 || { grep -E 'error|warning' artifacts/build.log | sort -u | head -20 >&2; exit 1; }
exec artifacts/bin/Slipway.Bench/release/Slipway.Bench lineage "$@"
