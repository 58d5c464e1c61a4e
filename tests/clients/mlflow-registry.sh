#!/usr/bin/env bash
# usage: mlflow-registry.sh SERVER MODEL
# The registry's calls as MLflow's Python client makes them (fields of a DELETE in its body), with curl; MODEL is an ONNX file that is
# logged, registered and fetched again. Prints one line per answer: a name, the status, the body.
set -euo pipefail
server=$1; file=$2

say() { # say NAME METHOD PATH [BODY]
  local body
  body=$(curl -sS -X "$2" "$server$3" -H 'Content-Type: application/json' ${4:+-d "$4"} -w '\n%{http_code}')
  answer=${body%$'\n'*}
  printf '%s %s %s\n' "$1" "${body##*$'\n'}" "${answer//$'\n'/ }"
}
field() { sed -nE "s/.*\"$1\": ?\"([^\"]*)\".*/\1/p" <<<"${answer//$'\n'/ }" | head -1; }

api=/api/2.0/mlflow
say create-experiment POST $api/experiments/create "{\"name\": \"registry-$$\"}"
experiment=$(field experiment_id)
say create-run POST $api/runs/create "{\"experiment_id\": \"$experiment\"}"
run=$(field run_id)
# mlflow.onnx.log_model(…, registered_model_name=…): a logged model with its files, then a version of it.
say create-logged-model POST $api/logged-models "{\"experiment_id\": \"$experiment\", \"name\": \"model\", \"source_run_id\": \"$run\"}"
logged=$(field model_id)
files=/api/2.0/mlflow-artifacts/artifacts/$experiment/models/$logged/artifacts
put() { printf '%s %s\n' "$1" "$(curl -sS -X PUT "$server$files/$2" --data-binary "$3" -o /dev/null -w '%{http_code}')"; }
put put-model model.onnx "@$file"
put put-mlmodel MLmodel $'flavors:\n  onnx: {data: model.onnx}\nsignature:\n  inputs: \'[{"type": "float", "name": "x", "required": true}]\'\n  outputs: \'[{"type": "float", "name": "y", "required": true}]\'\n'
put put-requirements requirements.txt $'onnx==1.16.0\n'
say finalize PATCH "$api/logged-models/$logged" "{\"model_id\": \"$logged\", \"status\": \"LOGGED_MODEL_READY\"}"
say create-model POST $api/registered-models/create '{"name": "my iris", "description": "petals"}'
say create-version POST $api/model-versions/create "{\"name\": \"my iris\", \"source\": \"models:/$logged\", \"run_id\": \"$run\", \"model_id\": \"$logged\", \"tags\": [{\"key\": \"team\", \"value\": \"ops\"}]}"
say create-second POST $api/model-versions/create "{\"name\": \"my iris\", \"source\": \"runs:/$run/nothing\", \"run_id\": \"$run\"}"
say set-alias POST $api/registered-models/alias '{"name": "my iris", "alias": "champion", "version": "1"}'
say get-by-alias GET "$api/registered-models/alias?name=my+iris&alias=champion"
say latest POST $api/registered-models/get-latest-versions '{"name": "my iris", "stages": ["None"]}'
say transition POST $api/model-versions/transition-stage '{"name": "my iris", "version": "1", "stage": "Staging", "archive_existing_versions": false}'
say set-tag POST $api/model-versions/set-tag '{"name": "my iris", "version": "1", "key": "checked", "value": "yes"}'
say search-versions GET "$api/model-versions/search?filter=name%3D%27my+iris%27+AND+tags.checked%3D%27yes%27&max_results=10"
say search-models GET "$api/registered-models/search?filter=name+ILIKE+%27MY%25%27&order_by=last_updated_timestamp+DESC"
say download-uri GET "$api/model-versions/get-download-uri?name=my+iris&version=1"
printf 'download %s\n' "$(curl -sS "$server/model-versions/get-artifact?name=my+iris&version=1&path=model.onnx" | sha256sum | cut -d' ' -f1)"
printf 'traversal %s\n' "$(curl -sS --path-as-is "$server/model-versions/get-artifact?name=my+iris&version=1&path=../../etc/passwd" -o /dev/null -w '%{http_code}')"
say delete-version DELETE $api/model-versions/delete '{"name": "my iris", "version": "2"}'
say delete-tag DELETE $api/model-versions/delete-tag '{"name": "my iris", "version": "1", "key": "checked"}'
say delete-alias DELETE $api/registered-models/alias '{"name": "my iris", "alias": "champion"}'
say rename POST $api/registered-models/rename '{"name": "my iris", "new_name": "iris"}'
say create-webhook POST $api/webhooks '{"name": "w", "url": "https://receiver.example/mlflow", "events": [{"entity": "MODEL_VERSION", "action": "CREATED"}], "secret": "hidden-secret"}'
say list-webhooks GET "$api/webhooks"
say delete-model DELETE $api/registered-models/delete '{"name": "iris"}'
say get-deleted GET "$api/registered-models/get?name=iris"
