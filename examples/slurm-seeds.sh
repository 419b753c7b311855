#!/bin/bash
# Seeds 1 to 8, a job each: SHARED=/shared/redistill sbatch examples/slurm-seeds.sh, in a clone of your
# project with all committed. Then, in that clone: redistill sweep --gather /shared/redistill/seeds
# Own data go along by DVC: dvc cache dir --local /shared/redistill/cache && dvc add data/external/FILE
# More settings (arms): write one clone, or branch, for each, and submit the script there.
#SBATCH --job-name=redistill
#SBATCH --array=1-8
#SBATCH --cpus-per-task=4
##SBATCH --gpus-per-task=1    # of several GPUs: export REDISTILL_LAUNCH, see docs/scaling-processes.md
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --output=slurm-%A-%a.log
set -euo pipefail
: "${SHARED:?name a folder that every node sees}"
seed=$SLURM_ARRAY_TASK_ID
export REDISTILL_THREADS=${SLURM_CPUS_PER_TASK:-1}
node=$(mktemp -d "${TMPDIR:-/tmp}/redistill-XXXXXX")
trap 'rm -rf "$node"' EXIT
trap 'kill -TERM "$work" 2>/dev/null; wait "$work"; exit 143' TERM

git clone --quiet "${SLURM_SUBMIT_DIR:-$PWD}" "$node/run"
cd "$node/run"
# One cache for all nodes: what a seed has computed, the same seed finds again after a job that ended
dvc cache dir --local "$SHARED/cache"
dvc config --local cache.shared group
dvc config --local cache.type reflink,hardlink,symlink,copy
dvc checkout --quiet --allow-missing
redistill sweep --seeds "$seed" --results "$SHARED/seeds" --out "$node/sweep.json" &
work=$!
wait "$work"
if [ -n "${PUSH:-}" ]; then # to the remote that .dvc/config names, for machines without that folder
  dvc push --run-cache
fi
