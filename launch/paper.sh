#!/usr/bin/env bash
# The paper's experiments, one after the other: bash launch/paper.sh [filter …] [key=value …]
# A filter is a run's name, a pattern of names ('resnet18-*-[24]x2') or words of one (resnet18-gaussian). What is done is
# skipped, what was cut off goes on; Ctrl-C stops. --list shows the runs, --results makes docs/results.md of them.
# DATA is the folder that holds cifar-10-batches-py, RUNS that of the run folders. Faster on a machine with bfloat16:
# train.precision=bf16 train.channels_last=true
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
exec "$venv/bin/tdml" paper --data "${DATA:-$root/data}" --runs "${RUNS:-$root/runs/paper}" --docs "$root/docs" "$@"
