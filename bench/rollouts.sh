#!/usr/bin/env bash
# How often a rollout's error gate stops a healthy version, and how soon it stops a failing one, beside other systems' rules on the same draws.
#   bench/rollouts.sh [--runs N] [--draw]      (--draw writes the curves to docs/images/rollout-detection.svg)
# docs/explanation/rollouts.md says what each figure means.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../scripts/build.sh"
cd "$root"
ensure_built
dotnet build bench/Slipway.Bench -c Release -v q --nologo >artifacts/build.log 2>&1 || { grep -E 'error|warning' artifacts/build.log | sort -u | head -20 >&2; exit 1; }
exec artifacts/bin/Slipway.Bench/release/Slipway.Bench rollouts "$@"
