#!/bin/bash
# One run on two nodes: sbatch examples/slurm-machines.sh, in a project that every node sees under the
# same path, as it does its virtual environment. dvc repro and what asks no student run on the first
# node; train, base, target, probe and answer on the GPUs of both. See docs/scaling-processes.md
#SBATCH --job-name=redistill
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=16
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --output=slurm-%j.log
set -euo pipefail
REDISTILL_HOST=$(hostname) # this node, by the name that the other one knows
export REDISTILL_HOST
export REDISTILL_LAUNCH="srun --nodes=$SLURM_NNODES --ntasks-per-node=1 --kill-on-bad-exit=1
  --cpus-per-task=${SLURM_CPUS_PER_TASK:-1} torchrun --nnodes=$SLURM_NNODES
  --nproc-per-node=${SLURM_GPUS_ON_NODE:-1} --rdzv-backend=c10d
  --rdzv-endpoint=$REDISTILL_HOST:${PORT:-29500} --rdzv-id=$SLURM_JOB_ID"

trap 'kill -TERM "$work" 2>/dev/null; wait "$work"; exit 143' TERM
dvc repro &
work=$!
wait "$work"
redistill rounds
