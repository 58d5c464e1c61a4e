#!/usr/bin/env bash
# The inference endpoint against bare Kestrel (HTTP, gRPC, latency at half load), Fastify with onnxruntime-node and FastAPI with scikit-learn, what dynamic batching gains, and what a request allocates; all in one run.
#   bench/serving.sh [--rounds N] [--seconds N] [--connections N] [--pin]
# docs/reference/benchmarks.md says what is compared with what.
set -euo pipefail
exec "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/run.sh" serving grpc half fastify fastapi batching allocations "$@"
