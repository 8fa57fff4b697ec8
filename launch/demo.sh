#!/usr/bin/env bash
# The demo: four replicas of a two-stage pipeline, one node of which attacks and is found out.
# Arguments are settings: bash launch/demo.sh rounds=12 attack=zero_gradient
# With churn=true first: three replicas whose nodes come and go, see churn.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
if [ "${1:-}" = churn=true ]; then
    shift
    source "$root/launch/churn.sh"
else
    exec "$venv/bin/tdml" train experiment=demo "run_dir='$root/runs/\${name}'" "$@"
fi
