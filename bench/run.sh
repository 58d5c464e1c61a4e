#!/usr/bin/env bash
# Prints ratios measured in one run: inference against bare Kestrel, the point-in-time join against plain DuckDB, start and memory.
#   bench/run.sh [serving] [grpc] [half] [fastify] [fastapi] [batching] [allocations] [streams] [join] [start] [memory [--minutes N]] [--rounds N] [--seconds N] [--connections N] [--pin]
# docs/reference/benchmarks.md says what is compared with what.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../scripts/build.sh"
cd "$root"
[ "$(uname -s)" = Linux ] || { say "The benchmarks read /proc and need Linux."; exit 1; }

# What is missing of Debian's packages: the load generators, and what the Python peer is made of.
missing=()
command -v wrk >/dev/null || missing+=(wrk)
command -v h2load >/dev/null || missing+=(nghttp2-client)
command -v redis-server >/dev/null || missing+=(redis-server)
/usr/bin/python3 -c "import fastapi, uvicorn, sklearn" 2>/dev/null || missing+=(python3-fastapi python3-uvicorn python3-sklearn)
if [ ${#missing[@]} -gt 0 ]; then
  as_root=(); [ "$(id -u)" = 0 ] || as_root=(sudo -n)
  if command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; then
    say "Installing ${missing[*]}…"
    { "${as_root[@]}" apt-get update -qq && DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null 2>&1 || true
  fi
  command -v wrk >/dev/null && command -v h2load >/dev/null || { say "The load generators are missing and could not be installed here (Debian packages: wrk, nghttp2-client)."; exit 1; }
fi

ensure_built
fetch bench/peers/fastify "the peer to compare with"
for project in bench/peers/BareKestrel bench/Slipway.Bench; do
  dotnet build "$project" -c Release -v q --nologo >artifacts/build.log 2>&1 || { grep -E 'error|warning' artifacts/build.log | sort -u | head -20 >&2; exit 1; }
done
exec artifacts/bin/Slipway.Bench/release/Slipway.Bench "$@"
