#!/usr/bin/env bash
# The whole lifecycle on three million flights: ./demo.sh leaves the server running until Ctrl-C, ./demo.sh --exit stops it.
# Further options go to 'slipway demo' (see ./slipway demo --help), such as --port and --data.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. scripts/build.sh
require_tools
ensure_built
exec "$program" demo "$@"
