#!/usr/bin/env bash
# Customers, so that there is traffic: parcels that ask whether they will be late, and what came of each, a moment later.
#   examples/rollout/traffic.sh [SECONDS]      until Ctrl+C when no time is named; SLIPWAY_SERVER names another server
set -euo pipefail
server=${SLIPWAY_SERVER:-http://127.0.0.1:5000}
until=$((SECONDS + ${1:-1000000}))
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
trap exit INT TERM

# Each round: 200 requests over one connection, then their outcomes. A parcel is late as often as distance and hour make it so, whatever was predicted.
for ((round = 0; SECONDS < until; round++)); do
  awk -v server="$server" -v seed="$((RANDOM + round * 32768))" -v out="$place/labels.json" -v run="$$-$round" 'BEGIN {
    srand(seed)
    printf "{\"labels\":[" >out
    for (i = 0; i < 200; i++) {
      distance = int(rand() * 1000); hour = int(rand() * 24); id = sprintf("parcel-%s-%d", run, i)
      printf "%surl=%s/v2/models/late-parcel/infer\nsilent\noutput=/dev/null\nheader=\"Content-Type: application/json\"\n", i ? "next\n" : "", server
      printf "data=\"{\\\"id\\\":\\\"%s\\\",\\\"parameters\\\":{\\\"entity_key\\\":\\\"customer-%d\\\"},\\\"inputs\\\":[{\\\"name\\\":\\\"features\\\",\\\"shape\\\":[1,2],\\\"datatype\\\":\\\"FP32\\\",\\\"data\\\":[%d,%d]}]}\"\n", id, int(rand() * 2000), distance, hour
      late = rand() < 1 / (1 + exp(0.8 - 1.42 * (distance - 500) / 290 - 0.32 * (hour - 12) / 7))
      printf "%s{\"id\":\"%s\",\"label\":%d}", i ? "," : "", id, late >out
    }
    print "]}" >out
  }' >"$place/requests"
  curl --config "$place/requests"
  curl -sS -o /dev/null -H 'Content-Type: application/json' --data @"$place/labels.json" "$server/v2/models/late-parcel/labels"
done
