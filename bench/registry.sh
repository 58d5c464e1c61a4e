#!/usr/bin/env bash
# How fast a name leads to a version with 10,000 models x 100 versions there: ms per answer beside the limit.
#   bench/registry.sh [--database postgresql://user@host:port/name]
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../scripts/build.sh"
cd "$root"
[ "$(uname -s)" = Linux ] || { say "The benchmarks read /proc and need Linux."; exit 1; }
ensure_built
dotnet build bench/Slipway.Bench -c Release -v q --nologo >artifacts/build.log 2>&1 || { grep -E 'error|warning' artifacts/build.log | sort -u | head -20 >&2; exit 1; }
exec artifacts/bin/Slipway.Bench/release/Slipway.Bench registry "$@"
