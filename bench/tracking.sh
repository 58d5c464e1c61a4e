#!/usr/bin/env bash
# MLflow's API under load: processor time per request of the server at URL beside the limits, and of a second server in turn.
#   bench/tracking.sh URL [URL2] [--runs N] [--rounds N] [--seconds N] [--connections N] [--pid N] [--pid2 N] [--postgres] [--only TEXT]
#   bench/tracking.sh --start            from starting the server on a new database to its first answers, and idle memory
#   bench/tracking.sh --million          pages of a search over 1,000,000 runs
#   bench/tracking.sh --soak MINUTES [--per-second N]     mixed load of eight connections, N requests a second each, and memory as it goes on
# docs/reference/benchmarks.md says what each figure means.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../scripts/build.sh"
cd "$root"
[ "$(uname -s)" = Linux ] || { say "The benchmarks read /proc and need Linux."; exit 1; }
ensure_built
dotnet build bench/Slipway.Bench -c Release -v q --nologo >artifacts/build.log 2>&1 || { grep -E 'error|warning' artifacts/build.log | sort -u | head -20 >&2; exit 1; }
exec artifacts/bin/Slipway.Bench/release/Slipway.Bench tracking "$@"
