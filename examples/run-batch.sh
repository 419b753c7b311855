#!/bin/bash
# The whole loop with a teacher that answers files, on one machine by turns: vLLM is never a server.
#   MODEL=Qwen/Qwen3-8B bash examples/run-batch.sh        in a project whose teacher is openai
# MODEL is openai.model of its params.yaml. Words behind it are stages: ... run-batch.sh generate
set -euo pipefail
: "${MODEL:?as in openai.model}"
export REDISTILL_BATCH=files
batches=${BATCHES:-.redistill/batches} # beside the record store
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
asked=none
until dvc repro "$@"; do
  shopt -s nullglob
  files=("$batches"/*.jsonl)
  now=$(cat "${files[@]:-/dev/null}" | sha256sum)
  if [ "${#files[@]}" -eq 0 ] || [ "$now" = "$asked" ]; then
    exit 1 # the stage failed for another reason, which it has said, or nothing is answered
  fi
  asked=$now
  for file in "${files[@]}"; do
    out="$work/$(basename "$file")"
    vllm run-batch -i "$file" -o "$out" --model "$MODEL"
    redistill store import "$out"
  done
done
