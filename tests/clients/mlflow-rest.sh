#!/usr/bin/env bash
# usage: mlflow-rest.sh SERVER FILE
# The calls of MLflow's REST documentation, made with curl as they stand there; FILE is uploaded and fetched again.
# Prints one line per answer: a name, the status, the body.
set -euo pipefail
server=$1; file=$2

say() { # say NAME METHOD PATH [BODY]
  local body
  body=$(curl -sS -X "$2" "$server$3" -H 'Content-Type: application/json' ${4:+-d "$4"} -w '\n%{http_code}')
  answer=${body%$'\n'*}
  printf '%s %s %s\n' "$1" "${body##*$'\n'}" "${answer//$'\n'/ }"
}
field() { sed -nE "s/.*\"$1\": ?\"([^\"]*)\".*/\1/p" <<<"${answer//$'\n'/ }" | head -1; }

say create-experiment POST /api/2.0/mlflow/experiments/create "{\"name\": \"curl-$$\", \"tags\": [{\"key\": \"team\", \"value\": \"trees\"}]}"
experiment=$(field experiment_id)
say search-experiments POST /api/2.0/mlflow/experiments/search "{\"max_results\": 10, \"filter\": \"name LIKE 'curl-%'\"}"
say get-by-name GET "/api/2.0/mlflow/experiments/get-by-name?experiment_name=curl-$$"
say set-experiment-tag POST /api/2.0/mlflow/experiments/set-experiment-tag "{\"experiment_id\": \"$experiment\", \"key\": \"owner\", \"value\": \"ada\"}"
say create-run POST /api/2.0/mlflow/runs/create "{\"experiment_id\": \"$experiment\", \"start_time\": 1700000000000, \"run_name\": \"first\", \"tags\": [{\"key\": \"mlflow.user\", \"value\": \"ada\"}]}"
run=$(field run_id)
say log-param POST /api/2.0/mlflow/runs/log-parameter "{\"run_id\": \"$run\", \"key\": \"alpha\", \"value\": \"0.5\"}"
say log-metric POST /api/2.0/mlflow/runs/log-metric "{\"run_id\": \"$run\", \"key\": \"rmse\", \"value\": 0.8, \"timestamp\": 1700000000000, \"step\": 0}"
say log-batch POST /api/2.0/mlflow/runs/log-batch "{\"run_id\": \"$run\", \"metrics\": [{\"key\": \"mse\", \"value\": 2500.0, \"timestamp\": 1552550804, \"step\": 0}, {\"key\": \"nan\", \"value\": \"NaN\", \"timestamp\": 1552550804, \"step\": 0}], \"params\": [{\"key\": \"learning_rate\", \"value\": \"0.01\"}], \"tags\": [{\"key\": \"mlflow.source.git.commit\", \"value\": \"abc\"}]}"
say log-inputs POST /api/2.0/mlflow/runs/log-inputs "{\"run_id\": \"$run\", \"datasets\": [{\"tags\": [{\"key\": \"mlflow.data.context\", \"value\": \"train\"}], \"dataset\": {\"name\": \"iris\", \"digest\": \"d1\", \"source_type\": \"local\", \"source\": \"iris.csv\"}}]}"
say get-run GET "/api/2.0/mlflow/runs/get?run_id=$run"
say search-runs POST /api/2.0/mlflow/runs/search "{\"experiment_ids\": [\"$experiment\"], \"filter\": \"metrics.rmse < 1 and params.alpha = '0.5'\", \"order_by\": [\"metrics.rmse DESC\"], \"max_results\": 5}"
say get-history GET "/api/2.0/mlflow/metrics/get-history?run_id=$run&metric_key=rmse"
say set-tag POST /api/2.0/mlflow/runs/set-tag "{\"run_id\": \"$run\", \"key\": \"quality\", \"value\": \"good\"}"
say update-run POST /api/2.0/mlflow/runs/update "{\"run_id\": \"$run\", \"status\": \"FINISHED\", \"end_time\": 1700000009000}"
root="/api/2.0/mlflow-artifacts/artifacts/$experiment/$run/artifacts"
printf 'upload %s\n' "$(curl -sS -X PUT "$server$root/model/weights.bin" --data-binary "@$file" -o /dev/null -w '%{http_code}')"
say list-artifacts GET "/api/2.0/mlflow/artifacts/list?run_id=$run&path=model"
printf 'download %s\n' "$(curl -sS "$server$root/model/weights.bin" | sha256sum | cut -d' ' -f1)"
printf 'get-artifact %s\n' "$(curl -sS "$server/get-artifact?run_uuid=$run&path=model/weights.bin" | sha256sum | cut -d' ' -f1)"
say delete-artifact DELETE "$root/model/weights.bin"
say list-again GET "/api/2.0/mlflow/artifacts/list?run_id=$run"
say create-model POST /api/2.0/mlflow/logged-models "{\"experiment_id\": \"$experiment\", \"name\": \"forest\", \"source_run_id\": \"$run\"}"
model=$(field model_id)
say finalize-model PATCH "/api/2.0/mlflow/logged-models/$model" "{\"model_id\": \"$model\", \"status\": \"LOGGED_MODEL_READY\"}"
say search-models POST /api/2.0/mlflow/logged-models/search "{\"experiment_ids\": [\"$experiment\"], \"filter\": \"name = 'forest'\"}"
say unknown GET /api/2.0/mlflow/runs/nothing-here
say delete-run POST /api/2.0/mlflow/runs/delete "{\"run_id\": \"$run\"}"
say search-deleted POST /api/2.0/mlflow/runs/search "{\"experiment_ids\": [\"$experiment\"], \"run_view_type\": \"DELETED_ONLY\"}"
say delete-experiment POST /api/2.0/mlflow/experiments/delete "{\"experiment_id\": \"$experiment\"}"
