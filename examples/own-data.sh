#!/bin/bash
# Your own problems, in JSON lines, and your own endpoint that speaks as OpenAI's does:
#   PROBLEMS=problems.jsonl URL=http://localhost:8000/v1 MODEL=qwen3 bash examples/own-data.sh ../mine
# A line of PROBLEMS is {"question": "...", "answer": "72"}. A key, where the endpoint wants one, is in
# a variable, and KEY is its name: MY_KEY=... KEY=MY_KEY. STAGES names where to stop: STAGES=generate.
set -euo pipefail
: "${PROBLEMS:?a file of problems}" "${URL:?the address, with its /v1}" "${MODEL:?as the server names it}"
project=${1:?a folder for the project}
overlay=$(mktemp -d)/endpoint.yaml
trap 'rm -rf "$(dirname "$overlay")"' EXIT
cat >"$overlay" <<END
openai: {base_url: "$URL", model: "$MODEL", key: ${KEY:-null}}
train: {batch_size: 8, steps: ${STEPS:-600}}
END
redistill init "$project" --with own-problems --with "$overlay" --teacher openai \
  --student "${STUDENT:-HuggingFaceTB/SmolLM2-135M-Instruct}"
cp "$PROBLEMS" "$project/data/external/problems.jsonl"
cd "$project"
dvc repro prepare
redistill doctor # every check, before a call is paid for
redistill plan   # the calls at most
# shellcheck disable=SC2086 # several stages are several words
dvc repro ${STAGES:-}
redistill ledger
