#!/usr/bin/env bash
# The demo: four replicas of a two-stage pipeline, one node of which attacks and is found out.
# Arguments are settings: bash launch/demo.sh rounds=12 attack=zero_gradient
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
exec "$venv/bin/tdml" train experiment=demo "run_dir='$root/runs/\${name}'" "$@"
