#!/usr/bin/env bash
# 64 ranks on one machine, however few its cores: 63 groups of one complete 120 tiny trials and the job ends with status 0.
#   tools/with_env.sh .venv benchmarks/many_ranks.sh [RANKS] [TRIALS]
set -euo pipefail
ranks=${1:-64} trials=${2:-120}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export OMP_NUM_THREADS=1
time "$(dirname "$0")"/../tools/mpirun.sh -np "$ranks" python -m hpcnas.search --run "$folder/run" \
  --set search.max_trials="$trials" --set training.epochs=1 --set 'space.blocks=["dense", "tdnn"]'
echo "status $?, $(grep -c '"event": "result"' "$folder/run/journal.jsonl") results"
