#!/usr/bin/env bash
# A model's life in one registry and its way into another: two people, two environments, everything on the command line.
# Run it as it is: it starts its own two servers and removes them at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
slipway=${SLIPWAY:-$PWD/../../slipway}
place=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$place"' EXIT

step() { printf '\n== %s\n' "$*"; }
ada() { SLIPWAY_SERVER=${at:-$staging} SLIPWAY_TOKEN=$ada "$slipway" "$@"; }
grace() { SLIPWAY_SERVER=${at:-$staging} SLIPWAY_TOKEN=$grace "$slipway" "$@"; }
field() { sed -n "s/^ *\"$1\": \"\([^\"]*\)\".*/\1/p" | head -n 1; }
refused() { if "$@"; then echo "This should have been refused." >&2; exit 1; fi; }
# A port that nobody answers on, below those of outgoing connections, which could take it meanwhile.
free_port() {
  local port; port=$((6000 + RANDOM % 4000))
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((6000 + RANDOM % 4000)); done
  printf '%s' "$port"
}

# start NAME: a server of that environment on a free port of this machine; prints its address.
start() {
  local port; port=$(free_port)
  "$slipway" server --port "$port" --grpc-port 0 --data "$place/$1" --environment "$1" >"$place/$1.log" 2>&1 &
  address=http://127.0.0.1:$port
  until curl -sf "$address/health" >/dev/null; do
    kill -0 $! 2>/dev/null || { cat "$place/$1.log" >&2; exit 1; }
    sleep 0.2
  done
}

# register MODEL_FILE SIGNAL: a version whose scores on the common 400 test rows are the better, the stronger the signal.
register() {
  awk -v signal="$2" 'BEGIN { print "label,score"; for (i = 0; i < 400; i++) { label = i % 2; noise = (i * 7919 % 1000) / 1000; printf "%d,%.4f\n", label, (noise + signal * label) / (1 + signal) } }' >"$place/scores.csv"
  local auc; auc=$(awk -F, 'NR > 1 { if ($1 == 1) p[++np] = $2; else n[++nn] = $2 } END { for (i = 1; i <= np; i++) for (j = 1; j <= nn; j++) wins += p[i] > n[j] ? 1 : p[i] == n[j] ? 0.5 : 0; printf "%.4f", wins / np / nn }' "$place/scores.csv")
  printf 'numpy==2.1.0\nonnx==1.17.0\n' >"$place/requirements.txt"
  cat >"$place/evaluation.json" <<JSON
{ "model": "delay", "run_id": "run-$1", "test_set_sha256": "$(printf 'the 400 rows' | sha256sum | cut -d' ' -f1)", "threshold": 0.5,
  "splits": [{ "name": "test", "rows": 400 }], "metrics": { "auc": $auc }, "baselines": [], "created_at": "2026-01-01T00:00:00Z" }
JSON
  cat >"$place/features.json" <<JSON
{ "service": "delay", "service_version": 1, "view_versions": ["airport_late@1"],
  "features": [{ "name": "airport:late_rate_7d", "type": "DOUBLE" }, { "name": "flight:distance", "type": "DOUBLE" }] }
JSON
  ada --json registry register delay "$1" --environment "$place/requirements.txt" --features "$place/features.json" \
    --dataset flights@1 --evaluation "$place/evaluation.json" --predictions "$place/scores.csv" | field version
}

# ready VERSION: ticks the checklist.
ready() {
  ada registry checklist delay "$1" --tick load_tested --note 'p99 of 3 ms at 2,000 requests a second' >/dev/null || true
  ada registry checklist delay "$1" --tick rollback_rehearsed --note 'went back and forth once' >/dev/null
}

# move VERSION STAGE: Ada asks, Grace approves, Ada carries it out.
move() {
  local id; id=$(ada --json registry promote delay "$1" --to "$2" --reason 'ready for it' | field id)
  grace registry approve "$id" --comment 'read the evaluation'
  ada registry promote delay "$1" --to "$2" --reason 'approved' --execute
}

step 'Two environments, two people'
start staging; staging=$address
start production; production=$address
for server in "$staging" "$production"; do
  ada_there=$("$slipway" --server "$server" --json user add ada --role ml_engineer | field token)
  grace_there=$("$slipway" --server "$server" --json user add grace --role approver | field token)
  if [ "$server" = "$staging" ]; then ada=$ada_there grace=$grace_there; else ada_production=$ada_there grace_production=$grace_there; fi
done
ada apply .

step 'Ada registers a version; without approval it goes nowhere, and the refusal lists what is missing'
first=$(register delay-1.onnx 0.4)
ada registry info delay
ada registry promote delay "$first" --to staging --reason 'first version'
refused ada registry check delay "$first" --to staging
refused ada registry promote delay "$first" --to staging --reason 'anyway' --execute
refused ada registry approve promotion-1 --comment 'my own is fine'

step 'Grace approves; machines execute'
grace registry approvals
grace registry approve promotion-1 --comment 'read the evaluation'
ada registry promote delay "$first" --to staging --reason 'approved' --execute
ready "$first"
move "$first" production

step 'A version that is no better is refused, with the interval that says so'
same=$(register delay-2.onnx 0.4)
move "$same" staging
ready "$same"
refused ada registry check delay "$same" --to production

step 'A better one goes through; the two compared'
better=$(register delay-2.onnx 1.5)
move "$better" staging
ready "$better"
move "$better" production
ada registry compare delay "$first" "$better"

step 'On to the other environment: copied, verified there, linked at both ends, and approved there anew'
ADA_THERE=$ada_production ada registry promote delay "$better" --to-env "$production" --token-env ADA_THERE --reason 'proved itself in staging'
ADA_THERE=$ada_production ada registry promote delay "$better" --to-env "$production" --token-env ADA_THERE --reason 'again: changes nothing'
at=$production; ada_staging=$ada grace_staging=$grace; ada=$ada_production grace=$grace_production
ada apply .
move "$better" staging
ada registry environments delay
at=$staging; ada=$ada_staging grace=$grace_staging

step 'It fails: one command goes back'
between=$(date -u +%Y-%m-%dT%H:%M:%SZ); sleep 1.1
ada registry rollback delay --plan
ada registry rollback delay --reason 'delays rose after the timetable change'

step 'What was in production when, what trained it, who approved it?'
ada registry as-of delay "$between"
ada registry as-of delay "$(date -u -d '+1 second' +%Y-%m-%dT%H:%M:%SZ)"
ada registry history delay
ada registry deprecate delay "$same" --reason 'never better than the first' --end-of-life 2030-01-01 --replacement "$first"

step 'Where it came from, and the record of it all'
ada lineage show "model_version:delay@$better"
"$slipway" --server "$staging" audit report --model delay
"$slipway" --server "$staging" audit verify
echo; echo 'The tour is over.'
